//! `/syncgate/v1/runs` for those who report: a run is opened, gets its attempts, and is ended.
//!
//! In: reports of a run, each decided on anew: what the policies take away ends at once. Out: what was taken in.
//! Refused: whom the policies do not let report for the application, and what does not belong to what runs. Never:
//! anything stored of a report without an opening entry on disk.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Response, StatusCode};
use serde_json::{Value, json};

use super::{about, ask, invalid, placed, recorded, report_refused};
use crate::app::App;
use crate::argocd::client::Refresh;
use crate::body::Body;
use crate::draft::Draft;
use crate::evidence::binding::{self, Claims};
use crate::evidence::run::{self, AttemptBatch, Finish, NewRun};
use crate::evidence::service::{Reporter, Subject};
use crate::evidence::verdict::Verdict;
use crate::identity::{self, Caller};
use crate::names::AppRef;
use crate::planner;
use crate::respond::Rejection;
use crate::store::{SnapshotOf, StoredRun};

const ACTION: &str = "Run.report";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Opens a run.
pub(super) async fn open(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    head: &Parts,
    body: &Bytes,
) -> Result<Response<Body>, Rejection> {
    let new: NewRun = run::read(body).map_err(|error| invalid(&error))?;
    let application = new.application_ref();
    draft.facts(vec![application.clone()], json!({ "suite": new.suite }));
    let key = idempotency_key(head)?;
    let at = app.clock.now();
    // Read afresh: which commit runs is the whole point.
    let json = read(app, &application).await?;
    let planned = planner::about(app, caller, ACTION, &json)?;
    ask(app, draft, caller, ACTION, about(&planned))?;
    let unique = caller.unique();
    let reporter = Reporter {
        unique: &unique,
        decision: draft.decision(),
    };
    if let Some(key) = key {
        let about = &planned.facts.app;
        let before = app.runs.opened_before(reporter, key, about, &new.suite);
        if let Some(opened) = before.await.map_err(|error| report_refused(&error))? {
            return recorded(app, draft, StatusCode::CREATED, async { Ok(opened) }).await;
        }
    }
    let (environment, component) = placed(app, &planned, &application)?;
    if matches!(caller.subject, identity::Subject::CiJob(_)) && new.commits.is_none() {
        return Err(uncommitted(&application));
    }
    let facts = planner::gate_facts(&json)?;
    let pod = caller.pod();
    let claims = Claims {
        commits: new.commits.as_deref(),
        pod: pod.as_ref(),
    };
    let binding = binding::bind(&facts, claims, &environment.varies, at).map_err(|error| {
        Rejection::Report {
            code: error.code(),
            sentence: error.to_string(),
            passes: error.passes(),
        }
    })?;
    let subject = Subject {
        application: planned.facts.app.clone(),
        environment: environment.name.clone(),
        component,
    };
    let work = async {
        let opened = app.runs.open(reporter, key, new, &subject, binding).await;
        opened.map_err(|error| report_refused(&error).into())
    };
    recorded(app, draft, StatusCode::CREATED, work).await
}

/// A job of CI is started by a commit and not by what is deployed, which may have moved on since: without its
/// word, a run would be about what it happens to find.
fn uncommitted(application: &AppRef) -> Rejection {
    Rejection::Report {
        code: "commits-required",
        sentence: format!(
            "a job of CI must say which commits of {application} it tests: send them as `commits`"
        ),
        passes: false,
    }
}

async fn read(app: &App, application: &AppRef) -> Result<Value, Rejection> {
    let answer = app
        .argocd
        .application(application, None, Refresh::None)
        .await;
    answer.map_err(|error| planner::refused(application, &error))
}

fn idempotency_key(head: &Parts) -> Result<Option<&str>, Rejection> {
    let key = head.headers.get(IDEMPOTENCY_KEY);
    key.map(http::HeaderValue::to_str)
        .transpose()
        .map_err(|_| Rejection::BadRequest {
            sentence: "the header Idempotency-Key is not printable ASCII".to_owned(),
        })
}

/// Takes in a batch of attempts.
pub(super) async fn attempts(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    run: &str,
    body: &Bytes,
) -> Result<Response<Body>, Rejection> {
    let batch: AttemptBatch = run::read(body).map_err(|error| invalid(&error))?;
    let unique = caller.unique();
    let reporter = Reporter {
        unique: &unique,
        decision: draft.decision(),
    };
    may_report(app, draft, caller, reporter, run).await?;
    let work = async {
        let taken = app.runs.add(reporter, run, batch).await;
        taken.map_err(|error| report_refused(&error).into())
    };
    recorded(app, draft, StatusCode::OK, work).await
}

/// Ends a run.
pub(super) async fn finish(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    run: &str,
    body: &Bytes,
) -> Result<Response<Body>, Rejection> {
    let end: Finish = run::read(body).map_err(|error| invalid(&error))?;
    let unique = caller.unique();
    let reporter = Reporter {
        unique: &unique,
        decision: draft.decision(),
    };
    let stored = may_report(app, draft, caller, reporter, run).await?;
    let (id, application) = (stored.run.id, stored.run.application);
    let now = planner::gate_facts(&read(app, &application).await?)?;
    let vouched = match &stored.finish {
        None => app.runs.vouched(&end).await,
        // What comes again gets the first answer again.
        Some(_) => Ok(None),
    };
    let vouched = vouched.map_err(|error| report_refused(&error))?;
    if let Some(vouched) = &vouched {
        let facts = json!({ "run": run, "attestation": vouched.attested });
        draft.facts(vec![application.clone()], facts);
    }
    let work = async {
        let finished = app.runs.finish(reporter, run, &end, vouched, &now).await;
        let finished = finished.map_err(|error| report_refused(&error))?;
        crate::admission::settled(app, id, finished.counts).await;
        app.notices.notify_one();
        if finished.verdict != Verdict::Passed {
            crate::snapshot::want(app, SnapshotOf::Run(id), application);
        }
        Ok(finished)
    };
    recorded(app, draft, StatusCode::OK, work).await
}

/// Asks again for each batch: what the policies take away ends at once. Gives the run.
async fn may_report(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    reporter: Reporter<'_>,
    run: &str,
) -> Result<StoredRun, Rejection> {
    let stored = app.runs.own(reporter, run).await;
    let stored = stored.map_err(|error| report_refused(&error))?;
    let application = &stored.run.application;
    draft.facts(vec![application.clone()], json!({ "run": run }));
    let planned = planner::known(app, caller, ACTION, application).await?;
    ask(app, draft, caller, ACTION, about(&planned))?;
    Ok(stored)
}
