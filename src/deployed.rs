//! What a permitted sync became: whether Argo CD runs what was checked, and what ran before.
//!
//! Before the forward a deployment is stored as *permitted*; after it, the operation that carries
//! our decision is compared with the plan, and terminated where it differs (the destination and the
//! sources are read by Argo CD from the live object, which another writer can change). When the
//! operation has ended ([`crate::settle`]) the deployment has succeeded or failed; commits that
//! succeeded here are the *incumbent* and may come back.

use serde_json::{Value, json};

use crate::app::App;
use crate::argocd::client::Refresh;
use crate::argocd::operation::Operation;
use crate::argocd::request::INFO_DECISION;
use crate::draft::Draft;
use crate::gate::{AppFacts, ApplicationPlan};
use crate::intent::Intent;
use crate::json;
use crate::names::{AppRef, Commit, Component, DecisionId, SourceDigest};
use crate::planner::{self, Plan, Planned};
use crate::policy::Mode;
use crate::record::{Durability, Outcome, Word};
use crate::respond::Rejection;
use crate::store::{self, DeploymentRow, DeploymentState, Store};

/// How many deployments are looked back on for an incumbent.
const LOOK_BACK: u32 = 500;

/// Stores what is about to be written and rolled out: the intents by which the admission door recognises it,
/// and the deployments that operations begin.
///
/// # Errors
/// [`Rejection`] when it cannot be stored; nothing may be forwarded then.
pub async fn permitted(app: &App, decision: DecisionId, plan: &Plan) -> Result<(), Rejection> {
    let at = app.clock.now();
    let intents = plan.applications.iter().flat_map(|planned| {
        let application = &planned.facts.app;
        let namespace = application.namespace.as_ref();
        planned.writes.iter().map(move |digest| Intent {
            decision,
            namespace: namespace.unwrap_or(&app.config.upstream.namespace).clone(),
            name: application.name.clone(),
            uid: planned.facts.uid.clone(),
            digest: digest.clone(),
            at,
        })
    });
    let stored = app.store.add_intents(intents.collect()).await;
    stored.map_err(|error| not_stored(decision, &error))?;
    for planned in &plan.applications {
        if let Some(row) = deployment(decision, planned) {
            let stored = app.store.upsert_deployment(row).await;
            stored.map_err(|error| not_stored(decision, &error))?;
        }
    }
    Ok(())
}

fn not_stored(decision: DecisionId, error: &store::Error) -> Rejection {
    if matches!(error, store::Error::Behind { .. }) {
        return Rejection::RecordBehind;
    }
    tracing::error!(%decision, error = crate::telemetry::chain(error), "not stored");
    Rejection::Internal
}

/// Only a whole rollout that was permitted on its merits is one that may come back later: no dry run, no
/// partial or local sync, none without hooks, and none that an observing environment let through. What
/// automated sync rolls out is stored when its operation is admitted.
fn deployment(decision: DecisionId, planned: &Planned) -> Option<DeploymentRow> {
    let options = planned.sync?;
    let whole = !(options.dry_run || options.partial || options.local || options.apply);
    let plan = planned.plan.as_ref()?;
    (whole && planned.mode == Mode::Enforce).then(|| DeploymentRow {
        decision,
        application: plan.application.clone(),
        uid: plan.uid.clone(),
        environment: plan.environment.clone(),
        component: plan.component.clone(),
        commits: plan.commits(),
        source_digest: plan.source_digest.clone(),
        started_at: None,
        state: DeploymentState::Permitted,
        ran: None,
    })
}

/// Stores what runs of `application` since before the gate as what may come back: the gate stops nobody from
/// keeping what is there. To be called at the first look only.
///
/// # Errors
/// [`store::Error`].
pub async fn baseline(app: &App, application: &Value) -> Result<(), store::Error> {
    let (facts, _) = planner::facts(app, application);
    let (Some(environment), Ok(component)) = (
        planner::environment(app, &facts),
        Component::parse(facts.component.clone()),
    ) else {
        return Ok(());
    };
    let Ok(known) = AppFacts::from_json(application) else {
        return Ok(());
    };
    let Some((commits, source_digest)) = last(&known) else {
        return Ok(());
    };
    let entry = json::at(application, "/status/history")
        .as_array()
        .and_then(|entries| entries.last());
    let row = DeploymentRow {
        decision: DecisionId::new(app.clock.now()),
        // As plans name it.
        application: known.application,
        uid: known.uid,
        environment: environment.name.clone(),
        component,
        commits,
        source_digest,
        started_at: None,
        state: DeploymentState::Succeeded,
        ran: entry.map(ran),
    };
    app.store.upsert_deployment(row).await
}

/// Sources and revisions of `holder`, an entry of the history or the result of a sync: from them the same can be
/// rolled out again.
pub(crate) fn ran(holder: &Value) -> Value {
    let keys = ["source", "sources", "revision", "revisions"];
    let given = keys.into_iter().filter_map(|key| {
        let value = holder.get(key).filter(|value| !value.is_null())?;
        Some((key.to_owned(), value.clone()))
    });
    Value::Object(given.collect())
}

/// Whether exactly these commits and parameters were permitted and ran in this environment, and no
/// later deployment of them failed.
///
/// # Errors
/// [`store::Error`].
pub async fn is_incumbent(store: &Store, plan: &ApplicationPlan) -> Result<bool, store::Error> {
    let newest_first = store
        .deployments(&plan.environment, &plan.component, LOOK_BACK)
        .await?;
    let commits = plan.commits();
    let ended = newest_first.iter().find(|row| {
        row.application == plan.application
            && row.uid == plan.uid
            && row.commits == commits
            && row.source_digest == plan.source_digest
            && matches!(
                row.state,
                DeploymentState::Failed | DeploymentState::Succeeded
            )
    });
    Ok(ended.is_some_and(|row| row.state == DeploymentState::Succeeded))
}

/// Whether exactly these commits and parameters are what `application` rolled out last, by its history,
/// which Argo CD alone writes.
#[must_use]
pub fn is_last(application: &Value, plan: &ApplicationPlan) -> bool {
    let known = AppFacts::from_json(application).ok();
    let last = known.as_ref().and_then(last);
    last.is_some_and(|last| last == (plan.commits(), plan.source_digest.clone()))
}

/// What an application rolled out last. What could not be pinned cannot be recognised either.
fn last(known: &AppFacts) -> Option<(Vec<Commit>, SourceDigest)> {
    let ran = known.deployed.as_ref()?;
    let sources = ran.pinned().ok()?;
    let commits = sources.into_iter().map(|source| source.commit).collect();
    let digest = ApplicationPlan::digests(&ran.sources.list, &[]).0;
    Some((commits, digest))
}

/// Compares the operation that the forwarded call started with what was checked.
///
/// # Errors
/// [`Rejection::Conflict`] when it differs; it is terminated then.
pub async fn verify(app: &App, decision: DecisionId, plan: &Plan) -> Result<(), Rejection> {
    let Some(planned) = plan.applications.first() else {
        return Ok(());
    };
    let starts = planned.sync.is_some_and(|options| !options.dry_run);
    let Some(pinned) = planned
        .plan
        .as_ref()
        .filter(|_| starts && planned.mode == Mode::Enforce)
    else {
        return Ok(());
    };
    let read = app
        .argocd
        .application(&pinned.application, None, Refresh::None)
        .await;
    let application = match read {
        Ok(application) => application,
        Err(error) => {
            // Not known to be wrong. When it has ended, `settle` compares it again before these
            // commits count as having run here.
            tracing::warn!(%decision, error = crate::telemetry::chain(&error), "not verified");
            return Ok(());
        }
    };
    // A rollback takes no remark along: whatever began since is it, as there is one operation at a time.
    let operation = operation_of(&application, decision)
        .or_else(|| begun(&application, decision).filter(|_| is_rollback(plan)));
    let Some(operation) = operation else {
        return Ok(());
    };
    if planned.moving {
        return looked_at(app, decision, &planned.facts.app).await;
    }
    let as_checked = rolls_out(&pinned.commits(), &pinned.source_digest, &operation["sync"])
        && is_place(planned, &application)
        && operation.pointer("/retry/refresh").and_then(Value::as_bool) != Some(true);
    if as_checked {
        Ok(())
    } else {
        let why = "was changed by another writer while it was checked";
        Err(undo(app, decision, &pinned.application, why).await)
    }
}

/// What Argo CD resolves itself, the admission door must have looked at: where nobody asked it, its webhook is
/// not installed.
///
/// # Errors
/// [`Rejection::Conflict`]; the operation is terminated then.
async fn looked_at(app: &App, decision: DecisionId, application: &AppRef) -> Result<(), Rejection> {
    if app.admission.has_admitted(application, decision) {
        return Ok(());
    }
    let why = "is synced by Argo CD itself, and the admission door was not asked about it: install its webhook";
    Err(undo(app, decision, application, why).await)
}

fn is_rollback(plan: &Plan) -> bool {
    plan.action == Operation::ApplicationRollback.name()
}

/// The operation of `application` that is pending, or has begun since `decision`.
pub(crate) fn begun(application: &Value, decision: DecisionId) -> Option<&Value> {
    let pending = json::at(application, "/operation");
    if !pending.is_null() {
        return Some(pending);
    }
    let state = json::at(application, "/status/operationState");
    let started: jiff::Timestamp = json::text(state, "/startedAt").parse().ok()?;
    // Argo CD tells whole seconds.
    (started.as_second() >= decision.made_at()?.as_second()).then(|| json::at(state, "/operation"))
}

/// Whether `application` has an operation that Argo CD has not begun yet. One that goes on stays requested until it has
/// ended.
pub(crate) fn is_pending(application: &Value) -> bool {
    let requested = json::at(application, "/operation");
    let state = json::at(application, "/status/operationState");
    let goes_on = ["Running", "Terminating"].contains(&json::text(state, "/phase"));
    let same =
        || json::without_blanks(requested) == json::without_blanks(json::at(state, "/operation"));
    let has_begun = goes_on && same();
    !(requested.is_null() || has_begun)
}

/// Ends an operation that is not what was checked, on record as the gate's own act.
async fn undo(app: &App, decision: DecisionId, application: &AppRef, why: &str) -> Rejection {
    tracing::error!(%decision, %application, why, "not what was permitted");
    let checked = "the operation is not what was checked";
    let outcome = match terminate(app, decision, application, checked).await {
        Ok(()) => "was terminated",
        Err(error) => {
            tracing::error!(%decision, %application, error = format!("{error:#}"), "not terminated");
            "could not be terminated: look at it"
        }
    };
    Rejection::Conflict {
        sentence: format!("{} {why}; its operation {outcome}", application.name),
        next: None,
    }
}

/// Ends the operation of `application` because of `cause`, in words `because`, on record as the gate's own act.
///
/// # Errors
/// It cannot be put on record, or Argo CD does not end it.
pub(crate) async fn terminate(
    app: &App,
    cause: DecisionId,
    application: &AppRef,
    because: &str,
) -> anyhow::Result<()> {
    let operation = Operation::ApplicationTerminateOperation;
    let mut draft = Draft::of_controller(app, operation.name(), operation.effect());
    let why = json!({ "because": because, "of": cause.to_string() });
    draft.facts(vec![application.clone()], why);
    let record = draft
        .open(app, Word::Permit, Durability::BeforeProceeding)
        .await;
    let record =
        record.map_err(|rejection| anyhow::anyhow!("not recorded: {}", rejection.word()))?;
    match app.argocd.terminate(application).await {
        Ok(()) => {
            record.close(Outcome::Answered).await;
            Ok(())
        }
        Err(error) => {
            record
                .close(Outcome::Failed {
                    stage: "upstream".to_owned(),
                })
                .await;
            Err(error.into())
        }
    }
}

/// Whether the application still goes where it went when it was checked; Argo CD reads project and
/// destination from the live object when it carries an operation out.
fn is_place(planned: &Planned, application: &Value) -> bool {
    let text = |pointer| json::text(application, pointer);
    let cluster = match text("/spec/destination/server") {
        "" => text("/spec/destination/name"),
        server => server,
    };
    planned.facts.uid.as_deref() == Some(text("/metadata/uid"))
        && planned.facts.project == text("/spec/project")
        && planned.facts.cluster == cluster
        && planned.facts.destination_namespace == text("/spec/destination/namespace")
}

/// The operation of `application` that carries `decision`: pending, running or ended.
#[must_use]
pub fn operation_of(application: &Value, decision: DecisionId) -> Option<&Value> {
    let places = ["/operation", "/status/operationState/operation"];
    places
        .iter()
        .filter_map(|place| application.pointer(place))
        .find(|operation| {
            operation["info"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|info| {
                    info["name"].as_str() == Some(INFO_DECISION)
                        && info["value"].as_str() == Some(decision.to_string().as_str())
                })
        })
}

/// An operation's `sync` with what it leaves to the spec, as its `result` says that it was found: one that was
/// written without sources is of the spec's.
#[must_use]
pub fn whole(sync: &Value, result: &Value) -> Value {
    let mut whole = sync.clone();
    let mut take = |keys: [&str; 2]| {
        for key in keys {
            json::set(&mut whole, key, json::at(result, key).clone());
        }
    };
    if !names_sources(sync) {
        take(["/source", "/sources"]);
    }
    let several = json::at(sync, "/revisions").as_array();
    if json::text(sync, "/revision").is_empty() && several.is_none_or(Vec::is_empty) {
        take(["/revision", "/revisions"]);
    }
    whole
}

/// Whether an operation's `sync` says of which sources it is.
#[must_use]
pub fn names_sources(sync: &Value) -> bool {
    let several = json::at(sync, "/sources").as_array();
    // Argo CD writes an empty one beside several.
    let one = json::without_blanks(json::at(sync, "/source"));
    one.as_object().is_some_and(|fields| !fields.is_empty())
        || several.is_some_and(|list| !list.is_empty())
}

/// Whether `what` (an operation's `sync`, or its result) is of exactly these commits and sources.
#[must_use]
pub fn rolls_out(commits: &[Commit], digest: &SourceDigest, what: &Value) -> bool {
    let several = what["sources"]
        .as_array()
        .filter(|sources| !sources.is_empty());
    let (sources, revisions): (Vec<Value>, Vec<&str>) = match several {
        Some(sources) => {
            let revisions = what["revisions"].as_array().into_iter().flatten();
            (
                sources.clone(),
                revisions.filter_map(Value::as_str).collect(),
            )
        }
        None => (
            vec![what["source"].clone()],
            vec![what["revision"].as_str().unwrap_or_default()],
        ),
    };
    revisions == commits.iter().map(Commit::as_str).collect::<Vec<_>>()
        && ApplicationPlan::digests(&sources, &[]).0 == *digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::PinnedSource;
    use crate::names::EnvironmentName;

    const FIRST: &str = "3f2c1a93f2c1a93f2c1a93f2c1a93f2c1a93f2c1";
    const SECOND: &str = "9ab12cd9ab12cd9ab12cd9ab12cd9ab12cd9ab12";

    fn application(history: &[(&str, &Value)]) -> Value {
        let entries = history.iter().enumerate();
        let entries: Vec<Value> = entries
            .map(|(id, (revision, source))| json!({"id": id, "revision": revision, "source": source}))
            .collect();
        json!({
            "metadata": {"name": "checkout-prod", "namespace": "argocd", "uid": "uid-1"},
            "spec": {"project": "shop", "source": source("components"), "destination": {}},
            "status": {"history": entries, "controllerNamespace": "argocd"},
        })
    }

    fn source(path: &str) -> Value {
        json!({"repoURL": "https://git.shop.example/shop.git", "path": path, "targetRevision": "main"})
    }

    fn plan(commit: &str, source: &Value) -> ApplicationPlan {
        let digest = ApplicationPlan::digests(std::slice::from_ref(source), &[]).0;
        ApplicationPlan {
            application: AppRef {
                namespace: None,
                name: "checkout-prod".into(),
            },
            uid: "uid-1".into(),
            environment: EnvironmentName::parse("prod").unwrap(),
            component: Component::parse("checkout").unwrap(),
            sources: vec![PinnedSource {
                repository: "https://git.shop.example/shop.git".into(),
                asked: "main".into(),
                commit: Commit::parse(commit).unwrap(),
            }],
            multi_source: false,
            source_digest: digest.clone(),
            promotion_digest: digest,
        }
    }

    #[test]
    fn what_was_rolled_out_last_is_known_by_commits_and_parameters() {
        let (own, other) = (source("components"), source("elsewhere"));
        let both = application(&[(FIRST, &own), (SECOND, &own)]);
        assert!(is_last(&both, &plan(SECOND, &own)));
        assert!(!is_last(&both, &plan(FIRST, &own)));
        assert!(!is_last(&both, &plan(SECOND, &other)));
        assert!(!is_last(&application(&[]), &plan(FIRST, &own)));
        let unpinned = application(&[("main", &own)]);
        assert!(!is_last(&unpinned, &plan(FIRST, &own)));
    }
}
