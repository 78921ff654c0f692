//! The admission door: the API server of the cluster asks about every write of Argo CD's objects.
//!
//! In: an `AdmissionReview` of an application, a set or a project, over TLS. Out: yes, or no with the
//! one sentence that Argo CD shows in the application's conditions and kubectl to its user. What
//! reaches the cluster past the API door is decided here by the same policies: automatic syncs, what
//! sets generate, kubectl. What a permitted call leads to is recognised by its intent
//! ([`crate::intent`]) and not decided twice. The caller is the user whom the API server names.
//!
//! Refused: a status that anybody but Argo CD writes, whatever fails here or behind, and what is not
//! planned in time (the work goes on, and the application is then refreshed). Never: a yes because
//! something could not be found out, or a change of the object.
//!
//! [`review`] reads the question, [`asked`] answers it, [`change`] tells what of it matters, [`plans`]
//! waits for planning, [`again`] brings back what was denied once its tests have passed.

mod again;
mod asked;
mod change;
mod plans;
mod review;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use tokio::time::Instant;

use self::asked::Asked;
use self::plans::Plans;
use self::review::{Review, Told};
use crate::app::App;
use crate::body::{self, Body};
use crate::intent;
use crate::listener::Connection;
use crate::names::{AppRef, DecisionId};

pub use again::{follow, let_through, settled, withdrawn};

/// Where the API server asks.
const PATH: &str = "/validate";
/// The longest review: object and old object, each of what etcd takes at most, and the rest.
const MAX_BYTES: usize = 8 << 20;
/// How long an answer may take. The API server waits no longer than 30 seconds.
const LONGEST: Duration = Duration::from_secs(25);
/// How many applications are known to have been asked about.
const STARTED: u64 = 100_000;

/// What the requests at this door share.
pub struct Shared {
    plans: Plans,
    again: again::Again,
    /// The applications whose operations were admitted lately, with when that was last.
    started: moka::sync::Cache<AppRef, Timestamp>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            plans: Plans::default(),
            again: again::Again::default(),
            started: moka::sync::Cache::builder()
                .max_capacity(STARTED)
                .time_to_live(intent::VALID * 10)
                .build(),
        }
    }
}

impl Shared {
    /// Whether the start of an operation of `application` has been admitted since `decision` was begun.
    #[must_use]
    pub fn has_admitted(&self, application: &AppRef, decision: DecisionId) -> bool {
        let started = self.started.get(application);
        started
            .zip(decision.made_at())
            .is_some_and(|(started, made)| started >= made)
    }
}

/// Answers one request at the listener of this door.
pub async fn handle(app: Arc<App>, request: Request<Body>) -> Response<Body> {
    let began = Instant::now();
    let deadline = began + patience(request.uri().query());
    let connection = request.extensions().get::<Connection>().cloned();
    let (Some(connection), Some(door)) = (connection, app.config.admission.clone()) else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "this door is not set up");
    };
    let bytes = match question(request, deadline).await {
        Ok(bytes) => bytes,
        Err((status, sentence)) => return plain(status, &sentence),
    };
    let review = match Review::read(&bytes) {
        Ok(review) => review,
        // Without its uid no answer is taken; the API server then denies by its failure policy.
        Err(error) => return plain(StatusCode::BAD_REQUEST, &crate::telemetry::chain(&error)),
    };
    drop(bytes);
    let uid = review.uid.clone();
    let asked = Asked {
        app: Arc::clone(&app),
        door,
        review,
        deadline,
    };
    // On a task of its own: its record is closed although the API server does not wait.
    let hard = app.stop.hard.clone();
    let task = hard.run_until_cancelled_owned(asked.answered(connection));
    let told = match app.tasks.spawn(task).await {
        Ok(Some(told)) => told,
        Ok(None) => denied("the gate was stopped"),
        Err(error) => {
            tracing::error!(%error, "a review broke off");
            denied("the gate failed")
        }
    };
    let mut response = Response::new(body::full(told.to_json(&uid)));
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn denied(why: &str) -> Told {
    Told {
        denied: Some(format!("{why}, and so denied this: try again")),
        warnings: Vec::new(),
    }
}

fn plain(status: StatusCode, sentence: &str) -> Response<Body> {
    let mut response = Response::new(body::full(format!("{sentence}\n")));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// How long an answer may take, given how long the API server says that it waits (`timeout=10s`).
fn patience(query: Option<&str>) -> Duration {
    let query = query.unwrap_or_default().as_bytes();
    let told = url::form_urlencoded::parse(query)
        .find(|(key, _)| key == "timeout")
        .and_then(|(_, value)| value.strip_suffix('s')?.parse().ok())
        .map(Duration::from_secs);
    // A sixth for the way there and back.
    told.map_or(LONGEST, |told| LONGEST.min(told * 5 / 6))
}

/// The body of a request that asks as it should.
async fn question(
    request: Request<Body>,
    deadline: Instant,
) -> Result<Bytes, (StatusCode, String)> {
    if request.uri().path() != PATH {
        return Err((StatusCode::NOT_FOUND, format!("there is {PATH} here")));
    }
    if request.method() != Method::POST {
        let sentence = "reviews are sent by POST".to_owned();
        return Err((StatusCode::METHOD_NOT_ALLOWED, sentence));
    }
    let kind = request.headers().get(CONTENT_TYPE);
    if kind.is_none_or(|kind| kind != "application/json") {
        let sentence = "a review is application/json".to_owned();
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
    }
    let read = body::collect(request.into_body(), MAX_BYTES);
    match tokio::time::timeout_at(deadline, read).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error @ body::Error::TooLarge { .. })) => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))
        }
        Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, error.to_string())),
        Err(_) => {
            let sentence = "the review did not come in time".to_owned();
            Err((StatusCode::REQUEST_TIMEOUT, sentence))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_before_the_api_server_stops_waiting() {
        for (query, seconds) in [
            (None, 25),
            (Some("timeout=30s"), 25),
            (Some("timeout=12s"), 10),
            (Some("timeout=x"), 25),
            (Some("timeout=99s"), 25),
        ] {
            assert_eq!(patience(query), Duration::from_secs(seconds), "{query:?}");
        }
    }

    #[tokio::test]
    async fn only_reviews_are_taken() {
        let deadline = Instant::now() + LONGEST;
        let asked = async |method: Method, path: &str, kind: &str, size: usize| {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(CONTENT_TYPE, kind)
                .body(body::full(vec![b'x'; size]))
                .unwrap();
            question(request, deadline)
                .await
                .map_err(|(status, _)| status.as_u16())
        };
        let json = "application/json";
        assert!(
            asked(Method::POST, "/validate?timeout=30s", json, 3)
                .await
                .is_ok()
        );
        for (method, path, kind, size, status) in [
            (Method::POST, "/", json, 3, 404),
            (Method::POST, "/validate/", json, 3, 404),
            (Method::GET, "/validate", json, 3, 405),
            (Method::POST, "/validate", "application/json2", 3, 415),
            (Method::POST, "/validate", "text/plain", 3, 415),
            (Method::POST, "/validate", json, MAX_BYTES + 1, 413),
        ] {
            assert_eq!(
                asked(method, path, kind, size).await,
                Err(status),
                "{path} {kind}"
            );
        }
    }
}
