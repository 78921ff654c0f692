//! Patches, deletions and actions on one live object.

use super::*;

fn resource(call: &Call) -> &ResourceCall {
    match &call.body {
        Body::Resource(resource) => resource,
        other => panic!("{other:?}"),
    }
}

const WEB: &str = "resourceName=web&namespace=shop&group=apps&kind=Deployment&version=v1";

#[test]
fn a_patch_of_a_resource_is_read_alike_on_both_wires() {
    let patch = "{\"spec\":{\"replicas\":2}}";
    let uri = format!(
        "/api/v1/applications/shop/resource?name=web&{WEB}&patchType=application%2Fmerge-patch%2Bjson"
    );
    let message = [
        field(1, b"shop"),
        field(2, b"shop"),
        field(3, b"web"),
        field(4, b"v1"),
        field(5, b"apps"),
        field(6, b"Deployment"),
        field(7, patch.as_bytes()),
        field(8, b"application/merge-patch+json"),
    ]
    .concat();
    for call in both(
        Operation::ApplicationPatchResource,
        ("POST", &uri, &json!(patch)),
        &message,
    ) {
        let call = call.unwrap();
        let found = resource(&call);
        assert_eq!(
            (
                &*found.group,
                &*found.kind,
                &*found.namespace,
                &*found.name,
                &*found.version
            ),
            ("apps", "Deployment", "shop", "web", "v1")
        );
        let ResourceChange::Patch(ResourcePatch::Known(patch)) = &found.change else {
            panic!("{found:?}")
        };
        assert_eq!(
            patch.apply(&json!({ "spec": { "replicas": 1, "paused": true } })),
            Ok(json!({ "spec": { "replicas": 2, "paused": true } }))
        );
    }
    // The body is a text that holds the patch, not the patch.
    let refused = rest("POST", &uri, patch);
    assert!(matches!(refused, Err(Error::Written(_))), "{refused:?}");
    let strategic = uri.replace("merge-patch", "strategic-merge-patch");
    let call = rest("POST", &strategic, &json!("{}").to_string()).unwrap();
    assert_eq!(
        resource(&call).change,
        ResourceChange::Patch(ResourcePatch::Other(
            "application/strategic-merge-patch+json".into()
        ))
    );
}

#[test]
fn actions_are_read_alike_in_both_versions_and_on_both_wires() {
    let message = [
        field(1, b"shop"),
        field(2, b"shop"),
        field(3, b"web"),
        field(4, b"v1"),
        field(5, b"apps"),
        field(6, b"Deployment"),
        field(7, b"scale"),
    ]
    .concat();
    let v1 = format!("/api/v1/applications/shop/resource/actions?{WEB}");
    let first = both(
        Operation::ApplicationRunResourceAction,
        ("POST", &v1, &json!("scale")),
        &message,
    );
    let parameter = [field(1, b"replicas"), field(2, b"3")].concat();
    let body = json!({
        "namespace": "shop", "resourceName": "web", "version": "v1", "group": "apps",
        "kind": "Deployment", "action": "scale",
        "resourceActionParameters": [{ "name": "replicas", "value": "3" }],
    });
    let second = both(
        Operation::ApplicationRunResourceActionV2,
        (
            "POST",
            "/api/v1/applications/shop/resource/actions/v2",
            &body,
        ),
        &[message, field(10, &parameter)].concat(),
    );
    for (calls, parameters) in [
        (first, vec![]),
        (second, vec![("replicas".into(), "3".into())]),
    ] {
        for call in calls {
            let call = call.unwrap();
            assert_eq!(
                resource(&call).change,
                ResourceChange::Action {
                    name: "scale".into(),
                    parameters: parameters.clone()
                }
            );
            assert_eq!(resource(&call).name, "web");
        }
    }
    // The name of the path is the application's, whatever the body says.
    let mut other = body.clone();
    other["name"] = json!("other");
    let refused = rest(
        "POST",
        "/api/v1/applications/shop/resource/actions/v2",
        &other.to_string(),
    );
    assert!(matches!(refused, Err(Error::Disagree { .. })));
    let refused = rest("POST", &v1, "\"\"");
    assert_eq!(refused, Err(Error::Missing("action")));
}

#[test]
fn a_deletion_of_a_resource_has_no_body_over_http() {
    let uri = format!("/api/v1/applications/shop/resource?name=web&{WEB}&force=true&orphan=false");
    let call = rest("DELETE", &uri, "").unwrap();
    assert_eq!(resource(&call).change, ResourceChange::Delete);
    assert_eq!(call.forward_body().unwrap(), Bytes::new());
    let without = uri.replace("resourceName=web&", "");
    assert_eq!(
        rest("DELETE", &without, ""),
        Err(Error::Missing("resourceName"))
    );
}
