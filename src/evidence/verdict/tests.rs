//! Verdicts, case by case.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::evidence::run::Outcome::{Error, Failed, Passed, Skipped, Xfailed, Xpassed};

mod history;

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

/// What a reporter honestly says about `attempts`.
struct Told {
    tally: Tally,
    collected: Collected,
    finish: Finish,
    dirty: Option<bool>,
    in_operation: bool,
    other_commit: Option<&'static str>,
    before_sync: bool,
    options: Vec<String>,
    replays: Option<&'static str>,
    before: Option<Before>,
}

impl Told {
    fn of(attempts: &[(&str, u32, Outcome)]) -> Self {
        let attempts: Vec<Attempt> = attempts
            .iter()
            .map(|(test, number, outcome)| attempt(test, *number, *outcome))
            .collect();
        let tally: Tally = attempts.iter().collect();
        let bad = !Seen::of(&tally).bad.is_empty();
        Self {
            collected: Collected {
                tests: tally.tests(),
                digest: tally.digest(),
                deselected: 0,
            },
            finish: Finish {
                exit_status: match (tally.attempts(), bad) {
                    (0, _) => 5,
                    (_, true) => 1,
                    (_, false) => 0,
                },
                finished_at: Timestamp::UNIX_EPOCH,
                batches: 1,
                attempts: tally.attempts(),
                interrupted: false,
                attestation: None,
            },
            tally,
            dirty: None,
            in_operation: false,
            other_commit: None,
            before_sync: false,
            options: Vec::new(),
            replays: None,
            before: None,
        }
    }

    fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn judged(&self) -> (Verdict, Vec<&'static str>) {
        let ruling = judge(&Material {
            tally: &self.tally,
            collected: &self.collected,
            finish: &self.finish,
            batches: 1,
            dirty: self.dirty,
            in_operation: self.in_operation,
            other_commit: self.other_commit,
            before_sync: self.before_sync,
            options: &self.options,
            replays: self.replays,
            before: self.before.as_ref(),
            least_share: LeastShare::default(),
        });
        let codes = ruling.reasons.iter().map(|r| r.code.word()).collect();
        (ruling.verdict, codes)
    }
}

/// Attempts (test, number, outcome), the verdict, and every reason.
const ATTEMPTS: &str = "
a1:passed b1:skipped              | passed  |
a1:passed b1:xfailed              | passed  |
a1:xpassed                        | passed  |
a1:failed b1:passed               | failed  | failed-tests
a1:error                          | failed  | failed-tests
a2:passed a1:failed               | passed  | passed-with-retries
a1:passed a2:failed               | failed  | failed-tests
a1:failed a2:failed a3:error      | failed  | failed-tests
b1:passed a1:failed a2:xfailed    | refused | hidden-failure
b1:passed a1:error a2:skipped     | refused | hidden-failure
b1:failed a1:failed a2:xfailed    | failed  | failed-tests hidden-failure
                                  | refused | no-tests
a1:skipped b1:skipped             | refused | no-tests
a1:xfailed                        | refused | no-tests
a1:failed a1:passed               | refused | duplicate-attempt passed-with-retries
a2:passed                         | refused | incomplete
";

#[test]
fn attempts_decide() {
    for line in ATTEMPTS.trim().lines() {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [attempts, verdict, codes] = columns[..] else {
            panic!("{line}")
        };
        let attempts: Vec<(&str, u32, Outcome)> = attempts
            .split_whitespace()
            .map(|attempt| {
                let (name, outcome) = attempt.split_once(':').unwrap();
                let (test, number) = name.split_at(1);
                let outcome = serde_json::from_value(outcome.into()).unwrap();
                (test, number.parse().unwrap(), outcome)
            })
            .collect();
        let (judged, reasons) = Told::of(&attempts).judged();
        assert_eq!(
            (judged.word(), reasons.join(" ").as_str()),
            (verdict, codes),
            "{line}"
        );
    }
}

/// What is changed in a report, and the reason that it gives.
type Change = (fn(&mut Told), &'static str);

fn pass() -> Told {
    Told::of(&[("a", 1, Passed), ("b", 1, Passed)])
}

fn fail() -> Told {
    Told::of(&[("a", 1, Passed), ("b", 1, Failed)])
}

#[test]
fn a_report_that_contradicts_itself_is_no_pass() {
    let changes: [Change; 7] = [
        (|t| t.collected.tests = 3, "incomplete"),
        (|t| t.collected.tests = 1, "other-tests"),
        (|t| t.collected.digest = "0".repeat(64), "other-tests"),
        (|t| t.finish.attempts = 3, "count-mismatch"),
        (|t| t.finish.batches = 2, "count-mismatch"),
        (|t| t.finish.exit_status = 1, "exit-status"),
        (|t| t.finish.interrupted = true, "interrupted"),
    ];
    for (change, code) in changes {
        assert_eq!(pass().but(change).judged(), (Verdict::Refused, vec![code]));
    }
    // With a failure in it, the run has failed all the same.
    for (change, code) in changes
        .into_iter()
        .filter(|(_, code)| *code != "exit-status")
    {
        let (verdict, reasons) = fail().but(change).judged();
        assert_eq!(
            (verdict, reasons),
            (Verdict::Failed, vec!["failed-tests", code])
        );
    }
    let silent = fail().but(|t| t.finish.exit_status = 0).judged();
    assert_eq!(
        silent,
        (Verdict::Failed, vec!["failed-tests", "exit-status"])
    );
}

#[test]
fn a_run_that_is_not_about_its_commits_is_neither_good_nor_bad() {
    let changes: [Change; 3] = [
        (|t| t.dirty = Some(true), "dirty-tree"),
        (|t| t.replays = Some("01J"), "replayed"),
        (
            |t| t.other_commit = Some("the application moved on"),
            "other-commit",
        ),
    ];
    for (change, code) in changes {
        for told in [pass(), fail()] {
            let (verdict, reasons) = told.but(change).judged();
            assert_eq!((verdict, reasons[0]), (Verdict::Refused, code));
        }
    }
    assert_eq!(
        pass().but(|t| t.dirty = Some(false)).judged().0,
        Verdict::Passed
    );
}

#[test]
fn in_an_operation_the_reporters_working_tree_means_nothing() {
    let told = Told::of(&[("a", 1, Passed)]).but(|t| {
        t.dirty = Some(true);
        t.in_operation = true;
    });
    assert_eq!(told.judged(), (Verdict::Passed, vec![]));
}

#[test]
fn the_digest_of_a_collection_is_that_of_python() {
    // hashlib.sha256("\n".join(sorted(["b", "a", "é"])).encode()).hexdigest()
    let attempts = [
        attempt("b", 1, Passed),
        attempt("é", 1, Passed),
        attempt("a", 1, Passed),
    ];
    let tally: Tally = attempts.iter().collect();
    assert_eq!(
        tally.digest(),
        "304e68ef0e0ff11cfc1cfc839baaf0d761d926dc8053b655a54aeb3d5940f463"
    );
}

#[test]
fn every_code_has_one_word() {
    use ReasonCode as C;
    for code in [
        C::CountMismatch,
        C::Deselected,
        C::DirtyTree,
        C::DuplicateAttempt,
        C::ExitStatus,
        C::FailedTests,
        C::HiddenFailure,
        C::HookFailed,
        C::HookSucceeded,
        C::Incomplete,
        C::Interrupted,
        C::Narrowed,
        C::NoTests,
        C::OtherCommit,
        C::OtherTests,
        C::PassedWithRetries,
        C::Presync,
        C::Replayed,
        C::Shrunk,
        C::TurnedXfail,
    ] {
        let word = serde_json::to_value(code).unwrap();
        assert_eq!(word, code.word());
        assert_eq!(serde_json::from_value::<ReasonCode>(word).unwrap(), code);
    }
    assert!(serde_json::from_value::<ReasonCode>("other".into()).is_err());
}

proptest! {
    /// No set of attempts in which a test's last attempt is bad, or in which nothing passed, passes.
    #[test]
    fn a_pass_is_never_given_to_a_bad_end(
        attempts in proptest::collection::vec(
            ("[a-c]", 1u32..4, proptest::sample::select(&[Error, Failed, Passed, Skipped, Xfailed, Xpassed][..])),
            0..8,
        ),
    ) {
        let listed: Vec<(&str, u32, Outcome)> =
            attempts.iter().map(|(test, number, outcome)| (test.as_str(), *number, *outcome)).collect();
        let (verdict, reasons) = Told::of(&listed).judged();
        let ends_badly = ["a", "b", "c"].iter().any(|name| {
            let last = listed.iter().filter(|(test, ..)| test == name).map(|(_, number, _)| number).max();
            listed.iter().any(|(test, number, outcome)| {
                test == name && Some(number) == last && outcome.is_bad()
            })
        });
        let proves = listed.iter().any(|(.., outcome)| outcome.is_good());
        if verdict == Verdict::Passed {
            prop_assert!(!ends_badly && proves, "{:?}", reasons);
        }
    }
}
