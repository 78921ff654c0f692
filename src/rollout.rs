//! What was rolled out together, and how it is taken back when its tests fail.
//!
//! In: permitted syncs, the ends of their operations, test runs. Out: [`Rollout`]s: a sync with all that it rolls out,
//! children of the tree included; and where the tests of one of them fail, a [`Rollback`] of the whole set to the
//! newest combination that has passed. Whether that goes ahead by itself is for the policies (the caller is the gate
//! itself, the action [`ROLLBACK`]); what they do not let go ahead is proposed, and a person may start it. Never: a
//! rollback of a rollback, an operation that was not decided on and recorded, a loop: the turn of each application
//! comes twice at most, and then it is [`State::Stuck`], loudly.
//!
//! | module | does |
//! |---|---|
//! | `set` | what a permitted sync rolls out, and which later operations belong to it |
//! | `target` | the newest combination that has passed |
//! | `begin` | from a failure, or a person's wish, to a rollback |
//! | `controller` | one step after the other, to the end |
//! | `kubernetes` | the one write that it makes |

mod begin;
pub mod cli;
mod controller;
pub mod interface;
mod kubernetes;
mod set;
mod target;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::gate::ApplicationPlan;
use crate::identity::Caller;
use crate::intent::Start;
use crate::names::{AppRef, Commit, Component, DecisionId, EnvironmentName, SourceDigest, Suite};
use crate::store::RunId;

pub use begin::{
    Error, abandon, asked, because_of, deploy_ended, may_resume, resume, run_failed, start,
};
pub use controller::run;
pub use kubernetes::{Error as KubernetesError, Kubernetes};
pub use set::{begun, is_rolled_back, joined, opened};

/// The action that policies are asked about for each application of a rollback.
pub const ROLLBACK: &str = "Rollout.rollback";
/// What the record calls a request for a rollback, whose operations are decided on one by one.
pub const ASK: &str = "Rollback.ask";
/// What the record calls the announcement of a parent's sync and those of its children; that starts nothing itself.
pub const OPEN: &str = "Rollout.open";
/// The remark on a sync that says to which rollout it belongs.
pub const INFO: &str = "rollout";
/// How many rollouts of an application are looked back on.
const LOOK_BACK: u32 = 20;

/// A sync that was permitted, and all that it rolls out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The decision that permitted it, by which it is known.
    pub decision: DecisionId,
    /// What was synced.
    pub application: AppRef,
    /// By whom, as people know them: `Caller::display`.
    pub by: String,
    /// The same, by issuer and subject: `Caller::unique`.
    pub caller: String,
    /// When.
    pub at: Timestamp,
    /// What it rolls out, in no order.
    pub members: Vec<Member>,
    /// How it is taken back, if it is.
    pub rollback: Option<Rollback>,
}

/// One application of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The application, as policies and people name it.
    pub application: AppRef,
    /// The uid of the object; absent while it does not exist.
    pub uid: Option<String>,
    /// Its environment.
    pub environment: EnvironmentName,
    /// The component that it deploys.
    pub component: Component,
    /// The sync waves of the manifests that lead to it, from the top of the tree; none for what was synced itself.
    pub wave: Vec<i64>,
    /// Whether Argo CD syncs it by itself.
    pub automated: bool,
    /// What it is taken to; absent while that is not known.
    pub to: Option<Pinned>,
    /// The decision that permitted its operation; absent while none has begun.
    pub begun: Option<DecisionId>,
}

/// What an application runs, or is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// The commits, one for each source.
    pub commits: Vec<Commit>,
    /// The digest of the sources.
    pub source_digest: SourceDigest,
}

impl Pinned {
    /// What `plan` rolls out.
    #[must_use]
    pub fn of(plan: &ApplicationPlan) -> Self {
        Self {
            commits: plan.commits(),
            source_digest: plan.source_digest.clone(),
        }
    }

    /// What `start` would run, if its commits are known.
    #[must_use]
    pub fn started_by(start: &Start) -> Option<Self> {
        let commits = start.commits.iter().map(Commit::parse);
        Some(Self {
            commits: commits.collect::<Result<_, _>>().ok()?,
            source_digest: start.source_digest.clone(),
        })
    }
}

/// How a rollout is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// What failed.
    pub because: Because,
    /// Who asked for it, and as whom its steps are decided on; absent where the gate began by itself.
    pub by: Option<Caller>,
    /// When it began, or was proposed.
    pub at: Timestamp,
    /// How far it is.
    pub state: State,
    /// Why it is only proposed, or how it ended.
    pub why: String,
    /// What is done to each application, in the order of work.
    pub steps: Vec<Step>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What a rollback is begun for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Because {
    /// The application whose tests failed; what was synced where a person asks for no failure.
    pub application: AppRef,
    /// The failed run, where one was reported.
    pub run: Option<RunId>,
    /// The decision that permitted the operation, where that failed.
    pub operation: Option<DecisionId>,
    /// The suite of the run.
    pub suite: Option<Suite>,
    /// In words.
    pub text: String,
}

/// How far a rollback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Somebody has ended it: what it took back may come again by itself.
    Abandoned,
    /// It is not begun: a person may start it.
    Proposed,
    /// It goes on.
    Running,
    /// It could not reach a state that has passed: somebody must look.
    Stuck,
    /// It ended, and of some of its applications people have synced something newer meanwhile.
    Superseded,
    /// Every application is back where its tests have passed.
    Verified,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Proposed => "proposed",
            Self::Running => "running",
            Self::Stuck => "stuck",
            Self::Superseded => "superseded",
            Self::Verified => "verified",
        }
    }
}

impl Rollback {
    /// Whether what it takes back must not come again by itself.
    #[must_use]
    pub fn holds(&self) -> bool {
        let takes_back = self.steps.iter().any(|step| step.target.is_some());
        takes_back && !matches!(self.state, State::Abandoned | State::Proposed)
    }
}

/// What a rollback does to one application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The application.
    pub application: AppRef,
    /// Its place in the order: the highest waves go first, equal ones together.
    pub wave: Vec<i64>,
    /// Where it goes; absent where it stays.
    pub target: Option<Target>,
    /// How far it is.
    pub state: StepState,
    /// How often its turn came.
    pub tries: u32,
    /// When its present turn came; absent before.
    pub began: Option<Timestamp>,
    /// The decision by which it was asked for last.
    pub decision: Option<DecisionId>,
    /// Since when it is as far as it is.
    pub since: Timestamp,
    /// Why it stays, what it waits for, or what went wrong.
    pub note: String,
}

/// Where a step goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The decision by which it ran there before.
    pub decision: DecisionId,
    /// What runs there.
    pub pinned: Pinned,
    /// Sources and revisions, as Argo CD wrote them.
    pub ran: Value,
    /// What speaks for it: runs that have passed.
    pub runs: Vec<RunId>,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// The operation is decided on, and written or about to be.
    Asked,
    /// It did not work.
    Failed,
    /// It stays as it is.
    Left,
    /// Somebody has synced something newer.
    Overtaken,
    /// It runs what it ran before, and its tests have passed there.
    Verified,
    /// Its turn has not come.
    Waiting,
}

impl StepState {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Failed => "failed",
            Self::Left => "left",
            Self::Overtaken => "overtaken",
            Self::Verified => "verified",
            Self::Waiting => "waiting",
        }
    }
}

impl Rollout {
    /// The member that is `application`.
    #[must_use]
    pub fn member(&self, application: &AppRef) -> Option<&Member> {
        self.members
            .iter()
            .find(|it| it.application == *application)
    }

    /// The environments of its members, each once.
    #[must_use]
    pub fn environments(&self) -> Vec<EnvironmentName> {
        let mut all: Vec<EnvironmentName> = self
            .members
            .iter()
            .map(|it| it.environment.clone())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether a rollback of it goes on.
    #[must_use]
    pub fn is_returning(&self) -> bool {
        let state = self.rollback.as_ref().map(|rollback| rollback.state);
        state == Some(State::Running)
    }
}
