//! The keys of the issuers, kept fresh.
//!
//! In: an issuer and where its keys come from. Out: its current [`KeySet`], without waiting for
//! anyone. One task per issuer refreshes it: at the start, at an interval, and when a caller's
//! token names a key that is not there, though not within the cool-down of the last attempt, be
//! that good or failed. A new set is built before it replaces the old one; an outage leaves the old
//! keys in force. Refused: metadata of another issuer, keys on a host that configuration does not
//! name, redirects. Never: a lock held while the network is asked.

mod fetch;
mod jwks;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use metrics::counter;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::fetch::Fetcher;
use super::config::{FetchUrl, IssuerUrl, KeySource, RefreshTimes, SetupError};
use crate::json;

pub use self::fetch::FetchError;
pub(super) use self::jwks::KeyFault;
pub use self::jwks::{JwksError, KeySet};

/// Counts the attempts to refresh an issuer's keys, by `issuer` and `result`: `changed`,
/// `unchanged` or `failed`.
const REFRESHES: &str = "syncgate_jwks_refresh_total";

/// What identity needs to know to fetch the keys of one issuer.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// Whose keys.
    pub(super) issuer: IssuerUrl,
    /// Where they come from.
    pub(super) source: KeySource,
    /// The authorities to trust.
    pub(super) ca: Option<PathBuf>,
    /// The hosts beside the issuer's own that may have the keys.
    pub(super) hosts: BTreeSet<String>,
    /// The token to show.
    pub(super) token_file: Option<PathBuf>,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct IssuerKeys {
    origin: Origin,
    fetcher: Fetcher,
    times: RefreshTimes,
    current: ArcSwap<KeySet>,
    phase: Mutex<Phase>,
    /// Wakes the refresher.
    wanted: Notify,
    /// Counts the attempts that have ended.
    ended: watch::Sender<u64>,
}

/// What the refresher is doing.
#[derive(Debug)]
enum Phase {
    /// Nothing; an unknown key starts an attempt from this moment on.
    Idle { cool: Instant },
    /// An attempt is wanted or under way.
    Refreshing,
}

/// Why keys could not be refreshed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The discovery document is not one.
    #[error("the discovery document is unusable: {0}")]
    Discovery(String),
    /// Nothing came.
    #[error("cannot fetch")]
    Fetch(#[source] FetchError),
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The keys are elsewhere than configuration allows.
    #[error(
        "the discovery document has the keys at `{address}`, which is neither the issuer's host nor \
         in `jwks_hosts`"
    )]
    ForeignHost {
        /// Where.
        address: String,
    },
    /// The document speaks for somebody else.
    #[error("the discovery document is of issuer `{found}`")]
    OtherIssuer {
        /// Whose it is.
        found: String,
    },
    /// Not a key set.
    #[error("cannot use the key set")]
    Set(#[source] JwksError),
}

impl IssuerKeys {
    /// No keys yet, or those of the file. [`IssuerKeys::run`] gets them.
    pub(super) fn new(origin: Origin, times: RefreshTimes) -> Result<Self, SetupError> {
        let current = match &origin.source {
            KeySource::Discover | KeySource::Uri(_) => KeySet::empty(),
            KeySource::File(path) => read_at_start(&origin.issuer, path)?,
        };
        Ok(Self {
            fetcher: Fetcher::new(
                &origin.issuer,
                origin.ca.as_deref(),
                origin.token_file.clone(),
                times.timeout,
            )?,
            origin,
            times,
            current: ArcSwap::from_pointee(current),
            // `run` begins with an attempt: whoever comes before its end waits for it.
            phase: Mutex::new(Phase::Refreshing),
            wanted: Notify::new(),
            ended: watch::Sender::new(0),
        })
    }

    /// The keys as they are.
    pub(super) fn current(&self) -> Arc<KeySet> {
        self.current.load_full()
    }

    /// The keys, after an attempt to get the one called `key_id` if it is not among them.
    pub(super) async fn having(&self, key_id: Option<&str>) -> Arc<KeySet> {
        let current = self.current();
        if current.has(key_id) {
            return current;
        }
        // Subscribed before asking, so that the end of the attempt cannot be missed.
        let mut ended = self.ended.subscribe();
        if self.ask() {
            // Whatever comes of it, the answer is in the set.
            let _ = timeout(self.times.wait, ended.changed()).await;
        }
        self.current()
    }

    /// Asks for an attempt; whether one is now under way.
    fn ask(&self) -> bool {
        let mut phase = self.phase();
        match *phase {
            Phase::Refreshing => true,
            Phase::Idle { cool } if Instant::now() < cool => false,
            Phase::Idle { .. } => {
                *phase = Phase::Refreshing;
                self.wanted.notify_one();
                true
            }
        }
    }

    /// Refreshes until `stop`. There must be one such task for each issuer.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let refreshed = tokio::select! {
                () = stop.cancelled() => return,
                refreshed = self.refresh() => refreshed,
            };
            self.note(refreshed.as_ref());
            let ended = Instant::now();
            *self.phase() = Phase::Idle {
                cool: ended + self.times.cool_down,
            };
            self.ended
                .send_modify(|count| *count = count.wrapping_add(1));
            // After a failure the interval would be too long an outage.
            let pause = match refreshed {
                Ok(_) => self.times.interval,
                Err(_) => self.times.cool_down,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.rest(ended + pause) => {}
            }
        }
    }

    /// Waits until a refresh is wanted, at the latest until `end`.
    async fn rest(&self, end: Instant) {
        loop {
            tokio::select! {
                () = sleep_until(end) => {
                    *self.phase() = Phase::Refreshing;
                    return;
                }
                () = self.wanted.notified() => {
                    // A wish that came with the end of the last rest was fulfilled since.
                    if matches!(*self.phase(), Phase::Refreshing) {
                        return;
                    }
                }
            }
        }
    }

    /// Gets the keys, and puts them in force if they are others; whether they are.
    pub(super) async fn refresh(&self) -> Result<bool, KeyError> {
        let set = KeySet::parse(&self.read().await?).map_err(KeyError::Set)?;
        let changed = set.digest() != self.current().digest();
        if changed {
            self.current.store(Arc::new(set));
        }
        Ok(changed)
    }

    async fn read(&self) -> Result<Bytes, KeyError> {
        let fetched = match &self.origin.source {
            KeySource::Discover => self.fetcher.get(&self.discover().await?).await,
            KeySource::Uri(url) => self.fetcher.get(url).await,
            KeySource::File(path) => {
                let read = tokio::fs::read(path).await;
                return read.map(Bytes::from).map_err(|source| KeyError::File {
                    path: path.clone(),
                    source,
                });
            }
        };
        fetched.map_err(KeyError::Fetch)
    }

    /// Where the issuer says its keys are (`OpenID` Connect Discovery 1.0 sections 4.1 to 4.3).
    async fn discover(&self) -> Result<FetchUrl, KeyError> {
        let issuer = &self.origin.issuer;
        let address = format!(
            "{}/.well-known/openid-configuration",
            issuer.as_str().trim_end_matches('/')
        );
        let unusable = |error: &dyn std::fmt::Display| KeyError::Discovery(error.to_string());
        let address =
            FetchUrl::parse(&address, issuer.plain_http()).map_err(|error| unusable(&error))?;
        let document = self.fetcher.get(&address).await.map_err(KeyError::Fetch)?;
        let document = json::object(&document).map_err(|error| unusable(&error))?;
        let text = |name: &str| {
            let text = document.get(name).and_then(serde_json::Value::as_str);
            text.ok_or_else(|| KeyError::Discovery(format!("it has no `{name}`")))
        };
        let found = text("issuer")?;
        if found != issuer.as_str() {
            let found = found.to_owned();
            return Err(KeyError::OtherIssuer { found });
        }
        let keys = FetchUrl::parse(text("jwks_uri")?, issuer.plain_http())
            .map_err(|error| unusable(&error))?;
        self.check_host(keys)
    }

    /// SECURITY: whoever can write the document could otherwise make the gate ask any host, or
    /// bring keys of their own.
    fn check_host(&self, keys: FetchUrl) -> Result<FetchUrl, KeyError> {
        let host = keys.authority();
        if host == self.origin.issuer.address().authority() || self.origin.hosts.contains(&host) {
            return Ok(keys);
        }
        Err(KeyError::ForeignHost {
            address: keys.as_url().to_string(),
        })
    }

    fn note(&self, refreshed: Result<&bool, &KeyError>) {
        let issuer = self.origin.issuer.as_str();
        let result = match refreshed {
            Ok(true) => {
                let (keys, left_out) = self.current().counts();
                tracing::info!(issuer, keys, left_out, "keys of `{issuer}` changed");
                "changed"
            }
            Ok(false) => "unchanged",
            Err(error) => {
                let error: &(dyn std::error::Error + 'static) = error;
                tracing::warn!(issuer, error, "keys of `{issuer}` could not be refreshed");
                "failed"
            }
        };
        counter!(REFRESHES, "issuer" => issuer.to_owned(), "result" => result).increment(1);
    }

    /// Held for a moment only, and nobody panics meanwhile.
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of the file at `path`; a gate whose keys are unreadable does not start.
fn read_at_start(issuer: &IssuerUrl, path: &PathBuf) -> Result<KeySet, SetupError> {
    let set = match std::fs::read(path) {
        Ok(bytes) => KeySet::parse(&bytes).map_err(KeyError::Set),
        Err(source) => Err(KeyError::File {
            path: path.clone(),
            source,
        }),
    };
    set.map_err(|source| SetupError::KeyFile {
        issuer: issuer.to_string(),
        source,
    })
}

#[cfg(test)]
mod tests;
