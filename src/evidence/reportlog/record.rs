//! One line of a report log, as far as it matters.
//!
//! Only the fields that are asked for are kept, so that a line takes little more memory than it is
//! long, whatever it holds. A field of another type than pytest's counts as absent.

use jiff::Timestamp;
use serde::Deserialize;

use super::loose::{Context, Failure, Scalar};
use crate::evidence::report::{ReadError, clean_name};
use crate::evidence::run::{MAX_MESSAGE_BYTES, Outcome, cut};

/// A record.
#[derive(Deserialize)]
#[serde(from = "Fields")]
pub(super) struct Record {
    pub(super) kind: Option<String>,
    pub(super) nodeid: Option<String>,
    pub(super) when: Option<String>,
    pub(super) outcome: Option<String>,
    pub(super) worker_id: Option<String>,
    pub(super) pytest_version: Option<String>,
    pub(super) exitstatus: Option<i64>,
    was_xfail: Scalar,
    failure: Option<String>,
    duration: Option<f64>,
    start: Option<f64>,
    stop: Option<f64>,
    context: Context,
}

/// The fields by their names in the file.
#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "$report_type", default)]
    kind: Scalar,
    #[serde(default)]
    nodeid: Scalar,
    #[serde(default)]
    when: Scalar,
    #[serde(default)]
    outcome: Scalar,
    #[serde(default)]
    worker_id: Scalar,
    #[serde(default)]
    pytest_version: Scalar,
    #[serde(default)]
    exitstatus: Scalar,
    #[serde(default)]
    wasxfail: Scalar,
    #[serde(default)]
    longrepr: Failure,
    #[serde(default)]
    duration: Scalar,
    #[serde(default)]
    start: Scalar,
    #[serde(default)]
    stop: Scalar,
    #[serde(rename = "_subtest.context", default)]
    context: Context,
}

impl From<Fields> for Record {
    fn from(fields: Fields) -> Self {
        Self {
            kind: fields.kind.text(),
            nodeid: fields.nodeid.text(),
            when: fields.when.text(),
            outcome: fields.outcome.text(),
            worker_id: fields.worker_id.text(),
            pytest_version: fields.pytest_version.text(),
            exitstatus: match fields.exitstatus {
                Scalar::Integer(status) => Some(status),
                _ => None,
            },
            was_xfail: fields.wasxfail,
            failure: fields.longrepr.0,
            duration: fields.duration.number(),
            start: fields.start.number(),
            stop: fields.stop.number(),
            context: fields.context,
        }
    }
}

impl Record {
    /// Reads one line.
    pub(super) fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }

    pub(super) fn test(&self) -> String {
        clean_name(self.nodeid.as_deref().unwrap_or_default())
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.outcome.as_deref(), Some("failed" | "error" | "rerun"))
    }

    /// What a phase says. An expected failure is written as `skipped` with `wasxfail`, an attempt that
    /// will be repeated as `rerun`.
    ///
    /// # Errors
    /// [`ReadError::Syntax`] for a word that is none of pytest's.
    pub(super) fn outcome_of(&self, line: usize) -> Result<Outcome, ReadError> {
        let expected = !matches!(self.was_xfail, Scalar::Absent);
        let is_call = self.when.as_deref() == Some("call");
        match self.outcome.as_deref() {
            Some("passed") if expected && is_call => Ok(Outcome::Xpassed),
            Some("passed") => Ok(Outcome::Passed),
            Some("skipped") if expected => Ok(Outcome::Xfailed),
            Some("skipped") => Ok(Outcome::Skipped),
            Some("failed" | "rerun") if is_call => Ok(Outcome::Failed),
            Some("failed" | "rerun") => Ok(Outcome::Error),
            other => Err(ReadError::Syntax {
                line,
                problem: format!(
                    "`outcome` is `{}`, which is none of pytest's",
                    clean_name(other.unwrap_or("absent"))
                        .chars()
                        .take(40)
                        .collect::<String>()
                ),
            }),
        }
    }

    /// The failure text: a plain one, the crash line, or the reason of a skip (path, line, reason).
    pub(super) fn message(&self) -> Option<String> {
        let reason = match &self.was_xfail {
            Scalar::Text(reason) => Some(reason),
            _ => None,
        };
        let mut text = self.failure.as_ref().or(reason)?.clone();
        cut(&mut text, MAX_MESSAGE_BYTES);
        (!text.is_empty()).then_some(text)
    }

    /// What tells a sub-test from the others of its test, as pytest prints it.
    pub(super) fn context_in_words(&self) -> String {
        let mut words = Vec::new();
        if let Some(message) = &self.context.message {
            words.push(format!("[{message}]"));
        }
        if !self.context.parameters.is_empty() {
            words.push(format!("({})", self.context.parameters.join(", ")));
        }
        if words.is_empty() {
            words.push("(<subtest>)".to_owned());
        }
        words.join(" ")
    }

    pub(super) fn milliseconds(&self) -> u64 {
        let seconds = self.duration.unwrap_or(0.0);
        let duration = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn started(&self) -> Option<Timestamp> {
        instant(self.start?)
    }

    pub(super) fn stopped(&self) -> Option<Timestamp> {
        instant(self.stop?)
    }
}

/// Seconds since 1970 with a fraction.
fn instant(seconds: f64) -> Option<Timestamp> {
    let seconds = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    let nanoseconds = i128::try_from(seconds.as_nanos()).ok()?;
    Timestamp::from_nanosecond(nanoseconds).ok()
}
