//! Opened, closed, dropped, cut short.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;

#[tokio::test]
async fn a_record_tells_what_was_decided_and_what_became_of_it() {
    let folder = Folder::new();
    let store = folder.open();
    let recorder = recorder(&store);
    for durability in [Durability::BeforeProceeding, Durability::Queued] {
        let decided = opening(decision());
        let mut record = recorder.open(decided.clone(), durability).await.unwrap();
        assert_eq!(record.decision(), decided.decision);
        record.note("as planned");
        record.close(forwarded()).await;
        // A write that waits for its commit has everything before it on disk.
        let barrier = recorder.open(opening(decision()), Durability::BeforeProceeding);
        drop(barrier.await.unwrap());

        let entry = show(&store, decided.decision).await.unwrap().unwrap();
        assert_eq!(entry.opening, decided);
        let closing = Closing {
            decision: decided.decision,
            at: noon(),
            outcome: forwarded(),
            detail: Some("as planned".into()),
        };
        assert_eq!(entry.closing, Some(closing));
    }
}

#[tokio::test]
async fn before_proceeding_means_that_the_opening_can_be_read_by_another_process() {
    let folder = Folder::new();
    let store = folder.open();
    let id = decision();
    let record = recorder(&store)
        .open(opening(id), Durability::BeforeProceeding)
        .await
        .unwrap();
    let reader = Store::open_read_only(&folder.path()).unwrap();
    let entry = show(&reader, id).await.unwrap().unwrap();
    assert_eq!(entry.closing, None);
    record.close(forwarded()).await;
    assert_eq!(outcome(&reader, id).await, Some(forwarded()));
}

#[tokio::test]
async fn what_cannot_get_a_place_in_time_is_refused_as_behind() {
    let folder = Folder::new();
    let store = Store::open_small(&folder.path(), 1);
    let hold = store.hold().await;
    let first = recorder(&store)
        .open(opening(decision()), Durability::Queued)
        .await
        .unwrap();
    let refused = recorder(&store)
        .open(opening(decision()), Durability::Queued)
        .await;
    assert!(refused.unwrap_err().is_behind());
    drop(hold);
    first.close(forwarded()).await;
    store.close().await;
    assert_eq!(
        whole_log(&folder.open()).await.len(),
        2,
        "what was refused left nothing"
    );
}

#[tokio::test]
async fn an_opening_that_cannot_be_stored_gives_no_record() {
    let folder = Folder::new();
    let store = folder.open();
    let id = decision();
    recorder(&store)
        .open(opening(id), Durability::Queued)
        .await
        .unwrap()
        .close(forwarded())
        .await;
    let twice = recorder(&store)
        .open(opening(id), Durability::BeforeProceeding)
        .await;
    let error = twice.unwrap_err();
    assert!(
        matches!(error, Error::Store(_)) && !error.is_behind(),
        "{error:?}"
    );
    assert_eq!(whole_log(&store).await.len(), 2);
}

#[tokio::test]
async fn a_record_that_is_dropped_closes_as_abandoned() {
    let folder = Folder::new();
    let store = folder.open();
    let id = decision();
    let mut record = recorder(&store)
        .open(opening(id), Durability::Queued)
        .await
        .unwrap();
    record.note("the caller went away");
    drop(record);
    store.close().await;
    let store = folder.open();
    let closing = show(&store, id).await.unwrap().unwrap().closing.unwrap();
    assert_eq!(closing.outcome, Outcome::Abandoned);
    assert_eq!(closing.detail.as_deref(), Some("the caller went away"));
}

#[tokio::test]
async fn a_record_that_is_dropped_while_the_queue_is_full_is_closed_later() {
    let folder = Folder::new();
    let store = Store::open_small(&folder.path(), 1);
    let tasks = TaskTracker::new();
    let recorder = Recorder::new(store.clone(), Clock::fixed(noon()), tasks.clone());
    let (dropped, closed) = (decision(), decision());
    let first = recorder
        .open(opening(dropped), Durability::BeforeProceeding)
        .await
        .unwrap();
    let second = recorder
        .open(opening(closed), Durability::BeforeProceeding)
        .await
        .unwrap();
    let hold = store.hold().await;
    let filler = recorder
        .open(opening(decision()), Durability::Queued)
        .await
        .unwrap();
    drop(first);
    let mut closing = Box::pin(second.close(forwarded()));
    let early = tokio::time::timeout(Duration::from_millis(60), &mut closing).await;
    assert!(early.is_err(), "no place, no commit, but closed");
    // The caller goes away while its closing waits: it is written all the same.
    drop(closing);
    drop(filler);
    tasks.close();
    assert_eq!(tasks.len(), 3);
    drop(hold);
    tasks.wait().await;
    store.close().await;

    let store = folder.open();
    assert_eq!(outcome(&store, dropped).await, Some(Outcome::Abandoned));
    assert_eq!(outcome(&store, closed).await, Some(forwarded()));
    assert!(store.unclosed().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_caller_that_goes_away_while_its_opening_is_written_leaves_it_abandoned() {
    let folder = Folder::new();
    let store = folder.open();
    let id = decision();
    let hold = store.hold().await;
    let recorder = recorder(&store);
    let opening = recorder.open(opening(id), Durability::BeforeProceeding);
    let gone = tokio::time::timeout(Duration::from_millis(30), opening).await;
    assert!(gone.is_err(), "durable before the commit");
    drop(hold);
    store.close().await;
    assert_eq!(outcome(&folder.open(), id).await, Some(Outcome::Abandoned));
}

#[test]
fn a_closing_that_cannot_be_stored_is_counted() {
    let folder = Folder::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = folder.open();
    let record = runtime
        .block_on(recorder(&store).open(opening(decision()), Durability::BeforeProceeding))
        .unwrap();
    runtime.block_on(store.close());
    let metrics = PrometheusBuilder::new().build_recorder();
    // Outside of any runtime: as when the process ends.
    metrics::with_local_recorder(&metrics, || drop(record));
    let told = metrics.handle().render();
    assert!(told.contains("syncgate_record_lost_total 1"), "{told}");
}

#[tokio::test]
async fn what_a_crash_left_open_is_found_and_closed_as_what_it_was() {
    let folder = Folder::new();
    let store = folder.open();
    let (reached, not_reached, finished) = (decision(), decision(), decision());
    for id in [reached, not_reached] {
        let record = recorder(&store)
            .open(opening(id), Durability::BeforeProceeding)
            .await;
        // A process that is killed runs no destructor.
        std::mem::forget(record);
    }
    let record = recorder(&store)
        .open(opening(finished), Durability::BeforeProceeding)
        .await;
    record.unwrap().close(forwarded()).await;
    assert!(
        recorder(&store).unfinished().await.unwrap().is_empty(),
        "still at work"
    );
    store.close().await;

    let store = folder.open();
    let recorder = recorder(&store);
    let at_work = recorder
        .open(opening(decision()), Durability::BeforeProceeding)
        .await
        .unwrap();
    let unfinished = recorder.unfinished().await.unwrap();
    let found: Vec<DecisionId> = unfinished.iter().map(|it| it.opening.decision).collect();
    assert_eq!(found, [reached, not_reached]);
    assert_eq!(unfinished[0].opening, opening(reached));

    for (id, known) in [(reached, Reached::Yes), (not_reached, Reached::No)] {
        recorder
            .close_interrupted(id, known, "operation.info".into())
            .await
            .unwrap();
        let expected = Outcome::Interrupted {
            reached: known,
            evidence: "operation.info".into(),
        };
        assert_eq!(outcome(&store, id).await, Some(expected));
    }
    assert!(recorder.unfinished().await.unwrap().is_empty());
    let again = recorder
        .close_interrupted(reached, Reached::No, String::new())
        .await;
    assert!(matches!(again, Err(Error::Store(_))), "{again:?}");
    at_work.close(forwarded()).await;
    verify_rows(&whole_log(&store).await).unwrap();
}

#[tokio::test]
async fn records_are_listed_newest_first() {
    let folder = Folder::new();
    let store = folder.open();
    let (old, new) = (decision(), decision());
    recorder(&store)
        .open(opening(old), Durability::Queued)
        .await
        .unwrap()
        .close(forwarded())
        .await;
    let elsewhere = Opening {
        applications: vec![AppRef {
            namespace: Some("team-a".into()),
            name: "blog".into(),
        }],
        ..opening(new)
    };
    let at_work = recorder(&store)
        .open(elsewhere, Durability::BeforeProceeding)
        .await
        .unwrap();
    let all = DecisionFilter {
        limit: 10,
        ..DecisionFilter::default()
    };
    let listed = list(&store, all.clone()).await.unwrap().entries;
    let decisions: Vec<DecisionId> = listed.iter().map(|entry| entry.decision).collect();
    assert_eq!(decisions, [new, old]);
    let page = DecisionFilter {
        before: Some(listed[0].seq),
        ..all.clone()
    };
    assert_eq!(list(&store, page).await.unwrap().entries, listed[1..]);
    let blog = DecisionFilter {
        application: Some("blog".into()),
        ..all
    };
    assert_eq!(list(&store, blog).await.unwrap().entries, listed[..1]);
    assert_eq!(show(&store, decision()).await.unwrap(), None);
    at_work.close(forwarded()).await;
}
