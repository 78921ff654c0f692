//! The permission matrix of the shipped policies, as a file that people review.
//!
//! `SYNCGATE_WRITE_GOLDEN=1 cargo test --lib policy::tests::golden` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use super::*;

const FILE: &str = "tests/golden/permission-matrix.txt";
const ENVIRONMENTS: [&str; 5] = ["dev", "staging", "prod", "unassigned", "ambiguous"];
const HEADER: &str = "\
# Who may do what by the shipped policies.
#
# A line is an effect, what it is about, and the findings with which it is permitted: Blocked,
# Composite, Exempt, Incumbent, None, Satisfied; `-` is never. Where the actions of one effect do not
# all fare alike, the exceptions are named; `others` are the rest. The actions are listed at the end.
";

struct Who {
    name: &'static str,
    caller: Caller,
    tests: bool,
    wire: &'static str,
}

fn everybody() -> Vec<Who> {
    let who = |name, caller, tests| Who {
        name,
        caller,
        tests,
        wire: "grpc",
    };
    let at_admission = |name, caller| Who {
        name,
        caller,
        tests: false,
        wire: "admission",
    };
    vec![
        who("(no role)", person(&[]), false),
        who("engineer", person(&["engineer"]), false),
        who("release-manager", person(&["release-manager"]), false),
        who("platform-admin", person(&["platform-admin"]), false),
        who("security", person(&["security"]), false),
        who(
            "test-job, its own application",
            workload(&["test-job"]),
            true,
        ),
        who(
            "test-job, another application",
            workload(&["test-job"]),
            false,
        ),
        who(
            "test-job in CI on a protected ref, its own application",
            job(&["test-job"], true),
            true,
        ),
        who(
            "test-job in CI on another ref, its own application",
            job(&["test-job"], false),
            true,
        ),
        who(
            "a person with the role test-job",
            person(&["test-job"]),
            true,
        ),
        at_admission(
            "argocd-controller, at the admission door",
            workload(&["argocd-controller"]),
        ),
        at_admission(
            "argocd-server, at the admission door",
            workload(&["argocd-server"]),
        ),
        at_admission(
            "cluster-admin, at the admission door",
            user(&["cluster-admin"]),
        ),
        at_admission("engineer, at the admission door", user(&["engineer"])),
        who("cluster-admin, elsewhere", user(&["cluster-admin"]), false),
    ]
}

/// The findings with which `ask` is answered by yes, as letters.
fn letters(mut ask: impl FnMut(FindingWord) -> bool) -> String {
    let permitted = FindingWord::ALL.into_iter().filter(|finding| ask(*finding));
    let letters: String = permitted.filter_map(|f| f.word().chars().next()).collect();
    if letters.is_empty() {
        "-".into()
    } else {
        letters.to_uppercase()
    }
}

/// Each action once, a sync also as a dry run and with local manifests.
fn variants(action: &str) -> Vec<(String, Option<SyncOptions>)> {
    let plain = SyncOptions::belong_to(action).then(SyncOptions::default);
    let mut all = vec![(action.to_owned(), plain)];
    if action == SYNC {
        let dry = SyncOptions {
            dry_run: true,
            ..SyncOptions::default()
        };
        let local = SyncOptions {
            local: true,
            ..SyncOptions::default()
        };
        all.push((format!("{action} (dry run)"), Some(dry)));
        all.push((format!("{action} (local)"), Some(local)));
    }
    all
}

/// What an action is about, and, for each environment where there are any, the letters.
fn cells(
    policies: &Policies,
    who: &Who,
    action: &str,
    sync: Option<SyncOptions>,
) -> (&'static str, Vec<String>) {
    let ask = |resource, finding| {
        let context = Context {
            sync,
            wire: who.wire,
            ..context(action, finding)
        };
        let question = Question {
            caller: &who.caller,
            action,
            resource,
            context,
        };
        policies.answer(&question)
    };
    let [first, ..] = ENVIRONMENTS;
    if ask(Resource::Environment(first), FindingWord::None)
        .errors
        .is_empty()
    {
        let all = ENVIRONMENTS.map(Resource::Environment);
        let letters = all.map(|at| letters(|finding| ask(at, finding).allowed));
        return ("environment", letters.to_vec());
    }
    let endpoints = ENVIRONMENTS.map(endpoint);
    let [first, ..] = &endpoints;
    if ask(Resource::Endpoint(first), FindingWord::None)
        .errors
        .is_empty()
    {
        let all = endpoints.iter().map(Resource::Endpoint);
        let letters = all.map(|at| letters(|finding| ask(at, finding).allowed));
        return ("endpoint", letters.collect());
    }
    for (name, resource) in [("argocd", Resource::ArgoCd), ("gate", Resource::Gate)] {
        // What does not apply to a resource is an error, not a plain no.
        if ask(resource, FindingWord::None).errors.is_empty() {
            return (
                name,
                vec![letters(|finding| ask(resource, finding).allowed)],
            );
        }
    }
    let apps = ENVIRONMENTS.map(|environment| ApplicationFacts {
        tested_by_caller: who.tests,
        ..app(environment)
    });
    let letters = apps
        .iter()
        .map(|app| letters(|finding| ask(Resource::Application(app), finding).allowed))
        .collect();
    ("application", letters)
}

/// Effect and resource, to what is permitted, to the actions of which it is.
type Rows = BTreeMap<(String, &'static str), BTreeMap<Vec<String>, Vec<String>>>;

fn rows(policies: &Policies, who: &Who) -> Rows {
    let mut rows = Rows::new();
    for (action, groups) in policies.actions() {
        for (name, sync) in variants(&action) {
            for group in &groups {
                let (about, letters) = cells(policies, who, &action, sync);
                let row = rows.entry((group.clone(), about)).or_default();
                row.entry(letters).or_default().push(name.clone());
            }
        }
    }
    rows
}

fn matrix() -> String {
    let policies = shipped();
    let mut out = HEADER.to_owned();
    for who in everybody() {
        writeln!(out, "\n== {}", who.name).unwrap();
        for ((effect, about), alike) in rows(policies, &who) {
            for (letters, names) in &alike {
                let as_many = alike.values().filter(|other| other.len() >= names.len());
                let names = match (alike.len(), as_many.count() == 1) {
                    (1, _) => format!("all {}", names.len()),
                    (_, true) => format!("{} others", names.len()),
                    (_, false) => names.join(", "),
                };
                let shown = match &**letters {
                    [one] => one.clone(),
                    many => {
                        let each = ENVIRONMENTS.iter().zip(many);
                        each.map(|(e, c)| format!("{e}: {c:6}"))
                            .collect::<Vec<_>>()
                            .join(" ")
                    }
                };
                writeln!(
                    out,
                    "{effect:10} {about:11}  {:81} {names}",
                    shown.trim_end()
                )
                .unwrap();
            }
        }
    }
    for ((effect, about), alike) in rows(policies, &everybody()[0]) {
        writeln!(out, "\n-- {effect} {about}").unwrap();
        for name in alike.into_values().flatten() {
            writeln!(out, "{name}").unwrap();
        }
    }
    out
}

#[test]
fn the_permission_matrix_is_as_reviewed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let now = matrix();
    if std::env::var_os("SYNCGATE_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        reviewed, now,
        "who may do what has changed: see the header of this test"
    );
}
