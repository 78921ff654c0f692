//! Damaged and arbitrary bodies: never a panic, and what is read is read again from what is sent on.

use proptest::prelude::*;

use super::*;

/// Valid calls of every operation that is read whole, as JSON and as protobuf.
fn valid() -> Vec<(Operation, &'static str, &'static str, String, Vec<u8>)> {
    let resource_body = json!({
        "resourceName": "web", "kind": "Deployment", "version": "v1", "action": "restart",
    });
    let mut set_message = Vec::new();
    prost::encoding::bytes::encode(1, &encode("ApplicationSet", &set()), &mut set_message);
    vec![
        (
            Operation::ApplicationCreate,
            "POST",
            "/api/v1/applications",
            full().to_string(),
            with_application(&full()),
        ),
        (
            Operation::ApplicationSetCreate,
            "POST",
            "/api/v1/applicationsets",
            set().to_string(),
            set_message,
        ),
        (
            Operation::ApplicationRunResourceActionV2,
            "POST",
            "/api/v1/applications/shop/resource/actions/v2",
            resource_body.to_string(),
            [field(1, b"shop"), needed_of(Operation::ApplicationRunResourceActionV2)].concat(),
        ),
        (
            Operation::ApplicationPatch,
            "PATCH",
            "/api/v1/applications/shop",
            json!({ "patch": "[{\"op\":\"remove\",\"path\":\"/spec/info\"}]", "patchType": "json" })
                .to_string(),
            [field(1, b"shop"), needed_of(Operation::ApplicationPatch)].concat(),
        ),
        (
            Operation::ApplicationRollback,
            "POST",
            "/api/v1/applications/shop/rollback",
            json!({ "id": 3, "prune": true }).to_string(),
            [field(1, b"shop"), vec![0x10, 3]].concat(),
        ),
    ]
}

/// Whatever was read: its own body is read as the same call.
fn stable(call: &Call, classified: Classified) {
    let again = Call::parse(classified, &call.forward_body().unwrap());
    assert_eq!(again.as_ref(), Ok(call));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_call_never_panics_and_is_stable_once_read(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:019aA-".to_vec())],
        how in 0..4_u8,
    ) {
        let calls = valid();
        let (operation, method, uri, body, message) = which.get(&calls);
        let damage = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => { bytes.remove(at); }
                _ => bytes.truncate(at),
            }
            bytes
        };
        let head = || classified(method, uri, "application/json");
        if let Ok(call) = Call::parse(head(), &damage(body.as_bytes()).into()) {
            stable(&call, head());
        }
        let head = || classified("POST", operation.row().grpc, GRPC);
        let framed = framing::write_message(&damage(message)).unwrap();
        if let Ok(call) = Call::parse(head(), &framed) {
            stable(&call, head());
        }
    }

    #[test]
    fn arbitrary_json_never_panics(text in r#"[\{\}\[\]",:a-b0-2 ]{0,24}"#) {
        for (_, method, uri, _, _) in valid() {
            let _ = rest(method, uri, &text);
        }
        for kind in ["json", "merge"] {
            let _ = patch::patched(&text, kind);
        }
    }
}

#[test]
fn the_valid_calls_are_read() {
    for (operation, method, uri, body, message) in valid() {
        stable(
            &rest(method, uri, &body).unwrap(),
            classified(method, uri, "application/json"),
        );
        stable(
            &grpc(operation, &message).unwrap(),
            classified("POST", operation.row().grpc, GRPC),
        );
    }
}
