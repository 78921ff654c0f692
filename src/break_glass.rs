//! Break-glass: in an emergency, somebody rolls out what has not been tested, says why, and owes the tests.
//!
//! In: a sync that comes with a justification (`argocd app sync NAME --info break-glass=WHY`). Out: a
//! [`BreakGlass`], stored and told before the sync is forwarded. Whether it may be is for the policies
//! (`context.break_glass`); it lifts what they let it lift, for exactly the applications, environments, commits
//! and source parameters of the plan of that sync, until it expires. It stays open until every test that was
//! missing has passed for what it let through: there is no other way to close it. Never: a plan that could not
//! be pinned, or manifests from the caller's machine, of which nobody could say later what was let through.

pub mod cli;
pub mod interface;
mod pay;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::gate::{ApplicationPlan, Finding, Requirement};
use crate::identity::Caller;
use crate::names::{AppRef, DecisionId};
use crate::notify;
use crate::planner::{self, Plan};
use crate::policy::GlassWord;
use crate::record::sieve;
use crate::respond::Rejection;
use crate::store;

pub use pay::settle;

/// The remark on a sync that holds the justification.
pub const INFO: &str = "break-glass";
/// What the record calls breaking the glass for a sync that comes later; that starts nothing itself.
pub const OPEN: &str = "BreakGlass.open";
/// The longest justification, in characters.
const MAX_JUSTIFICATION: usize = 500;

/// How long an exception is good for, and how soon its tests are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// For how long what was let through may be rolled out.
    pub expires: SignedDuration,
    /// After how long missing tests are told of as overdue, and each day from then on.
    pub due: SignedDuration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            expires: SignedDuration::from_hours(1),
            due: SignedDuration::from_hours(24),
        }
    }
}

/// One exception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlass {
    /// The decision that opened it, by which it is known.
    pub decision: DecisionId,
    /// Who did, as people know them: `Caller::display`.
    pub by: String,
    /// The same, by issuer and subject: `Caller::unique`.
    pub caller: String,
    /// When.
    pub at: Timestamp,
    /// Until when it lets anything through.
    pub expires_at: Timestamp,
    /// When its tests are overdue.
    pub due_at: Timestamp,
    /// Why, in their words.
    pub justification: String,
    /// What it lets through.
    pub scope: Vec<Scope>,
    /// How often its tests were told of as overdue.
    pub reminders: u32,
    /// When the last missing test had passed; absent while it is open.
    pub closed_at: Option<Timestamp>,
}

/// What a break-glass lets through of one application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The application, as policies and people name it.
    pub application: AppRef,
    /// What may be rolled out.
    pub plan: ApplicationPlan,
    /// The tests that its environment required when the glass was broken.
    pub requires: Vec<Requirement>,
    /// The runs that have met these since; absent while some are missing, empty where nothing was required.
    pub paid: Option<Vec<String>>,
}

impl BreakGlass {
    /// Whether it lets `plan` through at `now`: nothing of it may differ.
    #[must_use]
    pub fn covers(&self, plan: &ApplicationPlan, now: Timestamp) -> bool {
        now < self.expires_at && self.scope.iter().any(|scope| scope.is(plan))
    }

    /// The applications whose tests are missing.
    pub fn owing(&self) -> impl Iterator<Item = &Scope> {
        self.scope.iter().filter(|scope| scope.paid.is_none())
    }
}

impl Scope {
    fn is(&self, plan: &ApplicationPlan) -> bool {
        let ours = &self.plan;
        (&ours.application, &ours.uid, &ours.environment)
            == (&plan.application, &plan.uid, &plan.environment)
            && ours.source_digest == plan.source_digest
            && ours.commits() == plan.commits()
    }
}

/// A justification as it is kept: one line, and no secret in it.
///
/// # Errors
/// A sentence about what it must be.
pub fn justification(text: &str) -> Result<String, String> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || length > MAX_JUSTIFICATION || text.chars().any(char::is_control) {
        return Err(format!(
            "must say why in one line of 1 to {MAX_JUSTIFICATION} characters"
        ));
    }
    Ok(sieve::text(text))
}

/// Keeps and tells what the permitted `plan` lets through, if it came with a justification.
///
/// # Errors
/// [`Rejection`] when it cannot be stored; nothing may be forwarded then.
pub async fn open(
    app: &App,
    decision: DecisionId,
    caller: &Caller,
    plan: &Plan,
) -> Result<Option<BreakGlass>, Rejection> {
    let Some(justification) = &plan.justification else {
        return Ok(None);
    };
    let broken = plan.applications.iter().filter(|one| one.breaks(plan));
    let scope: Vec<Scope> = broken.filter_map(|planned| scope(app, planned)).collect();
    if scope.is_empty() {
        return Ok(None);
    }
    let (at, terms) = (app.clock.now(), app.config.break_glass);
    let glass = BreakGlass {
        decision,
        by: caller.display(),
        caller: caller.unique(),
        at,
        expires_at: at + terms.expires,
        due_at: at + terms.due,
        justification: justification.clone(),
        scope,
        reminders: 0,
        closed_at: None,
    };
    let notices = notify::tell::break_glass_opened(app, &glass);
    let stored = app.store.add_break_glass(glass.clone(), notices).await;
    stored.map_err(|error| match error {
        store::Error::Behind { .. } => Rejection::RecordBehind,
        error => {
            let error = crate::telemetry::chain(&error);
            tracing::error!(error, "a break-glass cannot be stored");
            Rejection::Internal
        }
    })?;
    tracing::warn!(
        decision = %glass.decision, by = glass.by, justification = glass.justification,
        expires_at = %glass.expires_at, applications = glass.scope.len(), "glass broken"
    );
    app.notices.notify_one();
    for scope in &glass.scope {
        crate::admission::let_through(app, &scope.application);
    }
    Ok(Some(glass))
}

fn scope(app: &App, planned: &planner::Planned) -> Option<Scope> {
    let plan = planned.plan.clone()?;
    let environment = planner::environment(app, &planned.facts)?;
    let runs = match &planned.finding {
        Some(Finding::Satisfied { runs }) => Some(runs.clone()),
        Some(Finding::Blocked { .. }) => None,
        Some(Finding::Composite | Finding::Exempt | Finding::Incumbent) | None => Some(Vec::new()),
    };
    Some(Scope {
        application: planned.facts.app.clone(),
        plan,
        requires: environment.requires.clone(),
        paid: runs,
    })
}

/// What policies see in `context.break_glass` of something that `plan` rolls out, where these are in force.
#[must_use]
pub fn word(in_force: &[BreakGlass], plan: Option<&ApplicationPlan>, now: Timestamp) -> GlassWord {
    let covered = plan.is_some_and(|plan| in_force.iter().any(|glass| glass.covers(plan, now)));
    if covered {
        GlassWord::Open
    } else {
        GlassWord::None
    }
}

#[cfg(test)]
mod tests;
