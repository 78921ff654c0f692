//! What is read of operations, and rebuilt of those that passed.

use serde_json::json;

use super::ran::Source;
use super::*;
use crate::argocd::client::KubernetesEvent;
use crate::store::tests::instant;

fn application() -> Value {
    json!({
        "metadata": {"name": "shop", "namespace": "argocd", "uid": "u"},
        "status": {
            "operationState": {
                "phase": "Running", "startedAt": "2026-11-23T12:00:00Z", "message": "x".repeat(1000),
                "operation": {
                    "sync": {"revisions": ["a", "b"], "dryRun": true, "resources": [{}]},
                    "info": [
                        {"name": "syncgate-decision", "value": "one"}, {"name": "why", "value": "y"},
                        {"name": "syncgate-decision", "value": "two"},
                    ],
                    "initiatedBy": {"username": "rita", "automated": true},
                    "retry": {"refresh": true},
                },
            },
            "history": [
                {"id": 1, "revision": "h1", "deployStartedAt": "2026-11-23T10:00:00Z"},
                {"id": 2, "revision": "h2", "deployedAt": "2026-11-23T11:00:00Z"},
                {"id": 3, "revision": "no time"},
                {"id": 4, "revisions": ["a", "b"], "deployStartedAt": "2026-11-23T12:00:00Z"},
            ],
        },
    })
}

fn object(application: &Value) -> Object {
    Object::read(application, "argocd").unwrap()
}

fn starts(ran: &[Ran]) -> Vec<(Source, String)> {
    let start = |ran: &Ran| {
        (
            ran.known_from,
            ran.started_at.strftime("%H:%M:%S").to_string(),
        )
    };
    ran.iter().map(start).collect()
}

#[test]
fn everything_of_an_operation_is_read_and_foreign_text_is_cut() {
    let application = application();
    let ran = object(&application).state(&application).unwrap();
    assert_eq!(ran.commits(), ["a", "b"]);
    assert_eq!(ran.claims, ["one", "two"]);
    assert_eq!(ran.message.len(), 256);
    assert_eq!(ran.initiated_by, "rita");
    assert!(ran.dry_run && ran.partial && ran.automated && ran.refreshes && !ran.local);
    // Of which sources these are is not told.
    assert!(ran.is_unresolved());
    let without_uid = json!({"metadata": {"name": "shop"}});
    assert!(Object::read(&without_uid, "argocd").is_none());
}

#[test]
fn an_operation_without_a_commit_is_unresolved_until_argo_cd_tells_one() {
    let mut application = application();
    let state = &mut application["status"]["operationState"];
    state["operation"]["sync"] = json!({});
    let read = |application: &Value| object(application).state(application).unwrap();
    assert!(read(&application).is_unresolved());
    let result = json!({"revision": "c", "source": {"path": "p"}});
    application["status"]["operationState"]["syncResult"] = result;
    let resolved = read(&application);
    assert!(!resolved.is_unresolved());
    assert_eq!(resolved.commits(), ["c"]);
    assert_eq!(resolved.sync["source"]["path"], "p");
    // What ended without is known to have rolled out nothing.
    application["status"]["operationState"]["syncResult"] = Value::Null;
    application["status"]["operationState"]["phase"] = json!("Error");
    assert!(!read(&application).is_unresolved());
}

#[test]
fn what_began_after_the_last_look_is_rebuilt_once_and_in_order() {
    let application = application();
    let since = |last: Option<&str>| {
        starts(&rebuild::since(
            &object(&application),
            &application,
            last.map(instant),
        ))
    };
    let (history, state) = (Source::History, (Source::State, "12:00:00".to_owned()));
    let first = (history, "10:00:00".to_owned());
    let second = (history, "11:00:00".to_owned());
    assert_eq!(since(None), [first, second.clone(), state.clone()]);
    assert_eq!(since(Some("2026-11-23T10:00:00Z")), [second, state.clone()]);
    assert_eq!(since(Some("2026-11-23T12:00:00Z")), []);
    // A clock that was set back hides nothing.
    assert_eq!(since(Some("2026-11-23T13:00:00Z")), [state]);
}

fn event(at: &str, reason: &str) -> KubernetesEvent {
    KubernetesEvent {
        at: instant(&format!("2026-11-23T{at}Z")),
        reason: reason.to_owned(),
        message: format!("{reason} at {at}"),
        user: "mallory".to_owned(),
    }
}

#[test]
fn events_tell_who_and_of_operations_that_left_nothing_else() {
    let application = application();
    let object = object(&application);
    let last = Some(instant("2026-11-23T10:00:00Z"));
    let mut ran = rebuild::since(&object, &application, last);
    let events = [
        event("09:59:59", "OperationStarted"),
        event("10:59:58", "OperationStarted"),
        event("11:30:00", "OperationStarted"),
        event("11:30:09", "OperationCompleted"),
        event("11:40:00", "ResourceUpdated"),
        event("12:00:01", "OperationStarted"),
    ];
    rebuild::with_events(&object, &mut ran, &events, last);
    let known: Vec<_> = ran
        .iter()
        .map(|ran| (ran.known_from, ran.events.len(), ran.initiated_by.as_str()))
        .collect();
    assert_eq!(
        known,
        [
            (Source::History, 1, ""),
            (Source::Event, 2, "mallory"),
            (Source::State, 1, "rita"),
        ]
    );
}
