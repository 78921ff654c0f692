//! The way to one endpoint: connections, the credential, deadlines and repetitions.
//!
//! In: a request for which there is a permit. Out: the endpoint's answer, streamed both ways and never
//! held. gRPC goes over HTTP/2, everything else over HTTP/1.1. A request is tried again only if no
//! connection could be made, its method is idempotent, and it has no body or a short one; so nothing of
//! which a byte may have been sent is ever repeated. Never: an answer with the credential in its headers
//! or trailers.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::headers::{self, Added};
use super::location::Redirects;
use super::material::{Live, Material};
use crate::body::{self, Body, BoxError};
use crate::forward::observe::{Observed, Observer};
use crate::forward::pool::{HttpClient, Place};
use crate::forward::request::WithoutTrailers;
use crate::forward::trust::Target;
use crate::forward::{
    DEADLINE_SLACK, Ending, Error, OnEnd, Permission, Until, deadline, headers as forward, tunnel,
    until,
};
use crate::listener::Connection;
use crate::names::DecisionId;

/// The longest body that is held, so that it can be sent again.
const REPLAYABLE: u64 = 64 * 1024;
/// The pauses before a request for which no connection could be made is tried again.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(600),
];

/// One endpoint, as it is reached.
pub(super) struct Upstream {
    pub(super) target: Target,
    pub(super) live: Live,
    pub(super) timeout: Duration,
    pub(super) tasks: TaskTracker,
    pub(super) hard: CancellationToken,
}

/// What is said about a request besides the request itself.
pub(super) struct Errand {
    /// How it is spoken.
    pub(super) manner: Manner,
    /// Path and query, as they are sent on behind the path of the endpoint.
    pub(super) path: String,
    /// The endpoint's place at the gate, without a slash at its end.
    pub(super) prefix: String,
    /// Who calls, signed.
    pub(super) identity: Option<HeaderValue>,
    /// Who connects.
    pub(super) connection: Connection,
    /// The host that the caller named.
    pub(super) host: Option<HeaderValue>,
    /// Where its answer may lead.
    pub(super) redirects: Redirects,
    /// The decision; named in the answer.
    pub(super) decision: DecisionId,
    /// When the answer, or the websocket, has to end.
    pub(super) until: Until,
    /// Called exactly once, whatever happens.
    pub(super) on_end: OnEnd,
}

/// How a request is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Grpc,
    Http,
    Websocket,
}

impl Upstream {
    /// Sends `request` and gives the answer as soon as its head is there. If the future or the answer's
    /// body is dropped, the endpoint sees the request cancelled.
    ///
    /// # Errors
    /// [`Error`]; [`Error::may_have_acted`] says whether the endpoint may have seen the request.
    pub(super) async fn send<P: Permission>(
        &self,
        _permit: &P,
        errand: Errand,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        let mut observer = Observer::new(Some(errand.on_end));
        let material = self.live.current();
        let grpc = errand.manner == Manner::Grpc;
        let added = Added {
            credential: material.credential.as_ref(),
            identity: errand.identity.as_ref(),
            connection: &errand.connection,
            host: errand.host.as_ref(),
            prefix: &errand.prefix,
            grpc,
        };
        let started = Instant::now();
        let exchanged = match errand.manner {
            Manner::Websocket => self.shake(&material, &added, &errand.path, request).await,
            Manner::Grpc | Manner::Http => {
                self.exchange(&material, &added, &errand.path, request)
                    .await
            }
        };
        let outcome = exchanged
            .as_ref()
            .map_or_else(|error| error.fault().word(), |_| "answered");
        metrics::histogram!("syncgate_endpoint_seconds", "outcome" => outcome)
            .record(started.elapsed().as_secs_f64());
        let mut exchanged = exchanged.inspect_err(|error| {
            observer.finish(Ending::Failed(error.fault()));
        })?;
        let response = &mut exchanged.response;
        observer.answered(response.status(), response.headers());
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let upgraded = switched.then(|| hyper::upgrade::on(response));
        let (mut head, answer) = exchanged.response.into_parts();
        let needles = material.needles.and(errand.identity.as_ref());
        headers::prepare_response(
            &mut head.headers,
            &needles,
            &errand.redirects,
            errand.decision,
        );
        if let (Some(upstream), Some(client)) = (upgraded, exchanged.client) {
            forward::set_upgrade(&mut head.headers);
            let carry = tunnel::carry(client, upstream, observer, Some(errand.connection));
            let carry = tunnel::bounded(Some(errand.until), carry);
            let hard = self.hard.clone();
            self.tasks.spawn(hard.run_until_cancelled_owned(carry));
            return Ok(Response::from_parts(head, body::empty()));
        }
        let body = Observed::new(
            answer,
            observer,
            false,
            exchanged.deadline,
            needles.scrubber(),
            exchanged.place,
        );
        let body = until::until(body::boxed(body), Some(errand.until), grpc);
        Ok(Response::from_parts(head, body))
    }

    /// Path, method, headers and body as they arrive there.
    fn prepare(
        &self,
        added: &Added<'_>,
        path: &str,
        request: Request<Body>,
    ) -> Result<Request<Body>, Error> {
        let (mut head, body) = request.into_parts();
        let target = &self.target;
        let path = PathAndQuery::try_from(format!("{}{path}", target.root));
        let uri = path.ok().and_then(|path| {
            Uri::builder()
                .scheme(target.scheme.clone())
                .authority(target.authority.clone())
                .path_and_query(path)
                .build()
                .ok()
        });
        let what = "its path is malformed";
        headers::prepare_request(&mut head.headers, added);
        let mut request = Request::new(body::boxed(WithoutTrailers(body)));
        *request.uri_mut() = uri.ok_or(Error::CallerRequest { what })?;
        *request.method_mut() = head.method;
        *request.headers_mut() = head.headers;
        *request.version_mut() = if added.grpc {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        };
        Ok(request)
    }

    async fn exchange(
        &self,
        material: &Material,
        added: &Added<'_>,
        path: &str,
        request: Request<Body>,
    ) -> Result<Exchanged, Error> {
        let deadline = added
            .grpc
            .then(|| deadline::of(request.headers()))
            .flatten()
            .map(|after| (Instant::now() + after + DEADLINE_SLACK, after));
        let (client, place) = if added.grpc {
            let placed = material.pools.streams.place();
            let (client, place) = placed.ok_or(Error::UpstreamBusy)?;
            (client, Some(place))
        } else {
            (material.pools.http1.clone(), None)
        };
        let request = self.prepare(added, path, request)?;
        let patience = Patience {
            after: self.timeout,
            until: deadline,
        };
        let response = if is_repeatable(&request) {
            repeated(&client, request, &patience).await?
        } else {
            once(&client, request, &patience).await?
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let what = "it switched protocols unasked";
            return Err(Error::UpstreamSurprise { what });
        }
        Ok(Exchanged {
            response,
            place,
            deadline,
            client: None,
        })
    }

    /// A websocket's handshake; not a byte that follows it is read before the endpoint has agreed.
    async fn shake(
        &self,
        material: &Material,
        added: &Added<'_>,
        path: &str,
        mut request: Request<Body>,
    ) -> Result<Exchanged, Error> {
        tunnel::check_handshake(&request)?;
        let client = hyper::upgrade::on(&mut request);
        let mut request = self.prepare(added, path, request)?;
        forward::set_upgrade(request.headers_mut());
        let patience = Patience {
            after: self.timeout,
            until: None,
        };
        let response = once(&material.pools.http1, request, &patience).await?;
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !forward::is_websocket(response.headers()) {
            let what = "it switched to another protocol than websocket";
            return Err(Error::UpstreamSurprise { what });
        }
        Ok(Exchanged {
            response,
            place: None,
            deadline: None,
            client: Some(client),
        })
    }
}

/// The head of an answer, and what is held while its body comes.
struct Exchanged {
    response: Response<Incoming>,
    place: Option<Place>,
    deadline: Option<(Instant, Duration)>,
    client: Option<hyper::upgrade::OnUpgrade>,
}

/// How long the beginning of an answer is waited for.
struct Patience {
    /// Without a byte of the request being taken.
    after: Duration,
    /// In all, where the caller says so.
    until: Option<(Instant, Duration)>,
}

/// Idempotent (RFC 9110 section 9.2.2), and without a body or with one that is short for certain.
fn is_repeatable(request: &Request<Body>) -> bool {
    let length = request.body().size_hint().exact();
    request.method().is_idempotent()
        && (request.body().is_end_stream() || length.is_some_and(|length| length <= REPLAYABLE))
}

/// Sends a request, again and again while no connection can be made.
async fn repeated(
    client: &HttpClient,
    request: Request<Body>,
    patience: &Patience,
) -> Result<Response<Incoming>, Error> {
    let end = Instant::now() + patience.after;
    let (head, body) = request.into_parts();
    let limit = usize::try_from(REPLAYABLE).unwrap_or(usize::MAX);
    let collected = tokio::time::timeout_at(end, body::collect(body, limit)).await;
    let what = "its body broke off";
    let Ok(Ok(body)) = collected else {
        return Err(Error::CallerRequest { what });
    };
    let mut pauses = PAUSES.into_iter();
    loop {
        let request = Request::from_parts(head.clone(), body::full(body.clone()));
        match (once(client, request, patience).await, pauses.next()) {
            (Err(Error::UpstreamUnreachable(_)), Some(pause)) if Instant::now() + pause < end => {
                tokio::time::sleep(pause).await;
            }
            (answer, _) => return answer,
        }
    }
}

/// Sends a request, and waits for the head of its answer while its body is being taken.
async fn once(
    client: &HttpClient,
    request: Request<Body>,
    patience: &Patience,
) -> Result<Response<Incoming>, Error> {
    let last = Arc::new(Mutex::new(Instant::now()));
    let watched = Arc::clone(&last);
    let request = request.map(|inner| {
        if inner.is_end_stream() {
            return inner;
        }
        let last = watched;
        body::boxed(Taken { inner, last })
    });
    let answer = client.request(request);
    tokio::pin!(answer);
    loop {
        let idle = *last.lock().unwrap_or_else(PoisonError::into_inner) + patience.after;
        let (at, after) = match patience.until {
            Some((until, after)) => (until, after),
            None => (idle, patience.after),
        };
        tokio::select! {
            biased;
            response = &mut answer => return Ok(response?),
            () = tokio::time::sleep_until(at) => {
                let taken = *last.lock().unwrap_or_else(PoisonError::into_inner);
                if patience.until.is_some() || taken + patience.after <= Instant::now() {
                    return Err(Error::UpstreamTimeout { after });
                }
            }
        }
    }
}

/// A body that notes when something of it was taken.
struct Taken {
    inner: Body,
    last: Arc<Mutex<Instant>>,
}

impl http_body::Body for Taken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if polled.is_ready() {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// How a request is spoken, by what it says itself.
///
/// # Errors
/// [`Error::CallerRequest`] for what cannot be spoken here.
pub(super) fn manner(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
) -> Result<Manner, Error> {
    let kind = headers.get(http::header::CONTENT_TYPE);
    let kind = kind.map_or(&b""[..], HeaderValue::as_bytes);
    let kind = kind.to_ascii_lowercase();
    let grpc = kind.starts_with(b"application/grpc") && !kind.starts_with(b"application/grpc-web");
    if *method == Method::CONNECT {
        let what = "the method is CONNECT";
        Err(Error::CallerRequest { what })
    } else if grpc && version != Version::HTTP_2 {
        let what = "gRPC needs HTTP/2";
        Err(Error::CallerRequest { what })
    } else if grpc {
        Ok(Manner::Grpc)
    } else if headers::is_websocket(headers) {
        Ok(Manner::Websocket)
    } else {
        Ok(Manner::Http)
    }
}
