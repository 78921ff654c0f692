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
    let planned = |after: &Value, kinds: &[Change], by_parent: bool, admission: bool| {
        let write = Write {
            action: None,
            before: Some(&on),
            after,
            by_parent,
        };
        takes_up(&write, &kinds.iter().copied().collect(), admission)
    };
    for kind in [
        Change::Arm,
        Change::SourceArmed,
        Change::MoveArmed,
        Change::RetryNewest,
    ] {
        assert!(planned(&on, &[kind], false, false), "{kind}");
    }
    for kind in [
        Change::Metadata,
        Change::SyncPolicy,
        Change::OperationWritten,
    ] {
        assert!(!planned(&on, &[kind], false, false), "{kind}");
    }
    for kind in [
        Change::Disarm,
        Change::SourcePlain,
        Change::DestinationPlain,
    ] {
        assert!(!planned(&off, &[kind], false, false), "{kind}");
    }
    // What a parent touches while it is behind goes out, too; the admission door looks at that itself.
    let mut behind = on.clone();
    behind["status"]["sync"]["status"] = json!("OutOfSync");
    assert!(planned(&behind, &[], true, false));
    assert!(!planned(&behind, &[], true, true));
    assert!(!planned(&behind, &[], false, false));
    assert!(!planned(&on, &[], true, false));
}
