//! Records from opening to closing, on real files.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::Clock;
use crate::names::{AppRef, DecisionId, Role};
use crate::store::tests::{Folder, app, decision, instant};
use crate::store::{DecisionFilter, EntryKind, Store, StoredEntry};

mod bytes;
mod life;
mod render;

fn noon() -> Timestamp {
    instant("2026-11-23T12:00:00Z")
}

fn recorder(store: &Store) -> Recorder {
    Recorder::new(store.clone(), Clock::fixed(noon()), TaskTracker::new())
}

fn opening(decision: DecisionId) -> Opening {
    Opening {
        decision,
        at: noon(),
        door: Door::Api,
        operation: "application.ApplicationService/Sync".into(),
        effect: "deploy".into(),
        wire: "grpc-web".into(),
        caller: Some(CallerFacts {
            unique: "https://issuer#alice".into(),
            display: "alice@example.com".into(),
            roles: BTreeSet::from([Role::parse("engineer").unwrap()]),
            session: None,
        }),
        remote: Some("10.0.0.7".parse().unwrap()),
        applications: vec![app("shop-prod")],
        planned: Vec::new(),
        word: Word::Permit,
        determining: vec!["policy0".into()],
        policy_digest: Some("p".repeat(64)),
        schema_digest: Some("s".repeat(64)),
        evaluation: json!({"context": {"finding": "exempt"}}),
        request: Value::Null,
    }
}

fn forwarded() -> Outcome {
    Outcome::Forwarded {
        status: UpstreamStatus::Grpc(0),
        upstream_ms: 12,
        bytes: 345,
    }
}

/// What became of `decision`.
async fn outcome(store: &Store, decision: DecisionId) -> Option<Outcome> {
    let entry = show(store, decision).await.unwrap().unwrap();
    entry.closing.map(|closing| closing.outcome)
}

async fn whole_log(store: &Store) -> Vec<StoredEntry> {
    store.entries(Seq(0), 1000).await.unwrap()
}
