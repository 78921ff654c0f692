//! The port: from a socket to a request.
//!
//! In: TCP connections, with TLS or without. Out: one call of a handler per request, of HTTP/1.1 or
//! HTTP/2 (by ALPN; without TLS by the first bytes), with a [`Connection`] among its extensions.
//! It refuses connections beyond a limit and slow handshakes and heads. It never ends because of a
//! bad socket, never ends an idle HTTP/2 connection or a long stream by age (the argocd CLI cannot
//! dial again), and never reads `Forwarded` headers: the peer is whoever opened the connection.
//!
//! A handler is dropped when its client goes away; what must finish all the same is spawned by
//! `forward` (see `forward::Detach`).

mod stop;
mod stream;
pub mod tls;
mod unread;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::stream::MaybeTls;
use self::tls::Tls;
use self::unread::Watched;
use crate::body::{self, Body};

pub use self::stop::Stop;

/// Headers of one request, in bytes. Tokens with many groups and presigned URLs exceed the
/// library's 16 KiB.
const HEADER_LIMIT: u32 = 256 * 1024;
/// Flow control: what one stream may have under way, and all streams of a connection together. The
/// second is much larger, so that one slow reader does not stop the others.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// How often an idle HTTP/2 client is asked whether it is still there, and how long it may take.
const PING_EVERY: Duration = Duration::from_mins(1);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait after the system refused a socket, for example because files ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener admits.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time; further ones are closed at once.
    pub connections: usize,
    /// HTTP/2 streams at a time on one connection.
    pub streams: u32,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long an HTTP/1.1 client may take for the head of a request, and how long it may stay
    /// idle between two.
    pub head: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            streams: 256,
            handshake: Duration::from_secs(10),
            head: Duration::from_mins(1),
        }
    }
}

/// The connection that a request came on: an extension of every request.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Who opened it.
    pub peer: SocketAddr,
    /// What TLS says about it; absent without TLS.
    pub tls: Option<TlsFacts>,
    /// Its place under [`Limits::connections`], free again when the last clone is dropped; a
    /// tunnel that outlives the HTTP connection keeps one.
    _slot: Option<Arc<OwnedSemaphorePermit>>,
}

impl Connection {
    /// A connection that no listener counts, for requests that are made and not received.
    #[must_use]
    pub fn new(peer: SocketAddr, tls: Option<TlsFacts>) -> Self {
        Self {
            peer,
            tls,
            _slot: None,
        }
    }
}

/// What a TLS handshake established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// The name that the client asked for.
    pub server_name: Option<String>,
}

/// Why a listener could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}`")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// A bound port.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
    limits: Limits,
}

impl Listener {
    /// Binds `address` (port 0 takes a free one). Without `tls` it speaks clear text: HTTP/1.1, and
    /// HTTP/2 with prior knowledge.
    ///
    /// # Errors
    /// [`Error::Bind`].
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Tls>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let bind = |source| Error::Bind { address, source };
        let tcp = TcpListener::bind(address).await.map_err(bind)?;
        Ok(Self {
            address: tcp.local_addr().map_err(bind)?,
            tcp,
            tls,
            limits,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections and calls `handler` for each request, until the soft signal of `stop`.
    /// Connections run on `tasks`; on the soft signal they are told to finish (GOAWAY, `Connection:
    /// close`), on the hard one they are cut. The future itself belongs on `tasks` too.
    pub async fn serve<H, F>(self, handler: H, stop: Stop, tasks: TaskTracker)
    where
        H: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let (socket, peer) = tokio::select! {
                biased;
                () = stop.soft.cancelled() => break,
                accepted = accept(&self.tcp) => accepted,
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                metrics::counter!("syncgate_connections_shed_total").increment(1);
                tracing::warn!(%peer, "too many connections, closed one from {peer}");
                continue;
            };
            let conversation = Conversation {
                tls: self
                    .tls
                    .as_ref()
                    .map(|tls| TlsAcceptor::from(tls.current())),
                limits: self.limits.clone(),
                stop: stop.clone(),
                tasks: tasks.clone(),
                slot: Arc::new(slot),
            };
            let run = conversation.run(socket, peer, handler.clone());
            tasks.spawn(stop.hard.clone().run_until_cancelled_owned(run));
        }
    }
}

/// The next connection. An error belongs to one connection, or passes when others end.
async fn accept(tcp: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match tcp.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset => {}
                _ => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// One connection, from the handshake to its end.
struct Conversation {
    tls: Option<TlsAcceptor>,
    limits: Limits,
    stop: Stop,
    tasks: TaskTracker,
    slot: Arc<OwnedSemaphorePermit>,
}

impl Conversation {
    async fn run<H, F>(self, socket: TcpStream, peer: SocketAddr, handler: H)
    where
        H: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let secured = tokio::time::timeout(self.limits.handshake, secure(self.tls.clone(), socket));
        let (stream, tls) = match secured.await {
            Ok(Ok(secured)) => secured,
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => return tracing::debug!(%peer, "TLS handshake took too long"),
        };
        let connection = Connection {
            peer,
            tls,
            _slot: Some(Arc::clone(&self.slot)),
        };
        let service = service_fn(move |request: Request<Incoming>| {
            let version = request.version();
            let (head, incoming) = request.into_parts();
            let (watched, mark) = Watched::new(incoming);
            let mut request = Request::from_parts(head, body::boxed(watched));
            request.extensions_mut().insert(connection.clone());
            let answer = handler(request);
            async move { Ok::<_, Infallible>(mark.heeded(version, answer.await)) }
        });
        let builder = self.builder();
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(serving);
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = self.stop.soft.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "the connection ended early");
        }
    }

    fn builder(&self) -> auto::Builder<Tracked> {
        let mut builder = auto::Builder::new(Tracked {
            tasks: self.tasks.clone(),
            hard: self.stop.hard.clone(),
        });
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(HEADER_LIMIT as usize * 2);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_LIMIT)
            .max_concurrent_streams(self.limits.streams)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT);
        builder
    }
}

async fn secure(
    tls: Option<TlsAcceptor>,
    socket: TcpStream,
) -> io::Result<(MaybeTls, Option<TlsFacts>)> {
    // Small frames of a stream must not wait for the acknowledgement of the ones before them.
    socket.set_nodelay(true)?;
    let Some(acceptor) = tls else {
        return Ok((MaybeTls::Plain(socket), None));
    };
    let stream = acceptor.accept(socket).await?;
    let facts = TlsFacts {
        server_name: stream.get_ref().1.server_name().map(str::to_owned),
    };
    Ok((MaybeTls::Tls(Box::new(stream)), Some(facts)))
}

/// Runs the streams of an HTTP/2 connection on the tracker, until the hard signal.
#[derive(Clone)]
struct Tracked {
    tasks: TaskTracker,
    hard: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let hard = self.hard.clone();
        self.tasks.spawn(hard.run_until_cancelled_owned(future));
    }
}
