//! Where a rollback goes: the newest combination that has passed.
//!
//! In: a rollout, and what each of its applications ran before, as the store has it. A combination is what all of them
//! ran at one moment before the rollout. Out: the newest of which every part has passed: it ended well, the tests that
//! its environment requires have passed for it, no later word speaks against it, and at least one run speaks for it.
//! Never: parts of two moments that nobody has seen together.

use std::collections::BTreeMap;

use super::{Pinned, Rollout, Target, is_rolled_back};
use crate::app::App;
use crate::config::Environment;
use crate::evidence::service::{evidence_for, leading_commit};
use crate::evidence::verdict::Verdict;
use crate::gate::{self, ApplicationPlan, Finding, GapKind, Resolved, Sources};
use crate::names::{AppRef, DecisionId};
use crate::store::{
    self, CountingState, DeploymentRow, DeploymentState, RunFilter, RunId, StoredRun,
};

/// How many deployments of an application are looked back on.
const LOOK_BACK: u32 = 200;
/// How many runs of a component are looked through for one of its states.
const RUNS: u32 = 500;
/// How many combinations are looked at.
const COMBINATIONS: usize = 50;

/// What there is to go back to.
pub(super) struct Found {
    /// Applications that ran something before, and where they go; absent where no combination has passed.
    pub(super) targets: Option<BTreeMap<AppRef, Target>>,
    /// Applications that the rollout has made: they ran nothing before.
    pub(super) new: Vec<AppRef>,
}

/// The newest combination that the begun members of `rollout` ran before it; where `failing` is one of them, not what it
/// runs now.
///
/// # Errors
/// [`store::Error`].
pub(super) async fn find(
    app: &App,
    rollout: &Rollout,
    failing: &AppRef,
) -> Result<Found, store::Error> {
    let mut before: Vec<(AppRef, Vec<DeploymentRow>)> = Vec::new();
    let mut new = Vec::new();
    for member in &rollout.members {
        let (Some(begun), Some(uid)) = (member.begun, &member.uid) else {
            continue;
        };
        let mut ran = app.store.deployments_of(uid, LOOK_BACK).await?;
        // In the order of the store: what was permitted before this rollout's own.
        let own = ran.iter().position(|row| row.decision == begun);
        ran.drain(..own.map_or(0, |own| own + 1));
        ran.retain(|row| {
            row.state == DeploymentState::Succeeded
                && row.environment == member.environment
                && row.ran.is_some()
                && row.decision < begun
        });
        if member.application == *failing {
            ran.retain(|row| member.to.as_ref() != Some(&pinned(row)));
        }
        if ran.is_empty() {
            new.push(member.application.clone());
        } else {
            before.push((member.application.clone(), ran));
        }
    }
    let targets = if before.is_empty() {
        None
    } else {
        newest(app, &before).await?
    };
    Ok(Found { targets, new })
}

/// Goes back from change to change of any of them, until all of what ran then has passed.
async fn newest(
    app: &App,
    before: &[(AppRef, Vec<DeploymentRow>)],
) -> Result<Option<BTreeMap<AppRef, Target>>, store::Error> {
    let mut known: BTreeMap<(usize, DecisionId), Option<Vec<RunId>>> = BTreeMap::new();
    let mut until: Option<DecisionId> = None;
    for _ in 0..COMBINATIONS {
        let mut combination = BTreeMap::new();
        let mut latest: Option<DecisionId> = None;
        let mut all_passed = true;
        for (index, (application, ran)) in before.iter().enumerate() {
            let at_that_time = ran
                .iter()
                .find(|row| until.is_none_or(|until| row.decision < until));
            let Some(row) = at_that_time else {
                return Ok(None);
            };
            latest = latest.max(Some(row.decision));
            let key = (index, row.decision);
            let runs = match known.get(&key) {
                Some(runs) => runs.clone(),
                // What was taken back itself is no place to go, whatever has passed since.
                None if is_rolled_back(&app.store, application, &pinned(row)).await? => None,
                None => passed(app, row).await?,
            };
            known.insert(key, runs.clone());
            match (runs, &row.ran) {
                (Some(runs), Some(ran)) => {
                    let target = Target {
                        decision: row.decision,
                        pinned: pinned(row),
                        ran: ran.clone(),
                        runs,
                    };
                    combination.insert(application.clone(), target);
                }
                _ => all_passed = false,
            }
        }
        if all_passed {
            return Ok(Some(combination));
        }
        until = latest;
    }
    Ok(None)
}

fn pinned(row: &DeploymentRow) -> Pinned {
    Pinned {
        commits: row.commits.clone(),
        source_digest: row.source_digest.clone(),
    }
}

/// The runs that speak for what `row` rolled out; nothing where none does, or one speaks against it.
///
/// # Errors
/// [`store::Error`].
pub(super) async fn passed(
    app: &App,
    row: &DeploymentRow,
) -> Result<Option<Vec<RunId>>, store::Error> {
    let Some(mut runs) = here(app, row).await? else {
        return Ok(None);
    };
    let mut environments = app.config.environments.iter();
    let environment = environments.find(|environment| environment.name == row.environment);
    let (Some(environment), Some(plan)) = (environment, environment.and_then(|it| plan(row, it)))
    else {
        return Ok(None);
    };
    let evidence = evidence_for(&app.store, &plan, &environment.requires).await?;
    let now = app.clock.now();
    match gate::find(&plan, &environment.requires, &evidence, false, now) {
        Finding::Satisfied { runs: required } => {
            let ids = required
                .iter()
                .filter_map(|id| ulid::Ulid::from_string(id).ok());
            runs.extend(ids.map(RunId));
        }
        // What has passed stays good enough to go back to.
        Finding::Blocked { gaps } if gaps.iter().all(|gap| gap.kind == GapKind::Stale) => {
            let ids = gaps.iter().filter_map(|gap| gap.run.as_ref());
            let ids = ids.filter_map(|id| ulid::Ulid::from_string(id).ok());
            runs.extend(ids.map(RunId));
        }
        Finding::Exempt => {}
        Finding::Blocked { .. } | Finding::Composite | Finding::Incumbent => return Ok(None),
    }
    runs.sort_unstable();
    runs.dedup();
    Ok(Some(runs).filter(|runs| !runs.is_empty()))
}

/// The last word of each suite about `row` in its own environment, where all of them are passes.
async fn here(app: &App, row: &DeploymentRow) -> Result<Option<Vec<RunId>>, store::Error> {
    let last = last_words(app.store.runs(of(row)).await?, row);
    let all = last.iter().all(is_pass);
    Ok(all.then(|| last.iter().map(|stored| stored.run.id).collect()))
}

/// What the tests of a state say once its operation has ended well.
pub(super) enum Judged {
    /// The last word of one suite is no pass.
    Failed(RunId),
    /// Every suite has passed, by these runs; none may be there.
    Passed(Vec<RunId>),
    /// Some run has ended and is not settled.
    Pending,
}

/// What the runs say of the operation that `row` permitted.
///
/// # Errors
/// [`store::Error`].
pub(super) async fn judged(app: &App, row: &DeploymentRow) -> Result<Judged, store::Error> {
    let runs = app.store.runs(of(row)).await?;
    let is_pending = |stored: &StoredRun| {
        let of_it = stored.run.operation.is_some() && is_about(stored, row);
        of_it && stored.run.counting.state == CountingState::Pending
    };
    if runs.iter().any(is_pending) {
        return Ok(Judged::Pending);
    }
    let last = last_words(runs, row);
    let bad = last.iter().find(|stored| !is_pass(stored));
    if let Some(bad) = bad {
        return Ok(Judged::Failed(bad.run.id));
    }
    // What ran before speaks for the commits, but is no test of the state that they are in again.
    let since = row.decision.made_at();
    let anew = last.iter().filter(|it| Some(it.run.received_at) >= since);
    Ok(Judged::Passed(anew.map(|stored| stored.run.id).collect()))
}

/// The last word of a suite that says that the tests of what `row` rolled out have failed, if one does.
///
/// # Errors
/// [`store::Error`].
pub(super) async fn failed(
    app: &App,
    row: &DeploymentRow,
) -> Result<Option<StoredRun>, store::Error> {
    let last = last_words(app.store.runs(of(row)).await?, row);
    Ok(last.into_iter().find(is_failure))
}

/// Whether a run says that tests have failed.
pub(super) fn is_failure(stored: &StoredRun) -> bool {
    let verdict = stored.finish.as_ref().map(|end| end.verdict);
    let counts = stored.run.counting.state == CountingState::Counts;
    counts && verdict == Some(Verdict::Failed) && stored.withdrawal.is_none()
}

fn is_pass(stored: &StoredRun) -> bool {
    let verdict = stored.finish.as_ref().map(|end| end.verdict);
    verdict == Some(Verdict::Passed) && stored.withdrawal.is_none()
}

/// Whether a run is about what `row` rolls out.
fn is_about(stored: &StoredRun, row: &DeploymentRow) -> bool {
    stored.run.commits == row.commits
        && stored.run.source_digest.as_ref() == Some(&row.source_digest)
}

/// Which runs to look through for those about `row`.
fn of(row: &DeploymentRow) -> RunFilter {
    RunFilter {
        component: Some(row.component.clone()),
        environment: Some(row.environment.clone()),
        commit: leading_commit(&row.commits).cloned(),
        limit: RUNS,
        ..RunFilter::default()
    }
}

/// The run of `runs` that spoke last of each suite about what `row` rolled out.
fn last_words(runs: Vec<StoredRun>, row: &DeploymentRow) -> Vec<StoredRun> {
    let mut last: BTreeMap<String, StoredRun> = BTreeMap::new();
    for stored in runs {
        let run = &stored.run;
        let is_word = stored.finish.is_some()
            && run.counting.state == CountingState::Counts
            && is_about(&stored, row);
        let suite = run.suite.to_string();
        let is_later = last.get(&suite).is_none_or(|it| it.spoke < stored.spoke);
        if is_word && is_later {
            last.insert(suite, stored);
        }
    }
    last.into_values().collect()
}

fn plan(row: &DeploymentRow, environment: &Environment) -> Option<ApplicationPlan> {
    let resolved = Resolved::from_json(row.ran.as_ref()?, &Sources::default()).ok()?;
    let list = &resolved.sources.list;
    let (source_digest, promotion_digest) = ApplicationPlan::digests(list, &environment.varies);
    Some(ApplicationPlan {
        application: row.application.clone(),
        uid: row.uid.clone(),
        environment: row.environment.clone(),
        component: row.component.clone(),
        sources: resolved.pinned().ok()?,
        multi_source: resolved.sources.multi,
        source_digest,
        promotion_digest,
    })
}
