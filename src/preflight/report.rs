//! Whether the caller may report for the application, as if a run were opened now.
//!
//! In: the application as Argo CD has it now. Out: one check, and how long the suite took before. The
//! question, its order and its sentences are those of opening a run: who may not report learns what a
//! refused report tells, and neither which commits run nor how long the suite takes.

use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::interface::{Asked, Check, MAX_EXPECTED_SECONDS, Subject};
use crate::app::App;
use crate::argocd::client::{self, Refresh};
use crate::evidence::binding::{self, Claims};
use crate::evidence::service;
use crate::evidence::verdict::Verdict;
use crate::gate::AppFacts;
use crate::identity::{self, Caller};
use crate::names::{Commit, Component, EnvironmentName, Suite};
use crate::own;
use crate::planner;
use crate::policy::{ApplicationFacts, Decision};
use crate::store::{self, Store, StoredRun};

/// Runs of a suite that are looked at for one that passed, newest first.
const LOOK_BACK: u32 = 50;
/// Runs that passed and from which the expected time is taken.
const PASSED: usize = 10;

/// What came of it.
pub(super) struct Found {
    /// The check.
    pub(super) check: Check,
    /// How many seconds the suite took before, if that is known and the caller may know it.
    pub(super) takes: Option<u64>,
}

/// What is wrong, and what to do.
struct Fault(String, String);

/// Asks Argo CD, waiting until `until`, and the policies; looks into the history until `deadline`.
pub(super) async fn check(
    app: &App,
    caller: &Caller,
    asked: &Asked,
    until: Instant,
    deadline: Instant,
) -> Found {
    match may(app, caller, asked, until).await {
        Err(Fault(detail, mend)) => Found {
            check: Check::bad(Subject::Report, detail, mend),
            takes: None,
        },
        Ok((detail, component, environment)) => {
            let takes = takes(&app.store, &component, &environment, &asked.suite);
            let takes = timeout_at(deadline, takes).await.ok();
            Found {
                check: Check::good(Subject::Report, detail),
                takes: takes.flatten(),
            }
        }
    }
}

/// What a run that began now would be about, if the caller may report it.
async fn may(
    app: &App,
    caller: &Caller,
    asked: &Asked,
    until: Instant,
) -> Result<(String, Component, EnvironmentName), Fault> {
    let application = asked.application_ref();
    let read = app.argocd.application(&application, None, Refresh::None);
    let json = match timeout_at(until, read).await {
        Ok(Ok(json)) => json,
        Ok(Err(client::Error::Timeout(_))) | Err(_) => return Err(late()),
        Ok(Err(error)) => return Err(unread(&application, &error)),
    };
    let planned = planner::about(app, caller, "Run.report", &json).map_err(|_| unusable())?;
    if let Decision::Deny(denial) = own::decided(app, caller, "Run.report", own::about(&planned)) {
        let (what, advice) = own::denied(caller, "Run.report", own::about(&planned), &denial);
        let mend = if advice.is_empty() {
            unadvised(caller, &planned.facts)
        } else {
            advice
        };
        return Err(Fault(what, mend));
    }
    let (environment, component) =
        own::placed(app, &planned, &application).map_err(|rejection| {
            let mend = "have the application match one [[environment]] of the gate's configuration";
            Fault(rejection.sentence(), mend.to_owned())
        })?;
    if let Some(claimed) = asked.environment.clone().filter(|c| *c != environment.name) {
        let error = service::Error::OtherEnvironment {
            application: planned.facts.app.to_string(),
            claimed,
            actual: environment.name.clone(),
        };
        let mend = format!("name the environment `{}`, or none", environment.name);
        return Err(Fault(error.to_string(), mend));
    }
    let facts = planner::gate_facts(&json).map_err(|_| unusable())?;
    let about = about(caller, &facts, &environment.varies, app.clock.now())?;
    let detail = format!(
        "may report `{}` for {application} in {}; {about}",
        asked.suite, environment.name
    );
    Ok((detail, component, environment.name.clone()))
}

/// What a run that began `at` this time would be about.
fn about(
    caller: &Caller,
    facts: &AppFacts,
    varies: &[String],
    at: Timestamp,
) -> Result<String, Fault> {
    let pod = caller.pod();
    let claims = Claims {
        commits: None,
        pod: pod.as_ref(),
    };
    let bound = match binding::bind(facts, claims, varies, at) {
        Ok(bound) => bound,
        Err(refusal) if refusal.passes() => return Ok(format!("a run has to wait: {refusal}")),
        Err(refusal) => {
            let mend = "a run could not be opened now: sync or refresh the application, then test";
            return Err(Fault(refusal.to_string(), mend.to_owned()));
        }
    };
    let commits: Vec<&str> = bound.commits.iter().map(Commit::short).collect();
    let commits = commits.join(" and ");
    let about = match bound.operation {
        Some(_) => format!("a run is about the operation that goes on, at {commits}"),
        None => format!("no operation is going on: a run is about what is deployed, {commits}"),
    };
    Ok(match caller.subject {
        identity::Subject::CiJob(_) => format!("{about}; a job of CI must say so when it reports"),
        _ => about,
    })
}

/// What to do where no role would help.
fn unadvised(caller: &Caller, facts: &ApplicationFacts) -> String {
    match &caller.subject {
        identity::Subject::KubernetesAccount {
            namespace, name, ..
        } if !facts.tested_by_caller => format!(
            "have `[[workload]]` with service_account = \"{namespace}/{name}\" and applications = \
             \"{}\" put into the gate's configuration",
            facts.app
        ),
        identity::Subject::CiJob(job) if !facts.tested_by_caller => format!(
            "have `[[workload]]` with ci = {{ issuer = \"{}\", repository = \"{}\" }} and applications = \
             \"{}\" put into the gate's configuration, with the ref and workflow that may report",
            caller.issuer, job.repository, facts.app
        ),
        _ => "ask whoever keeps the gate's policies".to_owned(),
    }
}

fn late() -> Fault {
    Fault(
        "Argo CD did not answer the gate in time".to_owned(),
        "see whether Argo CD's API server is up, then try again".to_owned(),
    )
}

/// Why Argo CD gives no application: what a refused report says, but for Argo CD's own troubles.
fn unread(application: &crate::names::AppRef, error: &client::Error) -> Fault {
    match error {
        client::Error::NoSuchApplication(_) => Fault(
            planner::unseen(application).sentence(),
            "name the Application as Argo CD does, with its namespace where that is not Argo CD's own"
                .to_owned(),
        ),
        client::Error::Unreachable(_) => Fault(
            "the gate cannot reach Argo CD".to_owned(),
            "see whether Argo CD's API server is up, then try again".to_owned(),
        ),
        _ => {
            let error = crate::telemetry::chain(error);
            tracing::warn!(%application, error, "a preflight cannot read an application");
            unusable()
        }
    }
}

fn unusable() -> Fault {
    Fault(
        "Argo CD gave the gate no usable answer".to_owned(),
        "ask whoever runs the gate to look at its log".to_owned(),
    )
}

/// The longest of the newest runs of the suite that passed, in seconds.
async fn takes(
    store: &Store,
    component: &Component,
    environment: &EnvironmentName,
    suite: &Suite,
) -> Option<u64> {
    let runs = store
        .runs_for(component, environment, suite, LOOK_BACK)
        .await;
    let runs = runs.inspect_err(|error: &store::Error| {
        let error = crate::telemetry::chain(error);
        tracing::warn!(error, "a preflight cannot read how long a suite took");
    });
    longest(&runs.ok()?)
}

/// The longest of the first [`PASSED`] that passed, in seconds, a second that has begun counting whole.
fn longest(runs: &[StoredRun]) -> Option<u64> {
    let passed = runs.iter().filter_map(|stored| {
        let end = stored.finish.as_ref()?;
        (end.verdict == Verdict::Passed).then_some((stored, end))
    });
    let took = passed.take(PASSED).map(|(stored, end)| {
        let length = end.finished_at.duration_since(stored.run.started_at);
        let seconds = length.as_secs() + i64::from(length.subsec_nanos() > 0);
        // By the reporter's clock, which may have been set in between.
        u64::try_from(seconds)
            .unwrap_or(0)
            .min(MAX_EXPECTED_SECONDS)
    });
    took.max()
}
