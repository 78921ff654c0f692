//! What a rollout is: of the application itself, and of every application in it.
//!
//! In: an application as it would be, and the commits. Out: one [`Planned`] for it and for each application
//! that the rollout would create, change, start or delete, down the whole tree, each with its own finding.
//! The children are found by rendering the manifests at the very commits, never by what they say about
//! themselves (tracking annotations, status). Refused: cycles, and trees that are too deep or too large to
//! look at. Never: a child that is passed over because it could not be looked at.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::about::{about, environment, requires_tests, tests_anywhere};
use super::contents::{Contents, Listed};
use super::pin::{Commits, pin};
use super::{Planned, Ran, look_up, unchecked, unplaced, unread};
use crate::app::App;
use crate::argocd::change::is_armed;
use crate::deployed;
use crate::gate::{ApplicationPlan, Finding, Gap, Place};
use crate::identity::Caller;
use crate::intent::PartOf;
use crate::json;
use crate::names::{AppRef, Component};
use crate::policy::{SyncOptions, UNASSIGNED};
use crate::respond::Rejection;

/// How deep applications may lie in applications.
const DEPTH: usize = 8;
/// How many applications one call may touch.
const MOST: usize = 1000;
/// How long looking at them may take.
const TIME: Duration = Duration::from_mins(1);

/// By which door a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The Kubernetes webhook.
    Admission {
        /// Whether Argo CD itself writes: one of its own service accounts.
        by_argocd: bool,
    },
    /// Argo CD's API.
    Api,
}

/// The making of one plan.
pub(super) struct Planning<'a> {
    pub(super) app: &'a App,
    pub(super) caller: &'a Caller,
    pub(super) at: At,
    /// Actions on Argo CD itself that the call also needs.
    pub(super) administers: BTreeSet<&'static str>,
    /// The applications in what is rolled out, whether anything is done to them or not.
    pub(super) listed: Vec<Listed>,
    /// The sync waves that lead to what is looked at.
    pub(super) waves: Vec<i64>,
    /// From the application that is called to the one that is looked at, as they would be.
    path: Vec<(AppRef, Value)>,
    looked_at: usize,
    until: Instant,
}

/// One application that would be rolled out.
pub(super) struct Rollout<'o> {
    /// The action that policies are asked about.
    pub(super) action: &'static str,
    /// The application as it would be.
    pub(super) application: &'o Value,
    /// The application as it is, if it is there.
    pub(super) live: Option<&'o Value>,
    /// What to roll out of it.
    pub(super) commits: Commits<'o>,
    /// How.
    pub(super) how: How,
}

/// How an operation is carried out.
#[derive(Clone, Debug, Default)]
pub(super) struct How {
    /// As policies see it.
    pub(super) options: SyncOptions,
    /// Only these resources, where not all.
    pub(super) only: Vec<PartOf>,
    /// Whether a retry takes newer commits.
    pub(super) retries_newer: bool,
}

impl<'a> Planning<'a> {
    pub(super) fn new(app: &'a App, caller: &'a Caller, at: At) -> Self {
        Self {
            app,
            caller,
            at,
            administers: BTreeSet::new(),
            listed: Vec::new(),
            waves: Vec::new(),
            path: Vec::new(),
            looked_at: 0,
            until: Instant::now() + TIME,
        }
    }

    /// Plans `rollout` and everything in it; the application itself comes first.
    ///
    /// # Errors
    /// [`Rejection`]: Argo CD cannot be asked, the store cannot be read, it takes too long.
    pub(super) async fn rollout(
        &mut self,
        rollout: Rollout<'_>,
    ) -> Result<Vec<Planned>, Rejection> {
        let mut planned = about(self.app, self.caller, rollout.action, rollout.application)?;
        planned.sync = SyncOptions::belong_to(rollout.action).then_some(rollout.how.options);
        if let Some(objection) = self.beyond(&planned.facts.app) {
            planned.finding = Some(objection);
            return Ok(vec![planned]);
        }
        let Some(environment) = environment(self.app, &planned.facts) else {
            planned.finding = Some(self.unplaced(&planned, rollout.live.is_some()));
            return Ok(vec![planned]);
        };
        let named = Component::parse(planned.facts.component.clone()).ok();
        // What holds nothing but applications need not be a component of anything.
        let component = match &named {
            Some(component) => Ok(component.clone()),
            None => Component::parse(planned.facts.app.name.clone()),
        };
        let component = component.map_err(|_| Rejection::UpstreamFailed)?;
        let place = Place {
            environment: &environment.name,
            component: &component,
            varies: &environment.varies,
            admission: self.app.has_admission_door(),
        };
        let plan = match pin(self.app, rollout.application, rollout.commits, place).await? {
            Ok(plan) => plan,
            // A dry run changes nothing, whatever it resolves to.
            Err(_) if rollout.how.options.dry_run => return Ok(vec![planned]),
            Err(gaps) => {
                planned.finding = Some(self.unpinned(&rollout, &planned, gaps).await?);
                return Ok(vec![planned]);
            }
        };
        if rollout.how.options.dry_run {
            planned.plan = Some(plan);
            return Ok(vec![planned]);
        }
        let itself = (planned.facts.app.clone(), rollout.application.clone());
        self.path.push(itself);
        let contents = self.contents(&rollout, &plan).await;
        self.path.pop();
        let contents = contents?;
        let incumbent = deployed::is_incumbent(&self.app.store, &plan).await;
        let incumbent = incumbent.map_err(|error| unread(&error))?;
        planned.ran = Ran::of(rollout.live, &plan, incumbent);
        planned.finding = Some(match self.objection(&rollout, &planned, &contents) {
            Some(objection) => objection,
            None if contents.is_composite() => Finding::Composite,
            None if named.is_none() && !environment.requires.is_empty() => Finding::Blocked {
                gaps: vec![Gap::unpinnable(
                    "it has no component by the rule of its environment",
                )],
            },
            None => look_up(self.app, &plan, environment, incumbent).await?,
        });
        planned.moving = is_moving(&rollout, &plan);
        planned.plan = Some(plan);
        let mut all = vec![planned];
        all.extend(contents.children);
        Ok(all)
    }

    /// What is found of a rollout whose commits are not known. Where nothing is required, Argo CD may take what
    /// it finds, if nothing else can come of it.
    async fn unpinned(
        &self,
        rollout: &Rollout<'_>,
        planned: &Planned,
        gaps: Vec<Gap>,
    ) -> Result<Finding, Rejection> {
        let is_asked = matches!(rollout.commits, Commits::Asked(_));
        if is_asked || requires_tests(self.app, &planned.facts) {
            return Ok(Finding::Blocked { gaps });
        }
        let contents = self.unseen(rollout.application).await?;
        Ok(self
            .objection(rollout, planned, &contents)
            .unwrap_or(Finding::Exempt))
    }

    /// `application` as it would be, if it is what holds what is looked at.
    pub(super) fn holder(&self, application: &AppRef) -> Option<&Value> {
        let (holder, as_it_would_be) = self.path.last()?;
        (holder == application).then_some(as_it_would_be)
    }

    /// Counts one more application that is looked at.
    ///
    /// # Errors
    /// [`Rejection::Policy`] when they are too many, [`Rejection::UpstreamTimeout`] when time is up.
    pub(super) fn count(&mut self) -> Result<(), Rejection> {
        self.looked_at += 1;
        if self.looked_at > MOST {
            return Err(Rejection::Policy {
                sentence: format!(
                    "it touches more than {MOST} applications, too many to look at in one call: sync \
                     parts of it by --resource"
                ),
            });
        }
        if Instant::now() > self.until {
            tracing::warn!(looked_at = self.looked_at, "planning takes too long");
            return Err(Rejection::UpstreamTimeout);
        }
        Ok(())
    }

    /// Why `application` is not looked at any further.
    fn beyond(&self, application: &AppRef) -> Option<Finding> {
        if self.path.iter().any(|(one, _)| one == application) {
            Some(unchecked(
                "it would roll itself out again: a cycle of applications",
            ))
        } else if self.path.len() >= DEPTH {
            Some(unchecked(&format!(
                "applications lie in applications more than {DEPTH} deep"
            )))
        } else {
            None
        }
    }

    /// What is found of an application that is in no environment. Argo CD's own controllers go on with what
    /// was there before the gate; whoever else rolls it out must say where it belongs first.
    pub(super) fn unplaced(&self, planned: &Planned, was_there: bool) -> Finding {
        let at_admission = matches!(self.at, At::Admission { .. });
        if at_admission && was_there && planned.facts.environment == UNASSIGNED {
            return Finding::Exempt;
        }
        Finding::Blocked {
            gaps: vec![unplaced(&planned.facts)],
        }
    }

    /// What no evidence can speak for.
    fn objection(
        &self,
        rollout: &Rollout<'_>,
        planned: &Planned,
        contents: &Contents,
    ) -> Option<Finding> {
        let required = requires_tests(self.app, &planned.facts);
        let anywhere = tests_anywhere(self.app);
        if rollout.how.options.local && anywhere {
            return Some(unchecked(
                "manifests from the caller's machine are of no commit",
            ));
        }
        if rollout.how.retries_newer && required {
            return Some(unchecked(
                "its retry strategy takes newer commits on a retry; set `retry.refresh` to false",
            ));
        }
        match &contents.unseen {
            Some(why) if anywhere => Some(unchecked(why)),
            _ => None,
        }
    }
}

/// Whether Argo CD will resolve the target revision itself: with automated sync on it takes no other.
fn is_moving(rollout: &Rollout<'_>, plan: &ApplicationPlan) -> bool {
    matches!(rollout.commits, Commits::Asked(_))
        && is_armed(rollout.application)
        && plan
            .sources
            .iter()
            .any(|source| source.asked != source.commit.as_str())
}

impl How {
    /// How the `operation` of an Application is carried out.
    pub(super) fn of_operation(operation: &Value) -> Self {
        let sync = json::at(operation, "/sync");
        let flag = |pointer| json::at(sync, pointer) == &Value::Bool(true);
        let given = |pointer| {
            let list = json::at(sync, pointer).as_array();
            list.is_some_and(|list| !list.is_empty())
        };
        let strategy = json::at(sync, "/syncStrategy");
        let forces = ["/apply/force", "/hook/force"]
            .into_iter()
            .any(|pointer| json::at(strategy, pointer) == &Value::Bool(true));
        Self {
            options: SyncOptions {
                dry_run: flag("/dryRun"),
                partial: given("/resources"),
                prune: flag("/prune"),
                force: forces || has_option(sync, "Force=true"),
                replace: has_option(sync, "Replace=true"),
                local: given("/manifests"),
                apply: json::at(strategy, "/apply").is_object() || given("/resources"),
            },
            only: crate::intent::parts(json::at(sync, "/resources")),
            retries_newer: json::at(operation, "/retry/refresh") == &Value::Bool(true),
        }
    }

    /// How Argo CD syncs `application` by itself.
    pub(super) fn of_auto_sync(application: &Value) -> Self {
        let policy = json::at(application, "/spec/syncPolicy");
        Self {
            options: SyncOptions {
                prune: json::at(policy, "/automated/prune") == &Value::Bool(true),
                force: has_option(policy, "Force=true"),
                replace: has_option(policy, "Replace=true"),
                ..SyncOptions::default()
            },
            only: Vec::new(),
            retries_newer: json::at(policy, "/retry/refresh") == &Value::Bool(true),
        }
    }
}

fn has_option(holder: &Value, option: &str) -> bool {
    crate::intent::has_option(json::at(holder, "/syncOptions"), option)
}
