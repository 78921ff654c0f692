//! An `OpenID` Connect issuer's web server, as good or bad as a test wants it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::TestKey;

/// An issuer's HTTP server on loopback. It answers what it is told to, and counts.
pub(crate) struct TestIssuer {
    /// Its name and address.
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    requests: Vec<(String, HeaderMap)>,
}

/// What it answers for one path.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body: String,
    pub(crate) delay: Duration,
}

impl Answer {
    /// 200 with `body`.
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self {
            status: 200,
            location: None,
            body: body.into(),
            delay: Duration::ZERO,
        }
    }
}

/// The path of the discovery document.
pub(crate) const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The path of the keys.
pub(crate) const JWKS: &str = "/jwks";

impl TestIssuer {
    /// An issuer that publishes `keys`, without TLS.
    pub(crate) async fn start(keys: &[&TestKey]) -> Self {
        Self::start_on(keys, None).await
    }

    /// The same, with TLS if there is an acceptor.
    pub(crate) async fn start_on(keys: &[&TestKey], tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let issuer = Self {
            url: format!("{scheme}://{address}"),
            state: Arc::default(),
            stop: CancellationToken::new(),
        };
        let document = json!({
            "issuer": issuer.url,
            "jwks_uri": format!("{}{JWKS}", issuer.url),
        });
        issuer.answer(DISCOVERY, Answer::ok(document.to_string()));
        issuer.publish(keys);
        let tasks = TaskTracker::new();
        let (state, stop) = (Arc::clone(&issuer.state), issuer.stop.clone());
        tasks
            .clone()
            .spawn(stop.run_until_cancelled_owned(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (state, tls) = (Arc::clone(&state), tls.clone());
                    tasks.spawn(async move {
                        let service = service_fn(move |request| reply(Arc::clone(&state), request));
                        let http = hyper::server::conn::http1::Builder::new();
                        // A client that hangs up is a part of some tests.
                        let _ = match tls {
                            None => http.serve_connection(TokioIo::new(stream), service).await,
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => {
                                    http.serve_connection(TokioIo::new(stream), service).await
                                }
                                Err(_) => Ok(()),
                            },
                        };
                    });
                }
            }));
        issuer
    }

    /// From now on, `path` is answered so.
    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.state
            .lock()
            .unwrap()
            .answers
            .insert(path.to_owned(), answer);
    }

    /// From now on, these are the keys.
    pub(crate) fn publish(&self, keys: &[&TestKey]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        self.answer(JWKS, Answer::ok(json!({ "keys": keys }).to_string()));
    }

    /// How often `path` was asked for.
    pub(crate) fn hits(&self, path: &str) -> usize {
        let state = self.state.lock().unwrap();
        state
            .requests
            .iter()
            .filter(|(asked, _)| asked == path)
            .count()
    }

    /// The `Authorization` header of each request, in order.
    pub(crate) fn authorizations(&self) -> Vec<Option<String>> {
        let state = self.state.lock().unwrap();
        let value = |headers: &HeaderMap| {
            headers
                .get("authorization")
                .map(|v| v.to_str().unwrap().to_owned())
        };
        state
            .requests
            .iter()
            .map(|(_, headers)| value(headers))
            .collect()
    }
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn reply(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let answer = {
        let mut state = state.lock().unwrap();
        state
            .requests
            .push((path.clone(), request.headers().clone()));
        state.answers.get(&path).cloned()
    };
    let Some(answer) = answer else {
        return Ok(Response::builder()
            .status(404)
            .body(Full::default())
            .unwrap());
    };
    tokio::time::sleep(answer.delay).await;
    let mut response = Response::builder().status(answer.status);
    if let Some(location) = answer.location {
        response = response.header("location", location);
    }
    Ok(response.body(Full::new(answer.body.into())).unwrap())
}
