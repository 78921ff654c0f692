//! The attempts of a run: batches in order, each stored once.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::Store;
use super::codec::{self, from_text, number, plain, unsigned};
use super::fault::{Error, Fault};
use super::log::collect;
use super::rows::{AppendOutcome, RunId};
use super::runs::NEXT_WORD;
use crate::evidence::run::Attempt;

impl Store {
    /// Stores batch `sequence` of `run` (numbered from 0), whole or not at all. A batch that is
    /// there already is not stored twice, whatever it holds now; one that comes too early is not
    /// stored. A batch that is stored was heard from its reporter at `heard_at`.
    ///
    /// # Errors
    /// [`Error::NoSuchRun`], [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or
    /// [`Error::Failed`]; nothing was stored then.
    pub async fn append_attempts(
        &self,
        run: RunId,
        sequence: u64,
        attempts: Vec<Attempt>,
        heard_at: Timestamp,
    ) -> Result<AppendOutcome, Error> {
        self.write("store attempts", move |db| {
            append(db, run, sequence, &attempts, heard_at)
        })
        .await
    }

    /// All attempts of `run`, in the order in which they were reported; empty for a run that does
    /// not exist.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn attempts(&self, run: RunId) -> Result<Vec<Attempt>, Error> {
        self.read("read attempts", move |db| {
            let mut query = db.prepare_cached(
                "SELECT attempt.* FROM attempt JOIN run ON run.seq = attempt.run
                 WHERE run.id = ?1 ORDER BY attempt.batch, attempt.place",
            )?;
            collect(query.query([run.to_string()])?, attempt_of)
        })
        .await
    }
}

fn append(
    db: &Connection,
    run: RunId,
    sequence: u64,
    attempts: &[Attempt],
    heard_at: Timestamp,
) -> Result<AppendOutcome, Fault> {
    let Some((seq, next, finished)) = standing(db, run)? else {
        return Err(Error::NoSuchRun { run }.into());
    };
    if sequence < next {
        return Ok(AppendOutcome::AlreadyStored { next });
    }
    if finished {
        return Ok(AppendOutcome::Finished);
    }
    if sequence > next {
        return Ok(AppendOutcome::Gap { next });
    }
    insert(db, seq, sequence, attempts)?;
    db.prepare_cached(&format!(
        "UPDATE run SET batches = batches + 1, heard_at = ?2, spoke = {NEXT_WORD} WHERE seq = ?1"
    ))?
    .execute((seq, heard_at.to_string()))?;
    Ok(AppendOutcome::Stored { next: next + 1 })
}

/// The row number of `run`, the number of its next batch, and whether it is finished.
fn standing(db: &Connection, run: RunId) -> Result<Option<(i64, u64, bool)>, Fault> {
    db.prepare_cached("SELECT seq, batches, finish IS NOT NULL AS ended FROM run WHERE id = ?1")?
        .query_row([run.to_string()], |row| {
            Ok((|| {
                Ok((
                    plain(row, "seq")?,
                    unsigned(row, "batches")?,
                    plain(row, "ended")?,
                ))
            })())
        })
        .optional()?
        .transpose()
}

fn insert(db: &Connection, run: i64, batch: u64, attempts: &[Attempt]) -> Result<(), Fault> {
    let mut insert = db.prepare_cached(
        "INSERT INTO attempt (run, batch, place, test, attempt, outcome, duration_ms,
                              started_at, message, worker)
         VALUES (:run, :batch, :place, :test, :attempt, :outcome, :duration_ms,
                 :started_at, :message, :worker)",
    )?;
    let batch = number("batch", batch)?;
    for (attempt, place) in attempts.iter().zip(0_i64..) {
        insert.execute(named_params! {
            ":run": run,
            ":batch": batch,
            ":place": place,
            ":test": attempt.test,
            ":attempt": attempt.attempt,
            ":outcome": codec::text("outcome", &attempt.outcome)?,
            ":duration_ms": number("duration_ms", attempt.duration_ms)?,
            ":started_at": attempt.started_at.to_string(),
            ":message": attempt.message,
            ":worker": attempt.worker,
        })?;
    }
    Ok(())
}

fn attempt_of(row: &Row<'_>) -> Result<Attempt, Fault> {
    Ok(Attempt {
        test: plain(row, "test")?,
        attempt: plain(row, "attempt")?,
        outcome: from_text(row, "outcome")?,
        duration_ms: unsigned(row, "duration_ms")?,
        started_at: from_text(row, "started_at")?,
        message: plain(row, "message")?,
        worker: plain(row, "worker")?,
    })
}
