//! `/syncgate/v1/break-glass`: the glass is broken for a sync that comes later, and what is open is looked at.
//!
//! In: an application, the revisions that a sync would name, and why. Out: what was let through and what it owes. To
//! break the glass is decided as that sync would be. Who may not see an environment is told nothing of it. Never: a
//! way to close one but by its tests.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::{answer, internal, invalid, may, recorded, sync_call};
use crate::app::App;
use crate::argocd::classify::Wire;
use crate::argocd::request::Call;
use crate::body::Body;
use crate::break_glass::interface::{Break, BreakGlasses};
use crate::break_glass::{self, BreakGlass};
use crate::draft::Draft;
use crate::evidence::run;
use crate::identity::Caller;
use crate::names::DecisionId;
use crate::pipeline;
use crate::planner;
use crate::policy::Resource;
use crate::respond::Rejection;

/// How many that are closed a list holds.
const CLOSED: u32 = 100;

/// Breaks the glass for a sync that the caller starts later, wherever they do.
pub(super) async fn open(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    body: &Bytes,
) -> Result<Response<Body>, Rejection> {
    let asked: Break = run::read(body).map_err(|error| invalid(&error))?;
    let call = call(&asked)?;
    draft.call(&call);
    let plan = planner::plan(app, caller, &call).await?;
    pipeline::ask(app, draft, caller, &plan, Wire::Rest, ()).await?;
    if !plan
        .applications
        .iter()
        .any(|planned| planned.breaks(&plan))
    {
        return Err(Rejection::BadRequest {
            sentence: format!(
                "a sync of {} rolls out nothing that could be let through: its commits cannot be told, or its \
                 environment refuses nothing",
                asked.application
            ),
        });
    }
    let decision = draft.decision();
    let work = async {
        let broken = break_glass::open(app, decision, caller, &plan).await?;
        Ok(broken.ok_or(Rejection::Internal)?)
    };
    recorded(app, draft, StatusCode::CREATED, work).await
}

/// The sync that `asked` is about, as the API would take it.
fn call(asked: &Break) -> Result<Call, Rejection> {
    let bad = |sentence: String| Rejection::BadRequest { sentence };
    break_glass::justification(&asked.justification)
        .map_err(|problem| bad(format!("`justification` {problem}")))?;
    let body = json!({
        "appNamespace": asked.application_namespace,
        "infos": [{ "name": break_glass::INFO, "value": asked.justification }],
        "revision": asked.revision,
    });
    sync_call(
        &asked.application,
        asked.application_namespace.as_ref(),
        body,
    )
}

/// What `caller` may see: what is open, then the newest of what is closed.
pub(super) async fn list(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
) -> Result<Response<Body>, Rejection> {
    draft.policies(&app.policies.current());
    let mut all = app
        .store
        .break_glasses(CLOSED)
        .await
        .map_err(|error| internal(&error))?;
    all.retain(|glass| may_see(app, caller, glass));
    answer(
        app,
        draft,
        StatusCode::OK,
        &BreakGlasses { break_glass: all },
    )
    .await
}

/// One of them.
pub(super) async fn show(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    decision: &str,
) -> Result<Response<Body>, Rejection> {
    draft.policies(&app.policies.current());
    let missing = || Rejection::NotFound {
        sentence: "there is no such break-glass, or you may not see it".to_owned(),
    };
    let id = ulid::Ulid::from_string(decision).map_err(|_| missing())?;
    let found = app.store.break_glass(DecisionId(id)).await;
    let found = found.map_err(|error| internal(&error))?;
    let found = found
        .filter(|glass| may_see(app, caller, glass))
        .ok_or_else(missing)?;
    answer(app, draft, StatusCode::OK, &found).await
}

/// Whoever may see all the environments that it lets something through to.
fn may_see(app: &App, caller: &Caller, glass: &BreakGlass) -> bool {
    let mut environments = glass
        .scope
        .iter()
        .map(|scope| scope.plan.environment.as_str());
    environments.all(|name| may(app, caller, "BreakGlass.read", Resource::Environment(name)))
}
