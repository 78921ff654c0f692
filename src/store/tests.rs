//! The store against real files.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::names::{
    AppRef, Commit, Component, DecisionId, EnvironmentName, PodRef, SourceDigest, Suite,
};

mod deployments;
mod evidence;
mod file;
mod hooks;
mod intents;
mod lines;
mod log;
mod operations;
mod queue;
mod rollouts;

/// A folder for one store, gone with the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("gate.db")
    }

    pub(crate) fn open(&self) -> Store {
        Store::open(&self.path()).unwrap()
    }
}

/// Keeps the writer busy, inside a transaction, until it is dropped.
pub(crate) struct Hold(#[expect(dead_code, reason = "dropping it is the signal")] mpsc::Sender<()>);

impl Store {
    /// A store with room for `queue` jobs and little patience.
    pub(crate) fn open_small(path: &Path, queue: usize) -> Self {
        Self::open_with(path, queue, Duration::from_millis(30)).unwrap()
    }

    /// Keeps the writer busy; returns once it is.
    pub(crate) async fn hold(&self) -> Hold {
        let (hold, released) = mpsc::channel::<()>();
        let (begun, busy) = tokio::sync::oneshot::channel();
        let place = self.writer().unwrap().place_patiently().await.unwrap();
        drop(place.queue("hold the writer", move |_| {
            begun.send(()).unwrap();
            let _ = released.recv();
            Ok(())
        }));
        busy.await.unwrap();
        Hold(hold)
    }
}

pub(crate) fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A decision made at noon, another each time.
pub(crate) fn decision() -> DecisionId {
    DecisionId::new(instant("2026-11-23T12:00:00Z"))
}

pub(crate) fn app(name: &str) -> AppRef {
    AppRef {
        namespace: None,
        name: name.into(),
    }
}

fn commit(digit: char) -> Commit {
    Commit::parse(digit.to_string().repeat(40)).unwrap()
}

fn digest(digit: char) -> SourceDigest {
    SourceDigest::parse(digit.to_string().repeat(64)).unwrap()
}

fn component(name: &str) -> Component {
    Component::parse(name).unwrap()
}

fn environment(name: &str) -> EnvironmentName {
    EnvironmentName::parse(name).unwrap()
}

fn suite(name: &str) -> Suite {
    Suite::parse(name).unwrap()
}

fn opening(decision: DecisionId) -> NewEntry {
    entry(decision, EntryKind::Open)
}

fn closing(decision: DecisionId) -> NewEntry {
    entry(decision, EntryKind::Close)
}

fn entry(decision: DecisionId, kind: EntryKind) -> NewEntry {
    NewEntry {
        decision,
        kind,
        at: instant("2026-11-23T12:00:00.123456789Z"),
        operation: (kind == EntryKind::Open).then(|| "app/Sync".into()),
        applications: Vec::new(),
        commits: Vec::new(),
        bytes: format!("{decision} {}", kind.word()).into_bytes(),
        leaf: [7; 32],
    }
}

/// The whole log, in order.
async fn whole_log(store: &Store) -> Vec<StoredEntry> {
    let mut all = Vec::new();
    loop {
        let from = Seq(u64::try_from(all.len()).unwrap());
        let more = store.entries(from, MAX_ROWS).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}
