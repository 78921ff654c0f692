//! The one line that a refused caller reads.
//!
//! In: a plan and its gaps. Out: printable ASCII without `%` (Argo CD's CLI prints it through a format
//! string), of at most [`MAX_LENGTH`] characters, in the form
//! `sync of checkout-prod refused: checkout@3f2c1a9 has no passing 'integration' run in staging (last:
//! failed 14:02, 2 tests); newest that would pass: 9ab12cd`. Where it gets too long, gaps are left out
//! and counted. The decision and where to read on are added where the answer is made.

use std::fmt::Write as _;

use super::{ApplicationPlan, Gap, GapKind};
use crate::names::{AppRef, Commit};

/// The length of a sentence, at most; with the decision and an address after it, a refusal stays
/// below 1,000 characters.
pub const MAX_LENGTH: usize = 850;
/// The length of the beginning, and of what one gap says, at most.
const MAX_PART: usize = 300;

/// Says why `operation` (`sync`) is refused for the application of `plan`.
#[must_use]
pub fn sentence(operation: &str, plan: &ApplicationPlan, gaps: &[Gap]) -> String {
    let commits: Vec<Commit> = plan.sources.iter().map(|s| s.commit.clone()).collect();
    let what = format!("{}@{}", plan.component, short(&commits));
    compose(operation, &plan.application, &what, gaps)
}

/// Says the same where there is no plan, because a source cannot be pinned.
#[must_use]
pub fn unplanned_sentence(operation: &str, application: &AppRef, gaps: &[Gap]) -> String {
    compose(operation, application, &application.name, gaps)
}

fn compose(operation: &str, application: &AppRef, what: &str, gaps: &[Gap]) -> String {
    // People know applications by their names; the namespace is in the record.
    let head = format!("{operation} of {} refused: ", application.name);
    let mut sentence = plain(&head, MAX_PART);
    let room = MAX_LENGTH - "; and 100000 more".len();
    for (index, gap) in gaps.iter().enumerate() {
        let gap = plain(&gap_in_words(gap, what), MAX_PART);
        if sentence.len() + "; ".len() + gap.len() > room {
            let _ = write!(sentence, "; and {} more", gaps.len() - index);
            break;
        }
        if index > 0 {
            sentence.push_str("; ");
        }
        sentence.push_str(&gap);
    }
    sentence
}

fn gap_in_words(gap: &Gap, what: &str) -> String {
    if gap.kind == GapKind::Unchecked {
        return gap.detail.clone();
    }
    let (Some(suite), Some(environment)) = (&gap.suite, &gap.environment) else {
        let why = if gap.detail.is_empty() {
            kind_in_words(gap.kind)
        } else {
            &gap.detail
        };
        return format!("{what} cannot be pinned: {why}");
    };
    let mut words = format!("{what} has no passing '{suite}' run in {environment}");
    // Writing to a `String` cannot fail.
    let _ = match (&gap.last, gap.kind) {
        (Some(last), _) => write!(words, " (last: {last})"),
        (None, GapKind::Missing) => Ok(()),
        (None, kind) => write!(words, " ({})", kind_in_words(kind)),
    };
    if let Some(commits) = &gap.would_pass {
        let _ = write!(words, "; newest that would pass: {}", short(commits));
    }
    words
}

fn kind_in_words(kind: GapKind) -> &'static str {
    match kind {
        GapKind::Empty => "the run has no tests",
        GapKind::Failed => "the last run failed",
        GapKind::Missing => "there is no run",
        GapKind::Shrunk => "the suite has shrunk",
        GapKind::Stale => "the last run is too old",
        GapKind::Unchecked => "it cannot be checked",
        GapKind::Unpinnable => "a source has no fixed commit",
        GapKind::Withdrawn => "the evidence was withdrawn",
        GapKind::WrongSource => "the last run had other source parameters",
    }
}

fn short(commits: &[Commit]) -> String {
    let commits: Vec<&str> = commits.iter().map(Commit::short).collect();
    commits.join("+")
}

/// `text` as printable ASCII without `%`, cut to `limit` characters.
fn plain(text: &str, limit: usize) -> String {
    let mut out: String = text
        .chars()
        .map(|c| match c {
            '%' => '?',
            ' '..='~' => c,
            c if c.is_whitespace() => ' ',
            _ => '?',
        })
        .collect();
    if out.len() > limit {
        out.truncate(limit - 3);
        out.push_str("...");
    }
    out
}

#[cfg(test)]
mod tests;
