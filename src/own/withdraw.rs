//! `POST /syncgate/v1/runs/{run}/withdraw`: a run is no evidence any more.
//!
//! In: the run and a reason. Out: the withdrawal, the first one where there is one already. Whoever may
//! not read the run is told that there is none. Never: a withdrawal without an opening entry on disk.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::{Failed, ask, invalid, may, recorded, report_refused};
use crate::app::App;
use crate::argocd::client::{self, Refresh};
use crate::body::Body;
use crate::draft::Draft;
use crate::evidence::run::{self, Withdraw};
use crate::evidence::service::Withdrawer;
use crate::identity::Caller;
use crate::planner::{self, Planned};
use crate::respond::Rejection;
use crate::store::{RunId, StoredRun};

const ACTION: &str = "Run.withdraw";

/// Withdraws `run` for `caller`, if the policies let them.
pub(super) async fn withdraw(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    run: &str,
    body: &Bytes,
) -> Result<Response<Body>, Rejection> {
    let withdraw: Withdraw = run::read(body).map_err(|error| invalid(&error))?;
    withdraw.check().map_err(|error| invalid(&error))?;
    let missing = || Rejection::NotFound {
        sentence: "there is no such run, or you may not see it".to_owned(),
    };
    let id = RunId(ulid::Ulid::from_string(run).map_err(|_| missing())?);
    let stored = app.runs.stored(id).await;
    let stored = stored
        .map_err(|error| report_refused(&error))?
        .ok_or_else(missing)?;
    let facts = json!({ "run": id, "reason": withdraw.reason });
    draft.facts(vec![stored.run.application.clone()], facts);
    let planned = about(app, caller, &stored).await?;
    let resource = super::about(&planned);
    if !may(app, caller, "Run.read", resource) {
        return Err(missing());
    }
    ask(app, draft, caller, ACTION, resource)?;
    let (unique, by) = (caller.unique(), caller.display());
    let withdrawer = Withdrawer {
        unique: &unique,
        display: &by,
        decision: draft.decision(),
    };
    let work = async {
        let done = app.runs.withdraw(withdrawer, id, &withdraw).await;
        crate::admission::withdrawn(app);
        let done = done.map_err(|error| Failed {
            code: error.code().to_owned(),
            rejection: report_refused(&error),
        })?;
        tracing::info!(run = %id, by, "run withdrawn");
        Ok(done)
    };
    recorded(app, draft, StatusCode::OK, work).await
}

/// What policies know of the run's application. One that is gone is as it was when the run was opened:
/// its evidence still speaks, so it must be possible to take it back.
async fn about(app: &App, caller: &Caller, stored: &StoredRun) -> Result<Planned, Rejection> {
    let run = &stored.run;
    let application = &run.application;
    if let Some(json) = app.index.get(application) {
        return planner::about(app, caller, ACTION, &json);
    }
    let read = app.argocd.application(application, None, Refresh::None);
    match read.await {
        Ok(json) => planner::about(app, caller, ACTION, &json),
        Err(client::Error::NoSuchApplication(_)) => Ok(planner::gone(
            ACTION,
            application,
            &run.environment,
            &run.component,
        )),
        Err(error) => Err(planner::refused(application, &error)),
    }
}
