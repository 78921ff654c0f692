//! Answers that the gate gives itself: version, settings, who the caller is, what they may do; and
//! the files of the web UI, which everybody may have.
//!
//! None of them tells anything about the upstream's own sign-in or the gate's account there. The
//! anonymous get the version, and settings with the gate's sign-in; so do those whose credential has
//! expired, since the CLI asks for both before it renews it.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};

use crate::app::App;
use crate::argocd::answers::{self, SignIn};
use crate::argocd::classify::Wire;
use crate::argocd::framing;
use crate::argocd::operation::Operation;
use crate::argocd::request::{Body as CallBody, Call};
use crate::argocd::table::Answer;
use crate::body::{self, Body};
use crate::config::IssuerKind;
use crate::draft::Draft;
use crate::forward::{Channel, Detach, Outbound, Permission, SendAs, Shape};
use crate::identity::Caller;
use crate::issuer::{self, Lifetime};
use crate::names::AppRef;
use crate::planner;
use crate::policy::{Context, Deploying, FindingWord, Mode, Question, Resource, SyncOptions};
use crate::record::{Durability, Word};
use crate::respond::{self, Rejection};

/// The longest answer with settings that is read.
const SETTINGS_BYTES: usize = 16 << 20;

/// The permission for what everybody may have (the version, the UI's files, settings: what of the
/// settings is for the signed-in, the policies have been asked about).
struct Public;

impl Permission for Public {}

/// Answers one of the calls that are the gate's own to answer.
///
/// # Errors
/// [`Rejection`] when nobody is signed in where somebody must be, or Argo CD cannot be asked.
pub(crate) async fn answer(
    app: &App,
    draft: &mut Draft,
    answer: Answer,
    caller: Option<&Caller>,
    call: &Call,
    head: Parts,
) -> Result<Response<Body>, Rejection> {
    let wire = call.wire;
    let bytes = match answer {
        Answer::CanI => {
            let caller = caller.ok_or_else(crate::pipeline::sign_in)?;
            answers::can_i(wire, can_i(app, caller, call).await)
        }
        Answer::Settings => settings(app, draft, caller, call, head).await?,
        Answer::UserInfo => answers::user_info(wire, caller),
        Answer::Version => {
            let version = public(app, "/api/version").await?;
            answers::version(wire, crate::json::text(&version, "/Version"))
        }
    };
    let decision = draft.decision();
    let response = match wire {
        Wire::Grpc => respond::ok_grpc(&bytes, decision),
        Wire::GrpcWeb => respond::ok_grpc_web(&bytes, decision),
        Wire::Rest | Wire::RestStream => respond::ok_json(StatusCode::OK, bytes, decision),
    };
    draft.record(app, Word::Answer, response).await
}

async fn public(app: &App, path: &str) -> Result<serde_json::Value, Rejection> {
    app.argocd.public(path).await.map_err(|error| {
        tracing::warn!(
            error = crate::telemetry::chain(&error),
            "Argo CD cannot be asked"
        );
        Rejection::UpstreamUnreachable
    })
}

/// The upstream's settings with our sign-in laid over them: what it tells everybody, or for those who
/// may read settings, what it tells the signed-in (the CLI compares and renders by them).
async fn settings(
    app: &App,
    draft: &Draft,
    caller: Option<&Caller>,
    call: &Call,
    mut head: Parts,
) -> Result<Vec<u8>, Rejection> {
    let wire = call.wire;
    let trusted = caller.filter(|caller| may_read_settings(app, caller));
    let body = call.forward_body().map_err(|_| Rejection::Internal)?;
    head.uri = call.forward_path.parse().map_err(|_| Rejection::Internal)?;
    head.headers.remove(CONTENT_LENGTH);
    head.headers
        .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let outbound = Outbound {
        channel: crate::pipeline::channel(wire),
        send_as: match trusted {
            Some(caller) => issuer::send_as(app, caller, draft.decision(), Lifetime::Call)?,
            None => SendAs::Nobody,
        },
        decision: draft.decision(),
        detach: Detach::No,
        shape: Shape::Message,
        until: None,
        on_end: None,
    };
    let request = Request::from_parts(head, body::full(body));
    let failed = |error: &dyn std::error::Error| {
        tracing::error!(
            error = crate::telemetry::chain(error),
            "settings cannot be read"
        );
        Rejection::UpstreamFailed
    };
    let response = app.upstream.send(&Public, outbound, request).await;
    let response = response.map_err(|error| Rejection::from(&error))?;
    let bytes = body::collect(response.into_body(), SETTINGS_BYTES)
        .await
        .map_err(|e| failed(&e))?;
    let upstream = match wire {
        Wire::Grpc => framing::read_message(&bytes, SETTINGS_BYTES).map_err(|e| failed(&e))?,
        // A trailer frame stands behind the message.
        Wire::GrpcWeb => {
            framing::read_first_message(&bytes, SETTINGS_BYTES)
                .map_err(|e| failed(&e))?
                .0
        }
        Wire::Rest | Wire::RestStream => &bytes,
    };
    answers::settings(wire, upstream, &sign_in(app)).map_err(|error| failed(&error))
}

fn may_read_settings(app: &App, caller: &Caller) -> bool {
    let context = Context::plain(app.clock.now(), "rest");
    let action = Operation::SettingsGet.name();
    let question = Question {
        caller,
        action,
        resource: Resource::ArgoCd,
        context,
    };
    app.policies.current().answer(&question).allowed
}

/// How to sign in at this gate: through the first OpenID Connect issuer of the configuration.
fn sign_in(app: &App) -> SignIn {
    let url = app.config.url.as_str().trim_end_matches('/').to_owned();
    let oidc = app
        .config
        .issuers
        .iter()
        .find_map(|issuer| match &issuer.kind {
            IssuerKind::Oidc {
                cli_client_id,
                ui_client_id,
                scopes,
                name,
                ..
            } => Some(SignIn {
                url: url.clone(),
                name: name.clone(),
                issuer: issuer.issuer.clone(),
                client_id: ui_client_id
                    .clone()
                    .unwrap_or_else(|| cli_client_id.clone()),
                cli_client_id: cli_client_id.clone(),
                scopes: scopes.clone(),
                enable_pkce: true,
            }),
            IssuerKind::Ci { .. } | IssuerKind::Kubernetes { .. } => None,
        });
    oidc.unwrap_or(SignIn {
        url,
        name: String::new(),
        issuer: String::new(),
        client_id: String::new(),
        cli_client_id: String::new(),
        scopes: Vec::new(),
        enable_pkce: false,
    })
}

/// Whether the policies would permit what Argo CD's `can-i` asks about. Where it names no single
/// application, or a right that only Argo CD's own RBAC knows, the answer is no.
async fn can_i(app: &App, caller: &Caller, call: &Call) -> bool {
    let CallBody::CanI(asked) = &call.body else {
        return false;
    };
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (resource, action) = (text(&asked.resource), text(&asked.action));
    let operation = match (resource.as_str(), action.as_str()) {
        ("applications", "get") => Operation::ApplicationGet,
        ("applications", "sync") => Operation::ApplicationSync,
        ("applications", "update") => Operation::ApplicationUpdate,
        ("applications", "delete") => Operation::ApplicationDelete,
        ("logs", "get") => Operation::ApplicationPodLogs,
        _ => return false,
    };
    let subresource = text(&asked.subresource);
    let parts: Vec<&str> = subresource.split('/').collect();
    let (project, named) = match parts.as_slice() {
        [project, name] => (
            *project,
            AppRef {
                namespace: None,
                name: (*name).to_owned(),
            },
        ),
        [project, namespace, name] => (
            *project,
            AppRef {
                namespace: Some((*namespace).to_owned()),
                name: (*name).to_owned(),
            },
        ),
        _ => return false,
    };
    let Ok(planned) = planner::known(app, caller, operation.name(), &named).await else {
        return false;
    };
    let sync = SyncOptions::belong_to(operation.name()).then(SyncOptions::default);
    // Whether tests have passed, or something holds the environment now, is not what `can-i` asks.
    let finding = if sync.is_some() {
        FindingWord::Satisfied
    } else {
        FindingWord::None
    };
    let context = Context {
        finding,
        now: app.clock.now(),
        wire: "rest",
        mode: Mode::Enforce,
        sync,
        deploy: Deploying::freely(operation.name()),
    };
    let question = Question {
        caller,
        action: operation.name(),
        resource: Resource::Application(&planned.facts),
        context,
    };
    planned.facts.project == project && app.policies.current().permits(&question)
}

/// A file of the web UI, or the like: sent on without any credential.
///
/// # Errors
/// [`Rejection`] when Argo CD cannot be asked.
pub(crate) async fn file(
    app: &Arc<App>,
    draft: &mut Draft,
    forward_path: &str,
    request: Request<Body>,
) -> Result<Response<Body>, Rejection> {
    let (mut head, _) = request.into_parts();
    head.uri = forward_path.parse().map_err(|_| Rejection::Internal)?;
    let record = draft.open(app, Word::Answer, Durability::Queued).await?;
    let outbound = Outbound {
        channel: Channel::Rest,
        send_as: SendAs::Nobody,
        decision: draft.decision(),
        detach: Detach::No,
        shape: Shape::Message,
        until: None,
        on_end: Some(draft.on_end(app, record)),
    };
    let request = Request::from_parts(head, body::empty());
    app.upstream
        .send(&Public, outbound, request)
        .await
        .map_err(|error| {
            tracing::warn!(error = crate::telemetry::chain(&error), "not forwarded");
            Rejection::from(&error)
        })
}

/// Ends a session of the CLI or UI here: there is none but the token, which they forget.
#[must_use]
pub(crate) fn logout() -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static("/"));
    let gone = "argocd.token=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax";
    headers.insert(SET_COOKIE, HeaderValue::from_static(gone));
    response
}
