//! Jobs of CI: what they read, that they deploy nothing, and what they may say about tests.

use serde_json::{Value, json};

use crate::evidence::{assert_prod_is_closed, assert_prod_is_open, begin_staging};
use crate::world::{Call, FIRST, Outside, SECOND, Wire, World, eventually, new_run};

/// All jobs of the role list; what they see of it, and whether they sync, is a matter of repository and ref.
const POLICY: &str = r#"
@id("ci-list")
@advice("listing needs the role `ci`")
permit (
  principal in Syncgate::Role::"ci",
  action == Syncgate::Action::"ApplicationService.List",
  resource
);

@id("ci-read")
@advice("reading is for jobs of `acme/checkout` on `main`")
permit (
  principal is Syncgate::Workload in Syncgate::Role::"ci",
  action in Syncgate::Action::"read",
  resource is Syncgate::Application
)
when { principal.repository == "acme/checkout" && principal.ref == "refs/heads/main" };
"#;

const CASES: &str = r#"[
  { "name": "a job lists", "caller": { "kind": "ci", "roles": ["ci"] },
    "action": "ApplicationService.List", "decision": "allow", "reason": ["ci-list"] },
  { "name": "a job of main reads", "caller": { "kind": "ci", "roles": ["ci"] },
    "action": "ApplicationService.Get", "application": { "environment": "prod" },
    "decision": "allow", "reason": ["ci-read"] },
  { "name": "a job of another branch does not",
    "caller": { "kind": "ci", "ci": { "ref": "refs/heads/other" }, "roles": ["ci"] },
    "action": "ApplicationService.Get", "application": { "environment": "prod" },
    "decision": "deny", "reason": [] }
]"#;

const SECTIONS: &str = r#"
[[ci]]
provider = "github"
issuer = "@CI@"
audience = "syncgate"

[[role]]
name = "ci"
ci = [{ issuer = "@CI@", repository = "acme/*" }]

[[role]]
name = "test-job"
ci = [{ issuer = "@CI@", repository = "acme/checkout", repository_id = "74", workflow = "acme/ci/.github/workflows/test.yml@refs/tags/*" }]

[[workload]]
ci = { issuer = "@CI@", repository = "acme/checkout", environment = "staging" }
applications = "checkout-staging"
"#;

async fn world() -> World {
    let outside = Outside::start().await;
    outside.write_policy("ci.cedar", POLICY);
    outside.write_policy("ci.cases.json", CASES);
    World::with_sections(outside, SECTIONS).await
}

fn set(name: &str, value: Value) -> impl FnOnce(&mut Value) {
    move |claims| claims[name] = value
}

/// The names of the applications that `token` gets to see in a list.
async fn listed(world: &World, token: &str) -> Vec<String> {
    let said = world.gate.ask(Wire::Rest, token, &Call::list()).await;
    assert_eq!(said.code(), 0, "{said:?}");
    let json = said.json();
    let items = json["items"].as_array().cloned().unwrap_or_default();
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
    items.iter().map(name).collect()
}

fn a_run(commits: &Value) -> Value {
    let mut run = new_run("checkout-staging");
    run["commits"] = commits.clone();
    run
}

#[tokio::test]
async fn a_job_reads_by_repository_and_ref_although_its_subject_tells_neither() {
    let world = world().await;
    let issuer = &world.outside.issuer;
    let main = issuer.job(|_| ());
    let names = listed(&world, &main).await;
    assert!(names.contains(&"checkout-prod".to_owned()), "{names:?}");
    // All these have the same `sub`, and no answer is kept from one to the other. The first two may see what
    // they test.
    for (other, sees) in [
        (
            issuer.job(set("ref", json!("refs/heads/other"))),
            &["checkout-staging"][..],
        ),
        (
            issuer.job(set("event_name", json!("pull_request_target"))),
            &["checkout-staging"],
        ),
        (issuer.job(set("repository", json!("acme/other"))), &[]),
    ] {
        assert_eq!(listed(&world, &other).await, sees);
        let said = world
            .gate
            .ask(Wire::Rest, &other, &Call::get("checkout-prod"))
            .await;
        assert_eq!((said.code(), said.status), (7, 403), "{said:?}");
    }
    assert_eq!(listed(&world, &main).await, names);
    // Nobody gave a role to this one.
    let stranger = issuer.job(set("repository", json!("acme-evil/checkout")));
    let said = world.gate.ask(Wire::Rest, &stranger, &Call::list()).await;
    assert_eq!(said.status, 401, "{said:?}");
    assert!(said.sentence().contains("no role is given to"), "{said:?}");
}

#[tokio::test]
async fn a_job_is_refused_a_deploy_on_every_wire_and_the_record_names_it() {
    let world = world().await;
    world.outside.argocd.must_not_be_touched_by_callers();
    let token = world.outside.issuer.job(|_| ());
    for wire in Wire::ALL {
        let call = Call::sync("checkout-staging");
        let said = world.gate.ask(wire, &token, &call).await;
        assert_eq!(said.code(), 7, "{said:?}");
        let record = world.record(said.decision()).await;
        let caller = record.opening.caller.as_ref().unwrap();
        let subject = "repo:acme/checkout:environment:staging";
        assert_eq!(caller.display, subject);
        let issuer = world.outside.issuer.ci();
        assert_eq!(caller.unique, format!("{issuer}#{subject}"));
        let record = serde_json::to_string(&record).unwrap();
        for told in ["\"refs/heads/main\"", "\"9204836251\"", "\"ci\""] {
            assert!(record.contains(told), "{told}: {record}");
        }
    }
}

#[tokio::test]
async fn a_job_reports_for_the_commits_that_it_names_if_they_are_deployed() {
    let world = world().await;
    let token = world.outside.issuer.job(|_| ());
    begin_staging(&world).await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    let unsaid = world
        .gate
        .post_run(&token, &new_run("checkout-staging"))
        .await;
    assert_eq!(unsaid.status, 409, "{unsaid:?}");
    assert_eq!(unsaid.json()["code"], "commits-required");
    let other = world.gate.post_run(&token, &a_run(&json!([SECOND]))).await;
    assert_eq!(
        (other.status, &other.json()["code"]),
        (409, &json!("other-commit"))
    );
    assert_prod_is_closed(&world, "has no passing 'integration' run in staging").await;
    let finished = world
        .gate
        .report_as(&token, &a_run(&json!([FIRST])), "passed")
        .await;
    assert_eq!(
        (&finished["verdict"], &finished["counts"]),
        (&json!("passed"), &json!("now")),
        "{finished}"
    );
    assert_prod_is_open(&world, FIRST).await;
}

#[tokio::test]
async fn who_is_not_the_job_of_the_configuration_on_a_protected_ref_reports_nothing() {
    let world = world().await;
    begin_staging(&world).await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    let issuer = &world.outside.issuer;
    for (what, token) in [
        (
            "on an unprotected ref",
            issuer.job(set("ref_protected", json!("false"))),
        ),
        (
            "of a pull request",
            issuer.job(set("event_name", json!("pull_request_target"))),
        ),
        (
            "of a repository that was made anew",
            issuer.job(set("repository_id", json!("75"))),
        ),
        (
            "of another workflow",
            issuer.job(set(
                "job_workflow_ref",
                json!("acme/checkout/.github/workflows/x.yml@refs/heads/main"),
            )),
        ),
        (
            "of another environment",
            issuer.job(set("environment", json!("try"))),
        ),
    ] {
        let said = world.gate.post_run(&token, &a_run(&json!([FIRST]))).await;
        assert_eq!(said.status, 403, "{what}: {said:?}");
    }
    let said = world
        .gate
        .post_run(&issuer.job(|_| ()), &a_run(&json!([FIRST])))
        .await;
    assert_eq!(said.status, 201, "{said:?}");
}

#[tokio::test]
async fn a_preflight_tells_a_job_what_it_is_and_what_is_missing() {
    let world = world().await;
    let ask = async |token: &str| {
        let now = syncgate::clock::Clock::system().now();
        let question =
            json!({"application": "checkout-staging", "suite": "integration", "now": now});
        let question = question.to_string();
        let path = "/syncgate/v1/preflight";
        let said = world.gate.rest("POST", path, token, &question);
        said.await.json().to_string()
    };
    begin_staging(&world).await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    let known = eventually("an operation that has ended", || async {
        let known = ask(&world.outside.issuer.job(|_| ())).await;
        Some(known).filter(|known| !known.contains("a run has to wait"))
    })
    .await;
    assert!(known.contains("by a CI job's token of"), "{known}");
    let about = "what is deployed, 3f2c1a9; a job of CI must say so when it reports";
    assert!(known.contains(about), "{known}");
    let other = world
        .outside
        .issuer
        .job(set("environment", json!("elsewhere")));
    let other = ask(&other).await;
    let mend = r#"with ci = { issuer = \""#;
    assert!(other.contains(mend), "{other}");
    assert!(
        other.contains(r#"repository = \"acme/checkout\" }"#),
        "{other}"
    );
}
