//! What Argo CD says of the hook Job that a run came from is kept beside the run, and the worse counts.

use serde_json::{Value, json};
use syncgate::record::Word;

use crate::evidence::{assert_prod_is_closed, assert_prod_is_open, begin_staging};
use crate::world::{FIRST, World, eventually};

/// A pod of the Job `tests` reports a run with this outcome; gives the run.
async fn report_from_job(world: &World, outcome: &str) -> String {
    let issuer = &world.outside.issuer;
    let token = issuer.account_with("shop-staging", "checkout-tests", |claims| {
        claims["kubernetes.io"]["pod"] = json!({"name": "tests-x7k2p", "uid": "u-p"});
    });
    let finished = world.gate.report(&token, outcome).await;
    assert_eq!(finished["verdict"], outcome);
    finished["run"].as_str().unwrap().to_owned()
}

/// The operation of `checkout-staging` ends in `phase`, and its Job in `hook`.
fn end(world: &World, phase: &str, hook: &str) {
    let argocd = &world.outside.argocd;
    // Nobody must see the end without the Job.
    argocd.change("checkout-staging", |application| {
        application["operation"] = Value::Null;
        let state = &mut application["status"]["operationState"];
        state["phase"] = json!(phase);
        state["finishedAt"] = state["startedAt"].clone();
        state["syncResult"] = state["operation"]["sync"].clone();
        state["syncResult"]["resources"] = json!([{
            "group": "batch", "version": "v1", "kind": "Job", "namespace": "shop-staging",
            "name": "tests", "hookType": "PostSync", "hookPhase": hook,
            "message": "Job has reached the specified backoff limit",
        }]);
        application["status"]["sync"]["status"] = json!("Synced");
    });
}

/// The run, once the gate has seen how its Job ended and has held it against the run.
async fn heard(world: &World, run: &str) -> Value {
    let (path, alice) = (format!("/syncgate/v1/runs/{run}"), world.outside.alice());
    eventually("the end of its Job", || async {
        let shown = world.gate.rest("GET", &path, &alice, "").await.json();
        let ended = shown["hook"]["phase"].as_str()? != "Running";
        let settled = shown["result"]["counts"] != "when-operation-succeeds";
        (ended && settled).then_some(shown)
    })
    .await
}

#[tokio::test]
async fn a_pass_whose_job_failed_closes_what_an_older_pass_had_opened_and_is_on_record() {
    let world = World::new().await;
    begin_staging(&world).await;
    let run = report_from_job(&world, "passed").await;
    end(&world, "Succeeded", "Succeeded");
    let shown = heard(&world, &run).await;
    assert_eq!(
        (
            &shown["hook"]["kind"],
            &shown["hook"]["job"],
            &shown["hook"]["phase"]
        ),
        (
            &json!("PostSync"),
            &json!("shop-staging/tests"),
            &json!("Succeeded")
        )
    );
    assert_eq!(shown["disagreement"], Value::Null);
    assert_prod_is_open(&world, FIRST).await;

    // The same commit again, and this time the container fails after its tests.
    next_second().await;
    begin_staging(&world).await;
    let run = report_from_job(&world, "passed").await;
    end(&world, "Failed", "Failed");
    let said = assert_prod_is_closed(&world, "the Job says otherwise").await;
    let job = "shop-staging/tests ended Failed: Job has reached the specified backoff limit";
    assert!(said.sentence().contains(job), "{}", said.sentence());
    let shown = heard(&world, &run).await;
    assert_eq!(shown["result"]["verdict"], "failed");
    assert_eq!(shown["result"]["tests"]["failed"], 0);
    let disagreement = &shown["disagreement"];
    assert_eq!(
        (
            &disagreement["reason"],
            &disagreement["reported"],
            &disagreement["counts_as"]
        ),
        (&json!("hook-failed"), &json!("passed"), &json!("failed"))
    );
    let decision = serde_json::from_value(disagreement["decision"].clone()).unwrap();
    let record = world.record(decision).await.opening;
    assert_eq!(
        (record.operation.as_str(), record.word),
        ("Run.Disputed", Word::Note)
    );
    assert_eq!(record.applications[0].name, "checkout-staging");
    assert_eq!(record.request["run"], json!(run));
    assert_eq!(record.request["hook"], shown["hook"]);
}

#[tokio::test]
async fn tests_that_failed_stay_so_although_their_job_succeeded() {
    let world = World::new().await;
    begin_staging(&world).await;
    let run = report_from_job(&world, "failed").await;
    end(&world, "Succeeded", "Succeeded");
    assert_prod_is_closed(&world, "1 test; its Job succeeded all the same").await;
    let shown = heard(&world, &run).await;
    assert_eq!(shown["result"]["verdict"], "failed");
    assert_eq!(shown["disagreement"]["reason"], "hook-succeeded");
}

/// Argo CD forgets an operation as soon as the next one begins.
#[tokio::test]
async fn the_watch_sees_an_end_that_nobody_could_ask_about() {
    let world = World::new().await;
    begin_staging(&world).await;
    let run = report_from_job(&world, "passed").await;
    eventually("the watch", || async {
        world.app.index.is_up().then_some(())
    })
    .await;
    end(&world, "Failed", "Failed");
    world
        .outside
        .argocd
        .change("checkout-staging", |application| {
            application["status"]["operationState"] = Value::Null;
        });
    let shown = heard(&world, &run).await;
    assert_eq!(shown["hook"]["phase"], "Failed");
    assert_prod_is_closed(&world, "the Job says otherwise").await;
}

/// Argo CD's times have whole seconds, and each operation begins in another.
async fn next_second() {
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
}
