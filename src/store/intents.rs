//! Intents: what the admission door recognises as permitted already. They live for a minute; adding
//! some removes those that no look-up asks for any more.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::Store;
use super::codec::{from_text, plain, unreadable};
use super::fault::{Error, Fault};
use crate::intent::{Intent, VALID};

impl Store {
    /// Stores what a decision permits Argo CD to write.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or [`Error::Failed`]; nothing was
    /// stored then.
    pub async fn add_intents(&self, intents: Vec<Intent>) -> Result<(), Error> {
        if intents.is_empty() {
            return Ok(());
        }
        self.write("store intents", move |db| {
            intents.iter().try_for_each(|intent| add(db, intent))?;
            forget(db, &intents)
        })
        .await
    }

    /// The newest intent for the write `digest` of the application `name` in `namespace`, with `uid`
    /// or with none, that was permitted at `not_before` or later.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn intent(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
        digest: &str,
        not_before: Timestamp,
    ) -> Result<Option<Intent>, Error> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let (uid, digest) = (uid.map(str::to_owned), digest.to_owned());
        self.read("look up an intent", move |db| {
            let mut query = db.prepare_cached(
                "SELECT * FROM intent
                 WHERE namespace = :namespace AND name = :name AND digest = :digest
                   AND at >= :not_before AND (uid IS NULL OR uid = :uid)
                 ORDER BY at DESC, seq DESC LIMIT 1",
            )?;
            let parameters = named_params! {
                ":namespace": namespace,
                ":name": name,
                ":digest": digest,
                ":not_before": not_before.as_millisecond(),
                ":uid": uid,
            };
            let found = query.query_row(parameters, |row| Ok(intent_of(row)));
            found.optional()?.transpose()
        })
        .await
    }
}

fn add(db: &Connection, intent: &Intent) -> Result<(), Fault> {
    let mut insert = db.prepare_cached(
        "INSERT INTO intent (decision, namespace, name, uid, digest, at)
         VALUES (:decision, :namespace, :name, :uid, :digest, :at)",
    )?;
    insert.execute(named_params! {
        ":decision": intent.decision.to_string(),
        ":namespace": intent.namespace,
        ":name": intent.name,
        ":uid": intent.uid,
        ":digest": intent.digest,
        ":at": intent.at.as_millisecond(),
    })?;
    Ok(())
}

/// Removes what was too old when the newest of `added` was permitted. Twice the time, for a look-up
/// that began before.
fn forget(db: &Connection, added: &[Intent]) -> Result<(), Fault> {
    let newest = added.iter().map(|intent| intent.at.as_millisecond()).max();
    let kept = i64::try_from(2 * VALID.as_millis()).unwrap_or(i64::MAX);
    let mut delete = db.prepare_cached("DELETE FROM intent WHERE at < ?1")?;
    delete.execute([newest.unwrap_or_default().saturating_sub(kept)])?;
    Ok(())
}

fn intent_of(row: &Row<'_>) -> Result<Intent, Fault> {
    let at: i64 = plain(row, "at")?;
    Ok(Intent {
        decision: from_text(row, "decision")?,
        namespace: plain(row, "namespace")?,
        name: plain(row, "name")?,
        uid: plain(row, "uid")?,
        digest: plain(row, "digest")?,
        at: Timestamp::from_millisecond(at).map_err(|error| unreadable("at", error))?,
    })
}
