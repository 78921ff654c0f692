//! Nothing is rolled out to prod without its tests, and what is rolled out is what was checked.

use http::Method;
use serde_json::{Value, json};
use syncgate::record::{Outcome, Word};

use crate::world::{CHART, Call, FIRST, SECOND, Said, Wire, World, push};

async fn sync(world: &World, token: &str, application: &str) -> Said {
    world
        .gate
        .ask(Wire::Rest, token, &Call::sync(application))
        .await
}

/// Alice syncs `checkout-staging`, and its operation begins.
pub(crate) async fn begin_staging(world: &World) {
    let said = sync(world, &world.outside.alice(), "checkout-staging").await;
    assert_eq!(said.code(), 0, "{said:?}");
}

/// The same, with tests that pass, and to its good end.
async fn test_in_staging(world: &World) {
    begin_staging(world).await;
    world.report("passed").await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
}

/// Rita asks for `checkout-prod`, and is refused for want of tests: nothing arrives.
pub(crate) async fn assert_prod_is_closed(world: &World, because: &str) -> Said {
    world.outside.argocd.forget();
    let said = sync(world, &world.outside.rita(), "checkout-prod").await;
    assert_eq!((said.code(), said.status), (9, 400), "{said:?}");
    assert!(said.sentence().contains(because), "{}", said.sentence());
    assert!(world.outside.argocd.forwarded().is_empty());
    said
}

/// Rita asks for `checkout-prod`, and it goes out at `commit`.
pub(crate) async fn assert_prod_is_open(world: &World, commit: &str) -> Said {
    world.outside.argocd.forget();
    let said = sync(world, &world.outside.rita(), "checkout-prod").await;
    assert_eq!(said.code(), 0, "{said:?}");
    let sync = world.outside.argocd.only_sync();
    assert_eq!(sync.revision.as_deref(), Some(commit));
    said
}

#[tokio::test]
async fn prod_opens_only_once_the_operation_in_which_the_tests_passed_has_succeeded() {
    let world = World::new().await;
    assert_prod_is_closed(&world, "has no passing 'integration' run in staging").await;
    begin_staging(&world).await;
    let finished = world.report("passed").await;
    assert_eq!(finished["verdict"], "passed");
    assert_eq!(finished["counts"], "when-operation-succeeds");
    assert_prod_is_closed(&world, "checkout@3f2c1a9").await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    let said = assert_prod_is_open(&world, FIRST).await;
    let record = world.record(said.decision()).await;
    assert_eq!(record.opening.word, Word::Permit);
    let finding = serde_json::to_value(&record.opening.planned[0].finding).unwrap();
    assert_eq!(finding["runs"], json!([finished["run"]]));
}

#[tokio::test]
async fn tests_in_an_operation_that_failed_never_count() {
    let world = World::new().await;
    begin_staging(&world).await;
    world.report("passed").await;
    world.outside.argocd.finish("checkout-staging", "Failed");
    assert_prod_is_closed(&world, "has no passing 'integration' run").await;
}

#[tokio::test]
async fn a_later_failure_closes_what_was_open_also_for_what_already_runs() {
    let world = World::new().await;
    test_in_staging(&world).await;
    assert_prod_is_open(&world, FIRST).await;
    world.outside.argocd.finish("checkout-prod", "Succeeded");
    let finished = world.report("failed").await;
    assert_eq!(
        (&finished["verdict"], &finished["counts"]),
        (&json!("failed"), &json!("now"))
    );
    assert_prod_is_closed(&world, "last: failed").await;
}

#[tokio::test]
async fn a_new_commit_needs_its_own_tests_and_the_refusal_names_the_one_that_has_them() {
    let world = World::new().await;
    test_in_staging(&world).await;
    world.outside.argocd.push(SECOND);
    assert_prod_is_closed(&world, "newest that would pass: 3f2c1a9").await;
    // The old commit may still be named.
    let asked = syncgate::argocd::proto::ApplicationSyncRequest {
        name: "checkout-prod".to_owned(),
        revision: Some(FIRST.to_owned()),
        ..Default::default()
    };
    world.outside.argocd.forget();
    let said = world
        .gate
        .ask(Wire::Grpc, &world.outside.rita(), &Call::sync_as(asked))
        .await;
    assert_eq!(said.code(), 0, "{said:?}");
    let sync = world.outside.argocd.only_sync();
    assert_eq!(sync.revision.as_deref(), Some(FIRST));
}

#[tokio::test]
async fn other_parameters_of_the_same_commit_are_not_what_was_tested() {
    let world = World::new().await;
    test_in_staging(&world).await;
    world.outside.argocd.change("checkout-prod", |application| {
        let images = json!({"images": ["shop/checkout:untested"]});
        application["spec"]["source"]["kustomize"] = images.clone();
        application["status"]["sync"]["comparedTo"]["source"]["kustomize"] = images;
    });
    assert_prod_is_closed(&world, "other source parameters").await;
}

#[tokio::test]
async fn only_the_configured_service_account_reports_and_only_for_its_application() {
    let world = World::new().await;
    begin_staging(&world).await;
    let stranger = world.outside.issuer.account("default", "checkout-tests");
    for (token, application) in [
        (world.outside.alice(), "checkout-staging"),
        (world.outside.rita(), "checkout-staging"),
        (stranger, "checkout-staging"),
        (world.outside.tests(), "cart-staging"),
        (world.outside.tests(), "checkout-prod"),
    ] {
        let said = world.gate.open_run(&token, application).await;
        assert_eq!(said.status, 403, "{application}: {said:?}");
        assert_eq!(said.json()["code"], "policy");
    }
}

#[tokio::test]
async fn a_run_of_somebody_else_cannot_be_added_to() {
    let world = World::new().await;
    begin_staging(&world).await;
    let opened = world
        .gate
        .open_run(&world.outside.tests(), "checkout-staging")
        .await;
    let run = opened.json()["run"].as_str().unwrap().to_owned();
    let path = format!("/syncgate/v1/runs/{run}/attempts");
    let batch = json!({"sequence": 0, "attempts": []}).to_string();
    let said = world
        .gate
        .rest("POST", &path, &world.outside.alice(), &batch)
        .await;
    assert_eq!(said.status, 404, "{said:?}");
}

#[tokio::test]
async fn a_run_waits_until_there_is_something_to_test() {
    let world = World::new().await;
    begin_staging(&world).await;
    world
        .outside
        .argocd
        .change("checkout-staging", |application| {
            application["status"]["operationState"]["syncResult"]["resources"] = json!([]);
        });
    let (token, body) = (
        world.outside.tests(),
        crate::world::new_run("checkout-staging"),
    );
    let opening = body.to_string();
    let early = world
        .gate
        .rest("POST", "/syncgate/v1/runs", &token, &opening)
        .await;
    assert_eq!((early.status, early.header("retry-after")), (409, "1"));
    assert_eq!(early.json()["code"], "not-rolled-out");
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    assert_eq!(world.gate.post_run(&token, &body).await.status, 201);
}

#[tokio::test]
async fn a_run_is_of_the_commit_that_argo_cd_rolls_out_whatever_the_reporter_says() {
    let world = World::new().await;
    begin_staging(&world).await;
    let mut body = crate::world::new_run("checkout-staging");
    body["commits"] = json!([SECOND]);
    let token = world.outside.tests();
    let said = world
        .gate
        .rest("POST", "/syncgate/v1/runs", &token, &body.to_string())
        .await;
    assert_eq!(said.status, 409, "{said:?}");
    assert!(said.sentence().contains(SECOND), "{said:?}");
}

// What is checked is what is sent

#[tokio::test]
async fn a_branch_that_moves_between_check_and_forward_changes_nothing() {
    let world = World::new().await;
    test_in_staging(&world).await;
    let moved = |application: &mut Value| push(application, SECOND);
    world.outside.argocd.after_refresh(moved);
    let said = assert_prod_is_open(&world, FIRST).await;
    assert_eq!(said.json()["operation"]["sync"]["revision"], FIRST);
    let now = world.outside.argocd.application("checkout-prod");
    assert_eq!(now["status"]["sync"]["revision"], SECOND);
}

#[tokio::test]
async fn every_source_of_several_is_pinned() {
    let world = World::new().await;
    for wire in Wire::ALL {
        world.outside.argocd.forget();
        let call = Call::sync("multi-staging");
        let said = world.gate.ask(wire, &world.outside.alice(), &call).await;
        assert_eq!(said.code(), 0, "{said:?}");
        let sync = world.outside.argocd.only_sync();
        assert_eq!(sync.revision, None);
        assert_eq!(sync.source_positions, [1, 2]);
        assert_eq!(sync.revisions, [FIRST, CHART]);
    }
}

#[tokio::test]
async fn another_writer_between_check_and_operation_is_found_out_and_the_operation_ended() {
    let world = World::new().await;
    world.outside.argocd.before_sync(|application| {
        application["spec"]["source"]["path"] = json!("components/backdoor");
    });
    let said = sync(&world, &world.outside.alice(), "checkout-staging").await;
    assert_eq!((said.code(), said.status), (10, 409), "{said:?}");
    assert!(said.sentence().contains("another writer"), "{said:?}");
    let path = "DELETE /api/v1/applications/checkout-staging/operation?appNamespace=argocd";
    let asked = world.outside.argocd.own_questions();
    assert!(asked.iter().any(|question| question == path), "{asked:?}");
    // The record tells that the call was forwarded.
    let record = world.record(said.decision()).await;
    let outcome = record.closing.unwrap().outcome;
    assert!(matches!(outcome, Outcome::Forwarded { .. }), "{outcome:?}");
}

#[tokio::test]
async fn under_automated_sync_a_branch_cannot_be_pinned_and_the_refusal_says_so() {
    let world = World::new().await;
    let (alice, rita) = (world.outside.alice(), world.outside.rita());
    for (token, application) in [(alice, "auto-staging"), (rita, "auto-prod")] {
        for wire in Wire::ALL {
            let said = world.gate.ask(wire, &token, &Call::sync(application)).await;
            assert_eq!(said.code(), 9, "{said:?}");
            let sentence = said.sentence();
            for part in [
                application,
                "automated sync is on",
                "`main`",
                "admission door",
            ] {
                assert!(sentence.contains(part), "{sentence}");
            }
        }
    }
    assert!(world.outside.argocd.forwarded().is_empty());
}

#[tokio::test]
async fn an_application_of_no_environment_or_of_two_cannot_be_deployed() {
    let world = World::new().await;
    let admin_like = [world.outside.alice(), world.outside.rita()];
    for token in admin_like {
        for application in ["stray", "both-ways"] {
            for wire in Wire::ALL {
                let said = world.gate.ask(wire, &token, &Call::sync(application)).await;
                assert_eq!(said.code(), 7, "{said:?}");
                let expected = "must match exactly one environment";
                assert!(said.sentence().contains(expected), "{said:?}");
            }
            // It can be read.
            let said = world
                .gate
                .ask(Wire::Rest, &token, &Call::get(application))
                .await;
            assert_eq!(said.code(), 0, "{said:?}");
        }
    }
    let syncs = world.outside.argocd.forwarded();
    assert!(
        syncs.iter().all(|seen| seen.method == Method::GET),
        "{syncs:?}"
    );
}

#[tokio::test]
async fn an_environment_that_observes_forwards_as_asked_and_records_what_it_would_have_said() {
    let world = World::new().await;
    for (wire, token) in Wire::ALL.map(|wire| (wire, world.outside.rita())) {
        world.outside.argocd.forget();
        let call = Call::sync("checkout-observed");
        let said = world.gate.ask(wire, &token, &call).await;
        assert_eq!(said.code(), 0, "{said:?}");
        let sync = world.outside.argocd.only_sync();
        assert_eq!((sync.revision, sync.revisions.len()), (None, 0));
        let record = world.record(said.decision()).await;
        assert_eq!(record.opening.word, Word::ObserveDeny);
    }
}

// What is taken back

/// Withdraws `run`, as `token`.
async fn withdraw(world: &World, token: &str, run: &str, reason: &str) -> Said {
    let path = format!("/syncgate/v1/runs/{run}/withdraw");
    let body = json!({ "reason": reason }).to_string();
    world.gate.rest("POST", &path, token, &body).await
}

#[tokio::test]
async fn a_withdrawn_run_closes_prod_also_for_what_already_runs_and_says_by_whom_and_why() {
    let world = World::new().await;
    begin_staging(&world).await;
    let run = world.report("passed").await["run"]
        .as_str()
        .unwrap()
        .to_owned();
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    assert_prod_is_open(&world, FIRST).await;
    world.outside.argocd.finish("checkout-prod", "Succeeded");
    let (alice, sam) = (world.outside.alice(), world.outside.sam());
    let said = withdraw(&world, &alice, &run, "the database was empty").await;
    assert_eq!(said.status, 200, "{said:?}");
    let first = said.json();
    assert_eq!(first["withdrawn"]["by"], "alice@shop.example", "{first}");
    let decision = said.decision();
    assert_eq!(first["withdrawn"]["decision"], decision.to_string());
    let record = world.record(decision).await;
    let opening = &record.opening;
    assert_eq!(
        (
            opening.operation.as_str(),
            opening.effect.as_str(),
            opening.word
        ),
        ("Run.withdraw", "write", Word::Permit)
    );
    assert_eq!(opening.request["reason"], "the database was empty");
    assert_eq!(record.closing.unwrap().outcome, Outcome::Answered);
    let because =
        format!("in run {run}, which was withdrawn by alice@shop.example: the database was empty");
    assert_prod_is_closed(&world, &because).await;
    // For good, and by whom it was first.
    let again = withdraw(&world, &sam, &run, "me too").await;
    assert_eq!((again.status, again.json()), (200, first));
    test_in_staging(&world).await;
    assert_prod_is_open(&world, FIRST).await;
}

#[tokio::test]
async fn only_who_may_withdraws_a_run() {
    let world = World::new().await;
    begin_staging(&world).await;
    let run = world.report("failed").await["run"]
        .as_str()
        .unwrap()
        .to_owned();
    let said = withdraw(&world, &world.outside.tests(), &run, "flaky").await;
    assert_eq!((said.status, &said.json()["code"]), (403, &json!("policy")));
    // Who may not read it is not told of it.
    let nobody = world.outside.nobody();
    for run in [run.as_str(), "01ARZ3NDEKTSV4RRFFQ69G5FAV", "x"] {
        let said = withdraw(&world, &nobody, run, "because").await;
        assert_eq!(said.status, 404, "{said:?}");
    }
    let said = withdraw(&world, &world.outside.alice(), &run, "").await;
    assert_eq!(said.status, 400, "{said:?}");
    let path = format!("/syncgate/v1/runs/{run}");
    let shown = world
        .gate
        .rest("GET", &path, &world.outside.alice(), "")
        .await;
    assert_eq!(shown.json()["withdrawn"], Value::Null);
}

#[tokio::test]
async fn the_run_of_an_application_that_is_gone_can_be_withdrawn() {
    let world = World::new().await;
    test_in_staging(&world).await;
    let alice = world.outside.alice();
    let listed = world
        .gate
        .rest("GET", "/syncgate/v1/runs", &alice, "")
        .await;
    let run = listed.json()["runs"][0]["run"].as_str().unwrap().to_owned();
    world.outside.argocd.remove("checkout-staging");
    let said = withdraw(&world, &world.outside.sam(), &run, "it was a trial").await;
    assert_eq!(said.status, 200, "{said:?}");
    assert_prod_is_closed(&world, "it was a trial").await;
}
