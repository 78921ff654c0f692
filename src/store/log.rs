//! The log's rows: appended, listed, never changed.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params_from_iter};

use super::codec::{self, plain, seq};
use super::fault::{Error, Fault};
use super::rows::{DecisionFilter, EntryKind, NewEntry, Seq, StoredDecision, StoredEntry};
use super::writer::{Pending, Writer};
use super::{Store, capped};
use crate::names::DecisionId;

const APPEND: &str = "append a log entry";
const READ: &str = "read the log";

impl Store {
    /// Appends `entry` and waits until it is on disk.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::AlreadyRecorded`], [`Error::NoOpening`], [`Error::Closed`],
    /// [`Error::ReadOnly`], or [`Error::Failed`]; nothing was stored then.
    pub async fn append(&self, entry: NewEntry) -> Result<Seq, Error> {
        self.append_queued(entry).await?.durable().await
    }

    /// Appends `entry`, waiting only for its place in the queue. What is let go of the answer is
    /// still written; if that fails, it is logged and counted.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Closed`] or [`Error::ReadOnly`].
    pub async fn append_queued(&self, entry: NewEntry) -> Result<Pending<Seq>, Error> {
        let place = self.writer()?.place().await?;
        Ok(place.queue(APPEND, move |db| append(db, &entry)))
    }

    /// As [`append_queued`](Self::append_queued), but waits for a place however long it takes: for
    /// entries about what has happened already, which cannot be refused any more.
    ///
    /// # Errors
    /// [`Error::Closed`] or [`Error::ReadOnly`].
    pub async fn append_patiently(&self, entry: NewEntry) -> Result<Pending<Seq>, Error> {
        let place = self.writer()?.place_patiently().await?;
        Ok(place.queue(APPEND, move |db| append(db, &entry)))
    }

    /// As [`append_queued`](Self::append_queued), without waiting at all.
    ///
    /// # Errors
    /// The entry itself, when there is no place now (or the store is closed).
    pub fn try_append(&self, entry: NewEntry) -> Result<Pending<Seq>, Box<NewEntry>> {
        match self.writer().ok().and_then(Writer::try_place) {
            Some(place) => Ok(place.queue(APPEND, move |db| append(db, &entry))),
            None => Err(Box::new(entry)),
        }
    }

    /// Openings with their closings, newest opening first.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn decisions(&self, filter: DecisionFilter) -> Result<Vec<StoredDecision>, Error> {
        self.read(READ, move |db| decisions(db, &filter)).await
    }

    /// Entries of both kinds in log order, from `from` on, for verification and export.
    ///
    /// # Errors
    /// As [`decisions`](Self::decisions).
    pub async fn entries(&self, from: Seq, limit: u32) -> Result<Vec<StoredEntry>, Error> {
        self.read(READ, move |db| {
            let sql = "SELECT * FROM entry WHERE seq >= :from ORDER BY seq LIMIT :limit";
            let from = codec::number("seq", from.0)?;
            let mut query = db.prepare_cached(sql)?;
            let rows = query.query(named_params! {":from": from, ":limit": capped(limit)})?;
            collect(rows, entry_of)
        })
        .await
    }

    /// The opening and the closing of `decision`, each where it is there.
    ///
    /// # Errors
    /// As [`decisions`](Self::decisions).
    pub async fn entry_by_decision(
        &self,
        decision: DecisionId,
    ) -> Result<(Option<StoredEntry>, Option<StoredEntry>), Error> {
        self.read(READ, move |db| {
            Ok((
                find(db, decision, EntryKind::Open)?,
                find(db, decision, EntryKind::Close)?,
            ))
        })
        .await
    }

    /// Openings without a closing that were there before this process opened the store, oldest
    /// first: what a crash has left. Those of this process are still at work and not among them.
    ///
    /// # Errors
    /// As [`decisions`](Self::decisions).
    pub async fn unclosed(&self) -> Result<Vec<StoredEntry>, Error> {
        let first = self.0.first;
        self.read(READ, move |db| {
            let sql = "SELECT entry.* FROM unclosed JOIN entry USING (seq)
                       WHERE unclosed.seq < :first ORDER BY unclosed.seq";
            let first = codec::number("seq", first.0)?;
            let mut query = db.prepare_cached(sql)?;
            collect(query.query(named_params! {":first": first})?, entry_of)
        })
        .await
    }
}

/// The place of the next entry.
pub(super) fn next_seq(db: &Connection) -> Result<Seq, Fault> {
    let next: i64 = db.query_row("SELECT coalesce(max(seq), -1) + 1 FROM entry", (), |row| {
        row.get(0)
    })?;
    u64::try_from(next)
        .map(Seq)
        .map_err(|error| codec::unreadable("seq", error))
}

fn append(db: &Connection, entry: &NewEntry) -> Result<Seq, Fault> {
    if entry.kind == EntryKind::Close {
        take_unclosed(db, entry.decision)?;
    }
    let seq = insert(db, entry).map_err(|fault| {
        if fault.is_duplicate() {
            already(entry.decision, entry.kind)
        } else {
            fault
        }
    })?;
    if entry.kind == EntryKind::Open {
        let number = codec::number("seq", seq.0)?;
        db.prepare_cached("INSERT INTO unclosed (decision, seq) VALUES (?1, ?2)")?
            .execute((entry.decision.to_string(), number))?;
        let mut about = db.prepare_cached(
            "INSERT OR IGNORE INTO entry_application (name, seq, namespace) VALUES (?1, ?2, ?3)",
        )?;
        for application in &entry.applications {
            let namespace = application.namespace.as_deref().unwrap_or_default();
            about.execute((&application.name, number, namespace))?;
        }
        let mut about = db.prepare_cached(
            "INSERT OR IGNORE INTO entry_commit (commit_id, seq) VALUES (?1, ?2)",
        )?;
        for commit in &entry.commits {
            about.execute((commit, number))?;
        }
    }
    Ok(seq)
}

/// Takes `decision` off the list of those that wait for a closing.
fn take_unclosed(db: &Connection, decision: DecisionId) -> Result<(), Fault> {
    let taken = db
        .prepare_cached("DELETE FROM unclosed WHERE decision = ?1")?
        .execute([decision.to_string()])?;
    if taken == 1 {
        return Ok(());
    }
    match find(db, decision, EntryKind::Open)? {
        Some(_) => Err(already(decision, EntryKind::Close)),
        None => Err(Error::NoOpening { decision }.into()),
    }
}

fn insert(db: &Connection, entry: &NewEntry) -> Result<Seq, Fault> {
    let seq: i64 = db
        .prepare_cached(
            "INSERT INTO entry (seq, decision, kind, at, operation, bytes, leaf)
             VALUES ((SELECT coalesce(max(seq), -1) + 1 FROM entry),
                     :decision, :kind, :at, :operation, :bytes, :leaf)
             RETURNING seq",
        )?
        .query_row(
            named_params! {
                ":decision": entry.decision.to_string(),
                ":kind": entry.kind.word(),
                ":at": entry.at.to_string(),
                ":operation": entry.operation,
                ":bytes": entry.bytes,
                ":leaf": entry.leaf,
            },
            |row| row.get(0),
        )?;
    u64::try_from(seq)
        .map(Seq)
        .map_err(|error| codec::unreadable("seq", error))
}

fn already(decision: DecisionId, kind: EntryKind) -> Fault {
    Error::AlreadyRecorded { decision, kind }.into()
}

fn find(
    db: &Connection,
    decision: DecisionId,
    kind: EntryKind,
) -> Result<Option<StoredEntry>, Fault> {
    db.prepare_cached("SELECT * FROM entry WHERE decision = ?1 AND kind = ?2")?
        .query_row((decision.to_string(), kind.word()), |row| Ok(entry_of(row)))
        .optional()?
        .transpose()
}

fn decisions(db: &Connection, filter: &DecisionFilter) -> Result<Vec<StoredDecision>, Fault> {
    let (sql, values) = decisions_sql(filter)?;
    let mut query = db.prepare_cached(&sql)?;
    let openings = collect(query.query(params_from_iter(values))?, entry_of)?;
    openings
        .into_iter()
        .map(|opening| {
            let closing = find(db, opening.decision, EntryKind::Close)?;
            Ok(StoredDecision { opening, closing })
        })
        .collect()
}

/// The query for `filter` and its parameters. Where an application is asked for, its index leads
/// and gives the order; one opening may be about two applications of the same name.
pub(super) fn decisions_sql(filter: &DecisionFilter) -> Result<(String, Vec<Value>), Fault> {
    let mut wanted = String::from("entry.kind = 'open'");
    let mut values: Vec<Value> = Vec::new();
    if let Some(operation) = &filter.operation {
        wanted.push_str(" AND entry.operation = ?");
        values.push(operation.clone().into());
    }
    let (from, place, group) = match (&filter.application, &filter.commit) {
        (None, None) => ("entry", "entry.seq", ""),
        (None, Some(commit)) => {
            wanted.push_str(" AND named.commit_id = ?");
            values.push(commit.clone().into());
            (
                "entry_commit named CROSS JOIN entry ON entry.seq = named.seq",
                "named.seq",
                "",
            )
        }
        (Some(name), _) => {
            wanted.push_str(" AND about.name = ?");
            values.push(name.clone().into());
            (
                "entry_application about CROSS JOIN entry ON entry.seq = about.seq",
                "about.seq",
                "GROUP BY about.seq",
            )
        }
    };
    if let (Some(_), Some(namespace)) = (&filter.application, &filter.application_namespace) {
        wanted.push_str(" AND about.namespace = ?");
        values.push(namespace.clone().into());
    }
    if let (Some(_), Some(commit)) = (&filter.application, &filter.commit) {
        wanted.push_str(
            " AND EXISTS (SELECT 1 FROM entry_commit named
                          WHERE named.commit_id = ? AND named.seq = entry.seq)",
        );
        values.push(commit.clone().into());
    }
    if let Some(before) = filter.before {
        wanted.push_str(" AND ");
        wanted.push_str(place);
        wanted.push_str(" < ?");
        values.push(codec::number("seq", before.0)?.into());
    }
    values.push(i64::from(capped(filter.limit)).into());
    let sql =
        format!("SELECT entry.* FROM {from} WHERE {wanted} {group} ORDER BY {place} DESC LIMIT ?");
    Ok((sql, values))
}

pub(super) fn entry_of(row: &Row<'_>) -> Result<StoredEntry, Fault> {
    let kind = codec::from_text(row, "kind")?;
    Ok(StoredEntry {
        seq: seq(row, "seq")?,
        decision: codec::from_text(row, "decision")?,
        kind,
        at: codec::from_text(row, "at")?,
        bytes: plain(row, "bytes")?,
        leaf: plain(row, "leaf")?,
    })
}

/// Every row through `read`.
pub(super) fn collect<T>(
    mut rows: rusqlite::Rows<'_>,
    read: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}
