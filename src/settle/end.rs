//! The end of a permitted operation, on record.
//!
//! In: a deployment that has ended, and the last reading of its application. Out: one entry of the log, linked to the
//! decision that permitted it: how the operation ended, and each of its hook Jobs, which Argo CD forgets at the next
//! one. What could not be seen is told as lost, never as passed.

use serde_json::{Value, json};

use crate::app::App;
use crate::argocd::operation::Effect;
use crate::gate::{AppFacts, HookJob, Phase};
use crate::json;
use crate::record::{self, Door, Opening, Word};
use crate::store::{DeploymentRow, DeploymentState};

/// Characters of what Argo CD says of the end, at most.
const MAX_MESSAGE: usize = 512;

/// Puts the end of `deployment` on record, as `application` tells it (null where it is gone); nothing while it goes on.
/// The same entry however often a crash lets it be written.
pub(super) async fn put_on_record(
    app: &App,
    deployment: &DeploymentRow,
    application: &Value,
) -> Result<(), record::Error> {
    if matches!(
        deployment.state,
        DeploymentState::Permitted | DeploymentState::Running
    ) {
        return Ok(());
    }
    let now = app.clock.now();
    let decision = record::end_of(deployment.decision, &deployment.application);
    let effect = Effect::Report.word();
    let mut entry = Opening::new(
        decision,
        now,
        Door::Controller,
        record::OPERATION_END,
        effect,
        Word::Note,
    );
    entry.applications = vec![deployment.application.clone()];
    entry.request = facts(deployment, application);
    app.recorder.note(entry).await.map(drop)
}

fn facts(deployment: &DeploymentRow, application: &Value) -> Value {
    let mut facts = json!({
        "permitted_by": deployment.decision,
        "environment": deployment.environment,
        "component": deployment.component,
        "commits": deployment.commits,
        "state": deployment.state,
        "hooks": "lost",
    });
    if deployment.state == DeploymentState::Lost {
        return facts;
    }
    let state = json::at(application, "/status/operationState");
    let message: String = json::text(state, "/message")
        .chars()
        .take(MAX_MESSAGE)
        .collect();
    json::set(&mut facts, "/phase", json::at(state, "/phase").clone());
    json::set(&mut facts, "/message", json!(message));
    json::set(
        &mut facts,
        "/started_at",
        json::at(state, "/startedAt").clone(),
    );
    json::set(
        &mut facts,
        "/finished_at",
        json::at(state, "/finishedAt").clone(),
    );
    let known = AppFacts::from_json(application)
        .ok()
        .and_then(|facts| facts.operation);
    if let Some(operation) = known {
        let hooks: Vec<Value> = operation.hooks.iter().map(hook).collect();
        json::set(&mut facts, "/hooks", json!(hooks));
    }
    facts
}

fn hook(hook: &HookJob) -> Value {
    let phase = match hook.phase {
        Some(Phase::Error) => "Error",
        Some(Phase::Failed) => "Failed",
        Some(Phase::Succeeded) => "Succeeded",
        // Of an operation that has ended, nobody says how it went on.
        Some(Phase::Running | Phase::Terminating) | None => "lost",
    };
    json!({
        "kind": hook.kind,
        "job": format!("{}/{}", hook.namespace, hook.name),
        "phase": phase,
        "message": hook.message,
    })
}
