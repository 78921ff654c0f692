//! A run beside the newest passing one of its suite.
//!
//! In: both. Out: what the later one leaves out or excuses. A suite may lose some of its tests, as many
//! as are configured; what options leave out, and what is suddenly expected to fail, counts as hidden.
//! Pure.

use serde::{Deserialize, Serialize};

use super::{Material, Reason, ReasonCode, Tally, Tests, number_of_tests, push, some_of};
use crate::evidence::run::Outcome;

/// The least share of the tests of the newest passing run that must run again, in percent. With 0, runs
/// are not compared at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeastShare(u8);

impl LeastShare {
    /// A share in percent; more than 100 is taken as 100.
    #[must_use]
    pub fn percent(percent: u8) -> Self {
        Self(percent.min(100))
    }

    /// Whether runs are compared at all.
    #[must_use]
    pub fn compares(self) -> bool {
        self.0 > 0
    }

    fn is_met(self, ran: u64, before: u64) -> bool {
        u128::from(ran) * 100 >= u128::from(before) * u128::from(self.0)
    }
}

/// 90 %: a suite may lose a test file in a clean-up, not a tenth of its tests unseen.
impl Default for LeastShare {
    fn default() -> Self {
        Self(90)
    }
}

/// The newest passing run of a suite.
#[derive(Clone, Debug)]
pub struct Before {
    /// How many of its tests ended how.
    pub tests: Tests,
    /// The options that shaped its selection.
    pub options: Vec<String>,
    /// Its attempts.
    pub tally: Tally,
}

/// Adds the reasons that come from history; `ran` is how many tests ran now.
pub(super) fn about(material: &Material<'_>, ran: u64, reasons: &mut Vec<Reason>) {
    let narrowed = material
        .before
        .is_some_and(|before| is_narrowed(material, before, reasons));
    if let Some(before) = material.before {
        let ran_before = before.tests.ran();
        if !material.least_share.is_met(ran, ran_before) {
            let detail = format!(
                "{} ran, {ran_before} in the newest passing run",
                number_of_tests(ran)
            );
            push(reasons, ReasonCode::Shrunk, &detail);
        }
        turned_xfail(material.tally, before, reasons);
    }
    let deselected = material.collected.deselected;
    if deselected > 0 && !narrowed {
        let detail = format!(
            "{} left out{}",
            number_of_tests(deselected),
            by(material.options)
        );
        push(reasons, ReasonCode::Deselected, &detail);
    }
}

/// Whether options leave out tests that ran before, under other options. The same options as before
/// define the suite; what they leave out is for the share to judge.
fn is_narrowed(material: &Material<'_>, before: &Before, reasons: &mut Vec<Reason>) -> bool {
    if material.collected.deselected == 0 || material.options == before.options {
        return false;
    }
    let gone: Vec<&str> = before
        .tally
        .names()
        .filter(|(name, last)| *last != Outcome::Skipped && material.tally.last_of(name).is_none())
        .map(|(name, _)| name)
        .collect();
    if gone.is_empty() {
        return false;
    }
    let detail = format!(
        "{} of the newest passing run left out{}: {}; report another selection as a suite of its own",
        number_of_tests(gone.len() as u64),
        by(material.options),
        some_of(&gone)
    );
    push(reasons, ReasonCode::Narrowed, &detail);
    true
}

/// A test that is marked by the code is marked in the passing run, too; `Xpassed` is such a one.
fn turned_xfail(tally: &Tally, before: &Before, reasons: &mut Vec<Reason>) {
    let turned: Vec<&str> = tally
        .names()
        .filter(|(name, last)| {
            *last == Outcome::Xfailed && before.tally.last_of(name) == Some(Outcome::Passed)
        })
        .map(|(name, _)| name)
        .collect();
    if !turned.is_empty() {
        let detail = format!(
            "{} passed in the newest passing run, and failed as expected now: {}",
            number_of_tests(turned.len() as u64),
            some_of(&turned)
        );
        push(reasons, ReasonCode::TurnedXfail, &detail);
    }
}

/// ` by -k fast`, or nothing where no option is known.
fn by(options: &[String]) -> String {
    if options.is_empty() {
        return String::new();
    }
    let text: String = options.join(" ").chars().take(120).collect();
    format!(" by {text}")
}
