//! From a call to what it is about: applications as they are now, their environments, and for a
//! sync what it would roll out and what the evidence says.
//!
//! In: a read [`Call`] and who makes it. Out: a [`Plan`] with one entry per application, each of
//! which becomes one Cedar request. Deploys read the application afresh, reads take it from the
//! index. Refused: an application that Argo CD does not have. Never: a plan built from what the
//! caller says about the application.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::app::App;
use crate::argocd::classify::Wire;
use crate::argocd::client::{self, Refresh};
use crate::argocd::operation::{Effect, Operation};
use crate::argocd::request::{AppTarget, Body, Call, Retry, SyncRequest};
use crate::argocd::table::Handling;
use crate::argocd::{framing, proto, protobuf};
use crate::config::{Assignment, Environment, Traits};
use crate::evidence::service::evidence_for;
use crate::gate::{self, AppFacts, ApplicationPlan, AskedRevisions, Finding, Gap, GapKind, Place};
use crate::identity::{Caller, Subject};
use crate::json;
use crate::names::{AppRef, Component};
use crate::policy::{
    ApplicationFacts, Context, FindingWord, Mode, Question, Resource, SyncOptions,
};
use crate::respond::Rejection;

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
    let planned = match &call.body {
        Body::Sync(request) => sync(app, caller, target, request).await?,
        _ if call.operation == Operation::ApplicationCreate => {
            create(app, caller, call, target).await?
        }
        _ => {
            let fresh = call.operation.effect() == Effect::Deploy;
            let application = read(app, target, fresh).await?;
            let mut planned = about(app, caller, &application)?;
            planned.finding = finding_of_other(app, &planned, call);
            planned.sync = SyncOptions::belong_to(action).then(SyncOptions::default);
            planned
        }
    };
    Ok(Plan {
        action,
        applications: vec![planned],
    })
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
        // As Argo CD does, without telling whether it exists.
        client::Error::NoSuchApplication { .. } => Rejection::Policy {
            sentence: format!("application {application} does not exist, or you may not see it"),
        },
        client::Error::Timeout { .. } => Rejection::UpstreamTimeout,
        client::Error::Unreachable { .. } => Rejection::UpstreamUnreachable,
        _ => Rejection::UpstreamFailed,
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
    let labels = labels(application);
    let cluster = match text("/spec/destination/server") {
        "" => text("/spec/destination/name"),
        server => server,
    };
    let traits = Traits {
        name,
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
        app: AppRef {
            namespace: Some(text("/metadata/namespace").to_owned()),
            name: name.to_owned(),
        },
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
        tested_by_caller: tests(app, caller, name),
        labels,
    };
    let retry = json::at(application, "/spec/syncPolicy/retry");
    Ok(Planned {
        facts,
        mode: mode(assignment),
        plan: None,
        finding: None,
        sync: None,
        spec_retry: serde_json::from_value(retry.clone()).unwrap_or_default(),
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

/// Whether configuration lets `caller` report the tests of the application `name`.
fn tests(app: &App, caller: &Caller, name: &str) -> bool {
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
            && workload.applications.matches(name)
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
    planned.sync = Some(SyncOptions {
        dry_run: request.is_dry_run(),
        partial: request.is_partial(),
        prune: request.prunes(),
        force: request.is_forced(),
        replace: request.replaces(),
        local: request.is_local(),
    });
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
            planned.finding = Some(look_up(app, &plan, environment).await?);
            planned.plan = Some(plan);
        }
        // A dry run changes nothing, whatever it resolves to.
        Err(_) if request.is_dry_run() => {}
        Err(gaps) => planned.finding = Some(Finding::Blocked { gaps }),
    }
    Ok(planned)
}

/// Resolves what the request names and builds the plan.
async fn pin(
    app: &App,
    application: &Value,
    environment: &Environment,
    component: &Component,
    request: &SyncRequest,
) -> Result<Result<ApplicationPlan, Vec<Gap>>, Rejection> {
    let facts = AppFacts::from_json(application).map_err(|error| {
        tracing::error!(
            error = crate::telemetry::chain(&error),
            "cannot read an application"
        );
        Rejection::UpstreamFailed
    })?;
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

/// An application that does not exist yet: from the body, which the call parser has checked.
async fn create(
    app: &App,
    caller: &Caller,
    call: &Call,
    target: &AppTarget,
) -> Result<Planned, Rejection> {
    match app
        .argocd
        .application(&target.app, None, Refresh::None)
        .await
    {
        // Create with upsert replaces it: it is decided on as it is, and as it would be.
        Ok(application) => {
            let mut planned = about(app, caller, &application)?;
            planned.finding = finding_of_other(app, &planned, call);
            Ok(planned)
        }
        Err(client::Error::NoSuchApplication { .. }) => {
            let mut planned = about(app, caller, &new_application(call, target))?;
            planned.finding = finding_of_other(app, &planned, call);
            Ok(planned)
        }
        Err(error) => Err(refused(&target.app, &error)),
    }
}

/// The Application that a `Create` carries, as the JSON that [`about`] reads. The call parser has
/// checked the body; what cannot be read here belongs to no environment.
fn new_application(call: &Call, target: &AppTarget) -> Value {
    let Ok(body) = call.forward_body() else {
        return Value::Null;
    };
    let carried = match call.wire {
        Wire::Rest | Wire::RestStream => serde_json::from_slice(&body).unwrap_or(Value::Null),
        Wire::Grpc | Wire::GrpcWeb => carried_in_message(&body).unwrap_or(Value::Null),
    };
    json!({
        "metadata": {
            "name": target.app.name,
            "namespace": target.app.namespace.as_deref().unwrap_or_default(),
            "labels": json::at(&carried, "/metadata/labels"),
        },
        "spec": {
            "project": json::at(&carried, "/spec/project"),
            "destination": json::at(&carried, "/spec/destination"),
            "syncPolicy": json::at(&carried, "/spec/syncPolicy"),
        },
    })
}

fn carried_in_message(body: &[u8]) -> Option<Value> {
    use prost::Message as _;
    let message = framing::read_message(body, framing::MAX_MESSAGE_BYTES).ok()?;
    let carried = protobuf::bytes_at(message, [1]).ok()??;
    let application = proto::Application::decode(carried).ok()?;
    let metadata = application.metadata.unwrap_or_default();
    let spec = application.spec.unwrap_or_default();
    let destination = spec.destination.unwrap_or_default();
    Some(json!({
        "metadata": {"labels": metadata.labels},
        "spec": {
            "project": spec.project,
            "destination": {
                "server": destination.server,
                "namespace": destination.namespace,
                "name": destination.name,
            },
        },
    }))
}

/// The finding of a deploy that is no sync. What moves what runs, or arms Argo CD to move it, is
/// blocked where tests are required, since there its commits are not checked; what only disturbs
/// (delete, terminate, restart) is a matter of policy.
fn finding_of_other(app: &App, planned: &Planned, call: &Call) -> Option<Finding> {
    if call.operation.effect() != Effect::Deploy {
        return None;
    }
    let why = match call.operation {
        Operation::ApplicationRollback => {
            "a rollback cannot be checked yet; sync the earlier commit: argocd app sync NAME --revision SHA"
        }
        Operation::ApplicationPatch => {
            "a patch cannot be checked yet; use argocd app set or argocd app sync"
        }
        _ if call.arms_auto_sync() == Some(true) => {
            "automated sync would roll out commits without a check; it needs the admission door"
        }
        _ => return None,
    };
    let requires = environment(app, &planned.facts).is_none_or(|e| !e.requires.is_empty());
    Some(if requires {
        Finding::Blocked {
            gaps: vec![Gap {
                kind: GapKind::Unchecked,
                ..Gap::unpinnable(why)
            }],
        }
    } else {
        Finding::Exempt
    })
}

/// Whether `call` acts on an `argoproj.io` object through the resource calls of an application: on
/// another application than the one it names, past every check of that one.
#[must_use]
pub fn reaches_argo_objects(call: &Call) -> bool {
    let resource_call = matches!(
        call.operation,
        Operation::ApplicationPatchResource
            | Operation::ApplicationDeleteResource
            | Operation::ApplicationRunResourceAction
            | Operation::ApplicationRunResourceActionV2
    );
    // SECURITY: path, query and JSON are our own canonical form and protobuf text is plain UTF-8,
    // so the group cannot be spelled in another way. Text that merely mentions it is refused too.
    let mentions = |bytes: &[u8]| {
        bytes
            .windows(ARGO_GROUP.len())
            .any(|window| window.eq_ignore_ascii_case(ARGO_GROUP))
    };
    resource_call
        && (mentions(call.forward_path.as_bytes())
            || call.forward_body().map_or(true, |body| mentions(&body)))
}

const ARGO_GROUP: &[u8] = b"argoproj.io";

fn unplaced(facts: &ApplicationFacts) -> Gap {
    Gap::unpinnable(format!("its environment is {}", facts.environment))
}
