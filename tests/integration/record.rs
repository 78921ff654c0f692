//! Every request leaves an opening and a closing entry, and nothing is deployed before its opening
//! is on disk.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use syncgate::record::{self, Outcome, UpstreamStatus, Word};
use syncgate::store::{DecisionFilter, Store};

use crate::world::{Call, FIRST, Said, Wire, World, eventually};

#[tokio::test]
async fn a_deploy_arrives_only_after_its_opening_entry_is_on_disk() {
    let world = World::new().await;
    let store = Store::open_read_only(&world.outside.store()).unwrap();
    let found = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&found);
    world.outside.argocd.at_forward(move |seen| {
        let (store, told) = (store.clone(), Arc::clone(&told));
        async move {
            let infos = seen.sync().unwrap().infos;
            let decision = infos[0].value.clone().unwrap().parse().unwrap();
            let decision = syncgate::names::DecisionId(decision);
            let entry = record::show(&store, decision).await.unwrap();
            told.lock().unwrap().push(entry);
        }
    });
    for wire in Wire::ALL {
        let call = Call::sync("checkout-staging");
        let said = world.gate.ask(wire, &world.outside.alice(), &call).await;
        assert_eq!(said.code(), 0, "{said:?}");
        let entry = found
            .lock()
            .unwrap()
            .pop()
            .unwrap()
            .expect("an opening entry");
        assert_eq!(entry.decision, said.decision());
        assert_eq!(entry.opening.word, Word::Permit);
        assert!(entry.closing.is_none());
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn every_kind_of_request_has_an_opening_and_a_closing_entry() {
    let world = World::new().await;
    let (alice, rita) = (world.outside.alice(), world.outside.rita());
    let refused = |code: &str| Outcome::Refused {
        code: code.to_owned(),
    };
    let version = Call::read("/api/version", "/version.VersionService/Version");
    let session = Call::read("/api/v1/account", "/account.AccountService/ListAccounts");
    let asked = [
        (
            "garbage",
            Call::list(),
            Word::Refuse,
            refused("unauthenticated"),
        ),
        (
            &alice,
            Call::sync("checkout-prod"),
            Word::Deny,
            refused("policy"),
        ),
        (
            &rita,
            Call::sync("checkout-prod"),
            Word::Deny,
            refused("evidence"),
        ),
        (&rita, session, Word::Refuse, refused("policy")),
        (&rita, version, Word::Answer, Outcome::Answered),
    ];
    for wire in Wire::ALL {
        for (token, call, word, outcome) in &asked {
            let said = world.gate.ask(wire, token, call).await;
            let record = world.record(said.decision()).await;
            assert_eq!(record.opening.word, *word, "{record:?}");
            assert_eq!(record.closing.unwrap().outcome, *outcome);
            let expected = match wire {
                Wire::Grpc => "grpc",
                Wire::GrpcWeb => "grpc-web",
                Wire::Rest => "rest",
            };
            assert_eq!(record.opening.wire, expected);
        }
        for call in [
            Call::sync("checkout-staging"),
            Call::get("checkout-prod"),
            Call::list(),
        ] {
            let said = world.gate.ask(wire, &alice, &call).await;
            let record = world.record(said.decision()).await;
            assert_eq!(record.opening.word, Word::Permit);
            assert_eq!(record.opening.caller.unwrap().display, "alice@shop.example");
            let Outcome::Forwarded { status, .. } = record.closing.unwrap().outcome else {
                panic!("not forwarded");
            };
            let expected = match wire {
                Wire::Rest => UpstreamStatus::Http(200),
                Wire::Grpc | Wire::GrpcWeb => UpstreamStatus::Grpc(0),
            };
            assert_eq!(status, expected);
        }
    }
}

#[tokio::test]
async fn what_is_unknown_is_recorded_too() {
    let world = World::new().await;
    let said = world.gate.rest("POST", "/api/v1/nonsense", "", "{}").await;
    let record = world.record(said.decision()).await;
    assert_eq!(record.opening.word, Word::Refuse);
    let code = "unknown-operation".to_owned();
    assert_eq!(record.closing.unwrap().outcome, Outcome::Refused { code });
}

#[tokio::test]
async fn runs_and_reads_of_the_log_are_recorded_as_well() {
    let world = World::new().await;
    let call = Call::sync("checkout-staging");
    world
        .gate
        .ask(Wire::Rest, &world.outside.alice(), &call)
        .await;
    let opened = world
        .gate
        .open_run(&world.outside.tests(), "checkout-staging")
        .await;
    let listed = world
        .gate
        .rest("GET", "/syncgate/v1/log", &world.outside.sam(), "")
        .await;
    for (said, operation) in [(opened, "Run.report"), (listed, "Log.read")] {
        let record = world.record(said.decision()).await;
        assert_eq!(record.opening.operation, operation);
        assert_eq!(record.opening.word, Word::Permit);
    }
}

/// A store that takes no more rows of `table`, as when its disk is full.
fn jam(world: &World, table: &str) {
    let connection = rusqlite::Connection::open(world.outside.store()).unwrap();
    let sql = format!(
        "CREATE TRIGGER jam BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'jammed'); END"
    );
    connection.execute_batch(&sql).unwrap();
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_deployed() {
    for table in ["entry", "deployment"] {
        let world = World::new().await;
        world.outside.argocd.must_not_be_touched_by_callers();
        jam(&world, table);
        for wire in Wire::ALL {
            let call = Call::sync("checkout-staging");
            let said = world.gate.ask(wire, &world.outside.alice(), &call).await;
            assert!([13, 14].contains(&said.code()), "{table}: {said:?}");
            assert!(said.sentence().contains("forwarded"), "{table}: {said:?}");
        }
    }
}

#[tokio::test]
async fn every_request_is_in_the_log_once_with_its_caller() {
    let world = World::new().await;
    let mut last = None;
    for wire in Wire::ALL {
        for call in [
            Call::list(),
            Call::sync("checkout-prod"),
            Call::sync("checkout-staging"),
        ] {
            last = Some(
                world
                    .gate
                    .ask(wire, &world.outside.alice(), &call)
                    .await
                    .decision(),
            );
        }
    }
    world.record(last.unwrap()).await;
    let filter = DecisionFilter {
        limit: 100,
        ..DecisionFilter::default()
    };
    let log = record::list(&world.app.store, filter).await.unwrap();
    assert_eq!(log.entries.len(), 9);
    let caller = |entry: &record::LogEntry| entry.opening.caller.clone().unwrap().unique;
    let alice = format!("{}#alice", world.outside.issuer.people());
    assert!(log.entries.iter().all(|entry| caller(entry) == alice));
}

/// The ends of permitted operations that are on record, newest first.
async fn ends(world: &World, count: usize) -> Vec<Value> {
    let (path, sam) = (
        "/syncgate/v1/log?operation=Operation.End",
        world.outside.sam(),
    );
    eventually("ends", || async {
        let log = world.gate.rest("GET", path, &sam, "").await.json();
        let entries = log.get("entries")?.as_array()?.clone();
        let requests = entries
            .iter()
            .filter_map(|entry| entry.pointer("/opening/request"));
        let requests: Vec<Value> = requests.cloned().collect();
        (requests.len() >= count).then_some(requests)
    })
    .await
}

#[tokio::test]
async fn the_end_of_a_permitted_operation_is_on_record_with_its_hooks() {
    let world = World::new().await;
    let (alice, call) = (world.outside.alice(), Call::sync("checkout-staging"));
    let first = world.gate.ask(Wire::Rest, &alice, &call).await;
    assert_eq!(first.code(), 0, "{first:?}");
    world
        .outside
        .argocd
        .change("checkout-staging", |application| {
            application["operation"] = Value::Null;
            let state = &mut application["status"]["operationState"];
            state["phase"] = json!("Failed");
            state["message"] = json!("one or more hooks failed");
            state["finishedAt"] = state["startedAt"].clone();
            state["syncResult"]["resources"][0]["hookPhase"] = json!("Failed");
            state["syncResult"]["resources"][0]["message"] = json!("backoff limit exceeded");
        });
    let [failed] = &ends(&world, 1).await[..] else {
        panic!("one end")
    };
    assert_eq!(failed["permitted_by"], first.decision().to_string());
    assert_eq!(
        (&failed["state"], &failed["phase"]),
        (&json!("failed"), &json!("Failed"))
    );
    assert_eq!(failed["message"], "one or more hooks failed");
    let hook = json!({
        "kind": "PostSync", "job": "shop-staging/tests", "phase": "Failed",
        "message": "backoff limit exceeded",
    });
    assert_eq!(failed["hooks"], json!([hook]));
    let permit = record::show(&world.app.store, first.decision())
        .await
        .unwrap()
        .unwrap();
    let [end] = &permit.ends[..] else {
        panic!("one end")
    };
    assert_eq!(&end.facts, failed);
    let told = record::cli::render_entry(&permit);
    let line = "checkout-staging failed: one or more hooks failed; PostSync shop-staging/tests Failed: \
                backoff limit exceeded";
    assert!(told.contains(line), "{told}");
}

/// A sync of `checkout-staging` whose operation the gate has seen to run.
async fn seen_running(world: &World) -> Said {
    let (alice, call) = (world.outside.alice(), Call::sync("checkout-staging"));
    let said = world.gate.ask(Wire::Rest, &alice, &call).await;
    assert_eq!(said.code(), 0, "{said:?}");
    eventually("it runs", || async {
        let rows = world.app.store.pending_deployments().await.unwrap();
        let runs = rows
            .iter()
            .any(|row| row.decision == said.decision() && row.started_at.is_some());
        runs.then_some(())
    })
    .await;
    said
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_lost() {
    let world = World::new().await;
    let said = seen_running(&world).await;
    world
        .outside
        .argocd
        .change("checkout-staging", |application| {
            application["operation"] = Value::Null;
            let state = &mut application["status"]["operationState"];
            state["startedAt"] = json!("2100-01-01T00:00:00Z");
            state["operation"]["info"] = json!([]);
            state["operation"]["sync"]["revision"] = json!("f".repeat(40));
            state["syncResult"]["revision"] = json!("f".repeat(40));
        });
    let ends = ends(&world, 1).await;
    let [lost] = &ends[..] else { panic!("one end") };
    assert_eq!(lost["state"], "lost");
    assert_eq!(lost["permitted_by"], said.decision().to_string());
    assert_eq!(lost["hooks"], "lost");
}

#[tokio::test]
async fn an_end_that_passed_while_the_gate_was_away_is_rebuilt_from_the_history() {
    let world = World::new().await;
    let said = seen_running(&world).await;
    let outside = world.stop().await;
    outside.argocd.change("checkout-staging", |application| {
        let state = application["status"]["operationState"].clone();
        let sync = &state["operation"]["sync"];
        application["status"]["history"] = json!([{
            "id": 1, "revision": sync["revision"], "source": sync["source"],
            "deployStartedAt": state["startedAt"], "deployedAt": "2100-01-01T00:00:00Z",
        }]);
        application["operation"] = Value::Null;
        let state = &mut application["status"]["operationState"];
        state["startedAt"] = json!("2100-01-01T00:00:01Z");
        state["operation"]["info"] = json!([]);
        state["operation"]["sync"]["revision"] = json!("f".repeat(40));
    });
    let world = World::over(outside).await;
    let ends = ends(&world, 1).await;
    let [end] = &ends[..] else { panic!("one end") };
    assert_eq!(end["permitted_by"], said.decision().to_string());
    assert_eq!(
        (&end["state"], &end["reconstructed"]),
        (&json!("succeeded"), &json!(true))
    );
    assert_eq!(
        (&end["hooks"], &end["finished_at"]),
        (&json!("lost"), &json!("2100-01-01T00:00:00Z"))
    );
}

#[tokio::test]
async fn a_failure_that_passed_while_the_gate_was_away_is_rebuilt_from_the_events() {
    let world = World::new().await;
    let said = seen_running(&world).await;
    let outside = world.stop().await;
    let message =
        format!("Sync operation to {FIRST} failed: one or more tasks completed unsuccessfully");
    outside.argocd.has_events(
        "checkout-staging",
        json!([{
            "reason": "OperationCompleted", "message": message, "lastTimestamp": "2100-01-01T00:00:00Z",
        }]),
    );
    outside.argocd.change("checkout-staging", |application| {
        application["operation"] = Value::Null;
        let state = &mut application["status"]["operationState"];
        state["startedAt"] = json!("2100-01-01T00:00:01Z");
        state["operation"]["info"] = json!([]);
        state["operation"]["sync"]["revision"] = json!("f".repeat(40));
    });
    let world = World::over(outside).await;
    let ends = ends(&world, 1).await;
    let [end] = &ends[..] else { panic!("one end") };
    assert_eq!(end["permitted_by"], said.decision().to_string());
    assert_eq!(
        (&end["state"], &end["reconstructed"], &end["hooks"]),
        (&json!("failed"), &json!(true), &json!("lost"))
    );
    assert_eq!(end["message"], message);
}
