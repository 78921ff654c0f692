//! One request to an endpoint under test: authenticate → find → decide → store the opening entry →
//! forward → close the record.

use std::sync::Arc;

use http::header::{CONNECTION, COOKIE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::Value;

use super::assertion::{Signer, Statement};
use super::location::Redirects;
use super::place::Found;
use super::upstream::{Errand, Manner, manner};
use super::{Endpoint, READ, WRITE};
use crate::app::App;
use crate::argocd::operation::Effect;
use crate::body::Body;
use crate::config::Place;
use crate::draft::Draft;
use crate::forward::{self, request};
use crate::identity::Caller;
use crate::lease;
use crate::listener::Connection;
use crate::pipeline::authenticate;
use crate::policy::{
    Context, Decision, Denial, EndpointFacts, Policies, Question, Resource, decide,
};
use crate::record::Word;
use crate::respond::{Credential, Form, Rejection};
use crate::telemetry::chain;

/// Answers one request that is for the test door.
pub(crate) async fn handle(
    app: Arc<App>,
    connection: Connection,
    found: Found<Endpoint>,
    request: Request<Body>,
) -> Response<Body> {
    let mut draft = Draft::at_endpoint(&app, &connection);
    let spoken = manner(request.method(), request.version(), request.headers());
    let (action, effect) = action(request.method(), spoken.as_ref().ok());
    let (form, wire) = match Form::of_content_type(request.headers()) {
        Form::Grpc => (Form::Grpc, "grpc"),
        Form::GrpcWeb => (Form::GrpcWeb, "grpc-web"),
        Form::OAuth | Form::Own | Form::Rest => (Form::Own, "rest"),
    };
    draft.operation(action, effect, form, wire);
    let asked = Asked {
        connection,
        found,
        spoken,
        action,
        wire,
    };
    let websocket = matches!(asked.spoken, Ok(Manner::Websocket));
    let mut response = match line(&app, &mut draft, asked, request).await {
        Ok(response) => response,
        Err(rejection) => draft.refuse(&app, rejection).await,
    };
    if websocket && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // What the client sends as websocket must not be taken for a next request.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// What is known of a request before anything is decided.
struct Asked {
    connection: Connection,
    found: Found<Endpoint>,
    spoken: Result<Manner, forward::Error>,
    action: &'static str,
    wire: &'static str,
}

/// A websocket begins with a GET, and then carries whatever either side likes.
fn action(method: &Method, manner: Option<&Manner>) -> (&'static str, Effect) {
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS if manner != Some(&Manner::Websocket) => {
            (READ, Effect::Read)
        }
        _ => (WRITE, Effect::Write),
    }
}

/// The line itself: authenticate, find, decide, record, forward.
async fn line(
    app: &Arc<App>,
    draft: &mut Draft,
    asked: Asked,
    mut request: Request<Body>,
) -> Result<Response<Body>, Rejection> {
    // SECURITY: no cookie signs anybody in here; see the head of this module.
    request.headers_mut().remove(COOKIE);
    let caller = authenticate(app, draft, request.headers()).await?;
    let caller = caller.ok_or_else(|| Rejection::Unauthenticated {
        credential: Credential::Absent,
        sentence: "sign in first: send a bearer token in the header Authorization".to_owned(),
    })?;
    let (endpoint, place) = place(draft, asked.found)?;
    let spoken = asked.spoken.map_err(|error| Rejection::from(&error))?;
    let facts = endpoint.facts(request.method(), &place.read);
    draft.facts(
        Vec::new(),
        serde_json::json!({
            "endpoint": facts.name, "environment": facts.environment, "method": facts.method,
            "path": facts.path,
        }),
    );
    takes(&endpoint, request.method())?;
    let policies = app.policies.current();
    draft.policies(&policies);
    let question = (asked.action, asked.wire, facts);
    let permitted = match questioned(app, &policies, &caller, question) {
        Decision::Allow(permitted) => permitted,
        Decision::Deny(denial) => {
            draft.denied(&denial);
            return Err(refused(&endpoint, &caller, asked.action, &denial));
        }
    };
    draft.permitted(&permitted);
    let host = request::host(request.headers(), request.uri());
    let redirects = endpoint.redirects(app, &place, host.as_ref(), &asked.connection);
    let identity = endpoint.identity(app, draft, &caller)?;
    let durability = draft.durability();
    let record = draft.open(app, Word::Permit, durability).await?;
    let errand = Errand {
        manner: spoken,
        redirects,
        path: place.path,
        prefix: place.prefix,
        identity,
        connection: asked.connection,
        host,
        decision: draft.decision(),
        until: lease::of(app, &caller, draft.noted()),
        on_end: draft.on_end(app, record),
    };
    let sent = endpoint.upstream.send(&permitted, errand, request).await;
    sent.map_err(|error| {
        let name = endpoint.config.name.as_str();
        tracing::warn!(decision = %draft.decision(), endpoint = name, error = chain(&error), "not forwarded");
        Rejection::of_endpoint(name, &error)
    })
}

/// A place at an endpoint, as in [`Found::At`].
struct At {
    path: String,
    read: String,
    prefix: String,
}

fn place(draft: &mut Draft, found: Found<Endpoint>) -> Result<(Arc<Endpoint>, At), Rejection> {
    match found {
        Found::At {
            endpoint,
            path,
            read,
            prefix,
        } => Ok((endpoint, At { path, read, prefix })),
        Found::Odd(what) => Err(Rejection::BadRequest {
            sentence: format!("the request is not sent on: {what}"),
        }),
        Found::Unknown(name) => {
            draft.facts(Vec::new(), serde_json::json!({ "endpoint": name }));
            Err(Rejection::NotFound {
                sentence: format!("there is no endpoint `{name}` behind this gate"),
            })
        }
    }
}

/// Whether the endpoint takes `method` at all.
fn takes(endpoint: &Endpoint, method: &Method) -> Result<(), Rejection> {
    let methods = &endpoint.config.methods;
    if methods.contains(method) {
        return Ok(());
    }
    let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
    Err(Rejection::WrongMethod {
        allowed: allowed.join(", ").into(),
    })
}

/// Asks the policies about one request.
pub(super) fn questioned(
    app: &App,
    policies: &Policies,
    caller: &Caller,
    (action, wire, facts): (&str, &'static str, EndpointFacts),
) -> Decision<EndpointFacts> {
    let context = Context::plain(app.clock.now(), wire);
    let asked = facts.clone();
    let question = Question {
        caller,
        action,
        resource: Resource::Endpoint(&asked),
        context,
    };
    decide(policies, &[question], facts)
}

fn refused(endpoint: &Endpoint, caller: &Caller, action: &str, denial: &Denial) -> Rejection {
    let verb = if action == READ { "read" } else { "write" };
    let (name, environment) = (&endpoint.config.name, &endpoint.config.environment);
    let advice = denial.advice().join(", or ");
    let separator = if advice.is_empty() { "" } else { ": " };
    Rejection::Policy {
        sentence: format!(
            "{verb} of endpoint {name} in {environment} refused for {}{separator}{advice}",
            caller.display()
        ),
    }
}

impl Endpoint {
    /// Who calls, signed, where the endpoint is to be told.
    fn identity(
        &self,
        app: &App,
        draft: &Draft,
        caller: &Caller,
    ) -> Result<Option<HeaderValue>, Rejection> {
        let Some(signer) = app
            .endpoints
            .signer
            .as_ref()
            .filter(|_| self.config.identity)
        else {
            return Ok(None);
        };
        let assertion = signer.sign(Statement {
            audience: &self.audience,
            caller,
            environment: self.config.environment.as_str(),
            decision: draft.decision(),
        });
        assertion.map(Some).ok_or(Rejection::Internal)
    }

    /// Where answers may lead: the gate is where its configuration says, and where the caller found it.
    fn redirects(
        &self,
        app: &App,
        at: &At,
        host: Option<&HeaderValue>,
        connection: &Connection,
    ) -> Redirects {
        let scheme = if connection.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let found = host.and_then(|host| host.to_str().ok());
        let found = found.and_then(|host| format!("{scheme}://{host}").parse::<url::Url>().ok());
        let mut gate = vec![app.endpoints.gate.clone()];
        // An endpoint's own host is no place of the gate's.
        if let Place::Prefix = self.config.place {
            gate.extend(found.map(|url| url.origin()));
        }
        Redirects::new(&self.config.url, &at.path, &at.prefix, gate)
    }
}

/// The public keys by which endpoints verify who calls: for anybody.
pub(crate) fn key_set(app: &App) -> Value {
    let none = || serde_json::json!({ "keys": [] });
    let signer = app.endpoints.signer.as_ref();
    signer.map_or_else(none, Signer::key_set)
}
