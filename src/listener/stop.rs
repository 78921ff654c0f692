//! Stopping in two steps.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The two signals of a stop. After `soft` nothing new is accepted and what runs may finish; after
/// `hard` what still runs is cut. Clones share the signals.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Accept nothing new.
    pub soft: CancellationToken,
    /// End now.
    pub hard: CancellationToken,
}

impl Stop {
    /// Gives the soft signal, waits up to `grace` for `tasks` to finish, and cuts the others.
    /// Every task of the tracker must heed `hard`.
    pub async fn drain(&self, tasks: &TaskTracker, grace: Duration) {
        self.soft.cancel();
        tasks.close();
        if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
            let running = tasks.len();
            tracing::warn!(running, "the grace period is over, cutting {running} tasks");
        }
        self.hard.cancel();
        tasks.wait().await;
    }
}
