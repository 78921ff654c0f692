//! Which run decides, and what is said where none suffices.

use proptest::prelude::*;

use super::*;
use crate::gate::PinnedSource;
use crate::names::AppRef;

const NOW: &str = "2026-11-23T16:00:00Z";

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(crate) fn commit(digit: char) -> Commit {
    Commit::parse(digit.to_string().repeat(40)).unwrap()
}

fn digest(digit: char) -> SourceDigest {
    SourceDigest::parse(digit.to_string().repeat(64)).unwrap()
}

fn environment(name: &str) -> EnvironmentName {
    EnvironmentName::parse(name).unwrap()
}

/// `checkout` at commit `a…` in prod.
pub(crate) fn plan() -> ApplicationPlan {
    ApplicationPlan {
        application: AppRef {
            namespace: None,
            name: "checkout-prod".into(),
        },
        uid: "u".into(),
        environment: environment("prod"),
        component: Component::parse("checkout").unwrap(),
        sources: vec![PinnedSource {
            repository: "r".into(),
            asked: "main".into(),
            commit: commit('a'),
        }],
        multi_source: false,
        source_digest: digest('1'),
        promotion_digest: digest('2'),
    }
}

pub(crate) fn requirement() -> Requirement {
    Requirement {
        suite: Suite::parse("integration").unwrap(),
        environment: environment("staging"),
        max_age: Some(SignedDuration::from_hours(24)),
        least_share: LeastShare::default(),
        match_by: MatchBy::Commit,
        signed_by: Vec::new(),
    }
}

/// A run in staging about the commits and parameters of [`plan`], which spoke at minute `minute` of
/// the day.
pub(in crate::gate) fn run(minute: u64, verdict: Verdict) -> RunFacts {
    let midnight: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
    let at = midnight + SignedDuration::from_mins(i64::try_from(minute).unwrap());
    RunFacts {
        id: format!("run-{minute}"),
        spoke: minute,
        component: Component::parse("checkout").unwrap(),
        environment: environment("staging"),
        suite: Suite::parse("integration").unwrap(),
        commits: vec![commit('a')],
        source_digest: digest('3'),
        promotion_digest: digest('2'),
        verdict,
        reasons: Vec::new(),
        tests: Tests {
            total: 5,
            passed: 3,
            failed: 1,
            error: 1,
            ..Tests::default()
        },
        standing: Standing::Counts,
        withdrawn: None,
        signed_by: Vec::new(),
        finished_at: at,
    }
}

pub(in crate::gate) fn withdrawn() -> Withdrawn {
    Withdrawn {
        by: "rita".into(),
        reason: "the database was empty".into(),
    }
}

fn found(runs: Vec<RunFacts>) -> Finding {
    find(
        &plan(),
        &[requirement()],
        &EvidenceFor { runs },
        false,
        now(),
    )
}

fn gap(runs: Vec<RunFacts>) -> Gap {
    match found(runs) {
        Finding::Blocked { mut gaps } => {
            assert_eq!(gaps.len(), 1);
            gaps.remove(0)
        }
        other => panic!("{other:?}"),
    }
}

fn with(mut run: RunFacts, change: impl FnOnce(&mut RunFacts)) -> RunFacts {
    change(&mut run);
    run
}

fn reason(code: ReasonCode) -> Vec<Reason> {
    vec![Reason {
        code,
        detail: String::new(),
    }]
}

#[test]
fn no_requirement_is_exempt_and_a_pass_satisfies() {
    let none = find(&plan(), &[], &EvidenceFor::default(), false, now());
    assert_eq!(none, Finding::Exempt);
    let runs = vec!["run-842".to_owned()];
    assert_eq!(
        found(vec![run(842, Verdict::Passed)]),
        Finding::Satisfied { runs }
    );
}

#[test]
fn every_kind_of_gap_has_its_words() {
    use Verdict::{Failed, Passed, Refused};
    let refused = |code| with(run(842, Refused), |r| r.reasons = reason(code));
    for (runs, kind, last) in [
        (vec![], GapKind::Missing, None),
        (
            vec![run(842, Failed)],
            GapKind::Failed,
            Some("failed 14:02, 2 tests"),
        ),
        (
            vec![refused(ReasonCode::NoTests)],
            GapKind::Empty,
            Some("refused 14:02, no-tests"),
        ),
        (
            vec![refused(ReasonCode::Shrunk)],
            GapKind::Shrunk,
            Some("refused 14:02, shrunk"),
        ),
        (
            vec![refused(ReasonCode::HiddenFailure)],
            GapKind::Failed,
            Some("refused 14:02, hidden-failure"),
        ),
        (
            vec![refused(ReasonCode::Interrupted)],
            GapKind::Missing,
            Some("refused 14:02, interrupted"),
        ),
        (
            vec![with(run(842, Passed), |r| r.withdrawn = Some(withdrawn()))],
            GapKind::Withdrawn,
            Some(
                "passed 14:02 in run run-842, which was withdrawn by rita: the database was empty",
            ),
        ),
        (
            vec![with(run(842, Passed), |r| {
                r.finished_at -= SignedDuration::from_hours(48);
            })],
            GapKind::Stale,
            Some("passed 2026-11-21 14:02, too old since 2026-11-22 14:02"),
        ),
        (
            vec![with(run(842, Passed), |r| r.promotion_digest = digest('9'))],
            GapKind::WrongSource,
            Some("passed 14:02, with other source parameters"),
        ),
    ] {
        let gap = gap(runs);
        assert_eq!((gap.kind, gap.last.as_deref()), (kind, last));
    }
}

#[test]
fn a_job_that_says_otherwise_is_told_with_its_run() {
    use Verdict::{Failed, Refused};
    let refused = |code| with(run(842, Refused), |r| r.reasons = reason(code));
    for (run, kind, last) in [
        (
            with(run(842, Failed), |r| {
                r.reasons = vec![Reason {
                    code: ReasonCode::HookFailed,
                    detail: "the Job says otherwise: shop/tests ended Failed: too long".into(),
                }];
            }),
            GapKind::Failed,
            Some("failed 14:02, the Job says otherwise: shop/tests ended Failed: too long"),
        ),
        (
            with(run(842, Failed), |r| {
                r.reasons = reason(ReasonCode::HookSucceeded);
            }),
            GapKind::Failed,
            Some("failed 14:02, 2 tests; its Job succeeded all the same"),
        ),
        (
            with(refused(ReasonCode::NoTests), |r| {
                r.reasons.extend(reason(ReasonCode::HookSucceeded));
            }),
            GapKind::Empty,
            Some("refused 14:02, no-tests; its Job succeeded all the same"),
        ),
    ] {
        let gap = gap(vec![run]);
        assert_eq!((gap.kind, gap.last.as_deref()), (kind, last));
    }
}

#[test]
fn what_is_no_word_yet_or_never_is_told_as_the_last() {
    use Verdict::Passed;
    for (runs, kind, last) in [
        (
            vec![with(run(842, Passed), |r| r.standing = Standing::Waits)],
            GapKind::Missing,
            Some("passed 14:02, its operation has not ended"),
        ),
        (
            vec![with(run(842, Passed), |r| r.standing = Standing::Void)],
            GapKind::Missing,
            Some("passed 14:02, its operation did not end well"),
        ),
    ] {
        let gap = gap(runs);
        assert_eq!((gap.kind, gap.last.as_deref()), (kind, last));
    }
}

#[test]
fn runs_of_others_do_not_bear_on_the_plan() {
    let changes: [fn(&mut RunFacts); 4] = [
        |r| r.component = Component::parse("cart").unwrap(),
        |r| r.environment = environment("dev"),
        |r| r.suite = Suite::parse("smoke").unwrap(),
        |r| r.commits = vec![commit('a'), commit('a')],
    ];
    for change in changes {
        let gap = gap(vec![with(run(842, Verdict::Passed), change)]);
        assert_eq!((gap.kind, gap.last), (GapKind::Missing, None));
    }
}

#[test]
fn inside_one_environment_every_parameter_must_match() {
    let requirement = Requirement {
        environment: environment("prod"),
        ..requirement()
    };
    let in_prod = |digest| {
        let run = with(run(842, Verdict::Passed), |r| {
            r.environment = environment("prod");
            r.source_digest = digest;
        });
        let evidence = EvidenceFor { runs: vec![run] };
        find(
            &plan(),
            std::slice::from_ref(&requirement),
            &evidence,
            false,
            now(),
        )
    };
    assert!(matches!(in_prod(digest('1')), Finding::Satisfied { .. }));
    assert!(matches!(in_prod(digest('9')), Finding::Blocked { .. }));
}

#[test]
fn the_newest_commits_that_would_pass_are_those_whose_own_last_word_is_good() {
    let about =
        |digit, minute, verdict| with(run(minute, verdict), |r| r.commits = vec![commit(digit)]);
    let gap = gap(vec![
        about('b', 10, Verdict::Passed),
        about('c', 20, Verdict::Passed),
        about('d', 30, Verdict::Passed),
        about('d', 40, Verdict::Failed),
        with(about('e', 50, Verdict::Passed), |r| {
            r.standing = Standing::Void;
        }),
        with(about('f', 60, Verdict::Passed), |r| {
            r.promotion_digest = digest('9');
        }),
    ]);
    assert_eq!(gap.would_pass, Some(vec![commit('c')]));
}

#[test]
fn the_incumbent_may_come_back_unless_it_was_spoken_against() {
    let with_runs = |runs| {
        find(
            &plan(),
            &[requirement()],
            &EvidenceFor { runs },
            true,
            now(),
        )
    };
    assert_eq!(with_runs(vec![]), Finding::Incumbent);
    assert!(matches!(
        with_runs(vec![run(842, Verdict::Passed)]),
        Finding::Satisfied { .. }
    ));
    assert!(matches!(
        with_runs(vec![run(842, Verdict::Failed)]),
        Finding::Blocked { .. }
    ));
    let withdrawn = with(run(842, Verdict::Passed), |r| {
        r.withdrawn = Some(withdrawn());
    });
    assert!(matches!(
        with_runs(vec![withdrawn]),
        Finding::Blocked { .. }
    ));
}

fn any_run() -> impl Strategy<Value = RunFacts> {
    (
        0u64..900,
        proptest::sample::select(&[Verdict::Failed, Verdict::Passed, Verdict::Refused][..]),
        proptest::sample::select(&[Standing::Counts, Standing::Void, Standing::Waits][..]),
        any::<bool>(),
        proptest::sample::select(&['a', 'b'][..]),
        proptest::sample::select(&['2', '9'][..]),
    )
        .prop_map(|(minute, verdict, standing, taken_back, at, parameters)| {
            with(run(minute, verdict), |r| {
                r.standing = standing;
                r.withdrawn = taken_back.then(withdrawn);
                r.commits = vec![commit(at)];
                r.promotion_digest = digest(parameters);
            })
        })
}

proptest! {
    /// The plain specification: of the counting runs about these commits with these parameters, the
    /// one that spoke last is a pass that nobody withdrew. Order of storing, and all other runs, do
    /// not matter.
    #[test]
    fn the_latest_word_counts(mut runs in proptest::collection::vec(any_run(), 0..8), seed in any::<u64>()) {
        runs.sort_by_key(|run| run.spoke);
        runs.dedup_by_key(|run| run.spoke);
        let last = runs.iter().rfind(|run| {
            run.standing == Standing::Counts
                && run.commits == vec![commit('a')]
                && run.promotion_digest == digest('2')
        });
        let expected = last.is_some_and(|run| run.verdict == Verdict::Passed && run.withdrawn.is_none());
        let turn = usize::try_from(seed % 8).unwrap();
        let count = runs.len().max(1);
        runs.rotate_left(turn % count);
        let finding = found(runs);
        prop_assert_eq!(matches!(finding, Finding::Satisfied { .. }), expected);
        if let Finding::Blocked { gaps } = finding {
            prop_assert_eq!(gaps.len(), 1);
        }
    }

    /// After a failure is taken in, nothing that was there before opens the gate.
    #[test]
    fn a_later_failure_closes_the_gate_at_once(mut runs in proptest::collection::vec(any_run(), 0..8)) {
        runs.push(run(901, Verdict::Failed));
        let is_blocked = matches!(found(runs), Finding::Blocked { .. });
        prop_assert!(is_blocked);
    }
}
