//! The one line that a refused caller reads.
//!
//! In: a plan and its gaps. Out: printable ASCII without `%` (Argo CD's CLI prints it through a format
//! string), of at most [`MAX_LENGTH`] characters, in the form
//! `sync of checkout-prod refused: checkout@3f2c1a9 has no passing 'integration' run in staging (last:
//! failed 14:02, 2 tests); newest that would pass: 9ab12cd. decision 01J... - see <url>`. Where it gets
//! too long, gaps are left out and counted; the decision and the address always stay.

use super::{ApplicationPlan, Gap, GapKind};
use crate::names::{AppRef, Commit, DecisionId};

/// The length of a sentence, at most.
pub const MAX_LENGTH: usize = 1_000;
/// The length of what one gap says, at most.
const MAX_GAP: usize = 300;

/// Says why `operation` (`sync`) is refused for the application of `plan`.
#[must_use]
pub fn sentence(
    operation: &str,
    plan: &ApplicationPlan,
    gaps: &[Gap],
    decision: DecisionId,
    url: &str,
) -> String {
    let commits: Vec<Commit> = plan.sources.iter().map(|s| s.commit.clone()).collect();
    let what = format!("{}@{}", plan.component, short(&commits));
    compose(operation, &plan.application, &what, gaps, decision, url)
}

/// Says the same where there is no plan, because a source cannot be pinned.
#[must_use]
pub fn unplanned_sentence(
    operation: &str,
    application: &AppRef,
    gaps: &[Gap],
    decision: DecisionId,
    url: &str,
) -> String {
    compose(
        operation,
        application,
        &application.name,
        gaps,
        decision,
        url,
    )
}

fn compose(
    operation: &str,
    application: &AppRef,
    what: &str,
    gaps: &[Gap],
    decision: DecisionId,
    url: &str,
) -> String {
    let head = plain(&format!("{operation} of {application} refused: "), MAX_GAP);
    let tail = plain(&format!(". decision {decision} - see {url}"), MAX_GAP);
    let room = MAX_LENGTH - "; and 1000 more".len() - head.len() - tail.len();
    let mut middle = String::new();
    for (index, gap) in gaps.iter().enumerate() {
        let gap = plain(&gap_in_words(gap, what), MAX_GAP);
        if middle.len() + 2 + gap.len() > room {
            middle.push_str(&format!("; and {} more", gaps.len() - index));
            break;
        }
        if index > 0 {
            middle.push_str("; ");
        }
        middle.push_str(&gap);
    }
    format!("{head}{middle}{tail}")
}

fn gap_in_words(gap: &Gap, what: &str) -> String {
    let (Some(suite), Some(environment)) = (&gap.suite, &gap.environment) else {
        let why = if gap.detail.is_empty() {
            kind_in_words(gap.kind)
        } else {
            &gap.detail
        };
        return format!("{what} cannot be pinned: {why}");
    };
    let mut words = format!("{what} has no passing '{suite}' run in {environment}");
    match (&gap.last, gap.kind) {
        (Some(last), _) => words.push_str(&format!(" (last: {last})")),
        (None, GapKind::Missing) => {}
        (None, kind) => words.push_str(&format!(" ({})", kind_in_words(kind))),
    }
    if let Some(commits) = &gap.would_pass {
        words.push_str(&format!("; newest that would pass: {}", short(commits)));
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
