//! Sessions, what was revoked, the keys that sign their tokens, and what was used up.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::codec::{from_json, from_text, json, maybe_json, plain, unreadable};
use super::fault::{Error, Fault};
use super::log::collect;
use super::{Store, capped};
use crate::identity::Caller;
use crate::names::DecisionId;

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The decision that began it.
    pub id: DecisionId,
    /// Who signed in. The roles are those of the moment at which it began.
    pub caller: Caller,
    /// When it began.
    pub begun: Timestamp,
    /// When it ends, whatever is renewed.
    pub ends: Timestamp,
    /// Who revoked it, if somebody did.
    pub revoked: Option<Revoked>,
}

/// Who took a credential back, when, why, by which decision.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Revoked {
    /// What people call them.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    pub reason: String,
    /// The decision.
    pub decision: DecisionId,
}

/// Whose credentials count no more, if they are of before a moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevokedFor {
    /// Everybody of this issuer.
    Issuer(String),
    /// The caller with this [`Caller::unique`].
    Subject(String),
}

/// A revocation of credentials that are not a session of the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationRow {
    /// Whose.
    pub of: RevokedFor,
    /// What was issued before this counts no more.
    pub before: Timestamp,
    /// By whom.
    pub revoked: Revoked,
}

/// A key that signs the tokens of sessions.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKeyRow {
    /// Its thumbprint.
    pub id: String,
    /// PKCS #8, DER.
    pub key: Vec<u8>,
    /// When it was made.
    pub made: Timestamp,
}

/// What came of showing a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It was the one in force; the new one is now.
    Renewed,
    /// It was one of before: somebody has a copy. The session is revoked.
    Reused,
    /// There is no such session any more.
    Gone,
}

impl Store {
    /// Stores a new session with the SHA-256 of its refresh token, if it has one.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or [`Error::Failed`]; nothing was stored
    /// then.
    pub async fn add_session(
        &self,
        session: SessionRow,
        refresh: Option<[u8; 32]>,
    ) -> Result<(), Error> {
        self.write("store a session", move |db| {
            let mut insert = db.prepare_cached(
                "INSERT INTO session (id, caller, subject, issuer, begun, ends, refresh)
                 VALUES (:id, :caller, :subject, :issuer, :begun, :ends, :refresh)",
            )?;
            insert.execute(named_params! {
                ":id": session.id.to_string(),
                ":caller": json("caller", &session.caller)?,
                ":subject": session.caller.unique(),
                ":issuer": session.caller.issuer,
                ":begun": session.begun.as_millisecond(),
                ":ends": session.ends.as_millisecond(),
                ":refresh": refresh.map(|digest| digest.to_vec()),
            })?;
            Ok(())
        })
        .await
    }

    /// The session `id`, if there is one.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn session(&self, id: DecisionId) -> Result<Option<SessionRow>, Error> {
        self.read("read a session", move |db| session_of(db, id))
            .await
    }

    /// The sessions that have not ended at `now`, newest first, at most `limit`.
    ///
    /// # Errors
    /// As [`session`](Self::session).
    pub async fn sessions(&self, now: Timestamp, limit: u32) -> Result<Vec<SessionRow>, Error> {
        self.read("list sessions", move |db| {
            let mut query = db.prepare_cached(
                "SELECT * FROM session WHERE ends > ?1 AND revoked IS NULL
                 ORDER BY id DESC LIMIT ?2",
            )?;
            collect(query.query((now.as_millisecond(), capped(limit)))?, row_of)
        })
        .await
    }

    /// Puts the refresh token with the digest `new` in the place of the one with the digest `shown`. A
    /// session whose token was shown for the second time is revoked by `revoked`.
    ///
    /// # Errors
    /// As [`add_session`](Self::add_session).
    pub async fn renew_session(
        &self,
        id: DecisionId,
        shown: [u8; 32],
        new: [u8; 32],
        revoked: Revoked,
    ) -> Result<Renewal, Error> {
        self.write("renew a session", move |db| {
            let now = revoked.at.as_millisecond();
            let changed = db
                .prepare_cached(
                    "UPDATE session SET refresh = ?3
                     WHERE id = ?1 AND refresh = ?2 AND revoked IS NULL AND ends > ?4",
                )?
                .execute((id.to_string(), shown.to_vec(), new.to_vec(), now))?;
            if changed == 1 {
                return Ok(Renewal::Renewed);
            }
            let had_one: Option<bool> = db
                .prepare_cached(
                    "SELECT refresh IS NOT NULL FROM session
                     WHERE id = ?1 AND revoked IS NULL AND ends > ?2",
                )?
                .query_row((id.to_string(), now), |row| row.get(0))
                .optional()?;
            if had_one != Some(true) {
                return Ok(Renewal::Gone);
            }
            revoke(db, id, &revoked)?;
            Ok(Renewal::Reused)
        })
        .await
    }

    /// Revokes the session `id`; whether there was one that was not revoked yet.
    ///
    /// # Errors
    /// As [`add_session`](Self::add_session).
    pub async fn revoke_session(&self, id: DecisionId, revoked: Revoked) -> Result<bool, Error> {
        self.write("revoke a session", move |db| revoke(db, id, &revoked))
            .await
    }

    /// Revokes what was issued to a subject, or by an issuer, before a moment. One of before is kept where
    /// it goes further.
    ///
    /// # Errors
    /// As [`add_session`](Self::add_session).
    pub async fn revoke_before(&self, row: RevocationRow) -> Result<(), Error> {
        self.write("revoke credentials", move |db| {
            let (kind, value) = match &row.of {
                RevokedFor::Issuer(issuer) => ("issuer", issuer),
                RevokedFor::Subject(subject) => ("subject", subject),
            };
            db.prepare_cached(
                "INSERT INTO revocation (kind, value, before, revoked) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (kind, value) DO UPDATE SET
                   before = excluded.before, revoked = excluded.revoked
                 WHERE excluded.before >= before",
            )?
            .execute((
                kind,
                value,
                row.before.as_millisecond(),
                json("revoked", &row.revoked)?,
            ))?;
            Ok(())
        })
        .await
    }

    /// All revocations of credentials that are not a session.
    ///
    /// # Errors
    /// As [`session`](Self::session).
    pub async fn revocations(&self) -> Result<Vec<RevocationRow>, Error> {
        self.read("read revocations", |db| {
            let mut query = db.prepare_cached("SELECT * FROM revocation")?;
            collect(query.query(())?, |row| {
                let (kind, value): (String, String) = (plain(row, "kind")?, plain(row, "value")?);
                Ok(RevocationRow {
                    of: match kind.as_str() {
                        "issuer" => RevokedFor::Issuer(value),
                        _ => RevokedFor::Subject(value),
                    },
                    before: time(row, "before")?,
                    revoked: from_json(row, "revoked")?,
                })
            })
        })
        .await
    }

    /// The keys, newest first, after `new` was added if there is none made at `not_before` or later, and
    /// after those were removed whose successor was made before `retired`.
    ///
    /// # Errors
    /// As [`add_session`](Self::add_session).
    pub async fn session_keys(
        &self,
        new: SessionKeyRow,
        not_before: Timestamp,
        retired: Timestamp,
    ) -> Result<Vec<SessionKeyRow>, Error> {
        self.write("keep the keys of sessions", move |db| {
            db.prepare_cached(
                "INSERT INTO session_key (id, key, made) SELECT ?1, ?2, ?3
                 WHERE NOT EXISTS (SELECT 1 FROM session_key WHERE made >= ?4)",
            )?
            .execute((
                &new.id,
                &new.key,
                new.made.as_millisecond(),
                not_before.as_millisecond(),
            ))?;
            db.prepare_cached(
                "DELETE FROM session_key WHERE EXISTS (
                   SELECT 1 FROM session_key AS newer
                   WHERE newer.made > session_key.made AND newer.made < ?1)",
            )?
            .execute([retired.as_millisecond()])?;
            let mut query =
                db.prepare_cached("SELECT * FROM session_key ORDER BY made DESC, id")?;
            collect(query.query(())?, |row| {
                Ok(SessionKeyRow {
                    id: plain(row, "id")?,
                    key: plain(row, "key")?,
                    made: time(row, "made")?,
                })
            })
        })
        .await
    }

    /// Uses up `id`, which would have been good until `until`; whether it was not used before.
    ///
    /// # Errors
    /// As [`add_session`](Self::add_session).
    pub async fn spend(&self, id: String, until: Timestamp) -> Result<bool, Error> {
        self.write("use up a challenge", move |db| {
            let inserted = db
                .prepare_cached("INSERT OR IGNORE INTO spent (id, until) VALUES (?1, ?2)")?
                .execute((id, until.as_millisecond()))?;
            Ok(inserted == 1)
        })
        .await
    }

    /// Forgets sessions that had ended, and what had been used up, before `before`.
    ///
    /// # Errors
    /// As [`add_session`](Self::add_session).
    pub async fn forget_sessions(&self, before: Timestamp) -> Result<(), Error> {
        self.write("forget ended sessions", move |db| {
            let before = [before.as_millisecond()];
            db.prepare_cached("DELETE FROM session WHERE ends < ?1")?
                .execute(before)?;
            db.prepare_cached("DELETE FROM spent WHERE until < ?1")?
                .execute(before)?;
            Ok(())
        })
        .await
    }
}

fn revoke(db: &Connection, id: DecisionId, revoked: &Revoked) -> Result<bool, Fault> {
    let changed = db
        .prepare_cached(
            "UPDATE session SET revoked = ?2, refresh = NULL WHERE id = ?1 AND revoked IS NULL",
        )?
        .execute((id.to_string(), json("revoked", revoked)?))?;
    Ok(changed == 1)
}

fn session_of(db: &Connection, id: DecisionId) -> Result<Option<SessionRow>, Fault> {
    let found = db
        .prepare_cached("SELECT * FROM session WHERE id = ?1")?
        .query_row([id.to_string()], |row| Ok(row_of(row)))
        .optional()?;
    found.transpose()
}

fn row_of(row: &Row<'_>) -> Result<SessionRow, Fault> {
    Ok(SessionRow {
        id: from_text(row, "id")?,
        caller: from_json(row, "caller")?,
        begun: time(row, "begun")?,
        ends: time(row, "ends")?,
        revoked: maybe_json(row, "revoked")?,
    })
}

fn time(row: &Row<'_>, field: &'static str) -> Result<Timestamp, Fault> {
    let at: i64 = plain(row, field)?;
    Timestamp::from_millisecond(at).map_err(|error| unreadable(field, error))
}
