//! Requests and answers of `/syncgate/v1/rollouts`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Because, Rollback, Rollout, State, StepState};
use crate::names::{AppRef, Commit, Component, DecisionId, EnvironmentName};
use crate::store::{DeploymentState, RunId};

/// Body of `POST /syncgate/v1/rollouts`: a parent and its children are about to be synced. The answer is a
/// [`RolloutView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The parent.
    pub application: String,
    /// Its namespace; absent means Argo CD's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_namespace: Option<String>,
    /// The revision at which it will be synced; absent means that of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Whether what is no longer in Git will be deleted.
    #[serde(default)]
    pub prune: bool,
}

/// Body of `POST /syncgate/v1/rollouts/ID/rollback`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeBack {
    /// Why; of one that the gate has proposed, it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Answer to `GET /syncgate/v1/rollouts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollouts {
    /// What the caller may see, newest first.
    pub rollouts: Vec<RolloutView>,
}

/// One rollout, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutView {
    /// The decision by which it is known.
    pub decision: DecisionId,
    /// What was synced.
    pub application: AppRef,
    /// By whom.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What it rolls out, in the order of work.
    pub members: Vec<MemberView>,
    /// How it is taken back, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackView>,
}

/// One application of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// The application.
    pub application: AppRef,
    /// Its environment.
    pub environment: EnvironmentName,
    /// The component that it deploys.
    pub component: Component,
    /// The sync waves that lead to it.
    pub wave: Vec<i64>,
    /// Whether Argo CD syncs it by itself.
    pub automated: bool,
    /// What it is taken to; empty while that is not known.
    pub commits: Vec<Commit>,
    /// The decision that permitted its operation; absent while none has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
    /// How far its operation is; absent while none has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<DeploymentState>,
}

/// How a rollout is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackView {
    /// What failed.
    pub because: Because,
    /// Who asked for it; absent where the gate began by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it began, or was proposed.
    pub at: Timestamp,
    /// How far it is.
    pub state: State,
    /// Why it is only proposed, or how it ended; mostly empty.
    pub why: String,
    /// What is done, in the order of work.
    pub steps: Vec<StepView>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// What a rollback does to one application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// The application.
    pub application: AppRef,
    /// Its place in the order: the highest waves go first.
    pub wave: Vec<i64>,
    /// Where it goes; empty where it stays.
    pub commits: Vec<Commit>,
    /// The runs that speak for that.
    pub runs: Vec<RunId>,
    /// How far it is.
    pub state: StepState,
    /// How often its turn came.
    pub tries: u32,
    /// The decision by which it was asked for last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
    /// Since when it is as far as it is.
    pub since: Timestamp,
    /// Why it stays, what it waits for, or what went wrong; empty mostly.
    pub note: String,
}

impl RolloutView {
    /// `rollout`, whose operations are as far as `states` say, by application.
    #[must_use]
    pub fn of(rollout: Rollout, states: &BTreeMap<AppRef, DeploymentState>) -> Self {
        let mut members: Vec<MemberView> = rollout
            .members
            .into_iter()
            .map(|member| MemberView {
                state: states.get(&member.application).copied(),
                application: member.application,
                environment: member.environment,
                component: member.component,
                wave: member.wave,
                automated: member.automated,
                commits: member.to.map_or_else(Vec::new, |to| to.commits),
                decision: member.begun,
            })
            .collect();
        members.sort_by(|a, b| (&a.wave, &a.application).cmp(&(&b.wave, &b.application)));
        Self {
            decision: rollout.decision,
            application: rollout.application,
            by: rollout.by,
            at: rollout.at,
            members,
            rollback: rollout.rollback.map(RollbackView::of),
        }
    }
}

impl RollbackView {
    fn of(rollback: Rollback) -> Self {
        let steps = rollback.steps.into_iter().map(|step| {
            let target = step
                .target
                .map(|target| (target.pinned.commits, target.runs));
            let (commits, runs) = target.unwrap_or_default();
            StepView {
                application: step.application,
                wave: step.wave,
                commits,
                runs,
                state: step.state,
                tries: step.tries,
                decision: step.decision,
                since: step.since,
                note: step.note,
            }
        });
        Self {
            because: rollback.because,
            by: rollback.by.map(|caller| caller.display()),
            at: rollback.at,
            state: rollback.state,
            why: rollback.why,
            steps: steps.collect(),
            ended_at: rollback.ended_at,
        }
    }
}
