//! One request, one straight line.
//!
//! classify → authenticate → read → plan (with evidence) → decide → store the opening entry →
//! forward with the pinned commits → close the record. A stage that refuses gives a [`Rejection`],
//! which is recorded and answered in one place. What changes something runs on a task of its own
//! and finishes although the client leaves; a read ends with its client.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use tokio::sync::MutexGuard;

use crate::app::App;
use crate::argocd::classify::{Class, Classified, NonApi, Wire, classify};
use crate::argocd::framing;
use crate::argocd::operation::{Effect, Operation};
use crate::argocd::path::Query;
use crate::argocd::request::{self, Body as CallBody, Call};
use crate::argocd::table::{Answer, Handling, Kind};
use crate::body::{self, Body};
use crate::draft::Draft;
use crate::failpoint;
use crate::forward::{Channel, Detach, Outbound, Permission, Shape, filter};
use crate::hold::{self, Holds};
use crate::identity::reason::Reason;
use crate::identity::{Caller, SchemeOutcome};
use crate::issuer::{self, Lifetime};
use crate::listener::Connection;
use crate::names::DecisionId;
use crate::planner::{self, Plan};
use crate::policy::{Decision, Mode, Permitted, decide};
use crate::record::{Durability, Word};
use crate::respond::{self, About, Credential, Form, Rejection};
use crate::surface::Surface;
use crate::{
    break_glass, deployed, endpoint, extension, filtered, lease, local, own, rollout, terminal,
};

/// The longest message of somebody who is not signed in.
const ANONYMOUS_BYTES: usize = 64 << 10;

/// The permission that forwarding demands is the policies' own.
impl<T> Permission for Permitted<T> {}

/// Answers one request of the public listener.
pub async fn handle(
    app: Arc<App>,
    connection: Connection,
    request: Request<Body>,
) -> Response<Body> {
    let (uri, headers) = (request.uri(), request.headers());
    let surface = Surface::of(uri, headers, &connection, &app.endpoints);
    let mut draft = match surface {
        Surface::TestEndpoint(found) => {
            return endpoint::handle(app, connection, found, request).await;
        }
        Surface::ArgoCd | Surface::Own => Draft::begin(&app, &connection),
    };
    if let Surface::Own = surface {
        return own::handle(app, draft, request).await;
    }
    let (head, body) = request.into_parts();
    let class = match classify(&head.method, &head.uri, &head.headers) {
        Ok(class) => class,
        Err(error) => {
            draft.form = Form::of_content_type(&head.headers);
            let sentence = error.to_string();
            return draft
                .refuse(&app, Rejection::UnknownOperation { sentence })
                .await;
        }
    };
    match class {
        Class::NonApi {
            what,
            query,
            forward_path,
        } => {
            draft.operation(&format!("{what:?}"), Effect::Read, Form::Rest, "rest");
            let request = Request::from_parts(head, body);
            let answered =
                beside_api(&app, &mut draft, what, (&query, &forward_path), request).await;
            match answered {
                Ok(response) => response,
                Err(rejection) => draft.refuse(&app, rejection).await,
            }
        }
        Class::Api(classified) => {
            let effect = classified.operation.effect();
            draft.operation(
                classified.operation.name(),
                effect,
                form(classified.wire),
                wire_word(classified.wire),
            );
            let about = (draft.form, draft.decision());
            let line = api(Arc::clone(&app), draft, classified, head, body);
            if effect == Effect::Read {
                return line.await;
            }
            finished(&app, about, line).await
        }
    }
}

/// Runs what changes something to its end, and its record to its closing, although the client left;
/// only the hard signal of a stop cuts it.
pub(crate) async fn finished(
    app: &App,
    (form, decision): (Form, DecisionId),
    line: impl Future<Output = Response<Body>> + Send + 'static,
) -> Response<Body> {
    let cut = app.stop.hard.clone().run_until_cancelled_owned(line);
    let why = match app.tasks.spawn(cut).await {
        Ok(Some(response)) => return response,
        Ok(None) => "the gate was stopped".to_owned(),
        Err(error) => error.to_string(),
    };
    tracing::error!(%decision, why, "handling broke off");
    // It may have come as far as the upstream.
    let about = About {
        decision,
        link: None,
    };
    respond::reject(form, &Rejection::UpstreamFailed, about)
}

async fn api(
    app: Arc<App>,
    mut draft: Draft,
    classified: Classified,
    head: Parts,
    body: Body,
) -> Response<Body> {
    match api_line(&app, &mut draft, classified, head, body).await {
        Ok(response) => response,
        Err(rejection) => draft.refuse(&app, rejection).await,
    }
}

/// The line itself.
async fn api_line(
    app: &Arc<App>,
    draft: &mut Draft,
    classified: Classified,
    head: Parts,
    body: Body,
) -> Result<Response<Body>, Rejection> {
    let row = classified.operation.row();
    if let Handling::Refuse(sentence) = row.handling {
        return Err(Rejection::Policy {
            sentence: sentence.to_owned(),
        });
    }
    let caller = match row.handling {
        // What everybody may see does not depend on a credential, so a stale one is no obstacle:
        // the CLI asks for both before it renews its token.
        Handling::Answer(Answer::Version | Answer::Settings | Answer::UserInfo) => {
            authenticate(app, draft, &head.headers).await.ok().flatten()
        }
        _ => Some(
            authenticate(app, draft, &head.headers)
                .await?
                .ok_or_else(sign_in)?,
        ),
    };
    // Nobody is read at length before it is known who sends.
    let limit = if caller.is_some() {
        framing::MAX_MESSAGE_BYTES
    } else {
        ANONYMOUS_BYTES
    };
    let (body, rest) = read(&classified, body, limit).await?;
    let call = Call::parse(classified, &body).map_err(|error| bad_request(&error))?;
    let caller = match (row.handling, caller) {
        (Handling::Answer(answer), caller) => {
            return local::answer(app, draft, answer, caller.as_deref(), &call, head).await;
        }
        (_, caller) => caller.ok_or_else(sign_in)?,
    };
    draft.effect(call.effect());
    draft.call(&call);
    if let Some(plan) = planner::screen(app, &caller, &call).await? {
        let nothing = Holds::default();
        ask_held(app, draft, (&caller, call.wire), (&plan, &nothing), ())?;
    }
    let _lock = lock(app, &call).await?;
    let plan = planner::plan(app, &caller, &call).await?;
    let wire = call.wire;
    let permitted = ask(app, draft, &caller, &plan, wire, call).await?;
    send(
        app,
        draft,
        &caller,
        &plan,
        permitted,
        Remainder { head, rest },
    )
    .await
}

/// Waits until no other deploy of the same application is under way. Ending an operation must not
/// wait for the start of another.
async fn lock<'a>(app: &'a App, call: &Call) -> Result<Option<MutexGuard<'a, ()>>, Rejection> {
    let ends = call.operation == Operation::ApplicationTerminateOperation;
    match &call.app {
        Some(target) if call.effect() == Effect::Deploy && !ends => {
            let lock = app.lock(&target.app).await;
            lock.map(Some).ok_or_else(|| busy(&target.app))
        }
        _ => Ok(None),
    }
}

/// Who calls, if anybody. Notes the caller in the draft.
///
/// # Errors
/// [`Rejection::Unauthenticated`] for a credential that does not hold.
pub(crate) async fn authenticate(
    app: &App,
    draft: &mut Draft,
    headers: &HeaderMap,
) -> Result<Option<Arc<Caller>>, Rejection> {
    match app.identity.authenticate(headers).await {
        SchemeOutcome::Absent => Ok(None),
        SchemeOutcome::Verify(caller) => {
            draft.caller(&caller);
            Ok(Some(caller))
        }
        SchemeOutcome::Reject(reason) => Err(unauthenticated(draft, &reason)),
    }
}

/// Whether the credential that was verified when the call began counts still: a body and a plan may take long.
///
/// # Errors
/// [`Rejection::Unauthenticated`] if it does not.
pub(crate) async fn still_counts(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
) -> Result<(), Rejection> {
    let held = app.identity.sessions().holds(caller).await;
    held.map_err(|reason| unauthenticated(draft, &reason))
}

fn unauthenticated(draft: &mut Draft, reason: &Reason) -> Rejection {
    draft.note(reason.detail().unwrap_or_else(|| reason.code().to_owned()));
    Rejection::Unauthenticated {
        credential: Credential::Invalid(reason.code()),
        sentence: reason.to_string(),
    }
}

/// The refusal of a call without a credential.
pub(crate) fn sign_in() -> Rejection {
    Rejection::Unauthenticated {
        credential: Credential::Absent,
        sentence: "sign in first: argocd login --sso, or send a bearer token".to_owned(),
    }
}

/// The message of the request. Of a stream of messages it is the first, which names what the call
/// is about; the others pass as they come.
async fn read(
    classified: &Classified,
    body: Body,
    limit: usize,
) -> Result<(Bytes, Option<Body>), Rejection> {
    // The message and its frame.
    let limit = limit + 5;
    let row = classified.operation.row();
    if row.kind == Kind::ClientStream && classified.wire == Wire::Grpc {
        let read = body::head(body, limit, framing::first_frame_size).await;
        return read
            .map(|(first, rest)| (first, Some(rest)))
            .map_err(|error| unread(&error));
    }
    body::collect(body, limit)
        .await
        .map(|body| (body, None))
        .map_err(|error| unread(&error))
}

/// The refusal of a request whose body could not be read as a whole.
pub(crate) fn unread(error: &body::Error) -> Rejection {
    match error {
        body::Error::TooLarge { limit } => Rejection::TooLarge { limit: *limit },
        body::Error::Read(_) => Rejection::BadRequest {
            sentence: error.to_string(),
        },
    }
}

fn bad_request(error: &request::Error) -> Rejection {
    Rejection::BadRequest {
        sentence: crate::telemetry::chain(error),
    }
}

fn busy(application: &crate::names::AppRef) -> Rejection {
    Rejection::Conflict {
        sentence: format!("another change of {application} is being checked; try again"),
        next: None,
    }
}

/// Asks the policies about `plan`, for `call`, with what holds its environments at this moment. A refusal
/// tells of missing tests only where tests are all that is missing.
pub(crate) async fn ask<T>(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    plan: &Plan,
    wire: Wire,
    call: T,
) -> Result<Permitted<T>, Rejection> {
    still_counts(app, draft, caller).await?;
    let holds = hold::of_plan(app, plan).await?;
    ask_held(app, draft, (caller, wire), (plan, &holds), call)
}

fn ask_held<T>(
    app: &App,
    draft: &mut Draft,
    (caller, wire): (&Caller, Wire),
    (plan, holds): (&Plan, &Holds),
    call: T,
) -> Result<Permitted<T>, Rejection> {
    let policies = app.policies.current();
    let questions = plan.questions(caller, wire_word(wire), app.clock.now(), holds);
    draft.planned(plan, holds, &policies);
    match decide(&policies, &questions, call) {
        Decision::Allow(permitted) => {
            draft.permitted(&permitted);
            Ok(permitted)
        }
        Decision::Deny(denial) => {
            draft.denied(&denial);
            Err(crate::refusal::of(app, (plan, holds), caller, &denial))
        }
    }
}

/// What of a request is not in its [`Call`].
struct Remainder {
    head: Parts,
    /// Messages behind the first one.
    rest: Option<Body>,
}

/// Stores the opening entry, forwards, and sees to the closing one.
async fn send(
    app: &Arc<App>,
    draft: &mut Draft,
    caller: &Arc<Caller>,
    plan: &Plan,
    permitted: Permitted<Call>,
    remainder: Remainder,
) -> Result<Response<Body>, Rejection> {
    let effect = permitted.call().effect();
    let durability = if effect == Effect::Read {
        Durability::Queued
    } else {
        Durability::BeforeProceeding
    };
    let word = if permitted.observed().is_some() {
        Word::ObserveDeny
    } else {
        Word::Permit
    };
    let decision = draft.decision();
    let send_as = issuer::send_as(app, caller, decision, Lifetime::Call)?;
    let request = rewrite(draft, caller, plan, &permitted, remainder)?;
    let deploys = effect == Effect::Deploy;
    if deploys {
        deployed::permitted(app, decision, plan).await?;
        rollout::begun(app, decision, caller, plan).await?;
        break_glass::open(app, decision, caller, plan).await?;
    }
    let record = draft.open(app, word, durability).await?;
    failpoint::reach(failpoint::BEFORE_FORWARD).await;
    let row = permitted.call().operation.row();
    let streams = row.kind == Kind::ServerStream;
    let outbound = Outbound {
        channel: channel(permitted.call().wire),
        send_as,
        decision,
        detach: if effect == Effect::Read {
            Detach::No
        } else {
            Detach::Yes
        },
        shape: if streams {
            Shape::Stream
        } else {
            Shape::Message
        },
        until: streams.then(|| lease::of(app, caller, draft.noted())),
        on_end: Some(draft.on_end(app, record)),
    };
    let response = app.upstream.send(&permitted, outbound, request).await;
    let response = response.map_err(|error| {
        tracing::warn!(%decision, error = crate::telemetry::chain(&error), "not forwarded");
        Rejection::from(&error)
    })?;
    if deploys && has_succeeded(&response) {
        deployed::verify(app, decision, plan)
            .await
            .inspect_err(|rejection| draft.refused_late(rejection))?;
    }
    filtered::filter(app, caller, permitted.call(), response)
        .inspect_err(|rejection| draft.refused_late(rejection))
}

/// Whether the upstream has done what was asked: gRPC says no with an HTTP 200 and a status among the headers.
fn has_succeeded(response: &Response<Body>) -> bool {
    let status = response.headers().get("grpc-status");
    response.status().is_success() && status.is_none_or(|status| status == "0")
}

/// The request as it is sent on: path and body written anew from what was decided on; of the
/// headers only those that the forward room lets through.
fn rewrite(
    draft: &Draft,
    caller: &Caller,
    plan: &Plan,
    permitted: &Permitted<Call>,
    remainder: Remainder,
) -> Result<Request<Body>, Rejection> {
    let mut call = permitted.call().clone();
    if let CallBody::Sync(request) = &mut call.body {
        let only = plan.applications.first();
        let pinned = only.and_then(|planned| planned.plan.as_ref());
        let retry = only.and_then(|planned| planned.spec_retry.clone());
        let (decision, name) = (draft.decision(), caller.display());
        match pinned {
            Some(_) if only.is_some_and(|planned| planned.moving) => {
                request.unpin(retry, &decision, &name);
            }
            Some(pinned) if only.is_some_and(|planned| planned.mode == Mode::Enforce) => request
                .pin(
                    &pinned.sources,
                    pinned.multi_source,
                    retry,
                    &decision,
                    &name,
                )
                .map_err(|error| bad_request(&error))?,
            // A dry run that resolves to nothing, or an environment that only observes.
            _ => request.stamp(&decision, &name),
        }
    }
    let body = call.forward_body().map_err(|error| bad_request(&error))?;
    let Remainder { mut head, rest } = remainder;
    let path = match filtered::layout(call.operation) {
        Some(layout) => {
            filter::prepare_request(&mut head.headers);
            filtered::forward_path(layout, &call.forward_path)
        }
        None => call.forward_path,
    };
    head.uri = path.parse().map_err(|_| Rejection::Internal)?;
    head.headers.remove(CONTENT_LENGTH);
    let body = match rest {
        Some(rest) => body::chain(body, rest),
        None => body::full(body),
    };
    Ok(Request::from_parts(head, body))
}

/// What argocd-server serves beside its API: the web UI's files to anybody, without our credential; shells,
/// extensions and webhooks to who may; the rest is refused until there is a policy for it.
async fn beside_api(
    app: &Arc<App>,
    draft: &mut Draft,
    what: NonApi,
    (query, forward_path): (&Query, &str),
    request: Request<Body>,
) -> Result<Response<Body>, Rejection> {
    let sentence = match what {
        NonApi::UiAsset | NonApi::Healthz | NonApi::Download => {
            return local::file(app, draft, forward_path, request).await;
        }
        NonApi::AuthLogout => return draft.record(app, Word::Answer, local::logout()).await,
        NonApi::Extensions => return extension::call(app, draft, forward_path, request).await,
        NonApi::Terminal => {
            return terminal::open(app, draft, query, forward_path, request).await;
        }
        NonApi::Webhook => return extension::webhook(app, draft, forward_path, request).await,
        NonApi::AuthCallback | NonApi::AuthLogin | NonApi::Dex => {
            "this gate does not sign browsers in yet: sign in with argocd login --sso"
        }
        NonApi::Badge | NonApi::Swagger => "this part of Argo CD is not reachable through the gate",
    };
    Err(Rejection::UnknownOperation {
        sentence: sentence.to_owned(),
    })
}

fn form(wire: Wire) -> Form {
    match wire {
        Wire::Grpc => Form::Grpc,
        Wire::GrpcWeb => Form::GrpcWeb,
        Wire::Rest | Wire::RestStream => Form::Rest,
    }
}

/// In which form a call of this wire is sent on.
pub(crate) fn channel(wire: Wire) -> Channel {
    match wire {
        Wire::Grpc => Channel::Grpc,
        Wire::GrpcWeb => Channel::GrpcWeb,
        Wire::Rest | Wire::RestStream => Channel::Rest,
    }
}

/// How policies and records call a wire.
fn wire_word(wire: Wire) -> &'static str {
    match wire {
        Wire::Grpc => "grpc",
        Wire::GrpcWeb => "grpc-web",
        Wire::Rest | Wire::RestStream => "rest",
    }
}
