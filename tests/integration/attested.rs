//! Runs that somebody has signed, over sockets.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use syncgate::digest::sha256_hex;
use syncgate::evidence::dsse::{PAYLOAD_TYPE, pae};

use crate::evidence::begin_staging;
use crate::world::{FIRST, Said, World, report};

/// What says that `tests` passed at the first commit.
fn statement(tests: &[&str]) -> String {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"gitCommit": FIRST}}],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {"result": "PASSED", "configuration": [], "passedTests": tests},
    })
    .to_string()
}

/// The envelope of `payload`, signed by the one who is configured, in a form that no serialiser writes.
fn envelope(payload: &str) -> String {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let signature = pair.sign(&pae(PAYLOAD_TYPE, payload.as_bytes()));
    format!(
        "{{ \"signatures\":[ {{\"sig\": {:?}}} ],\n\"payloadType\": {PAYLOAD_TYPE:?}, \"payload\":{:?}}}",
        STANDARD.encode(signature),
        STANDARD.encode(payload)
    )
}

/// A run of two tests, reported to its end.
async fn begun(world: &World) -> (String, Value) {
    let report = report(&["a:passed", "b:passed"]);
    let opened = report.open(world).await;
    let run = opened.json()["run"].as_str().unwrap().to_owned();
    let batch = json!({"sequence": 0, "attempts": report.attempts}).to_string();
    let path = format!("/syncgate/v1/runs/{run}/attempts");
    let said = world
        .gate
        .rest("POST", &path, &world.outside.tests(), &batch)
        .await;
    assert_eq!(said.status, 200, "{said:?}");
    (run, report.end)
}

async fn finish(world: &World, run: &str, end: &Value, attestation: &str) -> Said {
    let end = end.to_string();
    let end = end.strip_suffix('}').unwrap();
    let body = format!("{end}, \"attestation\": {attestation}}}");
    let path = format!("/syncgate/v1/runs/{run}/finish");
    world
        .gate
        .rest("POST", &path, &world.outside.tests(), &body)
        .await
}

#[tokio::test]
async fn an_attestation_is_kept_as_it_was_sent_and_its_signer_is_on_record() {
    let world = World::new().await;
    begin_staging(&world).await;
    let (run, end) = begun(&world).await;
    let payload = statement(&["a", "b"]);
    let sent = envelope(&payload);
    let said = finish(&world, &run, &end, &sent).await;
    assert_eq!(said.status, 200, "{said:?}");
    let attested = json!({"signed_by": ["ci"], "payload_sha256": sha256_hex(payload.as_bytes())});
    assert_eq!(said.json()["attestation"], attested);
    let record = world.record(said.decision()).await;
    assert_eq!(record.opening.request["attestation"], attested);

    let alice = world.outside.alice();
    let get = async |path: String, token: &str| world.gate.rest("GET", &path, token, "").await;
    let kept = get(format!("/syncgate/v1/runs/{run}/attestation"), &alice).await;
    assert_eq!((kept.status, &kept.body[..]), (200, sent.as_bytes()));
    let shown = get(format!("/syncgate/v1/runs/{run}"), &alice).await.json();
    assert_eq!(shown["result"]["attestation"], attested);
    // Who may not read the run may not read what was signed about it.
    let nobody = world.outside.nobody();
    let hidden = get(format!("/syncgate/v1/runs/{run}/attestation"), &nobody).await;
    assert_eq!(hidden.status, 404);
}

#[tokio::test]
async fn what_does_not_hold_is_a_problem_with_a_code_and_the_run_goes_on() {
    let world = World::new().await;
    begin_staging(&world).await;
    let (run, end) = begun(&world).await;
    let good = envelope(&statement(&["a", "b"]));
    let edited = good.replace(
        &STANDARD.encode(statement(&["a", "b"])),
        &STANDARD.encode(statement(&["a", "c"])),
    );
    for (attestation, code) in [
        ("{}".to_owned(), "attestation-invalid"),
        ("\"text\"".to_owned(), "attestation-invalid"),
        (
            envelope("{\"_type\": 1, \"_type\": 2}"),
            "attestation-invalid",
        ),
        (edited, "attestation-unverified"),
        (envelope(&statement(&["a"])), "attestation-tests"),
        (
            envelope(&statement(&["a", "b"]).replace(FIRST, &"b".repeat(40))),
            "attestation-subject",
        ),
        (
            envelope(&statement(&["a", "b"]).replace("PASSED", "FAILED")),
            "attestation-result",
        ),
    ] {
        let said = finish(&world, &run, &end, &attestation).await;
        assert_eq!(
            (said.status, &said.json()["code"]),
            (409, &json!(code)),
            "{said:?}"
        );
        assert!(said.sentence().contains("; "), "{said:?}");
    }
    let path = format!("/syncgate/v1/runs/{run}");
    let shown = world
        .gate
        .rest("GET", &path, &world.outside.alice(), "")
        .await
        .json();
    assert_eq!(shown["result"], Value::Null);
    // Without it, as it could have been from the start.
    let path = format!("{path}/finish");
    let body = end.to_string();
    let said = world
        .gate
        .rest("POST", &path, &world.outside.tests(), &body)
        .await;
    assert_eq!(
        (said.status, &said.json()["verdict"]),
        (200, &json!("passed")),
        "{said:?}"
    );
    assert_eq!(said.json()["attestation"], Value::Null);
    let path = format!("/syncgate/v1/runs/{run}/attestation");
    let none = world
        .gate
        .rest("GET", &path, &world.outside.alice(), "")
        .await;
    assert_eq!(none.status, 404, "{none:?}");
}
