//! One `testsuite` or `testsuites`: what it says of itself, and what was seen in it.

use jiff::Timestamp;

use super::case::{Case, Finding, Kind};
use super::names::Held;
use super::words;
use super::xml::Attributes;
use crate::evidence::report::{clean_name, fit_name};
use crate::evidence::run::Outcome;

/// What to think of a suite that says it holds more tests than it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counts {
    /// Somebody took some out: refuse it.
    #[default]
    Strict,
    /// Its writer counts something else: assertions, or sub-tests that it does not write. Counts of
    /// failures and errors are heard nevertheless.
    Loose,
}

/// A suite that is being read.
pub(super) struct Suite {
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) began: Timestamp,
    /// Whether it says that it did not come to its end.
    pub(super) aborted: bool,
    pub(super) seen: Seen,
    /// Whether a suite around it counts its tests, too.
    pub(super) is_within: bool,
    declared: Declared,
    /// Why it has failed, in its own words.
    claim: Option<String>,
}

/// What it counts itself.
struct Declared {
    tests: Option<u64>,
    /// Failures and errors together.
    bad: u64,
    /// Skipped and disabled ones together.
    skipped: u64,
    /// Whether its writer is known to count more than test cases.
    is_loose: bool,
    /// What comments count (Node), in the order of [`REMARKS`].
    remarks: [Option<u64>; REMARKS.len()],
}

/// What Node counts in comments: all tests, and then how each of them ended.
const REMARKS: [&str; 6] = ["tests", "pass", "fail", "cancelled", "skipped", "todo"];

/// What was seen in it, in the suites inside it, too.
#[derive(Default)]
pub(super) struct Seen {
    /// Test cases.
    cases: u64,
    /// Of these, how many are said to have failed, and failures of suites.
    pub(super) bad: u64,
    /// Of these, how many are said not to have run.
    skipped: u64,
}

impl Suite {
    /// What the attributes say.
    ///
    /// # Errors
    /// A sentence about a count that is no number.
    pub(super) fn new(
        index: usize,
        name: &str,
        began: Timestamp,
        attributes: &Attributes,
    ) -> Result<Self, String> {
        let text = |name: &str| attributes.get(name).map_or("", |text| text.trim());
        let count = |name: &str| match text(name) {
            "" => Ok(None),
            number => number.parse::<u64>().map(Some).map_err(|_| {
                let number: String = number.chars().take(40).collect();
                format!("`{name}` of a suite is `{number}`, which is no count")
            }),
        };
        let sum = |a: Option<u64>, b: Option<u64>| a.unwrap_or(0).saturating_add(b.unwrap_or(0));
        let skipped = count("skipped")?.or(count("skip")?);
        let states = [text("status"), text("result")];
        let failed = states.iter().find(|word| words::is_bad(word));
        let marks = ["aborted", "interrupted", "timedout", "crashed"];
        let aborted = states.iter().any(|word| words::is_aborted(word))
            || marks.iter().any(|mark| words::is_set(text(mark)));
        let claim = if aborted {
            Some("the suite was aborted".to_owned())
        } else {
            failed.map(|word| format!("the suite says `{word}` of itself"))
        };
        Ok(Self {
            index,
            name: fit_name(&clean_name(name), 200),
            began,
            aborted,
            seen: Seen::default(),
            is_within: false,
            declared: Declared {
                tests: count("tests")?,
                bad: sum(count("failures")?, count("errors")?),
                skipped: sum(skipped, count("disabled")?),
                // Catch2 and doctest count assertions; pytest counts sub-tests, and writes those only
                // that failed.
                is_loose: text("hostname") == "tbd"
                    || attributes.contains_key("doctest_version")
                    || name == "pytest",
                remarks: [None; REMARKS.len()],
            },
            claim,
        })
    }

    /// Takes in what a property says of the suite (Ginkgo).
    pub(super) fn property(&mut self, attributes: &Attributes) {
        let text = |name: &str| attributes.get(name).map_or("", |text| text.trim());
        let is = |name: &str| text("name").eq_ignore_ascii_case(name);
        if is("SuiteSucceeded") && text("value").eq_ignore_ascii_case("false") {
            self.claim
                .get_or_insert_with(|| "the suite says that it did not succeed".to_owned());
        }
        let is_reason = is("SpecialSuiteFailureReason") || is("SpecialSuiteFailureReasons");
        if is_reason && !text("value").is_empty() {
            self.claim = Some(text("value").to_owned());
        }
    }

    /// Takes in what a comment says of the document (Node).
    pub(super) fn remark(&mut self, text: &str) {
        let mut words = text.split_ascii_whitespace();
        let (Some(word), Some(count), None) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let index = REMARKS.iter().position(|known| *known == word);
        let held = index.and_then(|index| self.declared.remarks.get_mut(index));
        let (Some(held), Ok(count)) = (held, count.parse::<u64>()) else {
            return;
        };
        *held = Some(held.unwrap_or(0).saturating_add(count));
        if matches!(word, "fail" | "cancelled") {
            self.declared.bad = self.declared.bad.saturating_add(count);
        }
    }

    /// Takes in a case that has ended.
    pub(super) fn saw(&mut self, case: &Case) {
        self.seen.cases += 1;
        self.seen.bad += u64::from(case.is_said_bad());
        self.seen.skipped += u64::from(case.is_said_skipped());
    }

    /// Takes in a suite inside this one that has ended.
    pub(super) fn include(&mut self, inner: &Self) {
        self.seen.cases += inner.seen.cases;
        self.seen.bad += inner.seen.bad;
        self.seen.skipped += inner.seen.skipped;
        self.declared.is_loose |= inner.declared.is_loose;
    }

    /// What the suite says against itself and none of its cases does. It is heard once: then it counts
    /// among the failures that were seen.
    pub(super) fn unheard(&mut self) -> Option<String> {
        if self.seen.bad > 0 {
            return None;
        }
        let counted = (self.declared.bad > 0).then(|| {
            let count = self.declared.bad;
            format!("the suite counts {count} failures and errors, but holds none")
        });
        let claim = self.claim.take().or(counted);
        self.seen.bad += u64::from(claim.is_some());
        claim
    }

    /// A failure of the suite itself.
    pub(super) fn speaks(&self, outcome: Outcome, message: String) -> Held {
        let name = clean_name(&format!("suite {}", self.name));
        let mut case = Case::new(name, self.index, self.began, &Attributes::new());
        case.findings.push(Finding {
            kind: Kind::Is(outcome),
            message,
            duration_ms: None,
        });
        case.ended()
    }

    /// Whether it or a suite around it counts its tests.
    pub(super) fn is_checked(&self) -> bool {
        self.is_within || self.declared.tests.is_some()
    }

    /// Whether it holds what it says it does. Asked of the outermost suite that says so: Mocha's
    /// reporter says only there how many of the tests were skipped.
    ///
    /// # Errors
    /// A sentence about what is missing.
    pub(super) fn check(&self, counts: Counts) -> Result<(), String> {
        let (declared, seen) = (&self.declared, &self.seen);
        if counts == Counts::Loose || declared.is_loose || self.is_within {
            return Ok(());
        }
        check_remarks(&declared.remarks)?;
        let Some(tests) = declared.tests else {
            return Ok(());
        };
        // Some writers leave out what was skipped.
        let missing = tests.saturating_sub(seen.cases);
        let unseen = declared.skipped.saturating_sub(seen.skipped);
        if missing > unseen {
            return Err(format!("counts {tests} tests, but holds {}", seen.cases));
        }
        if unseen > missing {
            return Err(format!(
                "counts {} tests that were skipped, but holds {}",
                declared.skipped, seen.skipped
            ));
        }
        Ok(())
    }
}

/// Whether comments count each test once, as Node does. Where there are none, there is nothing to check.
fn check_remarks(remarks: &[Option<u64>]) -> Result<(), String> {
    if remarks.iter().all(Option::is_none) {
        return Ok(());
    }
    let mut said = REMARKS.iter().zip(remarks);
    if let Some((missing, _)) = said.find(|(_, count)| count.is_none()) {
        return Err(format!(
            "counts its tests in comments, but none says `{missing}`"
        ));
    }
    let mut counts = remarks.iter().map(|count| count.unwrap_or(0));
    let tests = counts.next().unwrap_or(0);
    let ended = counts.fold(0, u64::saturating_add);
    if tests != ended {
        return Err(format!(
            "counts {tests} tests in a comment, and how {ended} ended in others"
        ));
    }
    Ok(())
}
