//! Callers whose token was verified a moment ago.
//!
//! In: a token, its issuer, and the issuer's keys as they are now. Out: the caller, if a fresh
//! verification would give the same: same token, same issuer, same keys, and the time inside the
//! token's own. Refusals are not kept. The token itself is not kept, only its SHA-256.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;

use super::Caller;
use crate::digest::sha256;

/// How long a verification counts at most.
const LIFE: SignedDuration = SignedDuration::from_mins(2);

/// How many callers are kept; the least used go first.
const CAPACITY: u64 = 10_000;

/// The cache.
pub(super) struct VerifiedTokens(Cache<Key, Entry>);

/// SECURITY: both the whole token and its issuer, so that no entry can answer for another (R9).
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    token: [u8; 32],
    issuer: Arc<str>,
}

impl Key {
    /// The key of `token`, which claims to be from `issuer`.
    pub(super) fn new(token: &str, issuer: &Arc<str>) -> Self {
        Self {
            token: sha256(token.as_bytes()),
            issuer: Arc::clone(issuer),
        }
    }
}

#[derive(Clone)]
struct Entry {
    caller: Arc<Caller>,
    /// The keys it was verified with.
    keys: [u8; 32],
    /// When it counts.
    window: Range<Timestamp>,
}

impl VerifiedTokens {
    pub(super) fn new() -> Self {
        let life = Duration::try_from(LIFE).unwrap_or_default();
        let cache = Cache::builder().max_capacity(CAPACITY).time_to_live(life);
        Self(cache.build())
    }

    /// The caller, if it was verified with `keys` and counts `now`.
    pub(super) fn get(&self, key: &Key, keys: [u8; 32], now: Timestamp) -> Option<Arc<Caller>> {
        let entry = self.0.get(key)?;
        (entry.keys == keys && entry.window.contains(&now)).then_some(entry.caller)
    }

    /// Keeps `caller`, verified `now` with `keys`, whose token counts in `window`.
    pub(super) fn put(
        &self,
        key: Key,
        caller: Arc<Caller>,
        keys: [u8; 32],
        window: &Range<Timestamp>,
        now: Timestamp,
    ) {
        let end = now.saturating_add(LIFE).unwrap_or(now).min(window.end);
        let window = window.start..end;
        self.0.insert(
            key,
            Entry {
                caller,
                keys,
                window,
            },
        );
    }
}

impl std::fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifiedTokens")
    }
}
