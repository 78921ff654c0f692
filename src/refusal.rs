//! What a caller is told when the policies say no.
//!
//! A refusal that tests could turn into a yes names the application, the commit, the suite and the
//! newest commit that would pass. Any other says who may not do what, and what it would take, and
//! nothing about tests: they would not help.

use crate::app::App;
use crate::argocd::operation::Operation;
use crate::gate::{self, Finding};
use crate::identity::Caller;
use crate::planner::{self, Plan, Planned};
use crate::policy::{Context, Denial, Question, Resource};
use crate::respond::Rejection;

/// The refusal of `plan`.
#[must_use]
pub fn of(app: &App, plan: &Plan, caller: &Caller, denial: &Denial) -> Rejection {
    let verb = verb(plan.action);
    if denial.evidence {
        let refused = plan
            .applications
            .iter()
            .filter_map(|planned| match &planned.finding {
                Some(Finding::Blocked { gaps }) => Some((planned, gaps)),
                _ => None,
            });
        let sentences: Vec<String> = refused
            .map(|(planned, gaps)| match &planned.plan {
                Some(plan) => gate::sentence(&verb, plan, gaps),
                None => gate::unplanned_sentence(&verb, &planned.facts.app, gaps),
            })
            .collect();
        return Rejection::Evidence {
            sentence: sentences.join("; "),
        };
    }
    if let Some(hidden) = plan
        .applications
        .iter()
        .find(|planned| !may_see(app, caller, planned))
    {
        return planner::unseen(&hidden.facts.app);
    }
    let what = match plan.applications.as_slice() {
        [] => String::new(),
        [one] => format!(" of {} in {}", one.facts.app.name, one.facts.environment),
        many => format!(" of {} applications", many.len()),
    };
    let advice = denial.advice();
    let advice = if advice.is_empty() {
        String::new()
    } else {
        format!(": {}", advice.join(", or "))
    };
    Rejection::Policy {
        sentence: format!("{verb}{what} refused for {}{advice}", caller.display()),
    }
}

/// Whether `caller` may know that the application exists.
fn may_see(app: &App, caller: &Caller, planned: &Planned) -> bool {
    let context = Context::plain(app.clock.now(), "rest");
    let action = Operation::ApplicationGet.name();
    let resource = Resource::Application(&planned.facts);
    app.policies
        .current()
        .answer(&Question {
            caller,
            action,
            resource,
            context,
        })
        .allowed
}

/// `ApplicationService.Sync` as people say it.
fn verb(action: &str) -> String {
    match action.split_once('.') {
        Some(("ApplicationService" | "Application", method)) => method.to_lowercase(),
        _ => action.to_owned(),
    }
}
