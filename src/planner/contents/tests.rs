//! What Argo CD would write, told from manifests and live objects.

use super::*;

fn parent() -> Value {
    json!({"spec": {"destination": {"namespace": "argocd"}}})
}

#[test]
fn a_manifest_without_a_namespace_lands_where_its_parent_deploys() {
    let bare = json!({"metadata": {"name": "a"}});
    assert_eq!(placed(bare, &parent())["metadata"]["namespace"], "argocd");
    let own = json!({"metadata": {"name": "a", "namespace": "team"}});
    assert_eq!(placed(own, &parent())["metadata"]["namespace"], "team");
}

#[test]
fn a_manifest_is_laid_over_what_is_there_or_takes_its_place() {
    let live = json!({
        "metadata": {"name": "a", "namespace": "argocd", "uid": "u", "labels": {"kept": "1"}},
        "spec": {"source": {"path": "a", "helm": {"parameters": [{"name": "x", "value": "1"}]}},
                 "sources": ["old"], "syncPolicy": {"automated": {}}},
        "status": {"sync": {"status": "Synced"}},
    });
    let manifest = json!({
        "metadata": {"name": "a", "labels": {"new": "2"}},
        "spec": {"source": {"path": "b"}, "sources": ["new"]},
    });
    let merged = merge(&live, &manifest);
    assert_eq!(merged["spec"]["source"]["path"], "b");
    assert_eq!(
        merged["spec"]["source"]["helm"],
        live["spec"]["source"]["helm"]
    );
    assert_eq!(merged["spec"]["sources"], json!(["new"]));
    assert_eq!(
        merged["metadata"]["labels"],
        json!({"kept": "1", "new": "2"})
    );
    assert_eq!(merged["spec"]["syncPolicy"], json!({"automated": {}}));
    let replaced = in_place_of(&live, &manifest);
    assert_eq!(replaced["spec"], manifest["spec"]);
    assert_eq!(replaced["metadata"]["uid"], "u");
    assert_eq!(replaced["status"], live["status"]);
}

#[test]
fn a_null_in_a_manifest_removes() {
    let live = json!({"spec": {"syncPolicy": {"automated": {}}}});
    let manifest = json!({"spec": {"syncPolicy": {"automated": null}}});
    assert_eq!(merge(&live, &manifest), json!({"spec": {"syncPolicy": {}}}));
}

#[test]
fn a_partial_sync_writes_what_it_names() {
    let one = PartOf {
        group: GROUP.to_owned(),
        kind: "Application".to_owned(),
        namespace: String::new(),
        name: "a".to_owned(),
    };
    let manifest = |name: &str| json!({"metadata": {"name": name, "namespace": "argocd"}});
    assert!(is_among(&[], "Application", &manifest("b")));
    assert!(is_among(
        std::slice::from_ref(&one),
        "Application",
        &manifest("a")
    ));
    assert!(!is_among(
        std::slice::from_ref(&one),
        "Application",
        &manifest("b")
    ));
    assert!(!is_among(
        std::slice::from_ref(&one),
        "ApplicationSet",
        &manifest("a")
    ));
    let elsewhere = PartOf {
        namespace: "team".to_owned(),
        ..one
    };
    assert!(!is_among(&[elsewhere], "Application", &manifest("a")));
}

#[test]
fn sources_are_compared_without_their_revisions_and_blanks() {
    let one = json!({"source": {"repoURL": "r", "path": "p", "targetRevision": "main"}});
    let same = json!({"source": {"repoURL": "r", "path": "p", "targetRevision": "v1", "chart": ""}, "sources": []});
    let other = json!({"source": {"repoURL": "r", "path": "q"}});
    assert_eq!(sources(&one), sources(&same));
    assert_ne!(sources(&one), sources(&other));
}
