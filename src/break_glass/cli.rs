//! What `syncgate break-glass` prints.
//!
//! In: answers of the gate, and the time. Out: text; what is open stands out, also in colour where that is wanted.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{BreakGlass, Scope};
use crate::record::cli::{printable, time};

const RED: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";

/// All of them, one below the other.
#[must_use]
pub fn render(glasses: &[BreakGlass], now: Timestamp, colour: bool) -> String {
    if glasses.is_empty() {
        return "no glass was broken, as far as you may see\n".to_owned();
    }
    glasses
        .iter()
        .map(|glass| one(glass, now, colour))
        .collect()
}

/// One of them: by whom, why, until when, and what is still owed.
#[must_use]
pub fn one(glass: &BreakGlass, now: Timestamp, colour: bool) -> String {
    let state = match glass.closed_at {
        Some(at) => format!("closed at {}", time(at)),
        None if now >= glass.due_at => format!("OPEN, tests overdue since {}", time(glass.due_at)),
        None => format!("OPEN, tests due by {}", time(glass.due_at)),
    };
    let is_red = colour && glass.closed_at.is_none();
    let (red, plain) = if is_red { (RED, PLAIN) } else { ("", "") };
    // Writing to a `String` cannot fail.
    let mut text = String::new();
    let _ = writeln!(text, "{red}{} {state}{plain}", glass.decision);
    let by = printable(&format!(
        "{} at {}: {}",
        glass.by,
        time(glass.at),
        glass.justification
    ));
    let _ = writeln!(text, "  by {by}");
    let verb = if now < glass.expires_at {
        "lets through until"
    } else {
        "let through until"
    };
    let _ = writeln!(text, "  {verb} {}:", time(glass.expires_at));
    for scope in &glass.scope {
        let _ = writeln!(text, "    {}", self::scope(scope));
    }
    text
}

fn scope(scope: &Scope) -> String {
    let plan = &scope.plan;
    let commits: Vec<&str> = plan
        .sources
        .iter()
        .map(|source| source.commit.short())
        .collect();
    let owed: Vec<String> = scope
        .requires
        .iter()
        .map(|one| format!("'{}' in {}", one.suite, one.environment))
        .collect();
    let paid = match &scope.paid {
        None => format!("owes a passing {}", owed.join(", ")),
        Some(runs) if runs.is_empty() => "owes nothing".to_owned(),
        Some(runs) => format!("passed since: run {}", runs.join(", ")),
    };
    printable(&format!(
        "{} in {} at {}: {paid}",
        scope.application,
        plan.environment,
        commits.join("+")
    ))
}
