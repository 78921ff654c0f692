//! Files that pytest wrote, and others.

use proptest::prelude::*;

use super::*;

fn now() -> Timestamp {
    "2026-11-23T14:00:00Z".parse().unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reportlog");
    std::fs::read(folder.join(name)).unwrap()
}

fn lines(report: &Report) -> String {
    let line = |a: &Attempt| format!("{}#{} {}", a.test, a.attempt, a.outcome.word());
    report
        .attempts
        .iter()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_outcome_and_every_retry_of_pytest_is_read() {
    let report = read(&fixture("pytest-9.2-rerunfailures.jsonl"), now()).unwrap();
    insta::assert_snapshot!(lines(&report), @r"
    tests/test_checkout.py::test_total#1 passed
    tests/test_checkout.py::test_currency[EUR]#1 passed
    tests/test_checkout.py::test_currency[USD]#1 passed
    tests/test_checkout.py::test_currency[\xa5 <&>]#1 passed
    tests/test_checkout.py::test_discount#1 failed
    tests/test_checkout.py::test_discount#2 failed
    tests/test_checkout.py::test_card#1 skipped
    tests/test_checkout.py::test_rounding#1 xfailed
    tests/test_checkout.py::test_unexpectedly_fine#1 xpassed
    tests/test_checkout.py::test_with_broken_fixture#1 error
    tests/test_checkout.py::test_with_broken_fixture#2 error
    tests/test_checkout.py::TestCart::test_empty#1 passed
    tests/test_checkout.py::test_flaky#1 failed
    tests/test_checkout.py::test_flaky#2 passed
    ");
    assert_eq!((report.exit_status, report.interrupted), (1, false));
    assert_eq!(report.tool.version.as_deref(), Some("9.2.0"));
    let failed = report
        .attempts
        .iter()
        .find(|a| a.outcome == Outcome::Failed)
        .unwrap();
    assert!(
        failed
            .message
            .as_deref()
            .unwrap()
            .contains("discount is off by <one>")
    );
    let skipped = report
        .attempts
        .iter()
        .find(|a| a.outcome == Outcome::Skipped)
        .unwrap();
    assert_eq!(
        skipped.message.as_deref(),
        Some("Skipped: no card reader here")
    );
}

#[test]
fn a_passing_run_has_the_collection_that_the_plugin_would_declare() {
    let report = read(&fixture("pytest-9.2.jsonl"), now()).unwrap();
    assert_eq!(report.exit_status, 0);
    let names = "tests/test_green.py::test_one\ntests/test_green.py::test_two";
    assert_eq!(
        report.collected.digest,
        crate::digest::sha256_hex(names.as_bytes())
    );
    assert!(report.started_at < report.finished_at);
}

#[test]
fn a_file_that_breaks_off_is_of_an_interrupted_run() {
    let whole = fixture("pytest-9.2.jsonl");
    let text = String::from_utf8(whole).unwrap();
    let (cut, _) = text.trim_end().rsplit_once('\n').unwrap();
    let report = read(cut.as_bytes(), now()).unwrap();
    assert!(report.interrupted);
    // In the middle of a line, it is not a report log any more.
    let broken = read(&text.as_bytes()[..text.len() - 10], now())
        .unwrap_err()
        .to_string();
    assert!(broken.starts_with("line "), "{broken}");
}

#[test]
fn a_failing_tear_down_or_collector_is_an_error() {
    let log = r#"{"$report_type":"SessionStart","pytest_version":"9"}
{"$report_type":"CollectReport","nodeid":"b.py","outcome":"failed","longrepr":"SyntaxError"}
{"$report_type":"TestReport","nodeid":"a","when":"setup","outcome":"passed"}
{"$report_type":"TestReport","nodeid":"a","when":"call","outcome":"passed","worker_id":"gw1"}
{"$report_type":"TestReport","nodeid":"a","when":"teardown","outcome":"failed"}
{"$report_type":"SessionFinish","exitstatus":2}"#;
    let report = read(log.as_bytes(), now()).unwrap();
    assert_eq!(lines(&report), "b.py#1 error\na#1 error");
    assert!(report.interrupted);
}

#[test]
fn other_files_are_refused_with_the_line() {
    let start = r#"{"$report_type":"SessionStart","pytest_version":"9"}"#;
    let twice = format!("{start}\n{start}");
    let odd = format!(
        r#"{start}
{{"$report_type":"TestReport","nodeid":"a","when":"call","outcome":"fine"}}"#
    );
    for (log, problem) in [
        ("", "it has no `SessionStart`"),
        ("<testsuite/>", "line 1: "),
        ("[]", "line 1: there is no `$report_type`"),
        (twice.as_str(), "line 2: a second session"),
        (odd.as_str(), "line 2: `outcome` is `\"fine\"`"),
    ] {
        let told = read(log.as_bytes(), now()).unwrap_err().to_string();
        assert!(told.contains(problem), "{log}: {told}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes, now());
    }

    /// Whatever the phases of a test are, in whatever order: a bad one is heard.
    #[test]
    fn a_bad_phase_is_never_lost(
        phases in proptest::collection::vec((
            proptest::sample::select(&["setup", "call", "teardown"][..]),
            proptest::sample::select(&["passed", "failed", "skipped", "rerun"][..]),
        ), 1..8),
    ) {
        let mut log = vec![serde_json::json!({"$report_type": "SessionStart"})];
        for (when, outcome) in &phases {
            log.push(serde_json::json!({
                "$report_type": "TestReport", "nodeid": "a", "when": when, "outcome": outcome,
            }));
        }
        let log: Vec<String> = log.iter().map(ToString::to_string).collect();
        let log = log.join("\n");
        let report = read(log.as_bytes(), now()).unwrap();
        let was_bad = phases.iter().any(|(_, outcome)| matches!(*outcome, "failed" | "rerun"));
        prop_assert_eq!(report.attempts.iter().any(|a| a.outcome.is_bad()), was_bad);
    }
}
