//! Taking a run back: the body of `POST /syncgate/v1/runs/{run}/withdraw`, and its answer.

use serde::{Deserialize, Serialize};

use super::{Invalid, text};
use crate::store::Withdrawal;

/// Bytes of the reason of a withdrawal, at most.
const MAX_REASON_BYTES: usize = 512;

/// Body of `POST /syncgate/v1/runs/{run}/withdraw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdraw {
    /// Why the run is no evidence any more; whoever is refused for it reads it.
    pub reason: String,
}

/// Answer to `POST /syncgate/v1/runs/{run}/withdraw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawnRun {
    /// The run's identifier.
    pub run: String,
    /// Who withdrew it first, when and why; later calls change nothing.
    pub withdrawn: Withdrawal,
    /// Where the run can be read.
    pub url: String,
}

impl Withdraw {
    /// Checks everything that the types do not.
    ///
    /// # Errors
    /// [`Invalid`] when the reason is missing, too long, or of more than one line.
    pub fn check(&self) -> Result<(), Invalid> {
        text("reason", self.reason.trim(), MAX_REASON_BYTES)
    }
}
