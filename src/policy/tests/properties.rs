//! What holds for every question.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::{Decision, answer_again, decide};
use super::*;

const ROLES: [&str; 6] = [
    "engineer",
    "platform-admin",
    "release-manager",
    "security",
    "test-job",
    "unheard-of",
];

fn callers() -> impl Strategy<Value = Caller> {
    (
        subsequence(ROLES.to_vec(), 0..=ROLES.len()),
        select(vec![person, workload, |roles: &[&str]| job(roles, true)]),
        ".{0,12}",
    )
        .prop_map(|(roles, kind, issuer)| {
            let caller = kind(&roles);
            Caller { issuer, ..caller }
        })
}

fn applications() -> impl Strategy<Value = ApplicationFacts> {
    let environments = prop_oneof![
        select(vec!["dev", "staging", "prod", "unassigned", "ambiguous"]).prop_map(str::to_owned),
        ".{0,8}"
    ];
    let labels = prop::collection::btree_map(".{0,8}", ".{0,8}", 0..3);
    (
        environments,
        labels,
        ".{0,12}",
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(environment, labels, name, auto_sync, tested_by_caller)| {
            ApplicationFacts {
                app: AppRef {
                    namespace: None,
                    name,
                },
                labels,
                auto_sync,
                tested_by_caller,
                ..app(&environment)
            }
        })
}

fn options() -> impl Strategy<Value = SyncOptions> {
    any::<[bool; 7]>().prop_map(|[dry_run, partial, prune, force, replace, local, apply]| {
        SyncOptions {
            apply,
            dry_run,
            partial,
            prune,
            force,
            replace,
            local,
        }
    })
}

fn actions(group: Option<&'static str>) -> impl Strategy<Value = String> {
    let all = shipped().actions().into_iter();
    let chosen = all.filter(move |(_, groups)| group.is_none_or(|g| groups.contains(g)));
    select(chosen.map(|(name, _)| name).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn nothing_blocked_is_deployed(
        caller in callers(),
        app in applications(),
        action in actions(Some("deploy")),
        options in options(),
        second in -4_000_000_000_i64..4_000_000_000,
    ) {
        let mut question = about(&caller, &action, &app, FindingWord::Blocked);
        question.context.now = Timestamp::from_second(second).unwrap();
        question.context.sync = question.context.sync.map(|_| options);
        let answer = shipped().answer(&question);
        prop_assert_eq!(&answer.errors, &Vec::<String>::new());
        prop_assert!(!answer.allowed);
        prop_assert!(matches!(decide(shipped(), &[question], ()), Decision::Deny(_)));
    }

    #[test]
    fn what_belongs_nowhere_is_never_deployed(
        caller in callers(),
        environment in select(vec!["unassigned", "ambiguous"]),
        action in actions(Some("deploy")),
        options in options(),
        finding in select(FindingWord::ALL.to_vec()),
    ) {
        let app = app(environment);
        let mut question = about(&caller, &action, &app, finding);
        question.context.sync = question.context.sync.map(|_| options);
        prop_assert!(!shipped().answer(&question).allowed);
    }

    #[test]
    fn what_was_recorded_is_answered_alike_and_without_reasons_too(
        caller in callers(),
        app in applications(),
        action in actions(None),
        options in options(),
        finding in select(FindingWord::ALL.to_vec()),
    ) {
        let mut question = about(&caller, &action, &app, finding);
        question.context.sync = question.context.sync.map(|_| options);
        let answer = shipped().answer(&question);
        prop_assert_eq!(shipped().permits(&question), answer.allowed);
        match answer_again(shipped(), &answer.recorded.to_json()) {
            Ok(again) => prop_assert_eq!(again, (answer.allowed, answer.policies)),
            Err(_) => prop_assert!(!answer.errors.is_empty()),
        }
    }
}
