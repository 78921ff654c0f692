//! What `policy check` and `policy test` say, for people and as JSON.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::cases::{self, CaseResult};
use super::load::Policies;
use super::problem::{Fault, LoadError, Problem};
use super::source::Source;

/// What was found out about a folder of policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether there is no problem.
    pub ok: bool,
    /// The digest of schema and policies; absent where they cannot take effect.
    pub digest: Option<String>,
    /// How many policies there are.
    pub policies: usize,
    /// Every case that was run.
    pub cases: Vec<CaseResult>,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

/// Parses and validates the policies in `dir`. Cases are not run.
#[must_use]
pub fn check(dir: &Path) -> Report {
    match Source::read(dir).and_then(|source| Policies::build(&source)) {
        Ok(policies) => Report::new(&policies, Vec::new(), Vec::new()),
        Err(error) => Report::failed(error),
    }
}

/// Does what [`check`] does, runs the cases, and demands of every policy that it determine the
/// decision of a case that passes.
#[must_use]
pub fn test(dir: &Path) -> Report {
    match Source::read(dir) {
        Ok(source) => test_source(&source),
        Err(error) => Report::failed(error),
    }
}

pub(super) fn test_source(source: &Source) -> Report {
    let policies = match Policies::build(source) {
        Ok(policies) => policies,
        Err(error) => return Report::failed(error),
    };
    let outcome = cases::run(&policies, source);
    let passed = outcome.results.iter().filter(|case| case.passed);
    let determined: BTreeSet<&String> = passed.flat_map(|case| &case.policies).collect();
    let undetermined = policies
        .all_written()
        .filter(|w| !determined.contains(&w.id));
    let undetermined: Vec<Problem> = undetermined
        .map(|written| Problem {
            file: written.file.clone(),
            place: Some(written.place),
            fault: Fault::Undetermined {
                policy: written.id.clone(),
            },
        })
        .collect();
    let mut problems = outcome.problems;
    problems.extend(undetermined);
    Report::new(&policies, outcome.results, problems)
}

impl Report {
    fn new(policies: &Policies, cases: Vec<CaseResult>, problems: Vec<Problem>) -> Self {
        Self {
            ok: problems.is_empty(),
            digest: Some(policies.digest().to_owned()),
            policies: policies.all_written().count(),
            cases,
            problems,
        }
    }

    fn failed(error: LoadError) -> Self {
        let problems = error.problems;
        Self {
            ok: false,
            digest: None,
            policies: 0,
            cases: Vec::new(),
            problems,
        }
    }
}

/// One line for each problem, then one for the whole.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        let passed = self.cases.iter().filter(|case| case.passed).count();
        let count = |n: usize, what: &str| match n {
            1 => format!("1 {what}"),
            _ => format!(
                "{n} {}",
                what.strip_suffix('y')
                    .map_or(format!("{what}s"), |w| format!("{w}ies"))
            ),
        };
        match &self.digest {
            None => write!(
                f,
                "cannot take effect: {}",
                count(self.problems.len(), "problem")
            ),
            Some(digest) => {
                write!(f, "{}", count(self.policies, "policy"))?;
                if !self.cases.is_empty() {
                    write!(f, ", {passed} of {} pass", count(self.cases.len(), "case"))?;
                }
                if !self.problems.is_empty() {
                    write!(f, ", {}", count(self.problems.len(), "problem"))?;
                }
                write!(f, "; digest {digest}")
            }
        }
    }
}
