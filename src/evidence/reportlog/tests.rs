//! Files that pytest wrote, and others.

use proptest::prelude::*;

use super::*;

fn now() -> Timestamp {
    "2026-11-23T14:00:00Z".parse().unwrap()
}

fn read(lines: &[u8], now: Timestamp) -> Result<Report, ReadError> {
    super::read(lines, now, &mut |_| {})
}

fn refused(log: &str) -> String {
    read(log.as_bytes(), now()).unwrap_err().to_string()
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
    // Also in the middle of a line, wherever that is; what was reported before stays.
    for end in 1..text.trim_end().len() {
        match read(&text.as_bytes()[..end], now()) {
            Ok(report) => assert!(report.interrupted, "up to byte {end}"),
            // Within the first line, it is no report log yet.
            Err(error) => assert!(
                !text.as_bytes()[..end].contains(&b'\n'),
                "up to byte {end}: {error}"
            ),
        }
    }
    // A line that is broken and ended is no end.
    let broken = refused(&format!("{}\n", text.split_at(text.len() - 10).0));
    assert!(
        broken.contains("this is no record of pytest-reportlog"),
        "{broken}"
    );
}

/// What pytest 9.2 printed: 6 failed, 5 passed, 1 skipped, 1 xfailed, 2 errors, 2 subtests passed,
/// 2 rerun; a test that failed and tore down badly is counted twice there.
#[test]
fn sub_tests_are_tests_of_their_own() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/junit/pytest.jsonl");
    let report = read(&std::fs::read(file).unwrap(), now()).unwrap();
    insta::assert_snapshot!(lines(&report), @r"
    test_cart.py::test_passes#1 passed
    test_cart.py::test_fails#1 failed
    test_cart.py::test_errs#1 error
    test_cart.py::test_fails_and_tears_down_badly#1 failed
    test_cart.py::test_skipped#1 skipped
    test_cart.py::test_expected#1 xfailed
    test_cart.py::test_unexpected#1 failed
    test_cart.py::test_coin[EUR]#1 passed
    test_cart.py::test_coin[\u65e5\u672c\u5186]#1 failed
    test_cart.py::test_coin[a\nb]#1 passed
    test_cart.py::TestNested::test_größe#1 passed
    test_cart.py::test_flaky#1 failed
    test_cart.py::test_flaky#2 passed
    test_cart.py::test_subtests [part] (n=0)#1 passed
    test_cart.py::test_subtests [part] (n=1)#1 failed
    test_cart.py::test_subtests [part] (n=2)#1 passed
    test_cart.py::test_subtests#1 failed
    test_cart.py::test_subtests [part] (n=0)#2 passed
    test_cart.py::test_subtests [part] (n=1)#2 failed
    test_cart.py::test_subtests [part] (n=2)#2 passed
    test_cart.py::test_subtests#2 failed
    ");
    assert_eq!((report.exit_status, report.interrupted), (1, false));
}

#[test]
fn workers_say_which_they_are() {
    let file =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/junit/pytest-xdist.jsonl");
    let report = read(&std::fs::read(file).unwrap(), now()).unwrap();
    let workers: std::collections::BTreeSet<_> = report
        .attempts
        .iter()
        .map(|a| a.worker.as_deref())
        .collect();
    assert_eq!(
        workers.into_iter().collect::<Vec<_>>(),
        [Some("gw0"), Some("gw1")]
    );
    assert_eq!(report.exit_status, 1);
}

/// Sub-tests of one name in one attempt are several; those of the next attempt are a retry of each.
#[test]
fn sub_tests_of_one_name_are_told_apart() {
    let part = |outcome: &str| {
        format!(
            r#"{{"$report_type":"SubtestReport","nodeid":"a","when":"call","outcome":"{outcome}","_subtest.context":{{"msg":"part","kwargs":{{"n":1}}}}}}"#
        )
    };
    let phase = |when: &str, outcome: &str| {
        format!(
            r#"{{"$report_type":"TestReport","nodeid":"a","when":"{when}","outcome":"{outcome}"}}"#
        )
    };
    let log = [
        r#"{"$report_type":"SessionStart","pytest_version":"9"}"#.to_owned(),
        phase("setup", "passed"),
        part("failed"),
        part("passed"),
        phase("call", "rerun"),
        phase("setup", "passed"),
        part("passed"),
        part("passed"),
        phase("call", "passed"),
        r#"{"$report_type":"SessionFinish","exitstatus":0}"#.to_owned(),
    ]
    .join("\n");
    let report = read(log.as_bytes(), now()).unwrap();
    insta::assert_snapshot!(lines(&report), @r"
    a#1 failed
    a [part] (n=1)#1 failed
    a [part] (n=1) #2#1 passed
    a#2 passed
    a [part] (n=1)#2 passed
    a [part] (n=1) #2#2 passed
    ");
}

#[test]
fn a_test_that_was_only_set_up_has_not_passed() {
    let log = r#"{"$report_type":"SessionStart","pytest_version":"9"}
{"$report_type":"TestReport","nodeid":"a","when":"setup","outcome":"passed"}
{"$report_type":"TestReport","nodeid":"a","when":"teardown","outcome":"passed"}
{"$report_type":"SessionFinish","exitstatus":0}"#;
    let report = read(log.as_bytes(), now()).unwrap();
    assert_eq!(lines(&report), "a#1 error");
    assert_eq!(report.attempts[0].message.as_deref(), Some(NEVER_CALLED));
}

#[test]
fn unknown_kinds_say_nothing_unless_they_say_they_failed() {
    let log = |outcome: &str| {
        format!(
            r#"{{"$report_type":"SessionStart","pytest_version":"9"}}
{{"$report_type":"WarningMessage","message":["any",{{"thing":1}}],"when":7,"longrepr":{{"reprcrash":null}}}}
{{"$report_type":"OtherReport","nodeid":"b","outcome":"{outcome}"}}
{{"$report_type":"TestReport","nodeid":"a","when":"call","outcome":"passed"}}
{{"$report_type":"SessionFinish","exitstatus":0}}"#
        )
    };
    let taken = |outcome: &str| lines(&read(log(outcome).as_bytes(), now()).unwrap());
    assert_eq!(taken("fine"), "a#1 passed");
    assert_eq!(taken("failed"), "b#1 error\na#1 passed");
}

/// A long line is read as long as it is within the limit, and costs no multiple of its length.
#[test]
fn very_long_lines_have_a_limit() {
    let log = |bytes: usize| {
        format!(
            "{}\n{{\"$report_type\":\"TestReport\",\"nodeid\":\"a\",\"when\":\"call\",\"outcome\":\"failed\",\
             \"sections\":[[\"Captured stdout\",\"{}\"]],\"longrepr\":\"{}\",\"deep\":[{}0]}}\n",
            r#"{"$report_type":"SessionStart","pytest_version":"9"}"#,
            "x".repeat(bytes),
            "日".repeat(10_000),
            "0,".repeat(bytes / 2),
        )
    };
    let report = read(log(8 << 20).as_bytes(), now()).unwrap();
    assert_eq!(lines(&report), "a#1 failed");
    let message = report.attempts[0].message.as_deref().unwrap();
    assert!(
        message.starts_with("日日") && message.len() <= crate::evidence::run::MAX_MESSAGE_BYTES
    );
    assert_eq!(
        refused(&log(MAX_LINE_BYTES / 2 + 100)),
        "line 2 has more than 64 MiB; have less output captured"
    );
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
        ("", "it is empty"),
        ("<testsuite/>", "line 1: "),
        ("[]", "line 1: this is no record"),
        ("{}", "line 1: there is no `$report_type`"),
        (start.split_at(20).0, "line 1: this is no record"),
        (
            &format!(
                "{start}\n{{\"$report_type\":\"TestReport\",\"outcome\":\"failed\",\"outcome\":\"passed\"}}"
            ),
            "line 2: this is no record of pytest-reportlog: duplicate field `outcome`",
        ),
        (
            &format!("{start}\n{{\"$report_type\":\"TestReport\",\"outcome\":\"passed\"}}"),
            "line 2: there is no `nodeid`",
        ),
        (
            &format!(
                "{start}\n{{\"$report_type\":\"SessionFinish\"}}\n{{\"$report_type\":\"TestReport\",\"nodeid\":\"a\",\"outcome\":\"passed\"}}"
            ),
            "line 3: a report follows after the session has ended",
        ),
        (
            &format!("{start}\n{}1", "[".repeat(5_000)),
            "line 2: this is no record",
        ),
        (
            "{\"$report_type\":\"CollectReport\"}",
            "it has no `SessionStart`",
        ),
        (twice.as_str(), "line 2: a second session"),
        (odd.as_str(), "line 2: `outcome` is `fine`"),
    ] {
        let told = read(log.as_bytes(), now()).unwrap_err().to_string();
        assert!(told.contains(problem), "{log}: {told}");
    }
}

/// Whether the gate would take the log for a pass.
fn passes(log: &[u8]) -> bool {
    read(log, now()).is_ok_and(|report| {
        let mut outcomes = report.attempts.iter().map(|attempt| attempt.outcome);
        outcomes.any(Outcome::is_good) && report.exit_status == 0 && !report.interrupted
    })
}

fn failing_logs() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/junit");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let fixture = fixture("pytest-9.2-rerunfailures.jsonl");
    vec![read("pytest.jsonl"), read("pytest-xdist.jsonl"), fixture]
}

#[test]
fn no_lines_that_are_taken_out_make_a_failing_log_pass() {
    for log in failing_logs() {
        let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
        for from in 0..lines.len() {
            for to in (from + 1..=lines.len()).step_by(5) {
                let rest = [lines[..from].concat(), lines[to..].concat()].concat();
                assert!(!passes(&rest), "without lines {from} to {to}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_hole_makes_a_failing_log_pass(
        log in proptest::sample::select(failing_logs()),
        place in any::<prop::sample::Index>(),
        count in 1..20_000_usize,
        filler in proptest::sample::select(&["", "\n", "\"", "}", "null", "\0", "\u{feff}"][..]),
    ) {
        let at = place.index(log.len());
        let end = (at + count).min(log.len());
        let rest = [&log[..at], filler.as_bytes(), &log[end..]].concat();
        prop_assert!(!passes(&rest));
    }

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
        let was_called = phases.iter().any(|(when, _)| *when == "call");
        let is_bad = report.attempts.iter().any(|a| a.outcome.is_bad());
        prop_assert!(is_bad || !was_bad);
        prop_assert!(!is_bad || was_bad || !was_called || phases.len() > 1);
    }
}
