//! The policies in force, and how they are replaced.
//!
//! Reload is: read, build, validate, run the cases, swap. Whatever fails before the swap leaves
//! the old policies in force, and says so in [`Live::status`], in the log and in a metric.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::Serialize;

use super::cases;
use super::load::Policies;
use super::problem::LoadError;
use super::source::Source;
use crate::clock::Clock;

/// The policies in force. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    current: ArcSwap<Policies>,
    status: ArcSwap<ReloadStatus>,
    /// The fingerprint of the folder when it was last looked at, good or bad; held while it is
    /// looked at.
    seen: Mutex<Option<[u8; 32]>>,
    clock: Clock,
}

/// What is in force, and whether the folder has something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReloadStatus {
    /// The digest of the policies in force.
    pub digest: String,
    /// Since when they are.
    pub loaded_at: Timestamp,
    /// Why what is in the folder now is not in force; absent when it is.
    pub last_error: Option<String>,
    /// Since when it is not.
    pub failed_at: Option<Timestamp>,
}

/// What a look at the folder led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The folder's content cannot take effect; the old policies stay.
    Keep(LoadError),
    /// Nothing was edited since the last look.
    Same,
    /// The folder's content is in force.
    Swap,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Live").field(&self.0.status.load()).finish()
    }
}

impl Live {
    /// Puts the policies of the folder `dir` in force, if they validate and their cases pass.
    ///
    /// # Errors
    /// [`LoadError`] with every problem.
    pub fn open(dir: &Path, clock: Clock) -> Result<Self, LoadError> {
        let source = Source::read(dir)?;
        let live = Self::new(tested(&source)?, clock);
        *live.0.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(source.fingerprint());
        Ok(live)
    }

    /// Puts `policies` in force.
    #[must_use]
    pub fn new(policies: Policies, clock: Clock) -> Self {
        let status = ReloadStatus {
            digest: policies.digest().to_owned(),
            loaded_at: clock.now(),
            last_error: None,
            failed_at: None,
        };
        Self(Arc::new(Inner {
            current: ArcSwap::from_pointee(policies),
            status: ArcSwap::from_pointee(status),
            seen: Mutex::new(None),
            clock,
        }))
    }

    /// The policies in force now. A request takes them once and decides with what it took.
    #[must_use]
    pub fn current(&self) -> Arc<Policies> {
        self.0.current.load_full()
    }

    /// What is in force, and whether the folder has something else.
    #[must_use]
    pub fn status(&self) -> Arc<ReloadStatus> {
        self.0.status.load_full()
    }

    /// Looks at the folder `dir`, and puts its policies in force if they differ, validate and pass
    /// their cases. Reads files: not for an async task.
    pub fn reload(&self, dir: &Path) -> Reload {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let source = match Source::read(dir) {
            Ok(source) => source,
            Err(error) => {
                *seen = None;
                return self.keep(error);
            }
        };
        let fingerprint = source.fingerprint();
        if *seen == Some(fingerprint) {
            return Reload::Same;
        }
        *seen = Some(fingerprint);
        match tested(&source) {
            Ok(policies) => self.swap(policies),
            Err(error) => self.keep(error),
        }
    }

    fn swap(&self, policies: Policies) -> Reload {
        let status = ReloadStatus {
            digest: policies.digest().to_owned(),
            loaded_at: self.0.clock.now(),
            last_error: None,
            failed_at: None,
        };
        metrics::counter!("syncgate_policy_reload_total", "result" => "swapped").increment(1);
        tracing::info!(
            policies.digest = status.digest,
            "policies {} in force",
            status.digest
        );
        self.0.current.store(Arc::new(policies));
        self.0.status.store(Arc::new(status));
        Reload::Swap
    }

    fn keep(&self, error: LoadError) -> Reload {
        let old = self.0.status.load_full();
        let told = error.to_string();
        if old.last_error.as_ref() != Some(&told) {
            metrics::counter!("syncgate_policy_reload_total", "result" => "kept").increment(1);
            tracing::error!(
                policies.digest = old.digest,
                "edited policies refused, {} stay in force: {told}",
                old.digest
            );
            self.0.status.store(Arc::new(ReloadStatus {
                last_error: Some(told),
                failed_at: Some(self.0.clock.now()),
                ..(*old).clone()
            }));
        }
        Reload::Keep(error)
    }
}

/// The policies of `source`, if its cases pass.
fn tested(source: &Source) -> Result<Policies, LoadError> {
    let policies = Policies::build(source)?;
    match cases::run(&policies, source).problems {
        problems if problems.is_empty() => Ok(policies),
        problems => Err(LoadError { problems }),
    }
}
