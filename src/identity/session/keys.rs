//! The keys that sign the tokens of sessions.
//!
//! The newest signs once every process on the same store has had the time to read it; those before it stay
//! until nothing that they signed counts any more.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{KeepError, LONGEST};
use crate::identity::keys::KeySet;
use crate::signing::SigningKey;
use crate::store::{SessionKeyRow, Store};

/// After this time a new key is made.
const CHANGED_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long a key is published before it signs.
const PUBLISHED_FIRST: SignedDuration = SignedDuration::from_mins(30);
/// How long a key stays after its successor was made: what it signed last was a refresh token.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

const _: () = assert!(KEPT.as_secs() > LONGEST.as_secs() + PUBLISHED_FIRST.as_secs());

/// The keys at one time.
pub(super) struct Keys {
    /// Newest first; the time is that at which the key was made.
    signing: Vec<(SigningKey, Timestamp)>,
    now: Timestamp,
    verifying: KeySet,
}

/// The keys in `store` at `now`, after a new one was made where it is time.
pub(super) async fn kept(store: &Store, now: Timestamp) -> Result<Keys, KeepError> {
    let before = |span| now.saturating_sub(span).unwrap_or(Timestamp::MIN);
    let key = SigningKey::generate()?;
    let new = SessionKeyRow {
        id: key.id().to_owned(),
        key: key.to_pkcs8()?,
        made: now,
    };
    let rows = store
        .session_keys(new, before(CHANGED_AFTER), before(KEPT))
        .await?;
    Ok(Keys::new(&rows, now)?)
}

impl Keys {
    fn new(rows: &[SessionKeyRow], now: Timestamp) -> Result<Self, crate::signing::Error> {
        let signing = rows
            .iter()
            .map(|row| Ok((SigningKey::from_pkcs8(&row.key)?, row.made)))
            .collect::<Result<Vec<_>, crate::signing::Error>>()?;
        let set = set_of(&signing).to_string();
        let verifying = KeySet::parse(set.as_bytes());
        Ok(Self {
            signing,
            now,
            verifying: verifying.map_err(|_| crate::signing::Error::Stored)?,
        })
    }

    pub(super) fn set(&self) -> Value {
        set_of(&self.signing)
    }

    pub(super) fn verifying(&self) -> &KeySet {
        &self.verifying
    }

    pub(super) fn sign(&self, typ: &str, claims: &Value) -> Option<String> {
        self.signs()?.jwt(typ, claims)
    }

    fn signs(&self) -> Option<&SigningKey> {
        let known = |made: &Timestamp| self.now.duration_since(*made) >= PUBLISHED_FIRST;
        let known = self.signing.iter().find(|(_, made)| known(made));
        known.or(self.signing.last()).map(|(key, _)| key)
    }
}

fn set_of(keys: &[(SigningKey, Timestamp)]) -> Value {
    let keys: Vec<&Value> = keys.iter().map(|(key, _)| key.public_jwk()).collect();
    json!({ "keys": keys })
}
