//! `/syncgate/v1/token` and what belongs to it: the OAuth 2.0 side of sessions.
//!
//! In: a credential of a configured issuer or a proof of an AWS identity (token exchange, RFC 8693), or a refresh
//! token (RFC 6749 section 6), form-encoded. Out: a token of the gate, or an error in the form of RFC 6749 section 5.2. Beside it: what a
//! proof has to hold (`token/challenge`), giving tokens back (`token/revoke`, RFC 7009), the metadata of the
//! authorization server (RFC 8414) and of the gate as a protected resource (RFC 9728), and the keys. Beginning
//! and renewing a session are decisions with a record, like any other. Never: a session for a token of the
//! gate, so that none outlives what it was begun with; a credential in an address, a log or an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{GET, POST, ask, internal, ok_json};
use crate::app::App;
use crate::argocd::operation::Effect;
use crate::aws::PROOF_TYPE;
use crate::body::{self, Body};
use crate::draft::Draft;
use crate::identity::Caller;
use crate::identity::aws::{self, Proof};
use crate::identity::reason::{Quoted, Reason};
use crate::identity::session::{BEARER_LIFE, CHALLENGE_LIFE, Issued};
use crate::pipeline::unread;
use crate::policy::Resource;
use crate::record::{Durability, Outcome, Word};
use crate::respond::{Form, Rejection};
use crate::store::Revoked;

/// The action of beginning and of renewing a session.
const BEGIN: &str = "Session.begin";

/// The largest form: a credential, and its encoding.
const MAX_FORM_BYTES: usize = 64 << 10;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const RENEW: &str = "refresh_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The scope that asks for a refresh token (`OpenID` Connect Core 1.0 section 11).
const OFFLINE: &str = "offline_access";

/// A page that is open to whoever has no session yet.
#[derive(Clone, Copy)]
pub(super) enum Page {
    Challenge,
    Keys,
    Resource,
    Revoke,
    Server,
    Token,
}

impl Page {
    /// The page at `path`, if it is one of these.
    pub(super) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/syncgate/v1/token" => Self::Token,
            "/syncgate/v1/token/challenge" => Self::Challenge,
            "/syncgate/v1/token/keys" => Self::Keys,
            "/syncgate/v1/token/revoke" => Self::Revoke,
            SERVER => Self::Server,
            RESOURCE => Self::Resource,
            _ => return None,
        })
    }

    fn method(self) -> &'static str {
        match self {
            Self::Challenge | Self::Revoke | Self::Token => POST,
            Self::Keys | Self::Resource | Self::Server => GET,
        }
    }

    /// As the record names it, and its effect. A challenge keeps nothing.
    pub(super) fn action(self) -> (&'static str, Effect) {
        match self {
            Self::Challenge => ("Session.challenge", Effect::Read),
            Self::Keys => ("Session.keys", Effect::Read),
            Self::Resource | Self::Server => ("Session.metadata", Effect::Read),
            Self::Revoke => ("Session.end", Effect::Write),
            Self::Token => (BEGIN, Effect::Write),
        }
    }
}

/// Where the metadata of an authorization server is whose issuer ends in `/syncgate` (RFC 8414 section 3.1).
pub(crate) const SERVER: &str = "/.well-known/oauth-authorization-server/syncgate";
/// Where the metadata of the gate as a protected resource is (RFC 9728 section 3.1).
pub(crate) const RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// Answers a request for one of these pages.
pub(super) async fn answer(
    app: &App,
    draft: &mut Draft,
    page: Page,
    request: Request<Body>,
) -> Result<Response<Body>, Rejection> {
    let allowed = page.method();
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    if request.method().as_str() != allowed && !(reads && allowed == GET) {
        return Err(Rejection::WrongMethod {
            allowed: allowed.into(),
        });
    }
    let (head, body) = request.into_parts();
    let mut response = match page {
        Page::Keys => keys(app, draft).await?,
        Page::Server => told(app, draft, &server(app)).await?,
        Page::Resource => told(app, draft, &resource(app)).await?,
        Page::Challenge => challenge(app, draft).await?,
        Page::Revoke => give_back(app, draft, &Fields::read(&head, body).await?).await?,
        Page::Token => token(app, draft, &Fields::read(&head, body).await?).await?,
    };
    // RFC 6749 section 5.1.
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    Ok(response)
}

async fn told(app: &App, draft: &mut Draft, value: &Value) -> Result<Response<Body>, Rejection> {
    super::answer(app, draft, StatusCode::OK, value).await
}

async fn keys(app: &App, draft: &mut Draft) -> Result<Response<Body>, Rejection> {
    let set = app.identity.sessions().key_set().await;
    let set = set.map_err(|reason| refused(draft, &reason))?;
    told(app, draft, &set).await
}

async fn challenge(app: &App, draft: &mut Draft) -> Result<Response<Body>, Rejection> {
    let challenge = app.identity.sessions().challenge().await;
    let challenge = challenge.map_err(|reason| refused(draft, &reason))?;
    let sts = app.sts.as_ref().map(aws::Sts::rules);
    let endpoints = sts.iter().flat_map(|rules| &rules.endpoints);
    let answer = json!({
        "challenge": challenge,
        "expires_in": CHALLENGE_LIFE.as_secs(),
        "audience": sts.map_or(app.config.url.as_str(), |rules| &rules.audience),
        "aws_sts": endpoints.map(aws::StsUrl::as_str).collect::<Vec<_>>(),
    });
    told(app, draft, &answer).await
}

/// Begins a session, or renews one.
async fn token(app: &App, draft: &mut Draft, fields: &Fields) -> Result<Response<Body>, Rejection> {
    match fields.required("grant_type")? {
        EXCHANGE => exchange(app, draft, fields).await,
        RENEW => renew(app, draft, fields).await,
        other => Err(Rejection::OAuth {
            error: "unsupported_grant_type",
            sentence: format!(
                "`{}` is not a grant type of this gate: send {EXCHANGE} or {RENEW}",
                Quoted::new(other)
            ),
        }),
    }
}

async fn exchange(
    app: &App,
    draft: &mut Draft,
    fields: &Fields,
) -> Result<Response<Body>, Rejection> {
    let renewable = fields.check_exchange(app)?;
    let subject = fields.required("subject_token")?;
    let caller = match fields.required("subject_token_type")? {
        ID_TOKEN | JWT => app.identity.subject_of(subject).await,
        PROOF_TYPE => by_aws(app, subject).await,
        other => {
            return Err(invalid(format!(
                "`{}` is not a type of token that is exchanged here: send {ID_TOKEN}, {JWT} or {PROOF_TYPE}",
                Quoted::new(other)
            )));
        }
    };
    let caller = caller.map_err(|reason| refused(draft, &reason))?;
    draft.caller(&caller);
    ask(app, draft, &caller, BEGIN, Resource::Gate)?;
    let decision = draft.decision();
    let begun = app.identity.sessions().begin(&caller, decision, renewable);
    issued(app, draft, begun).await
}

/// The role or user of AWS that has signed `proof`. Its challenge is used up before STS is asked, so that a proof
/// is sent there once.
async fn by_aws(app: &App, proof: &str) -> Result<Arc<Caller>, Reason> {
    let sts = app.sts.as_ref().ok_or(Reason::NoAws)?;
    let now = app.clock.now();
    let proof = Proof::parse(proof, sts.rules(), now)?;
    app.identity.sessions().spend(proof.challenge()).await?;
    let principal = sts.identity(proof).await?;
    let until = now.saturating_add(BEARER_LIFE).unwrap_or(now);
    app.identity.of_aws(principal, until).map(Arc::new)
}

async fn renew(app: &App, draft: &mut Draft, fields: &Fields) -> Result<Response<Body>, Rejection> {
    let token = fields.required(RENEW)?;
    let caller = app.identity.of_refresh_token(token).await;
    let caller = caller.map_err(|reason| grant_refused(draft, &reason))?;
    draft.caller(&caller);
    ask(app, draft, &caller, BEGIN, Resource::Gate)?;
    let renewed = app.identity.sessions().renew(token, draft.decision());
    issued(app, draft, renewed).await
}

/// Puts on record that a session is begun or renewed, does it, and answers with its token.
async fn issued(
    app: &App,
    draft: &mut Draft,
    work: impl Future<Output = Result<Issued, Reason>>,
) -> Result<Response<Body>, Rejection> {
    let mut record = draft.open(app, Word::Permit, draft.durability()).await?;
    let issued = match work.await {
        Ok(issued) => issued,
        Err(reason) => {
            if let Some(detail) = reason.detail() {
                record.note(detail);
            }
            let code = reason.code().to_owned();
            record.close(Outcome::Refused { code }).await;
            return Err(grant_refused(draft, &reason));
        }
    };
    let left = issued.expires_at.duration_since(app.clock.now());
    let mut answer = json!({
        "access_token": issued.token,
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": left.as_secs().max(0),
    });
    if let (Some(refresh), Some(answer)) = (issued.refresh, answer.as_object_mut()) {
        answer.insert(RENEW.to_owned(), refresh.into());
    }
    let json = serde_json::to_vec(&answer).map_err(|error| internal(&error))?;
    let response = ok_json(StatusCode::OK, json, draft.decision());
    Ok(draft.answered(record, response).await)
}

/// Ends the session of a token that is given back (RFC 7009). A token that is none is no error: it does not
/// count, which is what was wanted.
async fn give_back(
    app: &App,
    draft: &mut Draft,
    fields: &Fields,
) -> Result<Response<Body>, Rejection> {
    let sessions = app.identity.sessions();
    let session = match sessions.named_by(fields.required("token")?).await {
        Ok(session) => Some(session),
        Err(Reason::SessionsUnavailable) => {
            return Err(refused(draft, &Reason::SessionsUnavailable));
        }
        Err(_) => None,
    };
    draft.facts(Vec::new(), json!({ "session": session }));
    // SECURITY: nobody signs in here, so what ends nothing must not keep storage busy.
    let durability = match session {
        Some(_) => draft.durability(),
        None => Durability::Queued,
    };
    let record = draft.open(app, Word::Answer, durability).await?;
    if let Some(session) = session {
        let revoked = Revoked {
            by: "whoever held its token".to_owned(),
            at: app.clock.now(),
            reason: "the token was given back".to_owned(),
            decision: draft.decision(),
        };
        if let Err(error) = sessions.revoke(session, revoked).await {
            let code = "internal".to_owned();
            record.close(Outcome::Refused { code }).await;
            return Err(internal(&error));
        }
    }
    let response = ok_json(StatusCode::OK, b"{}".to_vec(), draft.decision());
    Ok(draft.answered(record, response).await)
}

/// RFC 8414 section 2.
fn server(app: &App) -> Value {
    let url = &app.config.url;
    json!({
        "issuer": app.identity.sessions().issuer(),
        "token_endpoint": format!("{url}syncgate/v1/token"),
        "revocation_endpoint": format!("{url}syncgate/v1/token/revoke"),
        "jwks_uri": format!("{url}syncgate/v1/token/keys"),
        "grant_types_supported": [EXCHANGE, RENEW],
        "response_types_supported": [],
        "scopes_supported": [OFFLINE],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
    })
}

/// RFC 9728 section 2.
fn resource(app: &App) -> Value {
    json!({
        "resource": app.config.url,
        "authorization_servers": [app.identity.sessions().issuer()],
        "bearer_methods_supported": ["header"],
        "resource_name": "Syncgate",
    })
}

/// The fields of a form, each of which is there once (RFC 6749 section 3.2).
struct Fields(BTreeMap<String, String>);

impl Fields {
    async fn read(head: &Parts, body: Body) -> Result<Self, Rejection> {
        let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let kind = kind.and_then(|kind| kind.split(|byte| *byte == b';').next());
        if !kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(FORM.as_bytes())) {
            return Err(Rejection::WrongType { expected: FORM });
        }
        let body = body::collect(body, MAX_FORM_BYTES).await;
        let body = body.map_err(|error| unread(&error))?;
        Self::parse(&body)
    }

    fn parse(body: &Bytes) -> Result<Self, Rejection> {
        let mut fields = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(body).into_owned() {
            // A field without a value is as if it were not there.
            if value.is_empty() {
                continue;
            }
            if fields.contains_key(&name) {
                return Err(invalid(format!("`{}` is there twice", Quoted::new(&name))));
            }
            fields.insert(name, value);
        }
        Ok(Self(fields))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn required(&self, name: &'static str) -> Result<&str, Rejection> {
        self.get(name)
            .ok_or_else(|| invalid(format!("`{name}` is missing")))
    }

    /// Whether a session that can be renewed is asked for; what else is asked for must be what is given.
    fn check_exchange(&self, app: &App) -> Result<bool, Rejection> {
        if self.get("actor_token").is_some() {
            return Err(invalid(
                "nobody can act for another here: leave out `actor_token`".to_owned(),
            ));
        }
        let wanted = self.get("requested_token_type");
        if wanted.is_some_and(|wanted| ![ACCESS_TOKEN, JWT].contains(&wanted)) {
            return Err(invalid(format!("only {ACCESS_TOKEN} is given here")));
        }
        let gate = app.config.url.as_str();
        let elsewhere = ["audience", "resource"]
            .into_iter()
            .filter_map(|name| self.get(name));
        for target in elsewhere {
            if target.trim_end_matches('/') != gate.trim_end_matches('/') {
                return Err(Rejection::OAuth {
                    error: "invalid_target",
                    sentence: format!("tokens given here are for {gate} only"),
                });
            }
        }
        match self.get("scope") {
            None => Ok(false),
            Some(OFFLINE) => Ok(true),
            Some(_) => Err(Rejection::OAuth {
                error: "invalid_scope",
                sentence: format!("the only scope is `{OFFLINE}`"),
            }),
        }
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

fn invalid(sentence: String) -> Rejection {
    Rejection::OAuth {
        error: "invalid_request",
        sentence,
    }
}

/// The refusal of a credential (RFC 8693 section 2.2.2).
fn refused(draft: &mut Draft, reason: &Reason) -> Rejection {
    of(draft, "invalid_request", reason)
}

/// The refusal of a refresh token (RFC 6749 section 5.2).
fn grant_refused(draft: &mut Draft, reason: &Reason) -> Rejection {
    of(draft, "invalid_grant", reason)
}

fn of(draft: &mut Draft, error: &'static str, reason: &Reason) -> Rejection {
    draft.note(reason.detail().unwrap_or_else(|| reason.code().to_owned()));
    Rejection::OAuth {
        error: if reason.passes() {
            "temporarily_unavailable"
        } else {
            error
        },
        sentence: reason.to_string(),
    }
}

/// The form of answers about these pages.
pub(super) const ANSWERS: Form = Form::OAuth;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_counts_once() {
        let read = |text: &str| Fields::parse(&Bytes::copy_from_slice(text.as_bytes()));
        let fields = read("grant_type=x%20y&empty=&scope=offline_access").unwrap();
        assert_eq!(fields.get("grant_type"), Some("x y"));
        assert_eq!(fields.get("empty"), None);
        let Err(Rejection::OAuth { error, sentence }) = read("a=1&a=1") else {
            panic!("taken twice");
        };
        assert_eq!(
            (error, sentence.as_str()),
            ("invalid_request", "`a` is there twice")
        );
    }
}
