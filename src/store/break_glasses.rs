//! What was rolled out although its tests were missing.

use jiff::Timestamp;
use rusqlite::OptionalExtension as _;

use super::Store;
use super::codec::{from_json, json};
use super::fault::Error;
use super::log::collect;
use super::notices::{NewNotice, insert_all};
use crate::break_glass::BreakGlass;
use crate::names::DecisionId;

impl Store {
    /// Keeps `glass`, together with the messages about it.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or [`Error::Failed`]; nothing was
    /// stored then.
    pub async fn add_break_glass(
        &self,
        glass: BreakGlass,
        notices: Vec<NewNotice>,
    ) -> Result<(), Error> {
        self.write("store a break-glass", move |db| {
            db.prepare_cached(
                "INSERT INTO break_glass (decision, expires_at, closed, body) VALUES (?1, ?2, 0, ?3)",
            )?
            .execute((
                glass.decision.to_string(),
                glass.expires_at.as_millisecond(),
                json("body", &glass)?,
            ))?;
            insert_all(db, &notices)?;
            Ok(())
        })
        .await
    }

    /// Keeps what has become of `glass`, together with the messages about that. One that is closed stays as it is.
    ///
    /// # Errors
    /// As [`add_break_glass`](Self::add_break_glass).
    pub async fn update_break_glass(
        &self,
        glass: BreakGlass,
        notices: Vec<NewNotice>,
    ) -> Result<(), Error> {
        self.write("store a break-glass", move |db| {
            let sql =
                "UPDATE break_glass SET closed = ?2, body = ?3 WHERE decision = ?1 AND closed = 0";
            db.prepare_cached(sql)?.execute((
                glass.decision.to_string(),
                glass.closed_at.is_some(),
                json("body", &glass)?,
            ))?;
            insert_all(db, &notices)?;
            Ok(())
        })
        .await
    }

    /// The one that `decision` opened, if it opened one.
    ///
    /// # Errors
    /// As [`open_break_glasses`](Self::open_break_glasses).
    pub async fn break_glass(&self, decision: DecisionId) -> Result<Option<BreakGlass>, Error> {
        self.read("read a break-glass", move |db| {
            db.prepare_cached("SELECT body FROM break_glass WHERE decision = ?1")?
                .query_row([decision.to_string()], |row| Ok(from_json(row, "body")))
                .optional()?
                .transpose()
        })
        .await
    }

    /// What has not expired at `now`, whether its tests have passed by now or not.
    ///
    /// # Errors
    /// As [`open_break_glasses`](Self::open_break_glasses).
    pub async fn break_glasses_in_force(&self, now: Timestamp) -> Result<Vec<BreakGlass>, Error> {
        self.read("read break-glasses", move |db| {
            let sql = "SELECT body FROM break_glass WHERE expires_at > ?1";
            let mut query = db.prepare_cached(sql)?;
            collect(query.query([now.as_millisecond()])?, |row| {
                from_json(row, "body")
            })
        })
        .await
    }

    /// What is open, expired or not, oldest first.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn open_break_glasses(&self) -> Result<Vec<BreakGlass>, Error> {
        self.read("read break-glasses", |db| {
            let sql = "SELECT body FROM break_glass WHERE closed = 0 ORDER BY decision";
            let mut query = db.prepare_cached(sql)?;
            collect(query.query(())?, |row| from_json(row, "body"))
        })
        .await
    }

    /// What is open, and up to `limit` of what is closed; newest first, what is open before the rest.
    ///
    /// # Errors
    /// As [`open_break_glasses`](Self::open_break_glasses).
    pub async fn break_glasses(&self, limit: u32) -> Result<Vec<BreakGlass>, Error> {
        let mut all = self.open_break_glasses().await?;
        all.reverse();
        let closed: Vec<BreakGlass> = self
            .read("read break-glasses", move |db| {
                let sql =
                    "SELECT body FROM break_glass WHERE closed = 1 ORDER BY decision DESC LIMIT ?1";
                let mut query = db.prepare_cached(sql)?;
                collect(query.query([limit])?, |row| from_json(row, "body"))
            })
            .await?;
        all.extend(closed);
        Ok(all)
    }
}
