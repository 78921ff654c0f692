//! What could not be known at once: whether a run counts, how a deployment ended, what a crash cut
//! short.
//!
//! A loop reads the applications that something waits for, until their operation has ended; Argo CD
//! forgets an operation at the next one, so the loop is quick; how hook Jobs ended is also taken from the
//! index's watch ([`follow`]), which misses no end while it is up. The end of each permitted operation is an entry of the
//! log, with that of its hooks (`end`). A sync that is about to be decided does
//! not wait for the loop's next round ([`before_look_up`]).

mod end;
mod hooks;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use crate::app::App;
use crate::argocd::client::{Error, Refresh};
use crate::argocd::operation::Operation;
use crate::break_glass;
use crate::deployed::{is_pending, operation_of, rolls_out, whole};
use crate::gate::{AppFacts, Phase};
use crate::json;
use crate::names::{AppRef, Component};
use crate::record::{Opening, Reached};
use crate::rollout;
use crate::snapshot;
use crate::store::{DeploymentRow, DeploymentState, SnapshotOf};

use self::end::Seen;
pub use self::hooks::follow;

/// How many applications are read at a time.
const AT_ONCE: usize = 16;
/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// How often an interrupted call is looked for in vain before it has not reached Argo CD.
const LOOKS: u32 = 5;
/// How long an operation may take to begin after its sync was forwarded.
const LOST_AFTER: jiff::SignedDuration = jiff::SignedDuration::from_secs(300);

/// Runs until the gate stops.
pub async fn run(app: Arc<App>) {
    let interrupted = Arc::clone(&app);
    app.tasks
        .spawn(async move { close_interrupted(&interrupted).await });
    loop {
        tokio::select! {
            () = app.stop.soft.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        if let Err(error) = round(&app).await {
            tracing::warn!(error = crate::telemetry::chain(&error), "could not settle");
        }
        if let Err(error) = break_glass::settle(&app).await {
            tracing::warn!(
                error = crate::telemetry::chain(&error),
                "could not tell what is owed"
            );
        }
    }
}

async fn round(app: &App) -> Result<(), hooks::Error> {
    for application in app.runs.waiting_for().await? {
        settle_runs(app, &application).await?;
    }
    hooks::weigh(app).await?;
    let deployments = app.store.pending_deployments().await?;
    let settled = deployments
        .into_iter()
        .map(|deployment| settle_deployment(app, deployment));
    let settled = stream::iter(settled)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    settled.into_iter().collect::<Result<(), _>>()?;
    Ok(())
}

/// Settles what waits on `component`'s applications now, so that a promotion right after the tests
/// sees them.
pub async fn before_look_up(app: &App, component: &Component) {
    let settled = async {
        for application in app.runs.waiting_for().await? {
            // Only what can bear on this look-up is worth a question to Argo CD.
            if concerns(app, &application, component) {
                settle_runs(app, &application).await?;
            }
        }
        hooks::weigh(app).await
    };
    if let Err(error) = settled.await {
        tracing::warn!(error = crate::telemetry::chain(&error), "could not settle");
    }
}

fn concerns(app: &App, application: &AppRef, component: &Component) -> bool {
    app.config
        .environments
        .iter()
        .any(|environment| match &environment.component {
            // A label is only known from the object.
            crate::config::ComponentRule::Label(_) => true,
            crate::config::ComponentRule::Name { prefix, suffix } => {
                application.name == format!("{prefix}{component}{suffix}")
            }
        })
}

async fn settle_runs(app: &App, application: &AppRef) -> Result<(), hooks::Error> {
    let json = match read(app, application).await {
        Ok(json) => json,
        Err(Error::NoSuchApplication(_)) => {
            for (run, counts) in app.runs.give_up(application).await? {
                tracing::info!(%run, %application, counts = ?counts, "run given up");
                app.notices.notify_one();
            }
            return Ok(());
        }
        Err(_) => return Ok(()),
    };
    match AppFacts::from_json(&json) {
        Ok(facts) => {
            // A run whose Job failed is a failure before it could be void.
            hooks::hear(app, application, &facts).await?;
            hooks::weigh(app).await?;
            for (run, counts) in app.runs.settle(application, &facts).await? {
                tracing::info!(%run, %application, counts = ?counts, "run settled");
                crate::admission::settled(app, run, counts).await;
                app.notices.notify_one();
            }
        }
        Err(error) => {
            tracing::warn!(%application, error = crate::telemetry::chain(&error), "cannot be read");
        }
    }
    Ok(())
}

async fn settle_deployment(app: &App, mut deployment: DeploymentRow) -> Result<(), hooks::Error> {
    let began = deployment.decision.made_at();
    let age = began
        .map(|began| app.clock.now().duration_since(began))
        .unwrap_or_default();
    let application = &deployment.application;
    let application = match app
        .argocd
        .application(application, None, Refresh::None)
        .await
    {
        Ok(application) => application,
        Err(Error::NoSuchApplication(_)) if age > LOST_AFTER => {
            deployment.state = DeploymentState::Lost;
            end::put_on_record(app, &deployment, Seen::Nowhere).await?;
            return Ok(app.store.upsert_deployment(deployment).await?);
        }
        Err(error) => {
            let error = crate::telemetry::chain(&error);
            tracing::debug!(%application, error, "cannot be read");
            return Ok(());
        }
    };
    let Some((mut next, mut seen)) = how_far(&mut deployment, &application, age) else {
        return Ok(());
    };
    let events;
    if let Seen::Nowhere = seen {
        // Without them it is lost.
        events = app.argocd.events(&deployment.application).await;
        let events = events.as_deref().unwrap_or_default();
        if let Some(event) = end::in_events(&deployment, events) {
            (next, seen) = (DeploymentState::Failed, Seen::Event(event));
        }
    }
    if next != deployment.state {
        tracing::info!(decision = %deployment.decision, application = %deployment.application, state = ?next, "deployment");
        if next == DeploymentState::Failed {
            let of = SnapshotOf::Deploy(deployment.decision);
            snapshot::want(app, of, deployment.application.clone());
        }
        deployment.state = next;
        if next == DeploymentState::Succeeded {
            deployment.ran = seen.ran();
        }
        end::put_on_record(app, &deployment, seen).await?;
        let state = seen.state();
        // Before, since a crash must not lose it; and after, since a run that fails in between waits for this end.
        rollout::deploy_ended(app, &deployment, state).await?;
        app.store.upsert_deployment(deployment.clone()).await?;
        rollout::deploy_ended(app, &deployment, state).await?;
    }
    Ok(())
}

/// How far `deployment`, of this age, has come by what `application` tells, and what told that; none where that is
/// nothing new.
fn how_far<'a>(
    deployment: &mut DeploymentRow,
    application: &'a Value,
    age: jiff::SignedDuration,
) -> Option<(DeploymentState, Seen<'a>)> {
    let ours = is_of(deployment, application);
    let facts = AppFacts::from_json(application).ok();
    let operation = facts.as_ref().and_then(|facts| facts.operation.as_ref());
    let pending = is_pending(application);
    match operation {
        Some(operation) if ours && !pending => {
            deployment.started_at = Some(operation.started_at);
            let state = match operation.phase {
                // What ran must be what was permitted, whatever the operation says about itself.
                Phase::Succeeded if ran_as_permitted(deployment, application) => {
                    DeploymentState::Succeeded
                }
                Phase::Succeeded => DeploymentState::Lost,
                Phase::Error | Phase::Failed => DeploymentState::Failed,
                Phase::Running | Phase::Terminating => DeploymentState::Running,
            };
            let seen = Seen::State(json::at(application, "/status/operationState"));
            Some((state, seen))
        }
        // Another operation has taken its place, or it never began.
        _ if !ours && (deployment.state == DeploymentState::Running || age > LOST_AFTER) => {
            let Some((entry, started_at)) = end::in_history(deployment, application) else {
                return Some((DeploymentState::Lost, Seen::Nowhere));
            };
            deployment.started_at = Some(started_at);
            Some((DeploymentState::Succeeded, Seen::History(entry)))
        }
        _ => None,
    }
}

/// Whether the operation of `application` is the deployment's: it carries its decision, or, where Argo CD or
/// Kubernetes began it, which the admission door permitted, is of what was permitted and has begun since.
fn is_of(deployment: &DeploymentRow, application: &Value) -> bool {
    if operation_of(application, deployment.decision).is_some() {
        return true;
    }
    let begun = crate::deployed::begun(application, deployment.decision);
    let result = json::at(application, "/status/operationState/syncResult");
    begun.is_some_and(|operation| {
        let sync = whole(json::at(operation, "/sync"), result);
        is_of_all(&sync) && rolls_out(&deployment.commits, &deployment.source_digest, &sync)
    })
}

/// Whether an operation's `sync` is of everything, and runs hooks: what a deployment is.
fn is_of_all(sync: &Value) -> bool {
    let given = |pointer| {
        let list = json::at(sync, pointer).as_array();
        list.is_some_and(|list| !list.is_empty())
    };
    json::at(sync, "/dryRun") != &Value::Bool(true)
        && !given("/resources")
        && !given("/manifests")
        && json::at(sync, "/syncStrategy/apply").is_null()
}

fn ran_as_permitted(deployment: &DeploymentRow, application: &Value) -> bool {
    let state = json::at(application, "/status/operationState");
    let result = json::at(state, "/syncResult");
    let (commits, digest) = (&deployment.commits, &deployment.source_digest);
    json::text(application, "/metadata/uid") == deployment.uid
        && rolls_out(
            commits,
            digest,
            &whole(json::at(state, "/operation/sync"), result),
        )
        && rolls_out(commits, digest, result)
}

/// Closes what a crash has left open, by asking Argo CD whether an operation carries the decision.
async fn close_interrupted(app: &App) {
    let unfinished = match app.recorder.unfinished().await {
        Ok(unfinished) => unfinished,
        Err(error) => {
            tracing::error!(
                error = crate::telemetry::chain(&error),
                "the log cannot be read"
            );
            return;
        }
    };
    for entry in unfinished {
        let decision = entry.opening.decision;
        let Some((reached, evidence)) = find_out(app, &entry.opening).await else {
            return;
        };
        if let Err(error) = app
            .recorder
            .close_interrupted(decision, reached, evidence)
            .await
        {
            tracing::error!(%decision, error = crate::telemetry::chain(&error), "not closed");
        }
    }
}

/// Whether an interrupted call had reached Argo CD. Asks until Argo CD answers; `None` when the gate
/// is stopped before that.
async fn find_out(app: &App, opening: &Opening) -> Option<(Reached, String)> {
    let Some(application) = opening.applications.first() else {
        return Some((
            Reached::Unknown,
            "Argo CD keeps no trace of such a call".to_owned(),
        ));
    };
    if opening.operation != Operation::ApplicationSync.name() {
        return Some((
            Reached::Unknown,
            "Argo CD keeps no trace of such a call".to_owned(),
        ));
    }
    let mut looks = 0;
    loop {
        match app
            .argocd
            .application(application, None, Refresh::None)
            .await
        {
            Ok(json) if operation_of(&json, opening.decision).is_some() => {
                let how = "an operation of the application carries this decision";
                return Some((Reached::Yes, how.to_owned()));
            }
            Ok(json) if newer_operation(&json, opening.at) => {
                let how = "a later operation has taken the place of any that carried it";
                return Some((Reached::Unknown, how.to_owned()));
            }
            Ok(_) if looks >= LOOKS => {
                let seconds = (PAUSE * LOOKS).as_secs();
                let how = "no operation of the application carries this decision, seen over";
                return Some((Reached::No, format!("{how} {seconds} s")));
            }
            // Argo CD may still be working on what reached it before the crash.
            Ok(_) => looks += 1,
            Err(Error::NoSuchApplication(_)) => {
                return Some((Reached::Unknown, "the application is gone".to_owned()));
            }
            Err(error) => {
                let error = crate::telemetry::chain(&error);
                tracing::warn!(decision = %opening.decision, error, "Argo CD cannot be asked yet");
            }
        }
        tokio::select! {
            () = app.stop.soft.cancelled() => return None,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Whether an operation that is not the one sought began after `at`.
fn newer_operation(application: &Value, at: jiff::Timestamp) -> bool {
    let started = application
        .pointer("/status/operationState/startedAt")
        .and_then(Value::as_str);
    let started = started.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    // Argo CD tells whole seconds.
    started.is_some_and(|started| started.as_second() >= at.as_second())
}

async fn read(app: &App, application: &AppRef) -> Result<Value, Error> {
    let answer = app
        .argocd
        .application(application, None, Refresh::None)
        .await;
    answer.inspect_err(|error| {
        tracing::debug!(%application, error = crate::telemetry::chain(error), "cannot be read");
    })
}
