use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::argocd::operation::{Effect, Operation};
use crate::argocd::table::Handling;

const FILE: &str = "tests/golden/doors.txt";
const HEADER: &str = "\
# Every door of Argo CD's API and every kind of change, and what each needs: evidence (passing tests
# for exactly what is rolled out, a policy and a record), policy (and a record), or refused (always).
# Of a method that says by-change, the kind of change decides.
#
# `SYNCGATE_WRITE_GOLDEN=1 cargo test --lib change::tests` writes it anew.
";

fn doors() -> String {
    let mut out = HEADER.to_owned();
    out.push_str("\n== methods\n");
    for row in Operation::all().map(Operation::row) {
        let (effect, needs) = (row.effect.word(), row.needs.word());
        writeln!(out, "{:<56} {effect:<10} {needs}", row.name).unwrap();
    }
    out.push_str("\n== kinds of change\n");
    for change in Change::ALL {
        writeln!(out, "{:<22} {}", change.word(), change.needs().word()).unwrap();
    }
    out.push_str("\n== built-in actions\n");
    for (group, kind, action, change) in actions::ACTIONS {
        let name = format!("{group}/{kind} {action}");
        writeln!(
            out,
            "{name:<64} {:<22} {}",
            change.word(),
            change.needs().word()
        )
        .unwrap();
    }
    for (policy, change) in [
        ("off", Change::ToggleAutoSyncOn),
        ("on", Change::ToggleAutoSyncOff),
    ] {
        let name = format!("argoproj.io/Application toggle-auto-sync (auto-sync {policy})");
        writeln!(
            out,
            "{name:<64} {:<22} {}",
            change.word(),
            change.needs().word()
        )
        .unwrap();
    }
    out
}

#[test]
fn the_doors_are_as_reviewed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let now = doors();
    if std::env::var_os("SYNCGATE_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        reviewed, now,
        "what needs evidence has changed: see the header of the file"
    );
}

#[test]
fn words_are_unique_and_every_kind_knows_what_it_needs() {
    let words: BTreeSet<_> = Change::ALL.iter().map(|change| change.word()).collect();
    assert_eq!(words.len(), Change::ALL.len());
    assert!(
        Change::ALL
            .iter()
            .all(|change| change.needs() != Needs::ByChange)
    );
}

#[test]
fn a_method_that_rolls_out_is_never_a_matter_of_policy_alone() {
    for row in Operation::all().map(Operation::row) {
        let refused = matches!(row.handling, Handling::Refuse(_));
        assert_eq!(row.needs == Needs::Refused, refused, "{}", row.name);
        if row.needs == Needs::ByChange {
            assert!(
                [Effect::Deploy, Effect::Administer].contains(&row.effect),
                "{}",
                row.name
            );
        }
        if row.effect == Effect::Deploy && row.needs == Needs::Policy {
            // These end or delete; nothing new runs by them.
            let ends = ["Delete", "DeleteResource", "TerminateOperation"];
            assert!(
                ends.iter().any(|end| row.name.ends_with(end)),
                "{}",
                row.name
            );
        }
    }
}

#[test]
fn actions_are_sorted_and_found() {
    let names = actions::ACTIONS.map(|(group, kind, action, _)| (group, kind, action));
    assert!(names.is_sorted());
    for (group, kind, action, change) in actions::ACTIONS {
        assert_eq!(of_action(group, kind, action, &Value::Null), change);
    }
    for (group, kind, action) in [
        ("apps", "Deployment", "promote"),
        ("apps", "Deployment", "Restart"),
        ("argoproj.io", "rollout", "abort"),
        ("", "Deployment", "restart"),
        ("argoproj.io", "Application", "sync"),
    ] {
        let found = of_action(group, kind, action, &Value::Null);
        assert_eq!(found, Change::UnknownAction, "{group}/{kind} {action}");
        assert_eq!(found.needs(), Needs::Evidence);
    }
}

#[test]
fn the_toggle_switches_what_is_on_off_and_what_is_off_on() {
    for (policy, armed, after) in [
        (
            json!(null),
            false,
            json!({ "automated": { "enabled": true } }),
        ),
        (
            json!({}),
            false,
            json!({ "automated": { "enabled": true } }),
        ),
        (
            json!({ "automated": null }),
            false,
            json!({ "automated": { "enabled": true } }),
        ),
        (
            json!({ "automated": {} }),
            true,
            json!({ "automated": { "enabled": false } }),
        ),
        (
            json!({ "automated": { "prune": true, "enabled": null } }),
            true,
            json!({ "automated": { "prune": true, "enabled": false } }),
        ),
        (
            json!({ "automated": { "prune": true, "enabled": false }, "retry": {} }),
            false,
            json!({ "automated": { "prune": true, "enabled": true }, "retry": {} }),
        ),
    ] {
        let live = json!({ "metadata": { "name": "shop" }, "spec": { "syncPolicy": policy } });
        assert_eq!(is_armed(&live), armed, "{policy}");
        let toggle = of_action("argoproj.io", "Application", "toggle-auto-sync", &live);
        let needs = if armed {
            Needs::Policy
        } else {
            Needs::Evidence
        };
        assert_eq!(toggle.needs(), needs);
        assert_eq!(toggled(&live)["spec"]["syncPolicy"], after);
        assert_eq!(is_armed(&toggled(&live)), !armed);
    }
    assert!(is_armed(&toggled(&json!({}))));
}
