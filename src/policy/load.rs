//! The policies in force: validated, and indexed by action.
//!
//! In: a [`Source`]. Out: [`Policies`], which never change, or every [`Problem`] at once. Refuses
//! what `parse` finds at fault, and a schema that does not fit what the gate asks.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, Effect, Entities, EntityUid, Policy, PolicyId, PolicySet, Schema,
};

use super::facts::Kind;
use super::fit;
use super::parse::{once_each, parse_all, parse_schema, validate};
use super::problem::{Fault, LoadError, Problem, chain};
use super::source::Source;

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
