//! Statements, run by run.

use jiff::Timestamp;

use super::*;

fn attempt(test: &str, number: u32, outcome: Outcome) -> Attempt {
    Attempt {
        test: test.to_owned(),
        attempt: number,
        outcome,
        duration_ms: 1,
        started_at: Timestamp::UNIX_EPOCH,
        message: None,
        worker: None,
    }
}

/// A run that passed at these commits and counts.
fn run(commits: &[&str]) -> RunView {
    let view = json!({
        "run": "01J", "application": "checkout-staging", "application_namespace": null,
        "environment": "staging", "component": "checkout", "suite": "integration",
        "commits": commits, "source_digest": "1".repeat(64), "operation": null,
        "reporter": "r", "decision": "d", "started_at": "2026-11-23T12:00:00Z",
        "received_at": "2026-11-23T12:00:00Z", "withdrawn": null, "bears_on": [],
        "result": {
            "verdict": "passed", "reasons": [], "counts": "now", "counts_reason": "",
            "tests": {
                "total": 1, "passed": 1, "failed": 0, "error": 0, "skipped": 0, "xfailed": 0,
                "xpassed": 0, "retried": 0,
            },
            "finished_at": "2026-11-23T12:00:00Z", "exit_status": 0, "decision": "d",
        },
        "dirty": null, "collected": {"tests": 1, "digest": "2".repeat(64), "deselected": 3},
        "tool": {"name": "pytest"}, "options": ["-m smoke"], "attempts": [],
    });
    let mut run: RunView = serde_json::from_value(view).unwrap();
    run.attempts = vec![attempt("b", 1, Outcome::Passed)];
    run
}

const SHA: &str = "d20ace7968ba43c0219f62d71334c1095bab1602";

fn stated(run: &RunView) -> TestResult {
    let url = "https://gate/run".to_owned();
    Statement::of(run, url).unwrap().predicate
}

#[test]
fn a_run_is_stated_as_the_specification_has_it() {
    let statement = Statement::of(&run(&[SHA]), "https://gate/run".to_owned()).unwrap();
    let expected = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"gitCommit": SHA}}],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": "PASSED",
            "configuration": [
                {
                    "name": "suite integration", "digest": {"sha256": "2".repeat(64)},
                    "annotations": {
                        "tests": 1, "deselected": 3, "options": ["-m smoke"], "tool": "pytest",
                    },
                },
                {
                    "name": "sources of checkout-staging", "digest": {"sha256": "1".repeat(64)},
                    "annotations": {"component": "checkout", "environment": "staging"},
                },
            ],
            "url": "https://gate/run",
            "passedTests": ["b"], "warnedTests": [], "failedTests": [],
        },
    });
    assert_eq!(serde_json::to_value(&statement).unwrap(), expected);
    let read: Statement = serde_json::from_value(expected).unwrap();
    assert_eq!(read, statement);
}

#[test]
fn tests_are_listed_by_their_last_attempt() {
    let mut run = run(&[SHA]);
    run.attempts = vec![
        attempt("flaky", 2, Outcome::Passed),
        attempt("flaky", 1, Outcome::Failed),
        attempt("worse", 1, Outcome::Passed),
        attempt("worse", 2, Outcome::Error),
        attempt("odd", 1, Outcome::Xpassed),
        attempt("left", 1, Outcome::Skipped),
        attempt("known", 1, Outcome::Xfailed),
        attempt("good", 1, Outcome::Passed),
        attempt("twice", 1, Outcome::Failed),
        attempt("twice", 1, Outcome::Passed),
    ];
    let stated = stated(&run);
    assert_eq!(stated.passed_tests, ["good"]);
    assert_eq!(stated.warned_tests, ["flaky", "odd"]);
    assert_eq!(stated.failed_tests, ["twice", "worse"]);
    assert_eq!(stated.result, TestOutcome::Warned);
}

#[test]
fn only_evidence_is_stated_to_have_passed() {
    let but = |change: fn(&mut crate::evidence::view::RunResult)| {
        let mut run = run(&[SHA]);
        change(run.summary.result.as_mut().unwrap());
        stated(&run).result
    };
    assert_eq!(but(|_| {}), TestOutcome::Passed);
    assert_eq!(but(|it| it.verdict = Verdict::Failed), TestOutcome::Failed);
    assert_eq!(but(|it| it.verdict = Verdict::Refused), TestOutcome::Failed);
    // Void, or withdrawn.
    assert_eq!(but(|it| it.counts = Counts::Never), TestOutcome::Failed);
}

#[test]
fn what_can_still_change_or_has_no_digest_is_not_stated() {
    let of = |run: &RunView| Statement::of(run, String::new());
    let mut open = run(&[SHA]);
    open.summary.result = None;
    assert_eq!(of(&open), Err(Unstated::NotEnded));
    let mut waits = run(&[SHA]);
    if let Some(result) = &mut waits.summary.result {
        result.counts = Counts::WhenOperationSucceeds;
    }
    assert_eq!(of(&waits), Err(Unstated::NotEnded));
    assert_eq!(of(&run(&["1.2.3"])), Err(Unstated::NoDigest));
    let image = format!("sha256:{}", "3".repeat(64));
    let both = of(&run(&["1.2.3", &image])).unwrap();
    assert_eq!(both.subject.len(), 1);
    assert_eq!(both.subject[0].digest["sha256"], "3".repeat(64));
}
