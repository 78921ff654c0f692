//! Files of real writers, and hostile ones.

mod hostile;
mod mutations;
mod samples;

use super::*;
use crate::evidence::run::{Attempt, AttemptBatch};

fn now() -> Timestamp {
    "2026-11-23T14:00:00Z".parse().unwrap()
}

fn fixture(name: &str) -> Report {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/junit");
    read(&std::fs::read(folder.join(name)).unwrap(), now()).unwrap()
}

/// `test#attempt outcome`, one a line.
fn lines(report: &Report) -> String {
    let line = |a: &Attempt| format!("{}#{} {}", a.test, a.attempt, a.outcome.word());
    report
        .attempts
        .iter()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

fn refused(xml: &str) -> String {
    read(xml.as_bytes(), now()).unwrap_err().to_string()
}

#[test]
fn pytest() {
    let report = fixture("pytest-9.2.xml");
    insta::assert_snapshot!(lines(&report), @r"
    tests.test_green::test_one#1 passed
    tests.test_green::test_two#1 passed
    ");
    assert_eq!(report.exit_status, 0);
    assert_eq!(report.collected.tests, 2);
    assert_eq!(report.started_at.strftime("%Y").to_string(), "2026");
}

/// pytest writes a retried attempt as a test case of its own without an outcome; all of them have to
/// pass, and one of the two tests that failed in the end did not.
#[test]
fn pytest_with_retries() {
    let report = fixture("pytest-9.2-rerunfailures.xml");
    insta::assert_snapshot!(lines(&report), @r"
    tests.test_checkout::test_total#1 passed
    tests.test_checkout::test_currency[EUR]#1 passed
    tests.test_checkout::test_currency[USD]#1 passed
    tests.test_checkout::test_currency[\xa5 <&>]#1 passed
    tests.test_checkout::test_discount#1 passed
    tests.test_checkout::test_discount #2#1 failed
    tests.test_checkout::test_card#1 skipped
    tests.test_checkout::test_rounding#1 xfailed
    tests.test_checkout::test_unexpectedly_fine#1 passed
    tests.test_checkout::test_with_broken_fixture#1 passed
    tests.test_checkout::test_with_broken_fixture #2#1 error
    tests.test_checkout.TestCart::test_empty#1 passed
    tests.test_checkout::test_flaky#1 passed
    tests.test_checkout::test_flaky #2#1 passed
    ");
    assert_eq!(report.exit_status, 1);
    let discount = report
        .attempts
        .iter()
        .find(|a| a.outcome == Outcome::Failed)
        .unwrap();
    let message = discount.message.as_deref().unwrap();
    assert!(
        message.starts_with("AssertionError: discount is off by <one> & more"),
        "{message}"
    );
}

#[test]
fn surefire_with_retries() {
    let report = fixture("surefire-3.5-reruns.xml");
    insta::assert_snapshot!(lines(&report), @r"
    shop.CartTest::explodes#1 error
    shop.CartTest::explodes#2 error
    shop.CartTest::explodes#3 error
    shop.CartTest::addsUp#1 passed
    shop.CartTest::broken#1 failed
    shop.CartTest::broken#2 failed
    shop.CartTest::broken#3 failed
    shop.CartTest::card#1 skipped
    shop.CartTest::flaky#1 failed
    shop.CartTest::flaky#2 passed
    ");
    let flaky = report
        .attempts
        .iter()
        .find(|a| a.test.ends_with("flaky"))
        .unwrap();
    assert!(
        flaky
            .message
            .as_deref()
            .unwrap()
            .contains("first time unlucky")
    );
}

#[test]
fn jest() {
    let report = fixture("jest-junit.xml");
    insta::assert_snapshot!(lines(&report), @r##"
    cart adds up#1 passed
    cart knows <discounts> & "offers"#1 failed
    cart takes cards#1 skipped
    "##);
    assert_eq!(report.attempts[0].duration_ms, 4);
}

#[test]
fn what_is_read_can_be_sent() {
    for name in [
        "pytest-9.2-rerunfailures.xml",
        "surefire-3.5-reruns.xml",
        "jest-junit.xml",
    ] {
        let mut batch = AttemptBatch {
            sequence: 0,
            attempts: fixture(name).attempts,
        };
        batch.check().unwrap();
    }
}

#[test]
fn namespaces_and_outcomes_in_attributes_are_understood() {
    let xml = r#"<j:testsuites xmlns:j="urn:j"><j:testsuite name="s">
        <j:testcase name="a"/><j:testcase name="b" status="notrun" result="suppressed"/>
        <j:testcase name="c" status="failed"/><j:testcase name="d"><j:failure/><j:skipped/></j:testcase>
        <j:testcase name="e" status="error"><j:skipped/></j:testcase>
        </j:testsuite></j:testsuites>"#;
    let report = read(xml.as_bytes(), now()).unwrap();
    assert_eq!(
        lines(&report),
        "s::a#1 passed\ns::b#1 skipped\ns::c#1 failed\ns::d#1 failed\ns::e#1 error"
    );
}

#[test]
fn a_suite_that_fails_outside_of_its_tests_is_heard() {
    let xml = r#"<testsuite name="s" errors="1"><testcase name="a"/><error message="set-up"/></testsuite>"#;
    let report = read(xml.as_bytes(), now()).unwrap();
    assert_eq!(lines(&report), "s::a#1 passed\nsuite s#1 error");
    assert_eq!(report.exit_status, 1);
}

/// The lines of a document that is taken.
fn taken(xml: &str) -> String {
    lines(&read(xml.as_bytes(), now()).unwrap())
}

#[test]
fn an_edited_report_gives_itself_away() {
    let xml = "<testsuite name='s' failures='1'>\n<testcase name='a'/>\n</testsuite>";
    let report = read(xml.as_bytes(), now()).unwrap();
    assert_eq!(lines(&report), "s::a#1 passed\nsuite s#1 error");
    let message = report.attempts[1].message.as_deref().unwrap();
    assert_eq!(
        message,
        "the suite counts 1 failures and errors, but holds none"
    );

    // A failure in another suite does not speak for this one, and a retry that passed for no failure.
    let two = "<testsuites><testsuite name='s' errors='1'><testcase name='a'/></testsuite>
        <testsuite name='t' failures='1'><testcase name='b'><failure/></testcase></testsuite></testsuites>";
    assert_eq!(taken(two), "s::a#1 passed\nsuite s#1 error\nt::b#1 failed");
    let flaky = "<testsuite name='s' failures='1'><testcase name='a'><flakyFailure/></testcase></testsuite>";
    assert_eq!(
        taken(flaky),
        "s::a#1 failed\ns::a#2 passed\nsuite s#1 error"
    );

    for (xml, problem) in [
        (
            "<testsuite name='s' tests='2'>\n<testcase name='a'/></testsuite>",
            "line 2: suite `s` counts 2 tests, but holds 1; ",
        ),
        (
            "<testsuite name='s' tests='1' skipped='1'><testcase name='a'/></testsuite>",
            "counts 1 tests that were skipped, but holds 0; ",
        ),
        (
            "<testsuites tests='3'><testsuite tests='1'><testcase name='a'/></testsuite></testsuites>",
            "suite `(unnamed)` counts 3 tests, but holds 1; ",
        ),
        (
            "<testsuite failures='none'/>",
            "`failures` of a suite is `none`, which is no count",
        ),
        (
            "<testsuite errors='-1'/>",
            "`errors` of a suite is `-1`, which is no count",
        ),
    ] {
        let told = refused(xml);
        assert!(told.contains(problem), "{told}");
    }
    let loose = "<testsuite tests='9' failures='1'><testcase name='a'/></testsuite>";
    let mut reader = Reader::new(now(), Counts::Loose);
    reader.add(loose.as_bytes(), &mut |_| {}).unwrap();
    assert_eq!(
        lines(&reader.report()),
        "a#1 passed\nsuite (unnamed)#1 error"
    );
}

#[test]
fn a_suite_that_says_it_did_not_come_to_its_end_is_no_pass() {
    for xml in [
        "<testsuite aborted='true'><testcase name='a'/></testsuite>",
        "<testsuite status='Interrupted'><testcase name='a'/></testsuite>",
        "<testsuites result='timedout'><testsuite><testcase name='a'/></testsuite></testsuites>",
    ] {
        let report = read(xml.as_bytes(), now()).unwrap();
        assert!(report.interrupted && report.exit_status == 1, "{xml}");
    }
    let failed = "<testsuite name='s' result='Failed'><testcase name='a'/></testsuite>";
    assert_eq!(taken(failed), "s::a#1 passed\nsuite s#1 error");
    let ginkgo = "<testsuite name='s'><properties><property name='SuiteSucceeded' value='false'/></properties>
        <testcase name='a'/></testsuite>";
    assert_eq!(taken(ginkgo), "s::a#1 passed\nsuite s#1 error");
    let why = ginkgo.replace(
        "SuiteSucceeded' value='false",
        "SpecialSuiteFailureReason' value='Timeout",
    );
    let report = read(why.as_bytes(), now()).unwrap();
    assert_eq!(report.attempts[1].message.as_deref(), Some("Timeout"));
    let fine = ginkgo.replace("false", "true");
    assert_eq!(taken(&fine), "s::a#1 passed");
}

/// A bad word is heard wherever it stands in a case, and in whatever letters.
#[test]
fn no_wrapping_hides_a_failure() {
    for inside in [
        "<details><failure/></details>",
        "<FAILURE/>",
        "<x:Failure xmlns:x='urn:x'/>",
        "<skipped/><failure/>",
        "<failure/><skipped/>",
        "<skipped><failure/></skipped>",
        "<properties><property><failure/></property></properties>",
        "<rerunFailure/>",
    ] {
        let xml = format!("<testsuite><testcase name='a'>{inside}</testcase></testsuite>");
        assert_eq!(
            read(xml.as_bytes(), now()).unwrap().exit_status,
            1,
            "{inside}"
        );
    }
    let wrapped = "<testsuite><group><testcase name='a'><error/></testcase></group></testsuite>";
    assert_eq!(taken(wrapped), "a#1 error");
    let nested = "<testsuite><testcase name='a'><testcase name='b'><error/></testcase></testcase></testsuite>";
    assert_eq!(taken(nested), "b#1 error\na#1 passed");
    let unknown = "<testsuite><testcase name='a' status='sort of'/></testsuite>";
    let report = read(unknown.as_bytes(), now()).unwrap();
    let message = report.attempts[0].message.as_deref();
    assert_eq!(message, Some("the status `sort of` is not known"));
}

#[test]
fn tests_of_one_name_are_told_apart() {
    let xml = "<testsuites>
        <testsuite name='one'><testcase classname='c' name='a'/><testcase classname='c' name='b'/></testsuite>
        <testsuite name='two'><testcase classname='c' name='a'><failure/></testcase>
            <testcase classname='c' name='a'/><testcase classname='c' name='b #2'/></testsuite>
        <testsuite name='one'><testcase classname='c' name='b'/></testsuite></testsuites>";
    assert_eq!(
        taken(xml),
        "one > c::a#1 passed\nc::b#1 passed\ntwo > c::a#1 failed\ntwo > c::a #2#1 passed\n\
         c::b #2#1 passed\nc::b #3#1 passed"
    );
}

#[test]
fn an_empty_run_is_no_error_of_the_file() {
    for xml in ["<testsuites/>", "<testsuite tests='0'></testsuite>"] {
        assert!(read(xml.as_bytes(), now()).unwrap().attempts.is_empty());
    }
}

#[test]
fn times_are_read_in_all_their_forms() {
    let at = |text: &str| case::timestamp(text).map(|time| time.to_string());
    let noon = Some("2026-11-23T12:39:24Z".to_owned());
    assert_eq!(at("2026-11-23T12:39:24"), noon);
    assert_eq!(at("2026-11-23T13:39:24+01:00"), noon);
    assert_eq!(at("Mon, 23 Nov 2026 12:39:24 GMT"), noon);
    for none in ["", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00", "today"] {
        assert_eq!(at(none), None, "{none}");
    }
    assert_eq!(case::milliseconds("1,234.5"), 1_234_500);
    assert_eq!(case::milliseconds("-1"), 0);
    assert_eq!(case::milliseconds("NaN"), 0);
}

#[test]
fn entities_and_long_messages_keep_their_beginning() {
    let long = "&lt;é&#233;&amp;".repeat(5_000);
    let xml =
        format!("<testsuite><testcase name='a'><failure>{long}</failure></testcase></testsuite>");
    let report = read(xml.as_bytes(), now()).unwrap();
    let message = report.attempts[0].message.as_deref().unwrap();
    assert!(message.starts_with("<éé&<éé&"));
    assert!(message.len() <= MAX_MESSAGE_BYTES && message.len() > MAX_MESSAGE_BYTES - 4);
}
