//! The closed words of a verdict: what a run is worth, why, and how its tests ended.

use serde::{Deserialize, Serialize};

use crate::evidence::run::Outcome;

/// What a run is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Tests failed.
    Failed,
    /// Every test that ran passed in the end.
    Passed,
    /// The run is not evidence.
    Refused,
}

impl Verdict {
    /// The word of the interface.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Passed => "passed",
            Self::Refused => "refused",
        }
    }
}

/// One reason for a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Which.
    pub code: ReasonCode,
    /// The particulars, one line.
    pub detail: String,
}

/// The closed list of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonCode {
    /// What was stored is not what the reporter says it sent.
    CountMismatch,
    /// Some tests were left out by options, no more than before. Tells, refuses nothing.
    Deselected,
    /// The working tree differed from its commit.
    DirtyTree,
    /// One attempt of one test was reported twice.
    DuplicateAttempt,
    /// The exit status contradicts the attempts.
    ExitStatus,
    /// The last attempt of some tests failed.
    FailedTests,
    /// A test failed, and a later attempt of it was marked as expected to fail, or skipped.
    HiddenFailure,
    /// The tests passed, and the hook Job that they ran in failed.
    HookFailed,
    /// The hook Job succeeded, although the tests did not pass. Tells, refuses nothing.
    HookSucceeded,
    /// Collected tests, or earlier attempts, were never reported.
    Incomplete,
    /// The run was cut short.
    Interrupted,
    /// Options left out tests that ran in the newest passing run of the suite.
    Narrowed,
    /// Nothing passed: no tests, or all of them skipped or expected to fail.
    NoTests,
    /// The commits under test changed while the tests ran.
    OtherCommit,
    /// Tests were reported that were not collected.
    OtherTests,
    /// Some tests passed only at a later attempt. Tells, refuses nothing.
    PassedWithRetries,
    /// The tests ran in a hook that comes before the sync, on what was there before.
    Presync,
    /// The same tests at the same times were reported before, in another run.
    Replayed,
    /// Fewer tests ran than in the newest passing run of the suite.
    Shrunk,
    /// Tests that passed in the newest passing run of the suite failed, and are expected to now.
    TurnedXfail,
}

impl ReasonCode {
    /// The word of the interface.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::CountMismatch => "count-mismatch",
            Self::Deselected => "deselected",
            Self::DirtyTree => "dirty-tree",
            Self::DuplicateAttempt => "duplicate-attempt",
            Self::ExitStatus => "exit-status",
            Self::FailedTests => "failed-tests",
            Self::HiddenFailure => "hidden-failure",
            Self::HookFailed => "hook-failed",
            Self::HookSucceeded => "hook-succeeded",
            Self::Incomplete => "incomplete",
            Self::Interrupted => "interrupted",
            Self::Narrowed => "narrowed",
            Self::NoTests => "no-tests",
            Self::OtherCommit => "other-commit",
            Self::OtherTests => "other-tests",
            Self::PassedWithRetries => "passed-with-retries",
            Self::Presync => "presync",
            Self::Replayed => "replayed",
            Self::Shrunk => "shrunk",
            Self::TurnedXfail => "turned-xfail",
        }
    }

    /// Whether the reason says that the run was not about the commits it is bound to. Such a run is
    /// no word on them, good or bad.
    #[must_use]
    pub fn disowns_commits(self) -> bool {
        matches!(
            self,
            Self::DirtyTree | Self::OtherCommit | Self::Presync | Self::Replayed
        )
    }

    /// Whether the reason only tells, and refuses nothing.
    #[must_use]
    pub fn only_tells(self) -> bool {
        matches!(
            self,
            Self::Deselected | Self::HookSucceeded | Self::PassedWithRetries
        )
    }
}

/// How many tests ended how; a test is counted by its last attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tests {
    /// All of them.
    pub total: u64,
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// Could not be run.
    pub error: u64,
    /// Were not run.
    pub skipped: u64,
    /// Failed as expected.
    pub xfailed: u64,
    /// Passed unexpectedly.
    pub xpassed: u64,
    /// Passed, but not at the first attempt (counted among the passed, too).
    pub retried: u64,
}

impl Tests {
    /// How many failed or could not be run.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.failed + self.error
    }

    /// How many ran.
    #[must_use]
    pub fn ran(&self) -> u64 {
        self.total - self.skipped
    }

    pub(super) fn count(&mut self, outcome: Outcome) {
        self.total += 1;
        let kind = match outcome {
            Outcome::Error => &mut self.error,
            Outcome::Failed => &mut self.failed,
            Outcome::Passed => &mut self.passed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Xfailed => &mut self.xfailed,
            Outcome::Xpassed => &mut self.xpassed,
        };
        *kind += 1;
    }
}
