//! Files of real writers, and hostile ones.

use proptest::prelude::*;

use super::*;
use crate::evidence::run::AttemptBatch;

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
        "a#1 passed\nb#1 skipped\nc#1 failed\nd#1 failed\ne#1 error"
    );
}

#[test]
fn a_suite_that_fails_outside_of_its_tests_is_heard() {
    let xml = r#"<testsuite name="s" errors="1"><testcase name="a"/><error message="set-up"/></testsuite>"#;
    let report = read(xml.as_bytes(), now()).unwrap();
    assert_eq!(lines(&report), "a#1 passed\nsuite s#1 error");
    assert_eq!(report.exit_status, 1);
}

#[test]
fn an_edited_report_gives_itself_away() {
    let xml = "<testsuite name=\"s\" failures=\"1\">\n<testcase name=\"a\"/>\n</testsuite>";
    assert_eq!(
        refused(xml),
        "line 3: suite `s` counts 1 failures and errors, but holds none"
    );
}

#[test]
fn hostile_and_broken_documents_are_refused_with_their_line() {
    let bomb =
        "<?xml version=\"1.0\"?>\n<!DOCTYPE x [<!ENTITY a \"aaaa\">]>\n<testsuite>&a;</testsuite>";
    let deep = format!("<testsuite>{}", "<properties>".repeat(100));
    let wide: Vec<String> = (0..300).map(|n| format!("a{n}=''")).collect();
    let wide = wide.join(" ");
    for (xml, problem) in [
        (bomb, "line 2: a document type declaration"),
        ("<testsuite>\n&lol;</testsuite>", "line 2: the entity `lol`"),
        ("<testsuite name=\"&lol;\"/>", "line 1: "),
        (deep.as_str(), "nested"),
        (&format!("<testsuite {wide}/>"), "attributed"),
        ("<testsuite>\n\n<testcase></testsuite>", "line 3: "),
        (
            "<testsuite>\n<testcase name='a'/>",
            "line 2: the document ends inside an element",
        ),
        ("<testsuite name='a' name='b'/>", "given twice"),
        ("<html/>", "its first element is `html`"),
        ("", "it has no `testsuite`"),
        ("hello", "it has no `testsuite`"),
    ] {
        let told = refused(xml);
        assert!(told.contains(problem), "{xml}: {told}");
    }
    let latin = read(b"<testsuite>\n\xe9</testsuite>", now()).unwrap_err();
    assert_eq!(latin.to_string(), "line 2: the text is not UTF-8");
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

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes, now());
    }

    /// Pieces of real documents in any order.
    #[test]
    fn no_pieces_make_the_reader_panic_or_send_what_cannot_be_sent(
        pieces in proptest::collection::vec(proptest::sample::select(&[
            "<testsuites>", "</testsuites>", "<testsuite name=\"s\" errors=\"1\">", "</testsuite>",
            "<testcase name=\"a\" classname=\"\u{7}\" time=\"1e300\">", "</testcase>", "<testcase/>",
            "<failure message=\"m\">", "</failure>", "<error/>", "<skipped/>", "<rerunError/>",
            "<flakyFailure>", "</flakyFailure>", "&amp;", "&#0;", "&#x110000;", "<![CDATA[x]]>", "<!--", "-->",
        ][..]), 0..24),
    ) {
        let whole = format!("<testsuite>{}</testsuite>", pieces.concat());
        for xml in [pieces.concat(), whole] {
            if let Ok(report) = read(xml.as_bytes(), now()) && !report.attempts.is_empty() {
                let mut batch = AttemptBatch { sequence: 0, attempts: report.attempts };
                prop_assert!(batch.check().is_ok());
            }
        }
    }
}
