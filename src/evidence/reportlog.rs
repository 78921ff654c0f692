//! Reads what `pytest --report-log=FILE` writes (plugin pytest-reportlog).
//!
//! In: JSON lines. Out: a [`Report`]. Each test has reports for set-up, call and tear-down; together
//! they are one attempt, and the next set-up begins the next one (pytest-rerunfailures). A sub-test is a
//! test of its own. A collector that failed is reported as an error of its own, and so is a record of an
//! unknown kind that says it failed. A file without a `SessionFinish` is of a run that was cut short, also
//! where it ends within a line. Refused, with the line: lines that are no JSON objects, or longer than
//! [`MAX_LINE_BYTES`]; a field given twice; a second session; reports after the end of the session; more
//! attempts than a run may have. Never: an attempt left out because another one followed, or a pass for
//! a test that was only set up.

use std::collections::HashMap;

use jiff::Timestamp;

use super::report::{ReadError, Report, clean_name, collected, fit_name};
use super::run::{Attempt, MAX_RUN_ATTEMPTS, Outcome, Tool};

mod loose;
mod record;

use record::Record;

/// Bytes of a line, at most. A report holds all that a test printed.
pub const MAX_LINE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of text that was read between two words to `progress`.
const STEP: u64 = 1024 * 1024;
/// What is said of a test that was set up and never called.
const NEVER_CALLED: &str = "the test was set up, but that it was called is not reported";

/// Reads `lines`, and tells `progress` how many bytes were read. Attempts without a time are taken to
/// have begun `now`.
///
/// # Errors
/// [`ReadError`] with the line.
pub fn read(
    lines: &[u8],
    now: Timestamp,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, ReadError> {
    if lines.trim_ascii().is_empty() {
        return Err(ReadError::Empty);
    }
    let mut log = Log::new(now);
    let (mut done, mut told) = (0, 0);
    for (index, line) in lines.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        if line.len() > MAX_LINE_BYTES {
            return Err(ReadError::TooLong {
                line: number,
                limit: MAX_LINE_BYTES,
            });
        }
        let content = line.trim_ascii();
        if !content.is_empty() {
            if !content.starts_with(b"{") {
                return Err(ReadError::Syntax {
                    line: number,
                    problem: "this is no record of pytest-reportlog, which are JSON objects"
                        .to_owned(),
                });
            }
            match Record::read(content) {
                Ok(record) => log.take(number, &record)?,
                // pytest was killed while it wrote: the log of an interrupted run.
                Err(error) if error.is_eof() && !line.ends_with(b"\n") && log.is_open() => {}
                Err(error) => return Err(unreadable(number, &error)),
            }
        }
        done += line.len() as u64;
        if done - told >= STEP {
            told = done;
            progress(done);
        }
    }
    log.report()
}

/// The line that the parser itself names is always 1.
fn unreadable(line: usize, error: &serde_json::Error) -> ReadError {
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    ReadError::Syntax {
        line,
        problem: format!(
            "this is no record of pytest-reportlog: {}",
            said.chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect::<String>()
        ),
    }
}

struct Log {
    version: Option<String>,
    attempts: Vec<Attempt>,
    /// The newest attempt of each test.
    newest: HashMap<String, Newest>,
    /// In which attempt of its test a sub-test was seen last, and how often.
    sub_tests: HashMap<String, (u32, u32)>,
    has_finished: bool,
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
            sub_tests: HashMap::new(),
            has_finished: false,
            exit_status: None,
            last: Timestamp::MIN,
            now,
        }
    }

    /// Whether the session has begun and not ended.
    fn is_open(&self) -> bool {
        self.version.is_some() && !self.has_finished
    }

    fn take(&mut self, line: usize, record: &Record) -> Result<(), ReadError> {
        let syntax = |problem: &str| ReadError::Syntax {
            line,
            problem: problem.to_owned(),
        };
        let kind = record.kind.as_deref();
        if self.has_finished
            && kind.is_some()
            && (record.outcome.is_some() || kind == Some("SessionFinish"))
        {
            return Err(syntax("a report follows after the session has ended"));
        }
        match kind {
            Some("SessionStart") if self.version.is_some() => Err(syntax(
                "a second session begins; submit one file for each session",
            )),
            Some("SessionStart") => {
                let version = record.pytest_version.as_deref().unwrap_or("unknown");
                self.version = Some(fit_name(&clean_name(version), 100));
                Ok(())
            }
            Some("SessionFinish") => {
                self.has_finished = true;
                self.exit_status = record.exitstatus.and_then(|s| i32::try_from(s).ok());
                Ok(())
            }
            Some("CollectReport") if record.has_failed() => {
                self.attempt(record.test(), line, record, Outcome::Error)
            }
            Some("CollectReport") => Ok(()),
            Some("TestReport") if record.nodeid.is_none() => Err(syntax(
                "there is no `nodeid`, so it is not known which test this is",
            )),
            Some("TestReport") => self.phase(line, record),
            // pytest's own, and pytest-subtests'.
            Some("SubtestReport" | "SubTestReport") => {
                let outcome = record.outcome_of(line)?;
                let name = self.sub_test(record);
                self.attempt(name, line, record, outcome)
            }
            // Further kinds (warnings) say nothing about outcomes, unless they do.
            Some(_) if record.has_failed() => {
                self.attempt(record.test(), line, record, Outcome::Error)
            }
            Some(_) => Ok(()),
            None => Err(syntax("there is no `$report_type`")),
        }
    }

    /// A sub-test is named after its test and its message or parameters. One of several of one name
    /// within an attempt of the test counts as a further test, since all of them have to pass. What comes
    /// after the call belongs to the next attempt.
    fn sub_test(&mut self, record: &Record) -> String {
        let test = record.test();
        let attempt = self.newest.get(&test).map_or(1, |newest| {
            let attempt = self.attempts.get(newest.index);
            attempt.map_or(1, |attempt| attempt.attempt) + u32::from(newest.called)
        });
        let name = clean_name(&format!("{test} {}", record.context_in_words()));
        let (last, count) = self.sub_tests.entry(name.clone()).or_insert((attempt, 0));
        if *last != attempt {
            (*last, *count) = (attempt, 0);
        }
        *count += 1;
        match *count {
            1 => name,
            number => format!("{name} #{number}"),
        }
    }

    /// One of the phases of a test: a set-up, or a second call, begins an attempt; what follows can only
    /// worsen it. (Passing tear-downs leave the outcome of the call as it is.)
    fn phase(&mut self, line: usize, record: &Record) -> Result<(), ReadError> {
        let when = record.when.as_deref().unwrap_or_default();
        let outcome = record.outcome_of(line)?;
        let is_call = when == "call";
        let test = record.test();
        let newest = self.newest.get_mut(&test);
        let going_on = newest.filter(|newest| when != "setup" && !(is_call && newest.called));
        let Some(newest) = going_on else {
            return self.attempt(test, line, record, outcome);
        };
        newest.called |= is_call;
        if let Some(attempt) = self.attempts.get_mut(newest.index) {
            if !attempt.outcome.is_bad() && (is_call || outcome.is_bad()) {
                attempt.outcome = outcome;
                attempt.message = record.message();
            }
            attempt.duration_ms = attempt.duration_ms.saturating_add(record.milliseconds());
            self.last = self.last.max(record.stopped().unwrap_or(Timestamp::MIN));
        }
        Ok(())
    }

    fn attempt(
        &mut self,
        test: String,
        line: usize,
        record: &Record,
        outcome: Outcome,
    ) -> Result<(), ReadError> {
        if self.attempts.len() as u64 >= MAX_RUN_ATTEMPTS {
            return Err(ReadError::TooMany { line });
        }
        let before = self.newest.get(&test);
        let before = before.and_then(|newest| self.attempts.get(newest.index));
        let number = before.map_or(1, |attempt| attempt.attempt + 1);
        let began = record.started().unwrap_or(self.now);
        self.last = self.last.max(record.stopped().unwrap_or(began));
        let newest = Newest {
            index: self.attempts.len(),
            called: record.when.as_deref() != Some("setup"),
        };
        self.newest.insert(test.clone(), newest);
        self.attempts.push(Attempt {
            test,
            attempt: number,
            outcome,
            duration_ms: record.milliseconds(),
            started_at: began,
            message: if outcome == Outcome::Passed {
                None
            } else {
                record.message()
            },
            worker: record
                .worker_id
                .as_deref()
                .map(|id| fit_name(&clean_name(id), 100)),
        });
        Ok(())
    }

    /// A test that was set up and never called has not passed. (Of an earlier attempt that was followed
    /// by another, the call is not asked for: what follows decides.)
    fn fail_uncalled(&mut self) {
        for newest in self.newest.values().filter(|newest| !newest.called) {
            if let Some(attempt) = self.attempts.get_mut(newest.index)
                && attempt.outcome == Outcome::Passed
            {
                attempt.outcome = Outcome::Error;
                attempt.message = Some(NEVER_CALLED.to_owned());
            }
        }
    }

    fn report(mut self) -> Result<Report, ReadError> {
        self.fail_uncalled();
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
                version: Some(version),
                plugin: None,
                python: None,
                platform: None,
            },
            collected: collected(&self.attempts),
            // Without an end, pytest's own status for an interrupted run; 2 is that, too.
            exit_status: self.exit_status.unwrap_or(2),
            interrupted: self.exit_status.is_none_or(|status| status == 2),
            started_at: began.unwrap_or(self.now),
            attestation: None,
            finished_at: if began.is_some() { self.last } else { self.now },
            attempts: self.attempts,
        })
    }
}

#[cfg(test)]
mod tests;
