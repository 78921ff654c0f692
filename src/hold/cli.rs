//! What `syncgate line` and `syncgate serve --check` print about lines and freezes.

use std::fmt::Write as _;

use super::interface::{Coming, Line};
use crate::freeze::shown;
use crate::record::cli::printable;

/// Lines, one below the other.
#[must_use]
pub fn render(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "no environment whose line you may see\n".to_owned();
    }
    lines.iter().map(line).collect()
}

/// The line of one environment, and below it its freezes.
#[must_use]
pub fn line(line: &Line) -> String {
    let state = match &line.stopped {
        None => "running".to_owned(),
        Some(stop) => format!(
            "stopped since {} by {}: {}",
            stop.at.strftime("%Y-%m-%d %H:%M:%SZ"),
            stop.by,
            stop.reason
        ),
    };
    // Writing to a `String` cannot fail.
    let mut text = String::new();
    let _ = writeln!(text, "{}: {}", line.environment, printable(&state));
    for coming in &line.freezes {
        let _ = writeln!(text, "  {}", freeze(coming));
    }
    text
}

/// When a freeze is in force.
#[must_use]
pub fn freeze(coming: &Coming) -> String {
    let (from, until) = (shown(&coming.from), shown(&coming.until));
    let when = if coming.in_force {
        format!("frozen until {until}")
    } else {
        format!("will be frozen from {from} until {until}")
    };
    printable(&format!("{when} by '{}': {}", coming.name, coming.reason))
}
