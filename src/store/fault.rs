//! How the store fails: [`Error`] for callers, [`Fault`] inside.
//!
//! Inside, SQL fails with the driver's error. At the boundary it becomes [`Error::Failed`] with
//! what was being done; the driver's type never leaves the store.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::rows::{EntryKind, RunId};
use crate::names::DecisionId;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log has an entry of this kind for this decision already.
    #[error("decision `{decision}` has its `{}` entry already", kind.word())]
    AlreadyRecorded {
        /// The decision.
        decision: DecisionId,
        /// Opening or closing.
        kind: EntryKind,
    },
    /// There was no place in the queue within the time allowed: try again later.
    #[error("storage is behind: no place in its queue within {waited_ms} ms")]
    Behind {
        /// How long the caller waited.
        waited_ms: u128,
    },
    /// The store was closed, or its writer has ended.
    #[error("the store is closed")]
    Closed,
    /// The database gave an error.
    #[error("storage failed to {action}")]
    Failed {
        /// What was being done.
        action: &'static str,
        /// What the database said.
        source: Cause,
    },
    /// Another process has the file open for writing.
    #[error("`{}` is in use by another syncgate", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Something about the file went wrong while the store was opened.
    #[error("cannot {step} `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// What the system or the database said.
        source: Cause,
    },
    /// A closing entry for a decision that was never opened.
    #[error("decision `{decision}` has no opening entry")]
    NoOpening {
        /// The decision.
        decision: DecisionId,
    },
    /// There is no such run.
    #[error("there is no run `{run}`")]
    NoSuchRun {
        /// The run that was asked for.
        run: RunId,
    },
    /// The file is a database, but not one of ours.
    #[error("`{}` is not a syncgate store", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The store was opened for reading only.
    #[error("the store was opened for reading only")]
    ReadOnly,
    /// The file was written by a newer version, which knows a schema that this one does not, or,
    /// when it was opened for reading only, by an older one.
    #[error("`{}` has schema {found}; this version of syncgate works with {known}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The schema of the file.
        found: i64,
        /// The schema of this version.
        known: i64,
    },
    /// A stored value does not have the form that it was stored in.
    #[error("the stored {field} of a row cannot be read")]
    Unreadable {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        source: Cause,
    },
}

/// What the system or the database said; cheap to clone, since one failed commit is told to all
/// who took part in it.
#[derive(Clone)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl Cause {
    pub(super) fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// How a piece of work fails inside the store.
#[derive(Debug)]
pub(super) enum Fault {
    /// The database gave an error.
    Sql(rusqlite::Error),
    /// The work found a reason of its own.
    Told(Error),
}

impl Fault {
    /// What the caller is told; `action` says what was being done.
    pub(super) fn told(self, action: &'static str) -> Error {
        match self {
            Self::Sql(error) => Error::Failed {
                action,
                source: Cause::new(error),
            },
            Self::Told(error) => error,
        }
    }

    /// Whether the row was refused because a row with the same unique columns is there.
    pub(super) fn is_duplicate(&self) -> bool {
        matches!(
            self,
            Self::Sql(rusqlite::Error::SqliteFailure(error, _))
                if error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
        )
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}
