//! Reads what `pytest --report-log=FILE` writes (plugin pytest-reportlog).
//!
//! In: JSON lines. Out: a [`Report`]. Each test has reports for set-up, call and tear-down; together
//! they are one attempt, and the next set-up begins the next one (pytest-rerunfailures). A collector
//! that failed is reported as an error of its own. A file without a `SessionFinish` is of a run that
//! was cut short. Refused, with the line: lines that are no JSON objects, a second session, more
//! attempts than a run may have. Never: an attempt left out because another one followed.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;

use super::report::{ReadError, Report, clean_name, collected};
use super::run::{Attempt, MAX_MESSAGE_BYTES, MAX_RUN_ATTEMPTS, Outcome, Tool, cut};

/// Reads `lines`. Attempts without a time are taken to have begun `now`.
///
/// # Errors
/// [`ReadError`] with the line.
pub fn read(lines: &[u8], now: Timestamp) -> Result<Report, ReadError> {
    let mut log = Log::new(now);
    for (index, line) in lines.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let line_number = index + 1;
        let report: Value = serde_json::from_slice(line).map_err(|error| ReadError::Syntax {
            line: line_number,
            problem: format!("{error}"),
        })?;
        log.take(line_number, &report)?;
    }
    log.report()
}

struct Log {
    version: Option<String>,
    attempts: Vec<Attempt>,
    /// The newest attempt of each test.
    newest: HashMap<String, Newest>,
    exit_status: Option<i32>,
    last: Timestamp,
    now: Timestamp,
}

/// Where an attempt is, and whether its call was reported.
#[derive(Clone, Copy)]
struct Newest {
    index: usize,
    called: bool,
}

impl Log {
    fn new(now: Timestamp) -> Self {
        Self {
            version: None,
            attempts: Vec::new(),
            newest: HashMap::new(),
            exit_status: None,
            last: Timestamp::MIN,
            now,
        }
    }

    fn take(&mut self, line: usize, report: &Value) -> Result<(), ReadError> {
        match report["$report_type"].as_str() {
            Some("SessionStart") if self.version.is_some() => Err(ReadError::Syntax {
                line,
                problem: "a second session begins; submit one file per session".to_owned(),
            }),
            Some("SessionStart") => {
                let version = report["pytest_version"].as_str().unwrap_or("unknown");
                self.version = Some(version.to_owned());
                Ok(())
            }
            Some("SessionFinish") => {
                let status = report["exitstatus"].as_i64();
                self.exit_status = status.and_then(|s| i32::try_from(s).ok());
                Ok(())
            }
            Some("CollectReport") if report["outcome"] == "failed" => {
                self.attempt(line, report, Outcome::Error)
            }
            Some("TestReport") => self.phase(line, report),
            // Further kinds (warnings) say nothing about outcomes.
            Some(_) => Ok(()),
            None => Err(ReadError::Syntax {
                line,
                problem: "there is no `$report_type`".to_owned(),
            }),
        }
    }

    /// One of the phases of a test: a set-up, or a second call, begins an attempt; what follows can only
    /// worsen it. (Passing tear-downs leave the outcome of the call as it is.)
    fn phase(&mut self, line: usize, report: &Value) -> Result<(), ReadError> {
        let when = report["when"].as_str().unwrap_or_default();
        let outcome = outcome_of(line, report, when)?;
        let is_call = when == "call";
        let newest = self.newest.get_mut(&name_of(report));
        let going_on = newest.filter(|newest| when != "setup" && !(is_call && newest.called));
        let Some(newest) = going_on else {
            return self.attempt(line, report, outcome);
        };
        newest.called |= is_call;
        if let Some(attempt) = self.attempts.get_mut(newest.index) {
            if !attempt.outcome.is_bad() && (is_call || outcome.is_bad()) {
                attempt.outcome = outcome;
                attempt.message = message_of(report);
            }
            attempt.duration_ms = attempt.duration_ms.saturating_add(milliseconds(report));
        }
        Ok(())
    }

    fn attempt(&mut self, line: usize, report: &Value, outcome: Outcome) -> Result<(), ReadError> {
        if self.attempts.len() as u64 >= MAX_RUN_ATTEMPTS {
            return Err(ReadError::TooMany { line });
        }
        let test = name_of(report);
        let before = self.newest.get(&test);
        let before = before.and_then(|newest| self.attempts.get(newest.index));
        let number = before.map_or(1, |attempt| attempt.attempt + 1);
        let began = instant(&report["start"]).unwrap_or(self.now);
        self.last = self.last.max(instant(&report["stop"]).unwrap_or(began));
        let newest = Newest {
            index: self.attempts.len(),
            called: report["when"] == "call",
        };
        self.newest.insert(test.clone(), newest);
        self.attempts.push(Attempt {
            test,
            attempt: number,
            outcome,
            duration_ms: milliseconds(report),
            started_at: began,
            message: if outcome == Outcome::Passed {
                None
            } else {
                message_of(report)
            },
            worker: report["worker_id"].as_str().map(clean_name),
        });
        Ok(())
    }

    fn report(self) -> Result<Report, ReadError> {
        let Some(version) = self.version else {
            return Err(ReadError::Other {
                wanted: "a pytest report log",
                found: "it has no `SessionStart`".to_owned(),
            });
        };
        let began = self.attempts.iter().map(|attempt| attempt.started_at).min();
        Ok(Report {
            tool: Tool {
                name: "pytest".to_owned(),
                version: Some(clean_name(&version)),
                plugin: None,
                python: None,
                platform: None,
            },
            collected: collected(&self.attempts),
            // Without an end, pytest's own status for an interrupted run; 2 is that, too.
            exit_status: self.exit_status.unwrap_or(2),
            interrupted: self.exit_status.is_none_or(|status| status == 2),
            started_at: began.unwrap_or(self.now),
            finished_at: if began.is_some() { self.last } else { self.now },
            attempts: self.attempts,
        })
    }
}

/// What one phase says. An expected failure is written as `skipped` with `wasxfail`, an attempt that
/// will be repeated as `rerun`.
fn outcome_of(line: usize, report: &Value, when: &str) -> Result<Outcome, ReadError> {
    let expected = !report["wasxfail"].is_null();
    match report["outcome"].as_str() {
        Some("passed") if expected && when == "call" => Ok(Outcome::Xpassed),
        Some("passed") => Ok(Outcome::Passed),
        Some("skipped") if expected => Ok(Outcome::Xfailed),
        Some("skipped") => Ok(Outcome::Skipped),
        Some("failed" | "rerun") if when == "call" => Ok(Outcome::Failed),
        Some("failed" | "rerun") => Ok(Outcome::Error),
        _ => Err(ReadError::Syntax {
            line,
            problem: format!(
                "`outcome` is `{}`, which is none of pytest's",
                report["outcome"]
            ),
        }),
    }
}

fn name_of(report: &Value) -> String {
    clean_name(report["nodeid"].as_str().unwrap_or_default())
}

/// The failure text: a plain one, the crash line, or the reason of a skip (path, line, reason).
fn message_of(report: &Value) -> Option<String> {
    let long = &report["longrepr"];
    let text = long
        .as_str()
        .or_else(|| long.pointer("/reprcrash/message").and_then(Value::as_str))
        .or_else(|| long.get(2).and_then(Value::as_str))
        .or_else(|| report["wasxfail"].as_str())?;
    let mut text = text.to_owned();
    cut(&mut text, MAX_MESSAGE_BYTES);
    (!text.is_empty()).then_some(text)
}

fn milliseconds(report: &Value) -> u64 {
    let seconds = report["duration"].as_f64().unwrap_or(0.0);
    let duration = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since 1970 with a fraction.
fn instant(value: &Value) -> Option<Timestamp> {
    let seconds = std::time::Duration::try_from_secs_f64(value.as_f64()?).ok()?;
    let nanoseconds = i128::try_from(seconds.as_nanos()).ok()?;
    Timestamp::from_nanosecond(nanoseconds).ok()
}

#[cfg(test)]
mod tests;
