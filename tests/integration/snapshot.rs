//! A failure comes with what the application was like, for those who may read it.

use serde_json::{Value, json};

use crate::evidence::begin_staging;
use crate::world::{ArgoCd, FIRST, SECOND, World, eventually};

const JSON: &str = "application/json";

/// Its pod crashes, and its rollout has changed a setting and a secret.
fn is_ill(argocd: &ArgoCd) {
    let page = |page: &str| format!("/api/v1/applications/checkout-staging/{page}");
    let says = |name: &str, body: Value| argocd.says(&page(name), JSON, body.to_string());
    says(
        "resource-tree",
        json!({ "nodes": [
            { "kind": "Service", "namespace": "shop", "name": "checkout",
              "health": { "status": "Healthy" } },
            { "kind": "Pod", "namespace": "shop", "name": "checkout-0", "uid": "u-1",
              "health": { "status": "Degraded", "message": "back-off restarting" },
              "info": [{ "name": "Restart Count", "value": "3" }] },
        ] }),
    );
    argocd.has_events(
        "checkout-staging",
        json!([{ "reason": "BackOff", "message": "Back-off restarting failed container",
                 "lastTimestamp": "2026-11-23T09:00:00Z" }]),
    );
    let line = |text: &str| json!({ "result": { "content": text } }).to_string();
    let last = json!({ "result": { "last": true } }).to_string();
    let log = [line("starting"), line("panic: no database"), last].join("\n");
    argocd.says(&page("logs"), JSON, log);
    argocd.change("checkout-staging", |application| {
        let source = application["spec"]["source"].clone();
        application["status"]["history"] =
            json!([{ "id": 0, "revision": SECOND, "source": source }]);
        application["status"]["operationState"]["syncResult"]["revision"] = json!(FIRST);
        application["status"]["health"] = json!({ "status": "Degraded" });
    });
}

async fn snapshot_at(world: &World, token: &str, path: &str) -> Value {
    eventually("a snapshot", || async {
        let said = world.gate.rest("GET", path, token, "").await;
        (said.status == 200).then(|| said.json())
    })
    .await
}

#[tokio::test]
async fn failed_tests_come_with_what_the_application_was_like() {
    let world = World::new().await;
    begin_staging(&world).await;
    is_ill(&world.outside.argocd);
    let finished = world.report("failed").await;
    let url = finished["snapshot"].as_str().unwrap();
    let run = finished["run"].as_str().unwrap();
    assert!(
        url.ends_with(&format!("/syncgate/v1/runs/{run}/snapshot")),
        "{url}"
    );

    let path = format!("/syncgate/v1/runs/{run}/snapshot");
    let reader = world.outside.rita();
    let snapshot = snapshot_at(&world, &reader, &path).await;
    assert_eq!(snapshot["health"], "Degraded");
    assert_eq!(
        snapshot["resources"][0]["name"], "checkout-0",
        "what is ill stands first"
    );
    assert_eq!(snapshot["events"][0]["reason"], "BackOff");
    assert_eq!(snapshot["events"][0]["resource"], "Pod shop/checkout-0");
    assert_eq!(
        snapshot["logs"],
        json!([{ "pod": "shop/checkout-0", "lines": ["starting", "panic: no database"] }])
    );
    assert_eq!(snapshot["changes"]["from"], json!([SECOND]));
    assert_eq!(snapshot["changes"]["to"], json!([FIRST]));

    // The run leads to it, and says what was not well.
    let path = format!("/syncgate/v1/runs/{run}");
    let shown = world.gate.rest("GET", &path, &reader, "").await.json();
    assert_eq!(shown["snapshot"]["url"], url);
    let summary = shown["snapshot"]["summary"].to_string();
    assert!(
        summary.contains("Pod shop/checkout-0 Degraded: back-off restarting"),
        "{summary}"
    );
}

#[tokio::test]
async fn a_run_that_has_passed_has_no_snapshot() {
    let world = World::new().await;
    begin_staging(&world).await;
    let finished = world.report("passed").await;
    assert_eq!(finished.get("snapshot"), None);
    let path = format!(
        "/syncgate/v1/runs/{}/snapshot",
        finished["run"].as_str().unwrap()
    );
    let rita = world.outside.rita();
    let said = world.gate.rest("GET", &path, &rita, "").await;
    assert_eq!(said.status, 404);
}

#[tokio::test]
async fn a_sync_that_has_failed_comes_with_it_too() {
    let world = World::new().await;
    begin_staging(&world).await;
    is_ill(&world.outside.argocd);
    world.outside.argocd.finish("checkout-staging", "Failed");
    let deployed = eventually("the decision", || async {
        let filter = syncgate::store::DecisionFilter {
            operation: Some("ApplicationService.Sync".to_owned()),
            limit: 1,
            ..Default::default()
        };
        let list = syncgate::record::list(&world.app.store, filter)
            .await
            .unwrap();
        list.entries.first().map(|entry| entry.decision)
    })
    .await;
    let sam = world.outside.sam();
    let path = format!("/syncgate/v1/log/{deployed}/snapshot");
    let snapshot = snapshot_at(&world, &sam, &path).await;
    assert_eq!(snapshot["operation"]["phase"], "Failed");
    let path = format!("/syncgate/v1/log/{deployed}");
    let entry = world.gate.rest("GET", &path, &sam, "").await.json();
    let link = entry["snapshot"].as_str().unwrap();
    assert!(
        link.ends_with(&format!("/syncgate/v1/log/{deployed}/snapshot")),
        "{link}"
    );
}
