//! What is kept: the log, test runs, deployments, rollouts, intents, stopped lines, judged operations, messages
//! that wait. `SQLite` in one file.
//!
//! In: rows ([`rows`]). Out: rows, newest first, and for every write the certainty that it is on
//! disk. All writes go through one thread (see `writer`) that commits them in groups; reads run
//! beside it on connections of their own. No SQL and no type of the database leaves this room, so
//! that another database can stand behind the same methods.
//!
//! Refused: a file of another program, of a newer version, or in use by another process; a write
//! for which there is no place in time ([`Error::Behind`]: the caller answers "retry"). The cost of
//! a query does not grow with rows that do not concern it: every one has its index.
//!
//! It must never say that something is stored before it is durable, and never change a log entry.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use self::fault::Fault;
pub use self::fault::{Cause, Error};
pub use self::notices::{NewNotice, Notice};
pub use self::operations::{Judgement, Look, OperationRow};
use self::readers::Readers;
pub use self::rows::*;
pub use self::sessions::{Renewal, RevocationRow, Revoked, RevokedFor, SessionKeyRow, SessionRow};
pub use self::snapshots::SnapshotOf;
pub use self::writer::Pending;
use self::writer::Writer;

mod attempts;
mod attestations;
mod break_glasses;
mod codec;
mod counts;
mod deployments;
mod fault;
mod hooks;
mod intents;
mod lines;
mod log;
mod migrate;
mod notices;
mod operations;
mod readers;
mod rollouts;
pub mod rows;
mod runs;
mod sessions;
mod snapshots;
mod withdrawals;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

/// The most rows that one query gives, whatever its filter asks for.
pub const MAX_ROWS: u32 = 1000;

/// How long the writer waits for a lock that a reader's recovery holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A WAL that a burst has made larger is cut back to this at the next checkpoint.
const WAL_BYTES: i64 = 64 << 20;

/// The store. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    /// Absent when the store was opened for reading only.
    writer: Option<Writer>,
    readers: Readers,
    /// The place in the log at which the entries of this process begin.
    first: Seq,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens the store at `path` for reading and writing: creates the file (mode 0600) and its
    /// schema where they are missing, brings an older schema forward, starts the writer. A file
    /// `PATH.lock` beside it keeps a second process out. Blocks; for start-up.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::NotOurs`], [`Error::Schema`] (newer than this version), or
    /// [`Error::Open`] with what the system said.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with(path, writer::QUEUE, writer::PLACE_TIMEOUT)
    }

    fn open_with(path: &Path, queue: usize, place_timeout: Duration) -> Result<Self, Error> {
        let failed = |step| move |error| open_error(path, step, error);
        let lock = lock_for_writing(path)?;
        create_file(path).map_err(failed("create"))?;
        let mut connection = connect(path).map_err(|error| Error::Open {
            path: path.to_owned(),
            step: "open",
            source: Cause::new(error),
        })?;
        migrate::migrate(&mut connection, path)?;
        let first = log::next_seq(&connection).map_err(|fault| fault.told("read the log"))?;
        let writer = Writer::start(connection, lock, queue, place_timeout)
            .map_err(failed("start the writer of"))?;
        Ok(Self(Arc::new(Inner {
            writer: Some(writer),
            readers: Readers::new(path),
            first,
        })))
    }

    /// Opens the store at `path` for reading only, beside a running gate or without one. Writes
    /// give [`Error::ReadOnly`]. Blocks.
    ///
    /// # Errors
    /// [`Error::NotOurs`], [`Error::Schema`] (newer or older than this version), or
    /// [`Error::Open`] with what the system said.
    pub fn open_read_only(path: &Path) -> Result<Self, Error> {
        let connection = readers::open(path)?;
        migrate::require_known(&connection, path)?;
        let first = log::next_seq(&connection).map_err(|fault| fault.told("read the log"))?;
        Ok(Self(Arc::new(Inner {
            writer: None,
            readers: Readers::new(path),
            first,
        })))
    }

    /// Takes no more writes, waits until every queued one is on disk, closes the file. Later calls
    /// give [`Error::Closed`].
    pub async fn close(&self) {
        // Readers first, so that the writer's connection is the last and leaves one clean file.
        self.0.readers.close().await;
        if let Some(writer) = &self.0.writer {
            writer.close().await;
        }
    }

    /// Runs `work` in the writer and waits until it is durable.
    async fn write<T, F>(&self, action: &'static str, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let place = self.writer()?.place().await?;
        place.queue(action, work).durable().await
    }

    async fn read<T, F>(&self, action: &'static str, query: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.0.readers.read(action, query).await
    }

    fn writer(&self) -> Result<&Writer, Error> {
        self.0.writer.as_ref().ok_or(Error::ReadOnly)
    }
}

/// How many rows to give when `asked` are asked for.
fn capped(asked: u32) -> u32 {
    asked.min(MAX_ROWS)
}

/// Takes the lock that keeps other processes from writing. The lock ends with the process, however
/// that ends. It is a file of its own: the locks of `SQLite` are lost when anybody closes the database
/// file in the same process.
fn lock_for_writing(path: &Path) -> Result<File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(PathBuf::from(name))
        .map_err(|error| open_error(path, "create the lock file of", error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(open_error(path, "lock", error)),
    }
}

/// Creates the file where it is missing, readable by its owner alone, and makes its name durable.
/// `SQLite` gives the files beside it the same mode.
fn create_file(path: &Path) -> std::io::Result<()> {
    let new = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
    match new {
        Ok(_) => match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        },
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // FULL: with NORMAL, a WAL may lose its last commits when the power goes.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn open_error(path: &Path, step: &'static str, error: std::io::Error) -> Error {
    Error::Open {
        path: path.to_owned(),
        step,
        source: Cause::new(error),
    }
}
