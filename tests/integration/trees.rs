//! What a parent rolls out, down the tree, and what is asked about it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use syncgate::argocd::proto::ApplicationSyncRequest;
use syncgate::record::{self, LogEntry, Word};
use syncgate::store::DecisionFilter;

use crate::admission::{CONTROLLER, Review, ask};
use crate::world::{Call, FIRST, SECOND, Said, Wire, World, eventually, passed};

/// One application of a random tree.
#[derive(Clone, Debug)]
struct Node {
    /// Argo CD rolls it out by itself.
    automated: bool,
    /// Its parent's new commit gives it another target revision.
    changed: bool,
    /// It has something of its own.
    own: bool,
    children: Vec<Node>,
}

fn nodes() -> impl Strategy<Value = Node> {
    // Often enough, or little would go out.
    let often = || prop::bool::weighted(0.8);
    let leaf = (often(), often()).prop_map(|(automated, changed)| Node {
        automated,
        changed,
        own: true,
        children: Vec::new(),
    });
    leaf.prop_recursive(3, 24, 4, move |inner| {
        let children = prop::collection::vec(inner, 1..5);
        ((often(), often(), any::<bool>()), children).prop_map(
            |((automated, changed, own), children)| Node {
                automated,
                changed,
                own,
                children,
            },
        )
    })
}

/// A tree in Argo CD, and what a sync of its root rolls out.
struct Planted {
    root: String,
    /// The components that need evidence, with their sources.
    rolled_out: BTreeMap<String, Value>,
}

fn manifest(name: &str, automated: bool, target: &str) -> Value {
    let component = name.trim_end_matches("-prod");
    let mut spec = json!({
        "project": "shop",
        "source": {
            "repoURL": "https://git.shop.example/shop.git",
            "path": format!("components/{component}"), "targetRevision": target,
        },
        "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop-prod"},
    });
    if automated {
        spec["syncPolicy"] = json!({"automated": {}});
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": "argocd"}, "spec": spec,
    })
}

/// `manifest` as it is there, in sync at `commit`.
fn live(mut manifest: Value, commit: &str) -> Value {
    let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
    manifest["metadata"]["uid"] = json!(syncgate::digest::sha256_hex(name.as_bytes()));
    manifest["status"] = json!({
        "sync": {
            "status": "Synced", "revision": commit,
            "comparedTo": {"source": manifest["spec"]["source"]},
        },
        "controllerNamespace": "argocd",
    });
    manifest
}

fn config_map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
}

/// Puts `node` into Argo CD, with all below it. `goes_out` says whether the sync reaches it.
fn plant(world: &World, name: &str, node: &Node, goes_out: bool, planted: &mut Planted) {
    let component = name.trim_end_matches("-prod").to_owned();
    let mut manifests: Vec<Value> = node.own.then(config_map).into_iter().collect();
    for (index, child) in node.children.iter().enumerate() {
        let name = format!("{component}-{index}-prod");
        let reached = goes_out && child.automated && child.changed;
        plant(world, &name, child, reached, planted);
        manifests.push(manifest(&name, child.automated, SECOND));
    }
    if goes_out && node.own {
        let source = manifest(name, false, SECOND)["spec"]["source"].clone();
        planted.rolled_out.insert(component, source);
    }
    let before = if node.changed { FIRST } else { SECOND };
    let there = manifest(name, node.automated, before);
    world.outside.argocd.put(live(there, before), manifests);
}

async fn sync(world: &World, application: &str) -> Said {
    let rita = world.outside.rita();
    world
        .gate
        .ask(Wire::Rest, &rita, &Call::sync(application))
        .await
}

async fn evidence(world: &World, component: &str, source: &Value) {
    passed(&world.app.store, component, SECOND, source).await;
}

/// Allowed exactly when every application with something of its own that would be rolled out has its
/// evidence; where one has none it is refused, and named.
#[tokio::test]
async fn a_tree_goes_out_exactly_when_all_of_it_has_evidence() {
    let world = World::new().await;
    let mut runner = TestRunner::deterministic();
    let mut with_children = 0;
    for case in 0..60 {
        let node = nodes().new_tree(&mut runner).unwrap().current();
        let root = Node {
            automated: false,
            changed: false,
            own: false,
            children: vec![node],
        };
        let name = format!("case{case}-prod");
        let mut planted = Planted {
            root: name.clone(),
            rolled_out: BTreeMap::new(),
        };
        plant(&world, &name, &root, true, &mut planted);
        with_children += usize::from(!planted.rolled_out.is_empty());
        goes_out_with_all_its_evidence(&world, planted, &root).await;
    }
    assert!(
        with_children > 20,
        "{with_children} trees rolled something out"
    );
}

async fn goes_out_with_all_its_evidence(world: &World, planted: Planted, root: &Node) {
    // The last one stays without until the end.
    let mut left = planted.rolled_out.iter();
    let missing = left.next_back();
    for (component, source) in left {
        evidence(world, component, source).await;
    }
    if let Some((component, source)) = missing {
        let said = sync(world, &planted.root).await;
        assert_eq!(said.code(), 9, "{root:?} {said:?}");
        assert!(
            said.sentence().contains(component.as_str()),
            "{}",
            said.sentence()
        );
        assert_eq!(
            said.sentence().matches("has no passing").count(),
            1,
            "{}",
            said.sentence()
        );
        evidence(world, component, source).await;
    }
    let said = sync(world, &planted.root).await;
    assert_eq!(said.code(), 0, "{root:?} {said:?}");
}

/// A parent of `children`, each as a manifest with what is there of it.
fn parent(world: &World, name: &str, children: &[(Value, Option<Value>)]) {
    for (_, there) in children {
        if let Some(there) = there {
            world.outside.argocd.put(there.clone(), vec![config_map()]);
        }
    }
    let manifests = children.iter().map(|(manifest, _)| manifest.clone());
    let itself = live(manifest(name, false, "main"), FIRST);
    world.outside.argocd.put(itself, manifests.collect());
}

#[tokio::test]
async fn who_may_sync_a_staging_parent_must_not_roll_out_a_prod_child() {
    let world = World::new().await;
    let one = manifest("one-prod", true, SECOND);
    let there = live(manifest("one-prod", true, FIRST), FIRST);
    parent(&world, "root-staging", &[(one.clone(), Some(there))]);
    world.outside.argocd.change("root-staging", |root| {
        root["spec"]["destination"]["namespace"] = json!("shop-staging");
    });
    evidence(&world, "one", &one["spec"]["source"]).await;
    let call = Call::sync("root-staging");
    let said = world
        .gate
        .ask(Wire::Grpc, &world.outside.alice(), &call)
        .await;
    assert_eq!(said.code(), 7, "{said:?}");
    assert!(
        said.sentence().contains("one-prod in prod"),
        "{}",
        said.sentence()
    );
    let said = world
        .gate
        .ask(Wire::Grpc, &world.outside.rita(), &call)
        .await;
    assert_eq!(said.code(), 0, "{said:?}");
    let record = world.record(said.decision()).await;
    let planned = record.opening.planned.iter();
    let actions: Vec<&str> = planned.map(|one| one.action.as_str()).collect();
    assert_eq!(
        actions,
        ["ApplicationService.Sync", "ApplicationService.Update"]
    );
    assert_eq!(record.opening.word, Word::Permit);
}

#[tokio::test]
async fn what_a_child_brings_besides_its_spec_is_looked_at() {
    let world = World::new().await;
    let there = live(manifest("two-prod", false, FIRST), FIRST);
    // An operation in Git starts a rollout.
    let mut starts = manifest("two-prod", false, FIRST);
    starts["operation"] = json!({"sync": {"revision": SECOND}});
    parent(&world, "starts-prod", &[(starts, Some(there.clone()))]);
    let said = sync(&world, "starts-prod").await;
    assert_eq!(said.code(), 9, "{said:?}");
    assert!(
        said.sentence().contains("two@9ab12cd"),
        "{}",
        said.sentence()
    );
    // One that names no commit cannot be checked.
    let mut starts = manifest("two-prod", false, FIRST);
    starts["operation"] = json!({"sync": {"revision": "main"}});
    parent(&world, "vague-prod", &[(starts, Some(there.clone()))]);
    let said = sync(&world, "vague-prod").await;
    assert_eq!(said.code(), 9, "{said:?}");
    assert!(
        said.sentence().contains("not a full commit SHA"),
        "{}",
        said.sentence()
    );
    // A status in Git is forged.
    let mut forged = manifest("two-prod", false, FIRST);
    forged["status"] = json!({"history": [{"id": 0}]});
    parent(&world, "forged-prod", &[(forged, Some(there.clone()))]);
    let said = sync(&world, "forged-prod").await;
    assert_eq!(said.code(), 7, "{said:?}");
    assert!(
        said.sentence().contains("brings a `status`"),
        "{}",
        said.sentence()
    );
    // A plain child whose target revision moves rolls nothing out.
    let plain = manifest("two-prod", false, SECOND);
    parent(&world, "plain-prod", &[(plain, Some(there))]);
    assert_eq!(sync(&world, "plain-prod").await.code(), 0);
}

#[tokio::test]
async fn a_namesake_in_another_namespace_is_another_application() {
    let world = World::new().await;
    let there = live(manifest("three-prod", true, SECOND), SECOND);
    let mut elsewhere = manifest("three-prod", true, SECOND);
    elsewhere["metadata"]["namespace"] = json!("team");
    elsewhere["metadata"]["annotations"] =
        json!({"argocd.argoproj.io/tracking-id": "root:argoproj.io/Application:argocd/three-prod"});
    parent(&world, "names-prod", &[(elsewhere, Some(there))]);
    let said = sync(&world, "names-prod").await;
    // It is created, and belongs to no environment: the name alone does not make it prod's.
    assert_eq!(said.code(), 7, "{said:?}");
    assert!(
        said.sentence().contains("three-prod in unassigned"),
        "{}",
        said.sentence()
    );
}

#[tokio::test]
async fn children_that_vanish_are_deleted_only_by_who_may_delete_them() {
    let world = World::new().await;
    let gone = live(manifest("four-prod", false, FIRST), FIRST);
    parent(&world, "prunes-staging", &[]);
    world.outside.argocd.put(gone, vec![]);
    world.outside.argocd.change("prunes-staging", |root| {
        root["spec"]["destination"]["namespace"] = json!("shop-staging");
        root["status"]["resources"] = json!([{
            "group": "argoproj.io", "kind": "Application", "namespace": "argocd", "name": "four-prod",
        }]);
    });
    let prunes = Call::sync_as(ApplicationSyncRequest {
        name: "prunes-staging".to_owned(),
        prune: Some(true),
        ..ApplicationSyncRequest::default()
    });
    let alice = world.outside.alice();
    let said = world.gate.ask(Wire::Rest, &alice, &prunes).await;
    assert_eq!(said.code(), 7, "{said:?}");
    assert!(
        said.sentence().contains("delete of four-prod in prod"),
        "{}",
        said.sentence()
    );
    let keeps = Call::sync("prunes-staging");
    assert_eq!(world.gate.ask(Wire::Rest, &alice, &keeps).await.code(), 0);
    let rita = world.outside.rita();
    assert_eq!(world.gate.ask(Wire::Rest, &rita, &prunes).await.code(), 0);
}

#[tokio::test]
async fn a_cycle_is_refused_where_it_would_roll_out() {
    let world = World::new().await;
    let (a, b) = (
        manifest("a-prod", true, SECOND),
        manifest("b-prod", true, SECOND),
    );
    let argocd = &world.outside.argocd;
    argocd.put(live(manifest("a-prod", true, FIRST), FIRST), vec![b]);
    argocd.put(
        live(manifest("b-prod", true, FIRST), FIRST),
        vec![a.clone()],
    );
    parent(&world, "cycle-prod", &[(a, None)]);
    argocd.put(
        live(manifest("cycle-prod", false, "main"), FIRST),
        vec![manifest("a-prod", true, SECOND)],
    );
    let said = sync(&world, "cycle-prod").await;
    assert_eq!(said.code(), 9, "{said:?}");
    assert!(said.sentence().contains("a cycle"), "{}", said.sentence());
}

/// Waits until the gate's watch has told of everything.
async fn watching(world: &World) {
    let stray = syncgate::names::AppRef {
        namespace: None,
        name: "stray".to_owned(),
    };
    eventually("the watch", || async { world.app.index.get(&stray) }).await;
}

/// What a permitted sync writes of its children is not decided again, whatever it is merged with.
#[tokio::test]
async fn the_writes_of_a_permitted_parent_are_known_at_the_admission_door() {
    let world = World::with_admission("").await;
    let one = manifest("eight-prod", true, SECOND);
    let mut there = live(manifest("eight-prod", true, FIRST), FIRST);
    there["spec"]["revisionHistoryLimit"] = json!(3);
    parent(&world, "known-prod", &[(one.clone(), Some(there.clone()))]);
    evidence(&world, "eight", &one["spec"]["source"]).await;
    let said = sync(&world, "known-prod").await;
    assert_eq!(said.code(), 0, "{said:?}");
    let mut after = there.clone();
    after["spec"]["source"]["targetRevision"] = json!(SECOND);
    let response = ask(world.door(), Review::of(CONTROLLER, &there, &after)).await;
    assert_eq!(response["allowed"], json!(true), "{response}");
    let newest = newest(&world).await;
    assert_eq!(newest.opening.word, Word::Answer);
    assert_eq!(
        newest.opening.request["intended_by"],
        json!(said.decision().to_string())
    );
    // Something else is decided by itself.
    after["spec"]["source"]["helm"] = json!({"values": "replicas: 9"});
    let response = ask(world.door(), Review::of(CONTROLLER, &there, &after)).await;
    assert_eq!(response["allowed"], json!(false), "{response}");
}

async fn newest(world: &World) -> LogEntry {
    let filter = DecisionFilter {
        limit: 1,
        ..DecisionFilter::default()
    };
    let mut entries = record::list(&world.app.store, filter)
        .await
        .unwrap()
        .entries;
    entries.remove(0)
}

#[tokio::test]
async fn a_set_in_a_parent_is_what_it_makes() {
    let world = World::new().await;
    let set = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet",
        "metadata": {"name": "all", "namespace": "argocd"}, "spec": {"generators": []},
    });
    let one = manifest("five-prod", true, SECOND);
    world.outside.argocd.put(
        live(manifest("five-prod", true, FIRST), FIRST),
        vec![config_map()],
    );
    world.outside.argocd.generates(vec![one.clone()]);
    let root = live(manifest("sets-prod", false, "main"), FIRST);
    world.outside.argocd.put(root, vec![set.clone()]);
    // A release manager may not change sets.
    let said = sync(&world, "sets-prod").await;
    assert_eq!(said.code(), 7, "{said:?}");
    let call = Call::sync("sets-prod");
    let admin = world.outside.issuer.person("paul", &["platform"]);
    let said = world.gate.ask(Wire::Rest, &admin, &call).await;
    assert_eq!(said.code(), 9, "{said:?}");
    assert!(
        said.sentence()
            .contains("five-prod: five@9ab12cd has no passing"),
        "{}",
        said.sentence()
    );
    evidence(&world, "five", &one["spec"]["source"]).await;
    assert_eq!(world.gate.ask(Wire::Rest, &admin, &call).await.code(), 0);
    // What is there already is not asked about again.
    world.outside.argocd.put_set(set);
    assert_eq!(sync(&world, "sets-prod").await.code(), 0);
}

#[tokio::test]
async fn a_root_that_holds_itself_is_synced() {
    let world = World::new().await;
    let itself = manifest("self-prod", true, FIRST);
    let mut there = live(itself.clone(), FIRST);
    there["status"]["sync"]["status"] = json!("OutOfSync");
    world.outside.argocd.put(there.clone(), vec![itself]);
    assert_eq!(sync(&world, "self-prod").await.code(), 0);
    // Also while it does not say so of itself yet.
    let spec = there["spec"].clone();
    there["spec"]["syncPolicy"] = Value::Null;
    there["metadata"]["name"] = json!("boot-prod");
    let mut itself = manifest("boot-prod", true, FIRST);
    itself["spec"] = spec.clone();
    world.outside.argocd.put(there, vec![itself]);
    let rita = world.outside.rita();
    let path = "/api/v1/applications/boot-prod/spec";
    let said = world.gate.rest("PUT", path, &rita, &spec.to_string()).await;
    assert_eq!(said.code(), 0, "{said:?}");
}

#[tokio::test]
async fn a_set_that_vanishes_takes_its_applications_along() {
    let world = World::new().await;
    let one = live(manifest("six-prod", false, FIRST), FIRST);
    world.outside.argocd.put(one, vec![config_map()]);
    let resource = |kind: &str, name: &str| json!({"group": "argoproj.io", "kind": kind, "namespace": "argocd", "name": name});
    world.outside.argocd.put_set(json!({
        "metadata": {"name": "gone", "namespace": "argocd"}, "spec": {},
        "status": {"resources": [resource("Application", "six-prod")]},
    }));
    let mut root = live(manifest("drops-staging", false, "main"), FIRST);
    root["spec"]["destination"]["namespace"] = json!("shop-staging");
    root["status"]["resources"] = json!([resource("ApplicationSet", "gone")]);
    world.outside.argocd.put(root, vec![]);
    let prunes = Call::sync_as(ApplicationSyncRequest {
        name: "drops-staging".to_owned(),
        prune: Some(true),
        ..ApplicationSyncRequest::default()
    });
    let alice = world.outside.alice();
    let said = world.gate.ask(Wire::Rest, &alice, &prunes).await;
    assert_eq!(said.code(), 7, "{said:?}");
    assert!(
        said.sentence().contains("delete of six-prod in prod"),
        "{}",
        said.sentence()
    );
    let delete = "/api/v1/applications/drops-staging";
    assert_eq!(
        world.gate.rest("DELETE", delete, &alice, "").await.code(),
        7
    );
    let admin = world.outside.issuer.person("paul", &["platform"]);
    assert_eq!(world.gate.ask(Wire::Rest, &admin, &prunes).await.code(), 0);
}

#[tokio::test]
async fn what_goes_to_a_namespace_of_prod_is_not_stagings_to_roll_out() {
    let world = World::new().await;
    let prod = live(manifest("seven-prod", false, FIRST), FIRST);
    world.outside.argocd.put(prod, vec![]);
    let mut sneaks = live(manifest("sneaks-staging", false, "main"), FIRST);
    sneaks["spec"]["destination"]["namespace"] = json!("shop-staging");
    let mut elsewhere = config_map();
    elsewhere["metadata"]["namespace"] = json!("shop-prod");
    world
        .outside
        .argocd
        .put(sneaks.clone(), vec![elsewhere.clone()]);
    watching(&world).await;
    let call = Call::sync("sneaks-staging");
    let alice = world.outside.alice();
    let said = world.gate.ask(Wire::Rest, &alice, &call).await;
    assert_eq!(said.code(), 9, "{said:?}");
    assert!(
        said.sentence()
            .contains("ConfigMap c goes to the namespace shop-prod, which is of prod"),
        "{}",
        said.sentence()
    );
    elsewhere["metadata"]["namespace"] = json!("somewhere");
    world.outside.argocd.put(sneaks, vec![elsewhere]);
    assert_eq!(world.gate.ask(Wire::Rest, &alice, &call).await.code(), 0);
}

/// What Argo CD cannot show yet could hold applications of others, if its project admits any.
#[tokio::test]
async fn what_cannot_be_shown_is_rolled_out_only_where_it_cannot_hold_applications() {
    let world = World::new().await;
    let (argocd, alice) = (&world.outside.argocd, world.outside.alice());
    let mut new = manifest("new-staging", true, SECOND);
    new["spec"]["destination"]["namespace"] = json!("shop-staging");
    let body = new.to_string();
    watching(&world).await;
    let create = async || {
        let path = "/api/v1/applications";
        world.gate.rest("POST", path, &alice, &body).await
    };
    for (namespace, code) in [("*", 9), ("argo*", 9), ("shop-staging", 0)] {
        argocd
            .project(json!({"spec": {"destinations": [{"server": "*", "namespace": namespace}]}}));
        let said = create().await;
        assert_eq!(said.code(), code, "{namespace}: {said:?}");
        if code == 9 {
            assert!(
                said.sentence().contains("its project admits applications"),
                "{}",
                said.sentence()
            );
        }
    }
}

#[tokio::test]
async fn trees_are_looked_at_to_a_depth_and_a_number() {
    let world = World::new().await;
    let argocd = &world.outside.argocd;
    let name = |depth: usize| format!("deep{depth}-prod");
    for depth in 0..10 {
        let child = manifest(&name(depth + 1), true, SECOND);
        argocd.put(
            live(manifest(&name(depth), true, FIRST), FIRST),
            vec![child],
        );
    }
    argocd.put(
        live(manifest(&name(10), true, FIRST), FIRST),
        vec![config_map()],
    );
    argocd.put(
        live(manifest("deep0-prod", false, FIRST), FIRST),
        vec![manifest("deep1-prod", true, SECOND)],
    );
    let said = sync(&world, "deep0-prod").await;
    assert_eq!(said.code(), 9, "{said:?}");
    assert!(
        said.sentence().contains("more than 8 deep"),
        "{}",
        said.sentence()
    );
    let many = (0..1001).map(|number| manifest(&format!("many{number}-prod"), false, FIRST));
    argocd.put(
        live(manifest("wide-prod", false, FIRST), FIRST),
        many.collect(),
    );
    let said = sync(&world, "wide-prod").await;
    assert_eq!(said.code(), 7, "{said:?}");
    assert!(
        said.sentence().contains("more than 1000 applications"),
        "{}",
        said.sentence()
    );
}
