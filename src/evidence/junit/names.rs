//! Names of tests: one for each, the same in each run.
//!
//! A test is `class::name`, or the name alone where the class says nothing more. Where there is no
//! class, the suites around it stand for it. Cases of one name in different suites are told apart by
//! the suites (`suite > class::name`), cases of one name in one suite by their order (`name #2`).

use std::collections::{HashMap, HashSet};

use super::xml::Attributes;
use crate::evidence::report::{MAX_CLEAN_NAME_BYTES, clean_name, fit_name};
use crate::evidence::run::{Attempt, MAX_RUN_ATTEMPTS};

/// Bytes of the names of the suites around a test, at most: they repeat with every test.
const MAX_PATH_BYTES: usize = 1_024;

/// A case that has ended; its attempts do not bear its name yet.
pub(super) struct Held {
    pub(super) name: String,
    pub(super) suite: usize,
    pub(super) attempts: Vec<Attempt>,
}

/// All suites of a run.
#[derive(Default)]
pub(super) struct Suites(Vec<Node>);

struct Node {
    outer: Option<usize>,
    name: String,
}

impl Suites {
    /// A further suite inside `outer`; `None` if there are more than a run can need.
    pub(super) fn add(&mut self, outer: Option<usize>, name: &str) -> Option<usize> {
        if self.0.len() as u64 >= MAX_RUN_ATTEMPTS {
            return None;
        }
        let name = without_time(name.trim());
        let name = if name.is_empty() {
            String::new()
        } else {
            fit_name(&clean_name(name), 256)
        };
        self.0.push(Node { outer, name });
        Some(self.0.len() - 1)
    }

    /// The names of the suite and those around it, from outside.
    fn path(&self, suite: usize) -> String {
        let mut names = Vec::new();
        let mut next = self.0.get(suite);
        while let Some(node) = next {
            if !node.name.is_empty() {
                names.push(node.name.as_str());
            }
            next = node.outer.and_then(|outer| self.0.get(outer));
        }
        names.reverse();
        fit_name(&names.join(" > "), MAX_PATH_BYTES)
    }

    /// The name of a case in `suite`.
    pub(super) fn name_of_case(&self, suite: usize, attributes: &Attributes) -> String {
        let text = |name: &str| attributes.get(name).map_or("", |text| text.trim());
        let (mut class, name) = (text("classname"), text("name"));
        let path;
        // What Node and libtest write for want of a class.
        if ["", "test", "unknown"].contains(&class) {
            path = self.path(suite);
            class = &path;
        }
        if class.is_empty() || name.ends_with(class) {
            clean_name(name)
        } else if name.is_empty() {
            clean_name(class)
        } else {
            clean_name(&format!("{class}::{name}"))
        }
    }
}

/// unittest-xml-reporting puts the time into the names of suites: `name-20261123123920`.
fn without_time(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((rest, time)) if time.len() == 14 && time.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => name,
    }
}

/// Gives every case a name of its own, and its attempts that name.
pub(super) fn tell_apart(suites: &Suites, cases: Vec<Held>) -> Vec<Attempt> {
    let shared = shared(suites, &cases);
    let mut taken = HashSet::with_capacity(cases.len());
    let mut newest: HashMap<String, u32> = HashMap::new();
    let mut attempts = Vec::with_capacity(cases.len());
    for case in cases {
        let mut name = case.name;
        if shared.contains(&name) {
            let path = suites.path(case.suite);
            if !path.is_empty() {
                name = fit_name(&format!("{path} > {name}"), MAX_CLEAN_NAME_BYTES);
            }
        }
        let mut own = name.clone();
        if taken.contains(&own) {
            let number = newest.entry(name.clone()).or_insert(1);
            while taken.contains(&own) {
                *number += 1;
                own = format!("{name} #{number}");
            }
        }
        attempts.extend(case.attempts.into_iter().map(|attempt| Attempt {
            test: own.clone(),
            ..attempt
        }));
        taken.insert(own);
    }
    attempts
}

/// The names that cases in suites of different names have.
fn shared(suites: &Suites, cases: &[Held]) -> HashSet<String> {
    let mut suite_of: HashMap<&str, usize> = HashMap::with_capacity(cases.len());
    let mut shared = HashSet::new();
    for case in cases {
        let suite = *suite_of.entry(&case.name).or_insert(case.suite);
        if suite != case.suite
            && !shared.contains(&case.name)
            && suites.path(suite) != suites.path(case.suite)
        {
            shared.insert(case.name.clone());
        }
    }
    shared
}
