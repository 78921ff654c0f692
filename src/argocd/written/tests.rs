use proptest::prelude::*;
use prost_reflect::Kind;
use serde_json::json;

use super::*;

/// The protobuf of `value`, as Argo CD's generated code writes it: what is no pointer is always
/// written, zero or not.
pub(crate) fn encode(name: &str, value: &Value) -> Vec<u8> {
    encode_message(&descriptor(name).unwrap(), value)
}

fn encode_message(message: &MessageDescriptor, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let text = |number, text: &str, out: &mut Vec<u8>| {
        prost::encoding::string::encode(number, &text.to_owned(), out);
    };
    match (Special::of(message), value) {
        (Some(Special::Raw), Value::Null) | (Some(Special::Time), Value::Null) => {}
        (Some(Special::Raw), raw) => text(1, &raw.to_string(), &mut out),
        (Some(Special::Time), time) => {
            let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
            prost::encoding::int64::encode(1, &time.as_second(), &mut out);
            prost::encoding::int32::encode(2, &0, &mut out);
        }
        (Some(Special::IntOrString), value) => {
            let number = value.as_i64().unwrap_or_default();
            prost::encoding::int64::encode(1, &i64::from(value.is_string()), &mut out);
            prost::encoding::int64::encode(2, &number, &mut out);
            text(3, value.as_str().unwrap_or_default(), &mut out);
        }
        (None, value) => {
            for field in message.fields() {
                encode_field(&field, value, &mut out);
            }
        }
    }
    out
}

fn encode_field(field: &FieldDescriptor, object: &Value, out: &mut Vec<u8>) {
    let number = field.number();
    let bytes = |inner: Vec<u8>, out: &mut Vec<u8>| {
        prost::encoding::bytes::encode(number, &inner, out);
    };
    let value = &object[field.name()];
    match field.kind() {
        Kind::Message(inner) if is_inline(field) => {
            let there = inner.fields().any(|f| !object[f.name()].is_null());
            if there || !is_pointer(field) {
                bytes(encode_message(&inner, object), out);
            }
        }
        Kind::Message(entry) if field.is_map() => {
            for (key, value) in value.as_object().into_iter().flatten() {
                let entry_value = json!({ "key": key, "value": value });
                bytes(encode_message(&entry, &entry_value), out);
            }
        }
        kind if field.is_list() => {
            for item in value.as_array().into_iter().flatten() {
                encode_scalar(number, &kind, item, out);
            }
        }
        _ if value.is_null() && is_pointer(field) => {}
        kind => encode_scalar(number, &kind, value, out),
    }
}

fn encode_scalar(number: u32, kind: &Kind, value: &Value, out: &mut Vec<u8>) {
    match kind {
        Kind::Message(inner) => {
            let inner = encode_message(inner, value);
            prost::encoding::bytes::encode(number, &inner, out);
        }
        Kind::Bool => {
            prost::encoding::bool::encode(number, &(*value == Value::Bool(true)), out);
        }
        Kind::String => {
            let text = value.as_str().unwrap_or_default().to_owned();
            prost::encoding::string::encode(number, &text, out);
        }
        _ => prost::encoding::int64::encode(number, &value.as_i64().unwrap_or_default(), out),
    }
}

/// An application with something of every part, in normal form.
pub(crate) fn full() -> Value {
    json!({
        "metadata": {
            "name": "shop",
            "namespace": "argocd",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "deletionGracePeriodSeconds": 0,
            "generation": 3,
            "labels": { "app": "shop", "empty": "" },
            "annotations": { "Name": "x", "name": "y" },
            "finalizers": ["resources-finalizer.argocd.argoproj.io"],
            "ownerReferences": [
                { "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": "shops",
                  "uid": "u-1", "controller": true, "blockOwnerDeletion": false },
            ],
            "managedFields": [
                { "manager": "argocd-server", "operation": "Update", "time": "2026-01-02T03:04:05Z",
                  "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:Project": {} } } },
            ],
        },
        "spec": {
            "project": "default",
            "destination": { "server": "https://kubernetes.default.svc", "namespace": "shop" },
            "source": {
                "repoURL": "https://git.example/shop",
                "path": "deploy",
                "targetRevision": "main",
                "helm": {
                    "valueFiles": ["values.yaml"],
                    "parameters": [{ "name": "a", "value": "1", "forceString": true }],
                    "valuesObject": { "Replicas": 2, "replicas": 0, "on": false, "none": null, "list": [] },
                    "skipCrds": true,
                },
                "kustomize": {
                    "images": ["web=web:1"],
                    "commonLabels": { "a": "b" },
                    "replicas": [{ "name": "web", "count": 0 }, { "name": "db", "count": "2" }],
                    "patches": [
                        { "patch": "[]", "target": { "group": "apps", "kind": "Deployment", "name": "web",
                          "labelSelector": "a=b" }, "options": { "allowNameChange": false } },
                    ],
                },
                "directory": {
                    "recurse": true,
                    "jsonnet": { "extVars": [{ "name": "a", "value": "b", "code": true }] },
                },
                "plugin": {
                    "env": [{ "name": "A", "value": "b" }],
                    "parameters": [
                        { "name": "text", "string": "" },
                        { "name": "map", "map": {} },
                        { "name": "array", "array": [] },
                        { "name": "filled", "map": { "a": "" }, "array": [""] },
                    ],
                },
            },
            "sourceHydrator": {
                "drySource": { "repoURL": "https://git.example/shop", "targetRevision": "main", "path": "." },
                "syncSource": { "targetBranch": "env/prod", "path": "shop" },
                "hydrateTo": {},
            },
            "syncPolicy": {
                "automated": { "prune": false, "enabled": false },
                "syncOptions": ["CreateNamespace=true"],
                "retry": { "limit": -1, "backoff": { "duration": "5s", "factor": 0 } },
                "managedNamespaceMetadata": { "labels": { "a": "b" } },
            },
            "ignoreDifferences": [
                { "group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"] },
            ],
            "info": [{ "name": "url", "value": "https://shop.example" }],
            "revisionHistoryLimit": 0,
        },
    })
}

fn refusal(application: &Value) -> String {
    application_of_json(application).unwrap_err().to_string()
}

#[test]
fn the_normal_form_of_an_application_is_its_own() {
    let normal = application_of_json(&full()).unwrap();
    // Behind no pointer `false` is as good as nothing.
    let mut expected = full();
    let automated = &mut expected["spec"]["syncPolicy"]["automated"];
    if automated["prune"] == json!(false)
        && normal.pointer("/spec/syncPolicy/automated/prune").is_none()
    {
        automated.as_object_mut().unwrap().remove("prune");
    }
    assert_eq!(normal, expected);
    assert_eq!(application_of_json(&normal).unwrap(), normal);
}

#[test]
fn the_same_application_is_the_same_value_from_json_and_from_protobuf() {
    let bytes = encode("Application", &full());
    assert_eq!(
        application_of(&bytes).unwrap(),
        application_of_json(&full()).unwrap()
    );
}

/// Bytes and JSON that Argo CD's own code wrote (`samples` of `tests/argocd/rig facts`).
#[test]
fn what_argo_cd_writes_is_the_same_value_from_both_forms() {
    use base64::Engine as _;
    let samples = include_str!("../../../tests/fixtures/applications.json");
    let samples: Vec<Value> = serde_json::from_str(samples).unwrap();
    assert_eq!(samples.len(), 8);
    for sample in samples {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(sample["protobuf"].as_str().unwrap())
            .unwrap();
        let by_json = application_of_json(&sample["json"]).unwrap();
        assert_eq!(
            application_of(&bytes).unwrap(),
            by_json,
            "{}",
            sample["name"]
        );
        // The tests' own encoder writes what Argo CD's does.
        let ours = encode("Application", &sample["json"]);
        assert_eq!(
            application_of(&ours).unwrap(),
            by_json,
            "{}",
            sample["name"]
        );
    }
}

#[test]
fn blank_is_left_out_but_behind_a_pointer_it_is_kept() {
    let given = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": { "name": "shop", "creationTimestamp": null, "labels": {}, "finalizers": null },
        "spec": {
            "project": "",
            "destination": {},
            "sources": [],
            "source": { "repoURL": "x", "helm": {}, "kustomize": null, "directory": { "jsonnet": {} } },
            "syncPolicy": { "automated": {}, "syncOptions": [] },
        },
        "status": { "Anything": 1 },
        "operation": null,
    });
    assert_eq!(
        application_of_json(&given).unwrap(),
        json!({
            "metadata": { "name": "shop" },
            "spec": {
                "source": { "repoURL": "x", "helm": {}, "directory": {} },
                "syncPolicy": { "automated": {} },
            },
        })
    );
    assert_eq!(
        application_of(&encode("Application", &given)).unwrap(),
        application_of_json(&given).unwrap()
    );
}

#[test]
fn an_unknown_key_is_refused_by_name_and_place() {
    for (place, key, said) in [
        ("", "extra", "`Application` has the unknown field `extra`"),
        (
            "/spec",
            "sync",
            "`Application.spec` has the unknown field `sync`",
        ),
        ("/spec", "SyncPolicy", "another spelling of `syncPolicy`"),
        ("", "Spec", "another spelling of `spec`"),
        ("", "Kind", "another spelling of `kind`"),
        ("/spec", "\u{17f}ource", "another spelling of `source`"),
        (
            "/spec/source/helm",
            "setValues",
            "`Application.spec.source.helm` has the unknown",
        ),
        (
            "/spec/source/helm/parameters/0",
            "forcestring",
            "`Application.spec.source.helm.parameters[0]`",
        ),
        (
            "/spec/source/plugin/parameters/0",
            "Map",
            "another spelling of `map`",
        ),
        (
            "/metadata",
            "clusterName",
            "`Application.metadata` has the unknown field `clusterName`",
        ),
    ] {
        let mut given = full();
        given.pointer_mut(place).unwrap()[key] = json!({});
        let refused = refusal(&given);
        assert!(refused.contains(said), "{place} {key}: {refused}");
    }
}

#[test]
fn a_value_of_another_type_is_refused_by_place() {
    for (place, value) in [
        ("/spec", json!([])),
        ("/spec/project", json!(1)),
        ("/spec/source", json!("x")),
        ("/spec/source/helm/valueFiles", json!({})),
        ("/spec/source/helm/valueFiles/0", json!(null)),
        ("/spec/source/helm/skipCrds", json!("true")),
        ("/spec/source/kustomize/replicas/0/count", json!(1.5)),
        ("/spec/source/kustomize/commonLabels/a", json!(null)),
        ("/spec/syncPolicy/automated", json!(true)),
        ("/spec/syncPolicy/automated/enabled", json!(0)),
        ("/spec/syncPolicy/retry/limit", json!(1.0)),
        ("/spec/revisionHistoryLimit", json!(1e30)),
        ("/metadata/creationTimestamp", json!("yesterday")),
        ("/metadata/labels", json!([["a", "b"]])),
    ] {
        let mut given = full();
        *given.pointer_mut(place).unwrap() = value;
        let refused = application_of_json(&given).unwrap_err();
        assert!(matches!(refused, Error::Type { .. }), "{place}: {refused}");
    }
}

/// Field 200 of every message that the full application has, one after the other.
#[test]
fn an_unknown_field_of_protobuf_is_refused_at_every_depth() {
    let bytes = encode("Application", &full());
    let mut places = 0;
    inject(&descriptor("Application").unwrap(), &bytes, &mut |with| {
        let refused = application_of(&with).unwrap_err();
        assert!(
            matches!(&refused, Error::Unknown { field, .. } if field == "200"),
            "{refused}"
        );
        places += 1;
    });
    assert!(places > 50, "{places} places");
}

/// Calls `each` with `bytes` with an unknown field put into each message in it.
fn inject(message: &MessageDescriptor, bytes: &[u8], each: &mut dyn FnMut(Vec<u8>)) {
    let mut unknown = bytes.to_vec();
    prost::encoding::string::encode(200, &"x".to_owned(), &mut unknown);
    each(unknown);
    let fields: Vec<_> = protobuf::fields(bytes).map(Result::unwrap).collect();
    for (place, field) in fields.iter().enumerate() {
        let known = message.get_field(field.number).unwrap();
        let (Kind::Message(inner), protobuf::Value::Bytes(inside)) = (known.kind(), field.value)
        else {
            continue;
        };
        inject(&inner, inside, &mut |with| {
            let mut out: Vec<u8> = Vec::new();
            for (other, field) in fields.iter().enumerate() {
                if other == place {
                    prost::encoding::bytes::encode(field.number, &with, &mut out);
                } else {
                    out.extend_from_slice(field.raw);
                }
            }
            each(out);
        });
    }
}

#[test]
fn fields_twice_and_odd_numbers_in_protobuf_are_refused() {
    let field = |number, bytes: &[u8]| {
        let mut out = Vec::new();
        prost::encoding::bytes::encode(number, &bytes.to_vec(), &mut out);
        out
    };
    let spec = field(3, b"default");
    let twice = field(2, &[spec.clone(), spec.clone()].concat());
    let refused = application_of(&twice).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`Application.spec.project` comes twice"
    );
    let twice = [field(2, &spec), field(2, &spec)].concat();
    assert!(matches!(application_of(&twice), Err(Error::Twice { .. })));
    // The same label twice: one of them would win.
    let label = field(11, &[field(1, b"env"), field(2, b"prod")].concat());
    let labels = field(1, &[label.clone(), label].concat());
    assert!(matches!(application_of(&labels), Err(Error::Twice { .. })));
    // `enabled` as 2; `valuesObject` with a key twice, and of another kind.
    let enabled = field(2, &field(4, &field(1, &[0x20, 2])));
    assert!(matches!(application_of(&enabled), Err(Error::Type { .. })));
    for raw in [&b"{\"a\":1,\"a\":2}"[..], b"{} {}", b"\xff"] {
        let values = field(2, &field(1, &field(7, &field(10, &field(1, raw)))));
        let refused = application_of(&values).unwrap_err();
        assert!(matches!(refused, Error::Json { .. }), "{refused}");
    }
}

#[test]
fn bytes_are_written_in_one_way() {
    // project and destination the other way round, and a length of two bytes.
    let odd = [0x12, 0x86, 0x00, 0x1a, 2, b'a', b'b', 0x12, 0];
    let read = Message::read("Application", &odd).unwrap();
    assert_eq!(read.bytes, [0x12, 6, 0x12, 0, 0x1a, 2, b'a', b'b']);
    let again = Message::read("Application", &read.bytes).unwrap();
    assert_eq!(again, read);
}

/// Or else bytes could nest as deep as they like.
#[test]
fn no_message_contains_itself() {
    fn walk(message: &MessageDescriptor, above: &mut Vec<String>) {
        assert!(
            !above.contains(&message.full_name().to_owned()),
            "{above:?}"
        );
        above.push(message.full_name().to_owned());
        for field in message.fields() {
            if let Kind::Message(inner) = field.kind() {
                walk(&inner, above);
            }
        }
        above.pop();
    }
    messages().for_each(|message| walk(&message, &mut Vec::new()));
}

/// A value that may or may not be what `message` wants at each place.
fn any_of(message: &MessageDescriptor, depth: u32) -> BoxedStrategy<Value> {
    if let Some(special) = Special::of(message) {
        return match special {
            Special::Raw => prop_oneof![
                Just(json!({})),
                "[a-zA-Z]{0,4}".prop_map(|key| json!({ key: [1, null, "x", 0.5] })),
            ]
            .boxed(),
            Special::IntOrString => prop_oneof![
                any::<i32>().prop_map(Value::from),
                "[a-z]{0,3}".prop_map(Value::from)
            ]
            .boxed(),
            Special::Time => Just(json!("2026-01-02T03:04:05Z")).boxed(),
        };
    }
    let mut fields: Vec<BoxedStrategy<Vec<(String, Value)>>> = Vec::new();
    for field in message.fields() {
        let name = field.name().to_owned();
        let strategy = match field.kind() {
            Kind::Message(inner) if is_inline(&field) => {
                let inner = any_of(&inner, depth);
                fields.push(
                    prop::option::of(inner)
                        .prop_map(|value| match value {
                            Some(Value::Object(fields)) => fields.into_iter().collect(),
                            _ => Vec::new(),
                        })
                        .boxed(),
                );
                continue;
            }
            Kind::Message(_) if field.is_map() && depth > 0 => {
                prop::collection::btree_map("[a-zA-Z.]{1,3}", "[a-z]{0,2}", 0..3)
                    .prop_map(|map| json!(map))
                    .boxed()
            }
            Kind::Message(inner) if depth > 0 && !field.is_map() => any_of(&inner, depth - 1),
            Kind::Message(_) => continue,
            Kind::Bool => any::<bool>().prop_map(Value::from).boxed(),
            Kind::String => "[a-z]{0,3}".prop_map(Value::from).boxed(),
            _ => any::<i64>().prop_map(Value::from).boxed(),
        };
        let strategy = if field.is_list() {
            prop::collection::vec(strategy, 0..3)
                .prop_map(Value::from)
                .boxed()
        } else {
            strategy
        };
        fields.push(
            prop::option::weighted(0.4, strategy)
                .prop_map(move |value| value.map(|v| (name.clone(), v)).into_iter().collect())
                .boxed(),
        );
    }
    fields
        .prop_map(|fields| Value::Object(fields.into_iter().flatten().collect()))
        .boxed()
}

/// `map<string, bool>` has no place in these values.
fn fits(value: &Value) -> bool {
    normal("Application", value).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_application_is_the_same_value_from_json_and_from_protobuf(
        application in any_of(&descriptor("Application").unwrap(), 4).prop_filter("options", fits),
    ) {
        let by_json = application_of_json(&application).unwrap();
        let bytes = encode("Application", &application);
        prop_assert_eq!(application_of(&bytes).unwrap(), by_json.clone());
        prop_assert_eq!(application_of_json(&by_json).unwrap(), by_json);
        let message = Message::read("Application", &bytes).unwrap();
        let again = Message::read("Application", &message.bytes).unwrap();
        prop_assert_eq!(again.bytes, message.bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for message in messages() {
            if let Ok(read) = Message::read(message.name(), &bytes) {
                let again = Message::read(message.name(), &read.bytes).unwrap();
                prop_assert_eq!(again.value(), read.value());
            }
        }
    }

    /// A byte of a valid message changed, or the message cut.
    #[test]
    fn a_damaged_message_never_panics_and_is_stable_once_read(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut bytes = encode("Application", &full());
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if let Ok(read) = Message::read("Application", &bytes) {
            let again = Message::read("Application", &read.bytes).unwrap();
            prop_assert_eq!(again.value(), read.value());
        }
    }
}
