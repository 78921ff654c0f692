//! Evidence that is simply there, for tests of what is made of it.

use serde_json::Value;
use syncgate::clock::Clock;
use syncgate::evidence::run::{Collected, Tool};
use syncgate::evidence::verdict::{Tests, Verdict};
use syncgate::gate::ApplicationPlan;
use syncgate::names::{AppRef, Commit, Component, DecisionId, EnvironmentName, Suite};
use syncgate::store::{Counting, CountingState, EndedBy, FinishRow, RunId, RunRow, Store};

/// The fields in which the sources of two environments may differ, by default.
const VARIES: [&str; 5] = [
    "path",
    "helm.valueFiles",
    "kustomize.namespace",
    "kustomize.namePrefix",
    "kustomize.nameSuffix",
];

/// Stores a run of `integration` in staging that passed for `component`, at `commit` of `source`.
pub(crate) async fn passed(store: &Store, component: &str, commit: &str, source: &Value) {
    let run = run(component, commit, source);
    store.insert_run(&run).await.unwrap();
    let finish = FinishRow {
        decision: DecisionId::new(run.received_at),
        exit_status: 0,
        finished_at: run.received_at,
        batches: 0,
        attempts: 0,
        interrupted: false,
        judged_batches: 0,
        verdict: Verdict::Passed,
        reasons: Vec::new(),
        tests: Tests {
            passed: 1,
            ..Tests::default()
        },
        counting: run.counting,
        attempts_digest: None,
        attestation: None,
    };
    store
        .finish_run(run.id, &finish, EndedBy::Reporter)
        .await
        .unwrap();
}

fn run(component: &str, commit: &str, source: &Value) -> RunRow {
    let now = Clock::system().now();
    let decision = DecisionId::new(now);
    let varies = VARIES.map(str::to_owned);
    let (whole, promoted) = ApplicationPlan::digests(std::slice::from_ref(source), &varies);
    RunRow {
        id: RunId(decision.0),
        idempotency_key: None,
        reporter: "https://issuer#tests".to_owned(),
        decision,
        application: AppRef {
            namespace: None,
            name: format!("{component}-staging"),
        },
        environment: EnvironmentName::parse("staging").unwrap(),
        component: Component::parse(component).unwrap(),
        suite: Suite::parse("integration").unwrap(),
        commits: vec![Commit::parse(commit).unwrap()],
        source_digest: Some(whole),
        promotion_digest: Some(promoted),
        dirty: None,
        collected: Collected {
            tests: 1,
            digest: "d".to_owned(),
            deselected: 0,
        },
        tool: Tool {
            name: "pytest".to_owned(),
            version: None,
            plugin: None,
            python: None,
            platform: None,
        },
        options: Vec::new(),
        operation: None,
        since: None,
        started_at: now,
        received_at: now,
        counting: Counting {
            state: CountingState::Counts,
            reason: String::new(),
        },
    }
}
