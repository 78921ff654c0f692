//! Credentials stay where they belong: none is in an answer, a log line, the store or a metric.

use bytes::Bytes;

use crate::world::{Call, GATE_TOKEN, Outside, Process, Wire, eventually};

/// Everything that the gate keeps or prints.
async fn everything(process: &Process, outside: &Outside) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![("printed".to_owned(), process.printed().into_bytes())];
    for file in std::fs::read_dir(outside.path()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("syncgate.db") && path.is_file() {
            all.push((name, std::fs::read(&path).unwrap()));
        }
    }
    let metrics = process.admin.rest("GET", "/metrics", "", "").await;
    all.push(("metrics".to_owned(), metrics.body.to_vec()));
    let ready = process.admin.rest("GET", "/ready", "", "").await;
    all.push(("ready".to_owned(), ready.body.to_vec()));
    all
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn no_token_is_anywhere_but_where_it_must_be() {
    let outside = Outside::start().await;
    let process = Process::serve_with(&outside, &["--log-filter", "debug"], None).await;
    let (alice, rita, tests) = (outside.alice(), outside.rita(), outside.tests());
    let bad = outside.issuer.bad_tokens();
    let mut answers = Vec::new();
    for wire in Wire::ALL {
        for call in [
            Call::sync("checkout-staging"),
            Call::list(),
            Call::get("checkout-prod"),
        ] {
            answers.push(process.gate.ask(wire, &alice, &call).await);
        }
        answers.push(
            process
                .gate
                .ask(wire, &rita, &Call::sync("checkout-prod"))
                .await,
        );
        for (_, token) in &bad {
            answers.push(process.gate.ask(wire, token, &Call::list()).await);
        }
        let both = [
            ("token", alice.clone()),
            ("authorization", format!("Bearer {rita}")),
        ];
        answers.push(process.gate.ask_with(wire, &both, &Call::list()).await);
    }
    process.gate.report(&tests, "passed").await;
    // What a caller pastes where it does not belong.
    let pasted = format!(r#"{{"revision": "{alice}"}}"#);
    let path = "/api/v1/applications/checkout-staging/sync";
    answers.push(process.gate.rest("POST", path, &alice, &pasted).await);
    let path = format!("/api/v1/applications/checkout-staging?token={alice}");
    answers.push(process.gate.rest("GET", &path, &alice, "").await);
    answers.push(process.gate.rest("GET", "/", &alice, "").await);
    let mut all: Vec<(String, Vec<u8>)> = answers
        .into_iter()
        .map(|said| {
            let head = format!("{:?} {:?}", said.headers, said.trailers);
            let bytes = [Bytes::from(head), said.body].concat();
            ("an answer".to_owned(), bytes)
        })
        .collect();
    // The last entries are written behind the answers.
    let sync = eventually("records", || async {
        let kept = everything(&process, &outside).await;
        let text = String::from_utf8_lossy(&kept[0].1).into_owned();
        text.contains("\"refused\"").then_some(kept)
    });
    all.extend(sync.await);
    let good = [("alice", alice), ("rita", rita), ("the tests", tests)];
    let mut canaries = vec![("the gate", GATE_TOKEN.to_owned())];
    canaries.extend(good);
    canaries.extend(bad.into_iter().filter(|(_, token)| token.len() > 30));
    for (whose, token) in canaries {
        // The signature alone would be enough to replay the rest, which can be guessed.
        let signature = token.rsplit('.').next().unwrap().to_owned();
        for secret in [token, signature]
            .into_iter()
            .filter(|text| text.len() > 10)
        {
            for (place, bytes) in &all {
                let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
                assert!(!found, "the token of {whose} is in {place}");
            }
        }
    }
}
