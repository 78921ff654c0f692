//! What could not be known at once: whether a run counts, how a deployment ended, what a crash cut
//! short.
//!
//! A loop reads the applications that something waits for, until their operation has ended; Argo CD
//! forgets an operation at the next one, so the loop is quick. A sync that is about to be decided
//! does not wait for the loop's next round ([`before_look_up`]).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::app::App;
use crate::argocd::client::{self, Refresh};
use crate::deployed::operation_of;
use crate::gate::{AppFacts, Phase};
use crate::names::{AppRef, Component};
use crate::record::Reached;
use crate::store::{DeploymentRow, DeploymentState};

/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an operation may take to begin after its sync was forwarded.
const LOST_AFTER: jiff::SignedDuration = jiff::SignedDuration::from_secs(300);

/// Runs until the gate stops.
pub async fn run(app: Arc<App>) {
    close_interrupted(&app).await;
    loop {
        tokio::select! {
            () = app.stop.soft.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        if let Err(error) = round(&app).await {
            tracing::warn!(error = crate::telemetry::chain(&error), "could not settle");
        }
    }
}

async fn round(app: &App) -> Result<(), crate::evidence::service::Error> {
    for application in app.runs.waiting_for().await? {
        settle_runs(app, &application).await?;
    }
    for deployment in app.store.pending_deployments().await? {
        if let Ok(application) = read(app, &deployment.application).await {
            settle_deployment(app, deployment, &application).await?;
        }
    }
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
        Ok::<(), crate::evidence::service::Error>(())
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

async fn settle_runs(
    app: &App,
    application: &AppRef,
) -> Result<(), crate::evidence::service::Error> {
    let json = match read(app, application).await {
        Ok(json) => json,
        Err(client::Error::NoSuchApplication(_)) => {
            for (run, counts) in app.runs.give_up(application).await? {
                tracing::info!(%run, %application, counts = ?counts, "run given up");
            }
            return Ok(());
        }
        Err(_) => return Ok(()),
    };
    match AppFacts::from_json(&json) {
        Ok(facts) => {
            for (run, counts) in app.runs.settle(application, &facts).await? {
                tracing::info!(%run, %application, counts = ?counts, "run settled");
            }
        }
        Err(error) => {
            tracing::warn!(%application, error = crate::telemetry::chain(&error), "cannot be read");
        }
    }
    Ok(())
}

async fn settle_deployment(
    app: &App,
    mut deployment: DeploymentRow,
    application: &Value,
) -> Result<(), crate::store::Error> {
    let began = jiff::Timestamp::from_millisecond(
        i64::try_from(deployment.decision.0.timestamp_ms()).unwrap_or(i64::MAX),
    );
    let age = began
        .map(|began| app.clock.now().duration_since(began))
        .unwrap_or_default();
    let ours = operation_of(application, deployment.decision).is_some();
    let facts = AppFacts::from_json(application).ok();
    let operation = facts.as_ref().and_then(|facts| facts.operation.as_ref());
    let pending = application
        .get("operation")
        .is_some_and(|operation| !operation.is_null());
    let next = match operation {
        Some(operation) if ours && !pending => {
            deployment.started_at = Some(operation.started_at);
            match operation.phase {
                Phase::Succeeded => DeploymentState::Succeeded,
                Phase::Error | Phase::Failed => DeploymentState::Failed,
                Phase::Running | Phase::Terminating => DeploymentState::Running,
            }
        }
        // Another operation has taken its place, or it never began.
        _ if !ours && (deployment.state == DeploymentState::Running || age > LOST_AFTER) => {
            DeploymentState::Lost
        }
        _ => return Ok(()),
    };
    if next != deployment.state {
        tracing::info!(decision = %deployment.decision, application = %deployment.application, state = ?next, "deployment");
        deployment.state = next;
        app.store.upsert_deployment(deployment).await?;
    }
    Ok(())
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
        let opening = &entry.opening;
        let (reached, evidence) = match opening.applications.as_slice() {
            [application] if opening.operation == "ApplicationService.Sync" => {
                match app
                    .argocd
                    .application(application, None, Refresh::None)
                    .await
                {
                    Err(error) => (
                        Reached::Unknown,
                        format!("Argo CD could not be asked: {error}"),
                    ),
                    Ok(json) if operation_of(&json, opening.decision).is_some() => (
                        Reached::Yes,
                        "an operation of the application carries this decision".to_owned(),
                    ),
                    Ok(json) if newer_operation(&json, opening.at) => (
                        Reached::Unknown,
                        "a later operation has taken the place of any that carried it".to_owned(),
                    ),
                    Ok(_) => (
                        Reached::No,
                        "no operation of the application carries this decision".to_owned(),
                    ),
                }
            }
            _ => (
                Reached::Unknown,
                "Argo CD keeps no trace of such a call".to_owned(),
            ),
        };
        let closed = app
            .recorder
            .close_interrupted(opening.decision, reached, evidence)
            .await;
        if let Err(error) = closed {
            tracing::error!(decision = %opening.decision, error = crate::telemetry::chain(&error), "not closed");
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

async fn read(app: &App, application: &AppRef) -> Result<Value, client::Error> {
    let answer = app
        .argocd
        .application(application, None, Refresh::None)
        .await;
    answer.inspect_err(|error| {
        tracing::debug!(%application, error = crate::telemetry::chain(error), "cannot be read");
    })
}
