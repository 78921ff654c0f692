//! Operations that Argo CD runs or ran, as they were judged.
//!
//! A judgement, how far an application was looked at, and the messages about it are stored together
//! or not at all, so that a crash neither forgets a message nor judges twice.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, named_params};
use serde::{Deserialize, Serialize};

use super::codec::{from_text, json, maybe_from_text, maybe_text, text};
use super::fault::{Error, Fault};
use super::log::{collect, entry_of};
use super::rows::StoredEntry;
use super::{MAX_ROWS, NewNotice, Store, notices};
use crate::names::{AppRef, DecisionId};

const READ: &str = "read operations";

/// An operation as it was judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OperationRow {
    /// The uid of the Application object.
    pub uid: String,
    /// When the operation began, by Argo CD's clock: with the uid it names the operation.
    pub started_at: Timestamp,
    /// The application.
    pub application: AppRef,
    /// What it rolled out, as Argo CD writes it.
    pub commits: Vec<String>,
    /// Who started it, in Argo CD's words.
    pub initiated_by: String,
    /// What was found about it.
    pub judgement: Judgement,
    /// The decision that permitted it.
    pub explained_by: Option<DecisionId>,
    /// The entry of the log that says that none did.
    pub alarm: Option<DecisionId>,
    /// Whether it passed while nobody looked.
    pub reconstructed: bool,
    /// When it was judged.
    pub judged_at: Timestamp,
}

/// What was found about an operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// It began before the first look.
    Baseline,
    /// It changes nothing, and no decision permitted it.
    DryRun,
    /// A decision permitted it.
    Explained,
    /// No decision permitted it.
    Unexplained,
}

/// What to store about one look at an application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Look {
    /// The uid of the Application object.
    pub uid: String,
    /// The operations that were judged, oldest first.
    pub operations: Vec<OperationRow>,
    /// Messages about them.
    pub notices: Vec<NewNotice>,
}

impl Store {
    /// When this store first followed the operations of Argo CD: `now` the first time.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or [`Error::Failed`].
    pub async fn operations_since(&self, now: Timestamp) -> Result<Timestamp, Error> {
        self.write("begin to follow operations", move |db| {
            db.prepare_cached(
                "INSERT OR IGNORE INTO operation_watch (id, began_at) VALUES (1, ?1)",
            )?
            .execute([now.to_string()])?;
            db.prepare_cached("SELECT began_at FROM operation_watch")?
                .query_row((), |row| Ok(from_text(row, "began_at")))?
        })
        .await
    }

    /// Of `uids` those that were looked at before, with the begin of the newest operation judged.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn watched(
        &self,
        uids: Vec<String>,
    ) -> Result<BTreeMap<String, Option<Timestamp>>, Error> {
        self.read(READ, move |db| {
            let sql = "SELECT last_started_at FROM watched_application WHERE uid = ?1";
            let mut query = db.prepare_cached(sql)?;
            let mut known = BTreeMap::new();
            for uid in uids {
                let last =
                    query.query_row([&uid], |row| Ok(maybe_from_text(row, "last_started_at")));
                if let Some(last) = last.optional()? {
                    known.insert(uid, last?);
                }
            }
            Ok(known)
        })
        .await
    }

    /// Whether the operation of the object `uid` that began at `started_at` was judged before.
    ///
    /// # Errors
    /// As [`watched`](Self::watched).
    pub async fn is_judged(&self, uid: &str, started_at: Timestamp) -> Result<bool, Error> {
        let key = (uid.to_owned(), started_at.to_string());
        self.read(READ, move |db| {
            let sql = "SELECT 1 FROM operation_seen WHERE uid = ?1 AND started_at = ?2";
            Ok(db.prepare_cached(sql)?.exists(key)?)
        })
        .await
    }

    /// Whether `decision` has explained an operation of the object `uid`.
    ///
    /// # Errors
    /// As [`watched`](Self::watched).
    pub async fn is_used(&self, decision: DecisionId, uid: &str) -> Result<bool, Error> {
        let key = (decision.to_string(), uid.to_owned());
        self.read(READ, move |db| {
            let sql = "SELECT 1 FROM operation_seen WHERE explained_by = ?1 AND uid = ?2";
            Ok(db.prepare_cached(sql)?.exists(key)?)
        })
        .await
    }

    /// Stores looks; an operation that was judged before stays as it is.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or [`Error::Failed`]; nothing was
    /// stored then.
    pub async fn add_looks(&self, looks: Vec<Look>) -> Result<(), Error> {
        self.write("store judged operations", move |db| {
            looks.iter().try_for_each(|look| add(db, look))
        })
        .await
    }

    /// Openings about the application `name`, in whatever namespace, of decisions made from `from` to
    /// `to`, newest first, at most [`MAX_ROWS`]. Its cost depends on how much was decided in that
    /// time, not on the length of the log.
    ///
    /// # Errors
    /// As [`watched`](Self::watched).
    pub async fn decided_about(
        &self,
        name: &str,
        from: DecisionId,
        to: DecisionId,
    ) -> Result<Vec<StoredEntry>, Error> {
        let key = (name.to_owned(), from.to_string(), to.to_string(), MAX_ROWS);
        self.read(READ, move |db| {
            // Identifiers of decisions sort by time, as text too.
            let mut query = db.prepare_cached(
                "SELECT entry.* FROM entry
                 WHERE decision BETWEEN ?2 AND ?3 AND kind = 'open' AND EXISTS
                     (SELECT 1 FROM entry_application about
                      WHERE about.name = ?1 AND about.seq = entry.seq)
                 ORDER BY decision DESC LIMIT ?4",
            )?;
            collect(query.query(key)?, entry_of)
        })
        .await
    }
}

fn add(db: &Connection, look: &Look) -> Result<(), Fault> {
    let last = look.operations.iter().map(|row| row.started_at).max();
    let last = maybe_text("last_started_at", last.as_ref())?;
    db.prepare_cached(
        "INSERT INTO watched_application (uid, last_started_at) VALUES (?1, ?2)
         ON CONFLICT (uid) DO UPDATE SET
             last_started_at = coalesce(excluded.last_started_at, last_started_at)",
    )?
    .execute((&look.uid, last))?;
    for row in &look.operations {
        insert(db, row)?;
    }
    notices::insert_all(db, &look.notices)
}

fn insert(db: &Connection, row: &OperationRow) -> Result<(), Fault> {
    let mut insert = db.prepare_cached(
        "INSERT OR IGNORE INTO operation_seen (uid, started_at, application,
             application_namespace, commits, initiated_by, judgement, explained_by, alarm,
             reconstructed, judged_at)
         VALUES (:uid, :started_at, :application, :application_namespace, :commits,
             :initiated_by, :judgement, :explained_by, :alarm, :reconstructed, :judged_at)",
    )?;
    insert.execute(named_params! {
        ":uid": row.uid,
        ":started_at": row.started_at.to_string(),
        ":application": row.application.name,
        ":application_namespace": row.application.namespace.as_deref().unwrap_or_default(),
        ":commits": json("commits", &row.commits)?,
        ":initiated_by": row.initiated_by,
        ":judgement": text("judgement", &row.judgement)?,
        ":explained_by": row.explained_by.map(|decision| decision.to_string()),
        ":alarm": row.alarm.map(|decision| decision.to_string()),
        ":reconstructed": row.reconstructed,
        ":judged_at": row.judged_at.to_string(),
    })?;
    Ok(())
}
