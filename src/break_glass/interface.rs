//! Answers of `/syncgate/v1/break-glass`.

use serde::{Deserialize, Serialize};

use super::BreakGlass;

/// Body of `POST /syncgate/v1/break-glass`; the answer is a [`BreakGlass`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Break {
    /// The Application that will be synced.
    pub application: String,
    /// Its namespace; absent means Argo CD's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_namespace: Option<String>,
    /// The revision that the sync will name; absent means that of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Why.
    pub justification: String,
}

/// Answer to `GET /syncgate/v1/break-glass`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlasses {
    /// What the caller may see: what is open, then the newest of what is closed.
    pub break_glass: Vec<BreakGlass>,
}
