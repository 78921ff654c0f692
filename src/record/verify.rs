//! Checks stored entries against their hashes.
//!
//! What it finds: bytes that were changed, columns that no longer say what the bytes say, entries
//! that are missing between others or stand in another place, a closing without its opening. What it
//! cannot find without a checkpoint kept elsewhere: entries missing at the end, and a log rewritten
//! as a whole.

use std::collections::HashSet;
use std::fmt;

use super::entry::Entry;
use super::merkle::{Hash, Tree, leaf_hash};
use crate::digest::canonical_json;
use crate::names::DecisionId;
use crate::store::{EntryKind, Seq, StoredEntry};

/// The first entry that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("log entry {seq} (decision {decision}) is bad: {flaw}")]
pub struct BadEntry {
    /// Which.
    pub seq: Seq,
    /// The decision that its row names.
    pub decision: DecisionId,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What can be wrong with an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// The row says another decision, kind or time than the bytes.
    Columns,
    /// The bytes do not have the stored leaf hash.
    Leaf,
    /// A closing whose decision has no opening before it, or is closed already.
    NoOpening,
    /// The bytes are an entry, but not in their canonical form.
    NotCanonical,
    /// It does not follow the one before it: entries are missing or out of order.
    Place {
        /// The place that was to come.
        expected: Seq,
    },
    /// The bytes are not an entry.
    Unreadable,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns => f.write_str("its row says otherwise than its bytes"),
            Self::Leaf => f.write_str("its bytes do not have the stored hash"),
            Self::NoOpening => f.write_str("it closes what is not open"),
            Self::NotCanonical => f.write_str("its bytes are not in canonical form"),
            Self::Place { expected } => write!(f, "entry {expected} was to come here"),
            Self::Unreadable => f.write_str("its bytes are not an entry"),
        }
    }
}

/// What was checked and found good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// How many entries.
    pub entries: u64,
    /// The RFC 6962 root over them.
    pub root: Hash,
}

/// Checks a log entry by entry, from its beginning.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    tree: Tree,
    open: HashSet<DecisionId>,
}

impl Verifier {
    /// Checks the next entry.
    ///
    /// # Errors
    /// [`BadEntry`] when it is not as it was written, or not the next.
    pub fn check(&mut self, stored: &StoredEntry) -> Result<(), BadEntry> {
        self.flaw(stored).map_or(Ok(()), |flaw| {
            Err(BadEntry {
                seq: stored.seq,
                decision: stored.decision,
                flaw,
            })
        })?;
        self.tree.push(stored.leaf);
        Ok(())
    }

    /// What was checked so far.
    #[must_use]
    pub fn verified(&self) -> Verified {
        Verified {
            entries: self.tree.size(),
            root: self.tree.root(),
        }
    }

    fn flaw(&mut self, stored: &StoredEntry) -> Option<Flaw> {
        let expected = Seq(self.tree.size());
        if stored.seq != expected {
            return Some(Flaw::Place { expected });
        }
        if leaf_hash(&stored.bytes) != stored.leaf {
            return Some(Flaw::Leaf);
        }
        let Ok(entry) = Entry::decode(stored) else {
            return Some(Flaw::Unreadable);
        };
        if !is_canonical(&stored.bytes) {
            return Some(Flaw::NotCanonical);
        }
        let columns = (stored.decision, stored.kind, stored.at);
        if columns != (entry.decision(), entry.kind(), entry.at()) {
            return Some(Flaw::Columns);
        }
        let in_turn = match entry.kind() {
            EntryKind::Close => self.open.remove(&entry.decision()),
            EntryKind::Open => self.open.insert(entry.decision()),
        };
        if in_turn { None } else { Some(Flaw::NoOpening) }
    }
}

fn is_canonical(bytes: &[u8]) -> bool {
    serde_json::from_slice(bytes).is_ok_and(|value| canonical_json(&value) == bytes)
}

/// Checks `rows`, which are a log from its beginning.
///
/// # Errors
/// [`BadEntry`], naming the first that is not as it was written.
pub fn verify_rows<'a>(
    rows: impl IntoIterator<Item = &'a StoredEntry>,
) -> Result<Verified, BadEntry> {
    let mut verifier = Verifier::default();
    for row in rows {
        verifier.check(row)?;
    }
    Ok(verifier.verified())
}
