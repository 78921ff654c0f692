//! Asks AWS STS who signed a proof.
//!
//! In: a [`Proof`]. Out: the principal. Refused: an answer that points elsewhere, is no XML, too large
//! or too slow. The request is built here, from parts that were checked; no connection is kept, and
//! no more than [`CALLS`] questions are under way. Never: an endpoint that is not configured.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;

use super::proof::BODY;
use super::{AwsPrincipal, Fault, Proof, Rules, StsUrl, answer};
use crate::identity::reason::{Quoted, Reason};
use crate::outbound;
use crate::telemetry::chain;

/// Questions under way, at most. Whoever has a challenge can make the gate ask.
pub(super) const CALLS: usize = 32;
/// The largest answer that is read; one has some 500 bytes.
const BODY_LIMIT: usize = 16 * 1024;
/// How long one question may take, from the connection to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a proof waits for its turn.
const PLACE_WITHIN: Duration = Duration::from_secs(2);

/// Who asks.
const AGENT: &str = concat!("syncgate/", env!("CARGO_PKG_VERSION"));

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The way to AWS STS, and what proofs must be to be sent there.
#[derive(Debug)]
pub struct Sts {
    rules: Rules,
    ways: Vec<(StsUrl, Http)>,
    calls: Semaphore,
    timeout: Duration,
}

impl Sts {
    /// The way to the endpoints of `rules`, trusting the authorities in `ca` alone, or the system's.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub fn new(rules: Rules, ca: Option<&Path>) -> Result<Self, outbound::Error> {
        let ways = rules.endpoints.iter().map(|endpoint| {
            let tls = outbound::client_config(endpoint.as_url(), ca)?;
            let http = Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .retry_canceled_requests(false)
                .build(outbound::http1(tls));
            Ok((endpoint.clone(), http))
        });
        Ok(Self {
            ways: ways.collect::<Result<_, _>>()?,
            rules,
            calls: Semaphore::new(CALLS),
            timeout: TIMEOUT,
        })
    }

    /// What proofs must be for; a challenge tells it to whoever is to make one.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Who signed `proof`, by STS. Takes seven seconds at most, two of which it may wait for its turn.
    ///
    /// # Errors
    /// [`Reason::Aws`]: STS does not believe it, names somebody who cannot call, answers in another
    /// form, or cannot be asked now ([`Fault::passes`]).
    pub async fn identity(&self, proof: Proof) -> Result<AwsPrincipal, Reason> {
        let place = tokio::time::timeout(PLACE_WITHIN, self.calls.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(Fault::Busy.into());
        };
        let asking = tokio::time::timeout(self.timeout, self.ask(proof));
        let answered = asking.await.unwrap_or_else(|_| {
            Err(Fault::Unavailable {
                detail: format!("no whole answer within {} s", self.timeout.as_secs_f32()),
            })
        });
        Ok(answered?)
    }

    async fn ask(&self, proof: Proof) -> Result<AwsPrincipal, Fault> {
        // A proof that other rules took goes nowhere.
        let mut ways = self.ways.iter();
        let way = ways.find(|(endpoint, _)| *endpoint == proof.endpoint);
        let (endpoint, http) = way.ok_or_else(|| Fault::Url {
            found: Quoted::new(proof.endpoint.as_str()),
            known: Quoted::list(self.rules.endpoints.iter().map(StsUrl::as_str)),
        })?;
        let unavailable = |detail: String| Fault::Unavailable { detail };
        let mut request = Request::post(endpoint.as_str())
            .body(Full::from(BODY))
            .map_err(|error| unavailable(chain(&error)))?;
        *request.headers_mut() = proof.headers;
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let answer = http.request(request).await;
        let answer = answer.map_err(|error| unavailable(chain(&error)))?;
        read(answer).await
    }
}

/// The principal of a good answer; otherwise, by the status, what to tell.
async fn read(answer: Response<Incoming>) -> Result<AwsPrincipal, Fault> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, BODY_LIMIT).collect().await;
    let body = body.map_err(|error| Fault::Unavailable {
        detail: format!("the answer broke off, or has more than {BODY_LIMIT} bytes: {error}"),
    })?;
    let body = body.to_bytes();
    match head.status {
        StatusCode::OK if is_xml(&head.headers) => answer::read(&body),
        StatusCode::OK => Err(Fault::Answer {
            what: "it is not XML",
        }),
        status if status.is_redirection() => Err(Fault::Answer {
            what: "it points elsewhere, which is not followed",
        }),
        status if status.is_client_error() => Err(refused(status, &body)),
        status => Err(Fault::Unavailable {
            detail: format!("status {status}"),
        }),
    }
}

/// Codes with which STS says that it has too much to do.
const THROTTLED: [&str; 2] = ["Throttling", "ThrottlingException"];

/// Why STS does not say who it is. Its own words go no further than the code.
fn refused(status: StatusCode, body: &[u8]) -> Fault {
    let text = String::from_utf8_lossy(body);
    let code = text
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map(|(code, _)| code)
        .filter(|code| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric()));
    if status == StatusCode::TOO_MANY_REQUESTS || code.is_some_and(|it| THROTTLED.contains(&it)) {
        return Fault::Unavailable {
            detail: "it has too much to do".to_owned(),
        };
    }
    Fault::Refused {
        code: Quoted::new(code.unwrap_or(status.as_str())),
    }
}

/// Whether the one `content-type` is XML, in UTF-8 if it says.
fn is_xml(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(CONTENT_TYPE).iter();
    let (Some(Ok(value)), None) = (all.next().map(HeaderValue::to_str), all.next()) else {
        return false;
    };
    let value = value.to_ascii_lowercase();
    let (media, parameters) = value.split_once(';').unwrap_or((&value, ""));
    let is_utf8 = ["", "charset=utf-8", "charset=\"utf-8\""].contains(&parameters.trim_ascii());
    is_utf8 && ["text/xml", "application/xml"].contains(&media.trim_ascii())
}

#[cfg(test)]
impl Sts {
    /// Less patient.
    pub(super) fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}
