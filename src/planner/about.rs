//! What policies know of an application, and where it belongs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Planned, Ran};
use crate::app::App;
use crate::argocd::change::is_armed;
use crate::config::{self, Assignment, Environment, Tester, Traits};
use crate::gate::AppFacts;
use crate::identity::{Caller, Subject};
use crate::json;
use crate::names::{AppRef, Component, EnvironmentName};
use crate::policy::{ApplicationFacts, Mode};
use crate::respond::Rejection;

/// What policies know of `application` (Argo CD's JSON) when `caller` asks to do `action` to it.
///
/// # Errors
/// [`Rejection::UpstreamFailed`] when it lacks what every application has.
pub fn about(
    app: &App,
    caller: &Caller,
    action: &'static str,
    application: &Value,
) -> Result<Planned, Rejection> {
    if json::text(application, "/metadata/name").is_empty() {
        tracing::error!("Argo CD gave an application without a name");
        return Err(Rejection::UpstreamFailed);
    }
    let (mut facts, mode) = facts(app, application);
    facts.tested_by_caller = tests(app, caller, &facts.app);
    let retry = json::at(application, "/spec/syncPolicy/retry");
    // Not understood, it could bring back the refresh by which a retry takes a newer commit.
    let spec_retry = serde_json::from_value(retry.clone()).map_err(|error| {
        tracing::error!(application = %facts.app, %error, "the retry strategy cannot be read");
        Rejection::UpstreamFailed
    })?;
    Ok(Planned {
        action,
        changes: Vec::new(),
        facts,
        mode,
        plan: None,
        finding: None,
        ran: Ran::default(),
        sync: None,
        spec_retry,
        writes: Vec::new(),
        moving: false,
        wave: Vec::new(),
    })
}

/// What policies know of an application that Argo CD has no more, when somebody asks to do `action` to
/// what is kept about it.
#[must_use]
pub fn gone(
    action: &'static str,
    application: &AppRef,
    environment: &EnvironmentName,
    component: &Component,
) -> Planned {
    Planned {
        action,
        changes: Vec::new(),
        facts: ApplicationFacts {
            app: application.clone(),
            uid: None,
            project: String::new(),
            environment: environment.to_string(),
            component: component.to_string(),
            cluster: String::new(),
            destination_namespace: String::new(),
            labels: BTreeMap::new(),
            auto_sync: false,
            tested_by_caller: false,
        },
        mode: Mode::Enforce,
        plan: None,
        finding: None,
        ran: Ran::default(),
        sync: None,
        spec_retry: None,
        writes: Vec::new(),
        moving: false,
        wave: Vec::new(),
    }
}

/// What policies know of `application` whoever asks, and what its environment does with a refusal.
pub fn facts(app: &App, application: &Value) -> (ApplicationFacts, Mode) {
    let text = |pointer| json::text(application, pointer);
    let reference = reference(app, application);
    let labels = labels(application);
    let cluster = match text("/spec/destination/server") {
        "" => text("/spec/destination/name"),
        server => server,
    };
    let traits = Traits {
        application: &reference,
        project: text("/spec/project"),
        cluster,
        namespace: text("/spec/destination/namespace"),
        labels: &labels,
    };
    let assignment = Assignment::of(&app.config.environments, traits);
    let component = match assignment {
        Assignment::One(environment) => environment.component.component(traits),
        Assignment::Ambiguous(..) | Assignment::Unassigned => None,
    };
    let facts = ApplicationFacts {
        app: reference.clone(),
        uid: Some(text("/metadata/uid").to_owned()).filter(|uid| !uid.is_empty()),
        project: traits.project.to_owned(),
        environment: assignment.name().to_owned(),
        component: component
            .as_ref()
            .map(Component::to_string)
            .unwrap_or_default(),
        cluster: cluster.to_owned(),
        destination_namespace: traits.namespace.to_owned(),
        auto_sync: is_armed(application),
        tested_by_caller: false,
        labels,
    };
    (facts, mode(assignment))
}

/// The name of `application` as configuration and policies have it: without a namespace where that is
/// Argo CD's own, so that one application has one name.
pub(super) fn reference(app: &App, application: &Value) -> AppRef {
    let namespace = json::text(application, "/metadata/namespace");
    AppRef {
        namespace: Some(namespace.to_owned()).filter(|namespace| {
            !namespace.is_empty() && *namespace != app.config.upstream.namespace
        }),
        name: json::text(application, "/metadata/name").to_owned(),
    }
}

fn labels(application: &Value) -> BTreeMap<String, String> {
    let labels = json::at(application, "/metadata/labels").as_object();
    let labels = labels.into_iter().flatten();
    labels
        .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
        .collect()
}

/// What the environment does with a refusal. Without one environment, refusals count.
fn mode(assignment: Assignment<'_>) -> Mode {
    match assignment {
        Assignment::One(environment) => environment.mode,
        Assignment::Ambiguous(..) | Assignment::Unassigned => Mode::Enforce,
    }
}

/// Whether configuration lets `caller` report the tests of `application`.
fn tests(app: &App, caller: &Caller, application: &AppRef) -> bool {
    let runs = |tester: &Tester| match (tester, &caller.subject) {
        (Tester::Ci(jobs), Subject::CiJob(job)) => jobs.fits(&caller.issuer, job),
        (
            Tester::ServiceAccount(known),
            Subject::KubernetesAccount {
                namespace, name, ..
            },
        ) => (&known.issuer, &known.namespace, &known.name) == (&caller.issuer, namespace, name),
        _ => false,
    };
    app.config
        .workloads
        .iter()
        .any(|workload| runs(&workload.tester) && config::fits(&workload.applications, application))
}

/// What the gate has to know of `application` (Argo CD's JSON).
///
/// # Errors
/// [`Rejection::UpstreamFailed`] when it lacks what every application has.
pub fn gate_facts(application: &Value) -> Result<AppFacts, Rejection> {
    AppFacts::from_json(application).map_err(|error| {
        tracing::error!(
            error = crate::telemetry::chain(&error),
            "cannot read an application"
        );
        Rejection::UpstreamFailed
    })
}

/// The environment of an application that belongs to exactly one.
#[must_use]
pub fn environment<'a>(app: &'a App, facts: &ApplicationFacts) -> Option<&'a Environment> {
    app.config
        .environments
        .iter()
        .find(|e| e.name.as_str() == facts.environment)
}

/// Whether the environment of an application requires tests. One without an environment could be
/// anywhere.
pub(super) fn requires_tests(app: &App, facts: &ApplicationFacts) -> bool {
    environment(app, facts).is_none_or(|environment| !environment.requires.is_empty())
}

/// Whether any environment requires tests: where none does, there is nothing to get around.
pub(super) fn tests_anywhere(app: &App) -> bool {
    app.config
        .environments
        .iter()
        .any(|environment| !environment.requires.is_empty())
}
