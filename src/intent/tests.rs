//! What both sides of an intent mean alike has one digest, and nothing else has.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const SHA: &str = "3f2c1a93f2c1a93f2c1a93f2c1a93f2c1a93f2c1";

/// An application with an operation, as argocd-server writes it.
fn started() -> Value {
    json!({
        "metadata": {
            "name": "checkout-prod", "namespace": "argocd", "uid": "u1",
            "labels": {"team": "shop"},
        },
        "spec": {
            "project": "shop",
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "prod"},
            "source": {
                "repoURL": "https://git.example/shop.git", "path": "overlays/prod",
                "targetRevision": "main", "helm": {"parameters": [{"name": "a", "value": "1"}]},
            },
            "syncPolicy": {"syncOptions": ["CreateNamespace=true"]},
        },
        "operation": {
            "sync": {
                "revision": SHA, "prune": true,
                "source": {
                    "repoURL": "https://git.example/shop.git", "path": "overlays/prod",
                    "targetRevision": "main",
                    "helm": {"parameters": [{"name": "a", "value": "1"}]},
                },
                "syncStrategy": {"hook": {}},
                "syncOptions": ["CreateNamespace=true"],
            },
            "initiatedBy": {"username": "syncgate"},
            "retry": {"limit": 5},
        },
    })
}

fn start_of(application: &Value) -> String {
    start_digest(&Start::of_operation(application).unwrap())
}

fn changed(pointer: &str, value: Value) -> Value {
    let mut application = started();
    json::set(&mut application, pointer, value);
    application
}

#[test]
fn what_was_planned_and_what_argo_cd_writes_have_one_digest() {
    let application = started();
    let planned = Start {
        commits: vec![SHA.to_owned()],
        source_digest: ApplicationPlan::digests(&[application["spec"]["source"].clone()], &[]).0,
        dry_run: false,
        partial: Vec::new(),
        prune: true,
        force: false,
        replace: false,
        hooks: true,
        local: false,
        retry_refresh: false,
    };
    assert_eq!(start_of(&application), start_digest(&planned));
    // Without a source of its own, an operation takes the spec's.
    assert_eq!(
        start_of(&changed("/operation/sync/source", Value::Null)),
        start_digest(&planned)
    );
}

#[test]
fn every_difference_in_what_a_sync_does_is_another_digest() {
    let mut seen = BTreeSet::from([start_of(&started())]);
    for (pointer, value) in [
        ("/operation/sync/revision", json!("0".repeat(40))),
        ("/operation/sync/source/path", json!("overlays/staging")),
        (
            "/operation/sync/source/helm/parameters",
            json!([{"name": "a", "value": "2"}]),
        ),
        ("/operation/sync/source/directory", json!({})),
        (
            "/operation/sync/sources",
            json!([{"repoURL": "https://git.example/shop.git"}]),
        ),
        ("/operation/sync/dryRun", json!(true)),
        ("/operation/sync/prune", json!(false)),
        ("/operation/sync/syncStrategy", json!({"apply": {}})),
        (
            "/operation/sync/syncStrategy",
            json!({"hook": {"force": true}}),
        ),
        ("/operation/sync/syncOptions", json!(["Replace=true"])),
        ("/operation/sync/manifests", json!(["{}"])),
        (
            "/operation/sync/resources",
            json!([{"kind": "Job", "name": "x"}]),
        ),
        (
            "/operation/sync/resources",
            json!([{"kind": "Job", "name": "y"}]),
        ),
        ("/operation/retry/refresh", json!(true)),
    ] {
        assert!(seen.insert(start_of(&changed(pointer, value))), "{pointer}");
    }
}

#[test]
fn what_does_not_change_a_sync_does_not_change_its_digest() {
    for (pointer, value) in [
        ("/operation/initiatedBy/username", json!("somebody")),
        ("/operation/info", json!([{"name": "a", "value": "b"}])),
        ("/operation/retry/limit", json!(2)),
        ("/operation/sync/source/targetRevision", json!("other")),
        ("/operation/sync/source/path", json!("overlays/prod")),
        ("/operation/sync/source/chart", json!("")),
        ("/operation/sync/sources", json!([])),
        ("/operation/sync/syncStrategy", Value::Null),
        ("/operation/sync/resources", json!([])),
        ("/status/phase", json!("Running")),
        ("/metadata/labels/other", json!("x")),
    ] {
        assert_eq!(
            start_of(&changed(pointer, value)),
            start_of(&started()),
            "{pointer}"
        );
    }
}

#[test]
fn a_single_source_takes_the_single_revision_and_several_take_the_plural_ones() {
    let mut application = changed("/operation/sync/revisions", json!(["0".repeat(40)]));
    let start = Start::of_operation(&application).unwrap();
    assert_eq!(start.commits, [SHA]);
    json::set(
        &mut application,
        "/operation/sync/sources",
        json!([{"repoURL": "https://git.example/shop.git"}]),
    );
    let start = Start::of_operation(&application).unwrap();
    assert_eq!(start.commits, ["0".repeat(40)]);
}

#[test]
fn the_source_of_a_hydrated_application_is_the_branch_that_is_written() {
    let mut application = changed("/operation/sync/source", Value::Null);
    application["spec"]["source"] = Value::Null;
    application["spec"]["sourceHydrator"] = json!({
        "drySource": {"repoURL": "https://git.example/shop.git", "path": "dry"},
        "syncSource": {"targetBranch": "env/prod", "path": "overlays/prod"},
    });
    let hydrated = json!({"repoURL": "https://git.example/shop.git", "path": "overlays/prod"});
    assert_eq!(
        Start::of_operation(&application).unwrap().source_digest,
        ApplicationPlan::digests(&[hydrated], &[]).0
    );
}

#[test]
fn without_a_sync_nothing_starts() {
    for operation in [Value::Null, json!({}), json!({"sync": null})] {
        assert_eq!(Start::of_operation(&changed("/operation", operation)), None);
    }
}

#[test]
fn every_difference_in_what_runs_where_is_another_digest() {
    let mut seen = BTreeSet::from([write_digest(&started())]);
    for (pointer, value) in [
        ("/spec/project", json!("default")),
        ("/spec/destination/namespace", json!("staging")),
        ("/spec/destination/name", json!("other")),
        ("/spec/source/targetRevision", json!("v2")),
        ("/spec/source/path", json!("overlays/staging")),
        (
            "/spec/sources",
            json!([{"repoURL": "https://git.example/shop.git"}]),
        ),
        ("/spec/sourceHydrator", json!({"hydrateTo": {}})),
        ("/spec/syncPolicy/automated", json!({})),
        ("/spec/syncPolicy/automated", json!({"enabled": false})),
        ("/spec/syncPolicy/automated", json!({"selfHeal": true})),
        ("/spec/syncPolicy/retry", json!({"refresh": true})),
        ("/spec/syncPolicy/syncOptions", json!([])),
        ("/metadata/labels/team", json!("pay")),
        ("/metadata/labels/team", json!("")),
    ] {
        let application = changed(pointer, value);
        assert!(seen.insert(write_digest(&application)), "{pointer}");
    }
}

#[test]
fn what_does_not_change_what_runs_does_not_change_the_digest() {
    for (pointer, value) in [
        ("/operation", Value::Null),
        ("/metadata/annotations/a", json!("b")),
        ("/metadata/resourceVersion", json!("7")),
        ("/spec/revisionHistoryLimit", json!(3)),
        ("/spec/source/ref", json!("")),
        ("/spec/sources", json!([])),
        ("/status/sync", json!({})),
    ] {
        let application = changed(pointer, value);
        assert_eq!(
            write_digest(&application),
            write_digest(&started()),
            "{pointer}"
        );
    }
    let on = |automated| write_digest(&changed("/spec/syncPolicy/automated", automated));
    assert_eq!(on(json!({})), on(json!({"enabled": true, "prune": false})));
    let project = |name| write_digest(&changed("/spec/project", name));
    assert_eq!(project(Value::Null), project(json!("default")));
}

/// `value` with other blanks and another order of members, from `seed`.
fn rewritten(value: &Value, seed: &mut u64) -> Value {
    let mut next = |n: u64| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*seed >> 33) % n
    };
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            for last in (1..fields.len()).rev() {
                let other = usize::try_from(next(last as u64 + 1)).unwrap();
                fields.swap(last, other);
            }
            let blanks = [
                json!(null),
                json!(""),
                json!([]),
                json!({}),
                json!(false),
                json!(0),
            ];
            let blank = blanks[usize::try_from(next(6)).unwrap()].clone();
            let mut all = Map::new();
            all.insert("aBlank".to_owned(), blank);
            for (key, value) in fields {
                all.insert(key.clone(), rewritten(value, seed));
            }
            Value::Object(all)
        }
        Value::Array(items) => items.iter().map(|item| rewritten(item, seed)).collect(),
        _ => value.clone(),
    }
}

proptest! {
    #[test]
    fn order_and_blanks_do_not_matter(mut seed in any::<u64>()) {
        let application = started();
        let mut other = rewritten(&application, &mut seed);
        // Labels are free: a blank one is a label.
        other["metadata"]["labels"] = application["metadata"]["labels"].clone();
        prop_assert_eq!(write_digest(&other), write_digest(&application));
        prop_assert_eq!(start_of(&other), start_of(&application));
    }

    #[test]
    fn two_starts_have_one_digest_only_if_they_do_the_same(
        flags in prop::collection::vec(any::<bool>(), 16),
        commits in prop::collection::vec("[ab]", 0..3),
        others in prop::collection::vec("[ab]", 0..3),
        parts in prop::collection::vec("[ab]", 0..3),
        other_parts in prop::collection::vec("[ab]", 0..3),
    ) {
        let part = |name: &String| PartOf { name: name.clone(), ..PartOf::default() };
        let start = |flags: &[bool], commits: &[String], parts: &[String]| Start {
            commits: commits.to_vec(),
            source_digest: ApplicationPlan::digests(&[], &[]).0,
            dry_run: flags[0],
            partial: parts.iter().map(part).collect(),
            prune: flags[1],
            force: flags[2],
            replace: flags[3],
            hooks: flags[4],
            local: flags[5],
            retry_refresh: flags[6],
        };
        let one = start(&flags[..8], &commits, &parts);
        let two = start(&flags[8..], &others, &other_parts);
        let does = |start: &Start| {
            let parts: BTreeSet<PartOf> = start.partial.iter().cloned().collect();
            let hooks = start.hooks && parts.is_empty() && !start.dry_run;
            let switches = [
                start.dry_run, start.prune, start.force, start.replace, hooks, start.local,
                start.retry_refresh,
            ];
            (start.commits.clone(), parts, switches)
        };
        prop_assert_eq!(start_digest(&one) == start_digest(&two), does(&one) == does(&two));
    }
}

#[test]
fn an_operation_starts_where_there_was_none_or_another() {
    let with = |operation: Value| json!({ "operation": operation });
    let before = json!({"spec": {}});
    assert!(!starts(&before, &before));
    assert!(!starts(&before, &with(Value::Null)));
    for anything in [json!({}), json!({"sync": {}})] {
        assert!(starts(&before, &with(anything.clone())), "{anything}");
        assert!(starts(&Value::Null, &with(anything)));
    }
    let pending = with(json!({"sync": {"revision": "x"}}));
    for same in [
        json!({"sync": {"revision": "x", "prune": false}, "retry": {}}),
        json!({"sync": {"revision": "x"}, "initiatedBy": {"username": "a"}, "info": [{"name": "n"}]}),
    ] {
        assert!(!starts(&pending, &with(same.clone())), "{same}");
    }
    for other in [
        json!({"sync": {"revision": "y"}}),
        json!({"sync": {"revision": "x"}, "retry": {"refresh": true}}),
        json!({"sync": {"revision": "x", "manifests": ["m"]}}),
        json!({"sync": null}),
    ] {
        assert!(starts(&pending, &with(other.clone())), "{other}");
    }
    assert!(starts(&with(json!({})), &with(json!({"sync": {}}))));
}
