//! The operators' port: `/live`, `/ready` and `/metrics`.
//!
//! In: a request on the admin listener. Out: whether the process runs, whether each part of the
//! gate is ready, and the metrics. It knows no callers and takes no credential, so it says nothing
//! about applications and belongs on a port that only the cluster reaches; it is never served on
//! the public one.

use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use crate::body::{self, Body};

/// The state of one part of the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Which part: `policies`, `upstream`.
    pub name: &'static str,
    /// Whether it is ready.
    pub state: State,
    /// More for people: the version in force, or what is wrong.
    pub detail: String,
}

/// How far a part is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It works, but not as it should: the last reload failed, say. The gate stays ready.
    Degraded,
    /// The gate must get no requests.
    NotReady,
    /// All is well.
    Ready,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Degraded => "degraded",
            Self::NotReady => "not-ready",
            Self::Ready => "ready",
        }
    }
}

/// The service of the admin listener. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    checks: Arc<dyn Fn() -> Vec<Check> + Send + Sync>,
    metrics: PrometheusHandle,
}

impl Admin {
    /// A service that asks `checks` at every `/ready`, and renders `metrics`.
    pub fn new(
        checks: impl Fn() -> Vec<Check> + Send + Sync + 'static,
        metrics: PrometheusHandle,
    ) -> Self {
        Self {
            checks: Arc::new(checks),
            metrics,
        }
    }

    /// The answer to `request`.
    #[must_use]
    pub fn answer(&self, request: &Request<Body>) -> Response<Body> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
            let headers = response.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/live" => text(StatusCode::OK, "live\n".into()),
            "/metrics" => {
                self.metrics.run_upkeep();
                text(StatusCode::OK, self.metrics.render())
            }
            "/ready" => self.ready(),
            _ => text(StatusCode::NOT_FOUND, "/live, /ready or /metrics\n".into()),
        }
    }

    fn ready(&self) -> Response<Body> {
        let checks = (self.checks)();
        let ready = checks.iter().all(|check| check.state != State::NotReady);
        let rows: Vec<_> = checks
            .iter()
            .map(|c| json!({ "name": c.name, "state": c.state.word(), "detail": c.detail }))
            .collect();
        let json = json!({ "ready": ready, "checks": rows }).to_string();
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        respond(status, "application/json", json)
    }
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    respond(status, "text/plain; version=0.0.4; charset=utf-8", text)
}

fn respond(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    async fn ask(path: &str, state: State) -> (StatusCode, String) {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("syncgate_requests_total", "effect" => "read").increment(2);
        });
        let check = move || {
            vec![Check {
                name: "policies",
                state,
                detail: "set 3f2c".into(),
            }]
        };
        let admin = Admin::new(check, recorder.handle());
        let request = Request::get(path).body(body::empty()).unwrap();
        let response = admin.answer(&request);
        let status = response.status();
        let bytes = body::collect(response.into_body(), 65536).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ready_means_that_no_part_says_otherwise() {
        for (state, status) in [
            (State::Ready, StatusCode::OK),
            (State::Degraded, StatusCode::OK),
            (State::NotReady, StatusCode::SERVICE_UNAVAILABLE),
        ] {
            let (answered, json) = ask("/ready", state).await;
            assert_eq!(answered, status);
            assert!(
                json.contains(state.word()) && json.contains("set 3f2c"),
                "{json}"
            );
        }
    }

    #[tokio::test]
    async fn metrics_are_in_the_form_of_prometheus() {
        let (_, text) = ask("/metrics", State::Ready).await;
        assert!(
            text.contains("syncgate_requests_total{effect=\"read\"} 2"),
            "{text}"
        );
        assert_eq!(ask("/live", State::NotReady).await.0, StatusCode::OK);
        assert_eq!(ask("/", State::Ready).await.0, StatusCode::NOT_FOUND);
    }
}
