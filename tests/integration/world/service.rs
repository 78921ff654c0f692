//! A service under test, which remembers what reached it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use syncgate::body::{self, Body};
use syncgate::listener::tls::{Files, Tls};
use syncgate::listener::{Limits, Listener, Stop};
use tokio_util::task::TaskTracker;

/// What reached it: everything but the body.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
}

impl Seen {
    /// The header `name`, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

/// The service. What a path does is in [`answer`].
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) stop: Stop,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Service {
    /// A service in clear text.
    pub(crate) async fn start(tasks: &TaskTracker) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), None, tasks).await
    }

    /// A service at `address`, perhaps with TLS.
    pub(crate) async fn at(address: SocketAddr, tls: Option<Files>, tasks: &TaskTracker) -> Self {
        let tls = tls.map(|files| Tls::load(files).unwrap());
        let listener = Listener::bind(address, tls, Limits::default())
            .await
            .unwrap();
        let (address, stop) = (listener.address(), Stop::default());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (noted, spawner) = (Arc::clone(&seen), tasks.clone());
        let handler = move |request: Request<Body>| {
            noted.lock().unwrap().push(Seen {
                target: request.uri().path_and_query().unwrap().to_string(),
                version: request.version(),
                headers: request.headers().clone(),
            });
            answer(request, spawner.clone())
        };
        tasks.spawn(listener.serve(handler, stop.clone(), tasks.clone()));
        Self {
            address,
            stop,
            seen,
        }
    }

    /// All that reached it.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The last that reached it.
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("nothing reached the service")
    }
}

/// Gives back what it is sent, header by header and frame by frame, and does what the path says.
async fn answer(mut request: Request<Body>, tasks: TaskTracker) -> Response<Body> {
    let headers = request.headers().clone();
    let query = request.uri().query().unwrap_or_default().to_owned();
    if headers.contains_key("sec-websocket-key") {
        return echo_socket(&mut request, &tasks);
    }
    let kind = headers.get("content-type").cloned();
    let grpc = kind
        .as_ref()
        .is_some_and(|k| k.as_bytes().starts_with(b"application/grpc"));
    let path = request.uri().path().to_owned();
    let mut answer = Response::new(request.into_body());
    // What must not come back.
    for (name, value) in [
        ("set-cookie", "session=1"),
        ("syncgate-decision", "forged"),
        ("syncgate_identity", "forged"),
        ("x-own", "kept"),
    ] {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    for name in ["authorization", "x-api-key", "syncgate-identity"] {
        if let Some(value) = headers.get(name) {
            answer.headers_mut().insert("x-echo", value.clone());
        }
    }
    match path.as_str() {
        _ if grpc => {
            let (mut head, body) = answer.into_parts();
            head.headers.insert("content-type", kind.unwrap());
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            trailers.insert("x-kept", HeaderValue::from_static("1"));
            if let Some(value) = headers.get("authorization") {
                trailers.insert("x-echo", value.clone());
            }
            let end = async move { Some(Ok(trailers)) };
            return Response::from_parts(head, body::boxed(body.with_trailers(end)));
        }
        "/silent" => std::future::pending().await,
        "/redirect" => {
            *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            let location = HeaderValue::from_str(&query).unwrap();
            answer.headers_mut().insert("location", location);
        }
        "/sick" => *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
        "/cut" => {
            let begun = stream::iter([Ok(Frame::data(Bytes::from("begun")))]);
            let cut = stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(body::BoxError::from("cut"))
            });
            let body = StreamBody::new(begun.chain(Box::pin(cut)));
            return answer.map(|_| body::boxed(body));
        }
        _ => {}
    }
    answer
}

/// A websocket that gives back what it is sent.
fn echo_socket(request: &mut Request<Body>, tasks: &TaskTracker) -> Response<Body> {
    let upgrade = hyper::upgrade::on(request);
    tasks.spawn(async move {
        let mut socket = TokioIo::new(upgrade.await.unwrap());
        let (mut from, mut to) = tokio::io::split(&mut socket);
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(body::empty())
        .unwrap()
}

/// An authority, and what it has issued; all as PEM files in a folder.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    /// An authority, whose certificate is `NAME.pem` in `folder`.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), issuer.pem()).unwrap();
        Self {
            issuer,
            folder: folder.to_owned(),
        }
    }

    /// A certificate for `localhost`, `NAME.pem`, and its key, `NAME.key`. Gives both files.
    pub(crate) fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (
            self.folder.join(format!("{name}.pem")),
            self.folder.join(format!("{name}.key")),
        );
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }
}
