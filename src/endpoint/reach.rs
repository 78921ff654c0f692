//! Looks at an endpoint without sending anybody's request: for who wants to know beforehand.
//!
//! In: a caller and the name of an endpoint. Out: whether the policies let the caller reach it, and, with
//! that permit, whether it answers. Never: a request of the caller's, or an assertion about them.

use std::time::Duration;

use http::{Method, Request};
use tower_service::Service as _;

use super::Endpoint;
use super::headers::{self, Added};
use super::line::questioned;
use crate::app::App;
use crate::body;
use crate::forward::Error as ForwardError;
use crate::identity::Caller;
use crate::listener::Connection;
use crate::policy::{Answer, Decision, Denial, EndpointFacts, Permitted};
use crate::telemetry::chain;

/// Why a caller may not reach an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The policies say no.
    Denied(Denial),
    /// There is no endpoint of this name.
    Unknown,
}

/// The permit to reach an endpoint, and what it was given for.
pub type Reachable = Permitted<EndpointFacts>;

/// Whether `caller` may send a GET to the endpoint `name`: to its `health`, or else to `/`. Nothing is
/// sent or recorded; whoever asks records it.
///
/// # Errors
/// [`Unreachable`].
pub fn may_reach(app: &App, caller: &Caller, name: &str) -> Result<Reachable, Unreachable> {
    let endpoint = app.endpoints.named(name).ok_or(Unreachable::Unknown)?;
    let health = endpoint.config.health.as_deref().unwrap_or("/");
    let path = super::canonical(health.split('?').next().unwrap_or_default());
    let facts = endpoint.facts(&Method::GET, &path.unwrap_or_default());
    let policies = app.policies.current();
    match questioned(app, &policies, caller, (super::READ, "own", facts)) {
        Decision::Allow(permitted) => Ok(permitted),
        Decision::Deny(denial) => Err(Unreachable::Denied(denial)),
    }
}

/// The answers that a permit or a refusal stands on, for the record.
#[must_use]
pub fn answers(asked: &Result<Reachable, Unreachable>) -> &[Answer] {
    match asked {
        Ok(permitted) => &permitted.grounds().answers,
        Err(Unreachable::Denied(denial)) => &denial.answers,
        Err(Unreachable::Unknown) => &[],
    }
}

/// Connects to the endpoint that `permit` is for, with TLS where it has it, and sends a GET to its
/// `health` if the configuration names one, with the gate's own credential; all within `deadline`.
///
/// # Errors
/// One line: why it does not answer as it should.
pub async fn probe(app: &App, permit: &Reachable, deadline: Duration) -> Result<(), String> {
    let Some(endpoint) = app.endpoints.named(&permit.call().name) else {
        return Err("there is no endpoint of this name".to_owned());
    };
    let look = async {
        match &endpoint.config.health {
            None => connect(endpoint).await,
            Some(health) => get(endpoint, health).await,
        }
    };
    tokio::time::timeout(deadline, look)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} ms", deadline.as_millis())))
}

async fn connect(endpoint: &Endpoint) -> Result<(), String> {
    let target = &endpoint.upstream.target;
    let uri = http::Uri::builder()
        .scheme(target.scheme.clone())
        .authority(target.authority.clone())
        .path_and_query("/")
        .build()
        .map_err(|error| error.to_string())?;
    let mut connector = endpoint.upstream.live.current().connector.clone();
    let connected = connector.call(uri).await;
    connected.map(drop).map_err(|error| chain(&error))
}

async fn get(endpoint: &Endpoint, health: &str) -> Result<(), String> {
    let (target, material) = (&endpoint.upstream.target, endpoint.upstream.live.current());
    let uri = http::Uri::builder()
        .scheme(target.scheme.clone())
        .authority(target.authority.clone())
        .path_and_query(format!("{}{health}", target.root))
        .build()
        .map_err(|error| error.to_string())?;
    let mut request = Request::new(body::empty());
    *request.uri_mut() = uri;
    // It comes from nobody but the gate itself.
    let connection = Connection::new(([127, 0, 0, 1], 0).into(), None);
    let added = Added {
        credential: material.credential.as_ref(),
        identity: None,
        connection: &connection,
        host: None,
        prefix: "",
        grpc: false,
    };
    headers::prepare_request(request.headers_mut(), &added);
    let answer = material.pools.http1.request(request).await;
    let status = match answer {
        Ok(response) => response.status(),
        Err(error) => return Err(chain(&ForwardError::from(error))),
    };
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("GET {health} was answered with status {status}"))
    }
}
