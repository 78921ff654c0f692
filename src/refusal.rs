//! What a caller is told when the policies say no.
//!
//! A refusal that tests could turn into a yes names the application, the commit, the suite and the
//! newest commit that would pass. Any other says who may not do what, and what it would take, and
//! nothing about tests: they would not help. Where the environment is held, who could go on otherwise
//! reads by what, until when and why, and who may pass. Who may break the glass reads how.

use jiff::Timestamp;

use crate::app::App;
use crate::argocd::operation::Operation;
use crate::gate::{self, Finding};
use crate::hold::Holds;
use crate::identity::Caller;
use crate::names::AppRef;
use crate::planner::{self, Plan, Planned};
use crate::policy::{Context, Decision, Denial, DenialCode, GlassWord, Question, Resource, decide};
use crate::respond::Rejection;

/// How many refused applications are named.
const NAMED: usize = 5;
/// How long a refusal may be that also tells how to break the glass: its line stays below 1,000 characters.
const ROOM: usize = 700;

/// The refusal of `plan`. An application that `caller` may not see is not told of.
#[must_use]
pub fn of(
    app: &App,
    (plan, holds): (&Plan, &Holds),
    caller: &Caller,
    denial: &Denial,
) -> Rejection {
    let refusal = if denial.code == DenialCode::Held {
        held(app.clock.now(), (plan, holds), denial)
    } else {
        let mut all = plan.applications.iter();
        let hidden = all.find(|planned| !may_see(app, caller, planned));
        worded(plan, caller, denial, hidden)
    };
    let way_out = emergency(app, (plan, holds), caller).unwrap_or_default();
    match refusal {
        Rejection::Evidence { sentence } if sentence.len() <= ROOM => Rejection::Evidence {
            sentence: sentence + &way_out,
        },
        Rejection::Held {
            sentence,
            retry_after,
        } if sentence.len() <= ROOM => Rejection::Held {
            sentence: sentence + &way_out,
            retry_after,
        },
        other => other,
    }
}

/// How a sync would go through in an emergency, for whom it would.
fn emergency(app: &App, (plan, holds): (&Plan, &Holds), caller: &Caller) -> Option<String> {
    let first = plan.applications.first()?;
    if plan.action != Operation::ApplicationSync.name() || plan.justification.is_some() {
        return None;
    }
    let mut questions = plan.questions(caller, "rest", app.clock.now(), holds);
    for (planned, question) in plan.applications.iter().zip(&mut questions) {
        let deploy = question.context.deploy.as_mut();
        if let Some(deploy) = deploy.filter(|_| planned.can_break()) {
            deploy.break_glass = GlassWord::Asked;
        }
    }
    let decision = decide(&app.policies.current(), &questions, ());
    matches!(decision, Decision::Allow(_)).then(|| {
        let name = &first.facts.app.name;
        format!("; in an emergency: argocd app sync {name} --info break-glass=WHY")
    })
}

/// The refusal of `plan`, for a caller who has its objects in hand.
#[must_use]
pub fn plainly(
    app: &App,
    (plan, holds): (&Plan, &Holds),
    caller: &Caller,
    denial: &Denial,
) -> Rejection {
    if denial.code == DenialCode::Held {
        return held(app.clock.now(), (plan, holds), denial);
    }
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

/// The refusal of what would be permitted if nothing held its environments: each environment once, with
/// the applications in it, then what to do. Who reads it may deploy all of them.
fn held(now: Timestamp, (plan, holds): (&Plan, &Holds), denial: &Denial) -> Rejection {
    let root = plan.applications.first().map(|planned| &planned.facts.app);
    let answers = || plan.applications.iter().zip(&denial.answers);
    let mut environments: Vec<(&str, Vec<&AppRef>)> = Vec::new();
    for (planned, _) in answers().filter(|(_, answer)| answer.held) {
        let (environment, app) = (planned.facts.environment.as_str(), &planned.facts.app);
        match environments
            .iter_mut()
            .find(|(name, _)| *name == environment)
        {
            Some((_, apps)) if apps.contains(&app) => {}
            Some((_, apps)) => apps.push(app),
            None => environments.push((environment, vec![app])),
        }
    }
    let one = |(environment, apps): &(&str, Vec<&AppRef>)| {
        let words = holds.of(environment).in_words(environment);
        if apps.iter().all(|app| Some(*app) == root) {
            words
        } else {
            format!("{}: {words}", named(apps))
        }
    };
    let (told, more) = environments.split_at(environments.len().min(NAMED));
    let mut parts: Vec<String> = told.iter().map(one).collect();
    if !more.is_empty() {
        parts.push(format!("and {} more environments", more.len()));
    }
    let advice = answers().filter(|(_, answer)| answer.held);
    for advice in advice.flat_map(|(_, answer)| &answer.advice) {
        if !parts.contains(advice) {
            parts.push(advice.clone());
        }
    }
    let blocked: Vec<&AppRef> = blocked(plan).iter().map(|one| one.application).collect();
    if !blocked.is_empty() {
        parts.push(format!("tests are missing, too: {}", named(&blocked)));
    }
    let ends = environments
        .iter()
        .map(|(environment, _)| holds.of(environment).until());
    let ends: Option<Vec<Timestamp>> = ends.collect();
    let ends = ends.and_then(|ends| ends.into_iter().max());
    let name = root.map_or("it", |root| &root.name);
    Rejection::Held {
        sentence: format!(
            "{} of {name} refused: {}",
            verb(plan.action),
            parts.join("; ")
        ),
        retry_after: ends.and_then(|end| u64::try_from(end.duration_since(now).as_secs()).ok()),
    }
}

/// The first few by name.
fn named(apps: &[&AppRef]) -> String {
    let (told, more) = apps.split_at(apps.len().min(NAMED));
    let told: Vec<&str> = told.iter().map(|app| app.name.as_str()).collect();
    match more.len() {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
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
        Some(("Rollout", method)) => method.to_owned(),
        Some(("ApplicationService", "UpdateSpec")) => "update".to_owned(),
        Some(("ApplicationService" | "Application", method)) => method.to_lowercase(),
        _ => action.to_owned(),
    }
}
