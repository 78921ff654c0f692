//! Asks Argo CD for what a snapshot holds.

use jiff::Timestamp;
use serde_json::Value;

use super::changes::Changes;
use super::resource::{ResourceState, Words, shown};
use super::{EventOf, LogOf, MAX_BYTES, OperationState, Snapshot};
use crate::app::App;
use crate::argocd::client::{self, LiveObject, Refresh};
use crate::gate::AppFacts;
use crate::json;
use crate::names::AppRef;
use crate::telemetry::chain;

/// The most resources that are kept.
const RESOURCES: usize = 300;
/// The most images that are kept.
const IMAGES: usize = 100;
/// The most resources that are not well whose events are asked for.
const ASKED: usize = 10;
/// The newest events of each.
const EVENTS: usize = 10;
/// The most pods whose logs are asked for.
const PODS: usize = 5;
/// The last lines of each.
const LINES: usize = 40;

/// Takes a snapshot of `application`.
///
/// # Errors
/// [`client::Error`] when not even the application can be read.
pub(super) async fn collect(app: &App, application: &AppRef) -> Result<Snapshot, client::Error> {
    let read = app.argocd.application(application, None, Refresh::None);
    let read = read.await?;
    let mut snapshot = of_application(&read, application, app.clock.now());
    match app.argocd.tree(application).await {
        Ok(tree) => of_tree(app, application, &tree, &mut snapshot).await,
        Err(error) => missing(&mut snapshot, "resource tree", &error),
    }
    changes(app, application, &read, &mut snapshot).await;
    bound(&mut snapshot);
    Ok(snapshot)
}

fn missing(snapshot: &mut Snapshot, what: &str, error: &dyn std::error::Error) {
    let why = shown(&chain(error));
    snapshot.missing.push(format!("{what}: {why}"));
}

/// What the object itself tells.
fn of_application(read: &Value, application: &AppRef, taken_at: Timestamp) -> Snapshot {
    let list = |pointer| json::at(read, pointer).as_array().into_iter().flatten();
    let text = |pointer| shown(json::text(read, pointer));
    let words = |condition| Words {
        reason: shown(json::text(condition, "/type")),
        message: shown(json::text(condition, "/message")),
    };
    let image = |image: &Value| image.as_str().map(shown);
    Snapshot {
        taken_at,
        application: application.clone(),
        sync: text("/status/sync/status"),
        health: text("/status/health/status"),
        operation: operation(json::at(read, "/status/operationState")),
        conditions: list("/status/conditions").map(words).take(ASKED).collect(),
        resources: Vec::new(),
        images: list("/status/summary/images")
            .filter_map(image)
            .take(IMAGES)
            .collect(),
        events: Vec::new(),
        logs: Vec::new(),
        changes: None,
        missing: Vec::new(),
    }
}

fn operation(state: &Value) -> Option<OperationState> {
    if state.is_null() {
        return None;
    }
    let results = json::at(state, "/syncResult/resources").as_array();
    let results = results.into_iter().flatten().filter_map(|result| {
        let is_hook = !json::text(result, "/hookType").is_empty();
        let status = if is_hook { "/hookPhase" } else { "/status" };
        let state = ResourceState::of(result, status, "/message");
        (is_hook || state.is_ill()).then_some(state)
    });
    Some(OperationState {
        phase: shown(json::text(state, "/phase")),
        message: shown(json::text(state, "/message")),
        started_at: shown(json::text(state, "/startedAt")),
        revisions: revisions(json::at(state, "/syncResult")),
        results: results.take(RESOURCES).collect(),
    })
}

/// `revisions`, or `revision` as the only one.
fn revisions(holder: &Value) -> Vec<String> {
    let several = json::at(holder, "/revisions").as_array();
    let several: Vec<&Value> = several.into_iter().flatten().collect();
    let one = json::at(holder, "/revision");
    let all = if several.is_empty() {
        vec![one]
    } else {
        several
    };
    let all = all.into_iter().filter_map(Value::as_str);
    all.filter(|revision| !revision.is_empty())
        .map(shown)
        .collect()
}

async fn of_tree(app: &App, application: &AppRef, tree: &Value, snapshot: &mut Snapshot) {
    let nodes = json::at(tree, "/nodes").as_array().into_iter().flatten();
    let mut nodes: Vec<(ResourceState, &Value)> = nodes
        .map(|node| {
            (
                ResourceState::of(node, "/health/status", "/health/message"),
                node,
            )
        })
        .collect();
    nodes.sort_by_key(|(state, _)| (!state.is_ill(), state.kind.clone(), state.name.clone()));
    let left_out = nodes.len().saturating_sub(RESOURCES);
    if left_out > 0 {
        snapshot.missing.push(format!("{left_out} more resources"));
    }
    for (state, node) in nodes.iter().filter(|(state, _)| state.is_ill()).take(ASKED) {
        events(app, application, state, node, snapshot).await;
    }
    let failing = nodes.iter().filter(|(_, node)| is_failing_pod(node));
    for (state, _) in failing.take(PODS) {
        logs(app, application, state, snapshot).await;
    }
    snapshot.events.sort_by_key(|event| event.at);
    let states = nodes.into_iter().map(|(state, _)| state);
    snapshot.resources = states.take(RESOURCES).collect();
}

async fn events(
    app: &App,
    application: &AppRef,
    state: &ResourceState,
    node: &Value,
    snapshot: &mut Snapshot,
) {
    let object = LiveObject {
        namespace: json::text(node, "/namespace"),
        name: json::text(node, "/name"),
        uid: json::text(node, "/uid"),
    };
    let resource = format!("{} {}/{}", state.kind, state.namespace, state.name);
    match app.argocd.events_of(application, object).await {
        Ok(found) => {
            let newest = found.into_iter().rev().take(EVENTS);
            snapshot.events.extend(newest.map(|event| EventOf {
                resource: resource.clone(),
                at: event.at,
                words: Words {
                    reason: shown(&event.reason),
                    message: shown(&event.message),
                },
            }));
        }
        Err(error) => missing(snapshot, &format!("events of {resource}"), &error),
    }
}

async fn logs(app: &App, application: &AppRef, state: &ResourceState, snapshot: &mut Snapshot) {
    let (namespace, name) = (&state.namespace, &state.name);
    let pod = format!("{namespace}/{name}");
    match app.argocd.logs(application, namespace, name, LINES).await {
        Ok(lines) => {
            let beyond = lines.len().saturating_sub(LINES);
            let lines = lines.iter().skip(beyond).map(|line| shown(line)).collect();
            snapshot.logs.push(LogOf { pod, lines });
        }
        Err(error) => missing(snapshot, &format!("log of {pod}"), &error),
    }
}

/// Whether the pod at `node` of a tree fails, has failed, or was restarted. Argo CD tells it in words.
fn is_failing_pod(node: &Value) -> bool {
    if json::text(node, "/kind") != "Pod" {
        return false;
    }
    let info = |name: &str| {
        let info = json::at(node, "/info").as_array().into_iter().flatten();
        let mut named = info.filter(|item| json::text(item, "/name") == name);
        named.next().map_or("", |item| json::text(item, "/value"))
    };
    let restarted = !["", "0"].contains(&info("Restart Count"));
    let well = ["", "Completed", "Running", "Succeeded"];
    restarted
        || json::text(node, "/health/status") == "Degraded"
        || !well.contains(&info("Status Reason"))
}

/// What the last rollout changed, against what was rolled out before it.
async fn changes(app: &App, application: &AppRef, read: &Value, snapshot: &mut Snapshot) {
    let to = snapshot
        .operation
        .as_ref()
        .map_or(&[][..], |operation| &operation.revisions);
    let history = json::at(read, "/status/history").as_array();
    let before = history.into_iter().flatten().rev().map(revisions);
    let mut before = before.filter(|revisions| revisions != to && !revisions.is_empty());
    let (Some(from), Ok(facts)) = (before.next(), AppFacts::from_json(read)) else {
        return;
    };
    if to.is_empty() {
        return;
    }
    let multi = facts.sources.multi;
    let (to, mut both) = (to.to_vec(), Vec::new());
    for revisions in [&from, &to] {
        let revisions: Vec<&str> = revisions.iter().map(String::as_str).collect();
        match app
            .argocd
            .manifests_at(application, multi, &revisions)
            .await
        {
            Ok(manifests) => both.push(manifests),
            Err(error) => return missing(snapshot, "what the rollout changed", &error),
        }
    }
    let (after, before) = (both.pop(), both.pop());
    if let (Some(before), Some(after)) = (before, after) {
        snapshot.changes = Some(Changes::between(from, before, to, after));
    }
}

/// Leaves out what is least worth, until the whole is small enough.
fn bound(snapshot: &mut Snapshot) {
    let size = |snapshot: &Snapshot| serde_json::to_vec(snapshot).map_or(0, |json| json.len());
    if size(snapshot) > MAX_BYTES {
        for change in snapshot.changes.iter_mut().flat_map(|it| &mut it.resources) {
            change.patch.clear();
        }
        snapshot
            .missing
            .push("the patches of changes: too long".to_owned());
    }
    if size(snapshot) > MAX_BYTES {
        snapshot.resources.retain(ResourceState::is_ill);
        snapshot
            .missing
            .push("resources that are well: too many".to_owned());
    }
    if size(snapshot) > MAX_BYTES {
        snapshot.logs.clear();
        snapshot.events.clear();
        snapshot
            .missing
            .push("logs and events: too long".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_that_fails_or_restarts_is_told_from_one_that_runs() {
        let pod = |reason: &str, restarts: &str, health: &str| {
            is_failing_pod(&json!({
                "kind": "Pod",
                "health": { "status": health },
                "info": [
                    { "name": "Status Reason", "value": reason },
                    { "name": "Restart Count", "value": restarts },
                ],
            }))
        };
        assert!(!pod("Running", "0", "Healthy"));
        assert!(!pod("Completed", "0", "Healthy"));
        assert!(pod("Running", "2", "Healthy"));
        assert!(pod("CrashLoopBackOff", "0", "Progressing"));
        assert!(pod("Running", "0", "Degraded"));
        assert!(!is_failing_pod(
            &json!({ "kind": "Job", "health": { "status": "Degraded" } })
        ));
        assert!(!is_failing_pod(&json!({ "kind": "Pod" })));
    }

    fn taken(read: &Value) -> Snapshot {
        let application = AppRef {
            namespace: None,
            name: "cart-staging".to_owned(),
        };
        of_application(read, &application, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_object_tells_how_it_is() {
        let snapshot = taken(&json!({
            "status": {
                "sync": { "status": "OutOfSync" },
                "health": { "status": "Degraded" },
                "conditions": [{ "type": "SyncError", "message": "token Bearer abcdefgh1234 is bad" }],
                "summary": { "images": ["shop/cart:1"] },
                "operationState": {
                    "phase": "Failed", "message": "a hook failed", "startedAt": "2026-11-23T09:00:00Z",
                    "syncResult": {
                        "revision": "3f2c1a9",
                        "resources": [
                            { "kind": "ConfigMap", "name": "well", "status": "Synced" },
                            { "kind": "Job", "name": "tests", "hookType": "PostSync", "hookPhase": "Failed" },
                            { "kind": "Role", "name": "ill", "status": "SyncFailed", "message": "forbidden" },
                        ],
                    },
                },
            },
        }));
        assert_eq!(
            (&*snapshot.sync, &*snapshot.health),
            ("OutOfSync", "Degraded")
        );
        assert!(!snapshot.conditions[0].message.contains("abcdefgh1234"));
        let operation = snapshot.operation.as_ref().unwrap();
        assert_eq!(operation.revisions, ["3f2c1a9"]);
        let results: Vec<&str> = operation.results.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(results, ["tests", "ill"]);
        assert_eq!(
            snapshot.summary(),
            ["OutOfSync, Degraded", "operation Failed: a hook failed"]
        );
    }

    #[test]
    fn what_is_too_large_is_left_out_by_name() {
        let long = "é".repeat(400);
        let state = |status: &str| ResourceState {
            status: status.to_owned(),
            message: long.clone(),
            ..ResourceState::default()
        };
        let mut snapshot = Snapshot {
            resources: vec![state("Healthy"); RESOURCES],
            logs: vec![
                LogOf {
                    pod: "shop/cart".to_owned(),
                    lines: vec![long.clone(); LINES],
                };
                PODS
            ],
            ..taken(&Value::Null)
        };
        snapshot.resources.push(state("Degraded"));
        bound(&mut snapshot);
        assert!(serde_json::to_vec(&snapshot).unwrap().len() <= MAX_BYTES);
        assert_eq!(snapshot.resources.len(), 1);
        assert!(!snapshot.logs.is_empty());
        assert_eq!(snapshot.missing.len(), 2, "{:?}", snapshot.missing);
    }
}
