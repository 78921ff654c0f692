//! The end of a permitted operation, on record.
//!
//! In: a deployment that has ended, and what tells of its end. Out: one entry of the log, linked to the decision that
//! permitted it: how the operation ended, and each of its hook Jobs, which Argo CD forgets at the next one. What passed
//! while nobody looked is rebuilt from Argo CD's history, and from events, and says so; hooks that were not seen are lost,
//! never passed.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::app::App;
use crate::argocd::client::KubernetesEvent;
use crate::deployed::{self, rolls_out};
use crate::gate::{HookJob, Phase, hook_jobs};
use crate::json;
use crate::record::{self, Opening};
use crate::store::{DeploymentRow, DeploymentState};

/// Characters of what Argo CD says of the end, at most.
const MAX_MESSAGE: usize = 512;

/// What tells of an end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen<'a> {
    /// An event of Kubernetes: that the operation failed, when and why.
    Event(&'a KubernetesEvent),
    /// An entry of the application's history, of which there is one for each operation that ended well.
    History(&'a Value),
    /// Nothing.
    Nowhere,
    /// The operation state of the application.
    State(&'a Value),
}

impl<'a> Seen<'a> {
    /// What was carried out, as an entry of the history has it.
    pub(super) fn ran(self) -> Option<Value> {
        match self {
            Self::History(entry) => Some(deployed::ran(entry)),
            Self::Event(_) | Self::Nowhere => None,
            Self::State(state) => Some(deployed::ran(json::at(state, "/syncResult"))),
        }
    }

    /// The operation state, where that is of this operation; else nothing.
    pub(super) fn state(self) -> &'a Value {
        static NOTHING: Value = Value::Null;
        match self {
            Self::State(state) => state,
            Self::Event(_) | Self::History(_) | Self::Nowhere => &NOTHING,
        }
    }
}

/// What Kubernetes still keeps of the failure of `deployment`'s operation: the first completion of one of its commits
/// since it was permitted. What ended well is in the history.
pub(super) fn in_events<'a>(
    deployment: &DeploymentRow,
    events: &'a [KubernetesEvent],
) -> Option<&'a KubernetesEvent> {
    let since = deployment.started_at.or(deployment.decision.made_at())?;
    let commit = deployment.commits.first()?.as_str();
    let mut ended = events.iter().filter(|event| {
        // Events tell whole seconds.
        let is_later = event.at.as_second() >= since.as_second();
        is_later && event.reason == "OperationCompleted" && event.message.contains(commit)
    });
    ended
        .next()
        .filter(|event| event.message.contains(" failed"))
}

/// The entry of the history of `application` that `deployment` has left, and when its operation started.
pub(super) fn in_history<'a>(
    deployment: &DeploymentRow,
    application: &'a Value,
) -> Option<(&'a Value, Timestamp)> {
    if json::text(application, "/metadata/uid") != deployment.uid {
        return None;
    }
    let made_at = deployment.decision.made_at()?;
    let is_it = |started: Timestamp| match deployment.started_at {
        Some(known) => started == known,
        // Argo CD tells whole seconds.
        None => started.as_second() >= made_at.as_second(),
    };
    let newest_first = json::at(application, "/status/history")
        .as_array()?
        .iter()
        .rev();
    let of_what = newest_first
        .filter(|entry| rolls_out(&deployment.commits, &deployment.source_digest, entry));
    let mut begun = of_what.filter_map(|entry| {
        let started = json::text(entry, "/deployStartedAt").parse().ok()?;
        Some((entry, started))
    });
    begun.find(|(_, started)| is_it(*started))
}

/// Puts the end of `deployment` on record, as `seen`; nothing while it goes on. The same entry however often a crash
/// lets it be written.
pub(super) async fn put_on_record(
    app: &App,
    deployment: &DeploymentRow,
    seen: Seen<'_>,
) -> Result<(), record::Error> {
    if matches!(
        deployment.state,
        DeploymentState::Permitted | DeploymentState::Running
    ) {
        return Ok(());
    }
    let now = app.clock.now();
    let decision = record::end_of(deployment.decision, &deployment.application);
    let mut entry = Opening::of_gate(decision, now, record::OPERATION_END);
    entry.applications = vec![deployment.application.clone()];
    entry.request = facts(deployment, seen);
    app.recorder.note(entry).await.map(drop)
}

fn facts(deployment: &DeploymentRow, seen: Seen<'_>) -> Value {
    let mut facts = json!({
        "permitted_by": deployment.decision,
        "environment": deployment.environment,
        "component": deployment.component,
        "commits": deployment.commits,
        "state": deployment.state,
        "hooks": "lost",
    });
    let mut tell = |key: &str, value: Value| json::set(&mut facts, key, value);
    match seen {
        Seen::Nowhere => {}
        Seen::Event(event) => {
            tell("/reconstructed", json!(true));
            tell("/finished_at", json!(event.at));
            tell("/message", json!(cut(&event.message)));
        }
        Seen::History(entry) => {
            tell("/reconstructed", json!(true));
            tell("/started_at", json::at(entry, "/deployStartedAt").clone());
            tell("/finished_at", json::at(entry, "/deployedAt").clone());
        }
        Seen::State(state) => {
            tell("/phase", json::at(state, "/phase").clone());
            tell("/message", json!(cut(json::text(state, "/message"))));
            tell("/started_at", json::at(state, "/startedAt").clone());
            tell("/finished_at", json::at(state, "/finishedAt").clone());
            if deployment.state != DeploymentState::Lost {
                let hooks = hook_jobs(json::at(state, "/syncResult/resources"));
                tell("/hooks", json!(hooks.iter().map(hook).collect::<Vec<_>>()));
            }
        }
    }
    facts
}

fn cut(message: &str) -> String {
    message.chars().take(MAX_MESSAGE).collect()
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
