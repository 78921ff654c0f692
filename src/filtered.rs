//! Lists and watches of applications, with only what the caller may read.
//!
//! Each object of the answer is one Cedar question, as if the caller asked for it alone. Answers are
//! kept for a minute by everything that they depend on, so that a long list costs little the second
//! time.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use serde_json::json;

use crate::app::App;
use crate::argocd::operation::Operation;
use crate::argocd::request::Call;
use crate::body::Body;
use crate::forward::filter::{
    APPLICATION_EVENT, APPLICATION_LIST, AppFacts, Layout, filter as filter_body,
};
use crate::identity::Caller;
use crate::planner;
use crate::policy::{Context, Question, Resource};
use crate::respond::Rejection;

/// How long an answer is kept. Policies may look at the clock.
const KEPT: Duration = Duration::from_mins(1);
/// How many answers are kept.
const ANSWERS: u64 = 200_000;

/// The kept answers, by the digest of what they depend on.
pub(crate) type Reads = moka::sync::Cache<[u8; 32], bool>;

/// An empty cache of answers.
pub(crate) fn reads() -> Reads {
    moka::sync::Cache::builder()
        .max_capacity(ANSWERS)
        .time_to_live(KEPT)
        .build()
}

/// The layout of the answer of `operation`, if it is a list that is filtered here.
pub(crate) fn layout(operation: Operation) -> Option<Layout> {
    match operation {
        Operation::ApplicationList => Some(APPLICATION_LIST),
        Operation::ApplicationWatch => Some(APPLICATION_EVENT),
        _ => None,
    }
}

/// `response` with only the applications that `caller` may read.
///
/// # Errors
/// [`Rejection::UpstreamFailed`] when the answer is of a form that cannot be filtered.
pub(crate) fn filter(
    app: &Arc<App>,
    caller: &Arc<Caller>,
    call: &Call,
    response: Response<Body>,
) -> Result<Response<Body>, Rejection> {
    let Some(layout) = layout(call.operation) else {
        return Ok(response);
    };
    let (app, caller) = (Arc::clone(app), Arc::clone(caller));
    filter_body::<AppFacts, _>(response, layout, move |facts| {
        may_read(&app, &caller, facts)
    })
    .map_err(|error| {
        tracing::error!(
            error = crate::telemetry::chain(&error),
            "a list cannot be filtered"
        );
        Rejection::UpstreamFailed
    })
}

fn may_read(app: &App, caller: &Caller, facts: &AppFacts) -> bool {
    let policies = app.policies.current();
    let application = json!({
        "metadata": {
            "name": facts.name,
            "namespace": facts.namespace,
            "uid": facts.uid.as_deref().unwrap_or_default(),
            "labels": facts.labels,
        },
        "spec": {
            "project": facts.project,
            "destination": {
                "server": facts.destination.server,
                "name": facts.destination.name,
                "namespace": facts.destination.namespace,
            },
        },
    });
    let depends_on = json!([
        caller.unique(),
        caller.groups,
        caller.roles,
        policies.digest(),
        application
    ]);
    let key = crate::digest::sha256(depends_on.to_string().as_bytes());
    app.reads.get_with(key, || {
        let action = Operation::ApplicationGet.name();
        let Ok(planned) = planner::about(app, caller, action, &application) else {
            return false;
        };
        let context = Context::plain(app.clock.now(), "rest");
        let resource = Resource::Application(&planned.facts);
        policies.permits(&Question {
            caller,
            action,
            resource,
            context,
        })
    })
}
