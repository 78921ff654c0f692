//! What a write of an Application does, whoever makes it: a caller by the API, a parent's sync, a set, a patch
//! of a resource, a Kubernetes user.
//!
//! In: the object as it is and as it would be. Out: one [`Planned`] for each thing that policies must be
//! asked about, or none where nothing changes. Whoever may change a staging application must not make a prod
//! application of it, so an application that changes its place is asked about twice. What moves what runs
//! (it starts an operation, or automated sync is on and takes up the change) needs the evidence of a rollout;
//! the rest is a matter of policy.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::about::{about, environment, requires_tests, tests_anywhere};
use super::contents::{resources, sources};
use super::pin::Commits;
use super::rollout::{At, How, Planning, Rollout};
use super::{Planned, unchecked};
use crate::argocd::change::{Change, Needs, is_armed};
use crate::gate::Finding;
use crate::intent;
use crate::json;
use crate::names::AppRef;
use crate::policy::UNASSIGNED;
use crate::respond::Rejection;

/// One write.
pub(super) struct Write<'o> {
    /// The action that policies are asked about; by default that of creating or updating.
    action: Option<&'static str>,
    before: Option<&'o Value>,
    after: &'o Value,
    /// Whether a parent's rollout makes it, by which Argo CD looks at the application again.
    by_parent: bool,
}

impl<'o> Write<'o> {
    /// A write that somebody asks for by `action`.
    pub(super) fn by_call(
        action: &'static str,
        before: Option<&'o Value>,
        after: &'o Value,
    ) -> Self {
        Self {
            action: Some(action),
            before,
            after,
            by_parent: false,
        }
    }

    /// A write that comes of a rollout of something else.
    pub(super) fn of_tree(before: Option<&'o Value>, after: &'o Value) -> Self {
        Self {
            action: None,
            before,
            after,
            by_parent: true,
        }
    }

    /// A write that Kubernetes is asked for.
    pub(super) fn by_kubernetes(before: Option<&'o Value>, after: &'o Value) -> Self {
        Self {
            action: None,
            before,
            after,
            by_parent: false,
        }
    }
}

impl Planning<'_> {
    /// Plans `write`: what is asked about the object first, what it rolls out behind it.
    ///
    /// # Errors
    /// [`Rejection::Conflict`] when it moves an application under a running operation, which would roll out
    /// there; [`Rejection::Policy`] when it forges a status; else as [`Planning::rollout`].
    pub(super) async fn write(&mut self, write: Write<'_>) -> Result<Vec<Planned>, Rejection> {
        let action = write.action.unwrap_or(match write.before {
            None => "ApplicationService.Create",
            Some(_) => "ApplicationService.Update",
        });
        let mut after = about(self.app, self.caller, action, write.after)?;
        let before = write
            .before
            .map(|live| about(self.app, self.caller, action, live));
        let before = before.transpose()?;
        let changes = changes(&write, before.as_ref(), &after);
        refuse_under_way(&write, &changes, &after)?;
        let taken_up = takes_up(&write, &changes, self.app.has_admission_door());
        // A root often holds itself, unchanged.
        let only_metadata = changes.iter().all(|change| *change == Change::Metadata);
        let is_itself = self.holder(&after.facts.app).is_some() && only_metadata;
        let is_nothing = changes.is_empty() && !taken_up && write.action.is_none();
        if is_nothing || is_itself {
            return Ok(Vec::new());
        }
        after.changes = changes.iter().copied().collect();
        if changes.contains(&Change::StatusForged) {
            // Whatever the environment does with refusals.
            return Err(Rejection::Policy {
                sentence: format!(
                    "{} brings a `status`, which Argo CD alone may set",
                    after.facts.app.name
                ),
            });
        }
        let mut all = Vec::new();
        if taken_up {
            let mut rolled_out = self.armed(action, &after, &write).await?.into_iter();
            if let Some(rolled_out) = rolled_out.next() {
                after = Planned {
                    changes: after.changes,
                    ..rolled_out
                };
            }
            all.extend(rolled_out);
        } else {
            let moves = changes.iter().any(|change| is_of_place(*change));
            after.finding = self.misplaced(before.as_ref(), &after, moves);
        }
        after.writes.push(intent::write_digest(write.after));
        // Of the application as it is, only whether the caller may touch it is asked.
        if let Some(before) = before.filter(|before| before.facts != after.facts) {
            all.insert(0, before);
        }
        let starts = changes.contains(&Change::OperationWritten);
        if !(starts && changes.len() == 1) || write.action.is_some() {
            all.insert(0, after);
        }
        if starts {
            all.extend(self.started(write.before, write.after).await?);
        }
        Ok(all)
    }

    /// An application that Argo CD will roll out by itself.
    async fn armed(
        &mut self,
        action: &'static str,
        after: &Planned,
        write: &Write<'_>,
    ) -> Result<Vec<Planned>, Rejection> {
        let identified = identified(write.after);
        let moves = super::about::gate_facts(&identified)?.moving_targets();
        if moves && !self.app.has_admission_door() && requires_tests(self.app, &after.facts) {
            let mut after = about(self.app, self.caller, action, write.after)?;
            after.finding = Some(unchecked(
                "automated sync would roll out commits without a check; it needs the admission door, or \
                 a full commit SHA as target revision",
            ));
            return Ok(vec![after]);
        }
        let rollout = Rollout {
            action,
            application: &identified,
            live: write.before,
            commits: Commits::Own,
            how: How::of_auto_sync(write.after),
        };
        Box::pin(self.rollout(rollout)).await
    }

    /// The operation that the write starts.
    async fn started(
        &mut self,
        before: Option<&Value>,
        after: &Value,
    ) -> Result<Vec<Planned>, Rejection> {
        let operation = json::at(after, "/operation");
        let sync = json::at(operation, "/sync");
        if !sync.is_object() {
            let mut planned = about(self.app, self.caller, "ApplicationService.Sync", after)?;
            planned.sync = Some(How::of_operation(operation).options);
            planned.finding = Some(unchecked("its operation is no sync"));
            return Ok(vec![planned]);
        }
        let identified = identified(after);
        let rollout = Rollout {
            action: "ApplicationService.Sync",
            application: &identified,
            live: before,
            commits: Commits::Recorded(sync),
            how: How::of_operation(operation),
        };
        let mut planned = Box::pin(self.rollout(rollout)).await?;
        if let Some(first) = planned.first_mut() {
            first.changes = vec![Change::OperationWritten];
        }
        if let (Some(first), Some(start)) =
            (planned.first_mut(), intent::Start::of_operation(after))
        {
            first.writes.push(intent::start_digest(&start));
        }
        Ok(planned)
    }

    /// What is wrong with a place, of a write that rolls nothing out.
    fn misplaced(&self, before: Option<&Planned>, after: &Planned, moves: bool) -> Option<Finding> {
        if environment(self.app, &after.facts).is_some() {
            return None;
        }
        let leaves = before.is_some_and(|before| {
            environment(self.app, &before.facts).is_some()
                && requires_tests(self.app, &before.facts)
        });
        if leaves {
            return Some(unchecked("it would leave its environment for none"));
        }
        let goes_on = !moves && after.facts.environment == UNASSIGNED;
        matches!(self.at, At::Admission { .. }).then(|| {
            if goes_on || !tests_anywhere(self.app) {
                Finding::Exempt
            } else {
                self.unplaced(after, false)
            }
        })
    }

    /// The deletion of an application and of those that go with it.
    ///
    /// # Errors
    /// As [`Planning::rollout`].
    pub(super) async fn deletion(&mut self, gone: &AppRef) -> Result<Vec<Planned>, Rejection> {
        let mut all = Vec::new();
        let mut left = vec![gone.clone()];
        let mut seen = BTreeSet::new();
        while let Some(application) = left.pop() {
            if !seen.insert(application.clone()) {
                continue;
            }
            self.count()?;
            let Some(live) = self.read(&application).await? else {
                continue;
            };
            let mut planned = about(self.app, self.caller, "ApplicationService.Delete", &live)?;
            planned.changes = vec![Change::DeleteApplication];
            all.push(planned);
            let children = resources(&live, "Application");
            left.extend(
                children
                    .iter()
                    .map(|child| super::about::reference(self.app, child)),
            );
            for set in resources(&live, "ApplicationSet") {
                self.administers.insert("ApplicationSetService.Delete");
                left.extend(self.made_by(&set).await?);
            }
            if !resources(&live, "AppProject").is_empty() {
                self.administers.insert("ProjectService.Delete");
            }
        }
        Ok(all)
    }
}

/// What a write changes, by every kind that it is of. `before` and `after` are what policies know of the two
/// objects.
fn changes(write: &Write<'_>, before: Option<&Planned>, after: &Planned) -> BTreeSet<Change> {
    let mut all = BTreeSet::new();
    let armed = is_armed(write.after);
    let of = |when_armed, plain| if armed { when_armed } else { plain };
    if intent::starts(write.before.unwrap_or(&Value::Null), write.after) {
        all.insert(Change::OperationWritten);
    }
    if forges_status(write.before, write.after) {
        all.insert(Change::StatusForged);
    }
    let (Some(live), Some(before)) = (write.before, before) else {
        all.insert(of(Change::CreateArmed, Change::CreatePlain));
        return all;
    };
    let differs = |pointer: &str| {
        json::without_blanks(json::at(live, pointer))
            != json::without_blanks(json::at(write.after, pointer))
    };
    let specs = [live, write.after].map(|object| json::at(object, "/spec"));
    let [from, to] = specs.map(|spec| (sources(spec), targets(spec)));
    if from != to || differs("/spec/sourceHydrator") {
        all.insert(of(Change::SourceArmed, Change::SourcePlain));
    }
    let (from, to) = (&before.facts, &after.facts);
    if (&from.cluster, &from.destination_namespace) != (&to.cluster, &to.destination_namespace) {
        all.insert(of(Change::DestinationArmed, Change::DestinationPlain));
    }
    if from.project != to.project {
        all.insert(of(Change::ProjectArmed, Change::ProjectPlain));
    }
    if (&from.environment, &from.component) != (&to.environment, &to.component) {
        all.insert(of(Change::MoveArmed, Change::MovePlain));
    }
    match (is_armed(live), armed) {
        (false, true) => all.insert(Change::Arm),
        (true, false) => all.insert(Change::Disarm),
        _ => false,
    };
    let retries = |object| How::of_auto_sync(object).retries_newer;
    if armed && retries(write.after) && !retries(live) {
        all.insert(Change::RetryNewest);
    }
    if differs("/spec/syncPolicy") {
        all.insert(Change::SyncPolicy);
    }
    let metadata = ["labels", "annotations", "finalizers"];
    let is_other = all.is_empty() && differs("/spec");
    if is_other
        || metadata
            .iter()
            .any(|part| differs(&format!("/metadata/{part}")))
    {
        all.insert(Change::Metadata);
    }
    all
}

/// An operation that runs reads project and destination from the spec, and its sources where it has none of its
/// own, also when it is tried again.
fn refuse_under_way(
    write: &Write<'_>,
    changes: &BTreeSet<Change>,
    after: &Planned,
) -> Result<(), Rejection> {
    let moves = changes.iter().any(|change| is_of_place(*change));
    let respecifies = [Change::SourceArmed, Change::SourcePlain]
        .iter()
        .any(|change| changes.contains(change));
    let in_the_way =
        |live: &Value| is_under_way(live) && (moves || (respecifies && lacks_sources(live)));
    if write.before.is_some_and(in_the_way) {
        return Err(Rejection::Conflict {
            sentence: format!(
                "{} has an operation under way; wait for its end",
                after.facts.app.name
            ),
            next: None,
        });
    }
    Ok(())
}

/// The target revisions of a spec.
fn targets(spec: &Value) -> Vec<String> {
    let target = |source: &Value| json::text(source, "/targetRevision").to_owned();
    match json::at(spec, "/sources").as_array() {
        Some(list) if !list.is_empty() => list.iter().map(target).collect(),
        _ => vec![target(json::at(spec, "/source"))],
    }
}

/// Whether the application goes elsewhere, or comes to be.
fn is_of_place(change: Change) -> bool {
    matches!(
        change,
        Change::CreateArmed
            | Change::CreatePlain
            | Change::DestinationArmed
            | Change::DestinationPlain
            | Change::MoveArmed
            | Change::MovePlain
            | Change::ProjectArmed
            | Change::ProjectPlain
    )
}

/// Whether automated sync takes the write up. What a parent touches and is not in sync, it may take up too;
/// with the admission door that is looked at when it does.
fn takes_up(write: &Write<'_>, changes: &BTreeSet<Change>, admission: bool) -> bool {
    let behind = || !admission && json::text(write.after, "/status/sync/status") != "Synced";
    let moves = |change: &Change| change.needs() == Needs::Evidence;
    let own = changes
        .iter()
        .filter(|change| **change != Change::OperationWritten);
    is_armed(write.after) && (own.clone().any(moves) || (write.by_parent && behind()))
}

fn forges_status(before: Option<&Value>, after: &Value) -> bool {
    let status = |object: &Value| match json::without_blanks(json::at(object, "/status")) {
        Value::Object(fields) if fields.is_empty() => Value::Null,
        status => status,
    };
    let after = status(after);
    !after.is_null() && before.map(status).as_ref() != Some(&after)
}

fn is_under_way(live: &Value) -> bool {
    let running = ["Running", "Terminating"];
    !json::at(live, "/operation").is_null()
        || running.contains(&json::text(live, "/status/operationState/phase"))
}

/// Whether the operation that is pending or runs takes its sources from the spec, also when it is tried again.
fn lacks_sources(live: &Value) -> bool {
    let places = ["/operation/sync", "/status/operationState/operation/sync"];
    places
        .into_iter()
        .map(|place| json::at(live, place))
        .find(|sync| sync.is_object())
        .is_some_and(|sync| !crate::deployed::names_sources(sync))
}

/// The object with the identifier that Kubernetes has not given it yet.
fn identified(application: &Value) -> Value {
    let mut application = application.clone();
    if json::at(&application, "/metadata/uid").is_null() {
        json::set(&mut application, "/metadata/uid", json!(""));
    }
    application
}

#[cfg(test)]
mod tests;
