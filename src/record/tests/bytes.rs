//! The fixed bytes: their form, what is never in them, what verification finds.

use super::*;
use crate::digest::hex;

/// A decision whose identifier is always the same.
fn fixed() -> DecisionId {
    DecisionId("01JDC7Q4800000000000000000".parse().unwrap())
}

fn stored(entry: &Entry, seq: u64) -> StoredEntry {
    let new = entry.encode().unwrap();
    StoredEntry {
        seq: Seq(seq),
        decision: new.decision,
        kind: new.kind,
        at: new.at,
        bytes: new.bytes,
        leaf: new.leaf,
    }
}

fn closing(decision: DecisionId) -> Entry {
    Entry::Close(Closing {
        decision,
        at: noon(),
        outcome: forwarded(),
        detail: None,
    })
}

/// If this fails, logs that exist can no longer be verified: give the new form a new `format`.
#[test]
fn the_bytes_of_format_1_stay_what_they_are() {
    let open = Entry::Open(Box::new(opening(fixed()))).encode().unwrap();
    assert_eq!(
        String::from_utf8(open.bytes).unwrap(),
        format!(
            concat!(
                r#"{{"applications":[{{"name":"shop-prod","namespace":null}}],"#,
                r#""at":"2026-11-23T12:00:00Z","caller":{{"display":"alice@example.com","#,
                r#""roles":["engineer"],"unique":"https://issuer#alice"}},"#,
                r#""decision":"01JDC7Q4800000000000000000","determining":["policy0"],"#,
                r#""door":"api","effect":"deploy","#,
                r#""evaluation":{{"context":{{"finding":"exempt"}}}},"format":1,"kind":"open","#,
                r#""operation":"application.ApplicationService/Sync","planned":[],"#,
                r#""policy_digest":"{}","remote":"10.0.0.7","request":null,"#,
                r#""schema_digest":"{}","wire":"grpc-web","word":"permit"}}"#
            ),
            "p".repeat(64),
            "s".repeat(64)
        )
    );
    let close = closing(fixed()).encode().unwrap();
    assert_eq!(
        String::from_utf8(close.bytes.clone()).unwrap(),
        concat!(
            r#"{"at":"2026-11-23T12:00:00Z","decision":"01JDC7Q4800000000000000000","#,
            r#""detail":null,"format":1,"kind":"close","outcome":{"bytes":345,"#,
            r#""kind":"forwarded","status":{"grpc":0},"upstream_ms":12}}"#
        )
    );
    assert_eq!(close.leaf, leaf_hash(&close.bytes));
}

#[test]
fn an_entry_of_an_unknown_format_is_not_guessed_at() {
    let mut row = stored(&closing(fixed()), 3);
    row.bytes = String::from_utf8(row.bytes)
        .unwrap()
        .replace("format\":1", "format\":2")
        .into();
    let error = Entry::decode(&row).unwrap_err();
    assert!(matches!(error, Error::Format { seq: Seq(3) }), "{error:?}");
}

#[test]
fn an_entry_that_is_too_large_is_refused() {
    let huge = Opening {
        request: json!("x".repeat(MAX_BYTES)),
        ..opening(fixed())
    };
    let error = Entry::Open(Box::new(huge)).encode().unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { bytes } if bytes > MAX_BYTES),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_closing_is_stored_however_long_its_detail() {
    let folder = Folder::new();
    let store = folder.open();
    let id = decision();
    let mut record = recorder(&store)
        .open(opening(id), Durability::BeforeProceeding)
        .await
        .unwrap();
    record.note("ß".repeat(MAX_BYTES));
    record.close(forwarded()).await;
    let detail = show(&store, id)
        .await
        .unwrap()
        .unwrap()
        .closing
        .unwrap()
        .detail
        .unwrap();
    assert!(detail.len() <= 16 << 10 && detail.chars().all(|c| c == 'ß'));
}

#[tokio::test]
async fn no_credential_reaches_the_file() {
    const CANARY: &str = "eyJhbGciOiJSUzI1NiJ9.Y2FuYXJ5LWNhbmFyeS1jYW5hcnk.c2lnbmF0dXJl";
    let folder = Folder::new();
    let store = folder.open();
    let id = decision();
    let careless = Opening {
        request: json!({
            "info": [format!("break-glass=my token is {CANARY}")],
            "headers": {"authorization": CANARY, "cookie": format!("argocd.token={CANARY}")},
        }),
        evaluation: json!({"context": {"justification": format!("Bearer {CANARY}")}}),
        operation: format!("/api/v1/session?token={CANARY}"),
        applications: vec![app(CANARY)],
        ..opening(id)
    };
    let mut record = recorder(&store)
        .open(careless, Durability::BeforeProceeding)
        .await
        .unwrap();
    record.note(format!("upstream said: bad token {CANARY}"));
    record
        .close(Outcome::Failed {
            stage: format!("forward {CANARY}"),
        })
        .await;
    assert_eq!(whole_log(&store).await.len(), 2);

    for suffix in ["", "-wal"] {
        let path = format!("{}{suffix}", folder.path().display());
        let bytes = std::fs::read(path).unwrap();
        for part in CANARY.split('.') {
            let found = bytes
                .windows(part.len())
                .any(|window| window == part.as_bytes());
            assert!(!found, "`{part}` is in the file{suffix}");
        }
    }
    let shown = show(&store, id).await.unwrap().unwrap();
    assert_eq!(
        shown.opening.request["info"][0],
        "break-glass=my token is [credential removed]"
    );
    verify_rows(&whole_log(&store).await).unwrap();
}

// --- verification -------------------------------------------------------------------------------

fn log_of_three() -> Vec<StoredEntry> {
    let (one, two) = (decision(), decision());
    vec![
        stored(&Entry::Open(Box::new(opening(one))), 0),
        stored(&Entry::Open(Box::new(opening(two))), 1),
        stored(&closing(one), 2),
    ]
}

#[test]
fn a_log_as_it_was_written_verifies_to_the_root_over_its_leaves() {
    let rows = log_of_three();
    let verified = verify_rows(&rows).unwrap();
    assert_eq!(verified.entries, 3);
    let [a, b, c] = [rows[0].leaf, rows[1].leaf, rows[2].leaf];
    assert_eq!(hex(&verified.root), hex(&node_hash(&node_hash(&a, &b), &c)));
}

/// The flaw found after `tamper`, and where.
fn found(tamper: impl FnOnce(&mut Vec<StoredEntry>)) -> (u64, Flaw) {
    let mut rows = log_of_three();
    tamper(&mut rows);
    let bad = verify_rows(&rows).unwrap_err();
    (bad.seq.0, bad.flaw)
}

fn rehash(row: &mut StoredEntry, from: &str, to: &str) {
    let text = String::from_utf8(row.bytes.clone()).unwrap();
    assert!(text.contains(from));
    row.bytes = text.replace(from, to).into_bytes();
    row.leaf = leaf_hash(&row.bytes);
}

#[test]
fn the_first_bad_entry_is_named_with_what_is_wrong() {
    let place = |n| Flaw::Place { expected: Seq(n) };
    assert_eq!(found(|rows| rows[1].bytes[9] ^= 1), (1, Flaw::Leaf));
    assert_eq!(found(|rows| rows[2].leaf[31] ^= 1), (2, Flaw::Leaf));
    assert_eq!(found(|rows| drop(rows.remove(1))), (2, place(1)));
    assert_eq!(found(|rows| drop(rows.remove(0))), (1, place(0)));
    assert_eq!(found(|rows| rows.swap(0, 1)), (1, place(0)));
    assert_eq!(
        found(|rows| rows[1].decision = decision()),
        (1, Flaw::Columns)
    );
    assert_eq!(
        found(|rows| rows[1].kind = EntryKind::Close),
        (1, Flaw::Columns)
    );
    assert_eq!(
        found(|rows| rows[1].at = instant("2026-11-23T13:00:00Z")),
        (1, Flaw::Columns)
    );
    assert_eq!(
        found(|rows| rehash(&mut rows[0], "{\"app", "{ \"app")),
        (0, Flaw::NotCanonical)
    );
    assert_eq!(
        found(|rows| rehash(&mut rows[0], "\"door\"", "\"dior\"")),
        (0, Flaw::Unreadable)
    );
}

#[test]
fn a_closing_without_its_opening_is_bad() {
    let orphan = stored(&closing(decision()), 0);
    let bad = verify_rows([&orphan]).unwrap_err();
    assert_eq!(bad.flaw, Flaw::NoOpening);
    let twice = found(|rows| {
        let again = StoredEntry {
            seq: Seq(3),
            ..rows[2].clone()
        };
        rows.push(again);
    });
    assert_eq!(twice, (3, Flaw::NoOpening));
    assert_eq!(
        bad.to_string(),
        format!(
            "log entry 0 (decision {}) is bad: it closes what is not open",
            orphan.decision
        )
    );
}
