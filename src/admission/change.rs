//! What a write changes, as far as it concerns what runs.
//!
//! In: an object before and after. Out: whether it starts something, changes what runs where, or
//! touches the status that only Argo CD writes. Pure. What Argo CD would write in another form with
//! the same meaning is no change.

use serde_json::Value;

use super::review::Kind;
use crate::argocd::json::is_blank;
use crate::deployed::names_sources;
use crate::intent::{self, write_digest};
use crate::json::{at, text, without_blanks};
use crate::names::is_full_sha;

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

/// Whether a status that Argo CD writes is not one that it would make. It writes what lies in Git, and what it
/// finds under way it carries out: an operation that was never asked for, or one asked for that is said to be
/// under way with other commits. What it writes by itself is a copy of the operation that was asked for.
pub(super) fn is_forged(before: &Value, after: &Value) -> bool {
    let state = |object| at(object, "/status/operationState");
    let (was, is) = (state(before), state(after));
    let runs = ["Running", "Terminating"].contains(&text(is, "/phase"));
    if runs && intent::starts(before, after) {
        return true;
    }
    let operation = |state| without_commits(at(state, "/operation/sync"));
    let asked = |object| without_commits(at(object, "/operation/sync"));
    let known = [operation(was), asked(before), asked(after)];
    if !operation(is).is_null() && !known.contains(&operation(is)) {
        return true;
    }
    // A retry may empty the commits; it never has others.
    let commits = |sync: &Value| {
        (
            text(sync, "/revision").to_owned(),
            at(sync, "/revisions").clone(),
        )
    };
    let now = at(is, "/operation/sync");
    let before_it = [
        at(was, "/operation/sync"),
        at(before, "/operation/sync"),
        at(after, "/operation/sync"),
    ];
    let has_commits = commits(now) != (String::new(), Value::Null);
    if has_commits && !before_it.iter().any(|sync| commits(sync) == commits(now)) {
        return true;
    }
    is_other_result(now, at(was, "/syncResult"), at(is, "/syncResult"))
}

/// Whether a result is new and of other commits or sources than the operation names.
fn is_other_result(sync: &Value, was: &Value, is: &Value) -> bool {
    let parts = ["/revision", "/revisions", "/source", "/sources"];
    if parts
        .iter()
        .all(|part| without_blanks(at(was, part)) == without_blanks(at(is, part)))
    {
        return false;
    }
    let pinned = text(sync, "/revision");
    let found = text(is, "/revision");
    if is_full_sha(pinned) && is_full_sha(found) && pinned != found {
        return true;
    }
    let lists = (
        at(sync, "/revisions").as_array(),
        at(is, "/revisions").as_array(),
    );
    if let (Some(pinned), Some(found)) = lists {
        let differ = |(pinned, found): (&Value, &Value)| {
            let (pinned, found) = (pinned.as_str(), found.as_str());
            pinned.is_some_and(is_full_sha) && found.is_some_and(is_full_sha) && pinned != found
        };
        if pinned.iter().zip(found).any(differ) {
            return true;
        }
    }
    let bare = |holder: &Value| {
        let several = at(holder, "/sources")
            .as_array()
            .filter(|list| !list.is_empty());
        let list = several
            .cloned()
            .unwrap_or_else(|| vec![at(holder, "/source").clone()]);
        let bare = |source: &Value| {
            let mut source = without_blanks(source);
            if let Some(fields) = source.as_object_mut() {
                fields.remove("targetRevision");
            }
            source
        };
        list.iter().map(bare).collect::<Vec<_>>()
    };
    names_sources(sync) && names_sources(is) && bare(sync) != bare(is)
}

/// An operation's `sync` without its commits, in the form that all writers share; null where there is none.
fn without_commits(sync: &Value) -> Value {
    let mut sync = without_blanks(sync);
    if let Some(fields) = sync.as_object_mut() {
        fields.remove("revision");
        fields.remove("revisions");
    }
    sync
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
    fn what_is_said_to_be_under_way_is_what_was_asked_for() {
        let good = "a".repeat(40);
        let evil = "b".repeat(40);
        let sync =
            |commit: &str| json!({"revision": commit, "source": {"repoURL": "r", "path": "p"}});
        let asked = changed("/operation", json!({"sync": sync(&good)}));
        let running = |base: &Value, commit: &str, result: Value| {
            let mut after = base.clone();
            let operation = json!({"sync": sync(commit), "retry": {}});
            set(
                &mut after,
                "/status/operationState",
                json!({"phase": "Running", "operation": operation, "syncResult": result}),
            );
            after
        };
        // The controller takes the operation over, finds its sources, ends it.
        let taken = running(&asked, &good, Value::Null);
        assert!(!is_forged(&asked, &taken));
        let found = running(
            &asked,
            &good,
            json!({"revision": good, "source": {"repoURL": "r", "path": "p"}}),
        );
        assert!(!is_forged(&taken, &found));
        let mut ended = found.clone();
        ended["operation"] = Value::Null;
        ended["status"]["operationState"]["phase"] = json!("Succeeded");
        assert!(!is_forged(&found, &ended));
        // A retry with `refresh` empties the commit.
        assert!(!is_forged(&found, &running(&asked, "", Value::Null)));
        // argocd-server asks for the next one.
        let mut next = ended.clone();
        next["operation"] = json!({"sync": sync(&evil)});
        next["status"]["operationState"] = Value::Null;
        assert!(!is_forged(&ended, &next));
        // What Git says is under way.
        let before = application();
        for forged in [
            running(&before, &evil, Value::Null),
            running(&asked, &evil, Value::Null),
            running(&asked, &good, json!({"revision": evil})),
            running(
                &asked,
                &good,
                json!({"revision": good, "source": {"repoURL": "evil"}}),
            ),
        ] {
            assert!(is_forged(&before, &forged), "{forged}");
            assert!(is_forged(&taken, &forged) || forged == taken, "{forged}");
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
