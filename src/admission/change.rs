//! What a write changes, as far as it concerns what runs.
//!
//! In: an object before and after. Out: whether it starts something, changes what runs where, or
//! touches the status that only Argo CD writes. Pure. What Argo CD would write in another form with
//! the same meaning is no change.

use serde_json::{Value, json};

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

/// Whether the status is made up (on creation, when nothing can have happened yet), or changed. Who asks for
/// an operation takes the state of the last one away.
pub(super) fn status(before: &Value, after: &Value) -> Status {
    let of = |object| {
        let mut status = at(object, "/status").clone();
        if intent::starts(before, after)
            && at(after, "/status/operationState").is_null()
            && let Some(fields) = status.as_object_mut()
        {
            fields.remove("operationState");
        }
        status
    };
    if before.is_null() {
        let blank = is_blank(at(after, "/status"));
        if blank { Status::Same } else { Status::MadeUp }
    } else if differ(&of(before), &of(after)) {
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
/// same account as what it has found, but as a field manager of its own. What it replaces (`Replace=true`) it
/// does not: such a status is not told from what Argo CD has found, and must not run anything ([`runs_another`]).
pub(super) fn is_from_a_manifest(before: &Value, after: &Value) -> bool {
    let entries = |object| at(object, "/metadata/managedFields").as_array();
    let of_status = |entry: &&Value| !at(entry, "/fieldsV1/f:status").is_null();
    // Fields of an entry that others take over leave it, and its time as it was.
    let same = |one: &Value, other: &Value| {
        ["manager", "operation", "subresource", "time"]
            .iter()
            .all(|key| one.get(key) == other.get(key))
    };
    let known = |entry: &Value| {
        let mut before = entries(before).into_iter().flatten().filter(of_status);
        before.any(|other| same(entry, other))
    };
    let mut after = entries(after).into_iter().flatten().filter(of_status);
    after.any(|entry| {
        let manager = text(entry, "/manager");
        let is_own = manager.starts_with("argocd-") && manager != MANIFESTS;
        !is_own && !known(entry)
    })
}

/// Whether the status says that another operation runs than the one that is asked for. Argo CD goes on with what
/// stands there. It changes one thing of it by itself: a retry with refresh forgets the commits.
pub(super) fn runs_another(application: &Value) -> bool {
    let state = at(application, "/status/operationState");
    let has_ended = ["Succeeded", "Failed", "Error"].contains(&text(state, "/phase"));
    let asked = at(application, "/operation");
    if state.is_null() || has_ended || asked.is_null() {
        return false;
    }
    let mut asked = json!({ "operation": asked });
    let running = json!({ "operation": at(state, "/operation") });
    let differ = |asked: &Value| intent::starts(asked, &running) || intent::starts(&running, asked);
    differ(&asked)
        && (at(&asked, "/operation/retry/refresh") != &json!(true) || {
            if let Some(sync) = asked
                .pointer_mut("/operation/sync")
                .and_then(Value::as_object_mut)
            {
                sync.remove("revision");
                sync.remove("revisions");
            }
            differ(&asked)
        })
}

/// Whether the write of a project or a set changes what it says. The tokens of a project are in its
/// status; that of a set only says what came of it.
pub(super) fn of_argocd(kind: Kind, before: &Value, after: &Value) -> bool {
    let changed = |pointer| differ(at(before, pointer), at(after, pointer));
    before.is_null() || changed("/spec") || (kind == Kind::AppProject && changed("/status"))
}

fn differ(before: &Value, after: &Value) -> bool {
    // An operation without anything in it is still one.
    before != after
        && (before.is_null() != after.is_null() || without_blanks(before) != without_blanks(after))
}

#[cfg(test)]
mod tests {
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
            assert!(!is_from_a_manifest(&before, &after), "{manager}");
        }
        // Another spec, or labels: not a status.
        let spec = json!({"f:spec": {"f:project": {}}});
        assert!(!is_from_a_manifest(&before, &with(entry(MANIFESTS, spec))));
        for manager in [
            MANIFESTS,
            "kubectl-client-side-apply",
            "kubectl-replace",
            "",
        ] {
            let after = with(entry(manager, status.clone()));
            assert!(is_from_a_manifest(&before, &after), "{manager}");
        }
    }

    #[test]
    fn a_field_that_argo_cd_takes_over_leaves_the_entry_of_another() {
        let entry = |time: &str, fields: Value| json!({"manager": "kubectl", "operation": "Update", "time": time, "fieldsV1": fields});
        let with = |entry: Value| changed("/metadata/managedFields", json!([entry]));
        let both = json!({"f:status": {"f:sync": {}, "f:health": {}}});
        let one = json!({"f:status": {"f:sync": {}}});
        let none = json!({"f:spec": {}});
        let before = with(entry("1", both));
        assert!(!is_from_a_manifest(&before, &with(entry("1", one.clone()))));
        assert!(is_from_a_manifest(&before, &with(entry("2", one.clone()))));
        assert!(is_from_a_manifest(
            &with(entry("1", none)),
            &with(entry("1", one))
        ));
    }

    #[test]
    fn who_asks_for_an_operation_takes_the_state_of_the_last_one_away() {
        let before = changed("/status/operationState", json!({"phase": "Succeeded"}));
        let mut after = application();
        assert_eq!(status(&before, &after), Status::Changed);
        after["operation"] = json!({"sync": {}});
        assert_eq!(status(&before, &after), Status::Same);
        after["status"]["sync"]["status"] = json!("OutOfSync");
        assert_eq!(status(&before, &after), Status::Changed);
        after = changed("/operation", json!({"sync": {}}));
        after["status"]["operationState"] = json!({"phase": "Failed"});
        assert_eq!(status(&before, &after), Status::Changed);
    }

    #[test]
    fn what_runs_is_what_was_asked_for() {
        let with = |asked: Value, phase: &str, running: Value| {
            let mut application = changed("/operation", asked);
            application["status"]["operationState"] =
                json!({"phase": phase, "operation": running, "startedAt": "x"});
            application
        };
        let asked = json!({"sync": {"revision": "x"}});
        let same = json!({"sync": {"revision": "x", "prune": false}, "retry": {}, "initiatedBy": {"username": "a"}});
        let other = json!({"sync": {"revision": "y"}});
        let more = json!({"sync": {"revision": "x", "prune": true}});
        for phase in ["Running", "Terminating", "", "Unheard"] {
            assert!(!runs_another(&with(asked.clone(), phase, same.clone())));
            for running in [&other, &more, &json!({}), &json!(null)] {
                let wrong = with(asked.clone(), phase, running.clone());
                assert!(runs_another(&wrong), "{phase} {running}");
            }
            assert!(!runs_another(&with(json!(null), phase, other.clone())));
        }
        for phase in ["Succeeded", "Failed", "Error"] {
            assert!(!runs_another(&with(asked.clone(), phase, other.clone())));
        }
        assert!(!runs_another(&changed("/operation", asked.clone())));
    }

    #[test]
    fn a_retry_with_refresh_forgets_the_commits() {
        let with = |refresh: bool, running: Value| {
            let retry = json!({"limit": 2, "refresh": refresh});
            let mut application = changed(
                "/operation",
                json!({"sync": {"revision": "x", "prune": true}, "retry": retry}),
            );
            application["status"]["operationState"] =
                json!({"phase": "Running", "operation": {"sync": running, "retry": retry}});
            application
        };
        assert!(!runs_another(&with(true, json!({"prune": true}))));
        assert!(runs_another(&with(
            true,
            json!({"prune": true, "revision": "y"})
        )));
        assert!(runs_another(&with(true, json!({}))));
        assert!(runs_another(&with(false, json!({"prune": true}))));
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
