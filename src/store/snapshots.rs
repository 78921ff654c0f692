//! What applications were like when something failed.

use rusqlite::OptionalExtension as _;

use super::Store;
use super::codec::{from_json, json};
use super::fault::Error;
use super::rows::RunId;
use crate::names::DecisionId;
use crate::snapshot::Snapshot;

/// What a snapshot was taken because of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotOf {
    /// A sync that this decision permitted has failed.
    Deploy(DecisionId),
    /// The tests of a run have failed.
    Run(RunId),
}

impl SnapshotOf {
    fn key(self) -> String {
        match self {
            Self::Deploy(decision) => format!("deploy/{decision}"),
            Self::Run(run) => format!("run/{run}"),
        }
    }
}

impl Store {
    /// Keeps `snapshot`, unless there is one already.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or [`Error::Failed`]; nothing was
    /// stored then.
    pub async fn add_snapshot(&self, of: SnapshotOf, snapshot: &Snapshot) -> Result<(), Error> {
        let snapshot = snapshot.clone();
        self.write("store a snapshot", move |db| {
            db.prepare_cached(
                "INSERT OR IGNORE INTO snapshot (of, taken_at, body) VALUES (?1, ?2, ?3)",
            )?
            .execute((
                of.key(),
                snapshot.taken_at.to_string(),
                json("body", &snapshot)?,
            ))?;
            Ok(())
        })
        .await
    }

    /// The snapshot that was taken because of `of`, if there is one.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn snapshot(&self, of: SnapshotOf) -> Result<Option<Snapshot>, Error> {
        self.read("read a snapshot", move |db| {
            db.prepare_cached("SELECT body FROM snapshot WHERE of = ?1")?
                .query_row([of.key()], |row| Ok(from_json(row, "body")))
                .optional()?
                .transpose()
        })
        .await
    }
}
