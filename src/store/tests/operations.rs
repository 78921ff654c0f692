//! Judged operations, and the messages about them.

use super::*;

fn operation(uid: &str, started_at: &str) -> OperationRow {
    OperationRow {
        uid: uid.into(),
        started_at: instant(started_at),
        application: app("checkout-prod"),
        commits: vec!["a".repeat(40)],
        initiated_by: "rita".into(),
        judgement: Judgement::Explained,
        explained_by: Some(decision()),
        alarm: None,
        reconstructed: false,
        judged_at: instant("2026-11-23T12:00:00Z"),
    }
}

fn look(uid: &str, operations: Vec<OperationRow>) -> Look {
    Look {
        uid: uid.into(),
        operations,
        notices: Vec::new(),
    }
}

fn notice(receiver: &str, due_at: &str) -> NewNotice {
    NewNotice {
        receiver: receiver.into(),
        event: "e".into(),
        body: "{}".into(),
        due_at: instant(due_at),
    }
}

#[tokio::test]
async fn a_look_is_kept_with_what_was_judged_and_the_first_start_once() {
    let folder = Folder::new();
    let store = folder.open();
    let noon = instant("2026-11-23T12:00:00Z");
    assert_eq!(store.operations_since(noon).await.unwrap(), noon);
    let later = instant("2026-11-23T13:00:00Z");
    assert_eq!(store.operations_since(later).await.unwrap(), noon);

    let first = operation("one", "2026-11-23T10:00:00Z");
    let second = operation("one", "2026-11-23T11:00:00Z");
    let looks = vec![
        look("none", vec![]),
        look("one", vec![first.clone(), second.clone()]),
    ];
    store.add_looks(looks).await.unwrap();
    // A look without operations does not forget.
    store.add_looks(vec![look("one", vec![])]).await.unwrap();
    let asked = ["none", "one", "other"].map(String::from).to_vec();
    let known = store.watched(asked).await.unwrap();
    assert_eq!(known.len(), 2);
    assert_eq!(known["none"], None);
    assert_eq!(known["one"], Some(second.started_at));
    assert!(store.is_judged("one", first.started_at).await.unwrap());
    assert!(!store.is_judged("none", first.started_at).await.unwrap());
    assert!(
        store
            .is_used(first.explained_by.unwrap(), "one")
            .await
            .unwrap()
    );
    assert!(
        !store
            .is_used(first.explained_by.unwrap(), "none")
            .await
            .unwrap()
    );
    assert!(!store.is_used(decision(), "one").await.unwrap());
}

#[tokio::test]
async fn messages_wait_until_they_are_due_and_are_removed_one_by_one() {
    let folder = Folder::new();
    let store = folder.open();
    assert_eq!(store.next_notice().await.unwrap(), None);
    let mut told = look("one", vec![operation("one", "2026-11-23T10:00:00Z")]);
    // Half a second is after the whole one, although its text is not.
    told.notices = vec![
        notice("late", "2026-11-23T12:00:00.5Z"),
        notice("soon", "2026-11-23T12:00:00Z"),
    ];
    store.add_looks(vec![told]).await.unwrap();
    let due = async |at: &str| {
        let due = store.due_notices(instant(at), 10).await.unwrap();
        due.into_iter()
            .map(|n| (n.receiver, n.attempts))
            .collect::<Vec<_>>()
    };
    let in_order = ["soon", "late"].map(|receiver| (receiver.to_owned(), 0));
    assert_eq!(due("2026-11-23T11:59:59Z").await, []);
    assert_eq!(due("2026-11-23T12:00:00Z").await, in_order[..1]);
    assert_eq!(due("2026-11-23T12:00:01Z").await, in_order);
    let first = store
        .due_notices(instant("2026-11-23T12:00:00Z"), 10)
        .await
        .unwrap()
        .remove(0);
    let again = instant("2026-11-23T12:30:00Z");
    store.postpone_notice(first.seq, again).await.unwrap();
    assert_eq!(due("2026-11-23T12:30:00Z").await[1], ("soon".to_owned(), 1));
    store.remove_notice(first.seq).await.unwrap();
    let next = store.next_notice().await.unwrap();
    assert_eq!(next, Some(instant("2026-11-23T12:00:00.5Z")));
}

#[tokio::test]
async fn the_same_is_told_again_only_after_a_while() {
    let folder = Folder::new();
    let store = folder.open();
    let hour = jiff::SignedDuration::from_hours(1);
    let tell = async |key: &str, at: &str| {
        let (now, notices) = (instant(at), vec![notice("r", at)]);
        let told = store.tell_once(key.to_owned(), now, now - hour, notices);
        told.await.unwrap()
    };
    assert!(tell("a", "2026-11-23T12:00:00Z").await);
    assert!(!tell("a", "2026-11-23T12:30:00Z").await);
    assert!(tell("b", "2026-11-23T12:30:00Z").await);
    // An hour after it was told, however often it was tried since.
    assert!(tell("a", "2026-11-23T13:00:00Z").await);
    let waiting = store.due_notices(instant("2026-11-23T14:00:00Z"), 10).await;
    assert_eq!(waiting.unwrap().len(), 3);
}

#[tokio::test]
async fn decisions_about_an_application_are_found_by_when_they_were_made() {
    let folder = Folder::new();
    let store = folder.open();
    let mut made = Vec::new();
    for (minute, name) in [(0, "shop"), (1, "shop"), (2, "cart"), (3, "shop")] {
        let at = instant(&format!("2026-11-23T12:0{minute}:00Z"));
        let decision = DecisionId::new(at);
        let mut entry = opening(decision);
        entry.applications = vec![app(name)];
        store.append(entry).await.unwrap();
        made.push(decision);
    }
    let about = async |from: usize, to: usize| {
        let found = store
            .decided_about("shop", made[from], made[to])
            .await
            .unwrap();
        found
            .into_iter()
            .map(|entry| entry.decision)
            .collect::<Vec<_>>()
    };
    assert_eq!(about(0, 3).await, [made[3], made[1], made[0]]);
    assert_eq!(about(1, 2).await, [made[1]]);
}
