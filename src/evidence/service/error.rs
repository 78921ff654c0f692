//! How reporting fails.

use crate::evidence::attestation;
use crate::evidence::run::{Invalid, MAX_RUN_ATTEMPTS};
use crate::names::EnvironmentName;
use crate::store::{self, RunId};

/// Why a report is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The attestation does not hold; the run goes on.
    #[error(transparent)]
    Attestation(#[from] attestation::Refused),
    /// A field of the body is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A batch is missing before this one.
    #[error("batch {sent} comes too early; the next one is {next}")]
    Gap {
        /// The `sequence` that was sent.
        sent: u64,
        /// The one that is wanted.
        next: u64,
    },
    /// The key was used for another run.
    #[error("the idempotency key was used for run `{run}` of another application or suite")]
    KeyReused {
        /// That run.
        run: RunId,
    },
    /// The run has ended.
    #[error("run `{run}` is finished and takes no more attempts")]
    Over {
        /// Which run.
        run: RunId,
    },
    /// The run has not ended, so there is nothing to take back.
    #[error("run `{run}` has not ended; withdraw it once it has")]
    NotEnded {
        /// Which run.
        run: RunId,
    },
    /// There is no such run, or it belongs to another caller.
    #[error("there is no run `{run}` of this caller")]
    NoSuchRun {
        /// What was asked for.
        run: String,
    },
    /// The reporter believes to be elsewhere.
    #[error("{application} is in environment `{actual}`, not in `{claimed}`")]
    OtherEnvironment {
        /// Which application.
        application: String,
        /// What the reporter says.
        claimed: EnvironmentName,
        /// What configuration says.
        actual: EnvironmentName,
    },
    /// Batches keep coming in while the run is being finished.
    #[error("run `{run}` still takes in attempts; finish it after the last batch")]
    StillReporting {
        /// Which run.
        run: RunId,
    },
    /// The run is full.
    #[error("run `{run}` would have more than {MAX_RUN_ATTEMPTS} attempts; split the suite")]
    TooMany {
        /// Which run.
        run: RunId,
    },
    /// The signatures of an attestation were not looked at to the end.
    #[error("the attestation could not be verified")]
    Verifying,
    /// The store failed.
    #[error("the run could not be stored or read")]
    Store(#[from] store::Error),
}

impl Error {
    /// The stable code of the error, in kebab case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Attestation(refused) => refused.code(),
            Self::Gap { .. } => "gap",
            Self::Invalid(_) => "invalid",
            Self::KeyReused { .. } => "key-reused",
            Self::NoSuchRun { .. } => "no-such-run",
            Self::NotEnded { .. } => "not-ended",
            Self::OtherEnvironment { .. } => "other-environment",
            Self::Over { .. } => "run-finished",
            Self::StillReporting { .. } => "still-reporting",
            Self::Store(_) => "storage",
            Self::TooMany { .. } => "too-many-attempts",
            Self::Verifying => "verifying",
        }
    }
}
