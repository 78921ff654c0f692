//! Reports that are made to look better than the tests were, each refused with its reason; and ordinary
//! ones, all accepted.

use serde_json::{Value, json};

use crate::evidence::{assert_prod_is_closed, assert_prod_is_open, begin_staging};
use crate::world::{FIRST, Report, SECOND, Wire, World, eventually, report};

/// `t00:passed` and so on.
fn passing(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("t{n:02}:passed")).collect()
}

fn texts(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn codes(finished: &Value) -> Vec<&str> {
    let reasons = finished["reasons"].as_array().unwrap();
    reasons
        .iter()
        .map(|it| it["code"].as_str().unwrap())
        .collect()
}

/// A gate, and `checkout-staging` in the middle of a sync.
async fn syncing() -> World {
    let world = World::new().await;
    begin_staging(&world).await;
    world
}

/// A gate, and `checkout-staging` in the middle of a sync of `SECOND`; `before` passed for `FIRST`.
async fn syncing_after(before: &Report) -> World {
    let world = syncing().await;
    before.counts(&world).await;
    world.outside.argocd.push(SECOND);
    begin_staging(&world).await;
    world
}

/// Hands in `report`, which is refused with `code`, and prod stays closed for that.
async fn assert_refused(world: &World, report: &Report, code: &str, words: &str) {
    let finished = report.hand_in(world).await;
    assert_eq!(
        (&finished["verdict"], codes(&finished)),
        (&json!("refused"), vec![code])
    );
    let detail = finished["reasons"][0]["detail"].as_str().unwrap();
    assert!(detail.contains(words), "{detail}");
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    assert_prod_is_closed(world, "refused ").await;
    assert_prod_is_closed(world, code).await;
}

// Reports that look better than the tests were

#[tokio::test]
async fn a_run_without_tests_is_no_evidence() {
    assert_refused(&syncing().await, &report(&[]), "no-tests", "no test ran").await;
    let skipped = report(&["a:skipped", "b:skipped"]);
    assert_refused(&syncing().await, &skipped, "no-tests", "no test passed").await;
}

#[tokio::test]
async fn a_suite_that_has_shrunk_is_no_evidence() {
    let all = passing(20);
    let world = syncing_after(&report(&texts(&all))).await;
    let fewer = report(&texts(&all[..17]));
    assert_refused(
        &world,
        &fewer,
        "shrunk",
        "17 tests ran, 20 in the newest passing run",
    )
    .await;
}

#[tokio::test]
async fn how_much_a_suite_may_shrink_is_configured() {
    let all = passing(20);
    for (least, verdict) in [(96, "refused"), (95, "passed"), (0, "passed")] {
        let outside = crate::world::Outside::start().await;
        let world = World::with(outside, |config| {
            for environment in &mut config.environments {
                for requirement in &mut environment.requires {
                    let share = syncgate::evidence::verdict::LeastShare::percent(least);
                    requirement.least_share = share;
                }
            }
        });
        let world = world.await;
        begin_staging(&world).await;
        report(&texts(&all)).counts(&world).await;
        let kept = if least == 0 { 1 } else { 19 };
        let finished = report(&texts(&all[..kept])).hand_in(&world).await;
        assert_eq!(finished["verdict"], verdict, "{least}: {finished}");
    }
}

#[tokio::test]
async fn failures_that_end_as_expected_are_hidden() {
    let hidden = report(&["a:passed", "b:failed,failed,xfailed"]);
    let words = "failed, then expected to fail or skipped: b";
    assert_refused(&syncing().await, &hidden, "hidden-failure", words).await;
}

#[tokio::test]
async fn a_test_that_passed_and_is_expected_to_fail_now_is_hidden() {
    let world = syncing_after(&report(&["a:passed", "b:passed"])).await;
    let turned = report(&["a:passed", "b:xfailed"]);
    assert_refused(&world, &turned, "turned-xfail", "failed as expected now: b").await;
}

#[tokio::test]
async fn tests_that_options_leave_out_are_missed() {
    let all = passing(20);
    let world = syncing_after(&report(&texts(&all))).await;
    let narrowed = report(&texts(&all[1..])).but(|it| {
        it.open["options"] = json!(["-k not t00"]);
        it.open["collected"]["deselected"] = json!(1);
    });
    assert_refused(&world, &narrowed, "narrowed", "left out by -k not t00: t00").await;
}

#[tokio::test]
async fn a_report_that_was_edited_contradicts_itself() {
    let whole = || report(&["a:passed", "b:passed"]);
    let without_b = || whole().but(|it| drop(it.attempts.pop()));
    for (edited, code) in [
        (
            without_b().but(|it| it.end["attempts"] = json!(1)),
            "incomplete",
        ),
        (
            whole().but(|it| it.attempts[1]["test"] = json!("c")),
            "other-tests",
        ),
        (
            whole().but(|it| it.end["attempts"] = json!(3)),
            "count-mismatch",
        ),
        (
            whole().but(|it| it.end["exit_status"] = json!(1)),
            "exit-status",
        ),
    ] {
        assert_refused(&syncing().await, &edited, code, "").await;
    }
    let twice = report(&["a:passed", "b:failed,passed"]).but(|it| {
        it.attempts[2]["attempt"] = json!(1);
    });
    let finished = twice.hand_in(&syncing().await).await;
    assert_eq!(finished["verdict"], "refused");
    assert_eq!(
        codes(&finished),
        ["duplicate-attempt", "passed-with-retries"]
    );
}

#[tokio::test]
async fn a_report_for_an_older_commit_does_not_pass_for_a_newer() {
    let old = report(&["a:passed", "b:passed"]);
    let world = syncing_after(&old).await;
    assert_refused(&world, &old, "replayed", "the same tests at the same times").await;
}

#[tokio::test]
async fn a_failure_cannot_be_edited_away() {
    let world = syncing().await;
    let failed = report(&["a:passed", "b:failed"]);
    assert_eq!(failed.hand_in(&world).await["verdict"], "failed");
    let edited = failed.but(|it| {
        it.attempts[1]["outcome"] = json!("passed");
        it.end["exit_status"] = json!(0);
    });
    let finished = edited.hand_in(&world).await;
    assert_eq!(codes(&finished), ["replayed"]);
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    assert_prod_is_closed(&world, "last: failed").await;
}

#[tokio::test]
async fn a_pass_cannot_be_handed_in_again_after_a_failure() {
    let world = syncing().await;
    let passed = report(&["a:passed", "b:passed"]);
    passed.counts(&world).await;
    assert_prod_is_open(&world, FIRST).await;
    let failed = report(&["a:passed", "b:failed"]);
    assert_eq!(failed.hand_in(&world).await["counts"], "now");
    let again = passed.hand_in(&world).await;
    assert_eq!(
        (codes(&again), &again["counts"]),
        (vec!["replayed"], &json!("never"))
    );
    assert_prod_is_closed(&world, "last: failed").await;
}

#[tokio::test]
async fn a_dirty_tree_is_of_no_commit() {
    let world = syncing().await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    let dirty = report(&["a:passed"]).but(|it| it.open["dirty"] = json!(true));
    assert_refused(&world, &dirty, "dirty-tree", "commit first, then run").await;
}

#[tokio::test]
async fn what_was_not_deployed_was_not_tested() {
    let world = syncing().await;
    let other = report(&["a:passed"]).but(|it| it.open["commits"] = json!([SECOND]));
    let said = other.open(&world).await;
    assert_eq!(
        (said.status, &said.json()["code"]),
        (409, &json!("other-commit"))
    );
    assert!(said.sentence().contains(SECOND), "{said:?}");
}

#[tokio::test]
async fn tests_over_which_the_application_moves_on_are_of_neither_commit() {
    let world = syncing().await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    let outside = report(&["a:passed"]);
    let opened = outside.open(&world).await;
    let run = opened.json()["run"].as_str().unwrap().to_owned();
    world.outside.argocd.push(SECOND);
    begin_staging(&world).await;
    let token = world.outside.tests();
    let batch = json!({"sequence": 0, "attempts": outside.attempts}).to_string();
    let path = format!("/syncgate/v1/runs/{run}/attempts");
    world.gate.rest("POST", &path, &token, &batch).await;
    let path = format!("/syncgate/v1/runs/{run}/finish");
    let end = outside.end.to_string();
    let finished = world.gate.rest("POST", &path, &token, &end).await.json();
    assert_eq!(
        (codes(&finished), &finished["counts"]),
        (vec!["other-commit"], &json!("never"))
    );
}

#[tokio::test]
async fn an_operation_that_rolls_out_nothing_or_not_all_has_no_tests() {
    let parts: [(Value, &str); 3] = [
        (json!({"dryRun": true}), "dry-run"),
        (
            json!({"resources": [{"kind": "Job", "name": "x"}]}),
            "partial",
        ),
        (json!({"manifests": ["{}"]}), "local-manifests"),
    ];
    for (part, code) in parts {
        let world = syncing().await;
        world
            .outside
            .argocd
            .change("checkout-staging", |application| {
                let sync = &mut application["status"]["operationState"]["operation"]["sync"];
                for (key, value) in part.as_object().unwrap() {
                    sync[key] = value.clone();
                }
            });
        let said = report(&["a:passed"]).open(&world).await;
        assert_eq!((said.status, &said.json()["code"]), (409, &json!(code)));
    }
}

#[tokio::test]
async fn a_run_that_was_cut_short_is_no_evidence() {
    let cut = report(&["a:passed"]).but(|it| {
        it.end["interrupted"] = json!(true);
        it.end["exit_status"] = json!(2);
    });
    assert_refused(&syncing().await, &cut, "interrupted", "cut short").await;
}

#[tokio::test]
async fn who_may_not_report_for_an_application_does_not() {
    let world = syncing().await;
    for application in ["cart-staging", "checkout-prod"] {
        let foreign = report(&["a:passed"]).but(|it| it.open["application"] = json!(application));
        let said = foreign.open(&world).await;
        assert_eq!((said.status, &said.json()["code"]), (403, &json!("policy")));
        assert!(
            said.sentence()
                .contains("refused for system:serviceaccount"),
            "{said:?}"
        );
    }
}

// Ordinary reports

#[tokio::test]
async fn ordinary_runs_are_accepted() {
    let long = "x".repeat(1_000_000);
    let reports = [
        report(&["a:passed", "b:passed"]),
        report(&["a:passed", "b:failed,failed,passed"]),
        report(&["a:passed", "b:skipped", "c:xfailed", "d:xpassed"]),
        report(&["tests/test_ä.py::test_größe[雪-☃]:passed", "t[1 2]:passed"]),
        report(&["a:passed"]).but(|it| {
            it.open["options"] = json!(["-m smoke"]);
            it.open["collected"]["deselected"] = json!(40);
        }),
        report(&["a:failed,passed"]).but(|it| it.attempts[0]["message"] = json!(long)),
        report(&["a:passed", "b:passed", "c:passed"]).but(|it| {
            it.attempts.reverse();
            for (worker, attempt) in it.attempts.iter_mut().enumerate() {
                attempt["worker"] = json!(format!("gw{worker}"));
            }
        }),
    ];
    for ordinary in reports {
        let world = syncing().await;
        ordinary.counts(&world).await;
        assert_prod_is_open(&world, FIRST).await;
    }
}

#[tokio::test]
async fn a_run_is_stated_for_other_tools_once_it_cannot_change() {
    let world = syncing().await;
    let alice = world.outside.alice();
    let ordinary = report(&["a:passed", "b:failed,passed"]);
    let finished = ordinary.hand_in(&world).await;
    let run = finished["run"].as_str().unwrap();
    let path = format!("/syncgate/v1/runs/{run}/statement");
    let ask = async |token: &str| world.gate.rest("GET", &path, token, "").await;
    let early = ask(&alice).await;
    assert_eq!(
        (early.status, &early.json()["code"]),
        (409, &json!("not-ended"))
    );
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    let statement = eventually("a statement", || async {
        let said = ask(&alice).await;
        (said.status == 200).then(|| said.json())
    });
    let statement = statement.await;
    assert_eq!(
        statement["subject"],
        json!([{"digest": {"gitCommit": FIRST}}])
    );
    let predicate = &statement["predicate"];
    assert_eq!(predicate["result"], "WARNED");
    assert_eq!(predicate["passedTests"], json!(["a"]));
    assert_eq!(predicate["warnedTests"], json!(["b"]));
    assert_eq!(predicate["url"], finished["url"]);
    assert_eq!(ask(&world.outside.nobody()).await.status, 404);
    let reason = json!({"reason": "a trial"}).to_string();
    let withdraw = format!("/syncgate/v1/runs/{run}/withdraw");
    world.gate.rest("POST", &withdraw, &alice, &reason).await;
    assert_eq!(ask(&alice).await.json()["predicate"]["result"], "FAILED");
}

#[tokio::test]
async fn the_same_suite_again_is_accepted_for_each_commit() {
    let tests = ["a:passed", "b:xfailed", "c:skipped", "d:failed,passed"];
    let selected = || {
        report(&tests).but(|it| {
            it.open["options"] = json!(["-m not slow"]);
            it.open["collected"]["deselected"] = json!(3);
        })
    };
    let world = syncing_after(&selected()).await;
    let finished = selected().counts(&world).await;
    assert_eq!(codes(&finished), ["passed-with-retries", "deselected"]);
    assert_prod_is_open(&world, SECOND).await;
}

#[tokio::test]
async fn a_run_after_a_keyboard_interrupt_is_accepted() {
    let world = syncing().await;
    let cut = report(&["a:passed"]).but(|it| {
        it.end["interrupted"] = json!(true);
        it.end["exit_status"] = json!(2);
    });
    assert_eq!(codes(&cut.hand_in(&world).await), ["interrupted"]);
    report(&["a:passed"]).counts(&world).await;
    assert_prod_is_open(&world, FIRST).await;
}

#[tokio::test]
async fn twenty_thousand_tests_are_accepted() {
    let names: Vec<String> = (0..20_000).map(|n| format!("t[{n}]:passed")).collect();
    let world = syncing().await;
    let finished = report(&texts(&names)).counts(&world).await;
    assert_eq!(finished["tests"]["passed"], 20_000);
}

#[tokio::test]
async fn a_report_that_is_sent_again_under_its_key_stays_one_run() {
    let world = syncing().await;
    let once = report(&["a:passed"]);
    let token = world.outside.tests();
    let headers = [
        Wire::Rest.credential(&token),
        ("idempotency-key", "k-1".to_owned()),
    ];
    let open = async || {
        let body = once.open.to_string().into();
        let path = "/syncgate/v1/runs";
        let sent = world.gate.send(Wire::Rest, "POST", path, &headers, body);
        sent.await.json()["run"].as_str().unwrap().to_owned()
    };
    let run = open().await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        assert_eq!(open().await, run);
        let batch = json!({"sequence": 0, "attempts": once.attempts}).to_string();
        let path = format!("/syncgate/v1/runs/{run}/attempts");
        world.gate.rest("POST", &path, &token, &batch).await;
        let path = format!("/syncgate/v1/runs/{run}/finish");
        let end = once.end.to_string();
        let finished = world.gate.rest("POST", &path, &token, &end).await;
        assert_eq!(finished.json()["verdict"], "passed", "{finished:?}");
        answers.push(finished.json());
    }
    assert_eq!(answers[0], answers[1]);
}
