//! What a write of an Application does, whoever makes it: a caller by the API, a parent's sync, a set, a patch
//! of a resource, a Kubernetes user.
//!
//! In: the object as it is and as it would be. Out: one [`Planned`] for each thing that policies must be
//! asked about, or none where nothing changes. Whoever may change a staging application must not make a prod
//! application of it, so an application that changes its place is asked about twice. What moves what runs
//! (it starts an operation, or automated sync is on and takes up the change) needs the evidence of a rollout;
//! the rest is a matter of policy.

use serde_json::{Value, json};

use super::about::{about, environment, requires_tests, tests_anywhere};
use super::contents::{resources, sources};
use super::pin::Commits;
use super::rollout::{At, How, Planning, Rollout};
use super::{Planned, unchecked};
use crate::argocd::change::is_armed;
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

/// What of an application changes.
struct Change {
    created: bool,
    /// Sources, hydrator.
    sources: bool,
    /// Environment, project, destination, component.
    place: bool,
    /// Automated sync is on, and was not.
    arms: bool,
    /// A retry of automated sync takes newer commits, and did not.
    retries_newer: bool,
    /// Anything that its author wrote.
    anything: bool,
}

impl Planning<'_> {
    /// Plans `write`: what is asked about the object first, what it rolls out behind it.
    ///
    /// # Errors
    /// [`Rejection::Conflict`] when it moves an application under a running operation, which would roll out
    /// there; else as [`Planning::rollout`].
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
        let change = Change::between(write.before, write.after, before.as_ref(), &after);
        let under_way = |live| is_under_way(live) && (change.place || lacks_sources(live));
        if (change.place || change.sources) && write.before.is_some_and(under_way) {
            return Err(Rejection::Conflict {
                sentence: format!(
                    "{} has an operation under way; wait for its end",
                    after.facts.app.name
                ),
                next: None,
            });
        }
        let starts = intent::starts(write.before.unwrap_or(&Value::Null), write.after);
        let taken_up = takes_up(&write, &change, self.app.has_admission_door());
        let forges = forges_status(write.before, write.after);
        let changes = change.anything || taken_up || forges || write.action.is_some();
        // A root often holds itself, unchanged.
        let is_itself = self.is_under_way(&after.facts.app) && change.is_nothing();
        if !(changes || starts) || (is_itself && !starts && !forges) {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        if forges {
            after.finding = Some(unchecked(
                "it brings a `status`, which Argo CD alone may set",
            ));
        } else if taken_up {
            let rollout = Rollout {
                action,
                application: write.after,
                live: write.before,
                commits: Commits::Own,
                how: How::of_auto_sync(write.after),
            };
            let mut rolled_out = self.armed(&after, rollout).await?.into_iter();
            after = rolled_out.next().unwrap_or(after);
            all.extend(rolled_out);
        } else {
            after.finding = self.misplaced(before.as_ref(), &after, &change);
        }
        after.writes.push(intent::write_digest(write.after));
        // Of the application as it is, only whether the caller may touch it is asked.
        if let Some(before) = before.filter(|before| before.facts != after.facts) {
            all.insert(0, before);
        }
        if changes {
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
        after: &Planned,
        rollout: Rollout<'_>,
    ) -> Result<Vec<Planned>, Rejection> {
        let moves = super::about::gate_facts(&identified(rollout.application))?.moving_targets();
        if moves && !self.app.has_admission_door() && requires_tests(self.app, &after.facts) {
            let mut after = about(self.app, self.caller, rollout.action, rollout.application)?;
            after.finding = Some(unchecked(
                "automated sync would roll out commits without a check; it needs the admission door, or \
                 a full commit SHA as target revision",
            ));
            return Ok(vec![after]);
        }
        let identified = identified(rollout.application);
        let rollout = Rollout {
            application: &identified,
            ..rollout
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
        if let (Some(first), Some(start)) =
            (planned.first_mut(), intent::Start::of_operation(after))
        {
            first.writes.push(intent::start_digest(&start));
        }
        Ok(planned)
    }

    /// What is wrong with a place, of a write that rolls nothing out.
    fn misplaced(
        &self,
        before: Option<&Planned>,
        after: &Planned,
        change: &Change,
    ) -> Option<Finding> {
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
        let goes_on = !change.created && !change.place && after.facts.environment == UNASSIGNED;
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
        let mut seen = std::collections::BTreeSet::new();
        while let Some(application) = left.pop() {
            if !seen.insert(application.clone()) {
                continue;
            }
            self.count()?;
            let Some(live) = self.read(&application).await? else {
                continue;
            };
            all.push(about(
                self.app,
                self.caller,
                "ApplicationService.Delete",
                &live,
            )?);
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

impl Change {
    /// Whether nothing of it can change what runs.
    fn is_nothing(&self) -> bool {
        !(self.created || self.sources || self.place || self.arms || self.retries_newer)
    }

    fn between(
        before: Option<&Value>,
        after: &Value,
        before_facts: Option<&Planned>,
        after_facts: &Planned,
    ) -> Self {
        let Some(live) = before else {
            return Self {
                created: true,
                sources: true,
                place: true,
                arms: is_armed(after),
                retries_newer: true,
                anything: true,
            };
        };
        let changes = |pointer: &str| {
            json::without_blanks(json::at(live, pointer))
                != json::without_blanks(json::at(after, pointer))
        };
        let targets = |application: &Value| {
            let spec = json::at(application, "/spec");
            let target = |source: &Value| json::text(source, "/targetRevision").to_owned();
            match json::at(spec, "/sources").as_array() {
                Some(list) if !list.is_empty() => list.iter().map(target).collect(),
                _ => vec![target(json::at(spec, "/source"))],
            }
        };
        let place = |planned: &Planned| {
            let facts = &planned.facts;
            (
                facts.environment.clone(),
                facts.project.clone(),
                facts.cluster.clone(),
                facts.destination_namespace.clone(),
                facts.component.clone(),
            )
        };
        let retries = |application: &Value| How::of_auto_sync(application).retries_newer;
        Self {
            created: false,
            sources: sources(json::at(live, "/spec")) != sources(json::at(after, "/spec"))
                || targets(live) != targets(after)
                || changes("/spec/sourceHydrator"),
            place: before_facts.is_some_and(|before| place(before) != place(after_facts)),
            arms: is_armed(after) && !is_armed(live),
            retries_newer: retries(after) && !retries(live),
            anything: [
                "/spec",
                "/metadata/labels",
                "/metadata/annotations",
                "/metadata/finalizers",
            ]
            .into_iter()
            .any(changes),
        }
    }
}

/// Whether automated sync takes the change up. What a parent touches and is not in sync, it may take up too;
/// with the admission door that is looked at when it does.
fn takes_up(write: &Write<'_>, change: &Change, admission: bool) -> bool {
    let behind = || !admission && json::text(write.after, "/status/sync/status") != "Synced";
    is_armed(write.after)
        && (change.created
            || change.sources
            || change.place
            || change.arms
            || change.retries_newer
            || (write.by_parent && behind()))
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
