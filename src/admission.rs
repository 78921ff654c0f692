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
//! [`review`] reads the question, [`change`] tells what of it matters, [`plans`] waits for planning,
//! [`again`] brings back what was denied once its tests have passed.

mod again;
mod change;
mod plans;
mod review;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::change::{Change, Status};
use self::plans::{Key, Plans};
use self::review::{Kind, Review, Told, Verb};
use crate::app::App;
use crate::argocd::operation::Effect;
use crate::body::{self, Body};
use crate::config::Admission;
use crate::deployed;
use crate::digest::{canonical_json, sha256_hex};
use crate::draft::Draft;
use crate::gate::Finding;
use crate::identity::{Caller, Subject};
use crate::intent::{self, Start, start_digest, write_digest};
use crate::json::{self, without_blanks};
use crate::listener::Connection;
use crate::names::{AppRef, DecisionId};
use crate::planner::{self, AdmittedWrite, Plan};
use crate::policy::{Decision, Denial, decide};
use crate::record::Word;
use crate::refusal;
use crate::respond::{self, About, Form, Rejection};

pub use again::{follow, settled};

/// Where the API server asks.
const PATH: &str = "/validate";
/// The longest review: object and old object, each of what etcd takes at most, and the rest.
const MAX_BYTES: usize = 8 << 20;
/// How long an answer may take. The API server waits no longer than 30 seconds.
const LONGEST: Duration = Duration::from_secs(25);
/// How many applications are known to have been asked about.
const ASKED: u64 = 100_000;
/// How policies and records call this door.
const WIRE: &str = "admission";

/// What the requests at this door share.
pub struct Shared {
    plans: Plans,
    again: again::Again,
    /// The applications whose operations were reviewed lately, with when that was last.
    asked: moka::sync::Cache<AppRef, Timestamp>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            plans: Plans::default(),
            again: again::Again::default(),
            asked: moka::sync::Cache::builder()
                .max_capacity(ASKED)
                .time_to_live(intent::VALID * 10)
                .build(),
        }
    }
}

impl Shared {
    /// Whether the start of an operation of `application` has been reviewed since `decision` was begun.
    #[must_use]
    pub fn was_asked(&self, application: &AppRef, decision: DecisionId) -> bool {
        let begun = i64::try_from(decision.0.timestamp_ms()).unwrap_or(i64::MAX);
        let asked = self.asked.get(application);
        asked.is_some_and(|at| at.as_millisecond() >= begun)
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

/// One review while it is answered.
struct Asked {
    app: Arc<App>,
    door: Admission,
    review: Review,
    deadline: Instant,
}

impl Asked {
    async fn answered(self, connection: Connection) -> Told {
        let mut draft = Draft::at_admission(&self.app, &connection);
        match self.decided(&mut draft).await {
            Ok(told) => told,
            Err(rejection) => Told {
                denied: Some(self.refused(&mut draft, &rejection).await),
                warnings: Vec::new(),
            },
        }
    }

    /// The line by which the writer is refused; recorded, unless nothing would have been stored.
    async fn refused(&self, draft: &mut Draft, rejection: &Rejection) -> String {
        if self.review.dry_run {
            return format!("{}. a dry run, not recorded", rejection.sentence());
        }
        draft.refused(&self.app, rejection).await;
        self.line(draft.decision(), rejection)
    }

    fn line(&self, decision: DecisionId, rejection: &Rejection) -> String {
        let link = self.app.link(decision);
        let about = About {
            decision,
            link: Some(&link),
        };
        respond::line(rejection, about)
    }

    async fn decided(&self, draft: &mut Draft) -> Result<Told, Rejection> {
        let review = &self.review;
        if review.verb == Verb::Other || review.kind == Kind::Other {
            return Ok(Told::default());
        }
        if review.kind != Kind::Application {
            return self.of_argocd(draft).await;
        }
        let change = Change::of(&review.before, &review.after);
        let operation = match (review.verb, change.starts) {
            (Verb::Create, _) => "ApplicationService.Create",
            (_, true) => "ApplicationService.Sync",
            (_, false) => "ApplicationService.Update",
        };
        draft.operation(operation, Effect::Deploy, Form::Rest, WIRE);
        let application = self.application();
        draft.facts(vec![application.clone()], self.about(change, None));
        let caller = self.caller(draft)?;
        let is_argocd = self.is_argocd(&caller);
        match change::status(&review.before, &review.after) {
            Status::Same => {}
            Status::Changed if is_argocd => {}
            Status::Changed | Status::MadeUp => {
                return Err(Rejection::Policy {
                    sentence: format!(
                        "write of {application} refused for {}: status is set by Argo CD alone",
                        caller.display()
                    ),
                });
            }
        }
        if !change.concerns(is_argocd) {
            return Ok(Told::default());
        }
        if change.starts && !self.review.dry_run {
            let now = self.app.clock.now();
            self.app.admission.asked.insert(application.clone(), now);
        }
        if is_argocd && let Some(intended) = self.intended(change).await? {
            draft.facts(vec![application], self.about(change, Some(intended)));
            return self.recorded(draft, Word::Answer, Vec::new()).await;
        }
        let planned = self.planned(&caller).await?;
        match planned.as_ref() {
            Ok(plan) => self.asked(draft, &caller, plan).await,
            Err(rejection) => Err(rejection.clone()),
        }
    }

    /// Projects and sets say what may run, and who may do what: who may change Argo CD may write them.
    async fn of_argocd(&self, draft: &mut Draft) -> Result<Told, Rejection> {
        let review = &self.review;
        let action = match (review.kind, review.verb) {
            (Kind::AppProject, Verb::Create) => "ProjectService.Create",
            (Kind::AppProject, _) => "ProjectService.Update",
            _ => "ApplicationSetService.Create",
        };
        draft.operation(action, Effect::Administer, Form::Rest, WIRE);
        let name = json::text(&review.after, "/metadata/name");
        let namespace = json::text(&review.after, "/metadata/namespace");
        draft.facts(Vec::new(), json!({ "name": name, "namespace": namespace }));
        let caller = self.caller(draft)?;
        if !change::of_argocd(review.kind, &review.before, &review.after) {
            return Ok(Told::default());
        }
        let plan = planner::administers(action);
        self.asked(draft, &caller, &plan).await
    }

    /// The user whom the API server names.
    fn caller(&self, draft: &mut Draft) -> Result<Caller, Rejection> {
        let review = &self.review;
        // Nobody's credential is seen here; it has held for this one request.
        let until = self.app.clock.now() + SignedDuration::from_mins(1);
        let (issuer, groups) = (&self.door.issuer, review.groups.clone());
        let caller = self
            .app
            .identity
            .vouched(issuer, &review.user, groups, until);
        let caller = caller.map_err(|error| Rejection::Policy {
            sentence: error.to_string(),
        })?;
        draft.caller(&caller);
        Ok(caller)
    }

    fn is_argocd(&self, caller: &Caller) -> bool {
        let Subject::KubernetesAccount {
            namespace, name, ..
        } = &caller.subject
        else {
            return false;
        };
        let mut accounts = self.door.argocd.iter();
        accounts.any(|account| {
            (&account.issuer, &account.namespace, &account.name)
                == (&caller.issuer, namespace, name)
        })
    }

    fn application(&self) -> AppRef {
        let namespace = json::text(&self.review.after, "/metadata/namespace");
        AppRef {
            namespace: Some(namespace.to_owned())
                .filter(|namespace| *namespace != self.app.config.upstream.namespace),
            name: json::text(&self.review.after, "/metadata/name").to_owned(),
        }
    }

    /// What the record says of the write.
    fn about(&self, change: Change, intended_by: Option<DecisionId>) -> Value {
        let start = change
            .starts
            .then(|| Start::of_operation(&self.review.after))
            .flatten();
        json!({
            "intended_by": intended_by.map(|decision| decision.to_string()),
            "starts": change.starts,
            "respecifies": change.respecifies,
            "dry_run": start.as_ref().is_some_and(|start| start.dry_run),
            "partial": start.as_ref().is_some_and(|start| !start.partial.is_empty()),
            "local": start.as_ref().is_some_and(|start| start.local),
            "revision": json::at(&self.review.after, "/operation/sync/revision"),
            "revisions": json::at(&self.review.after, "/operation/sync/revisions"),
        })
    }

    /// The decision that this write follows from; of a write that does two things, both must.
    async fn intended(&self, change: Change) -> Result<Option<DecisionId>, Rejection> {
        let after = &self.review.after;
        let mut digests = Vec::new();
        if change.starts {
            let Some(start) = Start::of_operation(after) else {
                return Ok(None);
            };
            digests.push(start_digest(&start));
        }
        if change.respecifies {
            digests.push(write_digest(after));
        }
        let text = |pointer| json::text(after, pointer);
        let uid = Some(text("/metadata/uid")).filter(|uid| !uid.is_empty());
        let valid = SignedDuration::try_from(intent::VALID).unwrap_or(SignedDuration::ZERO);
        let not_before = self.app.clock.now() - valid;
        let mut decision = None;
        for digest in digests {
            let found = self.app.store.intent(
                text("/metadata/namespace"),
                text("/metadata/name"),
                uid,
                &digest,
                not_before,
            );
            let found = found.await.map_err(|error| {
                tracing::error!(
                    error = crate::telemetry::chain(&error),
                    "cannot read intents"
                );
                Rejection::Internal
            })?;
            match found {
                Some(intent) => decision = Some(intent.decision),
                None => return Ok(None),
            }
        }
        Ok(decision)
    }

    /// What the write would roll out, if that is known in time.
    async fn planned(&self, caller: &Caller) -> Result<plans::Planned, Rejection> {
        let (before, after) = (self.review.before.clone(), self.review.after.clone());
        let key = key(caller, &before, &after);
        let (app, caller) = (Arc::clone(&self.app), caller.clone());
        let work = async move {
            let before = Some(&before).filter(|before| !before.is_null());
            let write = AdmittedWrite {
                before,
                after: &after,
            };
            planner::admitted(&app, &caller, &write).await
        };
        let application = self.application();
        let (again, dry_run) = (application.clone(), self.review.dry_run);
        let late = move |app: &Arc<App>| {
            if !dry_run {
                app.admission.again.planned(again);
            }
        };
        let planned = Plans::plan(&self.app, key, self.deadline, work, late).await;
        planned.ok_or_else(|| Rejection::Policy {
            sentence: format!(
                "planning: what this write of {application} rolls out is not worked out yet; \
                 that goes on, and Argo CD is then told to try again"
            ),
        })
    }

    /// Asks the policies about `plan`.
    async fn asked(
        &self,
        draft: &mut Draft,
        caller: &Caller,
        plan: &Plan,
    ) -> Result<Told, Rejection> {
        let policies = self.app.policies.current();
        let questions = plan.questions(caller, WIRE, self.app.clock.now());
        draft.planned(plan, &policies);
        match decide(&policies, &questions, ()) {
            Decision::Allow(permitted) => {
                draft.permitted(&permitted);
                if !self.review.dry_run {
                    deployed::permitted(&self.app, draft.decision(), plan).await?;
                }
                let Some(denial) = permitted.observed() else {
                    return self.recorded(draft, Word::Permit, Vec::new()).await;
                };
                let refusal = refusal::plainly(plan, caller, denial);
                let warning = format!("would be refused: {}", refusal.sentence());
                self.recorded(draft, Word::ObserveDeny, vec![warning]).await
            }
            Decision::Deny(denial) => {
                draft.denied(&denial);
                self.remember(plan, &denial);
                Err(refusal::plainly(plan, caller, &denial))
            }
        }
    }

    /// Remembers what tests would turn into a yes.
    fn remember(&self, plan: &Plan, denial: &Denial) {
        if self.review.dry_run || !denial.evidence {
            return;
        }
        let blocked = plan.applications.iter();
        let blocked = blocked.filter(|it| matches!(it.finding, Some(Finding::Blocked { .. })));
        let components: BTreeSet<String> = blocked
            .map(|planned| planned.facts.component.clone())
            .filter(|component| !component.is_empty())
            .collect();
        let (application, now) = (self.application(), self.app.clock.now());
        self.app
            .admission
            .again
            .denied(application, components, now);
    }

    /// Records a yes, unless nothing will be stored by the write either.
    async fn recorded(
        &self,
        draft: &mut Draft,
        word: Word,
        warnings: Vec<String>,
    ) -> Result<Told, Rejection> {
        if !self.review.dry_run {
            let nothing = Response::new(body::empty());
            draft.record(&self.app, word, nothing).await?;
        }
        Ok(Told {
            denied: None,
            warnings,
        })
    }
}

/// What tells the planning of one write from that of another.
fn key(caller: &Caller, before: &Value, after: &Value) -> Key {
    let essence = |object: &Value| {
        let of = |pointer| json::at(object, pointer).clone();
        without_blanks(&json!({
            "labels": of("/metadata/labels"),
            "name": of("/metadata/name"),
            "namespace": of("/metadata/namespace"),
            "operation": of("/operation"),
            "spec": of("/spec"),
            "uid": of("/metadata/uid"),
        }))
    };
    let all = json!([caller.unique(), essence(before), essence(after)]);
    Key(sha256_hex(&canonical_json(&all)))
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

    #[test]
    fn the_same_work_is_known_by_what_it_is_about() {
        let caller = |name: &str| Caller {
            subject: Subject::KubernetesUser { name: name.into() },
            issuer: "https://cluster".into(),
            groups: BTreeSet::new(),
            roles: BTreeSet::new(),
            expires_at: jiff::Timestamp::MAX,
        };
        let write = |revision: &str, version: &str| {
            json!({
                "metadata": {"name": "shop", "resourceVersion": version},
                "operation": {"sync": {"revision": revision, "dryRun": false}},
                "status": {"reconciledAt": version},
            })
        };
        let of = |name: &str, revision: &str, version: &str| {
            key(&caller(name), &Value::Null, &write(revision, version))
        };
        assert_eq!(of("ada", "x", "1"), of("ada", "x", "2"));
        assert_ne!(of("ada", "x", "1"), of("ada", "y", "1"));
        assert_ne!(of("ada", "x", "1"), of("bob", "x", "1"));
    }
}
