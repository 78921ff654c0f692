//! What `syncgate evidence submit|list|show` do, after the command line has been read.
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
use super::verdict::{Reason, Verdict};
use super::view::{RunSummary, RunView};
use crate::names::Commit;

mod submit;

pub use submit::{SubmitOptions, submit};

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

fn table(runs: &[RunSummary]) -> String {
    let header = [
        "RUN",
        "ENDED",
        "VERDICT",
        "COMPONENT",
        "ENVIRONMENT",
        "SUITE",
        "COMMITS",
        "TESTS",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(runs.iter().map(row));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    text
}

fn row(run: &RunSummary) -> [String; 8] {
    let commits: Vec<&str> = run.commits.iter().map(Commit::short).collect();
    let (ended, verdict, tests) = match &run.result {
        None => ("-".to_owned(), "running".to_owned(), "-".to_owned()),
        Some(result) => {
            let counts = match result.counts {
                Counts::Never if result.verdict != Verdict::Refused => " (void)",
                Counts::WhenOperationSucceeds => " (waits)",
                Counts::Never | Counts::Now => "",
            };
            let tests = &result.tests;
            (
                result.finished_at.strftime("%Y-%m-%d %H:%M").to_string(),
                format!("{}{counts}", result.verdict.word()),
                format!("{}/{}", tests.passed + tests.xpassed, tests.total),
            )
        }
    };
    [
        run.run.clone(),
        ended,
        verdict,
        run.component.to_string(),
        run.environment.to_string(),
        run.suite.to_string(),
        commits.join("+"),
        tests,
    ]
}

fn run_in_words(run: &RunView) -> String {
    let mut text = table(std::slice::from_ref(&run.summary));
    let _ = writeln!(text, "\nreported by {}", shown(&run.summary.reporter));
    if let Some(result) = &run.summary.result {
        let _ = writeln!(text, "{}", counts_in_words(result.counts));
        text.push_str(&reasons_in_words(&result.reasons));
    }
    text.push('\n');
    for attempt in &run.attempts {
        let number = if attempt.attempt == 1 {
            String::new()
        } else {
            format!(" (attempt {})", attempt.attempt)
        };
        let name = shown(&attempt.test);
        let outcome = attempt.outcome.word();
        let _ = writeln!(
            text,
            "{outcome:8}{:>8} ms  {name}{number}",
            attempt.duration_ms
        );
        let message = attempt
            .message
            .as_deref()
            .filter(|_| attempt.outcome.is_bad());
        if let Some(line) = message.and_then(|message| message.lines().next()) {
            let _ = writeln!(text, "                    {}", shown(line));
        }
    }
    text
}

/// `text` on one line, without what could steer a terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests;
