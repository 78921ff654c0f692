//! From a call to what it is about: applications as they are and as they would be, their environments, what
//! would be rolled out, and what the evidence says.
//!
//! In: a read [`Call`] and who makes it, or a write that Kubernetes is asked for. Out: a [`Plan`] with one
//! entry per application, each of which becomes one Cedar request. Deploys read applications afresh, reads
//! take them from the index. Refused: an application that Argo CD does not have. Never: a plan built from what
//! the caller says about an application.
//!
//! | module | says |
//! |---|---|
//! | [`about()`] | what policies know of an application |
//! | `calls` | which writes and rollouts a call of the API is |
//! | `write` | what a write of an Application does |
//! | `rollout`, `contents` | what is rolled out, and what lies in it, down the tree |
//! | `pin` | at which commits |

mod about;
mod calls;
mod contents;
mod pin;
mod returning;
mod rollout;
mod write;

use serde_json::Value;

use crate::app::App;
use crate::argocd::change::Change;
use crate::argocd::client::{self, Refresh};
use crate::argocd::operation::Effect;
use crate::argocd::request::{AppTarget, Body, Call, Retry};
use crate::argocd::table::Handling;
use crate::break_glass;
use crate::config::Environment;
use crate::evidence::service::evidence_for;
use crate::gate::{self, ApplicationPlan, Finding, Gap, GapKind};
use crate::hold::Holds;
use crate::identity::Caller;
use crate::json;
use crate::names::{AppRef, DecisionId};
use crate::policy::{
    ApplicationFacts, Context, Deploying, FindingWord, GlassWord, Mode, Moves, Question, Resource,
    SyncOptions,
};
use crate::respond::Rejection;

pub use about::{about, environment, facts, gate_facts, gone};
pub use contents::Listed;
pub use returning::returning;
use rollout::{At, Planning};
use write::Write;

/// What a call is about, ready to be asked about.
#[derive(Default)]
pub struct Plan {
    /// The action that policies know.
    pub action: &'static str,
    /// The applications, the one that is called first; none for a call that is about Argo CD itself.
    pub applications: Vec<Planned>,
    /// Actions on Argo CD itself that the call comes to.
    pub administers: Vec<&'static str>,
    /// Why it should be let through although something is missing, if the caller says that this is an
    /// emergency: [`crate::break_glass`].
    pub justification: Option<String>,
    /// The rollout to which the caller says that it belongs: [`crate::rollout`].
    pub rollout: Option<DecisionId>,
    /// The applications whose manifests lie in what is rolled out, whatever is done to them; some perhaps twice.
    pub listed: Vec<Listed>,
}

/// Whether what would be rolled out ran before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ran {
    /// It is an incumbent: permitted, and it ran here, but something else was rolled out since.
    Before,
    /// It is what the application rolled out last.
    Last,
    /// It did not, or nobody can tell.
    #[default]
    Never,
}

impl Ran {
    /// Of what `plan` rolls out of the application that is `live`.
    fn of(live: Option<&Value>, plan: &ApplicationPlan, incumbent: bool) -> Self {
        match live {
            Some(live) if crate::deployed::is_last(live, plan) => Self::Last,
            _ if incumbent => Self::Before,
            _ => Self::Never,
        }
    }
}

/// One application of a plan.
pub struct Planned {
    /// What is done to it, as policies know it.
    pub action: &'static str,
    /// Of which kinds that is.
    pub changes: Vec<Change>,
    /// What policies know of it.
    pub facts: ApplicationFacts,
    /// What its environment does with a refusal.
    pub mode: Mode,
    /// What would be rolled out; absent when nothing would, or it could not be pinned.
    pub plan: Option<ApplicationPlan>,
    /// What the gate found; absent when nothing is rolled out.
    pub finding: Option<Finding>,
    /// Whether what would be rolled out ran before.
    pub ran: Ran,
    /// How the operation was asked for.
    pub sync: Option<SyncOptions>,
    /// The retry strategy of its spec: what a sync without one uses.
    pub spec_retry: Option<Retry>,
    /// What Argo CD writes because of it, as [`crate::intent`] has it.
    pub writes: Vec<String>,
    /// Whether Argo CD resolves its target revision itself.
    pub moving: bool,
    /// The sync waves of the manifests by which a parent's rollout leads to it, from the top of the tree; none
    /// for what is called.
    pub wave: Vec<i64>,
}

impl Planned {
    /// Where it would take the application. Manifests from the caller's machine are of no commit, whatever
    /// the plan says.
    #[must_use]
    pub fn moves(&self) -> Moves {
        let is_local = self.sync.is_some_and(|options| options.local);
        match (&self.finding, self.ran) {
            (None, _) => Moves::Nothing,
            (Some(_), Ran::Last) if !is_local => Moves::Again,
            (Some(_), Ran::Before) if !is_local => Moves::Back,
            (Some(_), _) => Moves::Forward,
        }
    }

    /// Whether it asks to be let through by the justification of `plan`: only what is pinned, from Git, and held
    /// to its rules.
    #[must_use]
    pub fn breaks(&self, plan: &Plan) -> bool {
        plan.justification.is_some() && self.can_break()
    }

    /// Whether it could be let through in an emergency at all.
    #[must_use]
    pub fn can_break(&self) -> bool {
        let whole = self.sync.is_none_or(|it| !it.local && !it.dry_run);
        whole && self.mode == Mode::Enforce && self.plan.is_some() && self.finding.is_some()
    }

    /// Whether it is an emergency.
    #[must_use]
    pub fn glass(&self, plan: &Plan, holds: &Holds) -> GlassWord {
        if self.breaks(plan) {
            return GlassWord::Asked;
        }
        holds.glass(self.plan.as_ref().filter(|_| self.can_break()))
    }

    fn deploying(&self, plan: &Plan, holds: &Holds) -> Option<Deploying> {
        let hold = holds.of(&self.facts.environment);
        let freezes = hold.freezes.iter().map(|frozen| frozen.name.to_string());
        Deploying::belongs_to(self.action).then(|| Deploying {
            moves: self.moves(),
            freezes: freezes.collect(),
            stopped: hold.stopped.is_some(),
            break_glass: self.glass(plan, holds),
            rolled_back: holds.is_rolled_back(&self.facts.app, self.plan.as_ref()),
        })
    }
}

impl Plan {
    /// One question for each application and each action on Argo CD itself.
    #[must_use]
    pub fn questions<'a>(
        &'a self,
        caller: &'a Caller,
        wire: &'static str,
        now: jiff::Timestamp,
        holds: &Holds,
    ) -> Vec<Question<'a>> {
        let of_argocd = |action| Question {
            caller,
            action,
            resource: Resource::ArgoCd,
            context: Context::plain(now, wire),
        };
        if self.applications.is_empty() && self.administers.is_empty() {
            return vec![of_argocd(self.action)];
        }
        let of_application = |planned: &'a Planned| Question {
            caller,
            action: planned.action,
            resource: Resource::Application(&planned.facts),
            context: Context {
                finding: planned
                    .finding
                    .as_ref()
                    .map_or(FindingWord::None, FindingWord::from),
                mode: planned.mode,
                sync: planned.sync,
                deploy: planned.deploying(self, holds),
                ..Context::plain(now, wire)
            },
        };
        let applications = self.applications.iter().map(of_application);
        let administers = self.administers.iter().map(|action| of_argocd(action));
        applications.chain(administers).collect()
    }
}

/// Plans `call`.
///
/// # Errors
/// [`Rejection`]: there is no such application, Argo CD cannot be asked, the store cannot be read.
pub async fn plan(app: &App, caller: &Caller, call: &Call) -> Result<Plan, Rejection> {
    let action = action(call);
    let is_set = matches!(
        call.body,
        Body::ApplicationSet(_) | Body::ApplicationSetDelete(_)
    );
    if is_set || call.effect() == Effect::Deploy {
        let mut plan = calls::plan(app, caller, call).await?;
        plan.justification = justification(call)?;
        plan.rollout = crate::rollout::joined(app, caller, call).await?;
        return Ok(plan);
    }
    // A list or watch that names an application is still a list: what it carries is filtered.
    let is_list = call.operation.row().handling == Handling::Filter;
    let target = call.app.as_ref().filter(|_| !is_list);
    let applications = match target {
        None => Vec::new(),
        Some(target) => {
            let application = read(app, target, false).await?;
            let mut all = vec![about(app, caller, action, &application)?];
            if let Some(child) = &call.child {
                all.push(known(app, caller, action, child).await?);
            }
            all
        }
    };
    Ok(Plan {
        action,
        applications,
        ..Plan::default()
    })
}

/// Why a sync is an emergency, if it says so.
fn justification(call: &Call) -> Result<Option<String>, Rejection> {
    let said = match &call.body {
        Body::Sync(request) => request.info(break_glass::INFO),
        _ => None,
    };
    let read = said.map(break_glass::justification).transpose();
    read.map_err(|problem| Rejection::BadRequest {
        sentence: format!("the info `{}` {problem}", break_glass::INFO),
    })
}

fn action(call: &Call) -> &'static str {
    if call.refresh {
        "Application.Refresh"
    } else {
        call.operation.name()
    }
}

/// A write of an Application that Kubernetes is asked for, as an admission review has it: whole objects.
pub struct AdmittedWrite<'a> {
    /// The object as it is; absent when it is created.
    pub before: Option<&'a Value>,
    /// The object as it would be.
    pub after: &'a Value,
    /// Whether Argo CD itself writes it.
    pub by_argocd: bool,
}

/// Plans a write that Kubernetes is asked for. Whether its `status` may be written is not looked at: that
/// depends on who writes.
///
/// # Errors
/// As [`plan`].
pub async fn admitted(
    app: &App,
    caller: &Caller,
    write: &AdmittedWrite<'_>,
) -> Result<Plan, Rejection> {
    let mut after = write.after.clone();
    let status = write
        .before
        .map_or(&Value::Null, |before| json::at(before, "/status"));
    json::set(&mut after, "/status", status.clone());
    let by_argocd = write.by_argocd;
    let mut planning = Planning::new(app, caller, At::Admission { by_argocd });
    let write = Write::by_kubernetes(write.before, &after);
    let mut applications = planning.write(write).await?;
    if applications.is_empty() {
        applications.push(about(app, caller, "ApplicationService.Update", &after)?);
    }
    Ok(Plan {
        action: applications
            .first()
            .map_or("ApplicationService.Update", |first| first.action),
        applications,
        administers: planning.administers.into_iter().collect(),
        ..Plan::default()
    })
}

/// The plan of something that is done to Argo CD itself: one question about `action`.
#[must_use]
pub fn administers(action: &'static str) -> Plan {
    Plan {
        action,
        ..Plan::default()
    }
}

/// The plan of a sync as far as it can be told without asking Argo CD to look at Git, and as if its
/// tests had passed: who may not even then is refused before anything is done for them. What holds its
/// environment is not for this: what was rolled out last may be rolled out again.
///
/// # Errors
/// As [`plan`].
pub async fn screen(app: &App, caller: &Caller, call: &Call) -> Result<Option<Plan>, Rejection> {
    let (Some(target), Body::Sync(request)) = (&call.app, &call.body) else {
        return Ok(None);
    };
    let application = read(app, target, false).await?;
    let mut planned = about(app, caller, call.operation.name(), &application)?;
    planned.sync = Some(calls::how(request, &application).options);
    planned.finding = Some(Finding::Satisfied { runs: Vec::new() });
    Ok(Some(Plan {
        action: call.operation.name(),
        applications: vec![planned],
        ..Plan::default()
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

/// What policies know of `application`, from the index where it has it.
///
/// # Errors
/// [`Rejection`] when Argo CD does not give it.
pub async fn known(
    app: &App,
    caller: &Caller,
    action: &'static str,
    application: &AppRef,
) -> Result<Planned, Rejection> {
    let target = AppTarget {
        app: application.clone(),
        project: None,
    };
    about(app, caller, action, &read(app, &target, false).await?)
}

/// What policies know of the application of `target`, read afresh.
///
/// # Errors
/// [`Rejection`] when Argo CD does not give it.
pub async fn fresh(
    app: &App,
    caller: &Caller,
    action: &'static str,
    target: &AppTarget,
) -> Result<Planned, Rejection> {
    about(app, caller, action, &read(app, target, true).await?)
}

/// What the evidence says about `plan`.
async fn look_up(
    app: &App,
    plan: &ApplicationPlan,
    environment: &Environment,
    incumbent: bool,
) -> Result<Finding, Rejection> {
    crate::settle::before_look_up(app, &plan.component).await;
    let evidence = evidence_for(&app.store, plan, &environment.requires)
        .await
        .map_err(|error| unread(&error))?;
    Ok(gate::find(
        plan,
        &environment.requires,
        &evidence,
        incumbent,
        app.clock.now(),
    ))
}

fn unread(error: &crate::store::Error) -> Rejection {
    let error = crate::telemetry::chain(error);
    tracing::error!(error, "cannot read evidence");
    Rejection::Internal
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
