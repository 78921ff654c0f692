//! Runs and their attempts.

use super::log::plan_of;
use super::*;
use crate::evidence::binding::{BoundOperation, Since};
use crate::evidence::run::{Attempt, Collected, Outcome, Tool};
use crate::evidence::verdict::{Reason, ReasonCode, Tests, Verdict};

fn counting(state: CountingState) -> Counting {
    Counting {
        state,
        reason: "since I say so".into(),
    }
}

/// A run with every field set.
pub(super) fn run() -> RunRow {
    RunRow {
        id: RunId(decision().0),
        idempotency_key: None,
        reporter: "https://issuer#tests".into(),
        decision: decision(),
        application: AppRef {
            namespace: Some("team-a".into()),
            name: "checkout-staging".into(),
        },
        environment: environment("staging"),
        component: component("checkout"),
        suite: suite("integration"),
        commits: vec![commit('a'), commit('b')],
        source_digest: Some(digest('1')),
        promotion_digest: Some(digest('2')),
        dirty: Some(false),
        collected: Collected {
            tests: 12,
            digest: "d".into(),
            deselected: 1,
        },
        tool: Tool {
            name: "pytest".into(),
            version: Some("8.4.1".into()),
            plugin: None,
            python: None,
            platform: None,
        },
        options: vec!["-k fast".into()],
        operation: Some(BoundOperation {
            started_at: instant("2026-11-23T11:59:00Z"),
            uid: "uid-1".into(),
            retry: 1,
            pod: Some(PodRef {
                namespace: "shop".into(),
                name: "tests-x7k2p".into(),
            }),
        }),
        since: Some(Since {
            uid: "uid-1".into(),
            operation: Some(instant("2026-11-23T11:50:00Z")),
            entry: Some("e".into()),
        }),
        started_at: instant("2026-11-23T12:00:00.5Z"),
        received_at: instant("2026-11-23T12:00:01Z"),
        counting: counting(CountingState::Pending),
    }
}

fn attempt(test: &str) -> Attempt {
    Attempt {
        test: test.into(),
        attempt: 1,
        outcome: Outcome::Xfailed,
        duration_ms: 12,
        started_at: instant("2026-11-23T12:00:02Z"),
        message: Some("assert 1 == 2".into()),
        worker: Some("gw0".into()),
    }
}

fn heard() -> Timestamp {
    instant("2026-11-23T12:00:03Z")
}

pub(super) fn finish(judged_batches: u64) -> FinishRow {
    FinishRow {
        decision: decision(),
        exit_status: 0,
        finished_at: instant("2026-11-23T12:01:00Z"),
        batches: judged_batches,
        attempts: 2,
        interrupted: false,
        judged_batches,
        verdict: Verdict::Refused,
        reasons: vec![Reason {
            code: ReasonCode::NoTests,
            detail: "nothing ran".into(),
        }],
        tests: Tests {
            passed: 2,
            ..Tests::default()
        },
        counting: counting(CountingState::Void),
        attempts_digest: None,
        attestation: None,
    }
}

#[tokio::test]
async fn a_run_is_read_as_it_was_stored() {
    let folder = Folder::new();
    let store = folder.open();
    let full = run();
    let bare = RunRow {
        id: RunId(decision().0),
        application: app("checkout-staging"),
        commits: Vec::new(),
        source_digest: None,
        promotion_digest: None,
        dirty: None,
        operation: None,
        since: None,
        ..run()
    };
    for (row, seq, hook_state) in [(full, 1, HookState::Awaited), (bare, 2, HookState::None)] {
        let inserted = store.insert_run(&row).await.unwrap();
        assert_eq!(inserted, InsertOutcome::Inserted(Seq(seq)));
        let stored = store.run(row.id).await.unwrap().unwrap();
        let expected = StoredRun {
            seq: Seq(seq),
            batches: 0,
            heard_at: row.received_at,
            spoke: seq,
            run: row,
            finish: None,
            withdrawal: None,
            hook_state,
            hook: None,
            disagreement: None,
        };
        assert_eq!(stored, expected);
    }
    assert_eq!(store.run(RunId(decision().0)).await.unwrap(), None);
}

#[tokio::test]
async fn the_same_key_of_the_same_reporter_gives_the_same_run() {
    let folder = Folder::new();
    let store = folder.open();
    let keyed = |reporter: &str| RunRow {
        id: RunId(decision().0),
        idempotency_key: Some("key".into()),
        reporter: reporter.into(),
        ..run()
    };
    let first = keyed("a");
    store.insert_run(&first).await.unwrap();
    match store.insert_run(&keyed("a")).await.unwrap() {
        InsertOutcome::Existing(existing) => assert_eq!(existing.run, first),
        InsertOutcome::Inserted(seq) => panic!("stored again as {seq}"),
    }
    let other = store.insert_run(&keyed("b")).await.unwrap();
    assert_eq!(
        other,
        InsertOutcome::Inserted(Seq(2)),
        "another reporter's key"
    );
}

#[tokio::test]
async fn batches_are_stored_once_in_order_and_whole() {
    let folder = Folder::new();
    let store = folder.open();
    let id = run().id;
    let unknown = store
        .append_attempts(id, 0, vec![attempt("a")], heard())
        .await;
    assert!(matches!(unknown, Err(Error::NoSuchRun { run }) if run == id));
    store.insert_run(&RunRow { id, ..run() }).await.unwrap();

    let send = |sequence, tests: &[&str]| {
        let attempts = tests.iter().map(|test| attempt(test)).collect();
        let store = store.clone();
        async move { store.append_attempts(id, sequence, attempts, heard()).await }
    };
    assert_eq!(
        send(1, &["early"]).await.unwrap(),
        AppendOutcome::Gap { next: 0 }
    );
    assert_eq!(
        send(0, &["a", "b"]).await.unwrap(),
        AppendOutcome::Stored { next: 1 }
    );
    assert_eq!(
        send(0, &["a", "b"]).await.unwrap(),
        AppendOutcome::AlreadyStored { next: 1 }
    );
    assert_eq!(
        send(1, &["c"]).await.unwrap(),
        AppendOutcome::Stored { next: 2 }
    );
    let unstorable = Attempt {
        duration_ms: u64::MAX,
        ..attempt("e")
    };
    let half = store
        .append_attempts(id, 2, vec![attempt("d"), unstorable], heard())
        .await;
    assert!(
        matches!(
            half,
            Err(Error::Unstorable {
                field: "duration_ms",
                ..
            })
        ),
        "{half:?}"
    );

    let stored = store.attempts(id).await.unwrap();
    assert_eq!(stored, [attempt("a"), attempt("b"), attempt("c")]);
    let stored = store.run(id).await.unwrap().unwrap();
    assert_eq!((stored.batches, stored.heard_at), (2, heard()));
}

#[tokio::test]
async fn the_same_batch_sent_many_times_at_once_is_stored_once() {
    let folder = Folder::new();
    let store = folder.open();
    let row = run();
    store.insert_run(&row).await.unwrap();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        senders.spawn(async move {
            store
                .append_attempts(row.id, 0, vec![attempt("a")], heard())
                .await
                .unwrap()
        });
    }
    let outcomes = senders.join_all().await;
    let stored = outcomes
        .iter()
        .filter(|it| **it == AppendOutcome::Stored { next: 1 });
    assert_eq!(stored.count(), 1);
    assert_eq!(store.attempts(row.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_run_is_finished_once_on_all_of_its_batches() {
    let folder = Folder::new();
    let store = folder.open();
    let row = run();
    let unknown = store
        .finish_run(row.id, &finish(0), EndedBy::Reporter)
        .await;
    assert!(matches!(unknown, Err(Error::NoSuchRun { .. })));
    store.insert_run(&row).await.unwrap();
    store
        .append_attempts(row.id, 0, vec![attempt("a")], heard())
        .await
        .unwrap();

    let moved = store
        .finish_run(row.id, &finish(0), EndedBy::Reporter)
        .await
        .unwrap();
    assert_eq!(moved, FinishOutcome::Moved { batches: 1 });
    let first = finish(1);
    match store
        .finish_run(row.id, &first, EndedBy::Reporter)
        .await
        .unwrap()
    {
        FinishOutcome::Finished(stored) => {
            assert_eq!(stored.finish.as_ref(), Some(&first));
            assert_eq!(stored.run.counting, counting(CountingState::Void));
        }
        other => panic!("{other:?}"),
    }
    match store
        .finish_run(row.id, &finish(1), EndedBy::Reporter)
        .await
        .unwrap()
    {
        FinishOutcome::AlreadyFinished(stored) => assert_eq!(stored.finish, Some(first)),
        other => panic!("{other:?}"),
    }
    let late = store
        .append_attempts(row.id, 1, vec![attempt("b")], heard())
        .await
        .unwrap();
    assert_eq!(late, AppendOutcome::Finished);
    let again = store
        .append_attempts(row.id, 0, vec![attempt("a")], heard())
        .await
        .unwrap();
    assert_eq!(again, AppendOutcome::AlreadyStored { next: 1 });
}

#[tokio::test]
async fn whether_a_run_counts_can_be_settled_later() {
    let folder = Folder::new();
    let store = folder.open();
    let row = run();
    let settle = async |state| store.settle_run(row.id, counting(state)).await.unwrap();
    assert!(!settle(CountingState::Counts).await, "there is no such run");
    store.insert_run(&row).await.unwrap();
    assert_eq!(store.pending_runs().await.unwrap().len(), 1);
    assert!(settle(CountingState::Counts).await);
    assert!(store.pending_runs().await.unwrap().is_empty());
    assert!(!settle(CountingState::Void).await, "it is known by now");
    let stored = store.run(row.id).await.unwrap().unwrap();
    assert_eq!(stored.run.counting, counting(CountingState::Counts));
}

fn withdrawal(reason: &str) -> Withdrawal {
    Withdrawal {
        by: "rita@shop.example".into(),
        caller: "https://issuer#rita".into(),
        at: instant("2026-11-23T13:00:00Z"),
        reason: reason.into(),
        decision: decision(),
    }
}

#[tokio::test]
async fn a_run_is_withdrawn_once_and_for_good() {
    let folder = Folder::new();
    let store = folder.open();
    let row = run();
    let first = withdrawal("the database was empty");
    let unknown = store.withdraw_run(row.id, first.clone()).await;
    assert!(matches!(unknown, Err(Error::NoSuchRun { .. })));
    store.insert_run(&row).await.unwrap();
    let early = store.withdraw_run(row.id, first.clone()).await.unwrap();
    assert_eq!(early, WithdrawOutcome::NotFinished);
    let mut end = finish(0);
    end.counting = counting(CountingState::Pending);
    store
        .finish_run(row.id, &end, EndedBy::Reporter)
        .await
        .unwrap();
    match store.withdraw_run(row.id, first.clone()).await.unwrap() {
        WithdrawOutcome::Withdrawn(stored) => {
            assert_eq!(stored.withdrawal.as_ref(), Some(&first));
            // It waited for its operation, and waits no more.
            assert_eq!(stored.run.counting.state, CountingState::Counts);
        }
        other => panic!("{other:?}"),
    }
    let void = counting(CountingState::Void);
    assert!(!store.settle_run(row.id, void).await.unwrap());
    match store.withdraw_run(row.id, withdrawal("again")).await {
        Ok(WithdrawOutcome::AlreadyWithdrawn(stored)) => {
            assert_eq!(stored.withdrawal, Some(first.clone()));
        }
        other => panic!("{other:?}"),
    }
    let undo = "UPDATE run SET withdrawal = NULL";
    let undone = store.write("undo", |db| Ok(db.execute(undo, ())?)).await;
    assert!(matches!(undone, Err(Error::Failed { .. })), "{undone:?}");
    let stored = store.run(row.id).await.unwrap().unwrap();
    assert_eq!(stored.withdrawal, Some(first));
}

/// Clocks have no part in it: all of this happens within one moment.
#[tokio::test]
async fn what_reporters_say_is_numbered_in_the_order_of_saying() {
    let folder = Folder::new();
    let store = folder.open();
    let rows = [(); 2].map(|()| RunRow {
        id: RunId(decision().0),
        ..run()
    });
    for row in &rows {
        store.insert_run(row).await.unwrap();
    }
    let spoke = async |row: &RunRow| store.run(row.id).await.unwrap().unwrap().spoke;
    assert_eq!((spoke(&rows[0]).await, spoke(&rows[1]).await), (1, 2));
    let batch = vec![attempt("a")];
    store
        .append_attempts(rows[0].id, 0, batch.clone(), heard())
        .await
        .unwrap();
    assert_eq!(spoke(&rows[0]).await, 3);
    store
        .append_attempts(rows[0].id, 0, batch, heard())
        .await
        .unwrap();
    assert_eq!(spoke(&rows[0]).await, 3, "said before");
    let end = async |row: &RunRow, by| {
        store
            .finish_run(row.id, &finish(row.id.eq(&rows[0].id).into()), by)
            .await
            .unwrap()
    };
    end(&rows[1], EndedBy::Reporter).await;
    end(&rows[0], EndedBy::Gate).await;
    assert_eq!((spoke(&rows[0]).await, spoke(&rows[1]).await), (3, 4));
}

#[tokio::test]
async fn runs_without_an_end_are_found_the_longest_silent_first() {
    let folder = Folder::new();
    let store = folder.open();
    let rows = [(); 3].map(|()| RunRow {
        id: RunId(decision().0),
        ..run()
    });
    for row in &rows {
        store.insert_run(row).await.unwrap();
    }
    let heard_first = rows[0].id;
    store
        .append_attempts(heard_first, 0, vec![attempt("a")], heard())
        .await
        .unwrap();
    store
        .finish_run(rows[1].id, &finish(0), EndedBy::Reporter)
        .await
        .unwrap();
    let unfinished = store.unfinished_runs().await.unwrap();
    let ids: Vec<RunId> = unfinished.iter().map(|it| it.run.id).collect();
    assert_eq!(ids, [rows[2].id, heard_first]);
    let sql = super::super::runs::UNFINISHED.to_owned();
    let plan = plan_of(&store, sql, vec![1.into()]).await;
    assert!(
        plan.contains("run_unfinished") && !plan.contains("TEMP B-TREE"),
        "{plan}"
    );
}

/// Runs 0 to 4; each differs from run 0 in what its number says.
async fn filled(store: &Store) -> Vec<RunId> {
    let rows = [
        run(),
        RunRow {
            component: component("cart"),
            application: app("cart-staging"),
            ..run()
        },
        RunRow {
            environment: environment("dev"),
            ..run()
        },
        RunRow {
            suite: suite("smoke"),
            ..run()
        },
        RunRow {
            commits: vec![commit('c')],
            ..run()
        },
    ];
    let mut ids = Vec::new();
    for row in rows {
        let row = RunRow {
            id: RunId(decision().0),
            ..row
        };
        store.insert_run(&row).await.unwrap();
        ids.push(row.id);
    }
    ids
}

/// What a filter asks for, and which of [`filled`] it finds.
type Case = (fn(&mut RunFilter), &'static [usize]);

#[tokio::test]
async fn runs_are_listed_newest_first_as_the_filter_asks() {
    let folder = Folder::new();
    let store = folder.open();
    let ids = filled(&store).await;
    let cases: [Case; 9] = [
        (|_| {}, &[4, 3, 2, 1, 0]),
        (|filter| filter.limit = 2, &[4, 3]),
        (
            |filter| filter.application = Some("cart-staging".into()),
            &[1],
        ),
        (
            |filter| filter.component = Some(component("checkout")),
            &[4, 3, 2, 0],
        ),
        (|filter| filter.environment = Some(environment("dev")), &[2]),
        (|filter| filter.suite = Some(suite("smoke")), &[3]),
        (|filter| filter.commit = Some(commit('c')), &[4]),
        (
            |filter| {
                filter.commit = Some(commit('b'));
                filter.suite = Some(suite("integration"));
            },
            &[2, 1, 0],
        ),
        (
            |filter| {
                filter.application = Some("checkout-staging".into());
                filter.application_namespace = Some("team-b".into());
            },
            &[],
        ),
    ];
    for (ask, expected) in cases {
        let mut filter = RunFilter {
            limit: 10,
            ..RunFilter::default()
        };
        ask(&mut filter);
        let found = store.runs(filter.clone()).await.unwrap();
        let found: Vec<RunId> = found.iter().map(|it| it.run.id).collect();
        let expected: Vec<RunId> = expected.iter().map(|n| ids[*n]).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn the_runs_for_a_target_are_those_of_its_suite_newest_first() {
    let folder = Folder::new();
    let store = folder.open();
    let ids = filled(&store).await;
    let (checkout, staging) = (component("checkout"), environment("staging"));
    let integration = suite("integration");
    for (limit, expected) in [(1, vec![ids[4]]), (5, vec![ids[4], ids[0]])] {
        let found = store.runs_for(&checkout, &staging, &integration, limit);
        let found: Vec<RunId> = found.await.unwrap().iter().map(|it| it.run.id).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn no_query_of_runs_reads_more_than_concerns_it() {
    let folder = Folder::new();
    let store = folder.open();
    for wanted in 1..32_u8 {
        let has = |bit: u8| wanted & (1 << bit) != 0;
        let filter = RunFilter {
            application: has(0).then(|| "x".into()),
            application_namespace: has(0).then(|| "x".into()),
            component: has(1).then(|| component("x")),
            environment: has(2).then(|| environment("x")),
            suite: has(3).then(|| suite("x")),
            commit: has(4).then(|| commit('a')),
            limit: 5,
        };
        let (sql, values) = super::super::runs::runs_sql(&filter);
        let plan = plan_of(&store, sql, values).await;
        assert!(!plan.contains("SCAN"), "{filter:?}: {plan}");
    }
    let target = RunFilter {
        component: Some(component("x")),
        environment: Some(environment("x")),
        suite: Some(suite("x")),
        ..RunFilter::default()
    };
    let (sql, values) = super::super::runs::runs_sql(&target);
    let plan = plan_of(&store, sql, values).await;
    assert!(
        plan.contains("run_by_target") && !plan.contains("TEMP B-TREE"),
        "{plan}"
    );
}
