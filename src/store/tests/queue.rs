//! The writer: groups, savepoints, back-pressure.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_producers_get_dense_places_and_every_entry_is_there() {
    let folder = Folder::new();
    let store = folder.open();
    let mut producers = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let store = store.clone();
        producers.spawn(async move {
            let mut places = Vec::new();
            for _ in 0..10 {
                let decision = decision();
                places.push((store.append(opening(decision)).await.unwrap(), decision));
            }
            places
        });
    }
    let mut told: Vec<(Seq, DecisionId)> =
        producers.join_all().await.into_iter().flatten().collect();
    told.sort();
    let stored: Vec<(Seq, DecisionId)> = whole_log(&store)
        .await
        .iter()
        .map(|entry| (entry.seq, entry.decision))
        .collect();
    assert_eq!(stored, told);
    let dense: Vec<Seq> = (0..320).map(Seq).collect();
    assert_eq!(told.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), dense);
}

#[tokio::test]
async fn what_is_queued_together_is_committed_together_and_acknowledged_only_then() {
    let folder = Folder::new();
    let store = folder.open();
    let first = store.hold().await;
    let mut pending = Vec::new();
    for _ in 0..100 {
        pending.push(store.append_queued(opening(decision())).await.unwrap());
    }
    // The last job of the batch waits inside its transaction.
    let (go, released) = mpsc::channel::<()>();
    let (begun, ran) = tokio::sync::oneshot::channel();
    let place = store.writer().unwrap().place().await.unwrap();
    let last = place.queue("wait", move |_| {
        begun.send(()).unwrap();
        let _ = released.recv();
        Ok(())
    });
    drop(first);
    ran.await.unwrap();

    // All hundred have run by now, none is acknowledged, and none can be seen.
    let mut one = Box::pin(pending.remove(0).durable());
    let early = tokio::time::timeout(Duration::from_millis(50), &mut one).await;
    assert!(early.is_err(), "acknowledged before the commit");
    assert!(whole_log(&store).await.is_empty());

    drop(go);
    last.durable().await.unwrap();
    assert_eq!(one.await.unwrap(), Seq(0));
    for (answer, seq) in pending.into_iter().zip(1..) {
        assert_eq!(answer.durable().await.unwrap(), Seq(seq));
    }
}

#[tokio::test]
async fn a_job_that_fails_takes_nothing_of_its_neighbours_and_leaves_nothing_of_its_own() {
    let folder = Folder::new();
    let store = folder.open();
    let hold = store.hold().await;
    let good = store.append_queued(opening(decision())).await.unwrap();
    let place = store.writer().unwrap().place().await.unwrap();
    let bad = place.queue("write half", |db| {
        db.execute(
            "INSERT INTO unclosed (decision, seq) VALUES ('half', 0)",
            (),
        )?;
        db.execute("INSERT INTO no_such_table VALUES (1)", ())?;
        Ok(())
    });
    let unopened = store.append_queued(closing(decision())).await.unwrap();
    let also_good = store.append_queued(opening(decision())).await.unwrap();
    drop(hold);

    assert_eq!(good.durable().await.unwrap(), Seq(0));
    let error = bad.durable().await.unwrap_err();
    assert_eq!(error.to_string(), "storage failed to write half");
    assert!(matches!(
        unopened.durable().await,
        Err(Error::NoOpening { .. })
    ));
    assert_eq!(also_good.durable().await.unwrap(), Seq(1));
    let halves: i64 = store
        .read("count", |db| {
            let sql = "SELECT count(*) FROM unclosed WHERE decision = 'half'";
            Ok(db.query_row(sql, (), |row| row.get(0))?)
        })
        .await
        .unwrap();
    assert_eq!(halves, 0);
}

/// Queues an opening, then `breaking`, then another opening, as one batch; expects that all three
/// are told a failure, that nothing is stored, and that the next write goes well.
async fn nothing_survives(breaking: &'static str) {
    let folder = Folder::new();
    let store = folder.open();
    let hold = store.hold().await;
    let before = store.append_queued(opening(decision())).await.unwrap();
    let place = store.writer().unwrap().place().await.unwrap();
    let broken = place.queue("break the batch", move |db| Ok(db.execute_batch(breaking)?));
    let after = store.append_queued(opening(decision())).await.unwrap();
    drop(hold);
    for answer in [before, after] {
        let answer = answer.durable().await;
        assert!(
            matches!(answer, Err(Error::Failed { .. })),
            "{breaking}: {answer:?}"
        );
    }
    assert!(broken.durable().await.is_err(), "{breaking}");
    assert!(whole_log(&store).await.is_empty(), "{breaking}");
    assert_eq!(store.append(opening(decision())).await.unwrap(), Seq(0));
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_everybody_in_it() {
    // Checked at the commit, when every job has run well.
    nothing_survives(
        "PRAGMA defer_foreign_keys = ON; INSERT INTO unclosed (decision, seq) VALUES ('x', 999)",
    )
    .await;
}

#[tokio::test]
async fn a_transaction_that_the_database_ended_is_told_to_everybody_in_it() {
    // What SQLite does by itself after some I/O errors.
    nothing_survives("ROLLBACK").await;
}

#[tokio::test]
async fn a_full_queue_holds_callers_back_then_tells_them_so() {
    let folder = Folder::new();
    let store = Store::open_small(&folder.path(), 2);
    let hold = store.hold().await;
    let waiting = [
        store.append_queued(opening(decision())).await.unwrap(),
        store.append_queued(opening(decision())).await.unwrap(),
    ];
    let turned_away = opening(decision());
    let error = store.append_queued(turned_away.clone()).await.unwrap_err();
    assert!(
        matches!(error, Error::Behind { waited_ms: 30 }),
        "{error:?}"
    );
    let back = store.try_append(turned_away.clone()).unwrap_err();
    assert_eq!(*back, turned_away);

    let patient = tokio::join!(store.append_patiently(turned_away), async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        drop(hold);
    });
    assert_eq!(patient.0.unwrap().durable().await.unwrap(), Seq(2));
    for answer in waiting {
        answer.durable().await.unwrap();
    }
    assert!(store.try_append(opening(decision())).is_ok());
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_take_its_entry_with_it() {
    let folder = Folder::new();
    let store = folder.open();
    drop(store.append_queued(opening(decision())).await.unwrap());
    store.append(opening(decision())).await.unwrap();
    assert_eq!(whole_log(&store).await.len(), 2);
}

#[tokio::test]
async fn when_the_disk_is_full_nothing_is_acknowledged_that_is_not_stored() {
    let folder = Folder::new();
    let store = folder.open();
    store.append(opening(decision())).await.unwrap();
    let pages = |limit: i64| {
        store.write("limit", move |db| {
            let sql = format!("PRAGMA max_page_count = {limit}");
            Ok(db.query_row(&sql, (), |row| row.get::<_, i64>(0))?)
        })
    };
    // A limit below the present size means the present size.
    pages(1).await.unwrap();
    let large = |decision| NewEntry {
        bytes: vec![b'x'; 100_000],
        ..opening(decision)
    };
    let hold = store.hold().await;
    let mut pending = Vec::new();
    for _ in 0..5 {
        let decision = decision();
        let answer = store.append_queued(large(decision)).await.unwrap();
        pending.push((decision, answer));
    }
    drop(hold);
    for (decision, answer) in pending {
        assert!(matches!(answer.durable().await, Err(Error::Failed { .. })));
        let (there, _) = store.entry_by_decision(decision).await.unwrap();
        assert_eq!(there, None);
    }
    pages(1_000_000).await.unwrap();
    assert_eq!(store.append(large(decision())).await.unwrap(), Seq(1));
}
