//! One step after the other, until all is back where its tests have passed.
//!
//! In: rollbacks that go on, from the store; so a process that is killed goes on where it was. Out: for each
//! application an operation, decided on, on record and recognised at the admission door, in reverse wave order; what
//! fails is tried once more when all the others are back, since it may have failed on what was not back yet. What
//! somebody syncs meanwhile is theirs. Never: an operation beside another, or on an object that was changed since it
//! was looked at.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::kubernetes::{Error as WriteError, Start};
use super::{LOOK_BACK, ROLLBACK, Rollback, Rollout, State, Step, StepState, Target, target};
use crate::app::App;
use crate::argocd::client::{Error, Refresh};
use crate::argocd::operation::Effect;
use crate::argocd::request::{INFO_DECISION, INFO_ROLLBACK};
use crate::deployed;
use crate::draft::Draft;
use crate::failpoint;
use crate::gate::{AppFacts, Phase};
use crate::hold;
use crate::identity::Caller;
use crate::json;
use crate::names::{AppRef, DecisionId};
use crate::notify;
use crate::planner::{self, Plan};
use crate::policy::{Decision, Permitted, decide};
use crate::record::{self, Durability, Opening, Outcome, Word};
use crate::refusal;
use crate::respond::Rejection;
use crate::store::{self, DeploymentState};
use crate::telemetry::chain;

/// What the record calls the end of a rollback.
const END: &str = "Rollback.end";
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// How many rollbacks go on at a time, and how many applications of one.
const AT_ONCE: usize = 16;
/// How long after its parent's sync an application may be taken up by automated sync.
const COMES_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// How often the turn of an application comes before a person has to look.
const TRIES: u32 = 2;
/// How long a write that nobody has answered may take to show.
const UNSEEN: SignedDuration = SignedDuration::from_secs(60);
/// Characters of a note, at most.
const MAX_NOTE: usize = 300;

/// Runs until the gate stops.
pub async fn run(app: Arc<App>) {
    if let Some(kubernetes) = &app.kubernetes
        && let Err(error) = kubernetes.client().await
    {
        tracing::error!(error = chain(&error), "rollouts cannot be taken back yet");
    }
    let mut pause = PAUSE;
    loop {
        tokio::select! {
            () = app.stop.soft.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = match round(&app).await {
            // What has moved may let the next one move.
            Ok(true) => Duration::ZERO,
            Ok(false) => PAUSE,
            Err(error) => {
                tracing::warn!(error = chain(&error), "could not go on with rollbacks");
                PAUSE
            }
        };
    }
}

/// Goes on with all of them; gives whether anything has moved.
async fn round(app: &App) -> Result<bool, store::Error> {
    let returning = app.store.returning_rollouts().await?;
    metrics::gauge!("syncgate_rollbacks_running")
        .set(u32::try_from(returning.len()).unwrap_or(u32::MAX));
    let each = returning.into_iter().map(|rollout| go_on(app, rollout));
    let all = stream::iter(each).buffer_unordered(AT_ONCE);
    let all: Vec<Result<bool, store::Error>> = all.collect().await;
    any(all)
}

fn any(all: Vec<Result<bool, store::Error>>) -> Result<bool, store::Error> {
    let mut moved = false;
    for one in all {
        moved |= one?;
    }
    Ok(moved)
}

async fn go_on(app: &App, rollout: Rollout) -> Result<bool, store::Error> {
    let Some(rollback) = &rollout.rollback else {
        return Ok(false);
    };
    let goes_on = |step: &&Step| matches!(step.state, StepState::Asked | StepState::Waiting);
    // The steps are in the order of work.
    let Some(turn) = rollback.steps.iter().find(goes_on).map(|step| &step.wave) else {
        return end(app, &rollout, rollback).await;
    };
    let of_turn = rollback.steps.iter().filter(goes_on);
    let of_turn = of_turn.filter(|step| step.wave == *turn);
    let each = of_turn.map(|step| async {
        let Some(next) = advanced(app, &rollout, rollback, step).await? else {
            return Ok(false);
        };
        let moved = next.state != step.state || next.began != step.began;
        put(app, &rollout, next).await?;
        Ok(moved)
    });
    let each: Vec<_> = each.collect();
    let all = stream::iter(each).buffer_unordered(AT_ONCE);
    let all: Vec<Result<bool, store::Error>> = all.collect().await;
    any(all)
}

/// Keeps `step`, unless its rollback has ended meanwhile; gives whether it did.
async fn put(app: &App, rollout: &Rollout, step: Step) -> Result<bool, store::Error> {
    let Step {
        application,
        state,
        note,
        ..
    } = &step;
    tracing::info!(rollout = %rollout.decision, %application, state = state.word(), note, "rollback");
    let change = move |stored: &mut Rollout| {
        let rollback = stored.rollback.as_mut();
        let rollback = rollback.filter(|it| it.state == State::Running)?;
        let mut steps = rollback.steps.iter_mut();
        let place = steps.find(|it| it.application == step.application)?;
        *place = step;
        Some(Vec::new())
    };
    app.store.change_rollout(rollout.decision, change).await
}

/// What `step` becomes, by what is known now; nothing where it stays.
async fn advanced(
    app: &App,
    rollout: &Rollout,
    rollback: &Rollback,
    step: &Step,
) -> Result<Option<Step>, store::Error> {
    let now = app.clock.now();
    let become_ = |state, note: String| Some(became(step, state, &note, now));
    if let Some(newer) = newer(app, rollout, step).await? {
        let note = format!("{} has synced it since, by {}", newer.by, newer.decision);
        let has_begun = newer
            .member(&step.application)
            .is_some_and(|it| it.begun.is_some());
        return Ok(if has_begun {
            become_(StepState::Overtaken, note)
        } else {
            // What its parent has written is about to be taken up.
            None
        });
    }
    let Some(target) = &step.target else {
        return Ok(become_(StepState::Left, step.note.clone()));
    };
    let Some(began) = step.began else {
        return Ok(Some(Step {
            began: Some(now),
            tries: step.tries + 1,
            ..step.clone()
        }));
    };
    let member = rollout.member(&step.application);
    let uid = member
        .and_then(|member| member.uid.clone())
        .unwrap_or_default();
    let outcome = match (step.state, step.decision) {
        (StepState::Asked, Some(decision)) => asked(app, step, decision, &uid).await?,
        _ => waiting(app, rollout, rollback, step, target, &uid).await,
    };
    let is_late = is_late(app, step, began, now);
    Ok(match outcome {
        Next::Asked(decision) => Some(asked_by(step, decision, now)),
        Next::Failed(note) => become_(StepState::Failed, note),
        Next::Refused(decision, note) => become_(StepState::Failed, note).map(|step| Step {
            decision: Some(decision),
            ..step
        }),
        Next::Verified(note) => become_(StepState::Verified, note),
        Next::Again(note) if step.state == StepState::Asked => become_(StepState::Waiting, note),
        Next::Again(note) | Next::Wait(note) if is_late => {
            become_(StepState::Failed, format!("{note}, for too long"))
        }
        // As it was before it was stored as asked for.
        Next::Again(note) => Some(Step {
            note,
            ..step.clone()
        }),
        Next::Wait(note) if note != step.note => Some(Step {
            note,
            ..step.clone()
        }),
        Next::Wait(_) => None,
    })
}

/// Whether `step`, whose turn came at `began`, has taken too long. To ask and to be carried out each have their time.
fn is_late(app: &App, step: &Step, began: Timestamp, now: Timestamp) -> bool {
    let from = match step.state {
        StepState::Asked => step.since,
        _ => began,
    };
    let patience = app.config.rollback.as_ref().map(|it| it.patience);
    patience.is_some_and(|patience| now.duration_since(from) > patience)
}

/// `step`, as far as that at `now`.
fn became(step: &Step, state: StepState, note: &str, now: Timestamp) -> Step {
    Step {
        state,
        note: note.chars().take(MAX_NOTE).collect(),
        since: now,
        ..step.clone()
    }
}

/// The newest rollout of a step's application that is newer than the one that is taken back: it has begun, or is about
/// to. One that is only announced takes nothing over, nor does one that has not come in time.
async fn newer(app: &App, rollout: &Rollout, step: &Step) -> Result<Option<Rollout>, store::Error> {
    let newest_first = app.store.rollouts_of(&step.application, LOOK_BACK).await?;
    let soon = app.clock.now() - COMES_WITHIN;
    let mut newer = newest_first.into_iter().filter(|it| {
        let member = it.member(&step.application);
        member.is_some_and(|member| {
            let comes = member.to.is_some() && it.at > soon;
            it.decision > rollout.decision && (member.begun.is_some() || comes)
        })
    });
    Ok(newer.next())
}

/// What becomes of a step.
enum Next {
    /// It is asked for again from the beginning.
    Again(String),
    /// Its operation was written, or nobody can tell.
    Asked(DecisionId),
    Failed(String),
    /// The operation that this decision permitted was not taken.
    Refused(DecisionId, String),
    Verified(String),
    /// There is nothing to do yet.
    Wait(String),
}

/// Asks for the operation of a step whose turn it is, as soon as none goes on.
async fn waiting(
    app: &App,
    rollout: &Rollout,
    rollback: &Rollback,
    step: &Step,
    target: &Target,
    uid: &str,
) -> Next {
    let Some(_lock) = app.lock(&step.application).await else {
        return Next::Wait("another change of it is being checked".to_owned());
    };
    // Somebody may have synced it while this waited for its turn.
    match newer(app, rollout, step).await {
        Ok(None) => {}
        Ok(Some(_)) => return Next::Wait("somebody has synced it".to_owned()),
        Err(error) => return Next::Wait(format!("the store cannot be used: {}", chain(&error))),
    }
    let live = match read(app, &step.application).await {
        Ok(live) => live,
        Err(Error::NoSuchApplication(_)) => return Next::Failed("it is gone".to_owned()),
        Err(error) => return Next::Wait(format!("argo cd cannot be asked: {}", chain(&error))),
    };
    if json::text(&live, "/metadata/uid") != uid {
        return Next::Failed("it was deleted and made anew".to_owned());
    }
    if let Some(note) = under_way(app, rollout, step, &live).await {
        return Next::Wait(note);
    }
    let gate = Caller::gate(&app.config.url, app.clock.now());
    let asking = Asking {
        step,
        caller: rollback.by.as_ref().unwrap_or(&gate),
        because: &rollback.because.text,
    };
    asking.carried_out(app, rollout, target, live).await
}

/// What goes on in `live` that must end first. What belongs to the rollout itself is ended.
async fn under_way(app: &App, rollout: &Rollout, step: &Step, live: &Value) -> Option<String> {
    let facts = AppFacts::from_json(live).ok();
    let operation = facts.as_ref().and_then(|facts| facts.operation.as_ref());
    let pending = deployed::is_pending(live);
    let phase = operation.map(|operation| operation.phase);
    if !pending && !matches!(phase, Some(Phase::Running | Phase::Terminating)) {
        return None;
    }
    let member = rollout.member(&step.application);
    let begun = member.and_then(|member| member.begun);
    // Ours, of this rollout or of an earlier try to take it back; or one of automated sync, which has no remark.
    let sync = json::at(live, "/status/operationState/operation/sync");
    let to = member.and_then(|member| member.to.as_ref());
    let is_own = [begun, step.decision]
        .into_iter()
        .flatten()
        .any(|decision| deployed::operation_of(live, decision).is_some())
        || to.is_some_and(|to| deployed::rolls_out(&to.commits, &to.source_digest, sync));
    if is_own && phase == Some(Phase::Running) && !pending {
        let why = "its rollout is taken back";
        if let Err(error) = deployed::terminate(app, rollout.decision, &step.application, why).await
        {
            return Some(format!("its operation could not be ended: {error:#}"));
        }
        return Some("its operation is being ended".to_owned());
    }
    Some("another operation goes on".to_owned())
}

/// What became of the operation of a step.
async fn asked(
    app: &App,
    step: &Step,
    decision: DecisionId,
    uid: &str,
) -> Result<Next, store::Error> {
    let Some(row) = app.store.deployment(decision, uid).await? else {
        return Ok(Next::Again("its operation was not kept".to_owned()));
    };
    Ok(match row.state {
        DeploymentState::Succeeded => match target::judged(app, &row).await? {
            target::Judged::Passed(runs) if runs.is_empty() => {
                Next::Verified("its operation ended well; no run was reported".to_owned())
            }
            target::Judged::Passed(runs) => {
                let runs: Vec<String> = runs.iter().map(ToString::to_string).collect();
                Next::Verified(format!("passed: run {}", runs.join(", ")))
            }
            target::Judged::Pending => Next::Wait("its tests are not settled yet".to_owned()),
            target::Judged::Failed(run) => Next::Failed(format!("its tests failed: run {run}")),
        },
        DeploymentState::Failed => Next::Failed("its operation failed".to_owned()),
        DeploymentState::Lost => Next::Failed("another operation took its place".to_owned()),
        DeploymentState::Running => Next::Wait("its operation goes on".to_owned()),
        DeploymentState::Permitted => {
            let age = app.clock.now().duration_since(step.since);
            match read(app, &step.application).await {
                // It never came there, and cannot any more: the object has moved on.
                Ok(live) if age > UNSEEN && deployed::operation_of(&live, decision).is_none() => {
                    Next::Again("its operation was not seen".to_owned())
                }
                Ok(_) => Next::Wait("its operation has not begun".to_owned()),
                Err(error) => Next::Wait(format!("argo cd cannot be asked: {}", chain(&error))),
            }
        }
    })
}

/// One application that is asked to go back.
pub(super) struct Asking<'a> {
    pub(super) step: &'a Step,
    /// As whom it is decided on.
    pub(super) caller: &'a Caller,
    /// What failed, in words.
    pub(super) because: &'a str,
}

/// Asks the policies whether `caller` may do `plan`, by `call`; what is asked and answered goes into `draft`.
///
/// # Errors
/// [`Rejection`]: no, or it cannot be told. Nothing is taken back in an environment that has come to only observe.
pub(super) async fn decided<T>(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    plan: &Plan,
    call: T,
) -> Result<Permitted<T>, Rejection> {
    let holds = hold::of_plan(app, plan).await?;
    let policies = app.policies.current();
    let questions = plan.questions(caller, "own", app.clock.now(), &holds);
    draft.planned(plan, &holds, &policies);
    let denial = match decide(&policies, &questions, call) {
        Decision::Allow(permitted) => match permitted.observed() {
            None => {
                draft.permitted(&permitted);
                return Ok(permitted);
            }
            Some(observed) => observed.clone(),
        },
        Decision::Deny(denial) => denial,
    };
    draft.denied(&denial);
    Err(refusal::plainly(app, (plan, &holds), caller, &denial))
}

impl Asking<'_> {
    /// What the step would do now.
    ///
    /// # Errors
    /// [`Rejection`]: Argo CD or the store cannot be asked.
    pub(super) async fn looked_at(
        &self,
        app: &App,
        decision: DecisionId,
        target: &Target,
    ) -> Result<Plan, Rejection> {
        let application = &self.step.application;
        let read = read(app, application).await;
        let live = read.map_err(|error| planner::refused(application, &error))?;
        let operation = self.operation(app, decision, target, &live);
        self.planned(app, target, &live, &operation).await
    }

    async fn planned(
        &self,
        app: &App,
        target: &Target,
        live: &Value,
        operation: &Value,
    ) -> Result<Plan, Rejection> {
        let mut with_operation = live.clone();
        json::set(&mut with_operation, "/operation", operation.clone());
        planner::returning(app, self.caller, live, &target.ran, &with_operation).await
    }

    /// The operation that rolls `target` out again: its sources and commits, its hooks; options and retries of the
    /// spec, which take no newer commit.
    fn operation(&self, app: &App, decision: DecisionId, target: &Target, live: &Value) -> Value {
        let policy = json::at(live, "/spec/syncPolicy");
        let always = app.config.rollback.as_ref().is_some_and(|it| it.prune);
        let prunes = json::at(policy, "/automated/prune") == &Value::Bool(true);
        let mut sync = target.ran.clone();
        json::set(&mut sync, "/prune", json!(always || prunes));
        json::set(&mut sync, "/syncStrategy", json!({ "hook": {} }));
        let options = json::at(policy, "/syncOptions");
        if options.is_array() {
            json::set(&mut sync, "/syncOptions", options.clone());
        }
        let mut operation = json!({
            "initiatedBy": { "username": self.caller.display() },
            "info": [
                { "name": INFO_DECISION, "value": decision.to_string() },
                { "name": INFO_ROLLBACK, "value": self.because },
            ],
            "sync": sync,
        });
        let retry = json::at(policy, "/retry");
        if retry.is_object() {
            let mut retry = retry.clone();
            json::set(&mut retry, "/refresh", json!(false));
            json::set(&mut operation, "/retry", retry);
        }
        operation
    }

    /// Decides, stores what is decided, and writes the operation.
    async fn carried_out(
        &self,
        app: &App,
        rollout: &Rollout,
        target: &Target,
        live: Value,
    ) -> Next {
        let Some(kubernetes) = &app.kubernetes else {
            return Next::Failed("the gate has no access to the Kubernetes API".to_owned());
        };
        let mut draft = Draft::of_controller(app, ROLLBACK, Effect::Deploy);
        draft.caller(self.caller);
        draft.facts(
            vec![self.step.application.clone()],
            json!({ "rollout": rollout.decision, "because": self.because, "to": target.pinned }),
        );
        let decision = draft.decision();
        let operation = self.operation(app, decision, target, &live);
        let asked = async {
            let plan = self.planned(app, target, &live, &operation).await?;
            let start = Start { live, operation };
            let permitted = decided(app, &mut draft, self.caller, &plan, start).await?;
            Ok((plan, permitted))
        };
        let (plan, permitted) = match asked.await {
            Ok(asked) => asked,
            Err(rejection) => return refused(app, &mut draft, &rejection).await,
        };
        let stored = async {
            deployed::permitted(app, decision, &plan).await?;
            draft
                .open(app, Word::Permit, Durability::BeforeProceeding)
                .await
        };
        let record = match stored.await {
            Ok(record) => record,
            Err(rejection) => return Next::Wait(rejection.sentence()),
        };
        // From here on it counts as asked for, also for who finds it after a crash.
        let begun = asked_by(self.step, decision, app.clock.now());
        let unkept = match put(app, rollout, begun).await {
            Ok(true) => None,
            Ok(false) => Some("the rollback was ended".to_owned()),
            Err(error) => Some(format!("the store cannot be used: {}", chain(&error))),
        };
        if let Some(why) = unkept {
            let stage = "not forwarded: ".to_owned() + &why;
            record.close(Outcome::Failed { stage }).await;
            never_began(app, decision, &permitted.call().live).await;
            return Next::Wait(why);
        }
        failpoint::reach(failpoint::BEFORE_ROLLBACK).await;
        let written = kubernetes.begin(&permitted).await;
        failpoint::reach(failpoint::AFTER_ROLLBACK).await;
        match written {
            Ok(()) => {
                record.close(Outcome::Answered).await;
                Next::Asked(decision)
            }
            Err(error) => {
                tracing::warn!(%decision, application = %self.step.application, error = chain(&error), "not written");
                let stage = "kubernetes".to_owned();
                record.close(Outcome::Failed { stage }).await;
                not_written(app, decision, &permitted.call().live, &error).await
            }
        }
    }
}

/// `step`, asked for by `decision` once more.
fn asked_by(step: &Step, decision: DecisionId, now: Timestamp) -> Step {
    Step {
        decision: Some(decision),
        state: StepState::Asked,
        since: now,
        note: String::new(),
        ..step.clone()
    }
}

/// What becomes of a step whose operation was not written, or of which nobody can tell.
async fn not_written(app: &App, decision: DecisionId, live: &Value, error: &WriteError) -> Next {
    if let WriteError::Unknown(_) = error {
        return Next::Asked(decision);
    }
    never_began(app, decision, live).await;
    match error {
        WriteError::Changed => Next::Again("it was changed meanwhile".to_owned()),
        WriteError::Config(_) => Next::Again(error.to_string()),
        WriteError::Refused(_) | WriteError::Unknown(_) => {
            Next::Refused(decision, error.to_string())
        }
    }
}

/// What becomes of a step that was refused.
async fn refused(app: &App, draft: &mut Draft, rejection: &Rejection) -> Next {
    let sentence = rejection.sentence();
    match rejection {
        Rejection::Evidence { .. } | Rejection::Held { .. } | Rejection::Policy { .. } => {
            draft.refused(app, rejection).await;
            Next::Failed(sentence)
        }
        // Nobody has said no: it is asked again.
        _ => Next::Wait(sentence),
    }
}

/// Has nobody wait for the operation that `decision` permitted: it was not written.
async fn never_began(app: &App, decision: DecisionId, live: &Value) {
    let uid = json::text(live, "/metadata/uid");
    let stored = async {
        if let Some(mut row) = app.store.deployment(decision, uid).await? {
            row.state = DeploymentState::Lost;
            app.store.upsert_deployment(row).await?;
        }
        Ok::<(), store::Error>(())
    };
    // It is given up in time anyway.
    if let Err(error) = stored.await {
        tracing::warn!(%decision, error = chain(&error), "still waited for");
    }
}

/// Ends `rollback`, of which no step goes on: or has what failed try again, where it may.
async fn end(app: &App, rollout: &Rollout, rollback: &Rollback) -> Result<bool, store::Error> {
    let now = app.clock.now();
    let is_due = |step: &Step| step.state == StepState::Failed && step.tries < TRIES;
    if rollback.steps.iter().any(is_due) {
        let again = move |stored: &mut Rollout| {
            let rollback = stored.rollback.as_mut();
            let rollback = rollback.filter(|it| it.state == State::Running)?;
            for step in rollback.steps.iter_mut().filter(|step| is_due(step)) {
                step.state = StepState::Waiting;
                step.began = None;
                step.since = now;
            }
            Some(Vec::new())
        };
        return app.store.change_rollout(rollout.decision, again).await;
    }
    let (state, why) = judged(rollback);
    let ended = Rollback {
        state,
        why,
        ended_at: Some(now),
        ..rollback.clone()
    };
    if let Err(error) = put_on_record(app, rollout, &ended).await {
        tracing::warn!(
            error = chain(&error),
            "the end of a rollback is not on record yet"
        );
        return Ok(false);
    }
    replace(app, rollout, ended, Rollout::is_returning).await?;
    Ok(false)
}

/// Keeps `rollback` as that of `rollout`, with the messages about it, and logs and counts it; unless what is stored by now
/// is not `free` for it.
pub(super) async fn replace(
    app: &App,
    rollout: &Rollout,
    rollback: Rollback,
    free: fn(&Rollout) -> bool,
) -> Result<(), store::Error> {
    let notices = notify::tell::rollback(app, rollout, &rollback);
    let after = rollback.clone();
    let kept = app.store.change_rollout(rollout.decision, move |stored| {
        free(stored).then(|| {
            stored.rollback = Some(after);
            notices
        })
    });
    if !kept.await? {
        return Ok(());
    }
    app.notices.notify_one();
    let state = rollback.state.word();
    metrics::counter!("syncgate_rollbacks_total", "state" => state).increment(1);
    tracing::warn!(
        rollout = %rollout.decision, application = %rollback.because.application,
        because = rollback.because.text, state, why = rollback.why, "rollback"
    );
    Ok(())
}

/// How a rollback has ended of which no step goes on.
fn judged(rollback: &Rollback) -> (State, String) {
    let told = |step: &Step| format!("{}: {}", step.application, step.note);
    let of = |state| {
        let steps = rollback.steps.iter();
        let steps = steps.filter(move |step| step.state == state);
        steps.map(told)
    };
    // What this rollout has made and what fails has nowhere to go.
    let failing = &rollback.because.application;
    let mut left = rollback.steps.iter();
    let stays = left.find(|step| step.state == StepState::Left && step.application == *failing);
    let bad: Vec<String> = of(StepState::Failed).chain(stays.map(told)).collect();
    if !bad.is_empty() {
        return (State::Stuck, bad.join("; "));
    }
    let overtaken: Vec<String> = of(StepState::Overtaken).collect();
    if overtaken.is_empty() {
        (State::Verified, String::new())
    } else {
        (State::Superseded, overtaken.join("; "))
    }
}

/// Puts on record that `rollback` of `rollout` has ended; the same entry however often a crash lets it be written.
async fn put_on_record(
    app: &App,
    rollout: &Rollout,
    rollback: &Rollback,
) -> Result<(), record::Error> {
    let decisions: Vec<_> = rollback.steps.iter().map(|step| step.decision).collect();
    let named = format!("{END} {} {} {decisions:?}", rollout.decision, rollback.at);
    let decision = DecisionId::of_seen(rollback.at, &named);
    let steps = rollback.steps.iter().map(|step| {
        json!({
            "application": step.application,
            "state": step.state,
            "decision": step.decision,
            "note": step.note,
        })
    });
    let request = json!({
        "rollout": rollout.decision,
        "because": rollback.because.text,
        "state": rollback.state,
        "why": rollback.why,
        "steps": steps.collect::<Vec<_>>(),
    });
    note(app, decision, END, rollback, request).await
}

/// Puts `request` about `rollback` on record as `name`.
pub(super) async fn note(
    app: &App,
    decision: DecisionId,
    name: &str,
    rollback: &Rollback,
    request: Value,
) -> Result<(), record::Error> {
    let mut entry = Opening::of_gate(decision, app.clock.now(), name);
    let steps = rollback.steps.iter();
    entry.applications = steps.map(|step| step.application.clone()).collect();
    entry.request = request;
    app.recorder.note(entry).await.map(drop)
}

async fn read(app: &App, application: &AppRef) -> Result<Value, Error> {
    app.argocd
        .application(application, None, Refresh::None)
        .await
}
