//! A run as an in-toto statement: what other tools understand.
//!
//! In: a run that has ended. Out: a `Statement` (in-toto Attestation Framework 1.0) with a predicate of
//! the type `test-result` 0.1. It says of a run that it passed only if the run is evidence here, too: one
//! that was refused, withdrawn or is void is `FAILED`. It is not signed. Never: a statement about a run
//! that can still become another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::evidence::run::{Attempt, Counts, Outcome};
use crate::evidence::verdict::Verdict;
use crate::evidence::view::RunView;
use crate::names::{Commit, is_full_sha};

/// `_type` of a statement.
pub(super) const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of the result of tests.
pub(super) const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";

/// Names a digest: algorithm to value, as `gitCommit` or `sha256`.
type DigestSet = BTreeMap<String, String>;

/// A statement about the commits that a run tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// [`STATEMENT`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// The commits, one per source; charts, which have a version and no digest, are not among them.
    pub subject: Vec<Resource>,
    /// [`TEST_RESULT`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What was found.
    pub predicate: TestResult,
}

/// A `ResourceDescriptor`, as far as it is used here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which it is.
    pub digest: DigestSet,
    /// Further facts.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub annotations: Value,
}

/// The predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// The result of the run.
    pub result: TestOutcome,
    /// The tests that were selected, and the sources that were rolled out.
    pub configuration: Vec<Resource>,
    /// Where the run can be read.
    pub url: String,
    /// Tests that passed at their first attempt. (Skipped tests, and those that failed as expected, are
    /// in no list.)
    pub passed_tests: Vec<String>,
    /// Tests that passed at a later attempt, or unexpectedly.
    pub warned_tests: Vec<String>,
    /// Tests whose last attempt failed.
    pub failed_tests: Vec<String>,
}

/// The result of a run, from bad to good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TestOutcome {
    /// It is no evidence: tests failed, or it was refused, withdrawn or void.
    Failed,
    /// It is evidence, with warnings.
    Warned,
    /// It is evidence.
    Passed,
}

impl TestOutcome {
    /// What a run with these `tests` is stated to be.
    pub(super) fn of(is_evidence: bool, tests: &Tests) -> Self {
        match (is_evidence, tests.warned.is_empty()) {
            (false, _) => Self::Failed,
            (true, true) => Self::Passed,
            (true, false) => Self::Warned,
        }
    }

    /// The word of the predicate.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "FAILED",
            Self::Passed => "PASSED",
            Self::Warned => "WARNED",
        }
    }
}

/// Why there is no statement about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unstated {
    /// Nothing that was tested has a digest.
    #[error("what was tested is pinned to versions, which a statement cannot name by a digest")]
    NoDigest,
    /// The run, or the operation it ran in, goes on.
    #[error("the run, or the operation it ran in, has not ended")]
    NotEnded,
}

impl Unstated {
    /// The stable code of the error, in kebab case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NoDigest => "no-digest",
            Self::NotEnded => "not-ended",
        }
    }
}

impl Statement {
    /// Makes the statement about `run`, which can be read at `url`.
    ///
    /// # Errors
    /// [`Unstated`].
    pub fn of(run: &RunView, url: String) -> Result<Self, Unstated> {
        let summary = &run.summary;
        let result = summary.result.as_ref().ok_or(Unstated::NotEnded)?;
        if result.counts == Counts::WhenOperationSucceeds {
            return Err(Unstated::NotEnded);
        }
        let subject: Vec<Resource> = summary.commits.iter().filter_map(subject).collect();
        if subject.is_empty() {
            return Err(Unstated::NoDigest);
        }
        let tests = Tests::of(&run.attempts);
        let is_evidence = (result.verdict, result.counts) == (Verdict::Passed, Counts::Now);
        Ok(Self {
            kind: STATEMENT.to_owned(),
            subject,
            predicate_type: TEST_RESULT.to_owned(),
            predicate: TestResult {
                result: TestOutcome::of(is_evidence, &tests),
                configuration: configuration(run),
                url,
                passed_tests: tests.passed,
                warned_tests: tests.warned,
                failed_tests: tests.failed,
            },
        })
    }
}

pub(super) fn subject(commit: &Commit) -> Option<Resource> {
    let text = commit.as_str();
    let (algorithm, value) = match text.strip_prefix("sha256:") {
        Some(digest) => ("sha256", digest),
        None if is_full_sha(text) => ("gitCommit", text),
        None => return None,
    };
    Some(Resource {
        name: None,
        digest: DigestSet::from([(algorithm.to_owned(), value.to_owned())]),
        annotations: Value::Null,
    })
}

fn configuration(run: &RunView) -> Vec<Resource> {
    let summary = &run.summary;
    let sha256 = |digest: &str| DigestSet::from([("sha256".to_owned(), digest.to_owned())]);
    let selected = Resource {
        name: Some(format!("suite {}", summary.suite)),
        digest: sha256(&run.collected.digest),
        annotations: json!({
            "tests": run.collected.tests,
            "deselected": run.collected.deselected,
            "options": run.options,
            "tool": run.tool.name,
        }),
    };
    let sources = summary.source_digest.as_ref().map(|digest| Resource {
        name: Some(format!("sources of {}", summary.application)),
        digest: sha256(digest.as_str()),
        annotations: json!({
            "component": summary.component,
            "environment": summary.environment,
        }),
    });
    [selected].into_iter().chain(sources).collect()
}

/// The names of tests by how they ended, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tests {
    pub(super) passed: Vec<String>,
    pub(super) warned: Vec<String>,
    pub(super) failed: Vec<String>,
}

impl Tests {
    pub(super) fn of(attempts: &[Attempt]) -> Self {
        let mut last: BTreeMap<&str, (u32, Outcome)> = BTreeMap::new();
        for attempt in attempts {
            let this = (attempt.attempt, attempt.outcome);
            let known = last.entry(&attempt.test).or_insert(this);
            // Of two attempts with one number, the one that speaks against the commits.
            if this.0 > known.0 || this.0 == known.0 && this.1.is_bad() {
                *known = this;
            }
        }
        let mut tests = Self::default();
        for (name, (number, outcome)) in last {
            let names = match outcome {
                Outcome::Error | Outcome::Failed => &mut tests.failed,
                Outcome::Passed if number == 1 => &mut tests.passed,
                Outcome::Passed | Outcome::Xpassed => &mut tests.warned,
                Outcome::Skipped | Outcome::Xfailed => continue,
            };
            names.push(name.to_owned());
        }
        tests
    }
}

#[cfg(test)]
mod tests;
