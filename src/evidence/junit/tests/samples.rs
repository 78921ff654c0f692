//! What is read from the files in `tests/junit/`, compared with `tests/junit/expected.txt`, which was
//! checked by hand against what the tools printed.
//!
//! `SYNCGATE_WRITE_GOLDEN=1 cargo test --lib junit::tests::samples` writes it anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::*;
use crate::evidence::run::AttemptBatch;

pub(super) fn folder() -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/junit")
}

/// The samples by their names, in order.
pub(super) fn samples() -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(folder()).unwrap();
    let mut samples: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "xml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    samples.sort();
    samples
}

fn in_words(report: &Report) -> String {
    let mut text = String::new();
    for attempt in &report.attempts {
        let number = match attempt.attempt {
            1 => String::new(),
            number => format!(" (attempt {number})"),
        };
        let outcome = attempt.outcome.word();
        let _ = writeln!(text, "  {outcome:8}{}{number}", attempt.test);
    }
    text
}

#[test]
fn every_sample_is_read_as_its_tool_meant_it() {
    let mut found = String::new();
    for (name, document) in samples() {
        let report = read(&document, now()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let _ = write!(
            found,
            "{name}: exit status {}\n{}\n",
            report.exit_status,
            in_words(&report)
        );
    }
    let path = folder().join("expected.txt");
    if std::env::var_os("SYNCGATE_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

#[test]
fn what_is_read_from_a_sample_can_be_sent_and_has_one_name_for_each_test() {
    for (name, document) in samples() {
        let attempts = read(&document, now()).unwrap().attempts;
        if attempts.is_empty() {
            continue;
        }
        let mut seen = std::collections::HashSet::new();
        for attempt in &attempts {
            assert!(
                seen.insert((&attempt.test, attempt.attempt)),
                "{name}: {attempt:?}"
            );
            assert!(
                attempt.started_at.strftime("%Y").to_string() == "2026",
                "{name}"
            );
        }
        let mut batch = AttemptBatch {
            sequence: 0,
            attempts,
        };
        batch.check().unwrap();
    }
}

/// Reading the same file twice gives the same names, and a second file of the run its own.
#[test]
fn names_are_stable() {
    for (name, document) in samples() {
        let once = read(&document, now()).unwrap();
        let mut twice = Reader::new(now(), Counts::Strict);
        twice.add(&document, &mut |_| {}).unwrap();
        twice.add(&document, &mut |_| {}).unwrap();
        let twice = twice.report();
        assert_eq!(twice.attempts.len(), 2 * once.attempts.len(), "{name}");
        let first = twice.attempts.iter().take(once.attempts.len());
        assert!(first.eq(once.attempts.iter()), "{name}");
        assert_eq!(twice.collected.tests, 2 * once.collected.tests, "{name}");
        assert_eq!(twice.exit_status, once.exit_status, "{name}");
    }
}
