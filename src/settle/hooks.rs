//! How the hook Jobs ended that runs came from, and what becomes of runs of which their Jobs say something
//! else.
//!
//! In: readings of applications, from the loop and from the index's watch. Out: results stored beside the
//! runs; for each that disagrees an entry in the log, a log line, and then the run as it counts from now on.
//! The identifier of an entry is made from the run and its result, so that a crash between the entry and the
//! store leaves one entry.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;

use crate::app::App;
use crate::evidence::hook::HookResult;
use crate::evidence::service;
use crate::evidence::service::Disputed;
use crate::evidence::verdict::ReasonCode;
use crate::gate::AppFacts;
use crate::names::{AppRef, DecisionId};
use crate::record::{self, Opening};
use crate::rollout;
use crate::snapshot;
use crate::store::{self, SnapshotOf};
use crate::telemetry::chain;

/// What the record calls a run of which its hook Job says something else.
const DISPUTED: &str = "Run.Disputed";

/// Why it could not be settled what a run is worth.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the log cannot be used")]
    Record(#[from] record::Error),
    #[error("a rollback cannot be begun")]
    Rollback(#[from] rollout::Error),
    #[error(transparent)]
    Runs(#[from] service::Error),
    #[error("what was permitted cannot be kept")]
    Store(#[from] store::Error),
}

/// Takes the ends of hook Jobs from `ended`, until the gate stops.
pub async fn follow(app: Arc<App>, mut ended: mpsc::Receiver<Arc<Value>>) {
    while let Some(Some(application)) = app.stop.soft.run_until_cancelled(ended.recv()).await {
        // What is not kept now is asked about in the next round.
        if let Err(error) = take(&app, &application).await {
            tracing::warn!(error = chain(&error), "could not keep how hooks ended");
        }
    }
}

async fn take(app: &App, application: &Value) -> Result<(), Error> {
    let Ok(facts) = AppFacts::from_json(application) else {
        return Ok(());
    };
    let home = &app.config.upstream.namespace;
    for name in app.runs.awaiting(&facts.application, home).await? {
        hear(app, &name, &facts).await?;
    }
    weigh(app).await
}

/// Keeps what `now` tells about the hook Jobs of runs of `application`.
pub(super) async fn hear(app: &App, application: &AppRef, now: &AppFacts) -> Result<(), Error> {
    for (run, hook) in app.runs.hear(application, now).await? {
        let HookResult {
            kind,
            job,
            phase,
            message,
            ..
        } = hook;
        let phase = phase.word();
        tracing::info!(%run, %application, job, kind, phase, message, "hook ended");
    }
    Ok(())
}

/// Lets runs count as what they are worth beside their hook Jobs.
pub(super) async fn weigh(app: &App) -> Result<(), Error> {
    for disputed in app.runs.disputed().await? {
        let decision = put_on_record(app, &disputed).await?;
        if !app.runs.dispute(&disputed, decision).await? {
            continue;
        }
        let run = &disputed.stored.run;
        tracing::warn!(
            %decision, run = %run.id, application = %run.application, suite = %run.suite,
            reported = disputed.reported.word(), counts_as = disputed.weighed.verdict.word(),
            why = disputed.weighed.reason.detail,
            "a run and its hook disagree"
        );
        if disputed.weighed.reason.code == ReasonCode::HookFailed {
            crate::admission::withdrawn(app);
            snapshot::want(app, SnapshotOf::Run(run.id), run.application.clone());
        }
    }
    // Also where the two agree: what was not told before is known now.
    app.notices.notify_one();
    Ok(())
}

async fn put_on_record(app: &App, disputed: &Disputed) -> Result<DecisionId, record::Error> {
    let decision = identifier(disputed);
    let mut entry = Opening::of_gate(decision, app.clock.now(), DISPUTED);
    entry.applications = vec![disputed.stored.run.application.clone()];
    entry.request = disputed.facts();
    app.recorder.note(entry).await?;
    Ok(decision)
}

/// The same for the same run and result, whenever it is asked.
fn identifier(disputed: &Disputed) -> DecisionId {
    let named = format!("{DISPUTED} {}", disputed.stored.run.id);
    DecisionId::of_seen(disputed.hook.seen_at, &named)
}
