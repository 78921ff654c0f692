//! What a write changes, as far as it concerns what runs.
//!
//! In: an object before and after. Out: whether it starts something, changes what runs where, or
//! touches the status that only Argo CD writes. Pure. What Argo CD would write in another form with
//! the same meaning is no change.

use serde_json::Value;

use super::review::Kind;
use crate::argocd::json::is_blank;
use crate::intent::{self, write_digest};
use crate::json::{at, text, without_blanks};

/// As whom Argo CD applies manifests (its `ArgoCDSSAManager`), client-side too.
const MANIFESTS: &str = "argocd-controller";

/// What concerns us of a write of an Application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// An operation appears, or another one than before.
    pub(super) starts: bool,
    /// Project, destination, sources, hydrator, sync policy or labels are others, or new.
    pub(super) respecifies: bool,
    /// An operation that has not begun is taken back. Argo CD does that when it begins.
    pub(super) withdraws: bool,
}

impl Change {
    /// What the write of `after` over `before` (null: there was none) changes.
    pub(super) fn of(before: &Value, after: &Value) -> Self {
        let operation = at(after, "/operation");
        Self {
            starts: intent::starts(before, after),
            respecifies: before.is_null() || write_digest(before) != write_digest(after),
            withdraws: operation.is_null() && !at(before, "/operation").is_null(),
        }
    }

    /// Whether there is anything to decide, of a write by Argo CD itself or by somebody else.
    pub(super) fn concerns(self, is_argocd: bool) -> bool {
        self.starts || self.respecifies || (self.withdraws && !is_argocd)
    }
}

/// Whether the status is made up (on creation, when nothing can have happened yet), or changed.
pub(super) fn status(before: &Value, after: &Value) -> Status {
    if before.is_null() {
        let blank = is_blank(at(after, "/status"));
        if blank { Status::Same } else { Status::MadeUp }
    } else if differ(before, after, "/status") {
        Status::Changed
    } else {
        Status::Same
    }
}

/// What becomes of the status of an Application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Changed,
    MadeUp,
    Same,
}

/// Whether a status comes from a manifest although Argo CD writes it: what it rolls out of Git it writes by the
/// same account as what it has found. It applies manifests as a field manager of its own, and it says by itself
/// how things are by patches alone; what it writes `whole` (PUT) takes at most the state of the last operation
/// away, or fills in the health of resources.
pub(super) fn is_from_a_manifest(before: &Value, after: &Value, whole: bool) -> bool {
    let entries = |object| at(object, "/metadata/managedFields").as_array();
    let known = entries(before).map(Vec::as_slice).unwrap_or_default();
    let is_new = |entry: &&Value| !known.contains(entry);
    let mut new = entries(after).into_iter().flatten().filter(is_new);
    let applied = |entry: &Value| {
        let manager = text(entry, "/manager");
        let is_own = manager.starts_with("argocd-") && manager != MANIFESTS;
        !at(entry, "/fieldsV1/f:status").is_null() && !is_own
    };
    new.any(applied)
        || (whole && {
            let rest = |object| {
                let mut status = at(object, "/status").clone();
                if let Some(fields) = status.as_object_mut() {
                    fields.remove("resources");
                    if at(after, "/status/operationState").is_null() {
                        fields.remove("operationState");
                    }
                }
                without_blanks(&status)
            };
            rest(before) != rest(after)
        })
}

/// Whether the write of a project or a set changes what it says. The tokens of a project are in its
/// status; that of a set only says what came of it.
pub(super) fn of_argocd(kind: Kind, before: &Value, after: &Value) -> bool {
    let tokens = kind == Kind::AppProject && differ(before, after, "/status");
    before.is_null() || differ(before, after, "/spec") || tokens
}

fn differ(before: &Value, after: &Value, pointer: &str) -> bool {
    let (before, after) = (at(before, pointer), at(after, pointer));
    // An operation without anything in it is still one.
    before != after
        && (before.is_null() != after.is_null() || without_blanks(before) != without_blanks(after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json::set;

    fn application() -> Value {
        json!({
            "metadata": {"name": "shop", "labels": {"tier": "prod"}, "resourceVersion": "1"},
            "spec": {
                "project": "shop",
                "source": {"repoURL": "r", "path": "p", "targetRevision": "main"},
                "destination": {"namespace": "shop"},
                "syncPolicy": {"automated": {}},
            },
            "status": {"sync": {"status": "Synced"}, "history": []},
        })
    }

    fn changed(pointer: &str, value: Value) -> Value {
        let mut after = application();
        set(&mut after, pointer, value);
        after
    }

    #[test]
    fn what_starts_or_moves_something_is_a_change() {
        let before = application();
        let started = Change {
            starts: true,
            respecifies: false,
            withdraws: false,
        };
        for operation in [json!({}), json!({"sync": {"revision": "x"}})] {
            let after = changed("/operation", operation);
            assert_eq!(Change::of(&before, &after), started);
        }
        for (pointer, value) in [
            ("/spec/source/targetRevision", json!("v2")),
            ("/spec/source/helm", json!({"values": "a: 1"})),
            ("/spec/sources", json!([{"repoURL": "r"}])),
            (
                "/spec/sourceHydrator",
                json!({"drySource": {"repoURL": "r"}}),
            ),
            ("/spec/destination/namespace", json!("other")),
            ("/spec/project", json!("other")),
            ("/spec/syncPolicy/automated", json!({"selfHeal": true})),
            ("/spec/syncPolicy/automated/enabled", json!(false)),
            ("/metadata/labels/tier", json!("staging")),
        ] {
            let change = Change::of(&before, &changed(pointer, value));
            assert!(change.respecifies && !change.starts, "{pointer}");
        }
        assert!(Change::of(&Value::Null, &before).respecifies);
    }

    #[test]
    fn what_only_says_how_things_are_is_none() {
        let before = application();
        for (pointer, value) in [
            ("/metadata/resourceVersion", json!("2")),
            (
                "/metadata/annotations",
                json!({"argocd.argoproj.io/refresh": "normal"}),
            ),
            ("/metadata/finalizers", json!(["x"])),
            ("/metadata/managedFields", json!([])),
            ("/status/sync/status", json!("OutOfSync")),
            ("/spec/source/chart", json!("")),
            (
                "/spec/syncPolicy/automated",
                json!({"prune": false, "enabled": true}),
            ),
            ("/spec/revisionHistoryLimit", json!(3)),
            ("/operation", json!(null)),
        ] {
            let change = Change::of(&before, &changed(pointer, value));
            assert!(!change.concerns(false), "{pointer}");
        }
        // Argo CD takes an operation away when it begins.
        let pending = changed("/operation", json!({"sync": {}}));
        let taken_back = Change::of(&pending, &before);
        assert!(!taken_back.concerns(true) && taken_back.concerns(false));
        assert!(!Change::of(&pending, &pending).concerns(false));
        let other = changed("/operation", json!({"sync": {"prune": true}}));
        assert!(Change::of(&pending, &other).starts);
    }

    #[test]
    fn a_status_is_made_up_on_creation_and_touched_by_any_difference() {
        let before = application();
        assert_eq!(status(&before, &before), Status::Same);
        for after in [
            changed("/status/history", json!([{"id": 1}])),
            changed("/status/sync/revision", json!("x")),
            changed("/status", json!(null)),
        ] {
            assert_eq!(status(&before, &after), Status::Changed);
        }
        assert_eq!(status(&Value::Null, &before), Status::MadeUp);
        let blank = json!({"health": {}, "sync": {"comparedTo": {"source": {"repoURL": ""}}, "status": ""}});
        for status_of_new in [json!(null), json!({}), blank] {
            let after = changed("/status", status_of_new);
            assert_eq!(status(&Value::Null, &after), Status::Same);
        }
    }

    #[test]
    fn a_status_from_a_manifest_is_told_by_who_manages_it() {
        let entry = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Update", "fieldsV1": fields});
        let status = json!({"f:status": {"f:sync": {}}});
        let before = changed(
            "/metadata/managedFields",
            json!([entry("old", status.clone())]),
        );
        let with = |new: Value| {
            let mut after = before.clone();
            after["metadata"]["managedFields"] = json!([entry("old", status.clone()), new]);
            after["status"]["sync"]["status"] = json!("OutOfSync");
            after
        };
        for manager in ["argocd-application-controller", "argocd-server"] {
            let after = with(entry(manager, status.clone()));
            assert!(!is_from_a_manifest(&before, &after, false), "{manager}");
        }
        // Another spec, or labels: not a status.
        let spec = json!({"f:spec": {"f:project": {}}});
        assert!(!is_from_a_manifest(
            &before,
            &with(entry(MANIFESTS, spec)),
            false
        ));
        for manager in [
            MANIFESTS,
            "kubectl-client-side-apply",
            "kubectl-replace",
            "",
        ] {
            let after = with(entry(manager, status.clone()));
            assert!(is_from_a_manifest(&before, &after, false), "{manager}");
        }
    }

    #[test]
    fn a_status_that_is_put_whole_has_nothing_new() {
        let mut before = application();
        before["status"]["operationState"] = json!({"phase": "Succeeded"});
        before["status"]["resources"] = json!([{"name": "x"}]);
        let mut starts = before.clone();
        starts["operation"] = json!({"sync": {}});
        starts["status"]["operationState"] = Value::Null;
        starts["status"]["resources"] = json!([{"name": "x", "health": {"status": "Healthy"}}]);
        assert!(!is_from_a_manifest(&before, &starts, true));
        for (pointer, value) in [
            ("/status/operationState/phase", json!("Running")),
            ("/status/sync/revision", json!("x")),
            ("/status/history", json!([{"id": 1}])),
        ] {
            let mut after = before.clone();
            set(&mut after, pointer, value);
            assert!(is_from_a_manifest(&before, &after, true), "{pointer}");
            assert!(!is_from_a_manifest(&before, &after, false), "{pointer}");
        }
    }

    #[test]
    fn a_project_is_changed_by_its_tokens_too() {
        let before = json!({"spec": {"roles": []}, "status": {}});
        let mut after = before.clone();
        assert!(!of_argocd(Kind::AppProject, &before, &after));
        after["status"] = json!({"jwtTokensByRole": {"ci": {"items": [{"iat": 1}]}}});
        assert!(of_argocd(Kind::AppProject, &before, &after));
        assert!(!of_argocd(Kind::ApplicationSet, &before, &after));
        after["spec"]["roles"] = json!([{"name": "ci"}]);
        assert!(of_argocd(Kind::ApplicationSet, &before, &after));
        assert!(of_argocd(Kind::ApplicationSet, &Value::Null, &after));
    }
}
