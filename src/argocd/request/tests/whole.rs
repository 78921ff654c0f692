//! Requests that are read to the last field: applications, rollbacks, resource calls, application
//! sets.

mod properties;
mod resource;

use super::*;
use crate::argocd::written::tests::{encode, full};
use crate::argocd::written::{self, application_of_json};

fn written(call: &Call) -> &Written {
    match &call.body {
        Body::Application(written) => written,
        other => panic!("{other:?}"),
    }
}

/// A request message with `application` in it and nothing else.
fn with_application(application: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::bytes::encode(1, &encode("Application", application), &mut out);
    out
}

// ---- Create, Update, UpdateSpec ----

#[test]
fn the_same_write_is_the_same_application_on_every_wire() {
    let spec = full()["spec"].clone();
    let mut spec_message = field(1, b"shop");
    prost::encoding::bytes::encode(2, &encode("ApplicationSpec", &spec), &mut spec_message);
    let whole = application_of_json(&full()).unwrap();
    for (operation, rest, message, expected) in [
        (
            Operation::ApplicationCreate,
            ("POST", "/api/v1/applications?upsert=true", full()),
            [with_application(&full()), vec![0x10, 1]].concat(),
            whole.clone(),
        ),
        (
            Operation::ApplicationUpdate,
            ("PUT", "/api/v1/applications/shop?validate=false", full()),
            [with_application(&full()), vec![0x10, 0]].concat(),
            whole.clone(),
        ),
        (
            Operation::ApplicationUpdateSpec,
            ("PUT", "/api/v1/applications/shop/spec?validate=false", spec),
            [spec_message, vec![0x18, 0]].concat(),
            json!({ "spec": whole["spec"] }),
        ),
    ] {
        for call in both(operation, (rest.0, rest.1, &rest.2), &message) {
            let call = call.unwrap_or_else(|e| panic!("{operation}: {e}"));
            let written = written(&call);
            assert_eq!(written.application, expected, "{operation}");
            assert_eq!(written.upsert, operation == Operation::ApplicationCreate);
            assert!(!format!("{call:?}").contains("git.example"));
        }
    }
}

/// With the empty status that they write, in either form.
#[test]
fn what_argo_cds_own_clients_write_is_taken_at_creation() {
    use base64::Engine as _;
    let samples = include_str!("../../../../tests/fixtures/applications.json");
    let samples: Vec<Value> = serde_json::from_str(samples).unwrap();
    let named = samples.iter().filter(|sample| sample["name"] != "blank");
    for sample in named {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(sample["protobuf"].as_str().unwrap())
            .unwrap();
        assert_ne!(sample["json"]["status"], Value::Null);
        let mut message = Vec::new();
        prost::encoding::bytes::encode(1, &bytes, &mut message);
        let [by_rest, by_grpc] = both(
            Operation::ApplicationCreate,
            ("POST", "/api/v1/applications", &sample["json"]),
            &message,
        )
        .map(|call| call.unwrap_or_else(|e| panic!("{}: {e}", sample["name"])));
        assert_eq!(written(&by_rest).application, written(&by_grpc).application);
    }
}

#[test]
fn what_is_sent_on_says_what_was_read() {
    let call = rest("POST", "/api/v1/applications", &full().to_string()).unwrap();
    let sent: Value = serde_json::from_slice(&call.forward_body().unwrap()).unwrap();
    assert_eq!(sent, written(&call).application);
    let message = with_application(&full());
    let call = grpc(Operation::ApplicationCreate, &message).unwrap();
    let sent = call.forward_body().unwrap();
    let again = Call::parse(
        classified("POST", Operation::ApplicationCreate.row().grpc, GRPC),
        &sent,
    );
    assert_eq!(again.unwrap(), call);
}

#[test]
fn the_name_of_the_path_is_written_into_an_application_without_one() {
    let body = json!({ "spec": { "project": "default" } });
    let call = rest("PUT", "/api/v1/applications/shop", &body.to_string()).unwrap();
    assert_eq!(
        written(&call).application,
        json!({ "metadata": { "name": "shop" }, "spec": { "project": "default" } })
    );
    let sent: Value = serde_json::from_slice(&call.forward_body().unwrap()).unwrap();
    assert_eq!(sent["metadata"]["name"], "shop");
}

#[test]
fn a_second_spelling_or_a_second_policy_cannot_hide_arming() {
    for body in [
        r#"{"syncPolicy": {}, "SyncPolicy": {"automated": {}}}"#,
        r#"{"SYNCPOLICY": {"automated": {}}}"#,
        r#"{"syncPolicy": {"automated": null, "automated": {}}}"#,
        r#"{"syncPolicy": {"Automated": {}}}"#,
        r#"{"syncPolicy": {"automated": {"enabled": false, "Enabled": true}}}"#,
    ] {
        let refused = rest("PUT", "/api/v1/applications/shop/spec", body);
        assert!(
            matches!(
                refused,
                Err(Error::Json(_) | Error::Written(written::Error::Spelling { .. }))
            ),
            "{body}: {refused:?}"
        );
    }
    let policy = field(4, &field(1, &[0x20, 0]));
    let twice = [policy.clone(), field(4, &field(1, &[]))].concat();
    let message = [field(1, b"shop"), field(2, &twice)].concat();
    let refused = grpc(Operation::ApplicationUpdateSpec, &message);
    assert!(
        matches!(refused, Err(Error::Written(written::Error::Twice { .. }))),
        "{refused:?}"
    );
}

#[test]
fn an_unknown_field_is_refused_on_every_wire() {
    let mut body = full();
    body["spec"]["source"]["helm"]["hooks"] = json!(true);
    let message = [with_application(&full()), field(9, b"x")].concat();
    for refused in both(
        Operation::ApplicationCreate,
        ("POST", "/api/v1/applications", &body),
        &message,
    ) {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, Error::Written(written::Error::Unknown { .. })),
            "{refused}"
        );
    }
}

#[test]
fn a_forged_status_or_operation_is_refused_at_creation() {
    for part in ["status", "operation"] {
        let mut app = full();
        app[part] = json!({ "sync": { "revision": "x" } });
        assert_eq!(
            rest("POST", "/api/v1/applications", &app.to_string()),
            Err(Error::Upstreams(part))
        );
    }
    for (number, part) in [(3, "status"), (4, "operation")] {
        let metadata = field(1, &field(1, b"shop"));
        let app = [metadata, field(number, &field(2, b"x"))].concat();
        assert_eq!(
            grpc(Operation::ApplicationCreate, &field(1, &app)),
            Err(Error::Upstreams(part))
        );
    }
    let mut set = set();
    set["status"] = json!({ "conditions": [{}] });
    assert_eq!(
        rest("POST", "/api/v1/applicationsets", &set.to_string()),
        Err(Error::Upstreams("status"))
    );
}

/// The CLI writes an empty status out; the web UI sends the one it read.
#[test]
fn a_blank_status_is_taken_at_creation_and_never_sent_on() {
    let metadata = field(1, &field(1, b"shop"));
    let blank = field(3, &field(2, &[0x0a, 0]));
    let app = [metadata.clone(), blank].concat();
    let call = grpc(Operation::ApplicationCreate, &field(1, &app)).unwrap();
    let expected = framing::write_message(&field(1, &metadata)).unwrap();
    assert_eq!(call.forward_body().unwrap(), expected);

    let mut app = json!({ "metadata": { "name": "shop" } });
    app["status"] = json!({ "Sync": { "revision": "x" }, "new": 1 });
    app["operation"] = json!({ "sync": {} });
    let call = rest("PUT", "/api/v1/applications/shop", &app.to_string()).unwrap();
    let sent: Value = serde_json::from_slice(&call.forward_body().unwrap()).unwrap();
    assert_eq!(sent, json!({ "metadata": { "name": "shop" } }));
}

#[test]
fn the_query_of_a_checked_call_has_known_fields_of_their_types_and_no_others() {
    let body = json!({ "metadata": { "name": "shop" } }).to_string();
    for (query, taken) in [
        ("upsert=true", true),
        ("upsert=T&validate=0", true),
        ("upsert=yes", false),
        ("upsert", false),
        ("extra=1", false),
        ("application.spec.project=x", false),
        ("application=x", false),
        ("upsert=true&upsert=false", false),
    ] {
        let call = rest("POST", &format!("/api/v1/applications?{query}"), &body);
        assert_eq!(call.is_ok(), taken, "{query}: {call:?}");
    }
    assert!(rest("DELETE", "/api/v1/applications/shop?force=true", "").is_err());
    assert!(rest("DELETE", "/api/v1/applications/shop?cascade=false", "").is_ok());
}

// ---- Rollback ----

#[test]
fn a_rollback_is_read_alike_on_both_wires() {
    let body = json!({ "id": 7, "prune": true, "dryRun": false, "appNamespace": "argocd" });
    let message = [
        field(1, b"shop"),
        vec![0x10, 7, 0x18, 0, 0x20, 1],
        field(6, b"argocd"),
    ]
    .concat();
    for call in both(
        Operation::ApplicationRollback,
        ("POST", "/api/v1/applications/shop/rollback", &body),
        &message,
    ) {
        let Body::Rollback(rollback) = call.unwrap().body else {
            panic!("no rollback")
        };
        assert_eq!(
            (rollback.id, rollback.dry_run, rollback.prune),
            (7, false, true)
        );
    }
    for body in [
        json!({}),
        json!({ "id": "7" }),
        json!({ "ID": 7 }),
        json!({ "id": 7, "x": 1 }),
        json!([7]),
    ] {
        let refused = rest(
            "POST",
            "/api/v1/applications/shop/rollback",
            &body.to_string(),
        );
        assert!(refused.is_err(), "{body}");
    }
    // What the query says is not read by the upstream, nor sent on.
    let call = rest(
        "POST",
        "/api/v1/applications/shop/rollback?id=9",
        "{\"id\":7}",
    )
    .unwrap();
    assert_eq!(call.forward_path, "/api/v1/applications/shop/rollback");
    assert_eq!(call.forward_body().unwrap(), "{\"id\":7,\"name\":\"shop\"}");
}

// ---- Application sets ----

fn set() -> Value {
    json!({
        "metadata": { "name": "shops", "namespace": "argocd" },
        "spec": {
            "goTemplate": true,
            "generators": [
                { "list": { "elements": [{ "Env": "prod", "env": 1 }] } },
                { "matrix": { "generators": [
                    { "git": { "repoURL": "https://git.example/shop", "directories": [{ "path": "*" }] } },
                    { "merge": { "mergeKeys": ["a"], "generators": [] } },
                ] } },
            ],
            "template": {
                "metadata": { "name": "shop-{{.env}}" },
                "spec": { "project": "default", "source": { "repoURL": "x", "helm": { "valuesObject": {} } } },
            },
            "syncPolicy": { "preserveResourcesOnDeletion": true },
        },
    })
}

#[test]
fn an_application_set_is_read_alike_on_both_wires() {
    let mut message = Vec::new();
    prost::encoding::bytes::encode(1, &encode("ApplicationSet", &set()), &mut message);
    let created = both(
        Operation::ApplicationSetCreate,
        (
            "POST",
            "/api/v1/applicationsets?upsert=true&dryRun=true",
            &set(),
        ),
        &[message.clone(), vec![0x10, 1, 0x18, 1]].concat(),
    );
    let generated = both(
        Operation::ApplicationSetGenerate,
        (
            "POST",
            "/api/v1/applicationsets/generate",
            &json!({ "applicationSet": set() }),
        ),
        &message,
    );
    let expected = written::normal("ApplicationSet", &set()).unwrap();
    for (calls, upsert) in [(created, true), (generated, false)] {
        for call in calls {
            let Body::ApplicationSet(written) = call.unwrap().body else {
                panic!("no set")
            };
            assert_eq!(written.set, expected);
            assert_eq!(
                (&*written.name, written.namespace.as_deref()),
                ("shops", Some("argocd"))
            );
            assert_eq!((written.upsert, written.dry_run), (upsert, true));
        }
    }
    let mut unknown = set();
    unknown["spec"]["generators"][0]["list"]["Elements"] = json!([]);
    let refused = rest("POST", "/api/v1/applicationsets", &unknown.to_string());
    assert!(matches!(
        refused,
        Err(Error::Written(written::Error::Spelling { .. }))
    ));
}

#[test]
fn a_deleted_application_set_is_named() {
    for call in both(
        Operation::ApplicationSetDelete,
        (
            "DELETE",
            "/api/v1/applicationsets/shops?appsetNamespace=team-a",
            &json!(null),
        ),
        &[field(1, b"shops"), field(2, b"team-a")].concat(),
    ) {
        let Body::ApplicationSetDelete(delete) = call.unwrap().body else {
            panic!("no deletion")
        };
        assert_eq!(
            (&*delete.name, delete.namespace.as_deref()),
            ("shops", Some("team-a"))
        );
    }
}
