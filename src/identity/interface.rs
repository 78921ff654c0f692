//! Sessions as `/syncgate/v1/sessions` shows and takes them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::DecisionId;
use crate::store::SessionRow;

/// One session that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its id, which is the decision that began it.
    pub session: DecisionId,
    /// Who signed in, as people call them.
    pub who: String,
    /// What no other subject has: `ISSUER#SUBJECT`.
    pub subject: String,
    /// Who vouched for them.
    pub issuer: String,
    /// When it began.
    pub begun: Timestamp,
    /// When it ends.
    pub ends: Timestamp,
}

/// The sessions that go on, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionViews {
    /// Them.
    pub sessions: Vec<SessionView>,
}

/// What is to be revoked: one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// One session, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Everything that was issued to a subject (`ISSUER#SUBJECT`) until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Everything that an issuer has issued until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Why; one line.
    pub reason: String,
}

/// That it was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedSession {
    /// Always true.
    pub revoked: bool,
}

impl From<SessionRow> for SessionView {
    fn from(row: SessionRow) -> Self {
        Self {
            session: row.id,
            who: row.caller.display(),
            subject: row.caller.unique(),
            issuer: row.caller.issuer,
            begun: row.begun,
            ends: row.ends,
        }
    }
}
