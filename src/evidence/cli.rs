//! What `syncgate evidence submit|list|show|withdraw` do, after the command line has been read.
//!
//! In: options. Out: text for standard output, and an [`Outcome`] or [`Error`] that knows its exit
//! status: 0 for a pass (and for what was only asked), 1 for a run that failed or was refused and for
//! everything else that the gate refuses, 2 for a file that cannot be taken, 69 for a gate that cannot
//! be reached. On a terminal a bar shows how much was read and sent. Never: control characters of a report in
//! the text.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::client::{self, Client, Gate};
use super::report::FileError;
use super::run::{Counts, Finished};
use super::verdict::Reason;

mod submit;
mod withdraw;
mod words;

pub use submit::{SubmitOptions, submit};
pub use withdraw::{WithdrawOptions, withdraw};
use words::{attestation_in_words, run_in_words, table};

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
    Read(#[from] FileError),
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

/// Shows what the application of a run was like when the run failed, which is JSON in any case.
///
/// # Errors
/// [`Error`].
pub async fn snapshot(
    options: ShowOptions,
    out: &mut (impl Write + Send),
) -> Result<Outcome, Error> {
    let snapshot = Client::new(&options.gate)?.snapshot(&options.run).await?;
    write_json(out, &snapshot)?;
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
    if let Some(attestation) = &finished.attestation {
        let _ = writeln!(text, "  {}", attestation_in_words(attestation));
    }
    let _ = writeln!(text, "  {}", counts_in_words(finished.counts));
    let _ = writeln!(text, "  {}", finished.url);
    if let Some(snapshot) = &finished.snapshot {
        let _ = writeln!(text, "  what the application was like: {snapshot}");
    }
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
