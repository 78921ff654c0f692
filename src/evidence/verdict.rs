//! What a run is worth, computed from its attempts.
//!
//! In: the attempts, folded one by one into a [`Tally`]; what was collected; how the tool ended; what
//! the gate knows beside that (the last passing run, whether the commits are still the same). Out: a
//! [`Ruling`]. Pure. The order of precedence: a run that is not about these commits is *refused*;
//! else a test whose last attempt failed, or a hook Job that failed, makes it *failed*; else anything
//! that lets the result look better than it was makes it *refused*; else it *passed*. Never: a pass for
//! a run that proves nothing.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::evidence::run::{Attempt, Collected, Finish, Outcome};

mod history;
mod words;

/// Why a run of a hook before the sync is no word on what the sync rolls out.
pub const BEFORE_SYNC: &str =
    "presync: the tests ran before the sync, on what was there until then";

pub use history::{Before, LeastShare};
pub use words::{Reason, ReasonCode, Tests, Verdict};

/// The attempts of a run, test by test; they may come in any order.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    tests: HashMap<String, Vec<(u32, Outcome)>>,
    attempts: u64,
}

impl Tally {
    /// Takes in one attempt.
    pub fn add(&mut self, attempt: &Attempt) {
        let line = (attempt.attempt, attempt.outcome);
        match self.tests.get_mut(&attempt.test) {
            Some(attempts) => attempts.push(line),
            None => {
                self.tests.insert(attempt.test.clone(), vec![line]);
            }
        }
        self.attempts += 1;
    }

    /// How the last attempt of `test` ended.
    fn last_of(&self, test: &str) -> Option<Outcome> {
        let attempts = self.tests.get(test)?;
        attempts.iter().max().map(|(_, outcome)| *outcome)
    }

    /// Every test, and how its last attempt ended.
    fn names(&self) -> impl Iterator<Item = (&str, Outcome)> {
        self.tests.keys().filter_map(|name| {
            let last = self.last_of(name)?;
            Some((name.as_str(), last))
        })
    }

    /// The number of attempts taken in.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.attempts
    }

    /// The number of different tests.
    #[must_use]
    pub fn tests(&self) -> u64 {
        self.tests.len() as u64
    }

    /// The digest of a collected set of exactly these tests: SHA-256 of their sorted names joined by
    /// `\n`, in lower-case hexadecimal. (The order of UTF-8 bytes is that of code points, by which
    /// Python sorts.)
    #[must_use]
    pub fn digest(&self) -> String {
        let mut names: Vec<&str> = self.tests.keys().map(String::as_str).collect();
        names.sort_unstable();
        digest::sha256_hex(names.join("\n").as_bytes())
    }
}

impl<'a> FromIterator<&'a Attempt> for Tally {
    fn from_iter<I: IntoIterator<Item = &'a Attempt>>(attempts: I) -> Self {
        let mut tally = Self::default();
        for attempt in attempts {
            tally.add(attempt);
        }
        tally
    }
}

/// Everything that a verdict is made from.
#[derive(Clone, Debug)]
pub struct Material<'a> {
    /// The attempts.
    pub tally: &'a Tally,
    /// What was declared as collected.
    pub collected: &'a Collected,
    /// The options that shaped the selection.
    pub options: &'a [String],
    /// How the reporter says it ended.
    pub finish: &'a Finish,
    /// How many batches were stored.
    pub batches: u64,
    /// Whether the reporter's working tree was dirty, as far as it could know.
    pub dirty: Option<bool>,
    /// Whether the run belongs to an operation: then what runs is what Argo CD rolled out, and the
    /// reporter's working tree means nothing.
    pub in_operation: bool,
    /// Why the run is not about its commits any more, where it is not.
    pub other_commit: Option<&'a str>,
    /// Whether the tests ran in a hook that comes before the sync, on what was there before.
    pub before_sync: bool,
    /// The run in which the same tests were reported at the same times, if there is one.
    pub replays: Option<&'a str>,
    /// The newest passing run of the same component, environment and suite; none if there is none, or
    /// nobody wants runs to be compared with it.
    pub before: Option<&'a Before>,
    /// How many of its tests must have run now.
    pub least_share: LeastShare,
}

/// What a run is worth, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// The verdict.
    pub verdict: Verdict,
    /// Every reason that was found, in a fixed order.
    pub reasons: Vec<Reason>,
    /// The counts.
    pub tests: Tests,
}

/// Judges a run.
#[must_use]
pub fn judge(material: &Material<'_>) -> Ruling {
    let seen = Seen::of(material.tally);
    let mut reasons = Vec::new();
    about_commits(material, &mut reasons);
    about_tests(&seen, &mut reasons);
    about_completeness(material, &seen, &mut reasons);
    history::about(material, seen.tests.ran(), &mut reasons);
    about_ending(material, &seen, &mut reasons);
    Ruling {
        verdict: verdict_of(&reasons),
        reasons,
        tests: seen.tests,
    }
}

/// What `reasons` make of a run.
#[must_use]
pub fn verdict_of(reasons: &[Reason]) -> Verdict {
    let has = |wanted: ReasonCode| reasons.iter().any(|reason| reason.code == wanted);
    if reasons.iter().any(|reason| reason.code.disowns_commits()) {
        Verdict::Refused
    } else if has(ReasonCode::FailedTests) || has(ReasonCode::HookFailed) {
        Verdict::Failed
    } else if reasons.iter().any(|reason| !reason.code.only_tells()) {
        Verdict::Refused
    } else {
        Verdict::Passed
    }
}

/// The tests by what is remarkable about them.
#[derive(Default)]
struct Seen<'a> {
    tests: Tests,
    bad: Vec<&'a str>,
    hidden: Vec<&'a str>,
    retried: Vec<&'a str>,
    twice: Vec<&'a str>,
    gaps: Vec<&'a str>,
}

impl<'a> Seen<'a> {
    fn of(tally: &'a Tally) -> Self {
        let mut seen = Self::default();
        for (name, attempts) in &tally.tests {
            let mut attempts = attempts.clone();
            attempts.sort_unstable();
            seen.look_at(name, &attempts);
        }
        seen
    }

    /// `attempts` are sorted by their number; of one number, the good outcomes come last, but then
    /// the duplicate refuses the run.
    fn look_at(&mut self, name: &'a str, attempts: &[(u32, Outcome)]) {
        let Some((&(last_number, last), earlier)) = attempts.split_last() else {
            return;
        };
        self.tests.count(last);
        let failed_before = earlier.iter().any(|(_, outcome)| outcome.is_bad());
        if last.is_bad() {
            self.bad.push(name);
        } else if last.is_good() && !earlier.is_empty() {
            self.tests.retried += 1;
            self.retried.push(name);
        } else if failed_before {
            self.hidden.push(name);
        }
        let mut numbers: Vec<u32> = attempts.iter().map(|(number, _)| *number).collect();
        numbers.dedup();
        if numbers.len() < attempts.len() {
            self.twice.push(name);
        }
        if numbers.len() as u64 != u64::from(last_number) {
            self.gaps.push(name);
        }
    }
}

fn about_commits(material: &Material<'_>, reasons: &mut Vec<Reason>) {
    if let Some(why) = material.other_commit {
        push(reasons, ReasonCode::OtherCommit, why);
    }
    if let Some(run) = material.replays {
        let detail =
            format!("the same tests at the same times were reported in run {run}; run them again");
        push(reasons, ReasonCode::Replayed, &detail);
    }
    if material.before_sync {
        push(reasons, ReasonCode::Presync, BEFORE_SYNC);
    }
    if material.dirty == Some(true) && !material.in_operation {
        let detail = "the working tree differed from its commit; commit first, then run";
        push(reasons, ReasonCode::DirtyTree, detail);
    }
}

fn about_tests(seen: &Seen<'_>, reasons: &mut Vec<Reason>) {
    let lists = [
        (ReasonCode::FailedTests, &seen.bad, "failed"),
        (
            ReasonCode::HiddenFailure,
            &seen.hidden,
            "failed, then expected to fail or skipped",
        ),
        (
            ReasonCode::DuplicateAttempt,
            &seen.twice,
            "with an attempt reported twice",
        ),
        (
            ReasonCode::PassedWithRetries,
            &seen.retried,
            "passed at a later attempt",
        ),
    ];
    for (code, names, what) in lists {
        if !names.is_empty() {
            push(
                reasons,
                code,
                &format!(
                    "{} {what}: {}",
                    number_of_tests(names.len() as u64),
                    some_of(names)
                ),
            );
        }
    }
    let Tests {
        total,
        skipped,
        xfailed,
        passed,
        xpassed,
        ..
    } = seen.tests;
    if passed + xpassed == 0 && seen.bad.is_empty() {
        let detail = if total == 0 {
            "no test ran".to_owned()
        } else {
            format!("no test passed: {skipped} skipped, {xfailed} expected to fail")
        };
        push(reasons, ReasonCode::NoTests, &detail);
    }
}

fn about_completeness(material: &Material<'_>, seen: &Seen<'_>, reasons: &mut Vec<Reason>) {
    let (collected, reported) = (material.collected.tests, seen.tests.total);
    if reported < collected {
        let detail = format!("{collected} tests were collected, {reported} reported");
        push(reasons, ReasonCode::Incomplete, &detail);
    } else if !seen.gaps.is_empty() {
        let detail = format!(
            "earlier attempts were not reported: {}",
            some_of(&seen.gaps)
        );
        push(reasons, ReasonCode::Incomplete, &detail);
    } else if reported > collected || material.tally.digest() != material.collected.digest {
        let detail = format!("the {reported} tests reported are not the {collected} collected");
        push(reasons, ReasonCode::OtherTests, &detail);
    }
    let Finish {
        attempts, batches, ..
    } = *material.finish;
    if (attempts, batches) != (material.tally.attempts, material.batches) {
        let detail = format!(
            "{attempts} attempts in {batches} batches were announced, {} in {} are stored",
            material.tally.attempts, material.batches
        );
        push(reasons, ReasonCode::CountMismatch, &detail);
    }
}

fn about_ending(material: &Material<'_>, seen: &Seen<'_>, reasons: &mut Vec<Reason>) {
    let status = material.finish.exit_status;
    if material.finish.interrupted {
        push(reasons, ReasonCode::Interrupted, "the run was cut short");
    }
    let explained = material.finish.interrupted
        || reasons
            .iter()
            .any(|reason| reason.code == ReasonCode::NoTests);
    if status == 0 && !seen.bad.is_empty() {
        let detail = "the tool ended with 0, although tests failed";
        push(reasons, ReasonCode::ExitStatus, detail);
    } else if status != 0 && seen.bad.is_empty() && !explained {
        let detail = format!("the tool ended with {status}, although no test failed");
        push(reasons, ReasonCode::ExitStatus, &detail);
    }
}

fn push(reasons: &mut Vec<Reason>, code: ReasonCode, detail: &str) {
    reasons.push(Reason {
        code,
        detail: detail.to_owned(),
    });
}

/// `1 test`, `2 tests`.
pub(crate) fn number_of_tests(count: u64) -> String {
    format!("{count} test{}", if count == 1 { "" } else { "s" })
}

/// The first three names in their order, each cut, and how many more.
fn some_of(names: &[&str]) -> String {
    let mut names = names.to_vec();
    names.sort_unstable();
    let mut shown: Vec<String> = names
        .iter()
        .take(3)
        .map(|name| name.chars().take(120).collect())
        .collect();
    if names.len() > shown.len() {
        shown.push(format!("and {} more", names.len() - shown.len()));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests;
