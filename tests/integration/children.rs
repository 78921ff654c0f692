//! The tree and the managed resources of a parent show the children that may be read. A partner reads
//! staging alone.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use syncgate::argocd::framing;

use crate::lists::world;
use crate::world::{Call, Wire, World, eventually};

const PARENT: &str = "cart-staging";
const CHILDREN: [&str; 3] = ["checkout-staging", "checkout-prod", "not-of-this-cluster"];

/// The parent's tree: the children, and a Job below each.
fn tree(children: &[&str]) -> Value {
    let reference = |kind: &str, name: &str| {
        let group = if kind == "Job" {
            "batch"
        } else {
            "argoproj.io"
        };
        json!({"group": group, "kind": kind, "namespace": "argocd", "name": name})
    };
    let nodes = children.iter().map(|name| reference("Application", name));
    let jobs = CHILDREN.iter().enumerate().map(|(n, name)| {
        let mut job = reference("Job", &format!("job-{n}"));
        let seen = children
            .contains(name)
            .then(|| reference("Application", name));
        job["parentRefs"] = seen.into_iter().collect();
        job
    });
    json!({"nodes": nodes.chain(jobs).collect::<Vec<_>>()})
}

/// The same in protobuf.
fn message(tree: &Value) -> Vec<u8> {
    let field = |number: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[number << 3 | 2, length], payload].concat()
    };
    let reference = |of: &Value| {
        let text = |number, key: &str| field(number, of[key].as_str().unwrap().as_bytes());
        [
            text(1, "group"),
            text(3, "kind"),
            text(4, "namespace"),
            text(5, "name"),
        ]
        .concat()
    };
    let nodes = tree["nodes"].as_array().unwrap().iter().map(|node| {
        let parents = node["parentRefs"].as_array().into_iter().flatten();
        let parents: Vec<_> = parents.map(|parent| field(2, &reference(parent))).collect();
        let node = [field(1, &reference(node)), parents.concat()].concat();
        // Longer than one byte can tell.
        let length = [
            u8::try_from(node.len() & 0x7f).unwrap() | 0x80,
            u8::try_from(node.len() >> 7).unwrap(),
        ];
        if node.len() < 128 {
            field(1, &node)
        } else {
            [&[1 << 3 | 2], &length[..], &node].concat()
        }
    });
    nodes.collect::<Vec<_>>().concat()
}

async fn watching() -> (World, String) {
    let (world, pia) = world().await;
    eventually("the watch", || async {
        let last = syncgate::names::AppRef {
            namespace: None,
            name: "stray".to_owned(),
        };
        world.app.index.get(&last).map(drop)
    })
    .await;
    (world, pia)
}

#[tokio::test]
async fn a_tree_shows_the_children_that_may_be_read() {
    let (world, pia) = watching().await;
    let (all, visible) = (tree(&CHILDREN), tree(&CHILDREN[..1]));
    let path = format!("/api/v1/applications/{PARENT}/resource-tree");
    let json = "application/json";
    world.outside.argocd.says(&path, json, all.to_string());
    let said = world.gate.rest("GET", &path, &pia, "").await;
    assert_eq!(said.json(), visible);
    // Who reads everything sees all that the gate knows.
    let said = world
        .gate
        .rest("GET", &path, &world.outside.alice(), "")
        .await;
    assert_eq!(said.json(), tree(&CHILDREN[..2]));

    let grpc = "/application.ApplicationService/ResourceTree";
    let sent = framing::write_message(&message(&all)).unwrap();
    let mut call = Call::get(PARENT);
    call.becomes("/resource-tree", grpc);
    for wire in Wire::FRAMED {
        world.outside.argocd.says(grpc, wire.kind(), sent.clone());
        let said = world.gate.ask(wire, &pia, &call).await;
        let expected = framing::write_message(&message(&visible)).unwrap();
        assert_eq!(said.body, expected, "{wire:?}: {said:?}");
    }
}

#[tokio::test]
async fn a_watch_of_a_tree_shows_the_same_in_the_fields_that_were_chosen() {
    let (world, pia) = watching().await;
    let path = format!("/api/v1/stream/applications/{PARENT}/resource-tree");
    let event = |tree: &Value| format!("data: {} \n\n\n", json!({"result": tree}));
    let all = event(&tree(&CHILDREN));
    world.outside.argocd.says(&path, "text/event-stream", all);
    let shown = async |query: &str| {
        let accept = ("accept", "text/event-stream".to_owned());
        let headers = [Wire::Rest.credential(&pia), accept];
        let path = format!("{path}{query}");
        let begun = world
            .gate
            .begin(Wire::Rest, "GET", &path, &headers, Bytes::new());
        let body = begun.await.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    };
    assert_eq!(shown("").await, event(&tree(&CHILDREN[..1])));
    world.outside.argocd.forget();
    let shown = shown("?fields=result.nodes.kind").await;
    let kinds = ["Application", "Job", "Job", "Job"].map(|kind| json!({"kind": kind}));
    assert_eq!(shown, event(&json!({"nodes": kinds})));
    let [sent] = world.outside.argocd.forwarded().try_into().unwrap();
    for needed in ["nodes.group", "nodes.name", "nodes.parentRefs.name"] {
        assert!(
            sent.path.contains(&format!("result.{needed}")),
            "{}",
            sent.path
        );
    }
}

#[tokio::test]
async fn managed_resources_show_children_that_may_be_read_or_would_be() {
    let (world, pia) = watching().await;
    let item = |name: &str, target: &str| {
        let mut target = world.outside.argocd.application(target);
        target["metadata"] = json!({"name": name});
        json!({
            "group": "argoproj.io", "kind": "Application", "namespace": "argocd", "name": name,
            "liveState": "null", "targetState": target.to_string(),
        })
    };
    let may = [
        item("checkout-staging", "checkout-staging"),
        item("new-staging", "checkout-staging"),
    ];
    let may_not = [
        // What is there counts, not what it shall be.
        item("checkout-prod", "checkout-staging"),
        item("new-prod", "checkout-prod"),
        item("new-name", "checkout-prod"),
    ];
    let path = format!("/api/v1/applications/{PARENT}/managed-resources");
    let all = [may.as_slice(), &may_not].concat();
    let all = json!({"items": all});
    world
        .outside
        .argocd
        .says(&path, "application/json", all.to_string());
    let said = world.gate.rest("GET", &path, &pia, "").await;
    assert_eq!(said.json(), json!({"items": may}));
}

#[tokio::test]
async fn a_list_has_the_fields_that_were_chosen_and_no_others() {
    let (world, pia) = watching().await;
    let all = world
        .gate
        .rest("GET", "/api/v1/applications", &pia, "")
        .await
        .json();
    // The stand-in sends everything whatever is chosen: what was added is taken out again.
    let path = "/api/v1/applications?fields=items.metadata.name,items.status.health";
    let said = world.gate.rest("GET", path, &pia, "").await.json();
    let items = said["items"].as_array().unwrap();
    assert_eq!(items.len(), all["items"].as_array().unwrap().len());
    for item in items {
        assert!(item["metadata"]["name"].is_string());
        for gone in [
            "/metadata/labels",
            "/metadata/namespace",
            "/metadata/uid",
            "/spec/project",
        ] {
            assert!(item.pointer(gone).is_none(), "{gone} in {item}");
        }
    }
}
