//! One `testcase` and what its children and attributes say about attempts.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::evidence::run::{Attempt, MAX_MESSAGE_BYTES, Outcome, cut};

/// A test case that is being read.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) duration_ms: u64,
    pub(super) began: Timestamp,
    /// What the attributes say where no child element says more.
    pub(super) outcome: Outcome,
    pub(super) findings: Vec<Finding>,
}

/// What one child element says.
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) message: String,
}

/// What a child element speaks of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The outcome of the case.
    Is(Outcome),
    /// An earlier attempt, before one that passed.
    Flaky(Outcome),
    /// A later attempt, after one that failed.
    Rerun(Outcome),
}

impl Case {
    /// The attempts, in their order. Surefire writes a test that failed all its attempts as the first
    /// failure with the others as `rerun...`, and one that passed at last as passed, with the failures
    /// before as `flaky...`.
    pub(super) fn attempts(self) -> Vec<Attempt> {
        let (mut before, mut own, mut after) =
            (Vec::new(), (self.outcome, String::new()), Vec::new());
        for Finding { kind, message } in self.findings {
            match kind {
                Kind::Flaky(outcome) => before.push((outcome, message)),
                // Of several, a bad one stands.
                Kind::Is(outcome) if outcome.is_bad() || !own.0.is_bad() => {
                    own = (outcome, message);
                }
                Kind::Is(_) => {}
                Kind::Rerun(outcome) => after.push((outcome, message)),
            }
        }
        let outcomes = before.into_iter().chain([own]).chain(after);
        (1..)
            .zip(outcomes)
            .map(|(attempt, (outcome, message))| Attempt {
                test: self.name.clone(),
                attempt,
                outcome,
                duration_ms: self.duration_ms,
                started_at: self.began,
                message: beginning(&message),
                worker: None,
            })
            .collect()
    }
}

fn beginning(message: &str) -> Option<String> {
    let mut message = message.trim().to_owned();
    cut(&mut message, MAX_MESSAGE_BYTES);
    (!message.is_empty()).then_some(message)
}

/// Some writers say in an attribute what others say in a child element.
pub(super) fn outcome_of(status: &str, result: &str) -> Outcome {
    const BAD: [&str; 4] = ["failed", "failure", "fail", "broken"];
    const NOT_RUN: [&str; 6] = [
        "skipped",
        "notrun",
        "disabled",
        "ignored",
        "pending",
        "suppressed",
    ];
    let words = [status.to_ascii_lowercase(), result.to_ascii_lowercase()];
    let any = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.as_str()));
    if any(&BAD) {
        Outcome::Failed
    } else if any(&["error"]) {
        Outcome::Error
    } else if any(&NOT_RUN) {
        Outcome::Skipped
    } else {
        Outcome::Passed
    }
}

/// `timestamp` of a suite: with a zone, or without one, which then is taken as UTC.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let local: DateTime = text.parse().ok()?;
        Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })
}

/// Seconds with a fraction, some with thousands separators, as milliseconds.
pub(super) fn milliseconds(seconds: &str) -> u64 {
    let seconds: f64 = seconds.trim().replace(',', "").parse().unwrap_or(0.0);
    let duration = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
