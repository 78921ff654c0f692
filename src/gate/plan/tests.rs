//! What can be pinned, and what is said where nothing can.

use serde_json::json;

use super::*;
use crate::gate::GapKind;
use crate::gate::testing::{A, B, facts, multi, single};

fn planned(app: &Value, asked: AskedRevisions<'_>) -> Result<ApplicationPlan, String> {
    let (environment, component) = (
        EnvironmentName::parse("staging").unwrap(),
        Component::parse("checkout").unwrap(),
    );
    let place = Place {
        environment: &environment,
        component: &component,
        varies: &["path".to_owned()],
        admission: false,
    };
    plan(&facts(app), asked, place).map_err(|gaps| {
        assert!(gaps.iter().all(|gap| gap.kind == GapKind::Unpinnable));
        gaps.into_iter()
            .map(|gap| gap.detail)
            .collect::<Vec<_>>()
            .join(" / ")
    })
}

fn revision(revision: &str) -> AskedRevisions<'_> {
    AskedRevisions {
        revision,
        ..AskedRevisions::default()
    }
}

fn commits(plan: &ApplicationPlan) -> Vec<&str> {
    plan.sources.iter().map(|s| s.commit.as_str()).collect()
}

#[test]
fn the_specs_own_revision_is_what_argo_cd_resolved() {
    for asked in ["", "main"] {
        let plan = planned(&single(), revision(asked)).unwrap();
        assert_eq!(commits(&plan), [A]);
        assert_eq!(plan.sources[0].asked, "main");
    }
    let plan = planned(&multi(), AskedRevisions::default()).unwrap();
    assert_eq!(commits(&plan), ["1.4.2", A]);
    assert!(plan.multi_source);
}

#[test]
fn a_full_sha_is_itself_and_any_other_name_is_refused() {
    assert_eq!(commits(&planned(&single(), revision(B)).unwrap()), [B]);
    for name in ["release", "HEAD", "bbbbbbb", "1.2.3", "--upload-pack=x"] {
        let why = planned(&single(), revision(name)).unwrap_err();
        assert!(why.contains(&format!("`{name}` is neither")), "{why}");
    }
}

#[test]
fn positions_name_the_sources_and_the_others_stay() {
    let names = [B.to_owned()];
    let asked = |positions| AskedRevisions {
        revision: "",
        positions,
        revisions: &names,
    };
    assert_eq!(
        commits(&planned(&multi(), asked(&[2])).unwrap()),
        ["1.4.2", B]
    );
    for (app, positions, why) in [
        (multi(), &[3][..], "no source at position 3"),
        (multi(), &[0], "no source at position 0"),
        (multi(), &[-1], "no source at position -1"),
        (multi(), &[1, 2], "do not pair up"),
        (multi(), &[1], "is neither"),
        (single(), &[1], "one source"),
    ] {
        let refused = planned(&app, asked(positions)).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let twice = AskedRevisions {
        revision: "",
        positions: &[2, 2],
        revisions: &[B.to_owned(), A.to_owned()],
    };
    assert!(planned(&multi(), twice).unwrap_err().contains("twice"));
}

#[test]
fn a_revision_that_the_upstream_would_ignore_is_refused_unless_it_says_nothing_new() {
    assert!(
        planned(&multi(), revision(B))
            .unwrap_err()
            .contains("several sources")
    );
    // The web UI sends the first source's own.
    assert!(planned(&multi(), revision("1.x")).is_ok());
}

#[test]
fn a_comparison_that_failed_is_old_or_incomplete_tells_no_commit() {
    let change = |app: Value, pointer: &str, value: Value| {
        let mut app = app;
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        app.pointer_mut(parent).unwrap()[key] = value;
        planned(&app, AskedRevisions::default()).unwrap_err()
    };
    let errors = json!([{"type": "ComparisonError", "message": "no such path"}]);
    for (app, pointer, value, why) in [
        (
            single(),
            "/status/conditions",
            errors,
            "could not compare it: no such path",
        ),
        (
            single(),
            "/status/sync/status",
            json!("Unknown"),
            "has not compared",
        ),
        (
            single(),
            "/spec/source/path",
            json!("elsewhere"),
            "has not compared",
        ),
        (
            single(),
            "/status/sync/revision",
            json!("aaaaaaa"),
            "not a full commit SHA",
        ),
        (
            single(),
            "/status/sync/revision",
            json!(""),
            "resolved 0 of 1",
        ),
        (
            multi(),
            "/status/sync/revisions",
            json!(["1.4.2"]),
            "resolved 1 of 2",
        ),
        (single(), "/spec/source", Value::Null, "no source"),
        (
            single(),
            "/spec/sourceHydrator",
            json!({"syncSource": {}}),
            "hydrator",
        ),
    ] {
        let refused = change(app, pointer, value);
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn with_automated_sync_only_a_fixed_target_revision_can_be_sent() {
    let mut app = single();
    app["spec"]["syncPolicy"] = json!({"automated": {}});
    for asked in ["", B] {
        let why = planned(&app, revision(asked)).unwrap_err();
        assert!(why.starts_with("automated sync is on"), "{why}");
        assert!(
            why.contains("`main`") && why.contains("admission door"),
            "{why}"
        );
    }
    app["spec"]["source"]["targetRevision"] = json!(A);
    app["status"]["sync"]["comparedTo"]["source"]["targetRevision"] = json!(A);
    assert_eq!(commits(&planned(&app, revision("")).unwrap()), [A]);
    assert!(planned(&app, revision(B)).is_err());
}

#[test]
fn promotion_leaves_out_what_may_vary_and_nothing_else() {
    let plan = |path: &str, image: &str| {
        let mut app = single();
        for source in ["/spec/source", "/status/sync/comparedTo/source"] {
            let source = app.pointer_mut(source).unwrap();
            source["path"] = json!(path);
            source["kustomize"] = json!({"images": [image]});
        }
        planned(&app, AskedRevisions::default()).unwrap()
    };
    let (staging, prod, other) = (plan("s", "web:1"), plan("p", "web:1"), plan("p", "web:2"));
    assert_ne!(staging.source_digest, prod.source_digest);
    assert_eq!(staging.promotion_digest, prod.promotion_digest);
    assert_ne!(prod.promotion_digest, other.promotion_digest);
}
