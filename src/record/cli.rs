//! `syncgate log list` and `log show`, for people: a table and a story.
//!
//! In: records, from the store of this machine or from the API of a gate. Out: text. Names, details
//! and findings were written by others, so no control character of theirs reaches the terminal.
//! `--output json` is the serde form of [`LogList`](super::LogList) and [`LogEntry`].

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use super::entry::{CallerFacts, Opening, Outcome, Planned, Reached, UpstreamStatus};
use super::view::{End, LogEntry};
use crate::gate::{Finding, Gap};
use crate::names::{Commit, Role};

const COLUMNS: [&str; 7] = [
    "TIME",
    "DECISION",
    "CALLER",
    "OPERATION",
    "APPLICATION",
    "DECIDED",
    "OUTCOME",
];

/// The records as a table with one line each, in the order given; a sentence where there are none.
#[must_use]
pub fn render_list(entries: &[LogEntry]) -> String {
    if entries.is_empty() {
        return "no records\n".into();
    }
    let mut rows = vec![COLUMNS.map(String::from)];
    rows.extend(entries.iter().map(cells));
    let mut widths = [0; COLUMNS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a `String` cannot fail, here and below.
            let _ = write!(line, "{cell:width$}  ");
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

fn cells(entry: &LogEntry) -> [String; COLUMNS.len()] {
    let opening = &entry.opening;
    let outcome = entry
        .closing
        .as_ref()
        .map(|closing| outcome(&closing.outcome));
    [
        time(opening.at),
        entry.decision.to_string(),
        opening
            .caller
            .as_ref()
            .map_or_else(nobody, |caller| printable(&caller.display)),
        printable(&opening.operation),
        applications(opening),
        word(opening),
        outcome.unwrap_or_else(|| "still open".into()),
    ]
}

/// How one operation ended, with each of its hooks.
fn ended(end: &End) -> String {
    let text = |value: &Value, key: &str| {
        let text = value.get(key).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(printable)
    };
    let with = |words: String, message: Option<String>| match message {
        Some(message) => format!("{words}: {message}"),
        None => words,
    };
    let state = text(&end.facts, "state").unwrap_or_else(|| "unknown".into());
    let application = printable(&end.application.to_string());
    let mut story = with(
        format!("{application} {state}"),
        text(&end.facts, "message"),
    );
    for hook in end
        .facts
        .get("hooks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let of = |key| text(hook, key).unwrap_or_default();
        let words = format!("; {} {} {}", of("kind"), of("job"), of("phase"));
        story.push_str(&with(words, text(hook, "message")));
    }
    story
}

/// Why a call was to be let through in an emergency.
fn emergency(opening: &Opening) -> Option<&str> {
    opening.request.get("break_glass")?.as_str()
}

/// What was decided; an exception must not look like any other permission.
fn word(opening: &Opening) -> String {
    let word = opening.word.word();
    if emergency(opening).is_some() {
        format!("{word} BREAK-GLASS")
    } else {
        word.to_owned()
    }
}

/// One record as a story: who wanted what, what would have been rolled out, what was found and
/// decided, and what became of it.
#[must_use]
pub fn render_entry(entry: &LogEntry) -> String {
    let opening = &entry.opening;
    let mut story = Story::default();
    story.line("decision", &entry.decision.to_string());
    story.line("time", &time(opening.at));
    story.line("caller", &caller(opening));
    story.line(
        "operation",
        &format!(
            "{} ({}, {})",
            printable(&opening.operation),
            printable(&opening.effect),
            printable(&opening.wire)
        ),
    );
    story.line("application", &applications(opening));
    if let Some(why) = emergency(opening) {
        story.line("BREAK-GLASS", &printable(why));
    }
    for planned in &opening.planned {
        story.plan(planned);
    }
    story.line("decided", &decided(opening));
    if let Some(digest) = &opening.policy_digest {
        story.line("policies", &printable(digest));
    }
    match &entry.closing {
        None => story.line("outcome", "still open"),
        Some(closing) => {
            let lasted = closing.at.as_millisecond() - opening.at.as_millisecond();
            story.line(
                "outcome",
                &format!("{}, after {lasted} ms", outcome(&closing.outcome)),
            );
            if let Some(detail) = &closing.detail {
                story.line("detail", &printable(detail));
            }
        }
    }
    for end in &entry.ends {
        story.line("ended", &ended(end));
    }
    if let Some(snapshot) = &entry.snapshot {
        story.line("snapshot", &printable(snapshot));
    }
    story.0
}

#[derive(Default)]
struct Story(String);

impl Story {
    fn line(&mut self, what: &str, text: &str) {
        let _ = writeln!(self.0, "{what:<12} {text}");
    }

    fn plan(&mut self, planned: &Planned) {
        let application = printable(&planned.application.to_string());
        let text = match &planned.plan {
            None => format!("{application}: not known"),
            Some(plan) => {
                let sources: Vec<String> = plan
                    .sources
                    .iter()
                    .map(|source| {
                        let asked = printable(&source.asked);
                        format!(
                            "{} at {} ({asked})",
                            printable(&source.repository),
                            source.commit
                        )
                    })
                    .collect();
                let (component, environment) = (&plan.component, &plan.environment);
                format!(
                    "{application}: {component} in {environment}, {}",
                    sources.join(", ")
                )
            }
        };
        self.line("plan", &text);
        if !planned.held.is_none() {
            let environment = planned.plan.as_ref().map(|plan| plan.environment.as_str());
            let held = planned
                .held
                .in_words(environment.unwrap_or("its environment"));
            self.line("held", &printable(&held));
        }
        let Some(finding) = &planned.finding else {
            return;
        };
        match finding {
            Finding::Blocked { gaps } => {
                for gap in gaps {
                    self.line("blocked", &self::gap(gap));
                }
            }
            Finding::Satisfied { runs } => {
                self.line("satisfied", &format!("by {}", printable(&runs.join(", "))));
            }
            Finding::Composite => self.line("composite", "it holds nothing but other applications"),
            Finding::Exempt => self.line("exempt", "the environment requires nothing"),
            Finding::Incumbent => self.line("incumbent", "it was permitted and ran here before"),
        }
    }
}

fn gap(gap: &Gap) -> String {
    let kind = serde_json::to_value(gap.kind).unwrap_or_default();
    let mut text = kind.as_str().unwrap_or_default().to_owned();
    if let Some(suite) = &gap.suite {
        let _ = write!(text, " '{suite}'");
    }
    if let Some(environment) = &gap.environment {
        let _ = write!(text, " in {environment}");
    }
    if let Some(last) = &gap.last {
        let _ = write!(text, ", last: {}", printable(last));
    }
    if let Some(commits) = &gap.would_pass {
        let commits: Vec<&str> = commits.iter().map(Commit::short).collect();
        let _ = write!(text, ", newest that would pass: {}", commits.join(", "));
    }
    if !gap.detail.is_empty() {
        let _ = write!(text, " ({})", printable(&gap.detail));
    }
    text
}

fn caller(opening: &Opening) -> String {
    let mut text = opening.caller.as_ref().map_or_else(nobody, |caller| {
        let CallerFacts {
            unique,
            display,
            roles,
            session,
        } = caller;
        let roles: Vec<&str> = roles.iter().map(Role::as_str).collect();
        let roles = if roles.is_empty() {
            "no roles".into()
        } else {
            roles.join(", ")
        };
        let session = session.map(|id| format!(", by session {id}"));
        let session = session.unwrap_or_default();
        format!(
            "{} ({}), {roles}{session}",
            printable(display),
            printable(unique)
        )
    });
    if let Some(remote) = opening.remote {
        let _ = write!(text, ", from {remote}");
    }
    text
}

fn nobody() -> String {
    "nobody verified".into()
}

fn applications(opening: &Opening) -> String {
    let names: Vec<String> = opening
        .applications
        .iter()
        .map(ToString::to_string)
        .collect();
    if names.is_empty() {
        "-".into()
    } else {
        printable(&names.join(","))
    }
}

fn decided(opening: &Opening) -> String {
    let by = printable(&opening.determining.join(", "));
    if by.is_empty() {
        opening.word.word().into()
    } else {
        format!("{}, by {by}", opening.word.word())
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Abandoned => "abandoned".into(),
        Outcome::Answered => "answered".into(),
        Outcome::Failed { stage } => format!("failed at {}", printable(stage)),
        Outcome::Forwarded { status, .. } => match status {
            UpstreamStatus::Grpc(code) => format!("forwarded, grpc status {code}"),
            UpstreamStatus::Http(code) => format!("forwarded, http status {code}"),
        },
        Outcome::Interrupted { reached, evidence } => {
            let reached = match reached {
                Reached::No => "did not reach the upstream",
                Reached::Unknown => "unknown whether it reached the upstream",
                Reached::Yes => "reached the upstream",
            };
            format!("interrupted, {reached}: {}", printable(evidence))
        }
        Outcome::Refused { code } => format!("refused, {}", printable(code)),
    }
}

/// To the second, in UTC; sorts as text.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `text` with every character that could steer a terminal or turn the reading order written out.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let steers = c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if steers {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}
