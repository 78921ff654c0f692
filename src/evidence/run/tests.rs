//! What a body may hold, and what is said where it does not.

use super::*;

fn new_run() -> serde_json::Value {
    serde_json::json!({
        "application": "checkout-staging", "suite": "integration",
        "collected": {"tests": 1, "digest": "0".repeat(64), "deselected": 0},
        "tool": {"name": "pytest", "version": "8.4.1"},
        "started_at": "2026-11-23T04:00:00Z",
    })
}

fn refusal(change: impl Fn(&mut serde_json::Value)) -> String {
    let mut body = new_run();
    change(&mut body);
    let body = body.to_string();
    let error = match read::<NewRun>(body.as_bytes()) {
        Ok(run) => run.check().unwrap_err(),
        Err(error) => error,
    };
    error.to_string()
}

#[test]
fn a_run_needs_no_more_than_its_application_suite_tests_tool_and_start() {
    let run: NewRun = read(new_run().to_string().as_bytes()).unwrap();
    run.check().unwrap();
    assert_eq!(run.application_ref().to_string(), "checkout-staging");
    assert_eq!(run.dirty, None);
}

#[test]
fn a_refusal_names_the_field_and_the_mend() {
    insta::assert_snapshot!(
        refusal(|b| b["collected"]["tests"] = "1".into()),
        @r#"`collected.tests`: invalid type: string "1", expected u64 at line 1 column 80; send what `/syncgate/openapi.json` describes"#
    );
    insta::assert_snapshot!(
        refusal(|b| b["suite"] = "two words".into()),
        @r#"`suite`: "two words" is not a suite name (letters, digits, `-_./:`, at most 128) at line 1 column 53; send what `/syncgate/openapi.json` describes"#
    );
    insta::assert_snapshot!(
        refusal(|b| b["verdict"] = "passed".into()),
        @"`verdict`: unknown field `verdict`, expected one of `application`, `application_namespace`, `environment`, `suite`, `commits`, `dirty`, `collected`, `tool`, `options`, `started_at` at line 1 column 259; send what `/syncgate/openapi.json` describes"
    );
    insta::assert_snapshot!(
        refusal(|b| b["application"] = "../prod".into()),
        @"`application`: `../prod` is not the name of a Kubernetes object; send lower-case letters, digits, `-` and `.`, at most 253"
    );
    insta::assert_snapshot!(
        refusal(|b| b["commits"] = serde_json::json!([])),
        @"`commits`: the list is empty; send `null` where no commit is known"
    );
}

#[test]
fn a_batch_has_bounds_and_messages_are_cut_at_a_character() {
    let attempt = Attempt {
        test: "t".into(),
        attempt: 1,
        outcome: Outcome::Failed,
        duration_ms: 1,
        started_at: Timestamp::UNIX_EPOCH,
        message: Some("é".repeat(MAX_MESSAGE_BYTES)),
        worker: None,
    };
    let mut batch = AttemptBatch {
        sequence: 0,
        attempts: vec![attempt.clone()],
    };
    batch.check().unwrap();
    assert_eq!(
        batch.attempts[0].message.as_ref().unwrap().len(),
        MAX_MESSAGE_BYTES
    );

    for (change, path) in [
        (
            (|a: &mut Attempt| a.attempt = 0) as fn(&mut Attempt),
            "attempts[0].attempt",
        ),
        (|a| a.test = "a\nb".into(), "attempts[0].test"),
        (
            |a| a.test = "t".repeat(MAX_TEST_NAME_BYTES + 1),
            "attempts[0].test",
        ),
        (|a| a.worker = Some(String::new()), "attempts[0].worker"),
    ] {
        let mut wrong = attempt.clone();
        change(&mut wrong);
        let mut batch = AttemptBatch {
            sequence: 0,
            attempts: vec![wrong],
        };
        assert_eq!(batch.check().unwrap_err().path, path);
    }
    batch.attempts = vec![attempt; MAX_BATCH_ATTEMPTS + 1];
    assert_eq!(batch.check().unwrap_err().path, "attempts");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let _ = read::<NewRun>(&bytes);
        let _ = read::<AttemptBatch>(&bytes);
        let _ = read::<Finish>(&bytes);
    }
}
