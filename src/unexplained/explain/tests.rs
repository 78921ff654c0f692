//! A decision covers exactly what it permitted.

use serde_json::json;

use super::super::ran::Object;
use super::*;
use crate::gate::{Finding, PinnedSource};
use crate::json::set;
use crate::record::Planned;
use crate::store::tests::{app, decision, instant};

const FIRST: &str = "3f2c1a9d4b5e6f708192a3b4c5d6e7f8091a2b3c";
const SECOND: &str = "9ab12cd3e4f5061728394a5b6c7d8e9f0a1b2c3d";

fn source() -> Value {
    json!({"repoURL": "https://git.example/shop.git", "path": "checkout", "targetRevision": "main"})
}

fn plan() -> ApplicationPlan {
    let (source_digest, promotion_digest) = ApplicationPlan::digests(&[source()], &[]);
    ApplicationPlan {
        application: app("checkout-prod"),
        uid: "uid-1".into(),
        environment: "prod".parse().unwrap(),
        component: "checkout".parse().unwrap(),
        sources: vec![PinnedSource {
            repository: "https://git.example/shop.git".into(),
            asked: "main".into(),
            commit: FIRST.parse().unwrap(),
        }],
        multi_source: false,
        source_digest,
        promotion_digest,
    }
}

/// A permitted sync of `checkout-prod`.
fn permit() -> Opening {
    Opening {
        decision: decision(),
        at: instant("2026-11-23T12:00:00Z"),
        door: Door::Api,
        operation: "ApplicationService.Sync".into(),
        effect: "deploy".into(),
        wire: "grpc".into(),
        caller: None,
        remote: None,
        applications: vec![app("checkout-prod")],
        planned: vec![Planned {
            action: "ApplicationService.Sync".into(),
            changes: vec!["sync".into()],
            application: app("checkout-prod"),
            plan: Some(plan()),
            finding: Some(Finding::Exempt),
            moves: "forward".into(),
            break_glass: None,
            held: crate::hold::Hold::default(),
        }],
        word: Word::Permit,
        determining: Vec::new(),
        policy_digest: None,
        schema_digest: None,
        evaluation: json!([{"request": {
            "resource": "Syncgate::Application::\"checkout-prod\"",
            "context": {"mode": "enforce"},
        }}]),
        request: json!({"dry_run": false, "partial": false, "local": false}),
    }
}

/// The operation that Argo CD runs for it, with `change`.
fn ran(change: impl FnOnce(&mut Value)) -> Ran {
    let mut application = json!({
        "metadata": {"name": "checkout-prod", "namespace": "argocd", "uid": "uid-1"},
        "status": {"operationState": {
            "phase": "Running", "startedAt": "2026-11-23T12:00:01Z",
            "operation": {"sync": {"revision": FIRST, "source": source()}},
        }},
    });
    change(&mut application);
    let object = Object::read(&application, "argocd").unwrap();
    object.state(&application).unwrap()
}

fn operation(application: &mut Value) -> &mut Value {
    &mut application["status"]["operationState"]["operation"]
}

#[test]
fn a_permit_covers_the_operation_that_it_permitted() {
    assert_eq!(covers(&permit(), &ran(|_| {}), "argocd"), Ok(()));
    // Argo CD's own namespace may be named or not.
    let mut named = permit();
    named.planned[0].application.namespace = Some("argocd".into());
    assert_eq!(covers(&named, &ran(|_| {}), "argocd"), Ok(()));
}

#[test]
fn a_permit_covers_no_other_operation() {
    for (why, place, value) in [
        ("other commits", "/sync/revision", json!(SECOND)),
        ("other commits", "/sync/source/path", json!("x")),
        ("other commits", "/sync/source/helm/values", json!("a: 1")),
        ("another kind", "/sync/manifests", json!(["{}"])),
        ("another kind", "/sync/resources", json!([{"kind": "Job"}])),
        ("newer commits", "/retry/refresh", json!(true)),
    ] {
        let refused = covers(
            &permit(),
            &ran(|a| set(operation(a), place, value)),
            "argocd",
        );
        assert!(refused.unwrap_err().contains(why), "{place}: {refused:?}");
    }
    for (why, place, value) in [
        ("earlier application", "/metadata/uid", "uid-2"),
        ("another application", "/metadata/namespace", "team-a"),
        ("another application", "/metadata/name", "cart-prod"),
    ] {
        let refused = covers(&permit(), &ran(|a| set(a, place, json!(value))), "argocd");
        assert!(refused.unwrap_err().contains(why), "{place}: {refused:?}");
    }
}

#[test]
fn what_is_no_permit_of_a_rollout_covers_nothing() {
    for (why, place, value) in [
        ("no permit", "/word", json!("deny")),
        ("no permit", "/word", json!("alarm")),
        ("starts nothing", "/effect", json!("read")),
        ("starts nothing", "/operation", json!("BreakGlass.open")),
        ("another kind", "/request/dry_run", json!(true)),
        ("another application", "/planned", json!([])),
        (
            "no commits",
            "/planned",
            json!([{"application": {"namespace": null, "name": "checkout-prod"}, "plan": null, "finding": null}]),
        ),
    ] {
        let mut opening = serde_json::to_value(permit()).unwrap();
        set(&mut opening, place, value);
        let opening = serde_json::from_value(opening).unwrap();
        let refused = covers(&opening, &ran(|_| {}), "argocd").unwrap_err();
        assert!(refused.contains(why), "{why}: {refused}");
    }
}

#[test]
fn a_permitted_parent_covers_a_child_that_it_planned() {
    let mut parent = permit();
    parent.applications = vec![app("root"), app("checkout-prod")];
    parent.request["partial"] = json!(true);
    assert_eq!(covers(&parent, &ran(|_| {}), "argocd"), Ok(()));
    // A child that it creates has no uid before.
    parent.planned[0].plan.as_mut().unwrap().uid.clear();
    assert_eq!(covers(&parent, &ran(|_| {}), "argocd"), Ok(()));
    let partial = ran(|a| set(operation(a), "/sync/resources", json!([{"kind": "Job"}])));
    assert!(covers(&parent, &partial, "argocd").is_err());
}

#[test]
fn what_goes_unpinned_where_nothing_is_required_is_covered() {
    let mut free = permit();
    free.planned[0].plan = None;
    assert_eq!(covers(&free, &ran(|_| {}), "argocd"), Ok(()));
    free.planned[0].finding = Some(Finding::Incumbent);
    assert!(covers(&free, &ran(|_| {}), "argocd").is_err());
}

#[test]
fn what_an_observing_environment_let_through_is_covered_whatever_it_became() {
    let mut observed = permit();
    observed.word = Word::ObserveDeny;
    observed.planned[0].plan = None;
    observed.planned[0].finding = Some(Finding::Blocked { gaps: Vec::new() });
    observed.evaluation[0]["request"]["context"]["mode"] = json!("observe");
    let moved = ran(|a| set(operation(a), "/sync/revision", json!(SECOND)));
    assert_eq!(covers(&observed, &moved, "argocd"), Ok(()));
    // Of another application the environment may enforce.
    observed.evaluation[0]["request"]["resource"] = json!("Syncgate::Application::\"cart\"");
    assert!(covers(&observed, &moved, "argocd").is_err());
}

#[test]
fn a_dry_run_is_covered_by_the_permit_of_one() {
    let mut opening = permit();
    opening.request["dry_run"] = json!(true);
    opening.planned.clear();
    let dry = ran(|a| set(operation(a), "/sync/dryRun", json!(true)));
    assert_eq!(covers(&opening, &dry, "argocd"), Ok(()));
    assert!(covers(&permit(), &dry, "argocd").is_err());
}
