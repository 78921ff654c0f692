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
/// The room kept for the names of applications whose gaps find none.
const NAMES: usize = 150;

/// One application that stands in the way.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// Which.
    pub application: &'a AppRef,
    /// What would be rolled out of it; absent where a source cannot be pinned.
    pub plan: Option<&'a ApplicationPlan>,
    /// Why not.
    pub gaps: &'a [Gap],
}

/// Says why `operation` (`sync`) of `application` is refused: for itself, or for others that it would roll out,
/// which are named before their gaps. Those whose gaps find no room are named behind them.
#[must_use]
pub fn sentence(operation: &str, application: &AppRef, refused: &[Refused<'_>]) -> String {
    // People know applications by their names; the namespace is in the record.
    let head = format!("{operation} of {} refused: ", application.name);
    let mut sentence = plain(&head, MAX_PART);
    let parts: Vec<(&Refused<'_>, &Gap)> = refused
        .iter()
        .flat_map(|one| one.gaps.iter().map(move |gap| (one, gap)))
        .collect();
    let room = MAX_LENGTH - "; and 100000 more".len() - if parts.len() > 1 { NAMES } else { 0 };
    for (index, (one, gap)) in parts.iter().enumerate() {
        let mut words = gap_in_words(gap, &what(one));
        if one.application != application {
            words = format!("{}: {words}", one.application.name);
        }
        let words = plain(&words, MAX_PART);
        if sentence.len() + "; ".len() + words.len() > room {
            let (told, rest) = parts.split_at(index);
            name_the_rest(&mut sentence, told, rest);
            break;
        }
        if index > 0 {
            sentence.push_str("; ");
        }
        sentence.push_str(&words);
    }
    sentence
}

/// `checkout@3f2c1a9`, or the application's name where it has no commits.
fn what(one: &Refused<'_>) -> String {
    match one.plan {
        None => one.application.name.clone(),
        Some(plan) => {
            let commits: Vec<Commit> = plan.sources.iter().map(|s| s.commit.clone()).collect();
            format!("{}@{}", plan.component, short(&commits))
        }
    }
}

/// Names the applications that have not been told of, and counts the gaps that are left.
fn name_the_rest(
    sentence: &mut String,
    told: &[(&Refused<'_>, &Gap)],
    rest: &[(&Refused<'_>, &Gap)],
) {
    let is_told = |name: &AppRef| told.iter().any(|(one, _)| one.application == name);
    let mut names: Vec<&AppRef> = rest.iter().map(|(one, _)| one.application).collect();
    names.dedup();
    names.retain(|name| !is_told(name));
    let room = MAX_LENGTH - "; and 100000 more".len();
    let mut room_for: Vec<&AppRef> = Vec::new();
    for name in names {
        let separator = if room_for.is_empty() { "; also " } else { ", " };
        let text = plain(&name.name, MAX_PART);
        if sentence.len() + separator.len() + text.len() > room {
            break;
        }
        sentence.push_str(separator);
        sentence.push_str(&text);
        room_for.push(name);
    }
    let left = rest
        .iter()
        .filter(|(one, _)| !room_for.contains(&one.application));
    let left = left.count();
    if left > 0 {
        // Writing to a `String` cannot fail.
        let _ = write!(sentence, "; and {left} more");
    }
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
        GapKind::Unsigned => "the last run is not signed",
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
