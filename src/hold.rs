//! What holds an environment: freezes that are in force, and a line that somebody has stopped; what an
//! emergency lets through nevertheless, and what was rolled back.
//!
//! In: environments, and the time. Out: [`Holds`], for policies, records and refusals. Looked up anew
//! for each decision about a deploy, and for nothing else; so a stop takes effect at once wherever the
//! store is shared. It decides nothing. Refused: a deploy while it cannot be told what holds it.

pub mod cli;
pub mod interface;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::break_glass::{self, BreakGlass};
use crate::freeze::{self, Freeze};
use crate::gate::ApplicationPlan;
use crate::names::{AppRef, FreezeName};
use crate::planner::Plan;
use crate::policy::{Deploying, GlassWord};
use crate::respond::Rejection;
use crate::rollout::{self, Pinned};
use crate::store::Stop;

/// What holds one environment; nothing, mostly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The freezes that are in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freezes: Vec<Frozen>,
    /// Who stopped its line, if somebody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stop>,
}

/// A freeze in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Its name.
    pub name: FreezeName,
    /// Why.
    pub reason: String,
    /// When it began, by the clocks of its zone.
    pub from: Zoned,
    /// When it ends.
    pub until: Zoned,
}

/// One thing that holds an environment, to be known again: when it is gone, what waited is tried anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    environment: String,
    what: String,
}

impl Cause {
    pub(crate) fn new(environment: &str, what: impl Into<String>) -> Self {
        Self {
            environment: environment.to_owned(),
            what: what.into(),
        }
    }

    /// Which environment it holds.
    #[must_use]
    pub fn environment(&self) -> &str {
        &self.environment
    }
}

/// What holds each of several environments, and what has been let through by break-glass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    environments: BTreeMap<String, Hold>,
    broken: Vec<BreakGlass>,
    /// What rollbacks have taken applications away from.
    rolled_back: Vec<(AppRef, Pinned)>,
    now: Timestamp,
}

impl Hold {
    /// Whether nothing does.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.freezes.is_empty() && self.stopped.is_none()
    }

    /// In a sentence: until when, why, and who stopped it.
    #[must_use]
    pub fn in_words(&self, environment: &str) -> String {
        let frozen = self.freezes.iter().map(|frozen| {
            let Frozen { name, reason, .. } = frozen;
            let until = freeze::shown(&frozen.until);
            format!("{environment} is frozen until {until} by '{name}' ({reason})")
        });
        let stopped = self.stopped.iter().map(|stop| {
            let since = stop.at.strftime("%Y-%m-%d %H:%M UTC");
            let Stop { by, reason, .. } = stop;
            format!("the line of {environment} was stopped at {since} by {by} ({reason})")
        });
        frozen.chain(stopped).collect::<Vec<_>>().join(" and ")
    }

    /// When it ends; not known of a line, which somebody has to start.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        let ends = self.freezes.iter().map(|frozen| frozen.until.timestamp());
        ends.max().filter(|_| self.stopped.is_none())
    }

    fn causes(&self, environment: &str) -> impl Iterator<Item = Cause> {
        let cause = move |what: String| Cause::new(environment, what);
        let freezes = self.freezes.iter();
        let freezes = freezes.map(|frozen| format!("freeze {}", frozen.name));
        let stop = self.stopped.iter();
        let stop = stop.map(|stop| format!("stop {}", stop.decision));
        freezes.chain(stop).map(cause)
    }
}

impl Holds {
    /// What holds `environment`.
    #[must_use]
    pub fn of(&self, environment: &str) -> &Hold {
        static NOTHING: Hold = Hold {
            freezes: Vec::new(),
            stopped: None,
        };
        self.environments.get(environment).unwrap_or(&NOTHING)
    }

    /// What policies see in `context.break_glass` of what `plan` rolls out.
    #[must_use]
    pub fn glass(&self, plan: Option<&ApplicationPlan>) -> GlassWord {
        break_glass::word(&self.broken, plan, self.now)
    }

    /// Whether a rollback has taken `application` away from just this.
    #[must_use]
    pub fn is_rolled_back(&self, application: &AppRef, plan: Option<&ApplicationPlan>) -> bool {
        plan.is_some_and(|plan| {
            let mut all = self.rolled_back.iter();
            all.any(|(one, pinned)| one == application && *pinned == Pinned::of(plan))
        })
    }

    /// Everything that holds something, to be known again.
    #[must_use]
    pub fn causes(&self) -> BTreeSet<Cause> {
        let all = self.environments.iter();
        all.flat_map(|(environment, hold)| hold.causes(environment))
            .collect()
    }
}

/// What holds the environments in which `plan` deploys something.
///
/// # Errors
/// As [`look_up`].
pub async fn of_plan(app: &App, plan: &Plan) -> Result<Holds, Rejection> {
    let deploys = plan.applications.iter();
    let deploys = deploys.filter(|planned| Deploying::belongs_to(planned.action));
    let environments = deploys.clone();
    let environments = environments.map(|planned| planned.facts.environment.clone());
    let mut holds = look_up(app, environments.collect()).await?;
    for planned in deploys {
        let Some(would_run) = &planned.plan else {
            continue;
        };
        let (application, would_run) = (&planned.facts.app, Pinned::of(would_run));
        let is_rolled_back = rollout::is_rolled_back(&app.store, application, &would_run).await;
        if is_rolled_back.map_err(|error| unknown(&error))? {
            holds.rolled_back.push((application.clone(), would_run));
        }
    }
    Ok(holds)
}

fn unknown(error: &dyn std::error::Error) -> Rejection {
    let error = crate::telemetry::chain(error);
    tracing::error!(error, "cannot tell what holds an environment");
    Rejection::Internal
}

/// What holds these environments now.
///
/// # Errors
/// [`Rejection::Internal`] when that cannot be told: nothing may be deployed then.
pub async fn look_up(app: &App, environments: BTreeSet<String>) -> Result<Holds, Rejection> {
    if environments.is_empty() {
        return Ok(Holds::default());
    }
    let stopped = app.store.stopped_lines().await;
    let mut stopped: BTreeMap<String, Stop> = stopped
        .map_err(|error| unknown(&error))?
        .into_iter()
        .map(|line| (line.environment.to_string(), line.stop))
        .collect();
    let now = app.clock.now();
    let mut holds = BTreeMap::new();
    for environment in environments {
        let freezes = in_force(&app.config.freezes, &environment, now);
        let hold = Hold {
            freezes: freezes.map_err(|error| unknown(&error))?,
            stopped: stopped.remove(&environment),
        };
        if !hold.is_none() {
            holds.insert(environment, hold);
        }
    }
    let broken = app.store.break_glasses_in_force(now).await;
    Ok(Holds {
        environments: holds,
        broken: broken.map_err(|error| unknown(&error))?,
        rolled_back: Vec::new(),
        now,
    })
}

fn in_force(
    freezes: &[Freeze],
    environment: &str,
    now: Timestamp,
) -> Result<Vec<Frozen>, freeze::Error> {
    let concerned = freezes.iter().filter(|one| one.concerns(environment));
    let windows = concerned.map(|freeze| {
        let window = freeze.schedule.in_force(now)?;
        Ok(window.map(|window| Frozen {
            name: freeze.name.clone(),
            reason: freeze.reason.clone(),
            from: window.from,
            until: window.until,
        }))
    });
    windows.filter_map(Result::transpose).collect()
}

#[cfg(test)]
mod tests;
