//! Statements as others sign them: what is read, what is refused, what becomes of them.

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::evidence::dsse::tests::fixture;

/// The statement about `attempts` at `commit` that an honest signer makes; no two are alike.
pub(crate) fn statement(commit: &str, attempts: &[Attempt]) -> Value {
    static JOBS: AtomicU32 = AtomicU32::new(0);
    let job = JOBS.fetch_add(1, Ordering::Relaxed);
    let tests = Tests::of(attempts);
    json!({
        "_type": STATEMENT,
        "subject": [{"name": "shop", "digest": {"gitCommit": commit}}],
        "predicateType": TEST_RESULT,
        "predicate": {
            "result": TestOutcome::of(tests.failed.is_empty(), &tests),
            "configuration": [{"name": "suite integration", "digest": {"sha256": "2".repeat(64)}}],
            "url": format!("https://ci.example/{job}"),
            "passedTests": tests.passed, "warnedTests": tests.warned, "failedTests": tests.failed,
        },
    })
}

fn good() -> Value {
    let mut good = statement(&"a".repeat(40), &[]);
    good["predicate"]["passedTests"] = json!(["b", "a"]);
    good
}

fn now() -> Timestamp {
    "2026-11-23T14:00:00.5Z".parse().unwrap()
}

fn refused(payload: &str) -> String {
    Claim::read(payload.as_bytes()).unwrap_err().to_string()
}

#[test]
fn an_envelope_of_securesystemslib_becomes_a_run() {
    for made_by in ["ecdsa", "ed25519", "rsa"] {
        let text = fixture(&format!("{made_by}.json"));
        let report = report(text.as_bytes(), now()).unwrap();
        let line = |a: &Attempt| format!("{}#{} {}", a.test, a.attempt, a.outcome.word());
        let lines: Vec<String> = report.attempts.iter().map(line).collect();
        insta::allow_duplicates! {
            insta::assert_snapshot!(lines.join("\n"), @r"
            tests/test_cart.py::test_empty#1 passed
            tests/test_cart.py::test_total[€]#1 passed
            tests/test_cart.py::test_flaky#1 failed
            tests/test_cart.py::test_flaky#2 passed
            ");
        }
        assert_eq!((report.exit_status, report.collected.tests), (0, 3));
        let attestation = report.attestation.unwrap();
        assert_eq!(attestation.commits, ["a".repeat(40)]);
        assert_eq!(attestation.envelope.as_str(), text.trim());
    }
}

#[test]
fn what_is_sent_is_kept_byte_for_byte() {
    let odd = "{ \"payload\" :\n\t\"\",  \"x\": [1.0e0, \"\\u00e9\"] }";
    let body = format!(
        "{{\"exit_status\": 0, \"finished_at\": \"2026-11-23T14:00:00Z\", \"batches\": 1, \"attempts\": 1, \"attestation\": {odd}}}"
    );
    let finish: crate::evidence::run::Finish = crate::evidence::run::read(body.as_bytes()).unwrap();
    assert_eq!(finish.attestation.as_ref().unwrap().as_str(), odd);
    let sent = serde_json::to_string(&finish).unwrap();
    assert!(sent.contains(odd), "{sent}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn hostile_and_broken_statements_are_refused_with_their_place() {
    let with = |pointer: &str, value: Value| {
        let mut statement = good();
        crate::json::set(&mut statement, pointer, value);
        statement.to_string()
    };
    let text = good().to_string();
    let long = "x".repeat(MAX_TEST_NAME_BYTES + 1);
    let many: Vec<String> = (0..=MAX_RUN_ATTEMPTS).map(|n| n.to_string()).collect();
    for (payload, told) in [
        (String::new(), "`payload`: not JSON"),
        ("\u{0}".to_owned(), "`payload`: not JSON"),
        (
            text.strip_suffix('}').unwrap().to_owned(),
            "`payload`: not JSON: EOF",
        ),
        (
            format!("{{\"a\":{}", "[".repeat(100_000)),
            "recursion limit",
        ),
        (
            text.replacen("\"result\"", "\"result\":\"PASSED\",\"result\"", 1),
            "`payload`: the member `result` is given twice",
        ),
        (
            text.replacen("\"gitCommit\"", "\"gitCommit\":\"b\",\"gitCommit\"", 1),
            "the member `gitCommit` is given twice",
        ),
        (
            with("/_type", json!("https://in-toto.io/Statement/v0.1")),
            "`payload._type`: it is `https://in-toto.io/Statement/v0.1`, not",
        ),
        (
            with("/predicateType", json!("https://slsa.dev/provenance/v1")),
            "`payload.predicateType`: it is `https://slsa.dev/provenance/v1`, not",
        ),
        (
            with("/predicate/result", json!("passed")),
            "`payload.predicate.result`: unknown variant `passed`",
        ),
        (
            with("/predicate/passedTests", json!("a")),
            "`payload.predicate.passedTests`: invalid type",
        ),
        (
            with("/predicate/passedTests", json!(["a", "a"])),
            "`payload.predicate.passedTests[1]`: the test is named before",
        ),
        (
            with("/predicate/failedTests", json!(["a"])),
            "`payload.predicate.failedTests[0]`: the test is named before",
        ),
        (
            with("/predicate/passedTests", json!(["a\nb"])),
            "`payload.predicate.passedTests[0]`: there is a control character",
        ),
        (
            with("/predicate/passedTests", json!([long])),
            "`payload.predicate.passedTests[0]`: the name is empty or too long",
        ),
        (
            with("/predicate/passedTests", json!(many)),
            "`payload.predicate`: there are 200001 tests; split the suite",
        ),
        (
            with("/subject", json!([{}])),
            "`payload.subject[0]`: missing field `digest`",
        ),
        (
            with("/predicate/configuration", Value::Null),
            "`payload.predicate.configuration`",
        ),
    ] {
        let error = refused(&payload);
        let beginning: String = payload.chars().take(80).collect();
        assert!(error.contains(told), "{beginning}: {error}");
        assert!(
            error.len() < 600 && !error.contains(char::is_control),
            "{error}"
        );
    }
    // Members that nobody knows are ignored.
    assert!(Claim::read(with("/predicate/more", json!({"a": [null]})).as_bytes()).is_ok());
}

proptest! {
    /// The attempts of a statement are classified as the statement says.
    #[test]
    fn a_statement_and_the_run_made_of_it_agree(
        names in prop::collection::btree_map("[a-z\u{e9} \\[\\]]{1,8}", 0..3_u8, 0..12),
        failed in any::<bool>(),
    ) {
        let of = |list: u8| -> Vec<String> {
            names.iter().filter(|(_, it)| **it == list).map(|(name, _)| name.clone()).collect()
        };
        let mut statement = good();
        statement["predicate"]["passedTests"] = json!(of(0));
        statement["predicate"]["warnedTests"] = json!(of(1));
        statement["predicate"]["failedTests"] = json!(of(2));
        statement["predicate"]["result"] = json!(if failed { "FAILED" } else { "WARNED" });
        let claim = Claim::read(statement.to_string().as_bytes()).unwrap();
        let report = claim.report(now());
        prop_assert_eq!(Tests::of(&report.attempts), claim.tests);
        prop_assert_eq!(report.exit_status, i32::from(failed));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
        let _ = Claim::read(&bytes);
        let _ = report(&bytes, now());
    }

    /// A statement of a run that failed, with parts of it taken out, changed or repeated, is refused, or
    /// still tells of a test that failed or of the result.
    #[test]
    fn no_part_that_is_taken_out_makes_a_failing_statement_pass(
        from in 0..600_usize, length in 1..40_usize, repeated in any::<bool>(),
    ) {
        let mut statement = good();
        statement["predicate"]["failedTests"] = json!(["c"]);
        statement["predicate"]["result"] = json!("FAILED");
        let text = statement.to_string().into_bytes();
        let (from, to) = (from.min(text.len()), (from + length).min(text.len()));
        let part = if repeated { text[from..to].repeat(2) } else { Vec::new() };
        let edited = [&text[..from], &part, &text[to..]].concat();
        if let Ok(claim) = Claim::read(&edited) {
            let report = claim.report(now());
            prop_assert!(report.exit_status != 0 || report.attempts.iter().any(|it| it.outcome.is_bad()));
        }
    }
}
