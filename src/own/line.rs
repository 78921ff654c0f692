//! `/syncgate/v1/lines`: the line of an environment is stopped, started again, or looked at.
//!
//! In: the environment and a reason. Out: how its line stands, freezes included. To stop and to start
//! are actions of their own. Who may not see the line is told that there is none. Never: a line that
//! stands otherwise without an opening entry on disk.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::{answer, ask, decided, internal, invalid};
use crate::app::App;
use crate::body::Body;
use crate::draft::Draft;
use crate::evidence::run;
use crate::freeze;
use crate::hold::interface::{Coming, Line, Lines, StartLine, StopLine};
use crate::identity::Caller;
use crate::names::EnvironmentName;
use crate::policy::{Decision, Resource};
use crate::record::{OpenRecord, Outcome, Word};
use crate::respond::{Rejection, ok_json};
use crate::store::{self, Stop};

/// The lines that `caller` may see.
pub(super) async fn list(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
) -> Result<Response<Body>, Rejection> {
    draft.policies(&app.policies.current());
    let mut lines = Vec::new();
    let environments = app.config.environments.iter();
    for environment in environments.filter(|one| may_see(app, caller, one.name.as_str())) {
        lines.push(line(app, &environment.name).await?);
    }
    answer(app, draft, StatusCode::OK, &Lines { lines }).await
}

/// Stops the line of `environment` for `caller`, if the policies let them.
pub(super) async fn stop(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    environment: &str,
    body: &Bytes,
) -> Result<Response<Body>, Rejection> {
    let StopLine { reason } = run::read(body).map_err(|error| invalid(&error))?;
    let reason = self::reason(&reason)?;
    let record = begun(app, draft, caller, "Line.stop", environment, Some(&reason)).await?;
    let (record, environment) = record;
    let stop = Stop {
        by: caller.display(),
        caller: caller.unique(),
        at: app.clock.now(),
        reason,
        decision: draft.decision(),
    };
    let stored = app.store.stop_line(environment.clone(), stop).await;
    let done = stored.map(|stop| {
        tracing::info!(%environment, by = stop.by, "line stopped");
    });
    ended(app, draft, record, &environment, done).await
}

/// Starts the line of `environment` again for `caller`, if the policies let them.
pub(super) async fn start(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    environment: &str,
    body: &Bytes,
) -> Result<Response<Body>, Rejection> {
    let StartLine { reason } = run::read(body).map_err(|error| invalid(&error))?;
    let reason = reason.as_deref().map(self::reason).transpose()?;
    let reason = reason.as_deref();
    let (record, environment) =
        begun(app, draft, caller, "Line.start", environment, reason).await?;
    let stored = app.store.start_line(environment.clone()).await;
    let done = stored.map(|_| {
        tracing::info!(%environment, by = caller.display(), "line started");
    });
    ended(app, draft, record, &environment, done).await
}

/// Decides, and puts on record what is about to be done.
async fn begun(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    action: &str,
    environment: &str,
    reason: Option<&str>,
) -> Result<(OpenRecord, EnvironmentName), Rejection> {
    draft.facts(
        Vec::new(),
        json!({ "environment": environment, "reason": reason }),
    );
    let mut known = app.config.environments.iter();
    let known = known.find(|one| one.name.as_str() == environment);
    let known = known.filter(|_| may_see(app, caller, environment));
    let known = known.ok_or_else(|| Rejection::NotFound {
        sentence: "there is no such environment, or you may not see its line".to_owned(),
    })?;
    let resource = Resource::Environment(environment);
    ask(app, draft, caller, action, resource)?;
    let record = draft.open(app, Word::Permit, draft.durability()).await?;
    Ok((record, known.name.clone()))
}

/// Tells how the line stands now, and closes the record.
async fn ended(
    app: &App,
    draft: &Draft,
    record: OpenRecord,
    environment: &EnvironmentName,
    done: Result<(), store::Error>,
) -> Result<Response<Body>, Rejection> {
    let answer = async {
        done.map_err(|error| not_stored(&error))?;
        let line = line(app, environment).await?;
        serde_json::to_vec(&line).map_err(|error| internal(&error))
    };
    match answer.await {
        Ok(json) => {
            let response = ok_json(StatusCode::OK, json, draft.decision());
            Ok(draft.answered(record, response).await)
        }
        Err(rejection) => {
            let code = rejection.word().to_owned();
            record.close(Outcome::Refused { code }).await;
            Err(rejection)
        }
    }
}

/// How the line of `environment` stands, and what is to come.
async fn line(app: &App, environment: &EnvironmentName) -> Result<Line, Rejection> {
    let stopped = app.store.stopped_lines().await;
    let mut stopped = stopped.map_err(|error| internal(&error))?.into_iter();
    let stopped = stopped.find(|line| line.environment == *environment);
    Ok(Line {
        environment: environment.clone(),
        stopped: stopped.map(|line| line.stop),
        freezes: Coming::of(&app.config.freezes, environment, app.clock.now())
            .map_err(|error| internal(&error))?,
    })
}

fn may_see(app: &App, caller: &Caller, environment: &str) -> bool {
    let resource = Resource::Environment(environment);
    matches!(
        decided(app, caller, "Line.read", resource),
        Decision::Allow(_)
    )
}

fn reason(text: &str) -> Result<String, Rejection> {
    freeze::reason(text).map_err(|error| Rejection::BadRequest {
        sentence: format!("`reason` {error}"),
    })
}

fn not_stored(error: &store::Error) -> Rejection {
    if matches!(error, store::Error::Behind { .. }) {
        return Rejection::RecordBehind;
    }
    internal(error)
}
