//! Records as the API and `--output json` give them.

use serde::{Deserialize, Serialize};

use super::Error;
use super::entry::{Closing, Entry, Opening};
use crate::names::DecisionId;
use crate::store::{DecisionFilter, Seq, Store, StoredEntry};

/// One record: `GET /syncgate/v1/log/{decision}`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LogEntry {
    /// The decision.
    pub decision: DecisionId,
    /// The place of its opening in the log; what `before` takes to get the next page.
    pub seq: Seq,
    /// What was decided.
    pub opening: Opening,
    /// What became of it; absent while it is open.
    pub closing: Option<Closing>,
    /// Where it can be read what the application was like when the sync that it permitted failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// Records, newest first: `GET /syncgate/v1/log`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct LogList {
    /// The records.
    pub entries: Vec<LogEntry>,
}

/// The records that `filter` asks for, newest first.
///
/// # Errors
/// [`Error::Store`], or [`Error::Decode`] and [`Error::Format`] for one that cannot be read.
pub async fn list(store: &Store, filter: DecisionFilter) -> Result<LogList, Error> {
    let mut entries = Vec::new();
    for stored in store.decisions(filter).await? {
        entries.extend(entry_of(&stored.opening, stored.closing.as_ref())?);
    }
    Ok(LogList { entries })
}

/// The record of `decision`, if there is one.
///
/// # Errors
/// As [`list`].
pub async fn show(store: &Store, decision: DecisionId) -> Result<Option<LogEntry>, Error> {
    match store.entry_by_decision(decision).await? {
        (Some(opening), closing) => entry_of(&opening, closing.as_ref()),
        (None, _) => Ok(None),
    }
}

/// Absent when the row of an opening holds something else.
fn entry_of(
    opening: &StoredEntry,
    closing: Option<&StoredEntry>,
) -> Result<Option<LogEntry>, Error> {
    let Entry::Open(read) = Entry::decode(opening)? else {
        return Err(Error::Format { seq: opening.seq });
    };
    let closing = match closing {
        None => None,
        Some(stored) => match Entry::decode(stored)? {
            Entry::Close(closing) => Some(closing),
            Entry::Open(_) => return Err(Error::Format { seq: stored.seq }),
        },
    };
    Ok(Some(LogEntry {
        decision: opening.decision,
        seq: opening.seq,
        opening: *read,
        closing,
        snapshot: None,
    }))
}
