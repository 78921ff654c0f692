//! What an application was like when its tests or its sync failed.
//!
//! In: an application, at the moment of a failure. Out: a [`Snapshot`], kept with the failure: how its
//! resources are, what Argo CD and Kubernetes say about those that are not well, the last lines of pods
//! that fail, and what the rollout changed. Bounded in everything; what was left out, or could not be
//! found out, is named. Never: a secret. The values of `Secret` objects are not kept, nor what looks like
//! a credential elsewhere.

mod changes;
mod collect;
mod resource;

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use self::changes::{Changes, ResourceChange};
pub use self::resource::{ResourceState, Words};
use crate::app::App;
use crate::names::AppRef;
use crate::store::SnapshotOf;
use crate::telemetry::chain;

/// How many snapshots are taken at a time.
const AT_ONCE: usize = 4;
/// How many wait for that at most.
const WAITING: usize = 256;
/// The most bytes of a snapshot as JSON.
pub const MAX_BYTES: usize = 256 << 10;

/// One application at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Of which application.
    pub application: AppRef,
    /// Whether what is live is what Git says (`Synced`), in the word of Argo CD.
    pub sync: String,
    /// Its health, in the word of Argo CD.
    pub health: String,
    /// The operation that runs, or ran last.
    pub operation: Option<OperationState>,
    /// What Argo CD complains of: type and message.
    pub conditions: Vec<Words>,
    /// Its resources, those that are not well first.
    pub resources: Vec<ResourceState>,
    /// The images that run.
    pub images: Vec<String>,
    /// What Kubernetes says of resources that are not well, oldest first.
    pub events: Vec<EventOf>,
    /// The last lines of pods that fail or restart.
    pub logs: Vec<LogOf>,
    /// What the rollout changed.
    pub changes: Option<Changes>,
    /// What was left out, or could not be found out, and why: a line each.
    pub missing: Vec<String>,
}

/// An operation, as Argo CD tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationState {
    /// How far it is.
    pub phase: String,
    /// What Argo CD says of it.
    pub message: String,
    /// When it began.
    pub started_at: String,
    /// The commits that it rolls out.
    pub revisions: Vec<String>,
    /// Its hooks, and the resources that it could not apply.
    pub results: Vec<ResourceState>,
}

/// An event about one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventOf {
    /// Which: `Pod shop/cart-0`.
    pub resource: String,
    /// When it was last seen.
    pub at: Timestamp,
    /// Its reason and message.
    #[serde(flatten)]
    pub words: Words,
}

/// The end of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOf {
    /// Which pod: `shop/cart-0`.
    pub pod: String,
    /// Its last lines.
    pub lines: Vec<String>,
}

impl Snapshot {
    /// In a line or a few, what is not well.
    #[must_use]
    pub fn summary(&self) -> Vec<String> {
        const MOST: usize = 5;
        let mut lines = vec![format!("{}, {}", self.sync, self.health)];
        if let Some(operation) = &self.operation {
            lines.push(format!(
                "operation {}: {}",
                operation.phase, operation.message
            ));
        }
        let ill = self.resources.iter().filter(|resource| resource.is_ill());
        lines.extend(ill.take(MOST).map(ToString::to_string));
        if let Some(changes) = &self.changes {
            lines.push(changes.to_string());
        }
        lines
    }
}

/// A snapshot to take.
pub(crate) type Wanted = (SnapshotOf, AppRef);

/// Where snapshots are asked for, and where they wait to be taken.
pub(crate) fn queue() -> (mpsc::Sender<Wanted>, mpsc::Receiver<Wanted>) {
    mpsc::channel(WAITING)
}

/// Asks for a snapshot of `application` because of `of`. The first one of a failure stays.
pub(crate) fn want(app: &App, of: SnapshotOf, application: AppRef) {
    if let Err(error) = app.snapshots.try_send((of, application)) {
        tracing::error!(?of, error = chain(&error), "no snapshot will be taken");
    }
}

/// Takes the snapshots that are wanted, until the gate stops.
pub(crate) async fn follow(app: Arc<App>, mut wanted: mpsc::Receiver<Wanted>) {
    let wanted = stream::poll_fn(move |context| wanted.poll_recv(context));
    let taking = wanted.for_each_concurrent(AT_ONCE, |(of, application)| {
        let app = Arc::clone(&app);
        async move { take(&app, of, &application).await }
    });
    app.stop.soft.run_until_cancelled(taking).await;
}

async fn take(app: &App, of: SnapshotOf, application: &AppRef) {
    let snapshot = match collect::collect(app, application).await {
        Ok(snapshot) => snapshot,
        Err(error) => {
            tracing::warn!(%application, error = chain(&error), "no snapshot can be taken");
            return;
        }
    };
    match app.store.add_snapshot(of, &snapshot).await {
        Ok(()) => tracing::info!(%application, ?of, "snapshot taken"),
        Err(error) => {
            tracing::error!(%application, error = chain(&error), "no snapshot can be kept");
        }
    }
}
