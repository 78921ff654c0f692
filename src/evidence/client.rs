//! Asks a gate over HTTP: the other side of `/syncgate/v1/runs`.
//!
//! In: a request of the interface. Out: its answer, or an [`Error`] that tells a refusal from a gate
//! that cannot be reached. Requests that failed on the way, and answers 502, 503 and 504, are repeated
//! a few times; each may be repeated without doing anything twice. Refused: redirects, answers over a
//! limit, a token over plain HTTP to another machine. Never: the token in a message.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::run::{
    Acknowledged, AttemptBatch, Finish, Finished, NewRun, Opened, Withdraw, WithdrawnRun,
};
use crate::argocd::path::encode_into;
use crate::break_glass::BreakGlass;
use crate::break_glass::interface::{Break, BreakGlasses};
use crate::hold::interface::{Line, Lines, StartLine, StopLine};
use crate::identity::interface::{Revoke, RevokedSession, SessionViews};
use crate::names::{AppRef, DecisionId, EnvironmentName};
use crate::outbound;
use crate::preflight::interface::{Answer, Asked};
use crate::record::{LogEntry, LogList};
use crate::rollout::interface::{self as rollout, RolloutView, Rollouts};
use crate::snapshot::Snapshot;

use super::statement::Statement;
use super::view::{RunList, RunView};

mod exchange;

pub use exchange::{Challenge, Token};

/// Bytes of an answer, at most.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// The media type of the interface.
const JSON: &str = "application/json";
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How long a preflight may take: a gate takes less, and whoever asks wants to know.
const SOON: Duration = Duration::from_millis(1_900);
/// How long to wait before each repetition.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The answer is not what the interface says.
    #[error("`{url}` answered with something else than the gate's interface")]
    BadAnswer {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The address is not one of a gate.
    #[error("`{url}` is not the address of a gate: {what}")]
    BadUrl {
        /// The address.
        url: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The token cannot be sent.
    #[error("the token holds characters that a header cannot carry")]
    BadToken,
    /// The gate said no.
    #[error("the gate refused: {detail}")]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// The stable code, if it gave one.
        code: Option<String>,
        /// Why, in its words.
        detail: String,
        /// Whether the same request may be answered later.
        passes: bool,
    },
    /// It is not known whom to trust.
    #[error(transparent)]
    Trust(#[from] outbound::Error),
    /// No answer came.
    #[error("`{url}` cannot be reached")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// The exit status of a command that ends for this reason: 69 for a gate that cannot be reached,
    /// 1 for one that refuses or answers something else, 2 for what was given wrongly.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => 69,
            Self::BadAnswer { .. } | Self::Refused { .. } => 1,
            Self::BadToken | Self::BadUrl { .. } | Self::Trust(_) => 2,
        }
    }

    /// Whether the gate, or what stands before it, is only away or overloaded, or says itself that this passes:
    /// the same request may be answered later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { passes, .. } => *passes,
            Self::BadAnswer { .. } | Self::BadToken | Self::BadUrl { .. } | Self::Trust(_) => false,
        }
    }
}

/// Where a gate is and how to sign in there.
#[derive(Clone)]
pub struct Gate {
    /// Its address (`https://gate.example`).
    pub url: Url,
    /// The bearer token.
    pub token: String,
    /// A file with the certificates to trust; those of the system if absent.
    pub ca_file: Option<PathBuf>,
}

/// By hand, so that the token stays out of logs.
impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

/// A client of one gate.
pub struct Client {
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
}

impl Client {
    /// A client of `gate`. Reads the file of certificates; connects later.
    ///
    /// # Errors
    /// [`Error::BadUrl`], [`Error::BadToken`], or what is wrong with the certificates.
    pub fn new(gate: &Gate) -> Result<Self, Error> {
        let client = Self::anonymous(&gate.url, gate.ca_file.as_deref())?;
        let authorization = HeaderValue::try_from(format!("Bearer {}", gate.token.trim()));
        let mut authorization = authorization.map_err(|_| Error::BadToken)?;
        authorization.set_sensitive(true);
        Ok(Self {
            authorization: Some(authorization),
            ..client
        })
    }

    /// Opens a run; the same `key` gives the same run again.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unreachable`] or [`Error::BadAnswer`].
    pub async fn open(&self, new: &NewRun, key: &str) -> Result<Opened, Error> {
        self.post("/syncgate/v1/runs", new, Some(key)).await
    }

    /// Sends a batch of attempts.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn add(&self, run: &str, batch: &AttemptBatch) -> Result<Acknowledged, Error> {
        let path = format!("/syncgate/v1/runs/{run}/attempts");
        self.post(&path, batch, None).await
    }

    /// Ends a run.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn finish(&self, run: &str, finish: &Finish) -> Result<Finished, Error> {
        let path = format!("/syncgate/v1/runs/{run}/finish");
        self.post(&path, finish, None).await
    }

    /// Takes a run back.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn withdraw(&self, run: &str, withdraw: &Withdraw) -> Result<WithdrawnRun, Error> {
        let run: String = url::form_urlencoded::byte_serialize(run.as_bytes()).collect();
        let path = format!("/syncgate/v1/runs/{run}/withdraw");
        self.post(&path, withdraw, None).await
    }

    /// The runs that match `query` (pairs of the interface's parameters).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn list(&self, query: &[(&str, String)]) -> Result<RunList, Error> {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(query);
        let path = format!("/syncgate/v1/runs?{}", text.finish());
        self.ask(&Method::GET, &path, Bytes::new(), None).await
    }

    /// One run with its attempts.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn show(&self, run: &str) -> Result<RunView, Error> {
        let run: String = url::form_urlencoded::byte_serialize(run.as_bytes()).collect();
        let path = format!("/syncgate/v1/runs/{run}");
        self.ask(&Method::GET, &path, Bytes::new(), None).await
    }

    /// One run as an in-toto statement.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn statement(&self, run: &str) -> Result<Statement, Error> {
        let run: String = url::form_urlencoded::byte_serialize(run.as_bytes()).collect();
        let path = format!("/syncgate/v1/runs/{run}/statement");
        self.ask(&Method::GET, &path, Bytes::new(), None).await
    }

    /// What the application of a run was like when the run failed.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn snapshot(&self, run: &str) -> Result<Snapshot, Error> {
        let run: String = url::form_urlencoded::byte_serialize(run.as_bytes()).collect();
        let path = format!("/syncgate/v1/runs/{run}/snapshot");
        self.ask(&Method::GET, &path, Bytes::new(), None).await
    }

    /// Decisions of the log that match `query` (pairs of the interface's parameters).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn log(&self, query: &[(&str, String)]) -> Result<LogList, Error> {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(query);
        let path = format!("/syncgate/v1/log?{}", text.finish());
        self.ask(&Method::GET, &path, Bytes::new(), None).await
    }

    /// One decision of the log.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn decision(&self, decision: DecisionId) -> Result<LogEntry, Error> {
        self.ask(
            &Method::GET,
            &format!("/syncgate/v1/log/{decision}"),
            Bytes::new(),
            None,
        )
        .await
    }

    /// Breaks the glass for a sync to come. Asked once: it would be broken twice.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn break_glass(&self, asked: &Break) -> Result<BreakGlass, Error> {
        self.post_once("/syncgate/v1/break-glass", asked).await
    }

    /// The newest rollouts that match `query` (pairs of the interface's parameters), as far as the caller may see them.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn rollouts(&self, query: &[(&str, String)]) -> Result<Rollouts, Error> {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(query);
        let path = format!("/syncgate/v1/rollouts?{}", text.finish());
        self.ask(&Method::GET, &path, Bytes::new(), None).await
    }

    /// The rollout of a decision.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn rollout(&self, decision: DecisionId) -> Result<RolloutView, Error> {
        let path = format!("/syncgate/v1/rollouts/{decision}");
        self.ask(&Method::GET, &path, Bytes::new(), None).await
    }

    /// Says that a parent and its children are about to be synced together. Asked once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_rollout(&self, asked: &rollout::Open) -> Result<RolloutView, Error> {
        self.post_once("/syncgate/v1/rollouts", asked).await
    }

    /// Has a rollout taken back. Asked once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn take_back(
        &self,
        decision: DecisionId,
        asked: &rollout::TakeBack,
    ) -> Result<RolloutView, Error> {
        let path = format!("/syncgate/v1/rollouts/{decision}/rollback");
        self.post_once(&path, asked).await
    }

    /// Has a rollback that is stuck go on. Asked once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn resume_rollback(&self, decision: DecisionId) -> Result<RolloutView, Error> {
        let path = format!("/syncgate/v1/rollouts/{decision}/resume");
        self.post_once(&path, &()).await
    }

    /// Ends a rollback where it is. Asked once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn abandon_rollback(&self, decision: DecisionId) -> Result<RolloutView, Error> {
        let path = format!("/syncgate/v1/rollouts/{decision}/abandon");
        self.post_once(&path, &()).await
    }

    /// An application, as Argo CD has it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn application(&self, application: &AppRef) -> Result<Value, Error> {
        let path = of_argocd(application, "");
        self.ask(&Method::GET, &path, Bytes::new(), None).await
    }

    /// Has Argo CD sync an application, by the JSON of its request. Asked once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn sync(&self, application: &AppRef, request: &Value) -> Result<Value, Error> {
        self.post_once(&of_argocd(application, "/sync"), request)
            .await
    }

    /// What was let through by break-glass, as far as the caller may see it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn break_glasses(&self) -> Result<BreakGlasses, Error> {
        let path = "/syncgate/v1/break-glass";
        self.ask(&Method::GET, path, Bytes::new(), None).await
    }

    /// The one that a decision opened.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn break_glass_of(&self, decision: DecisionId) -> Result<BreakGlass, Error> {
        let path = format!("/syncgate/v1/break-glass/{decision}");
        self.ask(&Method::GET, &path, Bytes::new(), None).await
    }

    /// The lines of the environments, and their freezes.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn lines(&self) -> Result<Lines, Error> {
        let path = "/syncgate/v1/lines";
        self.ask(&Method::GET, path, Bytes::new(), None).await
    }

    /// Stops the line of an environment.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn stop_line(
        &self,
        environment: &EnvironmentName,
        stop: &StopLine,
    ) -> Result<Line, Error> {
        let path = format!("/syncgate/v1/lines/{environment}/stop");
        self.post(&path, stop, None).await
    }

    /// Starts the line of an environment again.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn start_line(
        &self,
        environment: &EnvironmentName,
        start: &StartLine,
    ) -> Result<Line, Error> {
        let path = format!("/syncgate/v1/lines/{environment}/start");
        self.post(&path, start, None).await
    }

    /// The sessions that go on.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn sessions(&self) -> Result<SessionViews, Error> {
        let path = "/syncgate/v1/sessions";
        self.ask(&Method::GET, path, Bytes::new(), None).await
    }

    /// Takes credentials back.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn revoke_sessions(&self, revoke: &Revoke) -> Result<RevokedSession, Error> {
        self.post("/syncgate/v1/sessions/revoke", revoke, None)
            .await
    }

    /// What stands in the way of a test run. Asked once, and answered soon or not at all.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn preflight(&self, asked: &Asked) -> Result<Answer, Error> {
        const PATH: &str = "/syncgate/v1/preflight";
        let asking = tokio::time::timeout(SOON, self.post_once(PATH, asked));
        asking.await.map_err(|elapsed| Error::Unreachable {
            url: format!("{}{PATH}", self.base),
            source: elapsed.into(),
        })?
    }

    async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
        key: Option<&str>,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|source| Error::BadAnswer {
            url: path.to_owned(),
            source,
        })?;
        self.ask(&Method::POST, path, body.into(), key).await
    }

    /// As [`post`](Self::post), for what must not be done twice.
    async fn post_once<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Error> {
        let url = format!("{}{path}", self.base);
        let body = serde_json::to_vec(body).map_err(|source| Error::BadAnswer {
            url: url.clone(),
            source,
        })?;
        let reply = self
            .ask_once(&Method::POST, &url, (JSON, body.into()), None)
            .await?;
        read_answer(&url, &reply)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Bytes,
        key: Option<&str>,
    ) -> Result<T, Error> {
        let url = format!("{}{path}", self.base);
        let mut pauses = PAUSES.iter();
        loop {
            let outcome = self.ask_once(method, &url, (JSON, body.clone()), key).await;
            let passing = match &outcome {
                Ok(answer) => matches!(answer.status.as_u16(), 502..=504),
                Err(error) => matches!(error, Error::Unreachable { .. }),
            };
            match pauses.next() {
                Some(pause) if passing => tokio::time::sleep(*pause).await,
                _ => {
                    return read_answer(&url, &outcome?);
                }
            }
        }
    }

    async fn ask_once(
        &self,
        method: &Method,
        url: &str,
        (form, body): (&str, Bytes),
        key: Option<&str>,
    ) -> Result<Reply, Error> {
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| Error::Unreachable {
            url: url.to_owned(),
            source,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(ACCEPT, JSON)
            .header(CONTENT_TYPE, form);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::new(body)).map_err(|_| Error::BadUrl {
            url: url.to_owned(),
            what: "no request can be made to it",
        })?;
        let exchange = async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|e| unreachable(e.into()))?;
            let (head, body): (_, Incoming) = Response::into_parts(response);
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(&unreachable)?;
            Ok(Reply {
                status: head.status,
                comes_later: head.headers.contains_key(RETRY_AFTER),
                body: body.to_bytes(),
            })
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(unreachable(elapsed.into())),
        }
    }
}

/// What came back.
struct Reply {
    status: StatusCode,
    /// Whether it says when to ask again.
    comes_later: bool,
    body: Bytes,
}

fn read_answer<T: DeserializeOwned>(url: &str, reply: &Reply) -> Result<T, Error> {
    if !reply.status.is_success() {
        return Err(refusal(reply));
    }
    serde_json::from_slice(&reply.body).map_err(|source| Error::BadAnswer {
        url: url.to_owned(),
        source,
    })
}

/// The path of an application in Argo CD's API.
fn of_argocd(application: &AppRef, rest: &str) -> String {
    let mut path = "/api/v1/applications/".to_owned();
    encode_into(&mut path, &application.name);
    path.push_str(rest);
    if let Some(namespace) = &application.namespace {
        path.push_str("?appNamespace=");
        encode_into(&mut path, namespace);
    }
    path
}

/// Problem details (RFC 9457), what Argo CD's API says, or what else the answer holds.
fn refusal(reply: &Reply) -> Error {
    let status = reply.status;
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = |field: &str| problem.get(field)?.as_str().map(str::to_owned);
    let said = text("detail").or_else(|| text("title"));
    let said = said.or_else(|| text("message"));
    let detail = said.unwrap_or_else(|| format!("status {status} without a reason"));
    Error::Refused {
        status,
        code: text("code"),
        // It goes to a terminal.
        detail: detail.chars().filter(|c| !c.is_control()).collect(),
        passes: match status.as_u16() {
            408 | 429 | 502..=504 => true,
            409 => reply.comes_later,
            _ => false,
        },
    }
}

fn check_url(url: &Url) -> Result<(), Error> {
    let bad = |what| {
        Err(Error::BadUrl {
            url: outbound::shown(url),
            what,
        })
    };
    if !url.has_host() {
        return bad("it names no host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return bad("it holds a user or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return bad("it holds a query or fragment");
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if outbound::is_loopback(url) => Ok(()),
        "http" => bad("the token would travel in clear text; use https"),
        _ => bad("it begins with neither `https://` nor `http://`"),
    }
}

#[cfg(test)]
mod tests;
