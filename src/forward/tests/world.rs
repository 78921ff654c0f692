//! A client, the gate's listener and forwarding, and a fake upstream, on real sockets.
//!
//! A test builds a [`World`] with what the fake does, speaks to `world.gate`, and ends the world.
//! Whatever the fake asserts in vain fails the test then; a world that is not ended fails it too.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::super::*;
use crate::listener::tls::{self, Tls};
use crate::listener::{Limits, Listener};

/// The upstream's credential; it must never be seen by a client.
pub(super) const CANARY: &str = "upstream.token.canary";
/// What calls as their callers carry instead.
pub(super) const NAMED: &str = "callers.token.canary";
/// The origin whose pages may open websockets.
pub(super) const ORIGIN: &str = "https://gate.example";
const PATIENCE: Duration = Duration::from_secs(10);

/// What the policy room gives.
pub(super) struct Permit;
impl Permission for Permit {}

/// A certificate for `localhost` and its key, as files.
pub(super) struct Pair {
    _folder: tempfile::TempDir,
    pub(super) certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    pub(super) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let certificate = folder.path().join("tls.crt");
        let key = folder.path().join("tls.key");
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self {
            _folder: folder,
            certificate,
            key,
        }
    }

    fn config(&self) -> Tls {
        let files = tls::Files {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            client_ca: None,
        };
        Tls::load(files).unwrap()
    }
}

/// How a world differs from the plainest one.
#[derive(Default)]
pub(super) struct Setup {
    pub(super) gate_tls: Option<Pair>,
    pub(super) upstream_tls: Option<Pair>,
    /// What the gate trusts, if not the upstream's own certificate.
    pub(super) trust: Option<Pair>,
    pub(super) limits: Option<Limits>,
    pub(super) root: &'static str,
    pub(super) answer_timeout: Option<Duration>,
}

pub(super) struct World {
    pub(super) gate: SocketAddr,
    gate_certificate: Option<PathBuf>,
    pub(super) stop: Stop,
    pub(super) tasks: TaskTracker,
    far_stop: Stop,
    far_tasks: TaskTracker,
    failures: Arc<Mutex<Vec<String>>>,
    calls: Arc<AtomicUsize>,
    ends: mpsc::UnboundedReceiver<StreamEnd>,
    errors: Arc<Mutex<Vec<Fault>>>,
    ended: bool,
    _setup: Setup,
}

impl World {
    /// The plainest world: no TLS, and an upstream that answers with `fake`.
    pub(super) async fn new<F, A>(fake: F) -> Self
    where
        F: Fn(Request<Body>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::with(Setup::default(), fake).await
    }

    pub(super) async fn with<F, A>(setup: Setup, fake: F) -> Self
    where
        F: Fn(Request<Body>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let (far_stop, far_tasks) = (Stop::default(), TaskTracker::new());
        let failures: Arc<Mutex<Vec<String>>> = Arc::default();
        let calls: Arc<AtomicUsize> = Arc::default();
        let far = listener(setup.upstream_tls.as_ref(), Limits::default()).await;
        let upstream = far.address();
        let (told, counted) = (Arc::clone(&failures), Arc::clone(&calls));
        let fake = move |request| {
            counted.fetch_add(1, Ordering::SeqCst);
            let (told, answer) = (Arc::clone(&told), fake(request));
            async move {
                AssertUnwindSafe(answer)
                    .catch_unwind()
                    .await
                    .unwrap_or_else(|panic| {
                        let text = panic.downcast_ref::<String>().cloned();
                        let text = text.or(panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
                        told.lock().unwrap().push(text.unwrap_or_default());
                        status(StatusCode::INTERNAL_SERVER_ERROR)
                    })
            }
        };
        far_tasks.spawn(far.serve(fake, far_stop.clone(), far_tasks.clone()));

        let (stop, tasks) = (Stop::default(), TaskTracker::new());
        let (tell, ends) = mpsc::unbounded_channel();
        let errors: Arc<Mutex<Vec<Fault>>> = Arc::default();
        let limits = setup.limits.clone().unwrap_or_default();
        let near = listener(setup.gate_tls.as_ref(), limits).await;
        let gate = near.address();
        let forwarding = Gate {
            upstream: Upstream::new(config(&setup, upstream), tasks.clone(), &stop).unwrap(),
            ends: tell,
            errors: Arc::clone(&errors),
        };
        let handler = move |request| forwarding.clone().answer(request);
        tasks.spawn(near.serve(handler, stop.clone(), tasks.clone()));
        Self {
            gate,
            gate_certificate: setup.gate_tls.as_ref().map(|p| p.certificate.clone()),
            stop,
            tasks,
            far_stop,
            far_tasks,
            failures,
            calls,
            ends,
            errors,
            ended: false,
            _setup: setup,
        }
    }

    /// A client of the gate that speaks `version` and nothing else.
    pub(super) fn client(&self, version: Version) -> HttpClient {
        let builder = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(self.client_tls())
            .https_or_http();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let connector = match version {
            Version::HTTP_2 => builder.enable_http2().wrap_connector(tcp),
            _ => builder.enable_http1().wrap_connector(tcp),
        };
        Client::builder(TokioExecutor::new())
            .http2_only(version == Version::HTTP_2)
            .http2_max_header_list_size(256 * 1024)
            .build(connector)
    }

    fn client_tls(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.gate_certificate {
            roots
                .add(CertificateDer::from_pem_file(path).unwrap())
                .unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    pub(super) fn url(&self, path: &str) -> String {
        let port = self.gate.port();
        match self.gate_certificate {
            Some(_) => format!("https://localhost:{port}{path}"),
            None => format!("http://localhost:{port}{path}"),
        }
    }

    /// How the next call ended.
    pub(super) async fn ending(&mut self) -> StreamEnd {
        within(self.ends.recv()).await.unwrap()
    }

    /// The fault of the last call that the gate could not forward.
    pub(super) fn fault(&self) -> Fault {
        *self.errors.lock().unwrap().last().unwrap()
    }

    /// How many requests the upstream has seen.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Stops both servers, waits for their tasks, and fails with what the fake found wrong.
    pub(super) async fn end(mut self) {
        self.ended = true;
        within(self.stop.drain(&self.tasks, Duration::from_millis(200))).await;
        within(
            self.far_stop
                .drain(&self.far_tasks, Duration::from_millis(200)),
        )
        .await;
        let failures = self.failures.lock().unwrap().join("\n");
        assert!(failures.is_empty(), "the upstream says: {failures}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        assert!(
            self.ended || std::thread::panicking(),
            "the test did not end its world"
        );
    }
}

pub(super) type HttpClient = Client<hyper_rustls::HttpsConnector<HttpConnector>, Body>;

async fn listener(pair: Option<&Pair>, limits: Limits) -> Listener {
    let address = "127.0.0.1:0".parse().unwrap();
    let tls = pair.map(Pair::config);
    Listener::bind(address, tls, limits).await.unwrap()
}

fn config(setup: &Setup, upstream: SocketAddr) -> UpstreamConfig {
    let scheme = if setup.upstream_tls.is_some() {
        "https"
    } else {
        "http"
    };
    let url = format!("{scheme}://localhost:{}{}", upstream.port(), setup.root);
    let trusted = setup.trust.as_ref().or(setup.upstream_tls.as_ref());
    UpstreamConfig {
        url: url.parse().unwrap(),
        ca: trusted.map(|pair| pair.certificate.clone()),
        token: UpstreamToken::parse(CANARY).unwrap(),
        plaintext: Plaintext::LoopbackOnly,
        answer_timeout: setup.answer_timeout.unwrap_or(PATIENCE),
    }
}

/// The pipeline's part, as short as it can be: what a call is follows from its path and type.
#[derive(Clone)]
struct Gate {
    upstream: Upstream,
    ends: mpsc::UnboundedSender<StreamEnd>,
    errors: Arc<Mutex<Vec<Fault>>>,
}

impl Gate {
    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        let kind = request
            .headers()
            .get("content-type")
            .map(http::HeaderValue::as_bytes);
        let channel = match kind {
            Some(b"application/grpc" | b"application/grpc+proto") => Channel::Grpc,
            Some(b"application/grpc-web+proto") => Channel::GrpcWeb,
            _ if path.starts_with("/terminal") => Channel::Cookie,
            _ => Channel::Rest,
        };
        let detach = if path.starts_with("/detached") {
            Detach::Yes
        } else {
            Detach::No
        };
        let shape = if path.starts_with("/stream") {
            Shape::Stream
        } else {
            Shape::Message
        };
        let outbound = Outbound {
            channel,
            send_as: match path {
                _ if path.starts_with("/anonymous") => SendAs::Nobody,
                _ if path.starts_with("/named") => {
                    SendAs::Caller(Arc::new(UpstreamToken::parse(NAMED).unwrap()))
                }
                _ => SendAs::Gate,
            },
            decision: DecisionId::new(jiff::Timestamp::UNIX_EPOCH),
            detach,
            shape,
            until: None,
            on_end: Some(Box::new(move |end| {
                // A test that ended does not listen.
                let _ = self.ends.send(end);
            })),
        };
        let sent = if channel == Channel::Cookie {
            let origins = [ORIGIN.to_owned()];
            self.upstream
                .tunnel(&Permit, outbound, request, &origins)
                .await
        } else {
            self.upstream.send(&Permit, outbound, request).await
        };
        sent.unwrap_or_else(|error| {
            self.errors.lock().unwrap().push(error.fault());
            status(StatusCode::BAD_GATEWAY)
        })
    }
}

pub(super) fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response
}

/// `future`, which must not take long.
pub(super) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("took too long")
}
