//! From a failure, or a person's wish, to a rollback.
//!
//! In: an operation whose hooks have failed, a run that has failed, a person who starts, resumes or ends a rollback.
//! Out: the rollback in the store, with everything that it will do, and the messages about it. The same failure begins
//! it once, however often it is told. It is only proposed where the policies do not let the gate go ahead, or where
//! Argo CD could undo it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::controller::{self, Asking};
use super::target::{self, Found};
use super::{Because, LOOK_BACK, ROLLBACK, Rollback, Rollout, State, Step, StepState};
use crate::app::App;
use crate::argocd::operation::Effect;
use crate::draft::Draft;
use crate::evidence::view::RollbackLink;
use crate::identity::Caller;
use crate::json;
use crate::names::{AppRef, DecisionId};
use crate::planner::Plan;
use crate::record;
use crate::respond::Rejection;
use crate::store::{self, DeploymentRow, DeploymentState, RunId, StoredRun};

/// What the record calls the beginning of a rollback, or that one is proposed.
const BEGIN: &str = "Rollback.begin";
/// Characters of what Argo CD says of a hook, at most.
const MAX_MESSAGE: usize = 160;

/// Why a rollback was not begun.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The beginning cannot be put on record.
    #[error("the log cannot be used")]
    Record(#[from] record::Error),
    /// What was rolled out cannot be read, or kept.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        let error = crate::telemetry::chain(&error);
        tracing::error!(error, "a rollback cannot be begun");
        Self::Internal
    }
}

/// Begins what the end of `row`'s operation calls for, by the `state` of the operation: where hooks have failed that see
/// the new state, or a run has that it comes with.
///
/// # Errors
/// [`Error`]; to be told again then.
pub async fn deploy_ended(app: &App, row: &DeploymentRow, state: &Value) -> Result<(), Error> {
    let hook = match row.state {
        DeploymentState::Succeeded => None,
        // Somebody ended it, who sees what it left.
        DeploymentState::Failed
            if json::text(state, "/message").starts_with("Operation terminated") =>
        {
            return Ok(());
        }
        DeploymentState::Failed => {
            let hook = failed_hook(json::at(state, "/syncResult/resources"));
            let Some(hook) = hook else { return Ok(()) };
            Some(hook)
        }
        DeploymentState::Lost | DeploymentState::Permitted | DeploymentState::Running => {
            return Ok(());
        }
    };
    let application = app.named(&row.application);
    let Some(rollout) = running(app, &application).await? else {
        return Ok(());
    };
    let member = rollout.member(&application);
    if member.is_none_or(|member| member.begun != Some(row.decision)) {
        return Ok(());
    }
    let run = target::failed(app, row).await?;
    let because = match (run, hook) {
        (Some(run), _) => of_run(application, &run),
        (None, Some(text)) => Because {
            application,
            run: None,
            operation: Some(row.decision),
            suite: None,
            text,
        },
        (None, None) => return Ok(()),
    };
    by_itself(app, rollout, because).await
}

fn of_run(application: AppRef, stored: &StoredRun) -> Because {
    let run = &stored.run;
    let count = stored.finish.as_ref().map_or(0, |end| end.tests.failed);
    let tests = if count == 1 { "test" } else { "tests" };
    Because {
        application,
        run: Some(run.id),
        operation: None,
        suite: Some(run.suite.clone()),
        text: format!("its '{}' run failed ({count} {tests})", run.suite),
    }
}

/// What is said of the first hook that has failed after the new state was applied.
fn failed_hook(resources: &Value) -> Option<String> {
    let resources = resources.as_array().into_iter().flatten();
    let mut failed = resources.filter(|resource| {
        let text = |pointer| json::text(resource, pointer);
        ["PostSync", "Sync"].contains(&text("/hookType"))
            && ["Error", "Failed"].contains(&text("/hookPhase"))
    });
    failed.next().map(|hook| {
        let text = |pointer| json::text(hook, pointer);
        let message: String = text("/message").chars().take(MAX_MESSAGE).collect();
        let (kind, name) = (text("/kind"), text("/name"));
        format!(
            "its {} hook {kind} {name} failed: {message}",
            text("/hookType")
        )
    })
}

/// Begins what `stored`, which has ended, calls for: a failure of what its application runs now. While the operation goes
/// on, its Job may try again: its end is waited for, and tells.
///
/// # Errors
/// [`Error`]; to be told again then.
pub async fn run_failed(app: &App, stored: &StoredRun) -> Result<(), Error> {
    let run = &stored.run;
    if !target::is_failure(stored) {
        return Ok(());
    }
    let application = app.named(&run.application);
    let Some(rollout) = running(app, &application).await? else {
        return Ok(());
    };
    let Some(member) = rollout.member(&application) else {
        return Ok(());
    };
    let is_of = member.to.as_ref().is_some_and(|to| {
        to.commits == run.commits && Some(&to.source_digest) == run.source_digest.as_ref()
    });
    let (Some(begun), Some(uid), true) = (member.begun, &member.uid, is_of) else {
        return Ok(());
    };
    let row = app.store.deployment(begun, uid).await?;
    if row.is_none_or(|row| row.state != DeploymentState::Succeeded) {
        return Ok(());
    }
    let because = of_run(application, stored);
    by_itself(app, rollout, because).await
}

/// The newest rollout in which `application` has begun: what it runs.
async fn running(app: &App, application: &AppRef) -> Result<Option<Rollout>, store::Error> {
    let newest_first = app.store.rollouts_of(application, LOOK_BACK).await?;
    let mut begun = newest_first.into_iter().filter(|rollout| {
        let member = rollout.member(application);
        member.is_some_and(|member| member.begun.is_some())
    });
    Ok(begun.next())
}

async fn by_itself(app: &App, rollout: Rollout, because: Because) -> Result<(), Error> {
    if rollout.rollback.is_some() {
        return Ok(());
    }
    let found = target::find(app, &rollout, &because.application).await?;
    let now = app.clock.now();
    let mut rollback = planned(&rollout, because, &found, now);
    if found.targets.is_none() {
        rollback.state = State::Stuck;
        "nothing that it ran before has passed its tests".clone_into(&mut rollback.why);
        rollback.ended_at = Some(now);
    } else if let Some(why) = only_proposed(app, &rollback).await {
        rollback.state = State::Proposed;
        rollback.why = why;
    }
    keep(app, &rollout, rollback).await
}

/// The rollback of `rollout` to what was `found`.
fn planned(rollout: &Rollout, because: Because, found: &Found, now: Timestamp) -> Rollback {
    let mut steps: Vec<Step> = Vec::new();
    for member in &rollout.members {
        let targets = found.targets.as_ref();
        let target = targets
            .and_then(|all| all.get(&member.application))
            .cloned();
        let note = match () {
            () if member.begun.is_none() => "it was not rolled out",
            () if found.new.contains(&member.application) => {
                "this rollout made it: there is nothing to go back to"
            }
            () => "",
        };
        steps.push(Step {
            application: member.application.clone(),
            wave: member.wave.clone(),
            state: if target.is_some() {
                StepState::Waiting
            } else {
                StepState::Left
            },
            target,
            tries: 0,
            began: None,
            decision: None,
            since: now,
            note: note.to_owned(),
        });
    }
    steps.sort_by(|a, b| (&b.wave, &a.application).cmp(&(&a.wave, &b.application)));
    Rollback {
        because,
        by: None,
        at: now,
        state: State::Running,
        why: String::new(),
        steps,
        ended_at: None,
    }
}

/// Why the gate does not go ahead with `rollback` by itself, if it does not.
async fn only_proposed(app: &App, rollback: &Rollback) -> Option<String> {
    let gate = Caller::gate(&app.config.url, app.clock.now());
    let mut unrecorded = Draft::of_controller(app, ROLLBACK, Effect::Deploy);
    match may(app, &mut unrecorded, rollback, &gate).await {
        Err(
            no @ (Rejection::Conflict { .. }
            | Rejection::Evidence { .. }
            | Rejection::Held { .. }
            | Rejection::Policy { .. }),
        ) => Some(no.sentence()),
        // What cannot be asked now is asked again at each step.
        Ok(()) | Err(_) => None,
    }
}

/// Whether `caller` may do all of `rollback`, and it could not be undone. What is asked, and answered, goes into `draft`.
async fn may(
    app: &App,
    draft: &mut Draft,
    rollback: &Rollback,
    caller: &Caller,
) -> Result<(), Rejection> {
    if app.kubernetes.is_none() {
        let sentence = "the gate has no access to the Kubernetes API: configure [rollback]";
        return Err(conflict(sentence));
    }
    let mut all: Option<Plan> = None;
    for step in &rollback.steps {
        let Some(target) = &step.target else { continue };
        let asking = Asking {
            step,
            caller,
            because: &rollback.because.text,
        };
        let plan = asking.looked_at(app, draft.decision(), target).await?;
        if plan.applications.iter().any(|it| it.facts.auto_sync) && !app.has_admission_door() {
            return Err(conflict(&format!(
                "automated sync of {} would undo it: it takes the admission door, or automated sync off",
                step.application
            )));
        }
        match &mut all {
            Some(all) => all.applications.extend(plan.applications),
            None => all = Some(plan),
        }
    }
    let Some(plan) = all else { return Ok(()) };
    controller::decided(app, draft, caller, &plan, ())
        .await
        .map(drop)
}

fn conflict(sentence: &str) -> Rejection {
    Rejection::Conflict {
        sentence: sentence.to_owned(),
        next: None,
    }
}

/// Keeps `rollback`, unless `rollout` has begun another meanwhile, on record and with the messages about it.
async fn keep(app: &App, rollout: &Rollout, rollback: Rollback) -> Result<(), Error> {
    let is_free = |stored: &Rollout| {
        let rollback = stored.rollback.as_ref();
        rollback.is_none_or(|rollback| rollback.state == State::Proposed)
    };
    put_on_record(app, rollout, &rollback).await?;
    Ok(controller::replace(app, rollout, rollback, is_free).await?)
}

/// The same entry however often a crash lets it be written.
async fn put_on_record(
    app: &App,
    rollout: &Rollout,
    rollback: &Rollback,
) -> Result<(), record::Error> {
    let Because {
        run,
        operation,
        text,
        ..
    } = &rollback.because;
    let named = format!(
        "{BEGIN} {} {run:?} {operation:?} {:?}",
        rollout.decision, rollback.by
    );
    let decision = DecisionId::of_seen(rollout.at, &named);
    let targets = rollback.steps.iter().map(|step| {
        let target = step.target.as_ref();
        let member = rollout.member(&step.application);
        let from = member.and_then(|member| member.to.as_ref());
        json!({
            "application": step.application,
            "from": from.map(|from| &from.commits),
            "to": target.map(|target| &target.pinned.commits),
            "runs": target.map(|target| &target.runs),
            "note": step.note,
        })
    });
    let request = json!({
        "rollout": rollout.decision,
        "because": text,
        "run": run,
        "operation": operation,
        "by": rollback.by.as_ref().map(Caller::display),
        "state": rollback.state,
        "why": rollback.why,
        "steps": targets.collect::<Vec<_>>(),
    });
    controller::note(app, decision, BEGIN, rollback, request).await
}

/// The rollback of `rollout` that `caller` asks for: one that is proposed, or one that nothing has failed for, because
/// of `why`.
///
/// # Errors
/// [`Rejection`]: it cannot or may not be.
pub async fn asked(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    rollout: &Rollout,
    why: &str,
) -> Result<Rollback, Rejection> {
    let because = match &rollout.rollback {
        None => Because {
            application: rollout.application.clone(),
            run: None,
            operation: None,
            suite: None,
            text: why.to_owned(),
        },
        Some(rollback) if rollback.state == State::Proposed => rollback.because.clone(),
        Some(rollback) => {
            return Err(conflict(&format!(
                "this rollout has a rollback already: it is {}",
                rollback.state.word()
            )));
        }
    };
    if is_replaced(app, rollout).await.map_err(Error::Store)? {
        return Err(conflict(
            "everything in it was rolled out anew since: there is nothing to take back",
        ));
    }
    let found = target::find(app, rollout, &because.application)
        .await
        .map_err(Error::Store)?;
    if found.targets.is_none() {
        return Err(conflict(
            "there is nothing to go back to: nothing that it ran before has passed its tests",
        ));
    }
    let mut rollback = planned(rollout, because, &found, app.clock.now());
    may(app, draft, &rollback, caller).await?;
    rollback.by = Some(caller.clone());
    Ok(rollback)
}

/// Begins `rollback`, which somebody has asked for and may.
///
/// # Errors
/// [`Rejection`] when it cannot be stored or put on record.
pub async fn start(app: &App, rollout: Rollout, rollback: Rollback) -> Result<(), Rejection> {
    Ok(keep(app, &rollout, rollback).await?)
}

/// Whether newer rollouts have begun of all that is in it.
async fn is_replaced(app: &App, rollout: &Rollout) -> Result<bool, store::Error> {
    for member in rollout
        .members
        .iter()
        .filter(|member| member.begun.is_some())
    {
        let running = running(app, &member.application).await?;
        if running.is_none_or(|it| it.decision == rollout.decision) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether `caller` may let the rollback of `rollout`, which is stuck, try again.
///
/// # Errors
/// [`Rejection`]: it is not stuck, or may not be.
pub async fn may_resume(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    rollout: &Rollout,
) -> Result<(), Rejection> {
    let stuck = rollout.rollback.as_ref();
    let Some(rollback) = stuck.filter(|it| it.state == State::Stuck) else {
        return Err(conflict("only a rollback that is stuck can be resumed"));
    };
    if rollback.steps.iter().all(|step| step.target.is_none()) {
        return Err(conflict(
            "there is nothing to go back to: roll out what passes its tests",
        ));
    }
    may(app, draft, rollback, caller).await
}

/// Lets the rollback of the rollout of `decision`, which is stuck, try again what has failed, as `caller`.
///
/// # Errors
/// [`Rejection`] when that cannot be stored.
pub async fn resume(app: &App, caller: &Caller, decision: DecisionId) -> Result<(), Rejection> {
    let (by, now) = (caller.clone(), app.clock.now());
    let resumed = app.store.change_rollout(decision, move |stored| {
        let rollback = stored.rollback.as_mut();
        let rollback = rollback.filter(|it| it.state == State::Stuck)?;
        for step in &mut rollback.steps {
            if step.state == StepState::Failed {
                step.state = StepState::Waiting;
                step.tries = 0;
                step.began = None;
                step.since = now;
            }
        }
        rollback.state = State::Running;
        rollback.by = Some(by);
        rollback.why.clear();
        rollback.ended_at = None;
        Some(Vec::new())
    });
    resumed.await.map_err(Error::Store)?;
    Ok(())
}

/// Ends the rollback of the rollout of `decision` where it is: what it took back may come again by itself.
///
/// # Errors
/// [`Rejection`]: there is none.
pub async fn abandon(app: &App, caller: &Caller, decision: DecisionId) -> Result<(), Rejection> {
    let (by, now) = (caller.display(), app.clock.now());
    let abandoned = app.store.change_rollout(decision, move |stored| {
        let rollback = stored.rollback.as_mut();
        let rollback = rollback.filter(|it| it.state != State::Abandoned)?;
        rollback.state = State::Abandoned;
        rollback.why = format!("by {by}");
        rollback.ended_at = Some(now);
        Some(Vec::new())
    });
    if abandoned.await.map_err(Error::Store)? {
        Ok(())
    } else {
        Err(conflict("it has no rollback to abandon"))
    }
}

/// The rollback that `run`, of `application`, has brought about, if it has.
///
/// # Errors
/// [`store::Error`].
pub async fn because_of(
    app: &App,
    application: &AppRef,
    run: RunId,
) -> Result<Option<RollbackLink>, store::Error> {
    let application = app.named(application);
    let newest_first = app.store.rollouts_of(&application, LOOK_BACK).await?;
    let mut links = newest_first.into_iter().filter_map(|rollout| {
        let rollback = rollout.rollback?;
        (rollback.because.run == Some(run)).then(|| RollbackLink {
            rollout: rollout.decision,
            state: rollback.state,
            url: app.rollout_link(rollout.decision),
        })
    });
    Ok(links.next())
}
