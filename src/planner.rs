//! From a call to what it is about: applications as they are now, their environments, and for a
//! sync what it would roll out and what the evidence says.
//!
//! In: a read [`Call`] and who makes it. Out: a [`Plan`] with one entry per application, each of
//! which becomes one Cedar request. Deploys read the application afresh, reads take it from the
//! index. Refused: an application that Argo CD does not have. Never: a plan built from what the
//! caller says about the application.

mod change;
mod children;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::app::App;
use crate::argocd::client::{self, Refresh};
use crate::argocd::operation::Effect;
use crate::argocd::request::{AppTarget, Body, Call, Retry, SyncRequest};
use crate::argocd::table::Handling;
use crate::config::{self, Assignment, Environment, Traits};
use crate::evidence::service::evidence_for;
use crate::gate::{self, AppFacts, ApplicationPlan, AskedRevisions, Finding, Gap, GapKind, Place};
use crate::identity::{Caller, Subject};
use crate::json;
use crate::names::{AppRef, Component};
use crate::policy::{
    ApplicationFacts, Context, FindingWord, Mode, Question, Resource, SyncOptions,
};
use crate::respond::Rejection;

pub use change::reaches_argo_objects;

/// What a call is about, ready to be asked about.
pub struct Plan {
    /// The action that policies know.
    pub action: &'static str,
    /// The applications; none for a call that is about Argo CD itself.
    pub applications: Vec<Planned>,
}

/// One application of a plan.
pub struct Planned {
    /// What policies know of it.
    pub facts: ApplicationFacts,
    /// What its environment does with a refusal.
    pub mode: Mode,
    /// What would be rolled out; absent when nothing would, or it could not be pinned.
    pub plan: Option<ApplicationPlan>,
    /// What the gate found; absent when nothing is rolled out.
    pub finding: Option<Finding>,
    /// How the operation was asked for.
    pub sync: Option<SyncOptions>,
    /// The retry strategy of its spec: what a sync without one uses.
    pub spec_retry: Option<Retry>,
}

impl Plan {
    /// One question for each application, or one about Argo CD itself.
    #[must_use]
    pub fn questions<'a>(
        &'a self,
        caller: &'a Caller,
        wire: &'static str,
        now: jiff::Timestamp,
    ) -> Vec<Question<'a>> {
        let context = |finding, mode, sync| Context {
            finding,
            now,
            bound: false,
            wire,
            mode,
            sync,
        };
        if self.applications.is_empty() {
            let context = context(FindingWord::None, Mode::Enforce, None);
            return vec![Question {
                caller,
                action: self.action,
                resource: Resource::ArgoCd,
                context,
            }];
        }
        let question = |planned: &'a Planned| Question {
            caller,
            action: self.action,
            resource: Resource::Application(&planned.facts),
            context: context(
                planned
                    .finding
                    .as_ref()
                    .map_or(FindingWord::None, FindingWord::from),
                planned.mode,
                planned.sync,
            ),
        };
        self.applications.iter().map(question).collect()
    }
}

/// Plans `call`.
///
/// # Errors
/// [`Rejection`]: there is no such application, Argo CD cannot be asked, the store cannot be read.
pub async fn plan(app: &App, caller: &Caller, call: &Call) -> Result<Plan, Rejection> {
    let action = if call.refresh {
        "Application.Refresh"
    } else {
        call.operation.name()
    };
    // A list or watch that names an application is still a list: what it carries is filtered.
    let is_list = call.operation.row().handling == Handling::Filter;
    let Some(target) = call.app.as_ref().filter(|_| !is_list) else {
        return Ok(Plan {
            action,
            applications: Vec::new(),
        });
    };
    let applications = match &call.body {
        Body::Sync(request) => vec![sync(app, caller, target, request).await?],
        _ if call.operation.effect() == Effect::Deploy => {
            change::plan(app, caller, call, target).await?
        }
        _ => vec![about(app, caller, &read(app, target, false).await?)?],
    };
    Ok(Plan {
        action,
        applications,
    })
}

/// The plan of a sync as far as it can be told without asking Argo CD to look at Git, and as if its
/// tests had passed: who may not even then is refused before anything is done for them.
///
/// # Errors
/// As [`plan`].
pub async fn screen(app: &App, caller: &Caller, call: &Call) -> Result<Option<Plan>, Rejection> {
    let (Some(target), Body::Sync(request)) = (&call.app, &call.body) else {
        return Ok(None);
    };
    let mut planned = about(app, caller, &read(app, target, false).await?)?;
    planned.sync = Some(options(request));
    planned.finding = Some(Finding::Satisfied { runs: Vec::new() });
    Ok(Some(Plan {
        action: call.operation.name(),
        applications: vec![planned],
    }))
}

/// Reads an application: from the index, or with `fresh` from Argo CD.
async fn read(app: &App, target: &AppTarget, fresh: bool) -> Result<Value, Rejection> {
    if !fresh && let Some(application) = app.index.get(&target.app) {
        return Ok(application.as_ref().clone());
    }
    ask(app, target, Refresh::None).await
}

async fn ask(app: &App, target: &AppTarget, refresh: Refresh) -> Result<Value, Rejection> {
    app.argocd
        .application(&target.app, target.project.as_deref(), refresh)
        .await
        .map_err(|error| refused(&target.app, &error))
}

/// What a caller is told when Argo CD does not give an application.
pub(crate) fn refused(application: &AppRef, error: &client::Error) -> Rejection {
    tracing::warn!(%application, error = crate::telemetry::chain(error), "cannot read an application");
    match error {
        client::Error::NoSuchApplication { .. } => unseen(application),
        client::Error::Timeout { .. } => Rejection::UpstreamTimeout,
        client::Error::Unreachable { .. } => Rejection::UpstreamUnreachable,
        _ => Rejection::UpstreamFailed,
    }
}

/// What a caller is told of an application that does not exist, or that they may not see: as Argo CD
/// does, without telling which.
#[must_use]
pub fn unseen(application: &AppRef) -> Rejection {
    Rejection::Policy {
        sentence: format!(
            "application {} does not exist, or you may not see it",
            application.name
        ),
    }
}

/// What policies know of `application` (Argo CD's JSON) when `caller` asks.
///
/// # Errors
/// [`Rejection::UpstreamFailed`] when it lacks what every application has.
pub fn about(app: &App, caller: &Caller, application: &Value) -> Result<Planned, Rejection> {
    let text = |pointer| json::text(application, pointer);
    let name = text("/metadata/name");
    if name.is_empty() {
        tracing::error!("Argo CD gave an application without a name");
        return Err(Rejection::UpstreamFailed);
    }
    let namespace = text("/metadata/namespace");
    let reference = AppRef {
        // Argo CD's own namespace has no name here, so that one application has one name.
        namespace: Some(namespace.to_owned()).filter(|namespace| {
            !namespace.is_empty() && *namespace != app.config.upstream.namespace
        }),
        name: name.to_owned(),
    };
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
    let automated = json::at(application, "/spec/syncPolicy/automated");
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
        auto_sync: automated.is_object() && automated["enabled"] != json!(false),
        tested_by_caller: tests(app, caller, &reference),
        labels,
    };
    let retry = json::at(application, "/spec/syncPolicy/retry");
    // Not understood, it could bring back the refresh by which a retry takes a newer commit.
    let spec_retry = serde_json::from_value(retry.clone()).map_err(|error| {
        tracing::error!(name, %error, "the retry strategy cannot be read");
        Rejection::UpstreamFailed
    })?;
    Ok(Planned {
        facts,
        mode: mode(assignment),
        plan: None,
        finding: None,
        sync: None,
        spec_retry,
    })
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
    let Subject::KubernetesAccount {
        namespace,
        name: account,
        ..
    } = &caller.subject
    else {
        return false;
    };
    app.config.workloads.iter().any(|workload| {
        let known = &workload.service_account;
        (&known.issuer, &known.namespace, &known.name) == (&caller.issuer, namespace, account)
            && config::fits(&workload.applications, application)
    })
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

/// What policies know of `application`, from the index where it has it.
///
/// # Errors
/// [`Rejection`] when Argo CD does not give it.
pub async fn known(app: &App, caller: &Caller, application: &AppRef) -> Result<Planned, Rejection> {
    let target = AppTarget {
        app: application.clone(),
        project: None,
    };
    about(app, caller, &read(app, &target, false).await?)
}

/// What policies know of the application of `target`, read afresh.
///
/// # Errors
/// [`Rejection`] when Argo CD does not give it.
pub async fn fresh(app: &App, caller: &Caller, target: &AppTarget) -> Result<Planned, Rejection> {
    about(app, caller, &read(app, target, true).await?)
}

/// The environment of an application that belongs to exactly one.
#[must_use]
pub fn environment<'a>(app: &'a App, facts: &ApplicationFacts) -> Option<&'a Environment> {
    app.config
        .environments
        .iter()
        .find(|e| e.name.as_str() == facts.environment)
}

/// Plans a sync of one application: what it would roll out, pinned, and what the evidence says.
async fn sync(
    app: &App,
    caller: &Caller,
    target: &AppTarget,
    request: &SyncRequest,
) -> Result<Planned, Rejection> {
    let application = ask(app, target, Refresh::Normal).await?;
    let mut planned = about(app, caller, &application)?;
    planned.sync = Some(options(request));
    let Some(environment) = environment(app, &planned.facts) else {
        // Policies refuse it for its environment; there is nothing to look up.
        planned.finding = Some(Finding::Blocked {
            gaps: vec![unplaced(&planned.facts)],
        });
        return Ok(planned);
    };
    let pinned = match Component::parse(planned.facts.component.clone()) {
        Ok(component) => pin(app, &application, environment, &component, request).await?,
        Err(_) => Err(vec![Gap::unpinnable(
            "it has no component by the rule of its environment",
        )]),
    };
    match pinned {
        Ok(plan) if request.is_dry_run() => planned.plan = Some(plan),
        Ok(plan) => {
            let mut finding = look_up(app, &plan, environment).await?;
            if request.is_local() && requires_tests(app, &planned.facts) {
                finding = unchecked("manifests from the caller's machine are of no commit");
            }
            if let Some(why) = children::objection(app, &application, &plan).await? {
                finding = unchecked(&why);
            }
            planned.finding = Some(finding);
            planned.plan = Some(plan);
        }
        // A dry run changes nothing, whatever it resolves to.
        Err(_) if request.is_dry_run() => {}
        Err(gaps) => planned.finding = Some(Finding::Blocked { gaps }),
    }
    Ok(planned)
}

fn options(request: &SyncRequest) -> SyncOptions {
    SyncOptions {
        apply: request.skips_hooks(),
        dry_run: request.is_dry_run(),
        partial: request.is_partial(),
        prune: request.prunes(),
        force: request.is_forced(),
        replace: request.replaces(),
        local: request.is_local(),
    }
}

/// Resolves what the request names and builds the plan.
async fn pin(
    app: &App,
    application: &Value,
    environment: &Environment,
    component: &Component,
    request: &SyncRequest,
) -> Result<Result<ApplicationPlan, Vec<Gap>>, Rejection> {
    let facts = gate_facts(application)?;
    let place = Place {
        environment: &environment.name,
        component,
        varies: &environment.varies,
    };
    let (mut positions, mut revisions): (Vec<i64>, Vec<String>) = request
        .revisions()
        .map(|(position, revision)| (position, revision.to_owned()))
        .unzip();
    let mut revision = request.revision().unwrap_or_default().to_owned();
    if let Err(gap) = resolve(app, &facts, &mut revision, &mut positions, &mut revisions).await {
        return Ok(Err(vec![gap]));
    }
    let asked = AskedRevisions {
        revision: &revision,
        positions: &positions,
        revisions: &revisions,
    };
    Ok(gate::plan(&facts, asked, place))
}

/// Replaces revisions that the request names by what they are: another branch or tag through our
/// own Git access, and a full SHA only where it is reachable.
async fn resolve(
    app: &App,
    facts: &AppFacts,
    revision: &mut String,
    positions: &mut [i64],
    revisions: &mut [String],
) -> Result<(), Gap> {
    let sources = &facts.sources.list;
    if !facts.sources.multi {
        if let [source] = sources.as_slice() {
            resolve_one(app, source, revision).await?;
        }
        return Ok(());
    }
    for (position, revision) in positions.iter().zip(revisions) {
        let index = usize::try_from(*position)
            .ok()
            .and_then(|p| p.checked_sub(1));
        if let Some(source) = index.and_then(|index| sources.get(index)) {
            resolve_one(app, source, revision).await?;
        }
    }
    Ok(())
}

async fn resolve_one(app: &App, source: &Value, revision: &mut String) -> Result<(), Gap> {
    let own = source["targetRevision"]
        .as_str()
        .filter(|t| !t.is_empty())
        .unwrap_or("HEAD");
    let is_git = source["chart"].as_str().is_none_or(str::is_empty);
    let repository = source["repoURL"].as_str().unwrap_or_default();
    if revision.is_empty() || revision == own || !is_git || repository.starts_with("oci://") {
        return Ok(());
    }
    let answer = if crate::names::is_full_sha(revision) {
        if !app.git.covers(repository) {
            return Ok(());
        }
        match app.git.reachable(repository, revision).await {
            Ok(true) => return Ok(()),
            Ok(false) => Err(format!(
                "`{revision}` is not reachable from a configured branch"
            )),
            Err(error) => Err(error.to_string()),
        }
    } else {
        app.git
            .resolve(repository, revision)
            .await
            .map_err(|error| error.to_string())
    };
    match answer {
        Ok(commit) => {
            *revision = commit.to_string();
            Ok(())
        }
        Err(detail) => Err(Gap::unpinnable(detail)),
    }
}

/// What the evidence says about `plan`.
async fn look_up(
    app: &App,
    plan: &ApplicationPlan,
    environment: &Environment,
) -> Result<Finding, Rejection> {
    let unread = |error: crate::store::Error| {
        tracing::error!(
            error = crate::telemetry::chain(&error),
            "cannot read evidence"
        );
        Rejection::Internal
    };
    crate::settle::before_look_up(app, &plan.component).await;
    let evidence = evidence_for(&app.store, plan, &environment.requires)
        .await
        .map_err(unread)?;
    let incumbent = crate::deployed::is_incumbent(app, plan)
        .await
        .map_err(unread)?;
    Ok(gate::find(
        plan,
        &environment.requires,
        &evidence,
        incumbent,
        app.clock.now(),
    ))
}

fn unplaced(facts: &ApplicationFacts) -> Gap {
    Gap::unpinnable(format!("its environment is {}", facts.environment))
}

/// A way to roll out whose commits nobody checks.
fn unchecked(why: &str) -> Finding {
    Finding::Blocked {
        gaps: vec![Gap {
            kind: GapKind::Unchecked,
            ..Gap::unpinnable(why)
        }],
    }
}

/// Whether the environment of an application requires tests. One without an environment could be
/// anywhere.
fn requires_tests(app: &App, facts: &ApplicationFacts) -> bool {
    environment(app, facts).is_none_or(|environment| !environment.requires.is_empty())
}

/// Whether any environment requires tests: where none does, there is nothing to get around.
#[must_use]
pub fn tests_anywhere(app: &App) -> bool {
    app.config
        .environments
        .iter()
        .any(|environment| !environment.requires.is_empty())
}
