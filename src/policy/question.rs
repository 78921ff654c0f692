//! What is asked of the policies: who, does what, to what, in which circumstances.
//!
//! One [`Question`] is one Cedar request. A call that rolls out several applications asks one
//! question for each.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;

use crate::gate::Finding;
use crate::identity::Caller;
use crate::names::AppRef;

/// The environment of an application that matches none.
pub const UNASSIGNED: &str = "unassigned";
/// The environment of an application that matches two or more.
pub const AMBIGUOUS: &str = "ambiguous";

/// One question.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Who calls.
    pub caller: &'a Caller,
    /// What they want to do, as the schema names it: `ApplicationService.Sync`.
    pub action: &'a str,
    /// What they want to do it to.
    pub resource: Resource<'a>,
    /// The circumstances.
    pub context: Context,
}

/// What a call is about.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    /// One application.
    Application(&'a ApplicationFacts),
    /// Argo CD itself.
    ArgoCd,
    /// An endpoint under test, and what is asked of it.
    Endpoint(&'a EndpointFacts),
    /// An environment, by its name.
    Environment(&'a str),
    /// This gate.
    Gate,
}

/// What policies know of a request to an endpoint under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointFacts {
    /// The endpoint's name.
    pub name: String,
    /// The name of its environment.
    pub environment: String,
    /// The method of the request.
    pub method: String,
    /// Its path, decoded, without the query, behind the prefix of the endpoint.
    pub path: String,
}

/// What policies know of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationFacts {
    /// Its name.
    pub app: AppRef,
    /// The uid of the object; absent while it does not exist.
    pub uid: Option<String>,
    /// Its Argo CD project.
    pub project: String,
    /// The name of its environment, or [`UNASSIGNED`], or [`AMBIGUOUS`].
    pub environment: String,
    /// What is promoted; empty where no environment says.
    pub component: String,
    /// The destination's server, or its name.
    pub cluster: String,
    /// The namespace of the destination.
    pub destination_namespace: String,
    /// The labels of the object.
    pub labels: BTreeMap<String, String>,
    /// Whether Argo CD syncs it by itself.
    pub auto_sync: bool,
    /// Whether configuration lets the caller report its tests.
    pub tested_by_caller: bool,
}

impl ApplicationFacts {
    /// Whether it belongs to no environment, or to more than one: readable, never deployable.
    #[must_use]
    pub fn is_unplaced(&self) -> bool {
        [UNASSIGNED, AMBIGUOUS].contains(&self.environment.as_str())
    }
}

/// The circumstances of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// What the gate found about the tests.
    pub finding: FindingWord,
    /// When.
    pub now: Timestamp,
    /// How the request came: `grpc`, `grpc-web`, `rest`, `own` or `admission`.
    pub wire: &'static str,
    /// What the environment does with a refusal.
    pub mode: Mode,
    /// How an operation was asked for: of `Sync` and of rollbacks, and of nothing else.
    pub sync: Option<SyncOptions>,
    /// Where a deploy goes, and what holds its environment: of what deploys, and of nothing else.
    pub deploy: Option<Deploying>,
}

impl Context {
    /// The circumstances of a request that rolls nothing out, whose refusal counts everywhere: what
    /// is asked about reads and reports. `wire` is as in the field.
    #[must_use]
    pub fn plain(now: Timestamp, wire: &'static str) -> Self {
        Self {
            finding: FindingWord::None,
            now,
            wire,
            mode: Mode::Enforce,
            sync: None,
            deploy: None,
        }
    }
}

/// Where a deploy would take an application, and what holds its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deploying {
    /// Where it would take it.
    pub moves: Moves,
    /// The names of the freezes that are in force.
    pub freezes: BTreeSet<String>,
    /// Whether somebody has stopped the line.
    pub stopped: bool,
    /// Whether it is asked for, or let through, in an emergency.
    pub break_glass: GlassWord,
    /// Whether a rollback has taken the application away from just this.
    pub rolled_back: bool,
}

impl Deploying {
    /// Whether requests of `action` carry these facts. They always do, or never.
    #[must_use]
    pub fn belongs_to(action: &str) -> bool {
        matches!(
            action,
            "Application.Extension"
                | "Application.Terminal"
                | "ApplicationService.Create"
                | "ApplicationService.Delete"
                | "ApplicationService.DeleteResource"
                | "ApplicationService.Patch"
                | "ApplicationService.PatchResource"
                | "ApplicationService.Rollback"
                | "ApplicationService.RunResourceAction"
                | "ApplicationService.RunResourceActionV2"
                | "ApplicationService.Sync"
                | "ApplicationService.TerminateOperation"
                | "ApplicationService.Update"
                | "ApplicationService.UpdateSpec"
                | "Rollout.rollback"
        )
    }

    /// Of `action`, in an environment that nothing holds.
    #[must_use]
    pub fn freely(action: &str) -> Option<Self> {
        Self::belongs_to(action).then(Self::default)
    }
}

/// Where a deploy would take an application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moves {
    /// To what it rolled out last, by its own history.
    Again,
    /// To what was permitted and ran there before, but not last.
    Back,
    /// To what has not run there, or nobody can tell.
    Forward,
    /// Nowhere: nothing is rolled out.
    #[default]
    Nothing,
}

impl Moves {
    /// The word that policies see in `context.moves`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Again => "again",
            Self::Back => "back",
            Self::Forward => "forward",
            Self::Nothing => "nothing",
        }
    }
}

/// Whether a deploy is an emergency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GlassWord {
    /// The request itself comes with a justification.
    Asked,
    /// It is none.
    #[default]
    None,
    /// Somebody broke the glass for exactly this, and that has not expired.
    Open,
}

impl GlassWord {
    /// The word that policies see in `context.break_glass`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::None => "none",
            Self::Open => "open",
        }
    }
}

/// What an environment does with a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Refuses.
    Enforce,
    /// Forwards unchanged and records what would have been refused.
    Observe,
}

impl Mode {
    /// The word that policies see.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

/// How a sync or rollback was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the independent switches of Argo CD's request"
)]
pub struct SyncOptions {
    /// No hook runs, so no test that is one.
    pub apply: bool,
    /// Nothing is to be changed.
    pub dry_run: bool,
    /// Only some resources.
    pub partial: bool,
    /// What is no longer in Git is to be deleted.
    pub prune: bool,
    /// Resources may be deleted and made anew.
    pub force: bool,
    /// Resources are replaced, not applied.
    pub replace: bool,
    /// The manifests came with the request, not from Git.
    pub local: bool,
}

impl SyncOptions {
    /// Whether requests of `action` carry these options. They always do, or never.
    #[must_use]
    pub fn belong_to(action: &str) -> bool {
        [
            "ApplicationService.Rollback",
            "ApplicationService.Sync",
            "Rollout.rollback",
        ]
        .contains(&action)
    }
}

/// What the gate found, as one word. The facts behind it are in [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingWord {
    /// Something is missing.
    Blocked,
    /// It holds nothing but other applications, each of which is decided on by itself.
    Composite,
    /// The environment requires nothing.
    Exempt,
    /// These commits were permitted and ran here, and have not failed since.
    Incumbent,
    /// The call rolls nothing out, so nothing was looked for.
    None,
    /// Every requirement is met.
    Satisfied,
}

impl FindingWord {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Blocked,
        Self::Composite,
        Self::Exempt,
        Self::Incumbent,
        Self::None,
        Self::Satisfied,
    ];

    /// The word that policies see in `context.finding`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Composite => "composite",
            Self::Exempt => "exempt",
            Self::Incumbent => "incumbent",
            Self::None => "none",
            Self::Satisfied => "satisfied",
        }
    }
}

impl From<&Finding> for FindingWord {
    fn from(finding: &Finding) -> Self {
        match finding {
            Finding::Blocked { .. } => Self::Blocked,
            Finding::Composite => Self::Composite,
            Finding::Exempt => Self::Exempt,
            Finding::Incumbent => Self::Incumbent,
            Finding::Satisfied { .. } => Self::Satisfied,
        }
    }
}
