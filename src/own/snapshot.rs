//! `GET /syncgate/v1/runs/{run}/snapshot` and `GET /syncgate/v1/log/{decision}/snapshot`: what an application was
//! like when its tests, or a sync of it, failed.
//!
//! In: the run, or the decision that permitted the sync. Out: the snapshot. Whoever may read the one may read the
//! other, but for the logs of pods: they are for those who may read them in Argo CD, too.

use http::{Response, StatusCode};

use super::{about, answer, ask, internal, may, readable};
use crate::app::App;
use crate::argocd::operation::Operation;
use crate::body::Body;
use crate::draft::Draft;
use crate::identity::Caller;
use crate::names::{AppRef, DecisionId};
use crate::planner;
use crate::policy::Resource;
use crate::respond::Rejection;
use crate::store::SnapshotOf;

pub(super) async fn of_run(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    run: &str,
) -> Result<Response<Body>, Rejection> {
    let (id, _) = readable(app, draft, caller, run).await?;
    show(app, draft, caller, SnapshotOf::Run(id)).await
}

pub(super) async fn of_deploy(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    decision: &str,
) -> Result<Response<Body>, Rejection> {
    ask(app, draft, caller, "Log.read", Resource::Gate)?;
    let id = ulid::Ulid::from_string(decision).map_err(|_| missing())?;
    show(app, draft, caller, SnapshotOf::Deploy(DecisionId(id))).await
}

async fn show(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    of: SnapshotOf,
) -> Result<Response<Body>, Rejection> {
    let found = app.store.snapshot(of).await.map_err(|e| internal(&e))?;
    let mut snapshot = found.ok_or_else(missing)?;
    if !snapshot.logs.is_empty() && !may_read_logs(app, caller, &snapshot.application).await {
        snapshot.logs.clear();
        let why = "logs of pods: you may not read those of this application";
        snapshot.missing.push(why.to_owned());
    }
    answer(app, draft, StatusCode::OK, &snapshot).await
}

async fn may_read_logs(app: &App, caller: &Caller, application: &AppRef) -> bool {
    let action = Operation::ApplicationPodLogs.name();
    let Ok(planned) = planner::known(app, caller, action, application).await else {
        return false;
    };
    may(app, caller, action, about(&planned))
}

fn missing() -> Rejection {
    Rejection::NotFound {
        sentence: "there is no such snapshot, or it has not been taken yet".to_owned(),
    }
}
