//! Runs as the interface shows them: the JSON of `GET /syncgate/v1/runs`.
//!
//! In: stored rows. Out: [`RunSummary`] and [`RunView`], which the command line reads back. Never: a
//! field that only the store means something by.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::evidence::attestation::Attested;
use crate::evidence::hook::{Disagreement, HookResult};
use crate::evidence::run::{Attempt, Collected, Counts, OperationRef, Tool};
use crate::evidence::verdict::{Reason, Tests, Verdict};
use crate::gate::Worth;
use crate::names::{Commit, Component, DecisionId, EnvironmentName, SourceDigest, Suite};
use crate::rollout;
use crate::store::{StoredRun, Withdrawal};

/// Answer to `GET /syncgate/v1/runs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunList {
    /// Newest first.
    pub runs: Vec<RunSummary>,
}

/// A run without its attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Its identifier.
    pub run: String,
    /// The Application.
    pub application: String,
    /// Its namespace, where one was named.
    pub application_namespace: Option<String>,
    /// The environment it is in.
    pub environment: EnvironmentName,
    /// What is promoted.
    pub component: Component,
    /// Which suite.
    pub suite: Suite,
    /// The commits that the run is about, one per source.
    pub commits: Vec<Commit>,
    /// The digest of the sources as they are in this environment.
    pub source_digest: Option<SourceDigest>,
    /// The operation that the run belongs to, if one was running.
    pub operation: Option<OperationRef>,
    /// Who reported it.
    pub reporter: String,
    /// The decision that admitted the report.
    pub decision: String,
    /// When it began, by the reporter's clock.
    pub started_at: Timestamp,
    /// When the gate opened it.
    pub received_at: Timestamp,
    /// How it ended; absent while it goes on, or if its end was never reported.
    pub result: Option<RunResult>,
    /// How the hook Job ended that it came from, as Argo CD says; absent if it came from none, as far as is known.
    pub hook: Option<HookResult>,
    /// That the hook Job says something else than the report, where it does.
    pub disagreement: Option<Disagreement>,
    /// Who took it back, when and why.
    pub withdrawn: Option<Withdrawal>,
    /// What it is worth now to each environment that requires this suite here; empty before it has
    /// ended.
    pub bears_on: Vec<Bearing>,
}

/// What a run is worth to the requirement of one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bearing {
    /// Which environment requires the suite of the run.
    pub required_by: EnvironmentName,
    /// What the run is worth there, now.
    #[serde(flatten)]
    pub worth: Worth,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResult {
    /// What it is worth.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<Reason>,
    /// How many tests ended how.
    pub tests: Tests,
    /// From when on it can meet a requirement.
    pub counts: Counts,
    /// Why that is so, where it says more; else empty.
    pub counts_reason: String,
    /// When it ended, by the reporter's clock.
    pub finished_at: Timestamp,
    /// The exit status of the tool.
    pub exit_status: i64,
    /// The decision that took in the end.
    pub decision: String,
    /// Who signed it, where it was finished with an attestation.
    #[serde(default)]
    pub attestation: Option<Attested>,
}

/// A run with everything that was reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    /// The summary.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Whether the reporter's working tree was dirty.
    pub dirty: Option<bool>,
    /// What was selected.
    pub collected: Collected,
    /// What ran the tests.
    pub tool: Tool,
    /// Options that shaped the selection.
    pub options: Vec<String>,
    /// What the application was like when the run failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotLink>,
    /// What was taken back because of it, if something was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackLink>,
    /// Every attempt, in the order of reporting.
    pub attempts: Vec<Attempt>,
}

/// Which rollback a run has brought about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackLink {
    /// The rollout that is taken back.
    pub rollout: DecisionId,
    /// How far that is.
    pub state: rollout::State,
    /// Where it is.
    pub url: String,
}

/// Where a snapshot is, and what it says in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotLink {
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Where it is.
    pub url: String,
    /// What was not well, a line each.
    pub summary: Vec<String>,
}

impl RunSummary {
    /// Shows `stored`, without what it is worth.
    #[must_use]
    pub fn of(stored: &StoredRun) -> Self {
        let run = &stored.run;
        Self {
            run: run.id.to_string(),
            application: run.application.name.clone(),
            application_namespace: run.application.namespace.clone(),
            environment: run.environment.clone(),
            component: run.component.clone(),
            suite: run.suite.clone(),
            commits: run.commits.clone(),
            source_digest: run.source_digest.clone(),
            operation: run.operation.as_ref().map(|operation| OperationRef {
                started_at: operation.started_at,
            }),
            reporter: run.reporter.clone(),
            decision: run.decision.to_string(),
            started_at: run.started_at,
            received_at: run.received_at,
            result: stored.finish.as_ref().map(|finish| RunResult {
                verdict: finish.verdict,
                reasons: finish.reasons.clone(),
                tests: finish.tests,
                counts: Counts::of(stored),
                counts_reason: run.counting.reason.clone(),
                finished_at: finish.finished_at,
                exit_status: finish.exit_status,
                decision: finish.decision.to_string(),
                attestation: finish.attestation.clone(),
            }),
            hook: stored.hook.clone(),
            disagreement: stored.disagreement.clone(),
            withdrawn: stored.withdrawal.clone(),
            bears_on: Vec::new(),
        }
    }
}

impl RunView {
    /// Shows `stored` with its `summary`, `snapshot` and `attempts`.
    #[must_use]
    pub fn of(
        stored: &StoredRun,
        summary: RunSummary,
        snapshot: Option<SnapshotLink>,
        attempts: Vec<Attempt>,
    ) -> Self {
        let run = &stored.run;
        Self {
            summary,
            dirty: run.dirty,
            collected: run.collected.clone(),
            tool: run.tool.clone(),
            options: run.options.clone(),
            snapshot,
            rollback: None,
            attempts,
        }
    }
}
