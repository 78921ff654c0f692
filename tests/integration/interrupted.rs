//! The gate is killed between two steps; the log tells afterwards how far the call came.

use serde_json::Value;
use syncgate::record::{self, LogEntry, Outcome, Reached};
use syncgate::store::{DecisionFilter, Store};

use crate::world::{Outside, Process, Wire, eventually, run};

/// Kills the gate at `place` of a sync, starts it again, and gives the record of the sync.
async fn killed_at(outside: &Outside, place: &str) -> LogEntry {
    let reached = outside.path().join("reached");
    let failpoint = format!("{place}={}", reached.display());
    let process = Process::serve_with(outside, &[], Some(&failpoint)).await;
    let (gate, token) = (process.gate.clone(), outside.alice());
    outside.tasks.spawn(async move {
        let headers = [Wire::Rest.credential(&token)];
        let path = "/api/v1/applications/checkout-staging/sync";
        // It never gets an answer.
        let _ = gate
            .try_begin(Wire::Rest, "POST", path, &headers, "{}".into())
            .await;
    });
    eventually("the fail point", || async {
        reached.exists().then_some(())
    })
    .await;
    assert!(only_sync(outside).await.closing.is_none());
    process.kill().await;
    let _again = Process::serve(outside).await;
    eventually("a closing entry", || async {
        let entry = only_sync(outside).await;
        entry.closing.is_some().then_some(entry)
    })
    .await
}

async fn only_sync(outside: &Outside) -> LogEntry {
    let store = Store::open_read_only(&outside.store()).unwrap();
    let filter = DecisionFilter {
        operation: Some("ApplicationService.Sync".to_owned()),
        limit: 10,
        ..DecisionFilter::default()
    };
    let [entry] = record::list(&store, filter)
        .await
        .unwrap()
        .entries
        .try_into()
        .unwrap();
    entry
}

fn reached(entry: LogEntry) -> Reached {
    match entry.closing.unwrap().outcome {
        Outcome::Interrupted { reached, .. } => reached,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn killed_before_the_forward_the_log_says_that_argo_cd_was_not_reached() {
    let outside = Outside::start().await;
    let entry = killed_at(&outside, "before-forward").await;
    assert!(outside.argocd.forwarded().is_empty());
    assert_eq!(reached(entry), Reached::No);
}

#[tokio::test]
async fn killed_after_the_forward_the_log_says_that_argo_cd_was_reached() {
    let outside = Outside::start().await;
    let entry = killed_at(&outside, "after-forward").await;
    let infos = outside.argocd.only_sync().infos;
    assert_eq!(infos[0].value, Some(entry.decision.to_string()));
    assert_eq!(reached(entry), Reached::Yes);
}

#[tokio::test]
async fn the_command_line_shows_an_interrupted_call_as_what_it_is() {
    let outside = Outside::start().await;
    let entry = killed_at(&outside, "before-forward").await;
    let (decision, store) = (entry.decision.to_string(), outside.store());
    let store = store.to_str().unwrap();
    let shown = run(["log", "show", &decision, "--store", store]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.out.contains("interrupted"), "{shown:?}");
    let json = run([
        "log", "show", &decision, "--store", store, "--output", "json",
    ])
    .await
    .json();
    assert_eq!(
        json["closing"]["outcome"]["kind"],
        Value::from("interrupted")
    );
    assert_eq!(json["closing"]["outcome"]["reached"], Value::from("no"));
}
