//! The connections that only read.
//!
//! A few, opened when first needed, each used by one blocking task at a time. In WAL mode they
//! never wait for the writer, and see what was committed before they began.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::fault::{Cause, Error, Fault};

/// How many reads run at a time.
const READERS: usize = 4;

/// How long a reader waits for SQLite where it cannot go on at once (recovery after a crash).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The pool.
pub(super) struct Readers {
    path: PathBuf,
    places: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            places: Arc::new(Semaphore::new(READERS)),
            idle: Arc::default(),
        }
    }

    /// Runs `query` on one of the connections, off the runtime's threads.
    pub(super) async fn read<T, F>(&self, action: &'static str, query: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| Error::Closed)?;
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let task = tokio::task::spawn_blocking(move || {
            // Held by the task, not by the caller, who may go away first.
            let _place = place;
            let taken = lock(&idle).pop();
            let connection = match taken {
                Some(connection) => connection,
                None => open(&path)?,
            };
            let answer = query(&connection).map_err(|fault| fault.told(action));
            lock(&idle).push(connection);
            answer
        });
        // A query that panicked, or a runtime that is going down.
        task.await.unwrap_or_else(|error| {
            Err(Error::Failed {
                action,
                source: Cause::new(error),
            })
        })
    }

    /// Takes no more queries, waits for those that run, closes the connections.
    pub(super) async fn close(&self) {
        let most = u32::try_from(READERS).unwrap_or(u32::MAX);
        if let Ok(all) = self.places.acquire_many(most).await {
            self.places.close();
            drop(all);
        }
        lock(&self.idle).clear();
    }
}

/// Opens `path` for reading only.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    let connect = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    };
    connect().map_err(|error| Error::Open {
        path: path.to_owned(),
        step: "open for reading",
        source: Cause::new(error),
    })
}

/// A connection stays usable when another thread panicked while it held the list.
fn lock(idle: &Mutex<Vec<Connection>>) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
