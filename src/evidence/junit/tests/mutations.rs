//! What becomes of the samples when parts are taken out, changed or repeated: never a pass.

use proptest::prelude::*;

use super::samples::samples;
use super::*;
use crate::evidence::run::AttemptBatch;

/// Whether the gate would take the run for a pass: something passed, and nothing speaks against it.
fn passes(document: &[u8]) -> bool {
    read(document, now()).is_ok_and(|report| {
        let ran = report.attempts.iter().any(|a| a.outcome.is_good());
        ran && report.exit_status == 0 && !report.interrupted
    })
}

/// The samples of runs that failed.
fn failing() -> Vec<(String, Vec<u8>)> {
    let mut samples = samples();
    samples.retain(|(_, document)| !passes(document));
    samples
}

/// Where elements begin and end, as byte offsets.
fn boundaries(document: &[u8]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..document.len())
        .filter(|at| {
            document[*at] == b'<' || at.checked_sub(1).is_some_and(|b| document[b] == b'>')
        })
        .collect();
    places.push(document.len());
    places
}

/// Without its end, no file is taken at all.
#[test]
fn a_file_that_breaks_off_anywhere_is_refused() {
    for (name, document) in samples() {
        let whole = document.trim_ascii_end().len();
        for end in (0..whole).rev().step_by(whole / 200 + 1) {
            let told = read(&document[..end], now()).map(|report| report.attempts.len());
            assert!(told.is_err(), "{name} up to byte {end}: {told:?}");
        }
    }
}

/// Parts between two boundaries of elements, taken out. What remains is refused or fails, with this
/// exception: a part that holds every suite that counts a failure leaves a document that says nothing of
/// it, which nobody could tell from one of a shorter run.
#[test]
fn no_part_that_is_taken_out_makes_a_failing_run_pass() {
    take_out_parts(30);
}

#[test]
#[ignore = "tries every part of every sample, for minutes"]
fn no_part_at_all_that_is_taken_out_makes_a_failing_run_pass() {
    take_out_parts(usize::MAX);
}

/// Takes out every part between two of `most` boundaries, from each failing sample.
fn take_out_parts(most: usize) {
    let mut left = Vec::new();
    for (name, document) in failing() {
        let all = boundaries(&document);
        let step = (all.len() / most).max(1);
        let places: Vec<usize> = all.into_iter().step_by(step).collect();
        for (index, from) in places.iter().enumerate() {
            for to in places.iter().skip(index + 1) {
                let rest = [&document[..*from], &document[*to..]].concat();
                let taken = &document[*from..*to];
                if passes(&rest) && !holds_every_count(taken, &document) {
                    left.push(format!("{name}: {}", String::from_utf8_lossy(taken)));
                }
            }
        }
    }
    assert!(left.is_empty(), "{} times: {}", left.len(), left[0]);
}

/// Whether `taken` holds all that counts failures in `document` outside of its test cases.
fn holds_every_count(taken: &[u8], document: &[u8]) -> bool {
    let counts = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).replace(['\n', '\t'], " ");
        let suites = text.split('<').filter(|tag| {
            let counts = ["failures=\"", "errors=\"", "!-- fail ", "!-- cancelled "];
            let is_count = tag.starts_with("testsuite") || tag.starts_with("!--");
            let count = |key: &str| {
                let (_, rest) = tag.split_once(key)?;
                rest.starts_with(|c: char| ('1'..='9').contains(&c))
                    .then_some(())
            };
            is_count && counts.iter().any(|key| count(key).is_some())
        });
        suites.count()
    };
    counts(taken) == counts(document)
}

fn sample() -> impl Strategy<Value = (String, Vec<u8>)> {
    proptest::sample::select(failing())
}

/// A small change to a document.
#[derive(Clone, Debug)]
enum Change {
    Remove(usize),
    Insert(&'static [u8]),
    Repeat(usize, usize),
    Flip(u8),
}

fn change() -> impl Strategy<Value = Change> {
    let pieces: Vec<&'static [u8]> = vec![
        b"<",
        b">",
        b"</",
        b"/>",
        b"\"",
        b"'",
        b"&",
        b"&amp;",
        b"&#27;",
        b"&x;",
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"<testsuite>",
        b"</testsuite>",
        b"<testcase name=\"x\"/>",
        b"<skipped/>",
        b"<flakyFailure/>",
        b" status=\"passed\"",
        b" tests=\"0\"",
        b"<?xml version=\"1.0\"?>",
        b"<system-out>",
        b"</system-out>",
    ];
    prop_oneof![
        (1..200_usize).prop_map(Change::Remove),
        proptest::sample::select(pieces).prop_map(Change::Insert),
        (1..200_usize, 1..4_usize).prop_map(|(n, times)| Change::Repeat(n, times)),
        any::<u8>().prop_map(Change::Flip),
    ]
}

fn changed(document: &[u8], place: prop::sample::Index, change: &Change) -> Vec<u8> {
    let at = place.index(document.len());
    let (before, after) = document.split_at(at);
    match change {
        Change::Remove(count) => [before, &after[(*count).min(after.len())..]].concat(),
        Change::Insert(piece) => [before, *piece, after].concat(),
        Change::Repeat(count, times) => {
            let piece = &after[..(*count).min(after.len())];
            [before, &piece.repeat(*times), after].concat()
        }
        Change::Flip(bits) => {
            let mut all = document.to_vec();
            all[at] ^= bits;
            all
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A hole anywhere, also within tags and words.
    #[test]
    fn no_hole_makes_a_failing_sample_pass(
        (name, document) in sample(),
        place in any::<prop::sample::Index>(),
        count in 1..4_000_usize,
    ) {
        let at = place.index(document.len());
        let end = (at + count).min(document.len());
        let rest = [&document[..at], &document[end..]].concat();
        let taken = &document[at..end];
        prop_assert!(
            !passes(&rest) || holds_every_count(taken, &document),
            "{name} without {:?}", String::from_utf8_lossy(taken)
        );
    }

    /// Whatever is done to a sample: no panic, and what is read can be sent.
    #[test]
    fn no_changes_make_the_reader_panic_or_send_what_cannot_be_sent(
        (_, mut document) in sample(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), change()), 1..12),
    ) {
        for (place, change) in changes {
            if !document.is_empty() {
                document = changed(&document, place, &change);
            }
        }
        if let Ok(report) = read(&document, now()) && !report.attempts.is_empty() {
            let mut batch = AttemptBatch { sequence: 0, attempts: report.attempts };
            batch.attempts.truncate(crate::evidence::run::MAX_BATCH_ATTEMPTS);
            prop_assert!(batch.check().is_ok());
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes, now());
    }

    /// Pieces of real documents in any order. A bad word in a case of a document that is taken is heard.
    #[test]
    fn no_pieces_make_the_reader_panic_or_lose_a_failure(
        pieces in proptest::collection::vec(proptest::sample::select(&[
            "<testsuites>", "</testsuites>", "<testsuite name=\"s\" errors=\"1\">", "</testsuite>",
            "<testcase name=\"a\" classname=\"\u{7}\" time=\"1e300\">", "</testcase>", "<testcase/>",
            "<failure message=\"m\">", "</failure>", "<error/>", "<skipped/>", "<rerunError/>", "<x>", "</x>",
            "<flakyFailure>", "</flakyFailure>", "&amp;", "&#0;", "&#x110000;", "<![CDATA[x]]>", "<!--", "-->",
        ][..]), 0..24),
    ) {
        let pieces = pieces.concat();
        let whole = format!("<testsuite>{pieces}</testsuite>");
        for xml in [&pieces, &whole] {
            if let Ok(report) = read(xml.as_bytes(), now()) && !report.attempts.is_empty() {
                let is_comment = xml.contains("<!--");
                let bad = ["<failure", "<error", "<rerunError"];
                if !is_comment && bad.iter().any(|word| xml.contains(word)) {
                    prop_assert_eq!(report.exit_status, 1);
                }
                let mut batch = AttemptBatch { sequence: 0, attempts: report.attempts };
                prop_assert!(batch.check().is_ok());
            }
        }
    }
}
