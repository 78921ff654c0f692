//! `/syncgate/v1/lines`: the line of an environment is stopped, started again, or looked at.
//!
//! In: the environment and a reason. Out: how its line stands, freezes included. To stop and to start
//! are actions of their own. Who may not see the line is told that there is none. Never: a line that
//! stands otherwise without an opening entry on disk.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::{answer, ask, internal, invalid, may, recorded};
use crate::app::App;
use crate::body::Body;
use crate::draft::Draft;
use crate::evidence::run;
use crate::freeze;
use crate::hold::interface::{Coming, Line, Lines, StartLine, StopLine};
use crate::identity::Caller;
use crate::names::EnvironmentName;
use crate::policy::Resource;
use crate::respond::Rejection;
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
    let environment = asked(app, draft, caller, "Line.stop", environment, Some(&reason))?;
    let stop = Stop {
        by: caller.display(),
        caller: caller.unique(),
        at: app.clock.now(),
        reason,
        decision: draft.decision(),
    };
    let work = async {
        let stored = app.store.stop_line(environment.clone(), stop).await;
        let stop = stored.map_err(|error| not_stored(&error))?;
        tracing::info!(%environment, by = stop.by, "line stopped");
        Ok(line(app, &environment).await?)
    };
    recorded(app, draft, StatusCode::OK, work).await
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
    let environment = asked(app, draft, caller, "Line.start", environment, reason)?;
    let work = async {
        let stored = app.store.start_line(environment.clone()).await;
        stored.map_err(|error| not_stored(&error))?;
        tracing::info!(%environment, by = caller.display(), "line started");
        Ok(line(app, &environment).await?)
    };
    recorded(app, draft, StatusCode::OK, work).await
}

/// The environment, if its line may be seen and `caller` may do `action` to it.
fn asked(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    action: &str,
    environment: &str,
    reason: Option<&str>,
) -> Result<EnvironmentName, Rejection> {
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
    ask(
        app,
        draft,
        caller,
        action,
        Resource::Environment(environment),
    )?;
    Ok(known.name.clone())
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
    may(app, caller, "Line.read", Resource::Environment(environment))
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
