//! What a permitted sync rolls out, and which later operations belong to it.
//!
//! A parent's sync writes its children; automated sync takes those up by operations of their own, which are decided at
//! the admission door. Such an operation belongs to the rollout that planned it, known by application, commits and
//! sources. Plain children belong to it where whoever syncs them says so, by the remark [`INFO`].

use jiff::SignedDuration;

use super::{INFO, LOOK_BACK, Member, Pinned, Rollback, Rollout};
use crate::app::App;
use crate::argocd::request::{Body, Call};
use crate::gate::Finding;
use crate::identity::Caller;
use crate::names::{AppRef, Component, DecisionId, EnvironmentName};
use crate::planner::{Plan, Planned};
use crate::policy::Mode;
use crate::respond::Rejection;
use crate::store::{self, Store};

/// How long after a parent's sync the operation of a child may begin and still belong to it.
const FOLLOWS_WITHIN: SignedDuration = SignedDuration::from_hours(1);
/// How long further syncs may be said to belong to a rollout.
const JOINED_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// Keeps what the permitted `plan` rolls out: as a rollout of its own, or with the one to which it belongs.
///
/// # Errors
/// [`Rejection`] when it cannot be stored; nothing may be forwarded then.
pub async fn begun(
    app: &App,
    decision: DecisionId,
    caller: &Caller,
    plan: &Plan,
) -> Result<(), Rejection> {
    let members = members(decision, plan);
    let root = plan.applications.first().map(|planned| &planned.facts.app);
    let Some(root) = root.filter(|_| !members.is_empty()).cloned() else {
        return Ok(());
    };
    let stored = async {
        if let Some(rollout) = plan.rollout {
            return join(&app.store, rollout, members).await;
        }
        if let [only] = members.as_slice()
            && only.begun.is_some()
            && follows(app, only).await?
        {
            return Ok(());
        }
        let rollout = Rollout {
            decision,
            application: root,
            by: caller.display(),
            caller: caller.unique(),
            at: app.clock.now(),
            members,
            rollback: None,
        };
        app.store.add_rollout(rollout).await
    };
    stored.await.map_err(|error| match error {
        store::Error::Behind { .. } => Rejection::RecordBehind,
        error => {
            let error = crate::telemetry::chain(&error);
            tracing::error!(error, "a rollout cannot be stored");
            Rejection::Internal
        }
    })
}

/// What `plan` rolls out whole, held to its rules, and by tests: what only holds other applications has none.
fn members(decision: DecisionId, plan: &Plan) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for planned in &plan.applications {
        let is_new = |it: &Member| it.application != planned.facts.app;
        if members.iter().all(is_new)
            && let Some(member) = member(decision, planned)
        {
            members.push(member);
        }
    }
    members
}

fn member(decision: DecisionId, planned: &Planned) -> Option<Member> {
    let is_whole = match planned.sync {
        Some(it) => !(it.dry_run || it.partial || it.local || it.apply),
        // A child that automated sync takes up.
        None => !planned.wave.is_empty(),
    };
    let has_tests = matches!(&planned.finding, Some(finding) if *finding != Finding::Composite);
    let to = planned.plan.as_ref()?;
    (is_whole && has_tests && planned.mode == Mode::Enforce).then(|| Member {
        application: planned.facts.app.clone(),
        uid: planned.facts.uid.clone(),
        environment: to.environment.clone(),
        component: to.component.clone(),
        wave: planned.wave.clone(),
        automated: planned.facts.auto_sync,
        to: Some(Pinned::of(to)),
        begun: planned.sync.map(|_| decision),
    })
}

/// Whether `begun` belongs to a rollout that planned it; it is noted there then.
async fn follows(app: &App, begun: &Member) -> Result<bool, store::Error> {
    let since = app.clock.now() - FOLLOWS_WITHIN;
    let newest_first = app.store.rollouts_of(&begun.application, LOOK_BACK).await?;
    let planned = newest_first.into_iter().find(|rollout| {
        let expected = rollout.member(&begun.application);
        rollout.at >= since
            && rollout.rollback.is_none()
            && expected.is_some_and(|it| it.begun.is_none() && it.to == begun.to)
    });
    let Some(rollout) = planned else {
        return Ok(false);
    };
    join(&app.store, rollout.decision, vec![begun.clone()]).await?;
    Ok(true)
}

/// Notes in `rollout` what has begun, and what is expected.
async fn join(
    store: &Store,
    rollout: DecisionId,
    members: Vec<Member>,
) -> Result<(), store::Error> {
    let change = move |rollout: &mut Rollout| {
        for member in members {
            let mut known = rollout.members.iter_mut();
            match known.find(|it| it.application == member.application) {
                Some(known) => {
                    // What was listed beforehand keeps its place, and a begun one is not unmade.
                    let (wave, begun) = (std::mem::take(&mut known.wave), known.begun);
                    *known = member;
                    known.wave = wave;
                    known.begun = known.begun.or(begun);
                }
                None => rollout.members.push(member),
            }
        }
        Some(Vec::new())
    };
    store.change_rollout(rollout, change).await.map(drop)
}

/// The rollout to which `call` says that it belongs.
///
/// # Errors
/// [`Rejection::BadRequest`] when it is none of this caller's that still goes on and has this application.
pub async fn joined(
    app: &App,
    caller: &Caller,
    call: &Call,
) -> Result<Option<DecisionId>, Rejection> {
    let (Body::Sync(request), Some(target)) = (&call.body, &call.app) else {
        return Ok(None);
    };
    let Some(said) = request.info(INFO) else {
        return Ok(None);
    };
    let none = || Rejection::BadRequest {
        sentence: format!(
            "the info `{INFO}` names no rollout of yours that goes on and has {} in it",
            target.app
        ),
    };
    let decision = ulid::Ulid::from_string(said).map_err(|_| none())?;
    let found = app.store.rollout(DecisionId(decision)).await;
    let found = found.map_err(|error| {
        let error = crate::telemetry::chain(&error);
        tracing::error!(error, "a rollout cannot be read");
        Rejection::Internal
    })?;
    let named = app.named(&target.app);
    let goes_on = |rollout: &Rollout| {
        rollout.caller == caller.unique()
            && rollout.at >= app.clock.now() - JOINED_WITHIN
            && rollout.rollback.is_none()
            && (rollout.application == named || rollout.member(&named).is_some())
    };
    let rollout = found.filter(goes_on).ok_or_else(none)?;
    Ok(Some(rollout.decision))
}

/// Whether a rollback has taken `application` away from `what`, and nobody has rolled that out since.
///
/// # Errors
/// [`store::Error`].
pub async fn is_rolled_back(
    store: &Store,
    application: &AppRef,
    what: &Pinned,
) -> Result<bool, store::Error> {
    // Mostly there is none, and nothing more to read.
    if !store.has_held_rollout(application).await? {
        return Ok(false);
    }
    let newest_first = store.rollouts_of(application, LOOK_BACK).await?;
    let is_of = |rollout: &&Rollout| {
        let member = rollout.member(application);
        member.is_some_and(|member| member.to.as_ref() == Some(what))
    };
    let newest = newest_first.iter().find(is_of);
    let rollback = newest.and_then(|rollout| rollout.rollback.as_ref());
    Ok(rollback.is_some_and(Rollback::holds))
}

/// The rollout that `caller` opens by `plan`, of a parent that is about to be synced: with every application whose
/// manifest lies in it.
///
/// # Errors
/// [`Rejection::BadRequest`] when there is none.
pub fn opened(
    app: &App,
    decision: DecisionId,
    caller: &Caller,
    plan: &Plan,
) -> Result<Rollout, Rejection> {
    let mut members: Vec<Member> = Vec::new();
    for listed in &plan.listed {
        let facts = &listed.facts;
        let environment = EnvironmentName::parse(facts.environment.clone());
        let component = Component::parse(facts.component.clone())
            .or_else(|_| Component::parse(facts.app.name.clone()));
        let (Ok(environment), Ok(component)) = (environment, component) else {
            continue;
        };
        if members.iter().any(|it| it.application == facts.app) {
            continue;
        }
        members.push(Member {
            application: facts.app.clone(),
            uid: None,
            environment,
            component,
            wave: listed.wave.clone(),
            automated: facts.auto_sync,
            to: None,
            begun: None,
        });
    }
    let root = plan.applications.first().map(|planned| &planned.facts.app);
    match root {
        Some(root) if !members.is_empty() => Ok(Rollout {
            decision,
            application: root.clone(),
            by: caller.display(),
            caller: caller.unique(),
            at: app.clock.now(),
            members,
            rollback: None,
        }),
        _ => Err(Rejection::BadRequest {
            sentence: "no application lies in it: sync it by itself, argocd app sync".to_owned(),
        }),
    }
}
