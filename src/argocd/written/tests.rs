use proptest::prelude::*;
use prost_reflect::Kind;
use serde_json::json;

mod samples;

use super::*;
pub(crate) use samples::{encode, full};

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

/// Bytes and JSON that Argo CD's own code wrote (`applications` of `tests/argocd/rig facts`).
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
