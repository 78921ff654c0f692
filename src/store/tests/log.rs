//! The log's rows.

use super::*;

#[tokio::test]
async fn a_decision_has_at_most_one_opening_and_one_closing_in_that_order() {
    let folder = Folder::new();
    let store = folder.open();
    let one = decision();
    assert!(matches!(
        store.append(closing(one)).await,
        Err(Error::NoOpening { decision }) if decision == one
    ));
    store.append(opening(one)).await.unwrap();
    assert!(matches!(
        store.append(opening(one)).await,
        Err(Error::AlreadyRecorded {
            kind: EntryKind::Open,
            ..
        })
    ));
    store.append(closing(one)).await.unwrap();
    let error = store.append(closing(one)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("decision `{one}` has its `close` entry already")
    );
    let kinds: Vec<EntryKind> = whole_log(&store)
        .await
        .iter()
        .map(|entry| entry.kind)
        .collect();
    assert_eq!(kinds, [EntryKind::Open, EntryKind::Close]);
}

#[tokio::test]
async fn entries_can_neither_be_changed_nor_deleted() {
    let folder = Folder::new();
    let store = folder.open();
    store.append(opening(decision())).await.unwrap();
    for sql in ["UPDATE entry SET at = ''", "DELETE FROM entry"] {
        let refused = store
            .write("tamper", move |db| Ok(db.execute(sql, ())?))
            .await;
        assert!(matches!(refused, Err(Error::Failed { .. })), "{sql}");
    }
}

#[tokio::test]
async fn what_an_earlier_process_left_open_is_unclosed_and_nothing_else() {
    let folder = Folder::new();
    let (closed, left, later) = (decision(), decision(), decision());
    let store = folder.open();
    for entry in [opening(closed), opening(left), closing(closed)] {
        store.append(entry).await.unwrap();
    }
    assert!(
        store.unclosed().await.unwrap().is_empty(),
        "its own are still at work"
    );
    store.close().await;

    let store = folder.open();
    store.append(opening(later)).await.unwrap();
    let unclosed: Vec<DecisionId> = store
        .unclosed()
        .await
        .unwrap()
        .iter()
        .map(|entry| entry.decision)
        .collect();
    assert_eq!(unclosed, [left]);
    store.append(closing(left)).await.unwrap();
    assert!(store.unclosed().await.unwrap().is_empty());
}

/// Five openings: two on `shop` (one of them in a namespace), of two operations.
async fn filled(store: &Store) -> Vec<DecisionId> {
    let elsewhere = AppRef {
        namespace: Some("team-a".into()),
        name: "shop".into(),
    };
    let mut made = Vec::new();
    for (applications, operation, commits) in [
        (vec![app("shop")], "app/Get", vec![]),
        (vec![elsewhere.clone()], "app/Sync", vec!["c1"]),
        (vec![app("blog")], "app/Sync", vec!["c2"]),
        (Vec::new(), "version/Version", vec![]),
        (
            vec![app("shop"), elsewhere, app("shop")],
            "app/Sync",
            vec!["c1", "c2"],
        ),
    ] {
        let decision = decision();
        let entry = NewEntry {
            applications,
            operation: Some(operation.into()),
            commits: commits.into_iter().map(str::to_owned).collect(),
            ..opening(decision)
        };
        store.append(entry).await.unwrap();
        made.push(decision);
    }
    store.append(closing(made[1])).await.unwrap();
    made
}

/// What a filter asks for, and which of [`filled`] it finds.
type Case = (fn(&mut DecisionFilter), &'static [usize]);

#[tokio::test]
async fn decisions_are_listed_newest_first_as_the_filter_asks() {
    let folder = Folder::new();
    let store = folder.open();
    let made = filled(&store).await;
    let cases: [Case; 11] = [
        (|_| {}, &[4, 3, 2, 1, 0]),
        (|filter| filter.limit = 2, &[4, 3]),
        (|filter| filter.before = Some(Seq(3)), &[2, 1, 0]),
        (
            |filter| filter.application = Some("shop".into()),
            &[4, 1, 0],
        ),
        (|filter| filter.application = Some("nothing".into()), &[]),
        (
            |filter| filter.operation = Some("app/Sync".into()),
            &[4, 2, 1],
        ),
        (
            |filter| {
                filter.application = Some("shop".into());
                filter.before = Some(Seq(4));
                filter.limit = 1;
            },
            &[1],
        ),
        (
            |filter| {
                filter.application = Some("shop".into());
                filter.application_namespace = Some("team-a".into());
            },
            &[4, 1],
        ),
        (
            |filter| {
                filter.application = Some("shop".into());
                filter.operation = Some("app/Get".into());
            },
            &[0],
        ),
        (|filter| filter.commit = Some("c1".into()), &[4, 1]),
        (
            |filter| {
                filter.commit = Some("c2".into());
                filter.application = Some("blog".into());
            },
            &[2],
        ),
    ];
    for (ask, expected) in cases {
        let mut filter = DecisionFilter {
            limit: 10,
            ..DecisionFilter::default()
        };
        ask(&mut filter);
        let found = store.decisions(filter.clone()).await.unwrap();
        let found: Vec<DecisionId> = found.iter().map(|it| it.opening.decision).collect();
        let expected: Vec<DecisionId> = expected.iter().map(|n| made[*n]).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_listed_decision_carries_its_closing() {
    let folder = Folder::new();
    let store = folder.open();
    let made = filled(&store).await;
    let filter = DecisionFilter {
        limit: 10,
        ..DecisionFilter::default()
    };
    for listed in store.decisions(filter).await.unwrap() {
        let closed = listed.opening.decision == made[1];
        assert_eq!(listed.closing.is_some(), closed);
    }
}

#[tokio::test]
async fn no_query_of_decisions_reads_or_sorts_more_than_concerns_it() {
    let folder = Folder::new();
    let store = folder.open();
    for (application, operation, commit, before) in [
        (None, None, None, None),
        (None, Some("x"), None, None),
        (None, None, Some("x"), None),
        (None, Some("x"), Some("x"), Some(Seq(9))),
        (Some("x"), None, Some("x"), None),
        (Some("x"), None, None, None),
        (Some("x"), Some("x"), None, Some(Seq(9))),
        (None, Some("x"), None, Some(Seq(9))),
    ] {
        let filter = DecisionFilter {
            before,
            application: application.map(String::from),
            application_namespace: application.map(String::from),
            commit: commit.map(String::from),
            operation: operation.map(String::from),
            limit: 5,
        };
        let (sql, values) = super::super::log::decisions_sql(&filter).unwrap();
        let plan = plan_of(&store, sql, values).await;
        assert!(!plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
        if application.is_some() || operation.is_some() || commit.is_some() {
            assert!(!plan.contains("SCAN"), "{filter:?}: {plan}");
        }
    }
}

/// What `SQLite` says about how it would run `sql`.
pub(super) async fn plan_of(
    store: &Store,
    sql: String,
    values: Vec<rusqlite::types::Value>,
) -> String {
    store
        .read("explain", move |db| {
            let mut query = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let values = rusqlite::params_from_iter(values);
            let lines = query.query_map(values, |row| row.get::<_, String>("detail"))?;
            Ok(lines.collect::<Result<Vec<_>, _>>()?.join("; "))
        })
        .await
        .unwrap()
}
