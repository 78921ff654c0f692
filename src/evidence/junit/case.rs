//! One `testcase` and what its children and attributes say about attempts.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

use super::MAX_MESSAGE_BYTES;
use super::names::Held;
use super::words;
use super::xml::Attributes;
use crate::evidence::run::{Attempt, Outcome, cut};

/// What `CTest` says of a test that could not be run, which it counts among the failed ones, is told
/// from one that chose to be skipped by how this begins.
const CTEST_SKIPPED: &str = "SKIP_";
/// What Catch2 says of a test whose failure is expected.
const CATCH2_MAY_FAIL: &str = "TEST_CASE tagged with !mayfail";
/// What nose2 says of a test that was expected to fail and did.
const NOSE2_EXPECTED: &str = "expected test failure";
/// What nose2 says of one that was and did not; the run failed.
const NOSE2_UNEXPECTED: &str = "test passes unexpectedly";
/// Times before this were not taken from a clock.
const YEAR_2000: Timestamp = Timestamp::constant(946_684_800, 0);

/// A test case that is being read.
pub(super) struct Case {
    name: String,
    suite: usize,
    duration_ms: u64,
    began: Timestamp,
    /// What the attributes say where no child element says more.
    outcome: Outcome,
    /// What there is to say about that.
    remark: Option<String>,
    /// Whether `status="notrun"` stands for itself, without the `result` of `GoogleTest`.
    is_not_run: bool,
    pub(super) findings: Vec<Finding>,
}

/// What one child element says.
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) message: String,
    /// How long the attempt took, where it says so itself.
    pub(super) duration_ms: Option<u64>,
}

/// What a child element speaks of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The outcome of the case.
    Is(Outcome),
    /// The case was expected to fail, or is not done yet: if it failed, that is no failure.
    MayFail,
    /// An earlier attempt, before one that passed.
    Flaky(Outcome),
    /// A later attempt, after one that failed.
    Rerun(Outcome),
}

impl Kind {
    /// What an element of this name (in lower case) says; `None` for one that says nothing.
    pub(super) fn of(element: &str, attributes: &Attributes) -> Option<Self> {
        let text = |name: &str| attributes.get(name).map_or("", |text| text.trim());
        let (message, kind) = (text("message"), text("type"));
        Some(match element {
            // PHPUnit's run fails for a warning.
            "failure" | "warning" => Self::Is(Outcome::Failed),
            "error" => Self::Is(Outcome::Error),
            "flakyfailure" => Self::Flaky(Outcome::Failed),
            "flakyerror" => Self::Flaky(Outcome::Error),
            "rerunfailure" => Self::Rerun(Outcome::Failed),
            "rerunerror" => Self::Rerun(Outcome::Error),
            "skipped" if kind == "todo" || message.starts_with(CATCH2_MAY_FAIL) => Self::MayFail,
            "skipped" if message == NOSE2_UNEXPECTED => Self::Is(Outcome::Failed),
            // pytest, unittest-xml-reporting, nose2
            "skipped" if kind == "pytest.xfail" || kind == "XFAIL" || message == NOSE2_EXPECTED => {
                Self::Is(Outcome::Xfailed)
            }
            "skipped" => Self::Is(Outcome::Skipped),
            _ => return None,
        })
    }
}

impl Finding {
    pub(super) fn new(kind: Kind, attributes: &Attributes) -> Self {
        let mut message = String::new();
        if let Some(said) = attributes.get("message").filter(|said| !said.is_empty()) {
            push(&mut message, said);
            message.push('\n');
        }
        Self {
            kind,
            message,
            duration_ms: attributes.get("time").map(|time| milliseconds(time)),
        }
    }

    /// Takes in text of the element.
    pub(super) fn say(&mut self, text: &[u8]) {
        let room = MAX_MESSAGE_BYTES.saturating_sub(self.message.len());
        let is_new = self.message.is_empty() || self.message.ends_with('\n');
        let text = if is_new {
            text.trim_ascii_start()
        } else {
            text
        };
        // A character may be cut in two at the end; `beginning` cuts there anyway.
        let text = text.get(..room).unwrap_or(text);
        push(&mut self.message, &String::from_utf8_lossy(text));
    }
}

/// Adds to a message what a terminal can show of `text`: some writers leave colours in.
fn push(message: &mut String, text: &str) {
    let shown = |c: &char| !c.is_control() || *c == '\n' || *c == '\t';
    let room = MAX_MESSAGE_BYTES.saturating_sub(message.len());
    message.extend(text.chars().filter(shown).take(room));
}

impl Case {
    pub(super) fn new(
        name: String,
        suite: usize,
        suite_began: Timestamp,
        attributes: &Attributes,
    ) -> Self {
        let text = |name: &str| attributes.get(name).map_or("", String::as_str);
        let (outcome, remark) = words::outcome_of(text("status"), text("result"));
        Self {
            name,
            suite,
            duration_ms: milliseconds(text("time")),
            began: timestamp(text("timestamp")).unwrap_or(suite_began),
            outcome,
            remark,
            is_not_run: text("status") == "notrun" && !attributes.contains_key("result"),
            findings: Vec::new(),
        }
    }

    /// Whether its suite counts it among the failures and errors.
    pub(super) fn is_said_bad(&self) -> bool {
        self.outcome.is_bad()
            || self.findings.iter().any(|finding| match finding.kind {
                Kind::Is(outcome) => outcome.is_bad(),
                Kind::Rerun(_) => true,
                Kind::Flaky(_) | Kind::MayFail => false,
            })
    }

    /// Whether its suite counts it among the skipped.
    pub(super) fn is_said_skipped(&self) -> bool {
        self.outcome == Outcome::Skipped
            || self.findings.iter().any(|finding| match finding.kind {
                Kind::Is(outcome) => matches!(outcome, Outcome::Skipped | Outcome::Xfailed),
                Kind::MayFail => true,
                Kind::Flaky(_) | Kind::Rerun(_) => false,
            })
            || self
                .findings
                .iter()
                .any(|f| f.message.starts_with(NOSE2_UNEXPECTED))
    }

    /// The attempts, in their order. Surefire writes a test that failed all its attempts as the first
    /// failure with the others as `rerun...`, and one that passed at last as passed, with the failures
    /// before as `flaky...`.
    pub(super) fn ended(mut self) -> Held {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let own = (self.outcome, self.remark.take().unwrap_or_default());
        let mut own = (own.0, own.1, Some(self.duration_ms));
        let mut may_fail = false;
        for Finding {
            kind,
            message,
            duration_ms,
        } in std::mem::take(&mut self.findings)
        {
            let duration = duration_ms.or(Some(self.duration_ms));
            match kind {
                Kind::Flaky(outcome) => before.push((outcome, message, duration)),
                // Of several, a bad one stands.
                Kind::Is(outcome) if outcome.is_bad() || !own.0.is_bad() => {
                    let unable = self.is_not_run && !message.starts_with(CTEST_SKIPPED);
                    own.0 = if outcome == Outcome::Skipped && unable {
                        Outcome::Error
                    } else {
                        outcome
                    };
                    own.1 = message;
                }
                Kind::Is(_) => {}
                Kind::MayFail => may_fail = true,
                Kind::Rerun(outcome) => after.push((outcome, message, duration)),
            }
        }
        if may_fail {
            own.0 = if own.0.is_bad() {
                Outcome::Xfailed
            } else {
                Outcome::Skipped
            };
        }
        let outcomes = before.into_iter().chain([own]).chain(after);
        let attempts = (1..)
            .zip(outcomes)
            .map(|(attempt, (outcome, message, duration))| Attempt {
                test: String::new(),
                attempt,
                outcome,
                duration_ms: duration.unwrap_or_default(),
                started_at: self.began,
                message: beginning(&message),
                worker: None,
            })
            .collect();
        Held {
            name: self.name,
            suite: self.suite,
            attempts,
        }
    }
}

fn beginning(message: &str) -> Option<String> {
    let mut message = message.trim().to_owned();
    cut(&mut message, MAX_MESSAGE_BYTES);
    (!message.is_empty()).then_some(message)
}

/// `timestamp`: with a zone; without one, which then is taken as UTC; or as e-mail has it (Mocha).
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let local = || {
        let local: DateTime = text.parse().ok()?;
        Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let mail = || {
        let text = text.replace("GMT", "+0000");
        rfc2822::DateTimeParser::new().parse_timestamp(&text).ok()
    };
    let time = text.parse().ok().or_else(local).or_else(mail);
    time.filter(|time| *time >= YEAR_2000)
}

/// Seconds with a fraction, some with thousands separators, as milliseconds.
pub(super) fn milliseconds(seconds: &str) -> u64 {
    let seconds: f64 = seconds.trim().replace(',', "").parse().unwrap_or(0.0);
    let duration = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
