//! What Argo CD runs and no decision explains is said so, once, also if it passed while the gate was
//! away.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use syncgate::names::{AppRef, DecisionId};
use syncgate::record::{self, Door, Durability, LogEntry, Outcome, Word};
use syncgate::store::DecisionFilter;

use crate::admission::{self, Review};
use crate::world::{Call, FIRST, Outside, Receiver, SECOND, Wire, World, eventually};

/// Argo CD runs an operation on `name` that did not come through the gate.
fn run(outside: &Outside, name: &str, started_at: &str, info: &Value) {
    outside.argocd.change(name, |application| {
        let sync = json!({"revision": FIRST, "source": application["spec"]["source"]});
        application["status"]["operationState"] = json!({
            "phase": "Running", "startedAt": started_at,
            "operation": {
                "sync": sync, "info": info, "initiatedBy": {"username": "kubectl-user"},
            },
        });
    });
}

/// A gate that watches.
async fn watching(world: World) -> World {
    let stray = AppRef {
        namespace: None,
        name: "stray".to_owned(),
    };
    eventually("the watch", || async {
        // Applications are told in the order of their names, and this is the last.
        world.app.index.get(&stray).map(drop)
    })
    .await;
    world
}

fn remark(decision: &str) -> Value {
    json!([{"name": "syncgate-decision", "value": decision}])
}

async fn logged(world: &World, operation: &str) -> Vec<LogEntry> {
    let filter = DecisionFilter {
        operation: Some(operation.to_owned()),
        limit: 100,
        ..DecisionFilter::default()
    };
    record::list(&world.app.store, filter)
        .await
        .unwrap()
        .entries
}

async fn alarms(world: &World) -> Vec<LogEntry> {
    logged(world, "Operation.Unexplained").await
}

/// Waits until the operation of `name` that is in its status was judged.
async fn judged(world: &World, name: &str) {
    let application = world.outside.argocd.application(name);
    let uid = application["metadata"]["uid"].as_str().unwrap().to_owned();
    let started = &application["status"]["operationState"]["startedAt"];
    let started: Timestamp = started.as_str().unwrap().parse().unwrap();
    eventually("a judgement", || async {
        let judged = world.app.store.is_judged(&uid, started).await.unwrap();
        judged.then_some(())
    })
    .await;
}

async fn sync(world: &World, name: &str) -> DecisionId {
    let said = world
        .gate
        .ask(Wire::Rest, &world.outside.alice(), &Call::sync(name))
        .await;
    assert_eq!(said.status, 200, "{said:?}");
    said.decision()
}

fn because(alarm: &LogEntry) -> &str {
    alarm.opening.request["why"].as_str().unwrap()
}

#[tokio::test]
async fn a_sync_past_the_gate_alarms_once() {
    let world = watching(World::new().await).await;
    run(
        &world.outside,
        "checkout-prod",
        "2026-11-23T09:00:00Z",
        &Value::Null,
    );
    judged(&world, "checkout-prod").await;
    world.outside.argocd.finish("checkout-prod", "Succeeded");
    // News of the same operation, and of another application.
    run(
        &world.outside,
        "stray",
        "2026-11-23T09:00:01Z",
        &Value::Null,
    );
    judged(&world, "stray").await;
    let [stray, prod] = alarms(&world).await.try_into().unwrap();
    let request = &prod.opening.request;
    assert_eq!(prod.opening.door, Door::Controller);
    assert_eq!(prod.opening.word, Word::Alarm);
    assert_eq!(prod.opening.applications[0].name, "checkout-prod");
    assert_eq!(because(&prod), "no decision of this gate permitted it");
    assert_eq!(request["environment"], "prod");
    assert_eq!(request["initiated_by"], "kubectl-user");
    assert_eq!(request["commits"], json!([FIRST]));
    assert_eq!(request["reconstructed"], false);
    assert_eq!(stray.opening.request["environment"], "unassigned");
    assert!(prod.closing.is_some() && stray.closing.is_some());
}

#[tokio::test]
async fn a_gated_sync_does_not_alarm() {
    let world = watching(World::new().await).await;
    for name in ["checkout-staging", "multi-staging", "checkout-observed"] {
        let token = world.outside.rita();
        let said = world.gate.ask(Wire::Grpc, &token, &Call::sync(name)).await;
        assert_eq!(said.code(), 0, "{said:?}");
        judged(&world, name).await;
        let uid = world.outside.argocd.application(name)["metadata"]["uid"].clone();
        let uid = uid.as_str().unwrap();
        assert!(world.app.store.is_used(said.decision(), uid).await.unwrap());
    }
    assert!(alarms(&world).await.is_empty());
}

#[tokio::test]
async fn a_remark_explains_only_what_its_decision_permitted() {
    let world = watching(World::new().await).await;
    let decision = sync(&world, "checkout-staging").await;
    judged(&world, "checkout-staging").await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    let invented = DecisionId::new("2026-11-23T09:00:00Z".parse().unwrap());
    for (name, started_at, claim, why) in [
        (
            "cart-staging",
            "2026-11-23T09:00:00Z",
            decision.to_string(),
            "another application",
        ),
        (
            "cart-staging",
            "2026-11-23T09:00:01Z",
            invented.to_string(),
            "not on record",
        ),
        (
            "cart-staging",
            "2026-11-23T09:00:02Z",
            "x".to_owned(),
            "which is none",
        ),
        (
            "checkout-staging",
            "2026-11-23T09:00:03Z",
            decision.to_string(),
            "earlier operation",
        ),
    ] {
        run(&world.outside, name, started_at, &remark(&claim));
        judged(&world, name).await;
        let newest = alarms(&world).await.remove(0);
        assert!(because(&newest).contains(why), "{why}: {newest:?}");
    }
    assert_eq!(alarms(&world).await.len(), 4);
}

#[tokio::test]
async fn what_ran_before_the_first_start_is_the_baseline() {
    let outside = Outside::start().await;
    let old = json!("2020-01-01T00:00:00Z");
    for name in ["cart-prod", "checkout-prod"] {
        outside
            .argocd
            .change(name, |a| a["metadata"]["creationTimestamp"] = old.clone());
    }
    run(
        &outside,
        "checkout-prod",
        "2026-11-23T09:00:00Z",
        &Value::Null,
    );
    let world = World::over(outside).await;
    judged(&world, "checkout-prod").await;
    assert!(alarms(&world).await.is_empty());
    let [baseline] = logged(&world, "Operation.Baseline")
        .await
        .try_into()
        .unwrap();
    let operations = baseline.opening.request["operations"].as_array().unwrap();
    assert_eq!(operations.len(), 1);
    assert_eq!(operations[0]["application"]["name"], "checkout-prod");
    // What begins later is not, on either application.
    for name in ["cart-prod", "checkout-prod"] {
        run(&world.outside, name, "2026-11-23T09:00:05Z", &Value::Null);
        judged(&world, name).await;
    }
    assert_eq!(alarms(&world).await.len(), 2);
    // Nor after another start.
    let world = World::over(world.stop().await).await;
    run(
        &world.outside,
        "cart-prod",
        "2026-11-23T09:00:09Z",
        &Value::Null,
    );
    judged(&world, "cart-prod").await;
    assert_eq!(alarms(&world).await.len(), 3);
    assert_eq!(logged(&world, "Operation.Baseline").await.len(), 1);
}

#[tokio::test]
async fn a_restart_does_not_alarm_again() {
    let world = watching(World::new().await).await;
    run(
        &world.outside,
        "checkout-prod",
        "2026-11-23T09:00:00Z",
        &Value::Null,
    );
    judged(&world, "checkout-prod").await;
    let world = watching(World::over(world.stop().await).await).await;
    run(
        &world.outside,
        "stray",
        "2026-11-23T09:00:01Z",
        &Value::Null,
    );
    judged(&world, "stray").await;
    assert_eq!(alarms(&world).await.len(), 2);
}

#[tokio::test]
async fn what_passed_while_the_gate_was_away_is_rebuilt_and_marked() {
    let world = watching(World::new().await).await;
    run(
        &world.outside,
        "checkout-prod",
        "2026-11-23T09:00:00Z",
        &Value::Null,
    );
    judged(&world, "checkout-prod").await;
    let outside = world.stop().await;
    let event = |at: &str, reason: &str, user: &str| {
        json!({
            "metadata": {"annotations": {"user": user}}, "lastTimestamp": at, "reason": reason,
            "message": format!("{user} did"),
        })
    };
    let events = json!([
        event("2026-11-23T09:59:58Z", "OperationStarted", "mallory"),
        event("2026-11-23T10:00:09Z", "OperationCompleted", ""),
        event("2026-11-23T10:30:00Z", "OperationStarted", "trent"),
        event("2026-11-23T10:30:05Z", "OperationCompleted", ""),
        event("2026-11-23T11:00:00Z", "OperationStarted", "kubectl-user"),
    ]);
    outside.argocd.has_events("checkout-prod", events);
    outside.argocd.change("checkout-prod", |application| {
        let source = application["spec"]["source"].clone();
        application["status"]["history"] = json!([{
            "id": 7, "revision": SECOND, "source": source,
            "deployStartedAt": "2026-11-23T10:00:00Z", "deployedAt": "2026-11-23T10:00:09Z",
            "initiatedBy": {"username": "mallory"},
        }]);
    });
    run(
        &outside,
        "checkout-prod",
        "2026-11-23T11:00:01Z",
        &Value::Null,
    );
    let world = World::over(outside).await;
    judged(&world, "checkout-prod").await;
    let [state, event, history, seen] = alarms(&world).await.try_into().unwrap();
    assert_eq!(seen.opening.request["reconstructed"], false);
    for (alarm, from, by, commits, events) in [
        (history, "history", "mallory", json!([SECOND]), 2),
        (event, "event", "trent", json!([]), 2),
        (state, "operation-state", "kubectl-user", json!([FIRST]), 1),
    ] {
        let request = alarm.opening.request;
        assert_eq!(request["reconstructed"], true, "{from}");
        assert_eq!(request["known_from"], from);
        assert_eq!(request["initiated_by"], by);
        assert_eq!(request["commits"], commits, "{from}");
        assert_eq!(
            request["events"].as_array().unwrap().len(),
            events,
            "{from}"
        );
    }
}

#[tokio::test]
async fn a_gated_sync_that_nobody_watched_is_explained_from_history() {
    let world = watching(World::new().await).await;
    let decision = sync(&world, "checkout-staging").await;
    judged(&world, "checkout-staging").await;
    // The same is permitted again, and the gate is stopped before it begins.
    let now = world.app.clock.now();
    let mut opening = world.record(decision).await.opening;
    opening.decision = DecisionId::new(now);
    let recorder = &world.app.recorder;
    let open = recorder.open(opening, Durability::BeforeProceeding).await;
    open.unwrap().close(Outcome::Answered).await;
    let outside = world.stop().await;
    let began = Timestamp::from_second(now.as_second() + 1).unwrap();
    outside.argocd.change("checkout-staging", |application| {
        let source = application["spec"]["source"].clone();
        application["status"]["history"] = json!([{
            "id": 1, "revision": FIRST, "source": source, "deployStartedAt": began.to_string(),
        }]);
    });
    let later = Timestamp::from_second(now.as_second() + 5).unwrap();
    run(
        &outside,
        "checkout-staging",
        &later.to_string(),
        &Value::Null,
    );
    let world = World::over(outside).await;
    judged(&world, "checkout-staging").await;
    let uid = world.outside.argocd.application("checkout-staging")["metadata"]["uid"].clone();
    let judged = world.app.store.is_judged(uid.as_str().unwrap(), began);
    assert!(judged.await.unwrap());
    // Only the one behind it alarms: one decision does not explain both.
    let [alarm] = alarms(&world).await.try_into().unwrap();
    assert_eq!(alarm.opening.request["started_at"], later.to_string());
}

#[tokio::test]
async fn an_auto_sync_that_was_admitted_is_explained_and_the_same_past_the_door_is_not() {
    let world = watching(World::with_admission("").await).await;
    let (before, after) = admission::auto_sync(&world, "auto-staging", FIRST);
    let review = Review::of(admission::CONTROLLER, &before, &after);
    assert_eq!(admission::ask(world.door(), review).await["allowed"], true);
    let mut began = world.app.clock.now().as_second();
    for alarms_then in [0, 1] {
        began += 1;
        let started_at = Timestamp::from_second(began).unwrap().to_string();
        let operation = after["operation"].clone();
        world.outside.argocd.change("auto-staging", |application| {
            application["status"]["operationState"] =
                json!({"phase": "Running", "startedAt": started_at, "operation": operation});
        });
        judged(&world, "auto-staging").await;
        assert_eq!(alarms(&world).await.len(), alarms_then);
    }
    assert!(
        alarms(&world).await[0].opening.request["automated"]
            .as_bool()
            .unwrap()
    );
}

#[tokio::test]
async fn a_receiver_gets_a_cloud_event_until_it_takes_it() {
    let receiver = Receiver::down();
    let world = receiver.world(Outside::start().await, |_| ()).await;
    receiver.up(&world.outside.tasks).await;
    *receiver.status.lock().unwrap() = StatusCode::SERVICE_UNAVAILABLE;
    run(
        &world.outside,
        "checkout-prod",
        "2026-11-23T09:00:00Z",
        &Value::Null,
    );
    receiver.gets(1).await;
    *receiver.status.lock().unwrap() = StatusCode::ACCEPTED;
    let got = receiver.gets(2).await;
    let [alarm] = alarms(&world).await.try_into().unwrap();
    for (headers, event) in &got {
        assert_eq!(headers["content-type"], "application/cloudevents+json");
        assert_eq!(headers["authorization"], "Bearer canary-of-the-receiver");
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["id"], alarm.decision.to_string());
        assert_eq!(event["source"], "https://gate.example/");
        assert_eq!(event["type"], "dev.syncgate.operation.unexplained");
        assert_eq!(event["subject"], "checkout-prod");
        assert!(event["time"].as_str().unwrap().parse::<Timestamp>().is_ok());
        assert_eq!(event["datacontenttype"], "application/json");
        let data = &event["data"];
        assert_eq!(data["application"]["name"], "checkout-prod");
        assert_eq!(data["environment"], "prod");
        assert_eq!(data["initiated_by"], "kubectl-user");
        assert!(
            data["see"]
                .as_str()
                .unwrap()
                .ends_with(&alarm.decision.to_string())
        );
    }
    // Taken, it does not wait any more.
    eventually("an empty queue", || async {
        let next = world.app.store.next_notice().await.unwrap();
        next.is_none().then_some(())
    })
    .await;
    assert_eq!(receiver.got.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_message_waits_for_its_receiver_over_a_restart() {
    let receiver = Receiver::down();
    let world = receiver.world(Outside::start().await, |_| ()).await;
    run(
        &world.outside,
        "checkout-prod",
        "2026-11-23T09:00:00Z",
        &Value::Null,
    );
    judged(&world, "checkout-prod").await;
    let outside = world.stop().await;
    let world = receiver.world(outside, |_| ()).await;
    assert!(world.app.store.next_notice().await.unwrap().is_some());
    receiver.up(&world.outside.tasks).await;
    let got = receiver.gets(1).await;
    assert_eq!(got[0].1["subject"], "checkout-prod");
    assert_eq!(alarms(&world).await.len(), 1);
}
