//! Patches of applications, on both wires.

use super::*;

/// What a patch makes of the live application; the same on both wires.
pub(super) fn patched(patch: &str, kind: &str) -> Result<Value, Error> {
    let body = json!({ "patch": patch, "patchType": kind });
    let message = [
        field(1, b"shop"),
        long(2, patch.as_bytes()),
        field(3, kind.as_bytes()),
    ]
    .concat();
    let [by_rest, by_grpc] = both(
        Operation::ApplicationPatch,
        ("PATCH", "/api/v1/applications/shop", &body),
        &message,
    )
    .map(|call| match call?.body {
        Body::Patch(patch) => patch.apply(&live()),
        other => panic!("{other:?}"),
    });
    assert_eq!(by_rest, by_grpc);
    by_rest
}

/// One field of bytes, of any length.
fn long(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::bytes::encode(number, &bytes.to_vec(), &mut out);
    out
}

fn live() -> Value {
    json!({
        "metadata": { "name": "shop", "labels": { "env": "staging" }, "creationTimestamp": null },
        "spec": {
            "project": "default",
            "source": { "repoURL": "x", "targetRevision": "main" },
            "syncPolicy": { "syncOptions": ["a=b", "c=d"] },
        },
        "status": { "history": [] },
    })
}

#[test]
fn a_patch_tells_what_the_application_would_be() {
    let json_patch = r#"[
        {"op": "test", "path": "/spec/project", "value": "default"},
        {"op": "replace", "path": "/spec/source/targetRevision", "value": "v2"},
        {"op": "add", "path": "/spec/syncPolicy/automated", "value": {}},
        {"op": "add", "path": "/spec/syncPolicy/syncOptions/-", "value": "e=f"},
        {"op": "remove", "path": "/spec/syncPolicy/syncOptions/0"},
        {"op": "move", "from": "/metadata/labels/env", "path": "/metadata/labels/a~1b"}
    ]"#;
    let expected = json!({
        "metadata": { "name": "shop", "labels": { "a/b": "staging" } },
        "spec": {
            "project": "default",
            "source": { "repoURL": "x", "targetRevision": "v2" },
            "syncPolicy": { "automated": {}, "syncOptions": ["c=d", "e=f"] },
        },
    });
    assert_eq!(patched(json_patch, "json"), Ok(expected.clone()));
    assert_eq!(patched(json_patch, ""), Ok(expected.clone()));
    let merge = r#"{
        "metadata": {"labels": {"env": null, "a/b": "staging"}},
        "spec": {"source": {"targetRevision": "v2"},
            "syncPolicy": {"automated": {"x": null}, "syncOptions": ["c=d", "e=f"]}}
    }"#;
    assert_eq!(patched(merge, "merge"), Ok(expected));
    assert!(patched("{}", "strategic").is_err());
}

#[test]
fn what_two_readers_of_a_patch_take_differently_is_refused() {
    for operation in [
        r#"{"op": "remove", "path": "/spec/syncPolicy/syncOptions/-1"}"#,
        r#"{"op": "remove", "path": "/spec/syncPolicy/syncOptions/-"}"#,
        r#"{"op": "remove", "path": "/spec/syncPolicy/syncOptions/00"}"#,
        r#"{"op": "remove", "path": "/spec/syncPolicy/syncOptions/+1"}"#,
        r#"{"op": "add", "path": "/spec/syncPolicy/-/x", "value": 1}"#,
        r#"{"op": "add", "path": "spec/project", "value": "x"}"#,
        r#"{"op": "add", "path": "", "value": {}}"#,
        r#"{"op": "copy", "from": "", "path": "/spec/project"}"#,
        r#"{"op": "add", "path": "/spec/a~2b", "value": 1}"#,
        r#"{"op": "add", "path": "/spec/project"}"#,
        r#"{"op": "add", "value": "x"}"#,
        r#"{"op": "ADD", "path": "/spec/project", "value": "x"}"#,
        r#"{"op": "merge", "path": "/spec/project", "value": "x"}"#,
        r#"{"op": "add", "Path": "/spec/project", "path": "/spec/info", "value": "x"}"#,
        r#"{"op": "add", "path": "/spec/project", "path": "/spec/info", "value": "x"}"#,
        r#"{"op": "remove", "path": "/spec/project", "value": "x"}"#,
        r#"{"op": "add", "path": ["spec"], "value": "x"}"#,
        r#"{"op": "replace", "path": "/spec/nothing", "value": "x"}"#,
        r#"{"op": "move", "from": "/spec", "path": "/spec/source"}"#,
        r#"{"op": "test", "path": "/spec/project", "value": "other"}"#,
        "7",
    ] {
        let refused = patched(&format!("[{operation}]"), "json");
        assert!(
            matches!(refused, Err(Error::Patch(_))),
            "{operation}: {refused:?}"
        );
    }
    for patch in ["{}", "null", "[] []", "[", ""] {
        assert!(patched(patch, "json").is_err(), "{patch}");
    }
    for patch in [
        "[]",
        "null",
        r#"{"spec": {"sources": [{"repoURL": null}]}}"#,
        r#"{"spec": {"sources": [null]}}"#,
        r#"{"spec": {}, "spec": {"project": "x"}}"#,
    ] {
        assert!(
            matches!(
                patched(patch, "merge"),
                Err(Error::Patch(_) | Error::Missing(_))
            ),
            "{patch}"
        );
    }
}

#[test]
fn what_a_patch_makes_is_read_to_the_last_key() {
    for patch in [
        r#"{"Spec": {"project": "x"}}"#,
        r#"{"spec": {"syncpolicy": {"automated": {}}}}"#,
        r#"{"spec": {"new": 1}}"#,
        r#"{"spec": {"project": 1}}"#,
        r#"{"spec": {"source": {"helm": {"ValuesObject": {}}}}}"#,
    ] {
        let refused = patched(patch, "merge");
        assert!(
            matches!(refused, Err(Error::Written(_))),
            "{patch}: {refused:?}"
        );
    }
    // What Argo CD does not keep of the outcome is not looked at.
    let same = patched(
        r#"{"status": {"Any": 1}, "operation": {"sync": {}}}"#,
        "merge",
    );
    assert_eq!(same, patched("{}", "merge"));
}

/// What Argo CD's own library makes of patches (`patches` of `tests/argocd/rig facts`): where the
/// gate takes one, the outcome is the same.
#[test]
fn a_patch_that_is_taken_has_the_outcome_that_argo_cd_gives_it() {
    let samples = include_str!("../../../../tests/fixtures/patches.json");
    let samples: Vec<Value> = serde_json::from_str(samples).unwrap();
    let mut taken = 0;
    for sample in &samples {
        let text = sample["patch"].as_str().unwrap();
        let read = match sample["kind"].as_str() {
            Some("json") => Patch::json(text),
            _ => Patch::merge(text),
        };
        if let Ok(after) = read.and_then(|patch| patch.apply(&sample["before"])) {
            assert_eq!(after, sample["after"], "{text}");
            taken += 1;
        }
    }
    assert!(taken >= 20, "{taken} of {} are taken", samples.len());
}
