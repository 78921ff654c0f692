//! Documents that were made to harm.

use std::time::Instant;

use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn hostile_and_broken_documents_are_refused_with_their_line() {
    let bomb =
        "<?xml version=\"1.0\"?>\n<!DOCTYPE x [<!ENTITY a \"aaaa\">]>\n<testsuite>&a;</testsuite>";
    let external = "<!DOCTYPE x SYSTEM \"file:///etc/passwd\">\n<testsuite/>";
    let late = "<testsuite>\n<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]></testsuite>";
    let deep = format!("<testsuite>{}", "<properties>".repeat(100));
    let wide = |prefix: &str| {
        let wide: Vec<String> = (0..300).map(|n| format!("{prefix}a{n}=''")).collect();
        format!("<testsuite {}/>", wide.join(" "))
    };
    let long = "x".repeat(xml::MAX_TAG_BYTES + 1);
    let long = format!("<testsuite>\n<testcase name='{long}'/></testsuite>");
    for (xml, problem) in [
        (bomb, "line 2: a document type declaration"),
        (external, "line 1: a document type declaration"),
        (late, "line 2: a document type declaration"),
        ("<testsuite>\n&lol;</testsuite>", "line 2: the entity `lol`"),
        ("<testsuite name=\"&lol;\"/>", "line 1: "),
        ("<testsuite>&#0;</testsuite>", "line 1: the entity `#0`"),
        (
            "<testsuite>&#xD800;</testsuite>",
            "line 1: the entity `#xD800`",
        ),
        (deep.as_str(), "nested"),
        (&wide(""), "attributed"),
        (&wide("x:"), "attributed"),
        (&long, "line 2: the document is nested or attributed"),
        ("<testsuite>\n\n<testcase></testsuite>", "line 3: "),
        (
            "<testsuite>\n<testcase name='a'/>",
            "line 2: the file breaks off here",
        ),
        (
            "<testsuite>\n<testcase name='a'",
            "line 2: the file breaks off here",
        ),
        (
            "<testsuite>\n<!-- never",
            "line 2: the file breaks off here",
        ),
        (
            "<testsuite>\n<!---> <!-- fail 1 --><testcase name='a'/></testsuite>",
            "line 2: ill-formed document: forbidden string `--`",
        ),
        (
            "<testsuites>\n<!-- tests 1 --><!-- pass 1 --><testcase name='a'/>\n</testsuites>",
            "but none says `fail`",
        ),
        (
            "<testsuites><!-- tests 2 --><!-- pass 1 --><!-- fail 0 --><!-- cancelled 0 --><!-- skipped 0 -->\
             <!-- todo 0 --><testcase name='a'/></testsuites>",
            "counts 2 tests in a comment, and how 1 ended in others",
        ),
        (
            "<testsuite>\n<![CDATA[ never",
            "line 2: the file breaks off here",
        ),
        (
            "<testsuite></testcase>",
            "line 1: ill-formed document: expected `</testsuite>`",
        ),
        ("<testsuite>\n&am", "line 2: the file breaks off here"),
        (
            "<testsuite/>\n<testsuite/>",
            "line 2: a second document begins here",
        ),
        (
            "<testsuite/>\nand more",
            "line 2: text follows after the last element",
        ),
        ("<testsuite name='a' name='b'/>", "given twice"),
        (
            "<testsuite><testcase name='a' status='failed' status='passed'/></testsuite>",
            "given twice",
        ),
        ("<testsuite x:name='a' x:name='b'/>", "given twice"),
        ("<html/>", "its first element is `html`"),
        ("<testcase/>", "its first element is `testcase`"),
        (
            "<assemblies/>",
            "the form is xUnit.net's; have it written as JUnit XML",
        ),
        ("<!-- nothing -->", "it has no `testsuite`"),
        ("", "it is empty; did the tests run"),
        (" \n ", "it is empty; did the tests run"),
        ("hello", "it begins with text"),
        ("<testsuite>\na\0b</testsuite>", "line 2: there is a NUL"),
        (
            "<testsuite><flakyFailure/></testsuite>",
            "a further attempt stands outside",
        ),
    ] {
        let told = refused(xml);
        let beginning: String = xml.chars().take(80).collect();
        assert!(told.contains(problem), "{beginning}: {told}");
    }
}

#[test]
fn other_encodings_are_refused_with_what_to_do() {
    let told = |bytes: &[u8]| read(bytes, now()).unwrap_err().to_string();
    let utf16: Vec<u8> = "\u{feff}<testsuite/>"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let mend = "not UTF-8; convert it (`iconv -t UTF-8`)";
    assert_eq!(
        told(&utf16),
        format!("line 1: the text is in UTF-16, {mend}")
    );
    assert!(told(&utf16[2..]).contains("UTF-16"));
    let big: Vec<u8> = "<a/>".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert!(told(&big).contains("UTF-16"));
    assert!(told(b"<testsuite>\n\xe9</testsuite>").starts_with("line 2: the text is in another"));
    // Overlong forms of `<` and `/`.
    assert!(told(b"<testsuite name='\xc0\xbc'/>").contains(mend));
    let declared = "<?xml version='1.0' encoding='ISO-8859-1'?>\n<testsuite name='é'/>";
    assert!(told(declared.as_bytes()).contains("in iso-8859-1, not UTF-8"));
    for fine in [
        "\u{feff}<testsuite name='é'/>",
        "<?xml version='1.0' encoding='ISO-8859-1'?><testsuite name='e'/>",
        "<?xml version='1.0' encoding='utf-8'?><testsuite name='é'/>",
    ] {
        assert!(read(fine.as_bytes(), now()).is_ok(), "{fine}");
    }
}

#[test]
fn control_characters_reach_neither_names_nor_messages() {
    let xml = "<testsuite name='s\u{7}'><testcase name='a&#27;[2J&#10;b' classname='c\u{8}'>\
        <failure message='red &#27;[31m'>\u{1b}[2Jgone\n\tkept</failure></testcase></testsuite>";
    let report = read(xml.as_bytes(), now()).unwrap();
    let attempt = &report.attempts[0];
    assert_eq!(attempt.test, "c ::a [2J b");
    assert_eq!(
        attempt.message.as_deref(),
        Some("red [31m\n[2Jgone\n\tkept")
    );
}

#[test]
fn names_of_any_length_fit_and_stay_apart() {
    let long = "n".repeat(crate::evidence::run::MAX_TEST_NAME_BYTES);
    let case = |n: u8| format!("<testcase classname='{long}' name='{long}{n}'/>");
    let cases = [case(0), case(1), case(0)].concat();
    let report = read(
        format!("<testsuite name='{long}'>{cases}</testsuite>").as_bytes(),
        now(),
    );
    let mut batch = crate::evidence::run::AttemptBatch {
        sequence: 0,
        attempts: report.unwrap().attempts,
    };
    batch.check().unwrap();
    assert_ne!(batch.attempts[0].test, batch.attempts[1].test);
    assert_eq!(
        format!("{} #2", batch.attempts[0].test),
        batch.attempts[2].test
    );
}

/// Suites in suites with long names, and many tests in the innermost: names are repeated, not multiplied.
#[test]
fn nesting_does_not_blow_up() {
    let outer = format!("<testsuite name='{}'>", "s".repeat(100_000)).repeat(60);
    let cases = "<testcase name='a'/>".repeat(20_000);
    let xml = format!("{outer}{cases}{}", "</testsuite>".repeat(60));
    let began = Instant::now();
    let report = read(xml.as_bytes(), now()).unwrap();
    let bytes: usize = report.attempts.iter().map(|a| a.test.len()).sum();
    println!(
        "{} MB of nested suites: {} ms, {} MB of names",
        xml.len() / 1_000_000,
        began.elapsed().as_millis(),
        bytes / 1_000_000
    );
    assert!(bytes < 25_000_000, "{bytes}");
}

#[test]
fn more_attempts_or_suites_than_a_run_may_have_are_refused() {
    let many = |element: &str| {
        let count = usize::try_from(MAX_RUN_ATTEMPTS).unwrap() + 1;
        refused(&format!(
            "<testsuites>\n{}</testsuites>",
            element.repeat(count)
        ))
    };
    assert!(many("<testcase name='a'/>").starts_with("line 2: there are more than 200000"));
    assert!(many("<testsuite/>").starts_with("line 2: there are more than 200000"));
    let reruns = "<rerunError/>".repeat(200_001);
    let one = format!("<testsuite><testcase name='a'>{reruns}</testcase></testsuite>");
    assert!(refused(&one).contains("more than 200000"));
}

/// A file near the limit of size: what it costs to read. (The tests are built without optimisation.)
#[test]
#[ignore = "takes a while and a gigabyte; `cargo test --lib -- --ignored --nocapture near_the_limit`"]
fn a_file_near_the_limit_is_read_within_bounds() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap();
        let number = line.split_whitespace().nth(1).unwrap();
        number.parse::<u64>().unwrap() / 1024
    };
    let failure = format!(
        "<failure message='off'>{}</failure>",
        "trace &lt;back&gt; ".repeat(50)
    );
    let mut xml =
        String::from("<testsuites>\n<testsuite name='s' tests='190000' failures='190000'>\n");
    for n in 0..190_000 {
        let _ = std::fmt::Write::write_fmt(
            &mut xml,
            format_args!(
                "<testcase classname='shop.CartTest' name='case[{n}]' time='0.1'>{failure}</testcase>\n"
            ),
        );
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    let (before, began) = (resident(), Instant::now());
    let report = read(xml.as_bytes(), now()).unwrap();
    println!(
        "{} MB, {} attempts: {:.1} s; resident at most {before} MB before, {} MB after",
        xml.len() / 1_000_000,
        report.attempts.len(),
        began.elapsed().as_secs_f64(),
        resident()
    );
    let noise = "<system-out>".to_owned() + &"all is well ".repeat(17_000_000) + "</system-out>";
    let quiet = format!("<testsuite><testcase name='a'>{noise}</testcase></testsuite>");
    let began = Instant::now();
    assert_eq!(read(quiet.as_bytes(), now()).unwrap().attempts.len(), 1);
    println!(
        "{} MB of output: {:.1} s",
        quiet.len() / 1_000_000,
        began.elapsed().as_secs_f64()
    );
}
