//! From text to policies: parsing, ids, and strict validation.
//!
//! In: files. Out: what they say, and every fault with its place. Refuses policies that do not fit
//! the schema strictly, that can never match, that deceive the eye, that have no id of their own,
//! or that a template would have to fill.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use cedar_policy::{
    CedarSchemaError, Policy, PolicyId, PolicySet, Schema, ValidationMode, ValidationWarning,
    Validator,
};
use miette::Diagnostic;

use super::load::Written;
use super::problem::{Fault, Problem, place};
use super::source::File;
use crate::names::Role;

const MAX_POLICIES: usize = 4096;

/// Parses the schema; a warning is a fault too.
pub(super) fn parse_schema(file: &File) -> Result<Schema, Vec<Problem>> {
    let fault = |error: &dyn Diagnostic| Problem {
        file: file.name.clone(),
        place: offset(error).map(|offset| place(&file.text, offset)),
        fault: Fault::Schema {
            message: error.to_string(),
            help: help(error),
        },
    };
    match Schema::from_cedarschema_str(&file.text) {
        Ok((schema, warnings)) => {
            let found: Vec<Problem> = warnings.map(|w| fault(&w)).collect();
            if found.is_empty() {
                Ok(schema)
            } else {
                Err(found)
            }
        }
        Err(error) => Err(with_related(&error, fault)),
    }
}

fn with_related(
    error: &CedarSchemaError,
    fault: impl Fn(&dyn Diagnostic) -> Problem,
) -> Vec<Problem> {
    let mut found = vec![fault(error)];
    found.extend(error.related().into_iter().flatten().map(fault));
    found
}

/// Parses every file, and gives every policy the id that it carries.
pub(super) fn parse_all(
    files: &[File],
    problems: &mut Vec<Problem>,
) -> (PolicySet, BTreeMap<String, Written>) {
    let mut set = PolicySet::new();
    let mut written: BTreeMap<String, Written> = BTreeMap::new();
    for file in files {
        for (policy, offset) in parse(file, problems) {
            let at = place(&file.text, offset);
            let mut report = |fault| {
                problems.push(Problem {
                    file: file.name.clone(),
                    place: Some(at),
                    fault,
                });
            };
            if written.len() == MAX_POLICIES {
                report(Fault::TooMany {
                    what: "policies",
                    limit: MAX_POLICIES,
                });
                return (set, written);
            }
            // A policy with a bad id is still validated, under its place.
            let id = match id_of(&policy, &written) {
                Ok(id) => id,
                Err(fault) => {
                    report(fault);
                    format!("{}:{}", file.name, at.0)
                }
            };
            if let Err(error) = set.add(policy.new_id(PolicyId::new(&id))) {
                report(Fault::Syntax {
                    message: error.to_string(),
                    help: None,
                });
                continue;
            }
            let entry = Written {
                id: id.clone(),
                file: file.name.clone(),
                place: at,
                effect: policy.effect(),
                advice: policy.annotation("advice").map(str::to_owned),
                breadth: 0,
            };
            written.insert(id, entry);
        }
    }
    (set, written)
}

fn id_of(policy: &Policy, written: &BTreeMap<String, Written>) -> Result<String, Fault> {
    let id = policy.annotation("id").ok_or(Fault::MissingId)?.to_owned();
    // The form of a role's name is that of every short name in a record.
    if Role::parse(id.as_str()).is_err() {
        return Err(Fault::BadId { id });
    }
    match written.get(&id) {
        Some(first) => {
            let first = format!("{}:{}", first.file, first.place.0);
            Err(Fault::DuplicateId { id, first })
        }
        None => Ok(id),
    }
}

/// The policies of one file in their order, each with the offset at which it begins.
fn parse(file: &File, problems: &mut Vec<Problem>) -> Vec<(Policy, usize)> {
    let mut report = |offset: Option<usize>, fault| {
        let place = offset.map(|offset| place(&file.text, offset));
        problems.push(Problem {
            file: file.name.clone(),
            place,
            fault,
        });
    };
    let set = match PolicySet::from_str(&file.text) {
        Ok(set) => set,
        Err(errors) => {
            for error in errors.iter() {
                let fault = Fault::Syntax {
                    message: error.to_string(),
                    help: help(error),
                };
                report(offset(error), fault);
            }
            return Vec::new();
        }
    };
    for template in set.templates() {
        report(
            file.text.find(template.to_string().as_str()),
            Fault::Template,
        );
    }
    // Cedar numbers the policies of a text from `policy0`, and keeps each one's own text.
    let mut numbered: Vec<(usize, &Policy)> = set
        .policies()
        .filter_map(|p| Some((p.id().to_string().strip_prefix("policy")?.parse().ok()?, p)))
        .collect();
    numbered.sort_by_key(|(number, _)| *number);
    let mut from = 0;
    let mut out = Vec::new();
    for (_, policy) in numbered {
        let text = policy.to_cedar().unwrap_or_default();
        let found = file
            .text
            .get(from..)
            .and_then(|rest| rest.find(&text))
            .unwrap_or(0);
        out.push((policy.clone(), from + found));
        from += found + text.len();
    }
    out
}

/// Strict validation; what warns is refused too.
pub(super) fn validate(
    schema: &Schema,
    set: &PolicySet,
    written: &BTreeMap<String, Written>,
    files: &[File],
    problems: &mut Vec<Problem>,
) {
    let mut report = |id: &PolicyId, offset: Option<usize>, fault| {
        let own = written.get(&id.to_string());
        let file = own.and_then(|w| files.iter().find(|f| f.name == w.file));
        let exact = file
            .zip(offset)
            .map(|(file, offset)| place(&file.text, offset));
        problems.push(Problem {
            file: own.map(|w| w.file.clone()).unwrap_or_default(),
            place: exact.or(own.map(|w| w.place)),
            fault,
        });
    };
    let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
    for error in result.validation_errors() {
        let (policy, message) = (error.policy_id().to_string(), first_line(error));
        let fault = Fault::Invalid {
            policy,
            message,
            help: help(error),
        };
        report(error.policy_id(), offset(error), fault);
    }
    for warning in result.validation_warnings() {
        let (policy, message) = (warning.policy_id().to_string(), first_line(warning));
        let fault = match warning {
            ValidationWarning::ImpossiblePolicy(_)
            | ValidationWarning::InvalidActionApplication(_) => {
                Fault::NeverMatches { policy, message }
            }
            _ => Fault::Suspicious { policy, message },
        };
        report(warning.policy_id(), offset(warning), fault);
    }
}

/// In the order of the files, one of each kind at each place: the validator repeats itself for
/// every kind of request, and calls impossible what it could not understand.
pub(super) fn once_each(mut problems: Vec<Problem>) -> Vec<Problem> {
    let invalid: BTreeSet<String> = problems
        .iter()
        .filter_map(|problem| match &problem.fault {
            Fault::Invalid { policy, .. } => Some(policy.clone()),
            _ => None,
        })
        .collect();
    problems.retain(|problem| match &problem.fault {
        Fault::NeverMatches { policy, .. } => !invalid.contains(policy),
        _ => true,
    });
    let key = |p: &Problem| (p.file.clone(), p.place, p.fault.code());
    problems.sort_by_key(key);
    problems.dedup_by_key(|problem| key(problem));
    problems
}

/// The validator begins its sentences with the policy's id, which the fault says already.
fn first_line(error: &dyn Diagnostic) -> String {
    let text = error.to_string();
    let text = text
        .split_once("`, ")
        .map_or(text.as_str(), |(_, rest)| rest);
    text.lines().collect::<Vec<_>>().join(" ")
}

fn offset(error: &dyn Diagnostic) -> Option<usize> {
    error.labels()?.next().map(|label| label.offset())
}

fn help(error: &dyn Diagnostic) -> Option<String> {
    error.help().map(|help| help.to_string())
}
