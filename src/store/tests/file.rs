//! The file: created, reopened, refused.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::evidence::verdict::Tests;

#[tokio::test]
async fn a_new_store_is_readable_by_its_owner_alone_and_durable_at_every_commit() {
    let folder = Folder::new();
    let store = folder.open();
    store.append(opening(decision())).await.unwrap();
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let path = format!("{}{suffix}", folder.path().display());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
    let settings: (String, i64, bool) = store
        .write("read settings", |db| {
            Ok((
                db.pragma_query_value(None, "journal_mode", |row| row.get(0))?,
                db.pragma_query_value(None, "synchronous", |row| row.get(0))?,
                db.pragma_query_value(None, "foreign_keys", |row| row.get(0))?,
            ))
        })
        .await
        .unwrap();
    assert_eq!(settings, ("wal".into(), 2, true), "2 is FULL");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let folder = Folder::new();
    let (first, second) = (decision(), decision());
    let store = folder.open();
    store.append(opening(first)).await.unwrap();
    store.append(closing(first)).await.unwrap();
    store.close().await;

    let store = folder.open();
    assert_eq!(store.append(opening(second)).await.unwrap(), Seq(2));
    let (open, close) = store.entry_by_decision(first).await.unwrap();
    let open = open.unwrap();
    assert_eq!(open.bytes, opening(first).bytes);
    assert_eq!(open.at, opening(first).at, "to the last digit");
    assert_eq!(close.unwrap().seq, Seq(1));
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_takes_no_more() {
    let folder = Folder::new();
    let store = folder.open();
    let hold = store.hold().await;
    for _ in 0..50 {
        drop(store.append_queued(opening(decision())).await.unwrap());
    }
    let other = store.clone();
    tokio::join!(store.close(), other.close(), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(hold);
    });
    let refused = store.append(opening(decision())).await;
    assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
    assert!(matches!(store.unclosed().await, Err(Error::Closed)));
    assert_eq!(whole_log(&folder.open()).await.len(), 50);
}

#[tokio::test]
async fn a_store_that_is_dropped_still_writes_what_is_queued() {
    let folder = Folder::new();
    let store = folder.open();
    let last = store.append_queued(opening(decision())).await.unwrap();
    drop(store);
    assert_eq!(last.durable().await.unwrap(), Seq(0));
}

#[tokio::test]
async fn a_second_process_is_kept_out_until_the_first_has_closed() {
    let folder = Folder::new();
    let store = folder.open();
    let refused = Store::open(&folder.path());
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    store.close().await;
    folder.open();
}

#[tokio::test]
async fn readers_see_what_is_committed_beside_a_running_gate_and_after_it() {
    let folder = Folder::new();
    let store = folder.open();
    store.append(opening(decision())).await.unwrap();
    let reader = Store::open_read_only(&folder.path()).unwrap();
    assert_eq!(whole_log(&reader).await.len(), 1);
    store.append(opening(decision())).await.unwrap();
    assert_eq!(whole_log(&reader).await.len(), 2);
    let refused = reader.append(opening(decision())).await;
    assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
    assert!(reader.try_append(opening(decision())).is_err());
    reader.close().await;
    store.close().await;

    let reader = Store::open_read_only(&folder.path()).unwrap();
    assert_eq!(whole_log(&reader).await.len(), 2);
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = Folder::new();
    folder.open().close().await;
    let db = Connection::open(folder.path()).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    for refused in [
        Store::open(&folder.path()),
        Store::open_read_only(&folder.path()),
    ] {
        let error = refused.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, Error::Schema { found: 99, .. }),
            "{error:?}"
        );
        let known = migrate::known();
        let told = format!("has schema 99; this version of syncgate works with {known}");
        assert!(text.ends_with(&told), "{text}");
    }
    let db = Connection::open(folder.path()).unwrap();
    let version: i64 = db
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 99);
}

#[test]
fn the_database_of_another_program_is_refused() {
    let folder = Folder::new();
    let db = Connection::open(folder.path()).unwrap();
    db.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(db);
    let refused = Store::open(&folder.path());
    assert!(matches!(refused, Err(Error::NotOurs { .. })), "{refused:?}");
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = Folder::new();
    std::fs::write(folder.path(), "these are my notes, dear to me").unwrap();
    let refused = Store::open(&folder.path());
    assert!(matches!(refused, Err(Error::Open { .. })), "{refused:?}");
    let left = std::fs::read_to_string(folder.path()).unwrap();
    assert_eq!(left, "these are my notes, dear to me");
}

#[test]
fn reading_what_is_not_there_creates_nothing() {
    let folder = Folder::new();
    let refused = Store::open_read_only(&folder.path());
    assert!(matches!(refused, Err(Error::Open { .. })), "{refused:?}");
    assert!(!folder.path().exists());
}

/// Stores a run in the first schema, with this identifier and end.
const OLD_RUN: &str = r#"
    INSERT INTO run (id, reporter, decision, application, application_namespace, environment,
        component, suite, commits, collected, tool, options, started_at, received_at,
        counting, counting_reason, finish)
    VALUES (?1, 'r', '01KAT0000000000000000000AB', 'checkout', '',
        'staging', 'checkout', 'integration', '[]', '{"tests":0,"digest":"0","deselected":0}',
        '{"name":"pytest","version":null,"plugin":null,"python":null,"platform":null}',
        '[]', '2026-11-23T12:00:00Z', '2026-11-23T12:00:01Z', 'void', 'the run has not ended', ?2)"#;

#[tokio::test]
async fn an_older_store_is_brought_forward_with_what_is_in_it() {
    let folder = Folder::new();
    let old = Connection::open(folder.path()).unwrap();
    old.execute_batch(include_str!("../migrations/0001_start.sql"))
        .unwrap();
    // The run that began first ended last.
    for (run, ended) in [("AA", None), ("AC", Some("AZ")), ("AD", Some("AE"))] {
        let id = |end| format!("01KAT0000000000000000000{end}");
        let finish = ended.map(|ended| {
            serde_json::json!({
                "decision": id(ended), "exit_status": 0, "finished_at": "2026-11-23T12:00:02Z",
                "batches": 0, "attempts": 0, "interrupted": false, "judged_batches": 0,
                "verdict": "refused", "reasons": [], "tests": Tests::default(),
                "counting": {"state": "counts", "reason": ""},
            })
            .to_string()
        });
        old.execute(OLD_RUN, (id(run), finish)).unwrap();
    }
    // One that was not ended in its operation, and one that was.
    old.execute(
        r#"UPDATE run SET operation = '{"uid":"u","started_at":"2026-11-23T11:59:00Z",
            "pod":{"namespace":"shop","name":"tests-x7k2p"}}' WHERE seq < 3"#,
        (),
    )
    .unwrap();
    old.execute_batch("PRAGMA application_id = 1400467015; PRAGMA user_version = 1;")
        .unwrap();
    drop(old);
    let store = folder.open();
    let filter = RunFilter {
        limit: 5,
        ..RunFilter::default()
    };
    let stored = store.runs(filter).await.unwrap();
    let spoke: Vec<u64> = stored.iter().rev().map(|run| run.spoke).collect();
    assert_eq!(spoke, [1, 3, 2], "in the order of their last words");
    let ended = stored[0].finish.as_ref().unwrap();
    assert_eq!(
        (&ended.attempts_digest, &stored[0].withdrawal),
        (&None, &None)
    );
    let awaiting = store.awaiting_hooks().await.unwrap();
    let awaiting: Vec<(Seq, u64)> = awaiting
        .iter()
        .map(|run| (run.seq, run.run.operation.as_ref().unwrap().retry))
        .collect();
    assert_eq!(awaiting, [(Seq(1), 0)]);
    assert_eq!(stored[0].run.since, None);
    assert_eq!(stored[0].heard_at, stored[0].run.received_at);
}
