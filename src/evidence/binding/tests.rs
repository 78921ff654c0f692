//! What a run is about, and whether it counts in the end.

use serde_json::{Value, json};

use super::*;
use crate::gate::testing::{A, B, STARTED, facts, multi, operation, single, source};

fn varies() -> Vec<String> {
    vec!["path".to_owned()]
}

fn bound(app: &Value) -> Result<Binding, &'static str> {
    opened(app, Claims::default()).map_err(|refusal| refusal.code())
}

fn opened(app: &Value, claims: Claims<'_>) -> Result<Binding, Refusal> {
    bind(&facts(app), claims, &varies(), OPENED.parse().unwrap())
}

fn running(commit: &str) -> Value {
    let mut app = single();
    operation(&mut app, "Running", commit);
    app
}

fn set(app: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    app.pointer_mut(parent).unwrap()[key] = value;
}

fn changed(mut app: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        set(&mut app, pointer, value.clone());
    }
    app
}

const SYNC: &str = "/status/operationState/operation/sync";

#[test]
fn a_run_belongs_to_the_operation_that_goes_on() {
    let binding = bound(&running(B)).unwrap();
    assert_eq!(binding.commits, [Commit::parse(B).unwrap()]);
    let operation = binding.operation.unwrap();
    assert_eq!(operation.started_at, STARTED.parse().unwrap());
    assert_eq!(operation.uid, "u-1");
}

#[test]
fn between_two_retries_the_operation_still_goes_on() {
    let waiting = changed(
        running(B),
        &[(
            "/status/operationState/finishedAt",
            json!("2026-11-23T14:01:00Z"),
        )],
    );
    assert!(bound(&waiting).unwrap().operation.is_some());
}

#[test]
fn an_operation_that_rolls_out_no_whole_commit_takes_no_runs() {
    let one = |key: &str, value: Value| changed(running(B), &[(&format!("{SYNC}/{key}"), value)]);
    assert_eq!(bound(&one("dryRun", json!(true))), Err("dry-run"));
    assert_eq!(
        bound(&one("resources", json!([{"kind": "Job"}]))),
        Err("partial")
    );
    assert_eq!(
        bound(&one("manifests", json!(["kind: Job"]))),
        Err("local-manifests")
    );
    assert!(bound(&one("resources", json!([]))).is_ok());
    let mut stopping = single();
    operation(&mut stopping, "Terminating", B);
    assert_eq!(bound(&stopping), Err("terminating"));
}

#[test]
fn a_moving_revision_of_an_operation_is_what_argo_cd_made_of_it() {
    let by_name = changed(running(B), &[(&format!("{SYNC}/revision"), json!("main"))]);
    assert_eq!(
        bound(&by_name).unwrap().commits,
        [Commit::parse(B).unwrap()]
    );
    // As kubectl writes an operation: no source, no revision.
    let bare = changed(running(B), &[(SYNC, json!({}))]);
    assert_eq!(bound(&bare).unwrap().commits, [Commit::parse(B).unwrap()]);
    // Before Argo CD has resolved it, nobody can tell.
    let unresolved = changed(
        by_name,
        &[("/status/operationState/syncResult", Value::Null)],
    );
    assert_eq!(bound(&unresolved), Err("not-rolled-out"));
}

#[test]
fn before_all_is_rolled_out_only_its_own_hooks_may_speak() {
    let resources = "/status/operationState/syncResult/resources";
    let hook = |kind: &str| {
        json!([{
            "group": "batch", "kind": "Job", "namespace": "shop", "name": "tests", "hookType": kind,
            "hookPhase": "Running",
        }])
    };
    let pod = |name: &str| PodRef {
        namespace: "shop".into(),
        name: name.into(),
    };
    let from = |app: &Value, pod: Option<&PodRef>| {
        let claims = Claims {
            pod,
            ..Claims::default()
        };
        opened(app, claims).map(|binding| binding.commits)
    };
    let at = |commit| Ok(vec![Commit::parse(commit).unwrap()]);
    let application = || "argocd/checkout-staging".to_owned();
    let early = Err(Refusal::NotRolledOut {
        application: application(),
    });
    assert!(
        Refusal::NotRolledOut {
            application: application()
        }
        .passes()
    );
    for begun in [Value::Null, json!([]), hook("PreSync"), hook("Sync")] {
        let app = changed(running(B), &[(resources, begun.clone())]);
        assert_eq!(from(&app, None), early);
        assert_eq!(from(&app, Some(&pod("ci-7x2p4"))), early);
        let its_own = begun.as_array().is_some_and(|hooks| !hooks.is_empty());
        let said = from(&app, Some(&pod("tests-7x2p4")));
        assert_eq!(said, if its_own { at(B) } else { early.clone() });
    }
    let rolled_out = changed(running(B), &[(resources, hook("PostSync"))]);
    assert_eq!(from(&rolled_out, None), at(B));
    assert_eq!(from(&rolled_out, Some(&pod("ci-7x2p4"))), at(B));
}

#[test]
fn a_run_waits_for_the_end_of_the_second_in_which_the_last_operation_started() {
    let mut ended = single();
    operation(&mut ended, "Succeeded", A);
    let at = |time: &str| {
        let bound = bind(
            &facts(&ended),
            Claims::default(),
            &varies(),
            time.parse().unwrap(),
        );
        bound
            .map(|_| ())
            .map_err(|refusal| (refusal.code(), refusal.passes()))
    };
    assert_eq!(at("2026-11-23T14:00:00.999Z"), Err(("just-ended", true)));
    assert_eq!(at("2026-11-23T14:00:01Z"), Ok(()));
}

#[test]
fn an_operation_that_contradicts_itself_takes_no_runs() {
    let result = "/status/operationState/syncResult";
    let other = changed(running(B), &[(&format!("{result}/revision"), json!(A))]);
    assert_eq!(bound(&other), Err("unpinned"));
    let elsewhere = changed(
        running(B),
        &[(&format!("{result}/source/path"), json!("x"))],
    );
    assert_eq!(bound(&elsewhere), Err("unpinned"));
}

#[test]
fn without_an_operation_a_run_is_about_what_is_deployed() {
    let binding = bound(&single()).unwrap();
    assert_eq!(binding.commits, [Commit::parse(A).unwrap()]);
    assert_eq!(binding.operation, None);
    let mut ended = single();
    operation(&mut ended, "Succeeded", A);
    assert_eq!(bound(&ended).unwrap().operation, None);
    assert_eq!(bound(&multi()).unwrap().commits.len(), 2);
}

#[test]
fn what_was_only_compared_does_not_run() {
    let out_of_sync = ("/status/sync/status", json!("OutOfSync"));
    let new_commit = ("/status/sync/revision", json!(B));
    let pushed = changed(single(), &[out_of_sync.clone(), new_commit]);
    assert_eq!(bound(&pushed), Err("not-deployed"));
    // Rolled out as it is, and drifted since.
    assert!(bound(&changed(single(), &[out_of_sync])).is_ok());
    for (pointer, value, code) in [
        (
            "/status/sync/status",
            json!("Unknown"),
            "comparison-outdated",
        ),
        (
            "/spec/source/path",
            json!("elsewhere"),
            "comparison-outdated",
        ),
        (
            "/status/conditions",
            json!([{"type": "ComparisonError"}]),
            "comparison-failed",
        ),
        ("/status/sync/revision", json!("aaaaaaa"), "unpinned"),
        (
            "/spec/sourceHydrator",
            json!({"syncSource": {}}),
            "hydrated",
        ),
        ("/operation", json!({"sync": {}}), "starting"),
    ] {
        assert_eq!(bound(&changed(single(), &[(pointer, value)])), Err(code));
    }
}

#[test]
fn claims_must_agree() {
    let claim = |app: &Value, commits: &[&str]| {
        let commits: Vec<String> = commits.iter().map(|c| (*c).to_owned()).collect();
        let claims = Claims {
            commits: Some(&commits),
            ..Claims::default()
        };
        opened(app, claims).map_err(|refusal| refusal.code())
    };
    assert!(claim(&running(B), &[B]).is_ok());
    assert_eq!(claim(&running(B), &[A]), Err("other-commit"));
    assert_eq!(claim(&running(B), &["bbbbbbb"]), Err("other-commit"));
    // A test of one source of two need not know the other.
    assert!(claim(&multi(), &[A]).is_ok());
    assert_eq!(claim(&multi(), &[A, B]), Err("other-commit"));
}

/// An hour after [`STARTED`].
const OPENED: &str = "2026-11-23T15:00:00.7Z";

fn settled(before: &Value, after: &Value) -> Settled {
    settle(&bound(before).unwrap(), &facts(after))
}

fn void(settled: Settled) -> String {
    match settled {
        Settled::Void(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_counts_once_its_operation_has_ended_well() {
    let before = running(B);
    let after = |phase| {
        let mut app = single();
        operation(&mut app, phase, B);
        app
    };
    assert_eq!(settled(&before, &after("Succeeded")), Settled::Counts);
    assert_eq!(settled(&before, &after("Running")), Settled::Wait);
    assert_eq!(settled(&before, &after("Terminating")), Settled::Wait);
    for phase in ["Failed", "Error"] {
        assert!(void(settled(&before, &after(phase))).contains("failed"));
    }
}

#[test]
fn an_operation_that_was_replaced_makes_the_run_void() {
    let mut later = single();
    operation(&mut later, "Succeeded", B);
    set(
        &mut later,
        "/status/operationState/startedAt",
        json!("2026-11-23T14:05:00Z"),
    );
    for after in [later, single()] {
        let why = void(settled(&running(B), &after));
        assert_eq!(why, "the operation was replaced before its end was seen");
    }
}

#[test]
fn an_operation_must_end_with_what_it_began_with() {
    let mut done = single();
    operation(&mut done, "Succeeded", B);
    let result = "/status/operationState/syncResult";
    for (pointer, value, why) in [
        (format!("{result}/revision"), json!(A), "other commits"),
        (format!("{result}/source/path"), json!("x"), "other commits"),
        (result.to_owned(), Value::Null, "other commits"),
        (format!("{SYNC}/dryRun"), json!(true), "other commits"),
        (format!("{SYNC}/resources"), json!([{}]), "other commits"),
        ("/metadata/uid".to_owned(), json!("u-2"), "created again"),
    ] {
        let after = changed(done.clone(), &[(&pointer, value)]);
        let told = void(settled(&running(B), &after));
        assert!(told.contains(why), "{pointer}: {told}");
    }
}

#[test]
fn a_run_outside_an_operation_must_end_on_what_it_began_on() {
    assert_eq!(settled(&single(), &single()), Settled::Counts);
    let moved = changed(single(), &[("/status/sync/revision", json!(B))]);
    let reconfigured = changed(
        single(),
        &[
            ("/spec/source/kustomize", json!({"images": ["web:2"]})),
            (
                "/status/sync/comparedTo/source/kustomize",
                json!({"images": ["web:2"]}),
            ),
        ],
    );
    let uncompared = changed(single(), &[("/spec/source/path", json!("x"))]);
    let starting = changed(single(), &[("/operation", json!({"sync": {}}))]);
    for after in [moved, reconfigured, starting, running(A)] {
        assert!(void(settled(&single(), &after)).contains("moved on"));
    }
    assert!(void(settled(&single(), &uncompared)).contains("has not compared"));
}

/// A rollback, and a sync to another revision, leave the spec and the comparison with it alone.
#[test]
fn what_the_comparison_does_not_show_ends_a_run_outside_an_operation_too() {
    let state = "/status/operationState";
    let mut before = single();
    operation(&mut before, "Succeeded", A);
    assert_eq!(settled(&before, &before), Settled::Counts);
    let history = |commit: &str, id: u64| {
        let entry = |id, commit| json!({"id": id, "revision": commit, "source": source("checkout/staging")});
        json!([entry(0, A), entry(id, commit)])
    };
    let started = |at: &str| (format!("{state}/startedAt"), json!(at));
    let out_of_sync = ("/status/sync/status".to_owned(), json!("OutOfSync"));
    for (changes, why) in [
        // Rolled back to another commit; the spec still says `A`.
        (
            vec![
                started("2026-11-23T15:00:05Z"),
                ("/status/history".to_owned(), history(B, 1)),
                out_of_sync.clone(),
            ],
            "moved on",
        ),
        // There and back again: the history has the same commits, but another entry.
        (
            vec![("/status/history".to_owned(), history(A, 2))],
            "moved on",
        ),
        // An operation that failed leaves no entry.
        (vec![started("2026-11-23T14:00:01Z")], "moved on"),
        ((vec![(state.to_owned(), Value::Null)]), "moved on"),
        (
            vec![("/metadata/uid".to_owned(), json!("u-2"))],
            "created again",
        ),
        (
            vec![("/spec/sourceHydrator".to_owned(), json!({}))],
            "moved on",
        ),
        (
            vec![("/status/sync/status".to_owned(), json!("Unknown"))],
            "has not compared",
        ),
        (
            vec![(
                "/status/conditions".to_owned(),
                json!([{"type": "ComparisonError", "message": "no repo"}]),
            )],
            "no repo",
        ),
    ] {
        let changes: Vec<(&str, Value)> = changes
            .iter()
            .map(|(pointer, value)| (pointer.as_str(), value.clone()))
            .collect();
        let told = void(settled(&before, &changed(before.clone(), &changes)));
        assert!(told.contains(why), "{changes:?}: {told}");
    }
    // Live objects may drift while the tests run.
    let drifted = changed(
        before.clone(),
        &[(out_of_sync.0.as_str(), out_of_sync.1.clone())],
    );
    assert_eq!(settled(&before, &drifted), Settled::Counts);
}

/// Argo CD's times have whole seconds: what began in the second of the opening may be another
/// operation than the one that was seen then.
#[test]
fn a_run_of_which_nothing_is_known_at_its_beginning_does_not_count() {
    let binding = Binding {
        since: None,
        ..bound(&single()).unwrap()
    };
    assert!(void(settle(&binding, &facts(&single()))).contains("not known"));
}

/// After a rollback, Argo CD says for a while that the application is in sync with what it was.
#[test]
fn a_comparison_from_before_the_end_of_the_last_operation_tells_nothing() {
    let mut app = single();
    operation(&mut app, "Succeeded", B);
    set(
        &mut app,
        "/status/operationState/finishedAt",
        json!("2026-11-23T14:01:00Z"),
    );
    let compared = |at: &str| changed(app.clone(), &[("/status/reconciledAt", json!(at))]);
    let before = compared("2026-11-23T14:00:59Z");
    assert_eq!(bound(&before), Err("comparison-outdated"));
    let after = compared("2026-11-23T14:01:00Z");
    assert!(bound(&after).is_ok());
    assert!(void(settled(&after, &before)).contains("has not compared"));
}

fn with_hooks(mut app: Value, hooks: &[(&str, &str, &str)]) -> Value {
    let hook = |(namespace, name, kind): &(&str, &str, &str)| {
        json!({
            "group": "batch", "version": "v1", "kind": "Job", "namespace": namespace,
            "name": name, "hookType": kind, "hookPhase": "Running",
        })
    };
    let mut resources: Vec<Value> = hooks.iter().map(hook).collect();
    resources
        .push(json!({"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web"}));
    set(
        &mut app,
        "/status/operationState/syncResult/resources",
        json!(resources),
    );
    app
}

#[test]
fn tests_of_a_hook_before_the_sync_say_nothing_about_what_it_rolls_out() {
    let long = "j".repeat(60);
    let cut = format!("{}x7k2p", "j".repeat(58));
    for (pod, hooks, before_sync) in [
        ("test-x7k2p", vec![("shop", "test", "PreSync")], true),
        ("test-x7k2p", vec![("shop", "test", "PostSync")], false),
        ("test-x7k2p", vec![("other", "test", "PreSync")], false),
        ("tester-x7k2p", vec![("shop", "test", "PreSync")], false),
        ("test-x7k2p", vec![], false),
        (cut.as_str(), vec![("shop", &long, "PreSync")], true),
        (
            "test-pre-x7k2p",
            vec![
                ("shop", "test", "PostSync"),
                ("shop", "test-pre", "PreSync"),
            ],
            true,
        ),
        (
            "test-post-x7k2p",
            vec![
                ("shop", "test-post", "PostSync"),
                ("shop", "test", "PreSync"),
            ],
            false,
        ),
    ] {
        let pod = PodRef {
            namespace: "shop".into(),
            name: pod.into(),
        };
        let claims = Claims {
            pod: Some(&pod),
            ..Claims::default()
        };
        let binding = opened(&running(B), claims).unwrap();
        for (phase, otherwise) in [("Running", Settled::Wait), ("Succeeded", Settled::Counts)] {
            let mut app = single();
            operation(&mut app, phase, B);
            let settled = settle(&binding, &facts(&with_hooks(app, &hooks)));
            let expected = if before_sync {
                Settled::BeforeSync
            } else {
                otherwise
            };
            assert_eq!(settled, expected, "{pod:?} {hooks:?}");
        }
    }
    // A credential that names no pod tells nothing.
    let app = with_hooks(running(B), &[("shop", "test", "PreSync")]);
    assert_eq!(settled(&running(B), &app), Settled::Wait);
}
