//! The record: what was decided, from what, and what became of it.
//!
//! In: an [`Opening`] when a call has been decided, an [`Outcome`] when it ends. Out: two entries in
//! an append-only log, linked by the decision id, each with fixed bytes and an RFC 6962 leaf hash
//! ([`merkle`]); lists and single records for the API and the command line ([`view`], [`cli`]).
//!
//! A deploy or write waits until its opening is on disk ([`Durability::BeforeProceeding`]); a read
//! waits for a place in the queue. What cannot be recorded is refused ([`Error::is_behind`] says
//! whether trying again helps). A record that is dropped without an outcome closes as `abandoned`;
//! what a crash left open is found at the next start ([`Recorder::unfinished`]).
//!
//! It must never hold a credential, change an entry, or lose one without saying so: a closing that
//! is lost here counts in `syncgate_record_lost_total`, an entry that fails in the writer when nobody
//! waits for it in `syncgate_store_lost_writes_total`, and each is an error in the log.

pub mod cli;
mod entry;
pub mod merkle;
mod recorder;
pub(crate) mod sieve;
mod verify;
pub mod view;

#[cfg(test)]
mod tests;

pub use self::entry::{
    CallerFacts, Closing, Door, Entry, MAX_BYTES, Opening, Outcome, Planned, Reached,
    UpstreamStatus, Word,
};
pub use self::merkle::{leaf_hash, node_hash, root};
pub use self::recorder::{Durability, OpenRecord, Recorder, UnfinishedEntry};
pub use self::verify::{BadEntry, Flaw, Verified, Verifier, verify_rows};
pub use self::view::{End, LogEntry, LogList, OPERATION_END, end_of, list, show};
use crate::store::{self, Seq};

/// Why something could not be recorded, or a record not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes of a stored entry are not an entry.
    #[error("log entry {seq} cannot be read")]
    Decode {
        /// Which.
        seq: Seq,
        /// Why.
        source: serde_json::Error,
    },
    /// An entry has no JSON form.
    #[error("the entry cannot be put into bytes")]
    Encode(#[source] serde_json::Error),
    /// A stored entry is of a form that this version does not know.
    #[error("log entry {seq} is of a format that this version of syncgate does not know")]
    Format {
        /// Which.
        seq: Seq,
    },
    /// Storage failed.
    #[error("the record cannot be stored or read")]
    Store(#[from] store::Error),
    /// The entry would be larger than [`MAX_BYTES`].
    #[error("the entry would have {bytes} bytes; the limit is {MAX_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

impl Error {
    /// Whether storage is merely behind, so that the caller is told to try again.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        matches!(self, Self::Store(store::Error::Behind { .. }))
    }
}
