//! Intents.

use jiff::SignedDuration;

use super::*;
use crate::intent::Intent;

const NOON: &str = "2026-11-23T12:00:00Z";

fn intent(uid: Option<&str>, digest: &str) -> Intent {
    Intent {
        decision: decision(),
        namespace: "argocd".into(),
        name: "checkout-prod".into(),
        uid: uid.map(str::to_owned),
        digest: digest.into(),
        at: instant(NOON),
    }
}

#[tokio::test]
async fn only_the_write_that_was_meant_finds_its_intent() {
    let folder = Folder::new();
    let store = folder.open();
    let (sync, create) = (intent(Some("u1"), "sync"), intent(None, "create"));
    // One decision may lead to several writes.
    let create = Intent {
        decision: sync.decision,
        ..create
    };
    store
        .add_intents(vec![sync.clone(), create.clone()])
        .await
        .unwrap();
    let found = async |namespace, name, uid, digest, not_before: &str| {
        store
            .intent(namespace, name, uid, digest, instant(not_before))
            .await
            .unwrap()
    };
    let (ours, name) = ("argocd", "checkout-prod");
    // More than once, since Argo CD repeats a write that met another.
    for _ in 0..2 {
        let same = found(ours, name, Some("u1"), "sync", NOON).await;
        assert_eq!(same.as_ref(), Some(&sync));
    }
    for uid in [None, Some("any")] {
        assert_eq!(
            found(ours, name, uid, "create", NOON).await,
            Some(create.clone())
        );
    }
    for (namespace, name, uid, digest, not_before) in [
        ("other", name, Some("u1"), "sync", NOON),
        (ours, "checkout", Some("u1"), "sync", NOON),
        (ours, name, Some("u2"), "sync", NOON),
        (ours, name, None, "sync", NOON),
        (ours, name, Some("u1"), "other", NOON),
        (ours, name, Some("u1"), "sync", "2026-11-23T12:00:00.001Z"),
    ] {
        assert_eq!(
            found(namespace, name, uid, digest, not_before).await,
            None,
            "{namespace} {name} {uid:?} {digest} {not_before}"
        );
    }
}

#[tokio::test]
async fn the_newest_intent_is_found_and_old_ones_are_removed() {
    let folder = Folder::new();
    let store = folder.open();
    let old = intent(Some("u1"), "sync");
    let later = |seconds| Intent {
        at: old.at + SignedDuration::from_secs(seconds),
        ..intent(Some("u1"), "sync")
    };
    let (second, third) = (later(60), later(121));
    store.add_intents(vec![old.clone()]).await.unwrap();
    store.add_intents(vec![second.clone()]).await.unwrap();
    let newest = store.intent("argocd", "checkout-prod", Some("u1"), "sync", old.at);
    assert_eq!(newest.await.unwrap(), Some(second));
    store.add_intents(vec![third]).await.unwrap();
    store.close().await;
    let db = Connection::open(folder.path()).unwrap();
    let count: i64 = db
        .query_row("SELECT count(*) FROM intent", (), |row| row.get(0))
        .unwrap();
    assert_eq!(count, 2);
}
