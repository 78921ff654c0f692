//! What was rolled out together, and how it is taken back.

use rusqlite::{Connection, OptionalExtension as _};

use super::Store;
use super::codec::{from_json, json};
use super::fault::{Error, Fault};
use super::log::collect;
use super::notices::{NewNotice, insert_all};
use crate::names::{AppRef, DecisionId};
use crate::rollout::{Rollback, Rollout};

const READ: &str = "read rollouts";

impl Store {
    /// Keeps `rollout`, unless there is one of its decision.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or [`Error::Failed`]; nothing was
    /// stored then.
    pub async fn add_rollout(&self, rollout: Rollout) -> Result<(), Error> {
        self.write("store a rollout", move |db| {
            if find(db, rollout.decision)?.is_none() {
                put(db, &rollout)?;
            }
            Ok(())
        })
        .await
    }

    /// Changes the rollout of `decision` by `change`, which gives the messages about that, or nothing where it leaves
    /// the rollout as it is. Gives whether it was changed.
    ///
    /// # Errors
    /// As [`add_rollout`](Self::add_rollout).
    pub async fn change_rollout(
        &self,
        decision: DecisionId,
        change: impl FnOnce(&mut Rollout) -> Option<Vec<NewNotice>> + Send + 'static,
    ) -> Result<bool, Error> {
        self.write("store a rollout", move |db| {
            let Some(mut rollout) = find(db, decision)? else {
                return Ok(false);
            };
            let Some(notices) = change(&mut rollout) else {
                return Ok(false);
            };
            put(db, &rollout)?;
            insert_all(db, &notices)?;
            Ok(true)
        })
        .await
    }

    /// The rollout of `decision`, if there is one.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn rollout(&self, decision: DecisionId) -> Result<Option<Rollout>, Error> {
        self.read(READ, move |db| find(db, decision)).await
    }

    /// The newest `limit` rollouts, newest first.
    ///
    /// # Errors
    /// As [`rollout`](Self::rollout).
    pub async fn rollouts(&self, limit: u32) -> Result<Vec<Rollout>, Error> {
        self.read(READ, move |db| {
            let sql = "SELECT body FROM rollout ORDER BY decision DESC LIMIT ?1";
            let mut query = db.prepare_cached(sql)?;
            collect(query.query([limit])?, |row| from_json(row, "body"))
        })
        .await
    }

    /// The newest `limit` rollouts of `application`, or in which it is, newest first.
    ///
    /// # Errors
    /// As [`rollout`](Self::rollout).
    pub async fn rollouts_of(
        &self,
        application: &AppRef,
        limit: u32,
    ) -> Result<Vec<Rollout>, Error> {
        let (name, namespace) = key(application);
        self.read(READ, move |db| {
            let sql = "SELECT body FROM rollout_application JOIN rollout USING (decision)
                       WHERE application = ?1 AND application_namespace = ?2
                       ORDER BY decision DESC LIMIT ?3";
            let mut query = db.prepare_cached(sql)?;
            collect(query.query((name, namespace, limit))?, |row| {
                from_json(row, "body")
            })
        })
        .await
    }

    /// Whether there is a rollout of `application`, or in which it is, that a rollback keeps from coming again.
    ///
    /// # Errors
    /// As [`rollout`](Self::rollout).
    pub async fn has_held_rollout(&self, application: &AppRef) -> Result<bool, Error> {
        let (name, namespace) = key(application);
        self.read(READ, move |db| {
            let sql = "SELECT 1 FROM rollout_application
                       WHERE application = ?1 AND application_namespace = ?2 AND holds = 1";
            Ok(db.prepare_cached(sql)?.exists((name, namespace))?)
        })
        .await
    }

    /// The rollouts that are being taken back, oldest first.
    ///
    /// # Errors
    /// As [`rollout`](Self::rollout).
    pub async fn returning_rollouts(&self) -> Result<Vec<Rollout>, Error> {
        self.read(READ, |db| {
            let sql = "SELECT body FROM rollout WHERE goes_on = 1 ORDER BY decision";
            let mut query = db.prepare_cached(sql)?;
            collect(query.query(())?, |row| from_json(row, "body"))
        })
        .await
    }
}

fn key(application: &AppRef) -> (String, String) {
    let namespace = application.namespace.clone().unwrap_or_default();
    (application.name.clone(), namespace)
}

fn find(db: &Connection, decision: DecisionId) -> Result<Option<Rollout>, Fault> {
    db.prepare_cached("SELECT body FROM rollout WHERE decision = ?1")?
        .query_row([decision.to_string()], |row| Ok(from_json(row, "body")))
        .optional()?
        .transpose()
}

fn put(db: &Connection, rollout: &Rollout) -> Result<(), Fault> {
    let decision = rollout.decision.to_string();
    db.prepare_cached(
        "INSERT INTO rollout (decision, goes_on, body) VALUES (?1, ?2, ?3)
         ON CONFLICT (decision) DO UPDATE SET goes_on = excluded.goes_on, body = excluded.body",
    )?
    .execute((&decision, rollout.is_returning(), json("body", rollout)?))?;
    let holds = rollout.rollback.as_ref().is_some_and(Rollback::holds);
    let members = rollout.members.iter().map(|member| &member.application);
    for application in members.chain([&rollout.application]) {
        let (name, namespace) = key(application);
        db.prepare_cached(
            "INSERT INTO rollout_application (application, application_namespace, decision, holds)
             VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (application, application_namespace, decision)
             DO UPDATE SET holds = excluded.holds",
        )?
        .execute((name, namespace, &decision, holds))?;
    }
    Ok(())
}
