//! Sessions: what a verified credential is exchanged for.
//!
//! In: a [`Caller`] whose credential was verified. Out: a short-lived token of the gate (a JWT access token,
//! RFC 9068) that names a session in the store, where asked for with a refresh token that can be used once;
//! and from such a token the session again. Refused: tokens of sessions that were revoked or have ended;
//! refresh tokens for the second time, which ends the session (RFC 9700 section 4.14.2). Never: rights in a
//! token. Who it is stands in the store, what they may is configuration and policy of the moment.
//!
//! The keys that sign are the gate's own, kept in the store and changed every month; each stays published
//! until nothing that it signed counts any more. They sign tokens of sessions, refresh tokens and challenges,
//! which are told apart by their type, and nothing else.

mod keys;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::keys::Keys;
use super::jwt::{Claims, LEEWAY, Type, UnverifiedToken};
use super::reason::{Quoted, Reason, Scheme};
use super::{Caller, SignIn, Subject};
use crate::clock::Clock;
use crate::digest::sha256;
use crate::names::DecisionId;
use crate::store::{Renewal, RevocationRow, Revoked, RevokedFor, SessionRow, Store};

/// How long a token of a session is good for at most, if whoever has it may use it.
pub const BEARER_LIFE: SignedDuration = SignedDuration::from_mins(15);
/// How long a session lasts at most, however often it is renewed.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(12);
/// How fresh a sign-in must be to begin a session that can be renewed: a token that was stolen later begins
/// none.
pub const FRESH: SignedDuration = SignedDuration::from_mins(5);
/// How long a challenge is good for.
pub const CHALLENGE_LIFE: SignedDuration = SignedDuration::from_mins(2);

/// The type of a session's token (RFC 9068 section 2.1).
const ACCESS: &str = "at+jwt";
const REFRESH: &str = "syncgate-refresh+jwt";
const CHALLENGE: &str = "syncgate-challenge+jwt";

/// How long a session that was read is taken to be as it was, by calls that begin; what acts, and what streams,
/// reads it anew.
const FRESHLY_READ: Duration = Duration::from_secs(2);
const CACHED: u64 = 10_000;
/// How often the keys are looked after and what has ended is forgotten, and after how long that is tried again.
const EVERY: Duration = Duration::from_mins(10);
const AGAIN: Duration = Duration::from_secs(1);
/// How long a call waits for the keys of a gate that has just started.
const WAIT: Duration = Duration::from_secs(5);

/// What is given for a credential (RFC 6749 section 5.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The session.
    pub session: DecisionId,
    /// Its token.
    pub token: String,
    /// When the token ends.
    pub expires_at: Timestamp,
    /// What the next token can be had for, once.
    pub refresh: Option<String>,
}

/// Never the tokens.
impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// A token of a session, verified.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) row: Arc<SessionRow>,
    pub(super) expires_at: Timestamp,
}

/// All sessions.
pub struct Sessions {
    store: Store,
    clock: Clock,
    issuer: String,
    audience: String,
    /// Nothing before the store was read. Whoever streams looks again when it changes.
    kept: watch::Sender<Option<Arc<Kept>>>,
    read: Cache<DecisionId, Arc<SessionRow>>,
}

/// What is kept in memory.
struct Kept {
    keys: Arc<Keys>,
    revoked: HashMap<RevokedFor, Timestamp>,
}

/// Tells when to look again whether a credential still counts.
pub struct Changes(watch::Receiver<Option<Arc<Kept>>>);

impl Changes {
    /// Returns when something was revoked since this was made or returned last, and now and then without.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The gate is being stopped, which ends what streams by itself.
            std::future::pending::<()>().await;
        }
    }
}

/// Why it cannot be kept.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Key(#[from] crate::signing::Error),
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

impl Sessions {
    /// The sessions in `store` of the gate at `url`, an address that ends in a slash. [`Sessions::run`]
    /// gets the keys.
    #[must_use]
    pub fn new(store: Store, url: &url::Url, clock: Clock) -> Self {
        Self {
            store,
            clock,
            issuer: format!("{url}syncgate"),
            audience: url.to_string(),
            kept: watch::Sender::new(None),
            read: Cache::builder()
                .max_capacity(CACHED)
                .time_to_live(FRESHLY_READ)
                .build(),
        }
    }

    /// The issuer of tokens of sessions (RFC 8414 section 2).
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The public keys, as a key set (RFC 7517).
    ///
    /// # Errors
    /// [`Reason::SessionsUnavailable`].
    pub async fn key_set(&self) -> Result<Value, Reason> {
        Ok(self.kept().await?.keys.set())
    }

    /// Whether the store was read: before, nobody can sign in.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.kept.borrow().is_some()
    }

    /// Looks after the keys and forgets what has ended, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let pause = match self.keep().await {
                Ok(()) => EVERY,
                Err(error) => {
                    let error = crate::telemetry::chain(&error);
                    tracing::warn!(error, "the keys of sessions cannot be looked after");
                    AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn keep(&self) -> Result<(), KeepError> {
        let now = self.clock.now();
        let keys = Arc::new(keys::kept(&self.store, now).await?);
        let rows = self.revocations().await?;
        self.kept.send_modify(|kept| {
            // What was revoked while the store was read stays.
            let known = kept.as_ref().map(|kept| kept.revoked.clone());
            let revoked = rows.into_iter().fold(known.unwrap_or_default(), and);
            *kept = Some(Arc::new(Kept { keys, revoked }));
        });
        Ok(self.store.forget_sessions(now).await?)
    }

    async fn revocations(&self) -> Result<HashMap<RevokedFor, Timestamp>, crate::store::Error> {
        let rows = self.store.revocations().await?.into_iter();
        Ok(rows.map(|row| (row.of, row.before)).collect())
    }

    /// Becomes ready when something was revoked, and now and then.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes(self.kept.subscribe())
    }

    /// Begins the session `id` for `caller`. It lasts no longer than the credential, unless it is `renewable`: a
    /// person's, who has just signed in, can be renewed for [`LONGEST`].
    ///
    /// # Errors
    /// [`Reason::SessionsUnavailable`]; [`Reason::NotRenewable`] for a program, whose own credential is renewed by
    /// whoever runs it, and [`Reason::Stale`] for a credential that is not [`FRESH`].
    pub async fn begin(
        &self,
        caller: &Caller,
        id: DecisionId,
        renewable: bool,
    ) -> Result<Issued, Reason> {
        let begun = self.clock.now();
        if renewable && !matches!(caller.subject, Subject::OidcUser { .. }) {
            return Err(Reason::NotRenewable);
        }
        let fresh = caller
            .sign_in
            .at
            .is_some_and(|at| begun.duration_since(at) <= FRESH);
        if renewable && !fresh {
            return Err(Reason::Stale);
        }
        let longest = if renewable { LONGEST } else { BEARER_LIFE };
        let ends = begun.saturating_add(longest).unwrap_or(begun);
        let ends = if renewable {
            ends
        } else {
            ends.min(caller.expires_at)
        };
        let row = SessionRow {
            id,
            caller: caller.clone(),
            begun,
            ends,
            revoked: None,
        };
        let refresh = if renewable {
            Some(self.refresh_token(&row).await?)
        } else {
            None
        };
        let issued = self.issue(&row, refresh).await?;
        let digest = issued
            .refresh
            .as_ref()
            .map(|token| sha256(token.as_bytes()));
        let stored = self.store.add_session(row, digest).await;
        stored.map_err(|error| unavailable(&error))?;
        Ok(issued)
    }

    /// The session that a refresh token renews. It is not used up by this.
    ///
    /// # Errors
    /// A [`Reason`] for a token that is none, or whose session has ended.
    pub(super) async fn renewable(&self, token: &str) -> Result<Shown, Reason> {
        let claims = self.own(UnverifiedToken::parse(token)?, REFRESH).await?;
        let window = claims.window(self.clock.now(), Scheme::Session)?;
        let row = self.store.session(session_id(&claims)?).await;
        let row = row
            .map_err(|error| unavailable(&error))?
            .ok_or(Reason::SessionEnded)?;
        self.check(&row).await?;
        Ok(Shown {
            row: Arc::new(row),
            expires_at: window.end,
        })
    }

    /// Renews a session by its refresh token, which is used up; `by` is the decision that does so.
    ///
    /// # Errors
    /// A [`Reason`] for a token that is none, was used before, or whose session has ended.
    pub async fn renew(&self, token: &str, by: DecisionId) -> Result<Issued, Reason> {
        let row = self.renewable(token).await?.row;
        let id = row.id;
        let refresh = self.refresh_token(&row).await?;
        let issued = self.issue(&row, Some(refresh.clone())).await?;
        let revoked = Revoked {
            by: "syncgate".to_owned(),
            at: self.clock.now(),
            reason: "its refresh token was shown twice".to_owned(),
            decision: by,
        };
        let (shown, new) = (sha256(token.as_bytes()), sha256(refresh.as_bytes()));
        let renewed = self.store.renew_session(id, shown, new, revoked).await;
        match renewed.map_err(|error| unavailable(&error))? {
            Renewal::Renewed => Ok(issued),
            Renewal::Gone => Err(Reason::SessionEnded),
            Renewal::Reused => {
                tracing::warn!(session = %id, "a refresh token was shown twice: its session is revoked");
                self.forget(id);
                Err(Reason::Spent {
                    what: "refresh token",
                })
            }
        }
    }

    /// The session of a token whose issuer is this gate.
    ///
    /// # Errors
    /// A [`Reason`], also for a session that was revoked.
    pub(super) async fn verify(&self, token: UnverifiedToken<'_>) -> Result<Shown, Reason> {
        let claims = self.own(token, ACCESS).await?;
        let window = claims.window(self.clock.now(), Scheme::Session)?;
        claims.audiences(&[self.audience.clone()].into(), Scheme::Session)?;
        let row = self.live(session_id(&claims)?).await?;
        Ok(Shown {
            row,
            expires_at: window.end,
        })
    }

    /// The session `id`, if it goes on.
    async fn live(&self, id: DecisionId) -> Result<Arc<SessionRow>, Reason> {
        if let Some(row) = self.read.get(&id) {
            self.check(&row).await?;
            return Ok(row);
        }
        let row = self.store.session(id).await;
        let row = row.map_err(|error| unavailable(&error))?;
        let row = Arc::new(row.ok_or(Reason::SessionEnded)?);
        self.read.insert(id, Arc::clone(&row));
        self.check(&row).await?;
        Ok(row)
    }

    async fn check(&self, row: &SessionRow) -> Result<(), Reason> {
        if row.revoked.is_some() {
            return Err(Reason::Revoked { what: "session" });
        }
        if row.ends <= self.clock.now() {
            return Err(Reason::SessionEnded);
        }
        self.not_revoked(&row.caller).await
    }

    /// Whether what `caller` signed in with was not taken back since. A credential that does not say when it
    /// was issued is of before every revocation.
    ///
    /// # Errors
    /// [`Reason::Revoked`].
    pub async fn not_revoked(&self, caller: &Caller) -> Result<(), Reason> {
        let kept = self.kept().await?;
        if kept.revoked.is_empty() {
            return Ok(());
        }
        let keys = [
            (RevokedFor::Subject(caller.unique()), "subject"),
            (RevokedFor::Issuer(caller.issuer.clone()), "issuer"),
        ];
        for (key, what) in keys {
            let before = kept.revoked.get(&key);
            if before.is_some_and(|before| caller.sign_in.at.is_none_or(|at| at < *before)) {
                return Err(Reason::Revoked { what });
            }
        }
        Ok(())
    }

    /// Whether the credential of `caller` still counts: it has not expired, and neither it nor its session was
    /// revoked.
    ///
    /// # Errors
    /// A [`Reason`] if it does not.
    pub async fn holds(&self, caller: &Caller) -> Result<(), Reason> {
        // What is kept of a session may be of before it was revoked: here it is read anew.
        let now = self.clock.now();
        if caller.expires_at <= now {
            return Err(Reason::Expired {
                scheme: Scheme::Session,
                at: caller.expires_at,
                now,
            });
        }
        match caller.sign_in.session {
            Some(id) => {
                let row = self.store.session(id).await;
                let row = row.map_err(|error| unavailable(&error))?;
                self.check(&row.ok_or(Reason::SessionEnded)?).await
            }
            None => self.not_revoked(caller).await,
        }
    }

    /// Revokes the session `id`; whether there was one to revoke.
    ///
    /// # Errors
    /// What the store says.
    pub async fn revoke(
        &self,
        id: DecisionId,
        revoked: Revoked,
    ) -> Result<bool, crate::store::Error> {
        let was_there = self.store.revoke_session(id, revoked).await?;
        if was_there {
            self.forget(id);
        }
        Ok(was_there)
    }

    /// Revokes what was issued until now to a subject, or by an issuer; since clocks differ, until a minute from now.
    ///
    /// # Errors
    /// What the store says.
    pub async fn revoke_all(
        &self,
        of: RevokedFor,
        revoked: Revoked,
    ) -> Result<(), crate::store::Error> {
        // The issuer's clock may be ahead, and tokens say in whole seconds when they were issued.
        let ahead = LEEWAY + SignedDuration::from_secs(1);
        let before = revoked.at.saturating_add(ahead).unwrap_or(revoked.at);
        let row = RevocationRow {
            of: of.clone(),
            before,
            revoked,
        };
        self.store.revoke_before(row).await?;
        self.kept.send_modify(|kept| {
            if let Some(kept) = kept {
                let keys = Arc::clone(&kept.keys);
                let revoked = and(kept.revoked.clone(), (of, before));
                *kept = Arc::new(Kept { keys, revoked });
            }
        });
        Ok(())
    }

    /// Has the session `id` read anew, by whoever calls and by whoever streams.
    fn forget(&self, id: DecisionId) {
        self.read.invalidate(&id);
        self.kept.send_modify(|_| {});
    }

    /// The session that `token` belongs to, be it one to call with or one to renew with, and be it expired:
    /// for who gives it back.
    ///
    /// # Errors
    /// A [`Reason`] if it is no token of this gate.
    pub async fn named_by(&self, token: &str) -> Result<DecisionId, Reason> {
        let of_access = self.own(UnverifiedToken::parse(token)?, ACCESS).await;
        let claims = match of_access {
            Err(Reason::Type { .. }) => self.own(UnverifiedToken::parse(token)?, REFRESH).await?,
            other => other?,
        };
        session_id(&claims)
    }

    /// A challenge that a proof has to hold, good for [`CHALLENGE_LIFE`] and one use. Nothing is kept of it
    /// until it is used.
    ///
    /// # Errors
    /// [`Reason::SessionsUnavailable`].
    pub async fn challenge(&self) -> Result<String, Reason> {
        let now = self.clock.now();
        let claims = json!({
            "iss": self.issuer,
            "iat": now.as_second(),
            "exp": now.as_second() + CHALLENGE_LIFE.as_secs(),
            "jti": DecisionId::new(now).to_string(),
        });
        self.sign(CHALLENGE, &claims).await
    }

    /// Uses up a challenge of this gate.
    ///
    /// # Errors
    /// A [`Reason`] if it is none, has expired, or was used.
    pub async fn spend(&self, challenge: &str) -> Result<(), Reason> {
        let claims = self
            .own(UnverifiedToken::parse(challenge)?, CHALLENGE)
            .await?;
        let window = claims.window(self.clock.now(), Scheme::Session)?;
        let id = claims.text("jti")?.ok_or(Reason::SessionEnded)?;
        let spent = self
            .store
            .spend(format!("challenge {id}"), window.end)
            .await;
        if spent.map_err(|error| unavailable(&error))? {
            return Ok(());
        }
        Err(Reason::Spent { what: "challenge" })
    }

    /// The claims of a token of this gate and of the type `typ`.
    async fn own(&self, token: UnverifiedToken<'_>, typ: &'static str) -> Result<Claims, Reason> {
        if token.issuer() != self.issuer {
            return Err(Reason::UnknownIssuer {
                issuer: Quoted::new(token.issuer()),
            });
        }
        let kept = self.kept().await?;
        token.verify(Type::Own(typ), kept.keys.verifying(), Scheme::Session)
    }

    async fn issue(&self, row: &SessionRow, refresh: Option<String>) -> Result<Issued, Reason> {
        let now = self.clock.now();
        let end = now.saturating_add(BEARER_LIFE).unwrap_or(now).min(row.ends);
        let claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "client_id": "syncgate",
            "sub": row.caller.unique(),
            "sid": row.id.to_string(),
            "iat": now.as_second(),
            "exp": end.as_second(),
            "jti": DecisionId::new(now).to_string(),
        });
        Ok(Issued {
            session: row.id,
            token: self.sign(ACCESS, &claims).await?,
            expires_at: end,
            refresh,
        })
    }

    async fn refresh_token(&self, row: &SessionRow) -> Result<String, Reason> {
        let now = self.clock.now();
        let claims = json!({
            "iss": self.issuer,
            "sid": row.id.to_string(),
            "iat": now.as_second(),
            "exp": row.ends.as_second(),
            "jti": DecisionId::new(now).to_string(),
        });
        self.sign(REFRESH, &claims).await
    }

    async fn sign(&self, typ: &str, claims: &Value) -> Result<String, Reason> {
        let kept = self.kept().await?;
        kept.keys
            .sign(typ, claims)
            .ok_or(Reason::SessionsUnavailable)
    }

    /// What is kept, once the store was read.
    async fn kept(&self) -> Result<Arc<Kept>, Reason> {
        let mut kept = self.kept.subscribe();
        let some = kept.wait_for(Option::is_some);
        match tokio::time::timeout(WAIT, some).await {
            Ok(Ok(kept)) => kept.clone().ok_or(Reason::SessionsUnavailable),
            Ok(Err(_)) | Err(_) => Err(Reason::SessionsUnavailable),
        }
    }
}

/// How the caller of a session signed in.
pub(super) fn sign_in(row: &SessionRow) -> SignIn {
    SignIn {
        session: Some(row.id),
        ..row.caller.sign_in.clone()
    }
}

/// `revoked` with one more, which goes as far as the further of the two.
fn and(
    mut revoked: HashMap<RevokedFor, Timestamp>,
    (of, before): (RevokedFor, Timestamp),
) -> HashMap<RevokedFor, Timestamp> {
    let known = revoked.entry(of).or_insert(before);
    *known = before.max(*known);
    revoked
}

fn session_id(claims: &Claims) -> Result<DecisionId, Reason> {
    let id = claims.text("sid")?.ok_or(Reason::SessionEnded)?;
    let id = ulid::Ulid::from_string(id).map_err(|_| Reason::SessionEnded)?;
    Ok(DecisionId(id))
}

fn unavailable(error: &crate::store::Error) -> Reason {
    let error = crate::telemetry::chain(error);
    tracing::error!(error, "sessions cannot be read or stored");
    Reason::SessionsUnavailable
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sessions({})", self.issuer)
    }
}

#[cfg(test)]
mod tests;
