//! Records as the API and `--output json` give them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Error;
use super::entry::{Closing, Entry, Opening};
use crate::names::{AppRef, DecisionId};
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
    /// How the operations ended that it permitted, as far as they have; only where one record is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<End>,
}

/// How an operation ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct End {
    /// The entry about it.
    pub decision: DecisionId,
    /// Of which application it was.
    pub application: AppRef,
    /// What was seen of it: `state` (`succeeded`, `failed`, `lost`), `phase`, `message`, `hooks` and more.
    pub facts: Value,
}

/// What the record calls the end of a permitted operation.
pub const OPERATION_END: &str = "Operation.End";

/// The entry about the end of what `permitted_by` has let be done to `application`, once there is one.
#[must_use]
pub fn end_of(permitted_by: DecisionId, application: &AppRef) -> DecisionId {
    let named = format!("{OPERATION_END} {permitted_by} {application}");
    let at = permitted_by.made_at().unwrap_or(Timestamp::UNIX_EPOCH);
    DecisionId::of_seen(at, &named)
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
    let mut entry = match store.entry_by_decision(decision).await? {
        (Some(opening), closing) => entry_of(&opening, closing.as_ref())?,
        (None, _) => None,
    };
    if let Some(entry) = &mut entry {
        entry.ends = ends(store, &entry.opening).await?;
    }
    Ok(entry)
}

async fn ends(store: &Store, opening: &Opening) -> Result<Vec<End>, Error> {
    let mut ends = Vec::new();
    for plan in opening
        .planned
        .iter()
        .filter_map(|planned| planned.plan.as_ref())
    {
        let decision = end_of(opening.decision, &plan.application);
        let (Some(stored), _) = store.entry_by_decision(decision).await? else {
            continue;
        };
        if let Entry::Open(end) = Entry::decode(&stored)? {
            ends.push(End {
                decision,
                application: plan.application.clone(),
                facts: end.request,
            });
        }
    }
    Ok(ends)
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
        ends: Vec::new(),
    }))
}
