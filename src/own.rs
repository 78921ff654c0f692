//! The gate's own API under `/syncgate/v1/`: test runs, their preflight, the lines of environments, rollouts,
//! and the log.
//!
//! In: requests with the same credentials as Argo CD's API. Out: JSON, or RFC 9457 problem details.
//! Every call is a Cedar decision with a record, like any other. Cookies are not taken for what
//! changes something: a page of another site could send them.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, COOKIE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::argocd::classify::Wire;
use crate::argocd::operation::{Effect, Operation};
use crate::argocd::request::{AppTarget, Body as CallBody, Call, SyncRequest};
use crate::body::{self, Body};
use crate::config::Environment;
use crate::draft::Draft;
use crate::endpoint;
use crate::evidence::run::{self, MAX_BODY_BYTES};
use crate::evidence::service;
use crate::evidence::statement::Statement;
use crate::evidence::view::RunView;
use crate::identity::Caller;
use crate::names::{AppRef, Component, is_full_sha};
use crate::pipeline::{authenticate, finished, sign_in, still_counts, unread};
use crate::planner::{self, Planned};
use crate::policy::{Context, Decision, Denial, Question, Resource, decide};
use crate::preflight;
use crate::record::{self, Outcome, Word};
use crate::respond::{Form, Rejection, ok_json};
use crate::store::{DecisionFilter, RunFilter, RunId, Seq, SnapshotOf};

mod attestation;
mod break_glass;
mod line;
mod report;
mod rollout;
mod session;
mod snapshot;
pub(crate) mod token;
mod withdraw;

/// How many entries or runs a list gives unless asked for fewer.
const LIST: u32 = 100;
const BOTH: &str = "GET, POST";
const GET: &str = "GET";
const POST: &str = "POST";

/// What is asked for, by method and path.
enum Page {
    AbandonRollback(String),
    BreakGlass,
    ListBreakGlass,
    ShowBreakGlass(String),
    FinishRun(String),
    ListLines,
    ListLog,
    ListRollouts,
    ListRuns,
    ListSessions,
    OpenRollout,
    OpenRun,
    Preflight,
    ReportAttempts(String),
    ResumeRollback(String),
    RevokeSessions,
    ShowAttestation(String),
    ShowLog(String),
    ShowLogSnapshot(String),
    ShowRollout(String),
    ShowRun(String),
    ShowRunSnapshot(String),
    ShowStatement(String),
    StartLine(String),
    StopLine(String),
    TakeBack(String),
    WithdrawRun(String),
}

impl Page {
    fn of(method: &Method, path: &str) -> Result<Self, Rejection> {
        let rest = path.strip_prefix("/syncgate/v1/").unwrap_or_default();
        let segments: Vec<&str> = rest.split('/').collect();
        let (allowed, page) = match segments.as_slice() {
            ["break-glass"] if method == Method::POST => (BOTH, Self::BreakGlass),
            ["break-glass"] => (BOTH, Self::ListBreakGlass),
            ["break-glass", decision] => (GET, Self::ShowBreakGlass((*decision).to_owned())),
            ["lines"] => (GET, Self::ListLines),
            ["lines", line, "start"] => (POST, Self::StartLine((*line).to_owned())),
            ["lines", line, "stop"] => (POST, Self::StopLine((*line).to_owned())),
            ["log"] => (GET, Self::ListLog),
            ["log", decision] => (GET, Self::ShowLog((*decision).to_owned())),
            ["log", decision, "snapshot"] => (GET, Self::ShowLogSnapshot((*decision).to_owned())),
            ["preflight"] => (POST, Self::Preflight),
            ["rollouts"] if method == Method::POST => (BOTH, Self::OpenRollout),
            ["rollouts"] => (BOTH, Self::ListRollouts),
            ["rollouts", rollout] => (GET, Self::ShowRollout((*rollout).to_owned())),
            ["rollouts", rollout, "abandon"] => {
                (POST, Self::AbandonRollback((*rollout).to_owned()))
            }
            ["rollouts", rollout, "resume"] => (POST, Self::ResumeRollback((*rollout).to_owned())),
            ["rollouts", rollout, "rollback"] => (POST, Self::TakeBack((*rollout).to_owned())),
            ["runs"] if method == Method::POST => (BOTH, Self::OpenRun),
            ["runs"] => (BOTH, Self::ListRuns),
            ["runs", run] => (GET, Self::ShowRun((*run).to_owned())),
            ["runs", run, "attestation"] => (GET, Self::ShowAttestation((*run).to_owned())),
            ["runs", run, "attempts"] => (POST, Self::ReportAttempts((*run).to_owned())),
            ["runs", run, "finish"] => (POST, Self::FinishRun((*run).to_owned())),
            ["runs", run, "snapshot"] => (GET, Self::ShowRunSnapshot((*run).to_owned())),
            ["runs", run, "statement"] => (GET, Self::ShowStatement((*run).to_owned())),
            ["runs", run, "withdraw"] => (POST, Self::WithdrawRun((*run).to_owned())),
            ["sessions"] => (GET, Self::ListSessions),
            ["sessions", "revoke"] => (POST, Self::RevokeSessions),
            _ => {
                let sentence = "the gate has no such page; there are /syncgate/v1/runs, \
                                /syncgate/v1/preflight, /syncgate/v1/lines, /syncgate/v1/rollouts, \
                                /syncgate/v1/break-glass, /syncgate/v1/sessions, \
                                /syncgate/v1/token and /syncgate/v1/log";
                return Err(Rejection::NotFound {
                    sentence: sentence.to_owned(),
                });
            }
        };
        if allowed.split(", ").any(|one| one == method.as_str()) {
            Ok(page)
        } else {
            Err(Rejection::WrongMethod {
                allowed: allowed.into(),
            })
        }
    }

    /// The action that policies know, and its effect.
    fn action(&self) -> (&'static str, Effect) {
        match self {
            Self::ListLog | Self::ShowLog(_) | Self::ShowLogSnapshot(_) => {
                ("Log.read", Effect::Read)
            }
            Self::ListRuns
            | Self::ShowAttestation(_)
            | Self::ShowRun(_)
            | Self::ShowRunSnapshot(_)
            | Self::ShowStatement(_) => ("Run.read", Effect::Read),
            Self::FinishRun(_) | Self::OpenRun | Self::ReportAttempts(_) => {
                ("Run.report", Effect::Report)
            }
            Self::BreakGlass => (crate::break_glass::OPEN, Effect::Deploy),
            Self::ListBreakGlass | Self::ShowBreakGlass(_) => ("BreakGlass.read", Effect::Read),
            Self::ListLines => ("Line.read", Effect::Read),
            Self::StartLine(_) => ("Line.start", Effect::Write),
            Self::StopLine(_) => ("Line.stop", Effect::Write),
            Self::AbandonRollback(_) => ("Rollout.abandon", Effect::Write),
            Self::ListRollouts | Self::ShowRollout(_) => ("Rollout.read", Effect::Read),
            Self::OpenRollout => (crate::rollout::OPEN, Effect::Deploy),
            Self::ResumeRollback(_) | Self::TakeBack(_) => (crate::rollout::ASK, Effect::Deploy),
            Self::Preflight => (preflight::ACTION, Effect::Read),
            Self::ListSessions => ("Session.read", Effect::Read),
            Self::RevokeSessions => ("Session.revoke", Effect::Write),
            Self::WithdrawRun(_) => ("Run.withdraw", Effect::Write),
        }
    }

    /// Whether it does more than to answer. A preflight makes the gate ask others.
    fn acts(&self) -> bool {
        self.action().1 != Effect::Read || matches!(self, Self::Preflight)
    }
}

/// The document at `path` that is for anybody, and what the record calls reading it.
fn document(app: &App, path: &str) -> Option<(&'static str, Value)> {
    if path == endpoint::KEYS {
        return Some(("Endpoint.keys", endpoint::key_set(app)));
    }
    let document = app.issuer.as_ref()?.document(path);
    document.map(|document| ("Issuer.read", document))
}

/// Gives `document` to anybody who reads it, good for a minute.
async fn publish(
    app: &App,
    draft: &mut Draft,
    method: &Method,
    document: &Value,
) -> Result<Response<Body>, Rejection> {
    if *method != Method::GET && *method != Method::HEAD {
        return Err(Rejection::WrongMethod {
            allowed: "GET, HEAD".into(),
        });
    }
    let bytes = document.to_string().into_bytes();
    let mut response = ok_json(StatusCode::OK, bytes, draft.decision());
    let minute = HeaderValue::from_static("public, max-age=60");
    response.headers_mut().insert(CACHE_CONTROL, minute);
    draft.record(app, Word::Answer, response).await
}

/// Answers one request of our own API.
pub(crate) async fn handle(
    app: Arc<App>,
    mut draft: Draft,
    request: Request<Body>,
) -> Response<Body> {
    draft.form = Form::Own;
    if let Some((operation, document)) = document(&app, request.uri().path()) {
        draft.operation(operation, Effect::Read, Form::Own, "own");
        return match publish(&app, &mut draft, request.method(), &document).await {
            Ok(response) => response,
            Err(rejection) => draft.refuse(&app, rejection).await,
        };
    }
    if let Some(page) = token::Page::of(request.uri().path()) {
        let (action, effect) = page.action();
        draft.operation(action, effect, token::ANSWERS, "own");
        let about = (token::ANSWERS, draft.decision());
        let task = {
            let app = Arc::clone(&app);
            async move {
                match token::answer(&app, &mut draft, page, request).await {
                    Ok(response) => response,
                    Err(rejection) => draft.refuse(&app, rejection).await,
                }
            }
        };
        return finished(&app, about, task).await;
    }
    let (head, body) = request.into_parts();
    let page = match Page::of(&head.method, head.uri.path()) {
        Ok(page) => page,
        Err(rejection) => return draft.refuse(&app, rejection).await,
    };
    let (action, effect) = page.action();
    draft.operation(action, effect, Form::Own, "own");
    let acts = page.acts();
    let about = draft.decision();
    let task = {
        let app = Arc::clone(&app);
        async move {
            match answered(&app, &mut draft, page, head, body).await {
                Ok(response) => response,
                Err(rejection) => draft.refuse(&app, rejection).await,
            }
        }
    };
    if !acts {
        return task.await;
    }
    // What has begun is stored whole, although the caller left.
    finished(&app, (Form::Own, about), task).await
}

async fn answered(
    app: &App,
    draft: &mut Draft,
    page: Page,
    head: Parts,
    body: Body,
) -> Result<Response<Body>, Rejection> {
    let caller = authenticate(app, draft, &head.headers);
    let caller = match page {
        Page::Preflight => preflight::soon(caller).await,
        _ => caller.await,
    };
    let caller = caller?.ok_or_else(sign_in)?;
    if page.acts() && head.headers.contains_key(COOKIE) {
        let sentence = "send the token in the header Authorization, without cookies";
        return Err(Rejection::BadRequest {
            sentence: sentence.to_owned(),
        });
    }
    let body = body::collect(body, MAX_BODY_BYTES).await;
    let body = body.map_err(|error| unread(&error))?;
    still_counts(app, draft, &caller).await?;
    match page {
        Page::BreakGlass => Box::pin(break_glass::open(app, draft, &caller, &body)).await,
        Page::ListBreakGlass => break_glass::list(app, draft, &caller).await,
        Page::ShowBreakGlass(decision) => break_glass::show(app, draft, &caller, &decision).await,
        Page::ListLines => line::list(app, draft, &caller).await,
        Page::StartLine(line) => line::start(app, draft, &caller, &line, &body).await,
        Page::StopLine(line) => line::stop(app, draft, &caller, &line, &body).await,
        Page::ListLog => list_log(app, draft, &caller, &head).await,
        Page::ShowLog(decision) => show_log(app, draft, &caller, &decision).await,
        Page::ShowLogSnapshot(decision) => {
            snapshot::of_deploy(app, draft, &caller, &decision).await
        }
        Page::ListRuns => list_runs(app, draft, &caller, &head).await,
        Page::ShowRun(run) => show_run(app, draft, &caller, &run).await,
        Page::ShowRunSnapshot(run) => snapshot::of_run(app, draft, &caller, &run).await,
        Page::ShowAttestation(run) => attestation::show(app, draft, &caller, &run).await,
        Page::ShowStatement(run) => show_statement(app, draft, &caller, &run).await,
        Page::ListRollouts => rollout::list(app, draft, &caller, &head).await,
        Page::ShowRollout(decision) => rollout::show(app, draft, &caller, &decision).await,
        Page::OpenRollout => Box::pin(rollout::open(app, draft, &caller, &body)).await,
        Page::TakeBack(decision) => {
            Box::pin(rollout::take_back(app, draft, &caller, &decision, &body)).await
        }
        Page::ResumeRollback(decision) => {
            Box::pin(rollout::resume(app, draft, &caller, &decision)).await
        }
        Page::AbandonRollback(decision) => rollout::abandon(app, draft, &caller, &decision).await,
        Page::OpenRun => Box::pin(report::open(app, draft, &caller, &head, &body)).await,
        Page::ReportAttempts(run) => {
            Box::pin(report::attempts(app, draft, &caller, &run, &body)).await
        }
        Page::FinishRun(run) => Box::pin(report::finish(app, draft, &caller, &run, &body)).await,
        Page::Preflight => preflight::answer(app, draft, &caller, &body).await,
        Page::ListSessions => session::list(app, draft, &caller).await,
        Page::RevokeSessions => session::revoke(app, draft, &caller, &body).await,
        Page::WithdrawRun(run) => withdraw::withdraw(app, draft, &caller, &run, &body).await,
    }
}

/// The application of `planned`, to be asked about.
pub(crate) fn about(planned: &Planned) -> Resource<'_> {
    Resource::Application(&planned.facts)
}

/// Asks the policies about one resource.
pub(crate) fn decided(
    app: &App,
    caller: &Caller,
    action: &str,
    resource: Resource<'_>,
) -> Decision<()> {
    let context = Context::plain(app.clock.now(), "own");
    let question = Question {
        caller,
        action,
        resource,
        context,
    };
    decide(&app.policies.current(), &[question], ())
}

/// Whether the policies let `caller` do `action`, where nothing but the answer matters.
fn may(app: &App, caller: &Caller, action: &str, resource: Resource<'_>) -> bool {
    matches!(decided(app, caller, action, resource), Decision::Allow(_))
}

/// As [`decided`], into the draft; a denial is a refusal.
pub(crate) fn ask(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    action: &str,
    resource: Resource<'_>,
) -> Result<(), Rejection> {
    draft.policies(&app.policies.current());
    match decided(app, caller, action, resource) {
        Decision::Allow(permitted) => {
            draft.permitted(&permitted);
            Ok(())
        }
        Decision::Deny(denial) => {
            draft.denied(&denial);
            let (what, advice) = denied(caller, action, resource, &denial);
            let separator = if advice.is_empty() { "" } else { ": " };
            let sentence = format!("{what}{separator}{advice}");
            Err(Rejection::Policy { sentence })
        }
    }
}

/// What a caller is told of a denial, and what would help.
pub(crate) fn denied(
    caller: &Caller,
    action: &str,
    resource: Resource<'_>,
    denial: &Denial,
) -> (String, String) {
    let about = match resource {
        Resource::Application(application) => format!(" for {}", application.app.name),
        Resource::Environment(environment) => format!(" for {environment}"),
        Resource::ArgoCd | Resource::Endpoint(_) | Resource::Gate => String::new(),
    };
    let what = format!("{action}{about} refused for {}", caller.display());
    (what, denial.advice().join(", or "))
}

async fn list_log(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    head: &Parts,
) -> Result<Response<Body>, Rejection> {
    ask(app, draft, caller, "Log.read", Resource::Gate)?;
    let mut filter = DecisionFilter {
        limit: LIST,
        ..DecisionFilter::default()
    };
    for (key, value) in query(head) {
        match key.as_str() {
            "application" => filter.application = Some(value),
            "application_namespace" => filter.application_namespace = Some(value),
            "commit" => filter.commit = Some(full_sha(&key, value)?),
            "operation" => filter.operation = Some(value),
            "before" => filter.before = Some(Seq(number(&key, &value)?)),
            "limit" => filter.limit = limit(&key, &value)?,
            _ => return Err(unknown_parameter(&key)),
        }
    }
    let list = record::view::list(&app.store, filter)
        .await
        .map_err(|error| internal(&error))?;
    answer(app, draft, StatusCode::OK, &list).await
}

async fn show_log(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    decision: &str,
) -> Result<Response<Body>, Rejection> {
    ask(app, draft, caller, "Log.read", Resource::Gate)?;
    let missing = || Rejection::NotFound {
        sentence: "there is no such decision".to_owned(),
    };
    let id = ulid::Ulid::from_string(decision).map_err(|_| missing())?;
    let decision = crate::names::DecisionId(id);
    let mut entry = record::view::show(&app.store, decision)
        .await
        .map_err(|error| internal(&error))?
        .ok_or_else(missing)?;
    let failed = app.store.snapshot(SnapshotOf::Deploy(decision)).await;
    if failed.map_err(|error| internal(&error))?.is_some() {
        entry.snapshot = Some(format!("{}/snapshot", app.link(decision)));
    }
    answer(app, draft, StatusCode::OK, &entry).await
}

async fn list_runs(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    head: &Parts,
) -> Result<Response<Body>, Rejection> {
    let mut filter = RunFilter {
        limit: LIST,
        ..RunFilter::default()
    };
    for (key, value) in query(head) {
        match key.as_str() {
            "application" => filter.application = Some(value),
            "application_namespace" => filter.application_namespace = Some(value),
            "component" => filter.component = Some(parsed(&key, value)?),
            "environment" => filter.environment = Some(parsed(&key, value)?),
            "suite" => filter.suite = Some(parsed(&key, value)?),
            "commit" => filter.commit = Some(parsed(&key, value)?),
            "limit" => filter.limit = limit(&key, &value)?,
            _ => return Err(unknown_parameter(&key)),
        }
    }
    let runs = app
        .runs
        .list(filter)
        .await
        .map_err(|error| report_refused(&error))?;
    let mut readable = Vec::new();
    let mut known: Vec<(AppRef, bool)> = Vec::new();
    for run in runs {
        let application = AppRef {
            namespace: run.application_namespace.clone(),
            name: run.application.clone(),
        };
        let may = if let Some((_, may)) = known.iter().find(|(known, _)| *known == application) {
            *may
        } else {
            let may = may_read(app, caller, &application).await;
            known.push((application, may));
            may
        };
        if may {
            readable.push(run);
        }
    }
    answer(app, draft, StatusCode::OK, &json!({ "runs": readable })).await
}

/// Whether `caller` may read the runs of `application`. One that Argo CD does not give may not be.
async fn may_read(app: &App, caller: &Caller, application: &AppRef) -> bool {
    match planner::known(app, caller, "Run.read", application).await {
        Ok(planned) => may(app, caller, "Run.read", about(&planned)),
        Err(_) => false,
    }
}

async fn show_run(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    run: &str,
) -> Result<Response<Body>, Rejection> {
    let (id, mut view) = readable(app, draft, caller, run).await?;
    let application = AppRef {
        namespace: view.summary.application_namespace.clone(),
        name: view.summary.application.clone(),
    };
    let rollback = crate::rollout::because_of(app, &application, id).await;
    view.rollback = rollback.map_err(|error| internal(&error))?;
    answer(app, draft, StatusCode::OK, &view).await
}

async fn show_statement(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    run: &str,
) -> Result<Response<Body>, Rejection> {
    let (_, view) = readable(app, draft, caller, run).await?;
    let url = format!("{}syncgate/v1/runs/{}", app.config.url, view.summary.run);
    let statement = Statement::of(&view, url).map_err(|error| Rejection::Report {
        code: error.code(),
        sentence: error.to_string(),
        passes: false,
    })?;
    answer(app, draft, StatusCode::OK, &statement).await
}

/// The run, if the caller may read it.
async fn readable(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    run: &str,
) -> Result<(RunId, RunView), Rejection> {
    let missing = || Rejection::NotFound {
        sentence: "there is no such run, or you may not see it".to_owned(),
    };
    let id = RunId(ulid::Ulid::from_string(run).map_err(|_| missing())?);
    let view = app
        .runs
        .show(id)
        .await
        .map_err(|error| report_refused(&error))?;
    let view = view.ok_or_else(missing)?;
    let application = AppRef {
        namespace: view.summary.application_namespace.clone(),
        name: view.summary.application.clone(),
    };
    draft.facts(vec![application.clone()], Value::Null);
    if !may_read(app, caller, &application).await {
        return Err(missing());
    }
    Ok((id, view))
}

/// Where a report about `planned`, called `application` by its reporter, belongs.
pub(crate) fn placed<'a>(
    app: &'a App,
    planned: &Planned,
    application: &AppRef,
) -> Result<(&'a Environment, Component), Rejection> {
    let environment = planner::environment(app, &planned.facts).ok_or_else(|| {
        let name = &planned.facts.environment;
        Rejection::BadRequest {
            sentence: format!("{application} is {name}: it must belong to exactly one environment"),
        }
    })?;
    let component = Component::parse(planned.facts.component.clone()).map_err(|_| {
        let sentence = format!("{application} has no component by the rule of its environment");
        Rejection::BadRequest { sentence }
    })?;
    Ok((environment, component))
}

/// Why what was permitted was not done.
struct Failed {
    /// As the record has it.
    code: String,
    /// As the caller is told.
    rejection: Rejection,
}

impl From<Rejection> for Failed {
    fn from(rejection: Rejection) -> Self {
        let code = rejection.word().to_owned();
        Self { code, rejection }
    }
}

/// The sync of an application by `body`, as the API would take it: for what is decided as that sync would be.
fn sync_call(name: &str, namespace: Option<&String>, body: Value) -> Result<Call, Rejection> {
    let request = SyncRequest::from_json(name, Some(body));
    let request = request.map_err(|error| Rejection::BadRequest {
        sentence: crate::telemetry::chain(&error),
    })?;
    Ok(Call {
        operation: Operation::ApplicationSync,
        wire: Wire::Rest,
        app: Some(AppTarget {
            app: AppRef {
                namespace: namespace.cloned(),
                name: name.to_owned(),
            },
            project: None,
        }),
        child: None,
        refresh: false,
        forward_path: String::new(),
        body: CallBody::Sync(Box::new(request)),
    })
}

/// Puts on record that `work` is permitted, does it, and answers with what comes of it.
async fn recorded<T: Serialize>(
    app: &App,
    draft: &mut Draft,
    status: StatusCode,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<Response<Body>, Rejection> {
    let record = draft.open(app, Word::Permit, draft.durability()).await?;
    let done = work.await.and_then(|value| {
        let json = serde_json::to_vec(&value).map_err(|error| internal(&error))?;
        Ok(ok_json(status, json, draft.decision()))
    });
    match done {
        Ok(response) => Ok(draft.answered(record, response).await),
        Err(Failed { code, rejection }) => {
            record.close(Outcome::Refused { code }).await;
            Err(rejection)
        }
    }
}

pub(crate) async fn answer<T: Serialize>(
    app: &App,
    draft: &mut Draft,
    status: StatusCode,
    value: &T,
) -> Result<Response<Body>, Rejection> {
    let json = serde_json::to_vec(value).map_err(|error| internal(&error))?;
    let response = ok_json(status, json, draft.decision());
    draft.record(app, Word::Permit, response).await
}

fn report_refused(error: &service::Error) -> Rejection {
    let sentence = error.to_string();
    match error {
        service::Error::Gap { next, .. } => Rejection::Conflict {
            sentence,
            next: Some(*next),
        },
        service::Error::Invalid(_) | service::Error::TooMany { .. } => {
            Rejection::BadRequest { sentence }
        }
        service::Error::NoSuchRun { .. } => Rejection::NotFound { sentence },
        service::Error::Attestation(_)
        | service::Error::KeyReused { .. }
        | service::Error::NotEnded { .. }
        | service::Error::OtherEnvironment { .. }
        | service::Error::Over { .. }
        | service::Error::StillReporting { .. } => Rejection::Report {
            code: error.code(),
            sentence,
            passes: false,
        },
        service::Error::Store(crate::store::Error::Behind { .. }) => Rejection::RecordBehind,
        service::Error::Store(_) | service::Error::Verifying => internal(error),
    }
}

fn internal(error: &dyn std::error::Error) -> Rejection {
    tracing::error!(error = crate::telemetry::chain(error), "our own API failed");
    Rejection::Internal
}

pub(crate) fn invalid(error: &run::Invalid) -> Rejection {
    Rejection::BadRequest {
        sentence: error.to_string(),
    }
}

fn query(head: &Parts) -> Vec<(String, String)> {
    let query = head.uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

fn unknown_parameter(key: &str) -> Rejection {
    Rejection::BadRequest {
        sentence: format!("`{key}` is not a parameter of this page"),
    }
}

fn parsed<T: TryFrom<String>>(key: &str, value: String) -> Result<T, Rejection>
where
    T::Error: std::fmt::Display,
{
    T::try_from(value).map_err(|error| Rejection::BadRequest {
        sentence: format!("`{key}`: {error}"),
    })
}

fn number(key: &str, value: &str) -> Result<u64, Rejection> {
    value.parse().map_err(|_| Rejection::BadRequest {
        sentence: format!("`{key}` is not a number"),
    })
}

fn full_sha(key: &str, value: String) -> Result<String, Rejection> {
    if is_full_sha(&value) {
        return Ok(value);
    }
    let sentence = format!("`{key}` must be a full commit, 40 hexadecimal digits");
    Err(Rejection::BadRequest { sentence })
}

fn limit(key: &str, value: &str) -> Result<u32, Rejection> {
    let limit = number(key, value)?;
    u32::try_from(limit)
        .ok()
        .filter(|limit| (1..=crate::store::MAX_ROWS).contains(limit))
        .ok_or_else(|| Rejection::BadRequest {
            sentence: format!("`{key}` must be from 1 to {}", crate::store::MAX_ROWS),
        })
}
