//! How a break-glass is closed: by the tests that were missing.
//!
//! In: what is open. Out: for each application the runs that meet what its environment required when the glass was
//! broken, and the end in the log once nothing is missing. What is overdue is told, once a day.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::BreakGlass;
use crate::app::App;
use crate::evidence::service::evidence_for;
use crate::gate::{self, Finding};
use crate::names::DecisionId;
use crate::notify;
use crate::record::{self, Opening};
use crate::store;

/// What the record calls the end of a break-glass.
const CLOSED: &str = "BreakGlass.close";

/// Why it could not be told what is owed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The end cannot be put on record.
    #[error("the log cannot be used")]
    Record(#[from] record::Error),
    /// What is open cannot be read, or kept.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Looks for the tests that are owed, closes what has them all, and tells of what is overdue.
///
/// # Errors
/// [`Error`]; what was not done is done the next time.
pub async fn settle(app: &App) -> Result<(), Error> {
    let open = app.store.open_break_glasses().await?;
    metrics::gauge!("syncgate_break_glass_open").set(u32::try_from(open.len()).unwrap_or(u32::MAX));
    for glass in open {
        settle_one(app, glass).await?;
    }
    Ok(())
}

async fn settle_one(app: &App, mut glass: BreakGlass) -> Result<(), Error> {
    let now = app.clock.now();
    let mut changed = false;
    for scope in glass.scope.iter_mut().filter(|scope| scope.paid.is_none()) {
        let evidence = evidence_for(&app.store, &scope.plan, &scope.requires).await?;
        let found = gate::find(&scope.plan, &scope.requires, &evidence, false, now);
        scope.paid = match found {
            Finding::Satisfied { runs } => Some(runs),
            Finding::Exempt => Some(Vec::new()),
            Finding::Blocked { .. } | Finding::Composite | Finding::Incumbent => None,
        };
        changed |= scope.paid.is_some();
    }
    if glass.owing().next().is_none() {
        put_on_record(app, &glass).await?;
        glass.closed_at = Some(now);
        tracing::info!(decision = %glass.decision, "break-glass closed");
    }
    let mut notices = Vec::new();
    if glass.closed_at.is_none() && now >= reminder(&glass) {
        glass.reminders += 1;
        notices = notify::tell::break_glass_overdue(app, &glass, glass.reminders);
        changed = true;
    }
    if changed || glass.closed_at.is_some() {
        app.store.update_break_glass(glass, notices).await?;
        app.notices.notify_one();
    }
    Ok(())
}

/// When to tell that the tests are overdue: at once, and once a day.
fn reminder(glass: &BreakGlass) -> Timestamp {
    glass.due_at + SignedDuration::from_hours(24 * i64::from(glass.reminders))
}

/// The same entry however often a crash lets it be written.
async fn put_on_record(app: &App, glass: &BreakGlass) -> Result<(), record::Error> {
    let decision = DecisionId::of_seen(glass.at, &format!("{CLOSED} {}", glass.decision));
    let mut entry = Opening::of_gate(decision, app.clock.now(), CLOSED);
    let scope = glass.scope.iter();
    entry.applications = scope.map(|scope| scope.application.clone()).collect();
    let runs: Vec<&String> = glass
        .scope
        .iter()
        .filter_map(|s| s.paid.as_ref())
        .flatten()
        .collect();
    entry.request =
        json!({ "break_glass": glass.justification, "opened_by": glass.decision, "runs": runs });
    app.recorder.note(entry).await.map(drop)
}
