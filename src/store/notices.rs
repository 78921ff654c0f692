//! Messages that wait for their receivers.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::codec::{from_text, number, plain, seq, unsigned};
use super::fault::{Error, Fault};
use super::log::collect;
use super::rows::{RunId, Seq, StoredRun};
use super::runs::run_of;
use super::{Store, capped};

const READ: &str = "read messages";

/// A message to store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewNotice {
    /// Who is to get it, as [`crate::notify::receiver_id`] names it.
    pub receiver: String,
    /// The identifier of what it tells, the same in every message about it.
    pub event: String,
    /// The message.
    pub body: String,
    /// When to try it first.
    pub due_at: Timestamp,
}

/// A message that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Its place in the queue.
    pub seq: Seq,
    /// Who is to get it.
    pub receiver: String,
    /// The identifier of what it tells.
    pub event: String,
    /// The message.
    pub body: String,
    /// How often it was tried in vain.
    pub attempts: u64,
}

impl Store {
    /// Stores messages about what is known by `key`, unless the same was told since `since`. Gives
    /// whether they were stored.
    ///
    /// # Errors
    /// As [`remove_notice`](Self::remove_notice).
    pub async fn tell_once(
        &self,
        key: String,
        now: Timestamp,
        since: Timestamp,
        notices: Vec<NewNotice>,
    ) -> Result<bool, Error> {
        self.write("store messages", move |db| {
            let (now, since) = (now.as_millisecond(), since.as_millisecond());
            db.prepare_cached("DELETE FROM told WHERE at <= ?1")?
                .execute([since])?;
            let is_new = db
                .prepare_cached("INSERT OR IGNORE INTO told (key, at) VALUES (?1, ?2)")?
                .execute((&key, now))?
                == 1;
            if is_new {
                insert_all(db, &notices)?;
            }
            Ok(is_new)
        })
        .await
    }

    /// The runs that have ended, and of which it is known whether they count and what their hook Jobs say,
    /// about which nobody was told; at most `limit`, oldest first.
    ///
    /// # Errors
    /// As [`due_notices`](Self::due_notices).
    pub async fn untold_runs(&self, limit: u32) -> Result<Vec<StoredRun>, Error> {
        self.read(READ, move |db| {
            let sql = "SELECT * FROM run
                       WHERE told = 0 AND finish IS NOT NULL AND counting <> 'pending'
                         AND hook_state IN ('none', 'weighed')
                       ORDER BY seq LIMIT ?1";
            let mut query = db.prepare_cached(sql)?;
            collect(query.query([capped(limit)])?, run_of)
        })
        .await
    }

    /// Stores messages about the end of `run`, unless there were some before.
    ///
    /// # Errors
    /// As [`remove_notice`](Self::remove_notice).
    pub async fn tell_run(&self, run: RunId, notices: Vec<NewNotice>) -> Result<(), Error> {
        self.write("store messages", move |db| {
            let is_new = db
                .prepare_cached("UPDATE run SET told = 1 WHERE id = ?1 AND told = 0")?
                .execute([run.to_string()])?
                == 1;
            if is_new {
                insert_all(db, &notices)?;
            }
            Ok(())
        })
        .await
    }

    /// The messages that are due at `now`, at most `limit`, the longest due first.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn due_notices(&self, now: Timestamp, limit: u32) -> Result<Vec<Notice>, Error> {
        self.read(READ, move |db| {
            let sql = "SELECT * FROM notice WHERE due_at <= ?1 ORDER BY due_at, seq LIMIT ?2";
            let mut query = db.prepare_cached(sql)?;
            collect(query.query((in_order(now), capped(limit)))?, notice_of)
        })
        .await
    }

    /// When the next message is due, if one waits.
    ///
    /// # Errors
    /// As [`due_notices`](Self::due_notices).
    pub async fn next_notice(&self) -> Result<Option<Timestamp>, Error> {
        self.read(READ, |db| {
            db.prepare_cached("SELECT due_at FROM notice ORDER BY due_at, seq LIMIT 1")?
                .query_row((), |row| Ok(from_text(row, "due_at")))
                .optional()?
                .transpose()
        })
        .await
    }

    /// Takes a message off: its receiver has it, or it is given up.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or [`Error::Failed`].
    pub async fn remove_notice(&self, notice: Seq) -> Result<(), Error> {
        self.write("remove a message", move |db| {
            db.prepare_cached("DELETE FROM notice WHERE seq = ?1")?
                .execute([number("seq", notice.0)?])?;
            Ok(())
        })
        .await
    }

    /// Notes that a message was tried in vain, and when to try it again.
    ///
    /// # Errors
    /// As [`remove_notice`](Self::remove_notice).
    pub async fn postpone_notice(&self, notice: Seq, due_at: Timestamp) -> Result<(), Error> {
        self.write("postpone a message", move |db| {
            db.prepare_cached(
                "UPDATE notice SET attempts = attempts + 1, due_at = ?2 WHERE seq = ?1",
            )?
            .execute((number("seq", notice.0)?, in_order(due_at)))?;
            Ok(())
        })
        .await
    }
}

pub(super) fn insert_all(db: &Connection, notices: &[NewNotice]) -> Result<(), Fault> {
    notices.iter().try_for_each(|notice| insert(db, notice))
}

fn insert(db: &Connection, notice: &NewNotice) -> Result<(), Fault> {
    db.prepare_cached(
        "INSERT INTO notice (receiver, event, body, due_at) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((
        &notice.receiver,
        &notice.event,
        &notice.body,
        in_order(notice.due_at),
    ))?;
    Ok(())
}

/// A time as text that sorts as times do: always with the same number of digits.
fn in_order(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn notice_of(row: &Row<'_>) -> Result<Notice, Fault> {
    Ok(Notice {
        seq: seq(row, "seq")?,
        receiver: plain(row, "receiver")?,
        event: plain(row, "event")?,
        body: plain(row, "body")?,
        attempts: unsigned(row, "attempts")?,
    })
}
