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

/// How many refused applications are named.
const NAMED: usize = 5;

/// The refusal of `plan`. An application that `caller` may not see is not told of.
#[must_use]
pub fn of(app: &App, plan: &Plan, caller: &Caller, denial: &Denial) -> Rejection {
    let hidden = plan
        .applications
        .iter()
        .find(|planned| !may_see(app, caller, planned));
    worded(plan, caller, denial, hidden)
}

/// The refusal of `plan`, for a caller who has its objects in hand.
#[must_use]
pub fn plainly(plan: &Plan, caller: &Caller, denial: &Denial) -> Rejection {
    worded(plan, caller, denial, None)
}

fn worded(plan: &Plan, caller: &Caller, denial: &Denial, hidden: Option<&Planned>) -> Rejection {
    let verb = verb(plan.action);
    let root = plan.applications.first().map(|planned| &planned.facts.app);
    if let (true, Some(root)) = (denial.evidence, root) {
        return Rejection::Evidence {
            sentence: gate::sentence(&verb, root, &blocked(plan)),
        };
    }
    let advice = denial.advice();
    let advice = if advice.is_empty() {
        String::new()
    } else {
        format!(": {}", advice.join(", or "))
    };
    let what = match (hidden, plan.applications.as_slice()) {
        (Some(hidden), _) if Some(&hidden.facts.app) == root => {
            return planner::unseen(&hidden.facts.app);
        }
        (Some(_), [first, ..]) => {
            format!(
                " of {}, which reaches what you may not see,",
                first.facts.app.name
            )
        }
        (_, []) => String::new(),
        (None, [one]) => format!(" of {} in {}", one.facts.app.name, one.facts.environment),
        (None, [first, ..]) => {
            let name = &first.facts.app.name;
            format!(" of {name} (which comes to {})", denied(plan, denial))
        }
    };
    Rejection::Policy {
        sentence: format!("{verb}{what} refused for {}{advice}", caller.display()),
    }
}

/// What lacks its tests.
fn blocked(plan: &Plan) -> Vec<gate::Refused<'_>> {
    let all = plan.applications.iter();
    all.filter_map(|planned| match &planned.finding {
        Some(Finding::Blocked { gaps }) => Some(gate::Refused {
            application: &planned.facts.app,
            plan: planned.plan.as_ref(),
            gaps,
        }),
        _ => None,
    })
    .collect()
}

/// What of a plan with several applications is denied, the first few by name.
fn denied(plan: &Plan, denial: &Denial) -> String {
    let all = plan.applications.iter().zip(&denial.answers);
    let mut denied: Vec<String> = all
        .filter(|(_, answer)| !answer.allowed)
        .map(|(planned, _)| {
            let (verb, facts) = (verb(planned.action), &planned.facts);
            format!("{verb} of {} in {}", facts.app.name, facts.environment)
        })
        .collect();
    denied.dedup();
    let (told, more) = denied.split_at(denied.len().min(NAMED));
    match more.len() {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
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
        Some(("ApplicationService", "PatchResource")) => "patch of a resource".to_owned(),
        Some(("ApplicationService", "DeleteResource")) => "deletion of a resource".to_owned(),
        Some(("ApplicationService", "RunResourceAction" | "RunResourceActionV2")) => {
            "action on a resource".to_owned()
        }
        Some(("ApplicationService", "TerminateOperation")) => "termination".to_owned(),
        Some(("ApplicationService", "UpdateSpec")) => "update".to_owned(),
        Some(("ApplicationService" | "Application", method)) => method.to_lowercase(),
        _ => action.to_owned(),
    }
}
