//! Lines that are stopped.

use rusqlite::{Connection, OptionalExtension as _};

use super::Store;
use super::codec::{from_json, from_text, json};
use super::fault::{Error, Fault};
use super::log::collect;
use super::rows::{Stop, StoppedLine};
use crate::names::EnvironmentName;

impl Store {
    /// Stops the line of `environment`. One that is stopped already stays with its first stop. Gives
    /// the stop in force.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or [`Error::Failed`]; nothing was
    /// stored then.
    pub async fn stop_line(&self, environment: EnvironmentName, stop: Stop) -> Result<Stop, Error> {
        self.write("stop a line", move |db| {
            db.prepare_cached(
                "INSERT INTO stopped_line (environment, stopped) VALUES (?1, ?2)
                 ON CONFLICT (environment) DO NOTHING",
            )?
            .execute((environment.as_str(), json("stopped", &stop)?))?;
            Ok(stop_of(db, &environment)?.unwrap_or(stop))
        })
        .await
    }

    /// Starts the line of `environment` again. Gives the stop that ends, if there was one.
    ///
    /// # Errors
    /// As [`stop_line`](Self::stop_line).
    pub async fn start_line(&self, environment: EnvironmentName) -> Result<Option<Stop>, Error> {
        self.write("start a line", move |db| {
            let ended = stop_of(db, &environment)?;
            db.prepare_cached("DELETE FROM stopped_line WHERE environment = ?1")?
                .execute([environment.as_str()])?;
            Ok(ended)
        })
        .await
    }

    /// The lines that are stopped now, by name.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn stopped_lines(&self) -> Result<Vec<StoppedLine>, Error> {
        self.read("read stopped lines", |db| {
            let mut query = db.prepare_cached("SELECT * FROM stopped_line ORDER BY environment")?;
            collect(query.query(())?, |row| {
                Ok(StoppedLine {
                    environment: from_text(row, "environment")?,
                    stop: from_json(row, "stopped")?,
                })
            })
        })
        .await
    }
}

fn stop_of(db: &Connection, environment: &EnvironmentName) -> Result<Option<Stop>, Fault> {
    let found = db
        .prepare_cached("SELECT * FROM stopped_line WHERE environment = ?1")?
        .query_row([environment.as_str()], |row| Ok(from_json(row, "stopped")))
        .optional()?;
    found.transpose()
}
