//! From text to policies that can take effect.
//!
//! In: a [`Source`]. Out: [`Policies`], which never change, or every [`Problem`] at once. Refuses
//! policies that do not fit the schema strictly, that can never match, that have no id of their
//! own, or that a template would have to fill; and a schema that does not fit what the gate asks.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr as _;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, CedarSchemaError, Effect, Entities, EntityUid, Policy, PolicyId, PolicySet,
    Schema, ValidationMode, ValidationWarning, Validator,
};
use miette::Diagnostic;

use super::facts::Kind;
use super::fit;
use super::problem::{Fault, LoadError, Problem, chain, place};
use super::source::{File, Source};
use crate::names::Role;

const MAX_POLICIES: usize = 4096;

/// Policies in force: validated, indexed by action, immutable.
pub struct Policies {
    set: PolicySet,
    schema: Schema,
    actions: HashMap<String, Action>,
    written: BTreeMap<String, Written>,
    digest: String,
    schema_digest: String,
}

/// What is prepared for one action, so that a request pays only for what concerns it.
pub(super) struct Action {
    /// The policies whose scope has this action.
    pub(super) policies: Arc<PolicySet>,
    /// The action and its groups.
    pub(super) entities: Entities,
    /// The roles that these policies name.
    pub(super) roles: Vec<EntityUid>,
}

/// One policy, as its file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its `@id`.
    pub id: String,
    /// The file it is in.
    pub file: String,
    /// Line and column of its beginning, from 1.
    pub place: (usize, usize),
    /// Whether it permits or forbids.
    pub effect: Effect,
    /// Its `@advice`: what to do when it stands, or is missing, in the way.
    pub advice: Option<String>,
    /// How many actions are in its scope.
    pub breadth: usize,
}

/// Names the digests and counts; policies and schema are in their files.
impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policies")
            .field("digest", &self.digest)
            .field("policies", &self.written.len())
            .finish_non_exhaustive()
    }
}

impl Policies {
    /// Parses, validates and indexes `source`.
    ///
    /// # Errors
    /// [`LoadError`] with every problem that was found.
    pub fn build(source: &Source) -> Result<Self, LoadError> {
        let mut problems = Vec::new();
        let schema = match parse_schema(&source.schema) {
            Ok(schema) => Some(schema),
            Err(found) => {
                problems.extend(found);
                None
            }
        };
        let (set, written) = parse_all(&source.policies, &mut problems);
        if let Some(schema) = &schema {
            validate(schema, &set, &written, &source.policies, &mut problems);
        }
        let Some(schema) = schema.filter(|_| problems.is_empty()) else {
            return Err(LoadError {
                problems: once_each(problems),
            });
        };
        let policies = Self::index(source, schema, set, written).map_err(|fault| LoadError {
            problems: vec![Problem {
                file: source.schema.name.clone(),
                place: None,
                fault,
            }],
        })?;
        match fit::problems(&policies) {
            found if found.is_empty() => Ok(policies),
            problems => Err(LoadError { problems }),
        }
    }

    fn index(
        source: &Source,
        schema: Schema,
        set: PolicySet,
        mut written: BTreeMap<String, Written>,
    ) -> Result<Self, Fault> {
        let all = schema.action_entities().map_err(|e| unfit(&e))?;
        let mut shared: HashMap<BTreeSet<PolicyId>, Arc<PolicySet>> = HashMap::new();
        let mut actions = HashMap::new();
        for uid in schema
            .actions()
            .filter(|uid| uid.type_name() == Kind::Action.type_name())
        {
            let groups = all.ancestors(uid).into_iter().flatten();
            let family: Vec<EntityUid> = std::iter::once(uid).chain(groups).cloned().collect();
            let chosen = set
                .policies()
                .filter(|p| concerns(&p.action_constraint(), &family));
            let chosen: BTreeMap<PolicyId, &Policy> = chosen.map(|p| (p.id().clone(), p)).collect();
            for id in chosen.keys() {
                if let Some(written) = written.get_mut(&id.to_string()) {
                    written.breadth += 1;
                }
            }
            let roles = named(chosen.values().copied(), Kind::Role)
                .into_iter()
                .collect();
            // Many actions share their policies; each set is kept once.
            let policies = match shared.entry(chosen.keys().cloned().collect()) {
                Entry::Occupied(entry) => Arc::clone(entry.get()),
                Entry::Vacant(entry) => {
                    let own = PolicySet::from_policies(chosen.into_values().cloned());
                    Arc::clone(entry.insert(Arc::new(own.map_err(|e| unfit(&e))?)))
                }
            };
            let entities = family.iter().filter_map(|uid| all.get(uid).cloned());
            let entities = Entities::from_entities(entities, None).map_err(|e| unfit(&e))?;
            let action = Action {
                policies,
                entities,
                roles,
            };
            actions.insert(uid.id().unescaped().to_owned(), action);
        }
        let (digest, schema_digest) = (source.digest(), source.schema_digest());
        Ok(Self {
            set,
            schema,
            actions,
            written,
            digest,
            schema_digest,
        })
    }

    /// SHA-256 (hexadecimal) of the schema and all policies.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// SHA-256 (hexadecimal) of the schema.
    #[must_use]
    pub fn schema_digest(&self) -> &str {
        &self.schema_digest
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// All policies, in one set.
    #[must_use]
    pub fn set(&self) -> &PolicySet {
        &self.set
    }

    /// The policies as their files have them, by id.
    pub fn all_written(&self) -> impl Iterator<Item = &Written> {
        self.written.values()
    }

    /// The policy with this id.
    #[must_use]
    pub fn written(&self, id: &str) -> Option<&Written> {
        self.written.get(id)
    }

    /// The environments that policies name. One that configuration does not know is most likely
    /// misspelt.
    #[must_use]
    pub fn environments(&self) -> BTreeSet<String> {
        self.ids(Kind::Environment)
    }

    /// The roles that policies name. One that configuration gives to nobody is most likely
    /// misspelt.
    #[must_use]
    pub fn roles(&self) -> BTreeSet<String> {
        self.ids(Kind::Role)
    }

    /// The names of the schema's actions, sorted, each with the groups that it is in. A group is an
    /// action too, in no group.
    #[must_use]
    pub fn actions(&self) -> BTreeMap<String, BTreeSet<String>> {
        let groups = |name: &str, action: &Action| {
            let family = action
                .entities
                .iter()
                .map(|e| e.uid().id().unescaped().to_owned());
            family.filter(|other| other != name).collect()
        };
        self.actions
            .iter()
            .map(|(name, action)| (name.clone(), groups(name, action)))
            .collect()
    }

    pub(super) fn action(&self, name: &str) -> Option<&Action> {
        self.actions.get(name)
    }

    fn ids(&self, kind: Kind) -> BTreeSet<String> {
        let named = named(self.set.policies(), kind);
        named
            .iter()
            .map(|uid| uid.id().unescaped().to_owned())
            .collect()
    }
}

/// The entities of `kind` that `policies` name.
fn named<'a>(policies: impl Iterator<Item = &'a Policy>, kind: Kind) -> BTreeSet<EntityUid> {
    policies
        .flat_map(Policy::entity_literals)
        .filter(|uid| uid.type_name() == kind.type_name())
        .collect()
}

fn unfit(error: &dyn std::error::Error) -> Fault {
    Fault::Schema {
        message: chain(error),
        help: None,
    }
}

fn concerns(constraint: &ActionConstraint, family: &[EntityUid]) -> bool {
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => family.first() == Some(uid),
        ActionConstraint::In(uids) => uids.iter().any(|uid| family.contains(uid)),
    }
}

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
fn parse_all(
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
fn validate(
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
fn once_each(mut problems: Vec<Problem>) -> Vec<Problem> {
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
