//! Watches the folder of policies and reloads it.
//!
//! The system's notifications say when to look; what is looked at is always the whole folder. As
//! notifications can be lost (network file systems, a link above the folder that is replaced), it
//! is looked at once in a while without being told, too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::live::Live;

/// An editor, `git` or Kubernetes writes several files; the folder is read once they are done.
const QUIET: Duration = Duration::from_millis(200);
/// How often quiet is waited for, so that a folder that is never quiet is read all the same.
const PATIENCE: usize = 20;
const UNTOLD: Duration = Duration::from_secs(30);

/// The folder cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("folder `{folder}` cannot be watched")]
pub struct WatchError {
    /// Which folder.
    pub folder: String,
    /// What the system said.
    #[source]
    pub source: notify::Error,
}

/// Reloads `live` from the folder `dir` whenever something in it changes, until `stop`, in a task
/// of `tasks`.
///
/// # Errors
/// [`WatchError`] when the system does not take the watch; nothing is started then.
pub fn watch(
    dir: &Path,
    live: Live,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<(), WatchError> {
    let changed = Arc::new(Notify::new());
    let tell = Arc::clone(&changed);
    let failed = |source| WatchError {
        folder: dir.display().to_string(),
        source,
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Our own reading is an access; an error means that notifications were lost.
        if event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            return;
        }
        tell.notify_one();
    })
    .map_err(failed)?;
    watcher
        .watch(dir, RecursiveMode::NonRecursive)
        .map_err(failed)?;
    let (dir, blocking) = (dir.to_owned(), tasks.clone());
    tasks.spawn(async move {
        let mut untold = interval(UNTOLD);
        untold.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = changed.notified() => quiet(&changed).await,
                _ = untold.tick() => {}
            }
            let (dir, live) = (dir.clone(), live.clone());
            let look = blocking.spawn_blocking(move || live.reload(&dir));
            if let Err(error) = look.await {
                tracing::error!("reload of policies ended early: {error}");
            }
        }
        drop(watcher);
    });
    Ok(())
}

/// Waits until no change was told for a while.
async fn quiet(changed: &Notify) {
    for _ in 0..PATIENCE {
        if timeout(QUIET, changed.notified()).await.is_err() {
            return;
        }
    }
}
