//! `POST /syncgate/v1/runs/{run}/withdraw`: a run is no evidence any more.
//!
//! In: the run and a reason. Out: the withdrawal, the first one where there is one already. Whoever may
//! not read the run is told that there is none. Never: a withdrawal without an opening entry on disk.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::{ask, decided, internal, invalid, report_refused};
use crate::app::App;
use crate::argocd::client::{self, Refresh};
use crate::body::Body;
use crate::draft::Draft;
use crate::evidence::run::{self, Withdraw};
use crate::evidence::service::Withdrawer;
use crate::identity::Caller;
use crate::planner::{self, Planned};
use crate::policy::Decision;
use crate::record::{Outcome, Word};
use crate::respond::{Rejection, ok_json};
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
    if !matches!(
        decided(app, caller, "Run.read", resource),
        Decision::Allow(_)
    ) {
        return Err(missing());
    }
    ask(app, draft, caller, ACTION, resource)?;
    let record = draft.open(app, Word::Permit, draft.durability()).await?;
    let (unique, by) = (caller.unique(), caller.display());
    let withdrawer = Withdrawer {
        unique: &unique,
        display: &by,
        decision: draft.decision(),
    };
    let done = app.runs.withdraw(withdrawer, id, &withdraw).await;
    crate::admission::withdrawn(app);
    let done = done.map_err(|error| (error.code().to_owned(), report_refused(&error)));
    let answer = done.and_then(|done| {
        serde_json::to_vec(&done).map_err(|error| ("internal".to_owned(), internal(&error)))
    });
    match answer {
        Ok(json) => {
            tracing::info!(run = %id, by, "run withdrawn");
            let response = ok_json(StatusCode::OK, json, draft.decision());
            Ok(draft.answered(record, response).await)
        }
        Err((code, rejection)) => {
            record.close(Outcome::Refused { code }).await;
            Err(rejection)
        }
    }
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
