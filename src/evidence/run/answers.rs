//! What the three calls are answered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::evidence::attestation::Attested;
use crate::evidence::verdict::{Reason, Tests, Verdict};
use crate::names::{Component, EnvironmentName, SourceDigest, Suite};
use crate::store::{CountingState, StoredRun};

/// Answer to `POST /syncgate/v1/runs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The run's identifier.
    pub run: String,
    /// The Application.
    pub application: String,
    /// The environment it is in.
    pub environment: EnvironmentName,
    /// What is promoted.
    pub component: Component,
    /// Which suite.
    pub suite: Suite,
    /// The commits that the run is about, one per source.
    pub commits: Vec<String>,
    /// The digest of the sources as they are in this environment.
    pub source_digest: Option<SourceDigest>,
    /// The operation that the run belongs to, if one was running.
    pub operation: Option<OperationRef>,
    /// Where the run can be read.
    pub url: String,
    /// The decision that admitted the report.
    pub decision: String,
}

/// Names the operation of an application that a run belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRef {
    /// When it started, by Argo CD's clock.
    pub started_at: Timestamp,
}

/// Answer to `POST /syncgate/v1/runs/{run}/attempts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The run's identifier.
    pub run: String,
    /// The `sequence` that the next batch must have.
    pub next: u64,
}

/// Answer to `POST /syncgate/v1/runs/{run}/finish`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The run's identifier.
    pub run: String,
    /// What the run is worth.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<Reason>,
    /// How many tests ended how.
    pub tests: Tests,
    /// From when on the run can meet a requirement.
    pub counts: Counts,
    /// Who signed it, where it was finished with an attestation.
    #[serde(default)]
    pub attestation: Option<Attested>,
    /// Where the run can be read.
    pub url: String,
    /// Where what the application was like at this moment can be read in a while, unless the run passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The decision that admitted the report.
    pub decision: String,
}

/// From when on a run is the word on its commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counts {
    /// It never meets a requirement.
    Never,
    /// From now on.
    Now,
    /// Once the operation it ran in has ended well.
    WhenOperationSucceeds,
}

impl Counts {
    /// From when on `stored` counts: never, of a run that has not ended.
    #[must_use]
    pub fn of(stored: &StoredRun) -> Self {
        let verdict = match &stored.finish {
            Some(end) if stored.withdrawal.is_none() => end.verdict,
            _ => return Self::Never,
        };
        match (verdict, stored.run.counting.state) {
            (Verdict::Refused, _) | (_, CountingState::Void) => Self::Never,
            (_, CountingState::Pending) => Self::WhenOperationSucceeds,
            (_, CountingState::Counts) => Self::Now,
        }
    }
}
