//! Reports of tests as a test Job makes them, whole, and as it should not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Said, World, eventually, moment, new_run};

/// What a reporter sends, honest until it is changed.
#[derive(Clone)]
pub(crate) struct Report {
    pub(crate) open: Value,
    pub(crate) attempts: Vec<Value>,
    pub(crate) end: Value,
}

/// Tests that were run just now, each with its outcomes, one after the other: `a:failed,passed`.
pub(crate) fn report(tests: &[&str]) -> Report {
    let started_at = moment();
    let mut attempts = Vec::new();
    let mut names = BTreeSet::new();
    let mut bad = false;
    for test in tests {
        let (name, outcomes) = test.rsplit_once(':').unwrap();
        names.insert(name);
        for (number, outcome) in outcomes.split(',').enumerate() {
            attempts.push(json!({
                "test": name, "attempt": number + 1, "outcome": outcome, "duration_ms": 7,
                "started_at": started_at,
            }));
        }
        bad |= outcomes.ends_with("failed") && !outcomes.ends_with("xfailed");
    }
    let mut open = new_run("checkout-staging");
    open["collected"] = collected(&names);
    Report {
        open,
        end: json!({
            "exit_status": i32::from(bad), "finished_at": "2026-11-23T04:00:01Z",
            "batches": attempts.len().div_ceil(1000), "attempts": attempts.len(),
        }),
        attempts,
    }
}

fn collected(names: &BTreeSet<&str>) -> Value {
    let sorted: Vec<&str> = names.iter().copied().collect();
    let digest = syncgate::digest::sha256_hex(sorted.join("\n").as_bytes());
    json!({"tests": names.len(), "digest": digest, "deselected": 0})
}

impl Report {
    pub(crate) fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) async fn open(&self, world: &World) -> Said {
        let token = world.outside.tests();
        world.gate.post_run(&token, &self.open).await
    }

    /// Hands it in; gives the answer to its end.
    pub(crate) async fn hand_in(&self, world: &World) -> Value {
        let opened = self.open(world).await;
        assert_eq!(opened.status, 201, "{opened:?}");
        let run = opened.json()["run"].as_str().unwrap().to_owned();
        let token = world.outside.tests();
        let post = async |page: &str, body: Value| {
            let path = format!("/syncgate/v1/runs/{run}/{page}");
            let said = world
                .gate
                .rest("POST", &path, &token, &body.to_string())
                .await;
            assert_eq!(said.status, 200, "{said:?}");
            said.json()
        };
        for (sequence, batch) in self.attempts.chunks(1000).enumerate() {
            post("attempts", json!({"sequence": sequence, "attempts": batch})).await;
        }
        post("finish", self.end.clone()).await
    }

    /// Hands it in, has the operation that runs end well, and waits until the run counts.
    pub(crate) async fn counts(&self, world: &World) -> Value {
        let finished = self.hand_in(world).await;
        assert_eq!(finished["verdict"], "passed", "{finished}");
        world.outside.argocd.finish("checkout-staging", "Succeeded");
        let path = format!("/syncgate/v1/runs/{}", finished["run"].as_str().unwrap());
        let alice = world.outside.alice();
        eventually("the end of its operation", || async {
            let shown = world.gate.rest("GET", &path, &alice, "").await.json();
            (shown["result"]["counts"] == "now").then_some(())
        })
        .await;
        finished
    }
}
