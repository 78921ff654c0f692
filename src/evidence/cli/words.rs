//! Runs as text for people: a table, and one run in full.
//!
//! Times are UTC. What reporters and others wrote is shown without control characters.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{counts_in_words, reasons_in_words, shown};
use crate::evidence::attestation::Attested;
use crate::evidence::hook::{Disagreement, HookResult};
use crate::evidence::run::{Attempt, Counts};
use crate::evidence::verdict::Verdict;
use crate::evidence::view::{RunSummary, RunView};
use crate::gate::Worth;
use crate::names::{Commit, SignerName};
use crate::store::Withdrawal;

pub(super) fn table(runs: &[RunSummary]) -> String {
    let header = [
        "RUN",
        "ENDED",
        "VERDICT",
        "COMPONENT",
        "ENVIRONMENT",
        "SUITE",
        "COMMITS",
        "TESTS",
        "SIGNED BY",
        "COUNTS FOR",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(runs.iter().map(row));
    let mut widths = [0; 10];
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

fn row(run: &RunSummary) -> [String; 10] {
    let commits: Vec<&str> = run.commits.iter().map(Commit::short).collect();
    let (ended, verdict, tests) = match &run.result {
        None => ("-".to_owned(), "running".to_owned(), "-".to_owned()),
        Some(result) => {
            let counts = match result.counts {
                _ if run.withdrawn.is_some() => " (withdrawn)",
                Counts::Never if result.verdict != Verdict::Refused => " (void)",
                Counts::WhenOperationSucceeds => " (waits)",
                Counts::Never | Counts::Now => "",
            };
            let tests = &result.tests;
            (
                time(result.finished_at),
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
        signers(run).unwrap_or_else(|| "-".to_owned()),
        counts_for(run),
    ]
}

/// Who signed the run, if somebody has.
fn signers(run: &RunSummary) -> Option<String> {
    let attestation = run.result.as_ref()?.attestation.as_ref()?;
    let names: Vec<&str> = attestation
        .signed_by
        .iter()
        .map(SignerName::as_str)
        .collect();
    Some(names.join("+"))
}

/// The environments whose requirement the run meets now, and until when; else why it meets none.
fn counts_for(run: &RunSummary) -> String {
    let meets = run.bears_on.iter().filter_map(|bearing| {
        let by = &bearing.required_by;
        match &bearing.worth {
            Worth::Meets { until: None } => Some(by.to_string()),
            Worth::Meets { until: Some(until) } => Some(format!("{by} until {}", time(*until))),
            _ => None,
        }
    });
    let meets: Vec<String> = meets.collect();
    if !meets.is_empty() {
        return meets.join(", ");
    }
    let why = run.bears_on.first().map(|bearing| &bearing.worth);
    match why {
        Some(Worth::Superseded { .. }) => "- (superseded)",
        Some(Worth::Stale { .. }) => "- (too old)",
        Some(Worth::Unsigned) => "- (unsigned)",
        _ => "-",
    }
    .to_owned()
}

/// What the run is worth to each environment that requires its suite, a line each.
fn bearings_in_words(run: &RunSummary) -> String {
    let mut text = String::new();
    let RunSummary {
        suite, environment, ..
    } = run;
    if run.bears_on.is_empty() && run.result.is_some() {
        let _ = writeln!(text, "no environment requires '{suite}' in {environment}");
    }
    for bearing in &run.bears_on {
        let what = match &bearing.worth {
            Worth::Meets { until: None } => "met by this run".to_owned(),
            Worth::Meets { until: Some(until) } => {
                format!("met by this run until {}", time(*until))
            }
            Worth::NotPassed => "not met: the run did not pass".to_owned(),
            Worth::Stale { since } => format!("not met: too old since {}", time(*since)),
            Worth::Superseded { by } => {
                format!("a later run has the last word: {}", shown(by))
            }
            Worth::Unsigned => "not met: nobody who has to has signed the run".to_owned(),
            Worth::Void => "not met: the run is no word on these commits".to_owned(),
            Worth::Waits => "not met yet: the operation it ran in has not ended".to_owned(),
            Worth::Withdrawn => "not met: the run was withdrawn".to_owned(),
        };
        let by = &bearing.required_by;
        let _ = writeln!(text, "{by} requires '{suite}' in {environment}: {what}");
    }
    text
}

/// Who signed a run, and what.
pub(super) fn attestation_in_words(attestation: &Attested) -> String {
    let names = attestation.signed_by.iter().map(SignerName::as_str);
    let names: Vec<&str> = names.collect();
    format!(
        "signed by {} (SHA-256 of the statement: {})",
        names.join(" and "),
        attestation.payload_sha256
    )
}

/// Who withdrew a run, when and why, on one line.
pub(super) fn withdrawal_in_words(withdrawal: &Withdrawal) -> String {
    format!(
        "withdrawn {} by {} ({}): {}",
        time(withdrawal.at),
        shown(&withdrawal.by),
        shown(&withdrawal.caller),
        shown(&withdrawal.reason)
    )
}

/// How the hook Job of a run ended, and what it is beside the report, a line each.
pub(super) fn hook_in_words(hook: &HookResult, disagreement: Option<&Disagreement>) -> String {
    let job = hook.job.as_deref().unwrap_or("that was not seen");
    let mut text = format!("hook Job {}", shown(job));
    if let Some(kind) = &hook.kind {
        let _ = write!(text, " ({})", shown(kind));
    }
    let _ = write!(text, ": {}", hook.phase.word());
    if !hook.message.is_empty() {
        let _ = write!(text, ": {}", shown(&hook.message));
    }
    text.push('\n');
    if let Some(it) = disagreement {
        let _ = writeln!(
            text,
            "report and Job disagree: the report is worth {}, the run counts as {}; decision {}",
            it.reported.word(),
            it.counts_as.word(),
            it.decision
        );
    }
    text
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

pub(super) fn run_in_words(run: &RunView) -> String {
    let mut text = table(std::slice::from_ref(&run.summary));
    let _ = writeln!(text, "\nreported by {}", shown(&run.summary.reporter));
    if let Some(hook) = &run.summary.hook {
        let disagreement = run.summary.disagreement.as_ref();
        text.push_str(&hook_in_words(hook, disagreement));
    }
    let attestation = run.summary.result.as_ref();
    if let Some(attestation) = attestation.and_then(|it| it.attestation.as_ref()) {
        let _ = writeln!(text, "{}", attestation_in_words(attestation));
    }
    if let Some(withdrawal) = &run.summary.withdrawn {
        let _ = writeln!(text, "{}", withdrawal_in_words(withdrawal));
    }
    if let Some(result) = &run.summary.result {
        if result.counts != Counts::Now {
            let _ = writeln!(text, "{}", counts_in_words(result.counts));
        }
        text.push_str(&reasons_in_words(&result.reasons));
    }
    text.push_str(&bearings_in_words(&run.summary));
    if let Some(snapshot) = &run.snapshot {
        let _ = writeln!(
            text,
            "{} was like this at {} ({}):",
            shown(&run.summary.application),
            time(snapshot.taken_at),
            shown(&snapshot.url)
        );
        for line in &snapshot.summary {
            let _ = writeln!(text, "  {}", shown(line));
        }
    }
    if let Some(rollback) = &run.rollback {
        let _ = writeln!(
            text,
            "rollback of what it tested: {} (syncgate rollout show {})",
            rollback.state.word(),
            rollback.rollout
        );
    }
    text.push('\n');
    text.push_str(&attempts_in_words(&run.attempts));
    text
}

fn attempts_in_words(attempts: &[Attempt]) -> String {
    // Writing to a `String` cannot fail.
    let mut text = String::new();
    for attempt in attempts {
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
