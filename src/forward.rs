//! The way to Argo CD.
//!
//! In: a request that was permitted, as the client sent it or rewritten, and the [`Permission`]. Out:
//! the upstream's answer, streamed both ways and never held. The client's credential, identity and
//! statements about itself are taken off and the gate's put on; the way back is cleaned of the
//! upstream's. It refuses what has no place on a connection and websockets of foreign pages.
//!
//! It must never send without a permission, repeat a request of which a byte was sent, or let the
//! upstream's credential out: `headers` and `token` are the only modules that touch it.

pub(crate) mod connect;
pub(crate) mod deadline;
mod error;
pub mod filter;
pub(crate) mod headers;
pub(crate) mod observe;
pub(crate) mod pool;
pub(crate) mod request;
mod token;
pub(crate) mod trust;
pub(crate) mod tunnel;
pub(crate) mod until;

use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderName, Request, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use self::observe::{Observed, Observer, Scrub};
use self::pool::{Place, Pools};
use crate::body::{self, Body, BoxError};
use crate::listener::Stop;
use crate::names::DecisionId;

pub use self::error::{Error, Fault};
pub use self::headers::DECISION;
pub use self::observe::{Ending, OnEnd, StreamEnd};
pub use self::token::{BadToken, UpstreamToken};
pub use self::trust::SetupError;
pub use self::until::Until;

/// The gRPC metadata key, and header of gRPC-Web, in which Argo CD looks for a token first.
const TOKEN: HeaderName = HeaderName::from_static("token");
/// How much longer than the caller's own deadline is waited, so that the upstream's word about it
/// comes first.
pub(crate) const DEADLINE_SLACK: Duration = Duration::from_secs(1);
/// Frames of a detached answer that may wait for its client.
const FRAMES: usize = 4;

/// Proof that a call was permitted. Implemented by the policy room's permit, and by nothing else
/// outside tests and benches.
pub trait Permission {}

/// Where the upstream is and how it is reached.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// `https://argocd.example`, with a path where Argo CD runs under one; `http` without TLS.
    pub url: Url,
    /// The certificates (PEM) that alone are trusted to sign the upstream's; absent means the
    /// system's.
    pub ca: Option<std::path::PathBuf>,
    /// The gate's own credential there.
    pub token: UpstreamToken,
    /// Where clear text may go.
    pub plaintext: Plaintext,
    /// How long the upstream may take to begin an answer to a call that is no stream and has no
    /// deadline of its own.
    pub answer_timeout: Duration,
}

/// Where the upstream's credential may travel in clear text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// Anywhere: the operator answers for the network.
    Anywhere,
    /// To this machine only.
    LoopbackOnly,
}

/// What a call looks like on the wire; decides the connection and the form of the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// `/terminal` and `/extensions/…`: HTTP/1.1, credential in a cookie.
    Cookie,
    /// gRPC: HTTP/2, credential in the metadata.
    Grpc,
    /// gRPC-Web: HTTP/1.1, credential in the header that becomes metadata.
    GrpcWeb,
    /// REST and server-sent events: HTTP/1.1, bearer.
    Rest,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cookie, Self::Grpc, Self::GrpcWeb, Self::Rest];
}

/// Whose credential a call carries.
#[derive(Clone, Debug)]
pub enum SendAs {
    /// The caller's own, made for this call.
    Caller(Arc<UpstreamToken>),
    /// The gate's.
    Gate,
    /// None: what Argo CD tells anybody. With the gate's it would tell more.
    Nobody,
}

/// What a client's disconnect does to its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detach {
    /// It ends upstream too: reads.
    No,
    /// It finishes all the same, so that the record tells what happened: everything else.
    Yes,
}

/// Whether an answer is one message or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One; the wait for it has a limit.
    Message,
    /// As many as there will be; it may begin late and last for hours.
    Stream,
}

/// What the pipeline says about a call besides the request itself.
pub struct Outbound {
    /// The form.
    pub channel: Channel,
    /// Whose credential it carries.
    pub send_as: SendAs,
    /// The decision; named in the answer.
    pub decision: DecisionId,
    /// What a disconnect does.
    pub detach: Detach,
    /// One message or a stream.
    pub shape: Shape,
    /// When a stream or a tunnel has to end, if not by itself.
    pub until: Option<Until>,
    /// Called exactly once, whatever happens: also when [`Upstream::send`] returns an error or is
    /// dropped.
    pub on_end: Option<OnEnd>,
}

/// The upstream: its connections and the gate's credential. Cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    scheme: Scheme,
    authority: Authority,
    /// The path that the upstream runs under, without a slash at its end.
    root: Arc<str>,
    token: Arc<UpstreamToken>,
    answer_timeout: Duration,
    pools: Arc<Pools>,
    tasks: TaskTracker,
    hard: CancellationToken,
}

/// A call that is ready to go.
struct Exchange {
    upstream: Upstream,
    channel: Channel,
    send_as: SendAs,
    decision: DecisionId,
    shape: Shape,
    until: Option<Until>,
    observer: Observer,
}

impl Upstream {
    /// Checks `config`; connects to nothing yet. Calls that outlive their client run on `tasks`,
    /// until the hard signal of `stop`.
    ///
    /// # Errors
    /// [`SetupError`] when the URL cannot be used or the certificates cannot be read.
    pub fn new(
        config: UpstreamConfig,
        tasks: TaskTracker,
        stop: &Stop,
    ) -> Result<Self, SetupError> {
        let target = trust::target(&config.url, config.plaintext)?;
        let trust = trust::trust(&config.url, config.ca.as_deref())?;
        Ok(Self {
            scheme: target.scheme,
            authority: target.authority,
            root: target.root,
            token: Arc::new(config.token),
            answer_timeout: config.answer_timeout,
            pools: Arc::new(Pools::new(&trust, pool::PING_EVERY)),
            tasks,
            hard: stop.hard.clone(),
        })
    }

    /// Sends `request` (path and body as they shall arrive; its `Connection` extension tells who
    /// connects) and gives the answer as soon as its head is there.
    ///
    /// If the future or the answer's body is dropped, the upstream sees the call cancelled; with
    /// [`Detach::Yes`] the call goes on to its end instead.
    ///
    /// # Errors
    /// [`Error`]; [`Error::may_have_acted`] says whether the upstream may have seen the request.
    pub async fn send<P: Permission>(
        &self,
        _permit: &P,
        outbound: Outbound,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        let exchange = Exchange {
            upstream: self.clone(),
            channel: outbound.channel,
            send_as: outbound.send_as,
            decision: outbound.decision,
            shape: outbound.shape,
            until: outbound.until,
            observer: Observer::new(outbound.on_end),
        };
        match outbound.detach {
            Detach::No => exchange.run(request).await,
            Detach::Yes => self.detached(exchange, request).await,
        }
    }

    /// Runs `exchange` on a task of its own, to which the client's side is only a listener.
    async fn detached(
        &self,
        exchange: Exchange,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        let (tell, told) = oneshot::channel();
        let work = async move {
            match exchange.run(request).await {
                Err(error) => drop(tell.send(Err(error))),
                Ok(response) => {
                    let (head, answer) = response.into_parts();
                    let (frames, body) = relay(&answer);
                    // If the client is gone, the answer is read to its end all the same.
                    drop(tell.send(Ok(Response::from_parts(head, body))));
                    pump(answer, frames).await;
                }
            }
        };
        let hard = self.hard.clone();
        self.tasks.spawn(hard.run_until_cancelled_owned(work));
        told.await.unwrap_or(Err(Error::Stopped))
    }

    /// The head of the upstream's answer, and the place that the call holds.
    async fn exchange(
        &self,
        channel: Channel,
        shape: Shape,
        request: Request<Body>,
        deadline: Option<(Instant, Duration)>,
    ) -> Result<(Response<Incoming>, Option<Place>), Error> {
        let (client, place) = match (channel, shape) {
            (Channel::Cookie | Channel::GrpcWeb | Channel::Rest, _) => {
                (self.pools.http1.clone(), None)
            }
            (Channel::Grpc, Shape::Message) => placed(self.pools.calls.place())?,
            (Channel::Grpc, Shape::Stream) => placed(self.pools.streams.place())?,
        };
        let limit = deadline.or_else(|| match shape {
            Shape::Message => {
                let after = self.answer_timeout;
                Some((Instant::now() + after, after))
            }
            Shape::Stream => None,
        });
        let answer = client.request(request);
        let response = match limit {
            None => answer.await?,
            Some((at, after)) => tokio::time::timeout_at(at, answer)
                .await
                .map_err(|_| Error::UpstreamTimeout { after })??,
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let what = "it switched protocols unasked";
            return Err(Error::UpstreamSurprise { what });
        }
        Ok((response, place))
    }

    /// The credential that a call carries.
    fn credential<'a>(&'a self, send_as: &'a SendAs) -> Option<&'a Arc<UpstreamToken>> {
        match send_as {
            SendAs::Caller(token) => Some(token),
            SendAs::Gate => Some(&self.token),
            SendAs::Nobody => None,
        }
    }

    /// What no answer to a call may hold: the gate's credential, and the one that it carried.
    fn secrets(&self, send_as: &SendAs) -> Vec<Arc<UpstreamToken>> {
        let mut secrets = vec![Arc::clone(&self.token)];
        if let SendAs::Caller(token) = send_as {
            secrets.push(Arc::clone(token));
        }
        secrets
    }
}

/// The body of an answer, whose trailers lose what holds any of `secrets`.
fn observe(
    answer: Incoming,
    observer: Observer,
    secrets: Vec<Arc<UpstreamToken>>,
    grpc_web: bool,
    deadline: Option<(Instant, Duration)>,
    place: Option<Place>,
) -> Body {
    let scrub: Scrub = Arc::new(move |trailers| headers::scrub(trailers, &secrets));
    body::boxed(Observed::new(
        answer, observer, grpc_web, deadline, scrub, place,
    ))
}

impl Exchange {
    async fn run(mut self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let deadline = deadline::of(request.headers())
            .map(|after| (Instant::now() + after + DEADLINE_SLACK, after));
        let started = Instant::now();
        let exchanged = match self.upstream.prepare(self.channel, &self.send_as, request) {
            Ok(request) => {
                let upstream = &self.upstream;
                let exchange = upstream.exchange(self.channel, self.shape, request, deadline);
                exchange.await
            }
            Err(error) => Err(error),
        };
        let outcome = exchanged
            .as_ref()
            .map_or_else(|error| error.fault().word(), |_| "answered");
        metrics::histogram!("syncgate_upstream_seconds", "outcome" => outcome)
            .record(started.elapsed().as_secs_f64());
        let (response, place) = exchanged.inspect_err(|error| {
            self.observer.finish(Ending::Failed(error.fault()));
        })?;
        self.observer
            .answered(response.status(), response.headers());
        let (mut head, answer) = response.into_parts();
        let upstream = self.upstream;
        let secrets = upstream.secrets(&self.send_as);
        headers::prepare_response(&mut head.headers, &secrets, self.decision);
        let grpc_web = self.channel == Channel::GrpcWeb;
        let body = observe(answer, self.observer, secrets, grpc_web, deadline, place);
        let body = until::until(body, self.until, self.channel == Channel::Grpc);
        Ok(Response::from_parts(head, body))
    }
}

fn placed(
    place: Option<(pool::HttpClient, Place)>,
) -> Result<(pool::HttpClient, Option<Place>), Error> {
    let (client, place) = place.ok_or(Error::UpstreamBusy)?;
    Ok((client, Some(place)))
}

type Frames = mpsc::Sender<Result<Frame<bytes::Bytes>, BoxError>>;

/// A body that gives what is sent to it. An answer that has ended already stays one: grpc-go takes
/// a status in the head for an error in the protocol unless the head ends the stream.
fn relay(answer: &Body) -> (Frames, Body) {
    let (frames, mut received) = mpsc::channel(FRAMES);
    if answer.is_end_stream() {
        return (frames, body::empty());
    }
    let stream = futures_util::stream::poll_fn(move |context| received.poll_recv(context));
    (frames, body::boxed(StreamBody::new(stream)))
}

/// Reads `answer` to its end, and passes it on as long as somebody listens.
async fn pump(mut answer: Body, frames: Frames) {
    while let Some(frame) = answer.frame().await {
        let broken = frame.is_err();
        // Nobody listens any more: the rest is read for the record.
        drop(frames.send(frame).await);
        if broken {
            break;
        }
    }
}

#[cfg(test)]
mod tests;
