//! What changes, told from two objects.

use serde_json::json;

use super::*;

fn application(automated: &Value) -> Value {
    json!({
        "metadata": {"name": "a", "namespace": "argocd", "uid": "u"},
        "spec": {
            "project": "shop", "source": {"repoURL": "r", "path": "p", "targetRevision": "main"},
            "destination": {"namespace": "shop"}, "syncPolicy": {"automated": automated},
        },
        "status": {"sync": {"status": "Synced"}},
    })
}

#[test]
fn a_status_is_forged_where_it_is_new_or_another() {
    let before = application(&Value::Null);
    assert!(!forges_status(Some(&before), &before));
    assert!(forges_status(None, &before));
    let mut bare = before.clone();
    bare["status"] = json!({"sync": {"status": ""}, "health": {}});
    assert!(!forges_status(None, &bare));
    let mut other = before.clone();
    other["status"]["history"] = json!([{"id": 1}]);
    assert!(forges_status(Some(&before), &other));
}

#[test]
fn automated_sync_takes_up_changes_of_sources_and_of_itself() {
    let on = application(&json!({}));
    let off = application(&json!({"enabled": false}));
    let none = application(&Value::Null);
    let planned = |before: &Value, after: &Value, by_parent: bool| {
        let write = Write {
            action: None,
            before: Some(before),
            after,
            by_parent,
        };
        let change = Change {
            created: false,
            sources: sources(json::at(before, "/spec")) != sources(json::at(after, "/spec")),
            place: false,
            arms: is_armed(after) && !is_armed(before),
            retries_newer: false,
            anything: before != after,
        };
        takes_up(&write, &change, false)
    };
    assert!(!planned(&on, &on, false));
    assert!(planned(&off, &on, false));
    assert!(planned(&none, &on, false));
    assert!(!planned(&on, &off, false));
    let mut moved = on.clone();
    moved["spec"]["source"]["path"] = json!("q");
    assert!(planned(&on, &moved, false));
    moved["spec"]["syncPolicy"] = json!({"automated": {"enabled": false}});
    assert!(!planned(&on, &moved, false));
    // What a parent touches while it is behind goes out, too.
    let mut behind = on.clone();
    behind["status"]["sync"]["status"] = json!("OutOfSync");
    assert!(planned(&behind, &behind, true));
    assert!(!planned(&behind, &behind, false));
}
