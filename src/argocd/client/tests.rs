use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::*;

/// An upstream that answers one thing and remembers what it was asked.
struct Upstream {
    base: Url,
    asked: Arc<Mutex<Vec<(String, String)>>>,
    _tasks: TaskTracker,
}

impl Upstream {
    async fn answering(status: u16, body: impl Into<Bytes>, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/root/", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let tasks = TaskTracker::new();
        let (body, remembered, inner) = (body.into(), asked.clone(), tasks.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (body, remembered) = (body.clone(), remembered.clone());
                inner.spawn(async move {
                    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                        let token = request.headers()[AUTHORIZATION]
                            .to_str()
                            .unwrap()
                            .to_owned();
                        let asked = (request.uri().to_string(), token);
                        remembered.lock().unwrap().push(asked);
                        let body = Full::new(body.clone());
                        async move {
                            tokio::time::sleep(delay).await;
                            let answer = Response::builder().status(status).body(body);
                            Ok::<_, Infallible>(answer.unwrap())
                        }
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            base: base.parse().unwrap(),
            asked,
            _tasks: tasks,
        }
    }

    fn client(&self) -> Client {
        client(&self.base)
    }
}

fn tls() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

fn client(base: &Url) -> Client {
    let timeouts = Timeouts {
        read: Duration::from_secs(5),
        refresh: Duration::from_millis(50),
    };
    Client::new(base, tls(), "canary-token", timeouts).unwrap()
}

fn shop(namespace: Option<&str>) -> AppRef {
    AppRef {
        namespace: namespace.map(str::to_owned),
        name: "shop".into(),
    }
}

fn minimal() -> Value {
    json!({
        "metadata": { "name": "shop", "namespace": "argocd", "uid": "u-1" },
        "spec": {
            "project": "default",
            "destination": { "server": "https://kubernetes.default.svc", "namespace": "shop" },
            "source": { "repoURL": "https://git.example/shop", "path": "prod" },
        },
        "status": {},
    })
}

async fn ask(status: u16, body: impl Into<Bytes>) -> Result<Value, Error> {
    let upstream = Upstream::answering(status, body, Duration::ZERO).await;
    let client = upstream.client();
    client.application(&shop(None), None, Refresh::None).await
}

// ---- The question ----

#[tokio::test]
async fn the_question_names_the_application_and_carries_the_gates_credential() {
    let upstream = Upstream::answering(200, minimal().to_string(), Duration::ZERO).await;
    let client = upstream.client();
    client
        .application(&shop(None), None, Refresh::None)
        .await
        .unwrap();
    client
        .application(&shop(Some("argocd")), Some("a b"), Refresh::Normal)
        .await
        .unwrap();
    let asked = upstream.asked.lock().unwrap().clone();
    assert_eq!(asked[0].0, "/root/api/v1/applications/shop");
    assert_eq!(
        asked[1].0,
        "/root/api/v1/applications/shop?appNamespace=argocd&project=a%20b&refresh=normal"
    );
    assert_eq!(asked[0].1, "Bearer canary-token");
}

#[test]
fn addresses_and_tokens_that_cannot_be_used_are_refused() {
    let timeouts = Timeouts {
        read: Duration::from_secs(1),
        refresh: Duration::from_secs(1),
    };
    for base in [
        "ftp://argocd",
        "https://user:pw@argocd/",
        "https://argocd/?x=y",
        "unix:/run/argocd",
    ] {
        let made = Client::new(&base.parse().unwrap(), tls(), "t", timeouts);
        assert!(matches!(made, Err(Error::BadAddress(_))), "{base}");
    }
    let made = Client::new(&"http://a".parse().unwrap(), tls(), "se\ncret", timeouts);
    let said = made.unwrap_err().to_string();
    assert!(!said.contains("cret"), "{said}");
}

#[tokio::test]
async fn the_credential_is_not_shown() {
    let client = client(&"http://127.0.0.1:9".parse().unwrap());
    assert!(!format!("{client:?}").contains("canary"));
}

// ---- The errors ----

#[tokio::test]
async fn missing_and_forbidden_are_the_same() {
    for status in [403, 404] {
        let error = ask(status, "{}").await.unwrap_err();
        assert!(matches!(&error, Error::NoSuchApplication(app) if app.name == "shop"));
    }
}

#[tokio::test]
async fn the_other_errors_are_told_apart() {
    assert!(matches!(ask(401, "").await, Err(Error::Unauthenticated)));
    for (status, body) in [
        (500, "{}"),
        (302, ""),
        (200, "<html>"),
        (200, "{}"),
        (200, "[]"),
    ] {
        let answer = ask(status, body).await;
        assert!(
            matches!(answer, Err(Error::BadAnswer(_))),
            "{status} {body}"
        );
    }
    let nowhere = client(&"http://127.0.0.1:9".parse().unwrap());
    let answer = nowhere.application(&shop(None), None, Refresh::None).await;
    assert!(matches!(answer, Err(Error::Unreachable(_))));
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_a_timeout() {
    let delay = Duration::from_mins(1);
    let upstream = Upstream::answering(200, "{}", delay).await;
    let client = upstream.client();
    let answer = client.application(&shop(None), None, Refresh::Normal).await;
    assert!(matches!(answer, Err(Error::Timeout(limit)) if limit < delay));
}

#[tokio::test]
async fn an_answer_over_the_limit_is_not_read_on() {
    let answer = ask(200, vec![b' '; MAX_ANSWER_BYTES + 1]).await;
    assert!(matches!(answer, Err(Error::BadAnswer(_))));
}

#[tokio::test]
async fn an_answer_about_another_application_is_none() {
    let mut other = minimal();
    other["metadata"]["name"] = json!("other");
    let answer = ask(200, other.to_string()).await;
    assert!(matches!(answer, Err(Error::BadAnswer(_))));

    let upstream = Upstream::answering(200, minimal().to_string(), Duration::ZERO).await;
    let client = upstream.client();
    let answer = client
        .application(&shop(Some("team-a")), None, Refresh::None)
        .await;
    assert!(matches!(answer, Err(Error::BadAnswer(_))));
}
