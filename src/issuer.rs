//! The gate as Argo CD's OpenID Connect issuer, so that Argo CD's own rules, events and history know callers.
//!
//! In: a verified caller, and the decision about a call of theirs. Out: an ID token (OpenID Connect Core 1.0
//! section 2) for that one call, which Argo CD takes; and for anybody, where its key is (OpenID Connect
//! Discovery 1.0 section 4) and the key (RFC 7517). Refused: a caller whose credential has ended meanwhile.
//!
//! The key is made at each start and never leaves memory. A token is good for Argo CD alone: its issuer, its
//! key and its audience are none that the gate itself takes. Nothing is kept between calls, so that no token
//! can be that of another caller, and `jti` is the decision, by which argocd-server's log leads to ours.
//!
//! Never: a token that outlives the caller's credential; a group that is no role of ours, since Argo CD has
//! one set of names for groups, users and its own roles (`role:admin`); an e-mail that is not of a person of
//! the issuer by which people sign in, since Argo CD shows nothing else of who it was.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::app::App;
use crate::clock::Clock;
use crate::config::{Callers, Config};
use crate::forward::{SendAs, UpstreamToken};
use crate::identity::{Caller, Subject};
use crate::names::DecisionId;
use crate::respond::{Credential, Rejection};
use crate::signing::{self, SigningKey};

/// Where Argo CD finds out about the issuer.
pub const DISCOVERY: &str = "/syncgate/argocd/.well-known/openid-configuration";
/// Where the key is published.
pub const KEYS: &str = "/syncgate/argocd/keys";
/// The audience of all tokens: `clientID` in Argo CD's settings.
pub const CLIENT_ID: &str = "syncgate";
/// What stands before the name of a role in the groups of a token.
pub const ROLE_PREFIX: &str = "syncgate:";

/// How long a token is good for, where the caller's credential does not end sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Five minutes. Argo CD looks at it once, when the call begins, also where the answer is a stream.
    Call,
    /// An hour. A terminal's is looked at whenever something is typed; when it has ended, Argo CD asks the web
    /// UI to connect anew. It does not end the shell; the gate does when the caller's credential ends.
    Terminal,
}

impl Lifetime {
    const fn duration(self) -> SignedDuration {
        match self {
            Self::Call => SignedDuration::from_mins(5),
            Self::Terminal => SignedDuration::from_hours(1),
        }
    }
}

/// Issues the tokens.
pub struct Issuer {
    url: String,
    /// Whose e-mails name people.
    people: Option<String>,
    key: SigningKey,
    clock: Clock,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// The caller's credential ended while the call was being checked.
    #[error("the token expired while the request was being checked; sign in again")]
    Expired,
    /// It cannot be signed.
    #[error("no token for Argo CD can be signed")]
    Unsigned,
}

impl Issuer {
    /// The issuer of the gate that `config` describes, with a key that is made now; nothing if callers reach
    /// Argo CD as the gate's account.
    ///
    /// # Errors
    /// [`signing::Error`] where no key can be made.
    pub fn new(config: &Config, clock: Clock) -> Result<Option<Self>, signing::Error> {
        match config.upstream.callers {
            Callers::Account => Ok(None),
            Callers::Named => Ok(Some(Self {
                url: config.argocd_issuer(),
                people: config.people().map(|issuer| issuer.issuer.clone()),
                key: SigningKey::generate()?,
                clock,
            })),
        }
    }

    /// An ID token by which Argo CD knows `caller`, for the call that `decision` is about.
    ///
    /// # Errors
    /// [`NoToken`].
    pub fn token(
        &self,
        caller: &Caller,
        decision: DecisionId,
        lifetime: Lifetime,
    ) -> Result<UpstreamToken, NoToken> {
        let now = self.clock.now();
        let end = now.saturating_add(lifetime.duration()).unwrap_or(now);
        let end = end.min(caller.expires_at);
        if end.as_second() <= now.as_second() {
            return Err(NoToken::Expired);
        }
        let roles = caller.roles.iter();
        let groups: Vec<String> = roles.map(|role| format!("{ROLE_PREFIX}{role}")).collect();
        let mut claims = json!({
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": caller.unique(),
            "groups": groups,
            "iat": now.as_second(),
            "exp": end.as_second(),
            "jti": decision.to_string(),
        });
        if let (Some(email), Some(claims)) = (self.email(caller), claims.as_object_mut()) {
            claims.insert("email".to_owned(), email.into());
        }
        let token = self.key.jwt("JWT", &claims).ok_or(NoToken::Unsigned)?;
        UpstreamToken::parse(&token).map_err(|_| NoToken::Unsigned)
    }

    /// The e-mail by which Argo CD shows a person; it shows the subject of everybody else.
    fn email<'a>(&self, caller: &'a Caller) -> Option<&'a str> {
        match &caller.subject {
            Subject::OidcUser { email, .. } if self.people.as_ref() == Some(&caller.issuer) => {
                email.as_deref()
            }
            _ => None,
        }
    }

    /// The document at `path`, if there is one: [`DISCOVERY`] or [`KEYS`]. Nobody can sign in at this issuer, so
    /// all that can be discovered is its key.
    #[must_use]
    pub fn document(&self, path: &str) -> Option<Value> {
        match path {
            DISCOVERY => Some(json!({
                "issuer": self.url,
                "jwks_uri": format!("{}/keys", self.url),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            })),
            KEYS => Some(json!({ "keys": [self.key.public_jwk()] })),
            _ => None,
        }
    }
}

/// As whom a call of `caller` goes to Argo CD: themselves where the gate is its issuer, else the gate's account.
///
/// # Errors
/// [`Rejection`] for a caller who cannot be named there, since the credential has ended.
pub(crate) fn send_as(
    app: &App,
    caller: &Caller,
    decision: DecisionId,
    lifetime: Lifetime,
) -> Result<SendAs, Rejection> {
    let Some(issuer) = &app.issuer else {
        return Ok(SendAs::Gate);
    };
    match issuer.token(caller, decision, lifetime) {
        Ok(token) => Ok(SendAs::Caller(Arc::new(token))),
        Err(NoToken::Expired) => Err(Rejection::Unauthenticated {
            credential: Credential::Invalid("expired"),
            sentence: NoToken::Expired.to_string(),
        }),
        Err(NoToken::Unsigned) => Err(Rejection::Internal),
    }
}

#[cfg(test)]
mod tests;
