//! What a permitted sync became: whether Argo CD runs what was checked, and what ran before.
//!
//! Before the forward a deployment is stored as *permitted*; after it, the operation that carries
//! our decision is compared with the plan, and terminated where it differs (the destination and the
//! sources are read by Argo CD from the live object, which another writer can change). When the
//! operation has ended ([`crate::settle`]) the deployment has succeeded or failed; commits that
//! succeeded here are the *incumbent* and may come back.

use serde_json::Value;

use crate::app::App;
use crate::argocd::client::Refresh;
use crate::argocd::request::{Body as CallBody, Call, INFO_DECISION};
use crate::gate::ApplicationPlan;
use crate::names::{Commit, DecisionId};
use crate::planner::Plan;
use crate::respond::Rejection;
use crate::store::{self, DeploymentRow, DeploymentState};

/// How many deployments are looked back on for an incumbent.
const LOOK_BACK: u32 = 500;

/// Stores what is about to be rolled out.
///
/// # Errors
/// [`Rejection`] when it cannot be stored; nothing may be forwarded then.
pub async fn permitted(app: &App, decision: DecisionId, plan: &Plan) -> Result<(), Rejection> {
    for planned in &plan.applications {
        let dry_run = planned.sync.is_some_and(|sync| sync.dry_run);
        let Some(plan) = planned.plan.as_ref().filter(|_| !dry_run) else {
            continue;
        };
        let row = DeploymentRow {
            decision,
            application: plan.application.clone(),
            uid: plan.uid.clone(),
            environment: plan.environment.clone(),
            component: plan.component.clone(),
            commits: commits(plan),
            source_digest: plan.source_digest.clone(),
            started_at: None,
            state: DeploymentState::Permitted,
        };
        app.store.upsert_deployment(row).await.map_err(|error| match error {
            store::Error::Behind { .. } => Rejection::RecordBehind,
            error => {
                tracing::error!(%decision, error = crate::telemetry::chain(&error), "not stored");
                Rejection::Internal
            }
        })?;
    }
    Ok(())
}

/// Whether exactly these commits and parameters were permitted and ran in this environment, and no
/// later deployment of them failed.
///
/// # Errors
/// [`store::Error`].
pub async fn is_incumbent(app: &App, plan: &ApplicationPlan) -> Result<bool, store::Error> {
    let newest_first = app
        .store
        .deployments(&plan.environment, &plan.component, LOOK_BACK)
        .await?;
    let commits = commits(plan);
    let ended = newest_first.iter().find(|row| {
        row.application == plan.application
            && row.uid == plan.uid
            && row.commits == commits
            && row.source_digest == plan.source_digest
            && matches!(
                row.state,
                DeploymentState::Failed | DeploymentState::Succeeded
            )
    });
    Ok(ended.is_some_and(|row| row.state == DeploymentState::Succeeded))
}

/// Compares the operation that the forwarded sync started with what was checked.
///
/// # Errors
/// [`Rejection::Conflict`] when it differs; it is terminated then.
pub async fn verify(
    app: &App,
    decision: DecisionId,
    plan: &Plan,
    call: &Call,
) -> Result<(), Rejection> {
    let CallBody::Sync(request) = &call.body else {
        return Ok(());
    };
    if request.is_dry_run() {
        return Ok(());
    }
    for planned in &plan.applications {
        let Some(plan) = &planned.plan else { continue };
        let read = app
            .argocd
            .application(&plan.application, None, Refresh::None)
            .await;
        let application = match read {
            Ok(application) => application,
            Err(error) => {
                // The closing entry tells that the sync was forwarded; `settle` looks again.
                tracing::warn!(%decision, error = crate::telemetry::chain(&error), "not verified");
                continue;
            }
        };
        let Some(operation) = operation_of(&application, decision) else {
            continue;
        };
        if planned.mode == crate::policy::Mode::Enforce && !runs(plan, operation, &application) {
            tracing::error!(%decision, application = %plan.application, "another writer changed what is rolled out");
            let ended = app.argocd.terminate(&plan.application).await;
            let what = if ended.is_ok() {
                "was terminated"
            } else {
                "could not be terminated"
            };
            return Err(Rejection::Conflict {
                sentence: format!(
                    "{} was changed by another writer while it was checked; its operation {what}",
                    plan.application.name
                ),
                next: None,
            });
        }
    }
    Ok(())
}

/// The operation of `application` that carries `decision`: pending, running or ended.
#[must_use]
pub fn operation_of(application: &Value, decision: DecisionId) -> Option<&Value> {
    let places = ["/operation", "/status/operationState/operation"];
    places
        .iter()
        .filter_map(|place| application.pointer(place))
        .find(|operation| {
            operation["info"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|info| {
                    info["name"].as_str() == Some(INFO_DECISION)
                        && info["value"].as_str() == Some(decision.to_string().as_str())
                })
        })
}

/// Whether `operation` rolls out the sources of `plan` at its commits, to a place in the same
/// environment's application.
fn runs(plan: &ApplicationPlan, operation: &Value, application: &Value) -> bool {
    let sync = &operation["sync"];
    let texts = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect()
    };
    let (sources, revisions) = if plan.multi_source {
        (
            sync["sources"].as_array().cloned().unwrap_or_default(),
            texts(&sync["revisions"]),
        )
    } else {
        let revision = sync["revision"].as_str().unwrap_or_default().to_owned();
        (vec![sync["source"].clone()], vec![revision])
    };
    let commits: Vec<&str> = plan
        .sources
        .iter()
        .map(|source| source.commit.as_str())
        .collect();
    let same_uid =
        application.pointer("/metadata/uid").and_then(Value::as_str) == Some(plan.uid.as_str());
    same_uid
        && revisions == commits
        && ApplicationPlan::digests(&sources, &[]).0 == plan.source_digest
}

fn commits(plan: &ApplicationPlan) -> Vec<Commit> {
    plan.sources
        .iter()
        .map(|source| source.commit.clone())
        .collect()
}
