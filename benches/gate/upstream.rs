//! The null upstream, in a process of its own: as little work as an answer can take. It is also the
//! endpoint under test, and the issuer of the one token that the client shows.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use syncgate::body::{self, Body};
use syncgate::listener::{Limits, Listener, Stop};
use tokio_util::task::TaskTracker;

use crate::{AUDIENCE, Place, application};

/// The size of a gRPC answer, its frame included.
const MESSAGE: usize = 1024;

struct Upstream {
    applications: usize,
    /// The answer to a list, made once.
    list: Bytes,
    jwks: String,
    /// What a sync left behind, by application.
    operations: Mutex<HashMap<String, Value>>,
}

/// Tells its [`Place`] on standard output, serves until standard input ends.
pub(crate) async fn run(applications: usize) -> anyhow::Result<()> {
    let listener = Listener::bind("127.0.0.1:0".parse()?, None, Limits::default()).await?;
    let url = format!("http://{}", listener.address());
    let (token, jwks) = token(&url)?;
    let upstream = Arc::new(Upstream {
        applications,
        list: list(),
        jwks,
        operations: Mutex::default(),
    });
    let answer = move |request| answer(Arc::clone(&upstream), request);
    let (stop, tasks) = (Stop::default(), TaskTracker::new());
    tasks.spawn(listener.serve(answer, stop, tasks.clone()));
    crate::say(&serde_json::to_string(&Place { url, token })?);
    let end = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(end).await??;
    Ok(())
}

/// A release manager's ID token, valid for an hour, and the key that it is verified with.
fn token(issuer: &str) -> anyhow::Result<(String, String)> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    // An uncompressed point: 0x04, x, y (SEC 1, 2.3.3).
    let point = pair.public_key().as_ref();
    let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let jwks = json!({"keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bench", "x": x, "y": y,
    }]});
    let now = syncgate::clock::Clock::system().now().as_second();
    let claims = json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "rita", "email": "rita@shop.example",
        "email_verified": true, "groups": ["release"], "iat": now, "exp": now + 3600,
    });
    let header = Header {
        kid: Some("bench".to_owned()),
        ..Header::new(Algorithm::ES256)
    };
    let key = EncodingKey::from_ec_der(pair.to_pkcs8v1()?.as_ref());
    let token = jsonwebtoken::encode(&header, &claims, &key)?;
    Ok((token, jwks.to_string()))
}

async fn answer(upstream: Arc<Upstream>, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
    let Ok(body) = body::collect(body, 1 << 20).await else {
        return status(StatusCode::BAD_REQUEST);
    };
    match (&head.method, path.as_slice()) {
        (&Method::GET, ["keys"]) => json(upstream.jwks.clone()),
        (&Method::GET, ["api", "v1", "applications"]) => {
            typed("application/json", body::full(upstream.list.clone()))
        }
        (&Method::GET, ["api", "v1", "applications", name]) => json(upstream.application(name)),
        // What it renders holds no application.
        (&Method::GET, ["api", "v1", "applications", _, "manifests"]) => {
            json(json!({"manifests": []}).to_string())
        }
        (&Method::POST, ["api", "v1", "applications", name, "sync"]) => {
            upstream.sync(name, &body);
            json(upstream.application(name))
        }
        (&Method::GET, ["api", "v1", "stream", "applications"]) => upstream.watch(),
        (&Method::POST, ["application.ApplicationService", "Get"]) => message(),
        (_, ["carts", "7"]) => json(json!({"items": [{"item": 1, "count": 2}]}).to_string()),
        _ => status(StatusCode::NOT_IMPLEMENTED),
    }
}

impl Upstream {
    fn application(&self, name: &str) -> String {
        let operations = self.operations.lock();
        let operations = operations.unwrap_or_else(PoisonError::into_inner);
        application(name, operations.get(name)).to_string()
    }

    /// The operation of a sync ends at once, and well.
    fn sync(&self, name: &str, body: &[u8]) {
        let Ok(request) = serde_json::from_slice::<Value>(body) else {
            return;
        };
        let field = |name| request.get(name).cloned().unwrap_or_default();
        let operation = json!({
            "sync": {"revision": field("revision"), "source": crate::source(name)},
            "info": field("infos"),
        });
        let operations = self.operations.lock();
        let mut operations = operations.unwrap_or_else(PoisonError::into_inner);
        operations.insert(name.to_owned(), operation);
    }

    /// Every application once, and then nothing for ever.
    fn watch(&self) -> Response<Body> {
        let names = (0..self.applications).map(crate::name);
        let lines: Vec<_> = names
            .map(|name| {
                let application = application(&name, None);
                let event = json!({"result": {"type": "ADDED", "application": application}});
                Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{event}\n"))))
            })
            .collect();
        let lines = stream::iter(lines).chain(stream::pending());
        typed("application/json", body::boxed(StreamBody::new(lines)))
    }
}

fn list() -> Bytes {
    let items = (0..crate::LISTED).map(|n| application(&crate::name(n), None));
    let items: Vec<Value> = items.collect();
    json!({"metadata": {"resourceVersion": "1"}, "items": items})
        .to_string()
        .into()
}

fn message() -> Response<Body> {
    let mut message = vec![0; MESSAGE];
    let length = u32::try_from(MESSAGE - 5).unwrap_or(0).to_be_bytes();
    if let Some(place) = message.get_mut(1..5) {
        place.copy_from_slice(&length);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = body::full(message).with_trailers(async move { Some(Ok(trailers)) });
    typed("application/grpc", body::boxed(body))
}

fn json(text: String) -> Response<Body> {
    typed("application/json", body::full(text))
}

fn typed(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert("content-type", kind);
    response
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response
}
