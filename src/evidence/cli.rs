//! What `syncgate evidence submit|list|show|withdraw` do, after the command line has been read.
//!
//! In: options. Out: text for standard output, and an [`Outcome`] or [`Error`] that knows its exit
//! status: 0 for a pass (and for what was only asked), 1 for a run that failed or was refused and for
//! everything else that the gate refuses, 2 for a file that cannot be taken, 69 for a gate that cannot
//! be reached. On a terminal a bar shows how much was sent. Never: control characters of a report in
//! the text.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::client::{self, Client, Gate};
use super::report::{Format, ReadError, Report};
use super::run::{Attempt, AttemptBatch, Counts, Finish, Finished, MAX_BATCH_ATTEMPTS, NewRun};
use super::verdict::{Reason, Verdict};
use crate::clock::Clock;
use crate::names::{EnvironmentName, Suite};

mod withdraw;
mod words;

pub use withdraw::{WithdrawOptions, withdraw};
use words::{run_in_words, table};

/// Bytes of attempts in one request, so that the whole stays under the limit of the interface.
const BATCH_BYTES: usize = 3 * 1024 * 1024;

/// What to submit, and where.
#[derive(Clone, Debug)]
pub struct SubmitOptions {
    /// The gate.
    pub gate: Gate,
    /// The file.
    pub file: PathBuf,
    /// In which form it is.
    pub format: Format,
    /// The Application that was tested.
    pub application: String,
    /// Its namespace; absent means Argo CD's own.
    pub application_namespace: Option<String>,
    /// Where it is; must agree with what the gate knows.
    pub environment: Option<EnvironmentName>,
    /// Which suite ran.
    pub suite: Suite,
    /// The commits that were tested; must agree with what the gate knows.
    pub commits: Vec<String>,
    /// Whether the tests ran from a dirty working tree, if that is known.
    pub dirty: Option<bool>,
    /// How to show the result.
    pub output: Output,
}

/// Which runs to list.
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// The gate.
    pub gate: Gate,
    /// Parameters of the interface: `application`, `environment`, `component`, `suite`, `commit`,
    /// `limit`.
    pub query: Vec<(&'static str, String)>,
    /// How to show them.
    pub output: Output,
}

/// Which run to show.
#[derive(Clone, Debug)]
pub struct ShowOptions {
    /// The gate.
    pub gate: Gate,
    /// The run.
    pub run: String,
    /// How to show it.
    pub output: Output,
}

/// How to show something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// One JSON document.
    Json,
    /// Text for people.
    #[default]
    Table,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer was shown.
    Done,
    /// The run passed.
    Passed,
    /// The run failed, or is no evidence.
    NotPassed,
}

impl Outcome {
    /// The exit status.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Done | Self::Passed => 0,
            Self::NotPassed => 1,
        }
    }
}

/// Why a command did not end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gate was not asked, did not answer, or said no.
    #[error(transparent)]
    Gate(#[from] client::Error),
    /// The file cannot be taken.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The answer cannot be written.
    #[error("the answer cannot be written")]
    Write(#[from] io::Error),
}

impl Error {
    /// The exit status.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Gate(error) => error.exit_status(),
            Self::Read(_) => 2,
            Self::Write(_) => 1,
        }
    }
}

/// Submits a file as one run.
///
/// # Errors
/// [`Error`]; nothing counts then, since a run counts only once it is finished.
pub async fn submit(
    options: SubmitOptions,
    clock: &Clock,
    out: &mut (impl Write + Send),
) -> Result<Outcome, Error> {
    let now = clock.now();
    let report = Report::from_file(&options.file, options.format, now)?;
    let client = Client::new(&options.gate)?;
    let new = NewRun {
        application: options.application,
        application_namespace: options.application_namespace,
        environment: options.environment,
        suite: options.suite,
        commits: Some(options.commits).filter(|commits| !commits.is_empty()),
        dirty: options.dirty,
        collected: report.collected,
        tool: report.tool,
        options: Vec::new(),
        started_at: report.started_at,
    };
    let key = crate::names::DecisionId::new(now).to_string();
    let opened = client.open(&new, &key).await?;
    let attempts = report.attempts.len() as u64;
    let batches = send(&client, &opened.run, report.attempts).await?;
    let finish = Finish {
        exit_status: report.exit_status,
        finished_at: report.finished_at,
        batches,
        attempts,
        interrupted: report.interrupted,
    };
    let finished = client.finish(&opened.run, &finish).await?;
    match options.output {
        Output::Json => write_json(out, &finished)?,
        Output::Table => write!(out, "{}", finished_in_words(&finished))?,
    }
    Ok(match finished.verdict {
        Verdict::Passed => Outcome::Passed,
        Verdict::Failed | Verdict::Refused => Outcome::NotPassed,
    })
}

/// Sends all attempts; gives the number of batches.
async fn send(client: &Client, run: &str, attempts: Vec<Attempt>) -> Result<u64, Error> {
    let bar = progress(attempts.len() as u64);
    let mut sequence = 0;
    for batch in batches_of(attempts) {
        let count = batch.len() as u64;
        let batch = AttemptBatch {
            sequence,
            attempts: batch,
        };
        client.add(run, &batch).await?;
        sequence += 1;
        bar.inc(count);
    }
    bar.finish_and_clear();
    Ok(sequence)
}

/// Cuts attempts into batches that the interface takes.
fn batches_of(attempts: Vec<Attempt>) -> Vec<Vec<Attempt>> {
    let mut batches = Vec::new();
    let mut batch: Vec<Attempt> = Vec::new();
    let mut bytes = 0;
    for attempt in attempts {
        // Control characters grow to six bytes in JSON, at most; 256 are for the other fields.
        let message = attempt.message.as_ref().map_or(0, String::len);
        let size = 6 * (message + attempt.test.len()) + 256;
        if batch.len() == MAX_BATCH_ATTEMPTS || bytes + size > BATCH_BYTES && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += size;
        batch.push(attempt);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// A bar on standard error; nothing where that is no terminal.
fn progress(attempts: u64) -> ProgressBar {
    let bar = ProgressBar::new(attempts);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} attempts {eta}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Lists runs, newest first.
///
/// # Errors
/// [`Error`].
pub async fn list(options: ListOptions, out: &mut (impl Write + Send)) -> Result<Outcome, Error> {
    let list = Client::new(&options.gate)?.list(&options.query).await?;
    match options.output {
        Output::Json => write_json(out, &list)?,
        Output::Table => write!(out, "{}", table(&list.runs))?,
    }
    Ok(Outcome::Done)
}

/// Shows one run with its attempts.
///
/// # Errors
/// [`Error`].
pub async fn show(options: ShowOptions, out: &mut (impl Write + Send)) -> Result<Outcome, Error> {
    let run = Client::new(&options.gate)?.show(&options.run).await?;
    match options.output {
        Output::Json => write_json(out, &run)?,
        Output::Table => write!(out, "{}", run_in_words(&run))?,
    }
    Ok(Outcome::Done)
}

/// Shows one run as an in-toto statement, which is JSON in any case.
///
/// # Errors
/// [`Error`].
pub async fn statement(
    options: ShowOptions,
    out: &mut (impl Write + Send),
) -> Result<Outcome, Error> {
    let statement = Client::new(&options.gate)?.statement(&options.run).await?;
    write_json(out, &statement)?;
    Ok(Outcome::Done)
}

fn write_json(out: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

fn finished_in_words(finished: &Finished) -> String {
    let tests = &finished.tests;
    let mut text = format!(
        "{} run {}: {} of {} tests passed\n",
        finished.verdict.word(),
        finished.run,
        tests.passed + tests.xpassed,
        tests.total,
    );
    text.push_str(&reasons_in_words(&finished.reasons));
    let _ = writeln!(text, "  {}", counts_in_words(finished.counts));
    let _ = writeln!(text, "  {}", finished.url);
    text
}

fn reasons_in_words(reasons: &[Reason]) -> String {
    let mut text = String::new();
    for reason in reasons {
        let detail = shown(&reason.detail);
        let _ = writeln!(text, "  {}: {detail}", reason.code.word());
    }
    text
}

fn counts_in_words(counts: Counts) -> &'static str {
    match counts {
        Counts::Never => "meets no requirement",
        Counts::Now => "counts from now on",
        Counts::WhenOperationSucceeds => "counts once the operation it ran in has succeeded",
    }
}

/// `text` on one line, without what could steer a terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests;
