//! Stopped lines.

use super::*;

fn stop(by: &str) -> Stop {
    Stop {
        by: format!("{by}@shop.example"),
        caller: format!("https://idp#{by}"),
        at: instant("2026-11-23T14:02:24Z"),
        reason: "payments fail".into(),
        decision: decision(),
    }
}

async fn stopped(store: &Store) -> Vec<(String, String)> {
    let lines = store.stopped_lines().await.unwrap();
    let lines = lines.into_iter();
    lines
        .map(|line| (line.environment.to_string(), line.stop.by))
        .collect()
}

#[tokio::test]
async fn a_line_stays_with_its_first_stop_until_it_is_started() {
    let folder = Folder::new();
    let store = folder.open();
    let (prod, staging) = (environment("prod"), environment("staging"));
    let first = stop("sam");
    let stored = store.stop_line(prod.clone(), first.clone()).await.unwrap();
    assert_eq!(stored, first);
    let stored = store.stop_line(prod.clone(), stop("rita")).await.unwrap();
    assert_eq!(stored, first);
    store.stop_line(staging, stop("alice")).await.unwrap();
    store.close().await;

    let store = folder.open();
    let pair = |environment: &str, by: &str| (environment.to_owned(), by.to_owned());
    let staging = pair("staging", "alice@shop.example");
    assert_eq!(
        stopped(&store).await,
        [pair("prod", "sam@shop.example"), staging.clone()]
    );
    assert_eq!(store.start_line(prod.clone()).await.unwrap(), Some(first));
    assert_eq!(store.start_line(prod.clone()).await.unwrap(), None);
    assert_eq!(stopped(&store).await, [staging]);
    let again = stop("rita");
    let stored = store.stop_line(prod, again.clone()).await.unwrap();
    assert_eq!(stored, again);
}
