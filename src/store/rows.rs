//! What the store keeps, as plain structs.
//!
//! Each row type says what a caller gives; what the server adds (its sequence number, how many
//! batches it holds) is in the `Stored…` type around it. The types carry serde so that other rooms
//! can show them; the store itself keeps scalars in columns and lists as JSON. What reporters send
//! and what is made of it (attempts, tools, verdicts) is kept in the types of the evidence room.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::evidence::attestation::Attested;
use crate::evidence::binding::{BoundOperation, Since};
use crate::evidence::hook::{Disagreement, HookResult};
use crate::evidence::run::{Collected, Tool};
use crate::evidence::verdict::{Reason, Tests, Verdict};
use crate::names::{AppRef, Commit, Component, DecisionId, EnvironmentName, SourceDigest, Suite};

/// The place of a row in the order in which the server stored it. For log entries it is the index
/// of the leaf in the Merkle tree (RFC 6962 §2.1): dense, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// --- the log -----------------------------------------------------------------------------------

/// Which half of a record an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// The second: what became of the call.
    Close,
    /// The first: what was decided, and from what.
    Open,
}

impl EntryKind {
    /// The word in the `kind` column and in the entry's bytes.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Open => "open",
        }
    }
}

/// A log entry to append. The bytes are fixed by then; the sequence number is given by the writer
/// and is not part of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEntry {
    /// The decision it belongs to.
    pub decision: DecisionId,
    /// Opening or closing.
    pub kind: EntryKind,
    /// When it was made.
    pub at: Timestamp,
    /// The operation, for queries; openings only.
    pub operation: Option<String>,
    /// The applications it is about, for queries; openings only.
    pub applications: Vec<AppRef>,
    /// The commits it is about, for queries; openings only.
    pub commits: Vec<String>,
    /// The canonical bytes.
    pub bytes: Vec<u8>,
    /// The RFC 6962 leaf hash of the bytes.
    pub leaf: [u8; 32],
}

/// A log entry as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEntry {
    /// Its place in the log.
    pub seq: Seq,
    /// The decision it belongs to.
    pub decision: DecisionId,
    /// Opening or closing.
    pub kind: EntryKind,
    /// When it was made.
    pub at: Timestamp,
    /// The canonical bytes.
    pub bytes: Vec<u8>,
    /// The RFC 6962 leaf hash of the bytes, as stored (not recomputed).
    pub leaf: [u8; 32],
}

/// An opening entry with its closing one, if that is there yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredDecision {
    /// What was decided.
    pub opening: StoredEntry,
    /// What became of it.
    pub closing: Option<StoredEntry>,
}

/// Which decisions to list; an absent field does not restrict.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DecisionFilter {
    /// Only openings before this place in the log (for paging).
    pub before: Option<Seq>,
    /// Only openings about the application of this name, in whatever namespace.
    pub application: Option<String>,
    /// Only openings about an application in this namespace; needs `application`.
    pub application_namespace: Option<String>,
    /// Only openings about this commit, a full SHA.
    pub commit: Option<String>,
    /// Only openings of this operation.
    pub operation: Option<String>,
    /// How many at most; the store gives no more than [`MAX_ROWS`](super::MAX_ROWS).
    pub limit: u32,
}

// --- evidence ----------------------------------------------------------------------------------

/// The identifier of one test run (a ULID).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Ulid);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A run as it is opened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunRow {
    /// Its identifier.
    pub id: RunId,
    /// The reporter's key under which the same run is given again, where it sent one.
    pub idempotency_key: Option<String>,
    /// Who reports it: `Caller::unique`.
    pub reporter: String,
    /// The decision that let it be reported.
    pub decision: DecisionId,
    /// The application whose tests ran.
    pub application: AppRef,
    /// The environment it belongs to.
    pub environment: EnvironmentName,
    /// The component it deploys.
    pub component: Component,
    /// The suite that ran.
    pub suite: Suite,
    /// What was tested, one per source; empty when the reporter could not say.
    pub commits: Vec<Commit>,
    /// The digest of the whole source(s), where known.
    pub source_digest: Option<SourceDigest>,
    /// The digest of what must match for promotion, where known.
    pub promotion_digest: Option<SourceDigest>,
    /// Whether the tree had uncommitted changes; absent when the reporter could not say.
    pub dirty: Option<bool>,
    /// What the test tool collected.
    pub collected: Collected,
    /// The test tool.
    pub tool: Tool,
    /// The options that choose among tests (`-k expr`).
    pub options: Vec<String>,
    /// The operation that the run is bound to, for a hook's run.
    pub operation: Option<BoundOperation>,
    /// What the application had behind it when the run was opened, for a run outside an operation.
    pub since: Option<Since>,
    /// When the tests began, as the reporter says.
    pub started_at: Timestamp,
    /// When the gate opened the run.
    pub received_at: Timestamp,
    /// Whether it counts as evidence.
    pub counting: Counting,
}

/// Whether a run counts as evidence, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Counting {
    /// Whether it counts.
    pub state: CountingState,
    /// Why, in words; empty where the state says it all.
    pub reason: String,
}

/// See [`Counting`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CountingState {
    /// It counts.
    Counts,
    /// It will be known later: the operation it is bound to has not ended.
    Pending,
    /// It does not, whatever its verdict.
    Void,
}

/// A run as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredRun {
    /// The place among all runs; newest is highest.
    pub seq: Seq,
    /// How many batches of attempts are stored, which is the sequence number of the next.
    pub batches: u64,
    /// When its reporter was last heard: its last batch, else its opening, by the gate's clock.
    pub heard_at: Timestamp,
    /// The place of the last thing that its reporter said among all that reporters said, from 1. The
    /// store counts: neither clocks nor the order of opening have a part in it.
    pub spoke: u64,
    /// What was reported when it was opened; `counting` is as it stands now.
    pub run: RunRow,
    /// How it ended, once it has.
    pub finish: Option<FinishRow>,
    /// Who took it back, if somebody has.
    pub withdrawal: Option<Withdrawal>,
    /// How far it is known how its hook Job ended.
    pub hook_state: HookState,
    /// Its hook Job, as far as that is known.
    pub hook: Option<HookResult>,
    /// That its hook Job says something else than its reporter, where it does.
    pub disagreement: Option<Disagreement>,
}

/// How far it is known how the hook Job of a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookState {
    /// It may go on.
    Awaited,
    /// It ended, or its end was lost.
    Heard,
    /// The run comes from no hook Job.
    None,
    /// It was held against what the reporter said.
    Weighed,
}

impl HookState {
    /// What it is when `run` is opened: only the run of a pod inside an operation can be of a hook Job.
    #[must_use]
    pub fn at_first(run: &RunRow) -> Self {
        match &run.operation {
            Some(BoundOperation { pod: Some(_), .. }) => Self::Awaited,
            _ => Self::None,
        }
    }
}

/// That a run is taken back: for good, and only to the worse.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Withdrawal {
    /// Who did, as people know them: `Caller::display`.
    pub by: String,
    /// The same, by issuer and subject: `Caller::unique`.
    pub caller: String,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    pub reason: String,
    /// The decision that let them.
    pub decision: DecisionId,
}

/// That the line of an environment is stopped.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stop {
    /// Who did, as people know them: `Caller::display`.
    pub by: String,
    /// The same, by issuer and subject: `Caller::unique`.
    pub caller: String,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    pub reason: String,
    /// The decision that let them.
    pub decision: DecisionId,
}

/// An environment whose line is stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoppedLine {
    /// Which.
    pub environment: EnvironmentName,
    /// By whom, when and why.
    pub stop: Stop,
}

/// Who ends a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndedBy {
    /// The gate, in the place of a reporter that fell silent: the run spoke when it was last heard.
    Gate,
    /// Its reporter, who speaks by that.
    Reporter,
}

/// What became of [`withdraw_run`](super::Store::withdraw_run).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WithdrawOutcome {
    /// It was withdrawn before; nothing was changed.
    AlreadyWithdrawn(Box<StoredRun>),
    /// It has not ended, so there is nothing to take back yet.
    NotFinished,
    /// It is withdrawn now.
    Withdrawn(Box<StoredRun>),
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FinishRow {
    /// The decision that let it be finished.
    pub decision: DecisionId,
    /// The exit status of the test tool.
    pub exit_status: i64,
    /// When, as the reporter says.
    pub finished_at: Timestamp,
    /// How many batches the reporter says it sent.
    pub batches: u64,
    /// How many attempts the reporter says it sent.
    pub attempts: u64,
    /// Whether the tool was interrupted.
    pub interrupted: bool,
    /// How many stored batches the verdict was computed from.
    pub judged_batches: u64,
    /// What Syncgate makes of the attempts.
    pub verdict: Verdict,
    /// Why, where it is not a pass.
    pub reasons: Vec<Reason>,
    /// How many tests by outcome.
    pub tests: Tests,
    /// Whether the run counts from now on.
    pub counting: Counting,
    /// By what its attempts are known again, where it has any.
    #[serde(default)]
    pub attempts_digest: Option<String>,
    /// Who signed it, where it was finished with an attestation.
    #[serde(default)]
    pub attestation: Option<Attested>,
}

/// What became of [`insert_run`](super::Store::insert_run).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InsertOutcome {
    /// The reporter has opened a run under this key before: here it is, nothing was stored.
    Existing(Box<StoredRun>),
    /// It is stored.
    Inserted(Seq),
}

/// What became of [`append_attempts`](super::Store::append_attempts).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendOutcome {
    /// A batch of this number is there already; nothing was stored.
    AlreadyStored {
        /// The number of the next batch.
        next: u64,
    },
    /// The run is finished and takes no more attempts.
    Finished,
    /// A batch before this one is missing; nothing was stored.
    Gap {
        /// The number of the next batch.
        next: u64,
    },
    /// The batch is stored.
    Stored {
        /// The number of the next batch.
        next: u64,
    },
}

/// What became of [`finish_run`](super::Store::finish_run).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FinishOutcome {
    /// It was finished before; this is how, and nothing was changed.
    AlreadyFinished(Box<StoredRun>),
    /// The payload of its attestation has finished another run; nothing was changed.
    AlreadyAttested {
        /// That run.
        run: RunId,
    },
    /// It is finished now.
    Finished(Box<StoredRun>),
    /// Another batch, or another run of the same attempts, arrived after the verdict was computed:
    /// compute it again.
    Moved {
        /// How many batches there are now.
        batches: u64,
    },
}

/// Which runs to list, newest first; an absent field does not restrict.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RunFilter {
    /// The application's name, in whatever namespace.
    pub application: Option<String>,
    /// The application's namespace; needs `application`.
    pub application_namespace: Option<String>,
    /// The component.
    pub component: Option<Component>,
    /// The environment.
    pub environment: Option<EnvironmentName>,
    /// The suite.
    pub suite: Option<Suite>,
    /// Runs that tested this commit, in whichever source.
    pub commit: Option<Commit>,
    /// How many at most; the store gives no more than [`MAX_ROWS`](super::MAX_ROWS).
    pub limit: u32,
}

// --- deployments -------------------------------------------------------------------------------

/// One application of one permitted deploy: what becomes the incumbent when it succeeds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeploymentRow {
    /// The decision that permitted it.
    pub decision: DecisionId,
    /// The application.
    pub application: AppRef,
    /// The uid of the Application object.
    pub uid: String,
    /// Its environment.
    pub environment: EnvironmentName,
    /// The component it deploys.
    pub component: Component,
    /// What it was pinned to, one per source.
    pub commits: Vec<Commit>,
    /// The digest of the whole source(s).
    pub source_digest: SourceDigest,
    /// When the operation began, once that is known.
    pub started_at: Option<Timestamp>,
    /// How far it has come.
    pub state: DeploymentState,
    /// What Argo CD carried out: sources and revisions, as an entry of its history has them; only once it ended well.
    pub ran: Option<serde_json::Value>,
}

/// How far a deployment has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentState {
    /// It ended, and not well.
    Failed,
    /// Nobody can tell any more: Argo CD has forgotten the operation.
    Lost,
    /// It was permitted; the operation has not been seen.
    Permitted,
    /// The operation runs.
    Running,
    /// The operation ended well.
    Succeeded,
}
