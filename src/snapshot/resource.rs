//! One resource of an application, and what is said about it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json;
use crate::record::sieve;

/// The most characters of one text.
const MOST: usize = 500;

/// A word that names what it is, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// `SyncError`, `BackOff`.
    pub reason: String,
    /// The sentence.
    pub message: String,
}

/// The state of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceState {
    /// `Deployment`.
    pub kind: String,
    /// Empty where it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its health, its sync status, or the phase of a hook, in the word of Argo CD; empty where it tells none.
    pub status: String,
    /// What it says about that.
    pub message: String,
}

impl ResourceState {
    /// Whether this is a state that somebody should look at.
    #[must_use]
    pub fn is_ill(&self) -> bool {
        let well = ["", "Healthy", "Running", "Succeeded", "Suspended", "Synced"];
        !well.contains(&self.status.as_str())
    }

    /// What `value`, a node of a tree or a result of an operation, says of itself, where the status stands
    /// at `status` and its message at `message`.
    pub(super) fn of(value: &Value, status: &str, message: &str) -> Self {
        let text = |pointer| shown(json::text(value, pointer));
        Self {
            kind: text("/kind"),
            namespace: text("/namespace"),
            name: text("/name"),
            status: text(status),
            message: text(message),
        }
    }
}

impl fmt::Display for ResourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            namespace,
            name,
            status,
            message,
        } = self;
        write!(f, "{kind} ")?;
        if !namespace.is_empty() {
            write!(f, "{namespace}/")?;
        }
        write!(f, "{name} {status}")?;
        if !message.is_empty() {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

/// `text` as it is kept: of bounded length, and without what looks like a credential.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(MOST).collect();
    sieve::text(&cut)
}
