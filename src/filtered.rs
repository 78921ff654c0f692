//! Answers with applications in them, with only what the caller may read.
//!
//! In: the upstream's answer to a list, a watch, a tree or a list of managed resources. Out: the same
//! without the applications that its caller may not read. Each application is one Cedar question, as
//! if the caller asked for it alone. Answers are kept for a minute by everything that they depend on,
//! so that a long list costs little the second time.
//!
//! Of an application in a tree the answer tells the name alone; the rest is in the index. One that the
//! index does not know, or while it is down, is left out. The children in `status.resources` of a
//! parent, and in the manifests that are rendered for it, stay: they are names and what is in its own
//! repository.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use serde_json::json;

use crate::app::App;
use crate::argocd::operation::Operation;
use crate::argocd::request::Call;
use crate::body::Body;
use crate::forward::filter::{
    self, APPLICATION_EVENT, APPLICATION_LIST, APPLICATION_SET_TREE, APPLICATION_TREE,
    APPLICATION_TREES, AppFacts, Applications, Diffs, Layout, MANAGED_RESOURCES, Named, Nodes,
};
use crate::identity::Caller;
use crate::names::AppRef;
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

/// The layout of the answer of `operation`, if it is filtered here.
pub(crate) fn layout(operation: Operation) -> Option<&'static Layout> {
    match operation {
        Operation::ApplicationList => Some(&APPLICATION_LIST),
        Operation::ApplicationManagedResources => Some(&MANAGED_RESOURCES),
        Operation::ApplicationResourceTree => Some(&APPLICATION_TREE),
        Operation::ApplicationSetResourceTree => Some(&APPLICATION_SET_TREE),
        Operation::ApplicationWatch => Some(&APPLICATION_EVENT),
        Operation::ApplicationWatchResourceTree => Some(&APPLICATION_TREES),
        _ => None,
    }
}

/// The path to send instead of `path`: its `fields` must not leave out what the filter decides by.
pub(crate) fn forward_path(layout: &Layout, path: &str) -> String {
    let split = path.split_once('?');
    let rewritten = split.and_then(|(bare, query)| {
        let query = filter::forward_query(layout, query)?;
        Some(format!("{bare}?{query}"))
    });
    rewritten.unwrap_or_else(|| path.to_owned())
}

/// `response` with only the applications that `caller` may read, where it holds some.
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
    let query = call.forward_path.split_once('?');
    let query = query.map_or("", |(_, query)| query);
    let reader = Reader {
        app: Arc::clone(app),
        caller: Arc::clone(caller),
    };
    let filtered = match call.operation {
        Operation::ApplicationList | Operation::ApplicationWatch => {
            let rule = Applications(move |facts: &AppFacts| reader.may_read(facts));
            filter::filter(response, layout, query, rule)
        }
        Operation::ApplicationManagedResources => {
            let rule = Diffs(move |named: &Named, states: &[AppFacts]| {
                reader.may_see_states(named, states)
            });
            filter::filter(response, layout, query, rule)
        }
        _ => {
            let rule = Nodes(move |named: &Named| reader.may_see(named) == Some(true));
            filter::filter(response, layout, query, rule)
        }
    };
    filtered.map_err(|error| {
        tracing::error!(
            error = crate::telemetry::chain(&error),
            "an answer cannot be filtered"
        );
        Rejection::UpstreamFailed
    })
}

/// Who reads an answer.
struct Reader {
    app: Arc<App>,
    caller: Arc<Caller>,
}

impl Reader {
    /// Whether the application of this name may be read; nothing where it is not known.
    fn may_see(&self, named: &Named) -> Option<bool> {
        let application = AppRef {
            namespace: Some(named.namespace.clone()).filter(|text| !text.is_empty()),
            name: named.name.clone(),
        };
        let known = self.app.index.get(&application)?;
        let facts = AppFacts::from_value(&known).ok()?;
        Some(self.may_read(&facts))
    }

    /// Whether an application may be read of which an answer tells `states`. One that is not there yet
    /// is judged by what it would be.
    fn may_see_states(&self, named: &Named, states: &[AppFacts]) -> bool {
        self.may_see(named).unwrap_or_else(|| {
            let permitted = |facts: &AppFacts| {
                // A manifest may leave its namespace out; the answer says where it is applied.
                let namespace = named.namespace.clone();
                let facts = AppFacts {
                    namespace,
                    ..facts.clone()
                };
                facts.name == named.name && self.may_read(&facts)
            };
            !states.is_empty() && states.iter().all(permitted)
        })
    }

    fn may_read(&self, facts: &AppFacts) -> bool {
        let (app, caller) = (&*self.app, &*self.caller);
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
            caller.issuer,
            caller.subject,
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
}
