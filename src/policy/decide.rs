//! The decision: questions become answers, answers a [`Decision`].
//!
//! In: [`Question`]s. Out: a [`Permitted`] call, or a [`Denial`]. Any error while a policy is
//! evaluated is a refusal: Cedar skips a `forbid` that errs, so its own answer would be a
//! permission that somebody meant to withhold. A call is permitted only if every question is; a
//! call without questions is refused. Never: a second place that says yes.

use std::collections::BTreeSet;

use cedar_policy::{Authorizer, Decision as CedarDecision, Entities, PolicySet, Request};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::facts::Facts;
use super::load::{Action, Policies};
use super::permit::Permitted;
use super::problem::chain;
use super::question::{FindingWord, Mode, Question, Resource};

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Whether the policies permit it, without any error.
    pub allowed: bool,
    /// The ids of the determining policies, sorted: every matching permit of a yes, every matching
    /// forbid of a no; none when nothing matched.
    pub policies: Vec<String>,
    /// What went wrong. Not empty means refused.
    pub errors: Vec<String>,
    /// Whether the same question with its finding `satisfied` would be permitted: then, and only
    /// then, the caller may be told what is missing.
    pub evidence_would_allow: bool,
    /// Whether it would be permitted, with its tests, once nothing holds the environment any more.
    pub held: bool,
    /// What to do next, for people; the advice that asks for least comes first.
    pub advice: Vec<String>,
    /// What is needed to answer again.
    pub recorded: Recorded,
}

/// Request, entities and context of a question. Written out only where it is kept: reads are many,
/// and their records have none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded(Facts);

impl Recorded {
    /// As JSON, in the long form of a case.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.0.to_json()
    }
}

impl Serialize for Recorded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// What the policies say about a call.
#[derive(Debug)]
pub enum Decision<T> {
    /// It may be forwarded.
    Allow(Permitted<T>),
    /// It may not; the call is gone.
    Deny(Denial),
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// The kind of reason.
    pub code: DenialCode,
    /// The answers to the questions that were asked, in their order.
    pub answers: Vec<Answer>,
    /// Whether the same call with its findings `satisfied` would be permitted.
    pub evidence: bool,
}

/// The closed list of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenialCode {
    /// Tests are missing, and nothing else stands in the way.
    Evidence,
    /// A freeze or a stopped line stands in the way, perhaps missing tests too, and nothing else.
    Held,
    /// The caller may not.
    NotPermitted,
    /// A policy could not be evaluated, or the policies do not know the question.
    PolicyError,
    /// The application belongs to no environment, or to more than one.
    UnassignedEnvironment,
}

impl DenialCode {
    /// The stable name of this reason.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Evidence => "evidence",
            Self::Held => "held",
            Self::NotPermitted => "not-permitted",
            Self::PolicyError => "policy-error",
            Self::UnassignedEnvironment => "unassigned-environment",
        }
    }
}

impl Denial {
    /// The ids of the policies that forbade it, sorted, each once; none where nothing permitted it.
    #[must_use]
    pub fn policies(&self) -> Vec<&str> {
        policies(self.answers.iter().filter(|a| !a.allowed))
    }

    /// What to do next, for people; each once, in the order of the questions.
    #[must_use]
    pub fn advice(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for advice in self
            .answers
            .iter()
            .filter(|a| !a.allowed)
            .flat_map(|a| &a.advice)
        {
            if !all.contains(&advice.as_str()) {
                all.push(advice);
            }
        }
        all
    }
}

/// The ids of the policies that determined `answers`, sorted, each once.
pub(super) fn policies<'a>(answers: impl Iterator<Item = &'a Answer>) -> Vec<&'a str> {
    let ids: BTreeSet<&str> = answers
        .flat_map(|a| &a.policies)
        .map(String::as_str)
        .collect();
    ids.into_iter().collect()
}

/// What Cedar made of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) allowed: bool,
    pub(super) policies: Vec<String>,
    pub(super) errors: Vec<String>,
}

impl Verdict {
    fn error(error: String) -> Self {
        Self {
            allowed: false,
            policies: Vec::new(),
            errors: vec![error],
        }
    }

    fn unaskable(error: impl std::error::Error) -> Self {
        Self::error(chain(&error))
    }
}

/// Decides about `call`: permitted only if the answer to every question is yes, save where an
/// environment only observes, whose refusals are kept in the permit.
pub fn decide<T>(policies: &Policies, questions: &[Question<'_>], call: T) -> Decision<T> {
    let answers: Vec<Answer> = questions.iter().map(|q| policies.answer(q)).collect();
    let asked = || questions.iter().zip(&answers);
    let all: Vec<_> = asked().filter(|(_, answer)| !answer.allowed).collect();
    let enforced: Vec<_> = all
        .iter()
        .copied()
        .filter(|(q, _)| !only_observed(q))
        .collect();
    if answers.is_empty() || !enforced.is_empty() {
        let (code, evidence) = reason(&enforced);
        return Decision::Deny(Denial {
            code,
            answers,
            evidence,
        });
    }
    let observed = (!all.is_empty()).then(|| {
        let (code, evidence) = reason(&all);
        Denial {
            code,
            answers: answers.clone(),
            evidence,
        }
    });
    Decision::Allow(Permitted::new(call, answers, observed))
}

/// SECURITY: only an application can be in an environment that observes, and only in one that is
/// its own; whatever the question says, everything else is enforced.
fn only_observed(question: &Question<'_>) -> bool {
    match question.resource {
        Resource::Application(app) => question.context.mode == Mode::Observe && !app.is_unplaced(),
        Resource::ArgoCd | Resource::Endpoint(_) | Resource::Environment(_) | Resource::Gate => {
            false
        }
    }
}

/// The one reason to give for these refusals, and whether it is one of evidence. The gravest comes
/// first, so that nobody is sent to run tests that would not help.
fn reason(refused: &[(&Question<'_>, &Answer)]) -> (DenialCode, bool) {
    let others = || {
        refused
            .iter()
            .filter(|(_, answer)| !answer.evidence_would_allow && !answer.held)
    };
    let unplaced = |question: &Question<'_>| match question.resource {
        // Who has no role is not told how the application is configured.
        Resource::Application(app) => app.is_unplaced() && !question.caller.roles.is_empty(),
        Resource::ArgoCd | Resource::Endpoint(_) | Resource::Environment(_) | Resource::Gate => {
            false
        }
    };
    if refused.is_empty() || refused.iter().any(|(_, answer)| !answer.errors.is_empty()) {
        (DenialCode::PolicyError, false)
    } else if others().next().is_none() {
        let is_held = refused.iter().any(|(_, answer)| answer.held);
        if is_held {
            (DenialCode::Held, false)
        } else {
            (DenialCode::Evidence, true)
        }
    } else if others().all(|(question, answer)| unplaced(question) && !answer.policies.is_empty()) {
        (DenialCode::UnassignedEnvironment, false)
    } else {
        (DenialCode::NotPermitted, false)
    }
}

impl Policies {
    /// Answers one question.
    #[must_use]
    pub fn answer(&self, question: &Question<'_>) -> Answer {
        let facts = Facts::of(question);
        let Some(action) = self.action(question.action) else {
            let error = format!("the schema has no action `{}`", question.action);
            return answer(Verdict::error(error), Hindrance::Other, Vec::new(), facts);
        };
        let verdict = self.verdict(action, &facts);
        if verdict.allowed || !verdict.errors.is_empty() {
            return answer(verdict, Hindrance::Other, Vec::new(), facts);
        }
        let (hindrance, advice) = self.hindrance(action, question, &facts, &verdict);
        answer(verdict, hindrance, advice, facts)
    }

    /// What stands in the way of what `refused` is about, and what to do. Where neither tests nor
    /// patience would help, the advice is about what would.
    fn hindrance(
        &self,
        action: &Action,
        question: &Question<'_>,
        facts: &Facts,
        refused: &Verdict,
    ) -> (Hindrance, Vec<String>) {
        let context = &question.context;
        let is_held = context
            .deploy
            .as_ref()
            .is_some_and(|deploy| deploy.stopped || !deploy.freezes.is_empty());
        let lacks_tests = context.finding == FindingWord::Blocked;
        let (tested, once_tested) = if lacks_tests {
            let tested = facts.with_finding(FindingWord::Satisfied);
            let verdict = self.verdict(action, &tested);
            (tested, verdict)
        } else {
            (facts.clone(), refused.clone())
        };
        if once_tested.allowed {
            return (Hindrance::Evidence, self.advice(action, &tested, refused));
        }
        if !is_held {
            return (Hindrance::Other, self.advice(action, &tested, &once_tested));
        }
        let released = tested.released();
        let once_released = self.verdict(action, &released);
        if once_released.allowed {
            (Hindrance::Hold, self.advice(action, &tested, &once_tested))
        } else {
            let advice = self.advice(action, &released, &once_released);
            (Hindrance::Other, advice)
        }
    }

    /// Whether the answer is yes, for those who need no reasons: what a list may show.
    #[must_use]
    pub fn permits(&self, question: &Question<'_>) -> bool {
        let action = self.action(question.action);
        action.is_some_and(|action| self.verdict(action, &Facts::of(question)).allowed)
    }

    fn verdict(&self, action: &Action, facts: &Facts) -> Verdict {
        match self.request(action, facts) {
            Ok((request, entities)) => authorize(&request, &action.policies, &entities),
            Err(refusal) => refusal,
        }
    }

    /// The Cedar request, with only the entities it needs. Everything is checked against the
    /// schema: an attribute that is not there would make a policy err.
    pub(super) fn request(
        &self,
        action: &Action,
        facts: &Facts,
    ) -> Result<(Request, Entities), Verdict> {
        let schema = Some(self.schema());
        let entities = facts.entities().map_err(Verdict::unaskable)?;
        let entities = action
            .entities
            .clone()
            .add_entities(entities, schema)
            .map_err(Verdict::unaskable)?;
        let context = facts.context().map_err(Verdict::unaskable)?;
        let (principal, resource) = (facts.principal().clone(), facts.resource().clone());
        Request::new(principal, facts.action.clone(), resource, context, schema)
            .map(|request| (request, entities))
            .map_err(Verdict::unaskable)
    }

    /// What the policies advise: those that forbade it, or else those that would permit it to a
    /// caller with another role, the one that permits least first.
    fn advice(&self, action: &Action, facts: &Facts, refused: &Verdict) -> Vec<String> {
        let near = refused.policies.is_empty().then(|| {
            let verdict = self.verdict(action, &facts.with_roles(&action.roles));
            if verdict.allowed {
                verdict.policies
            } else {
                Vec::new()
            }
        });
        let ids = near.as_ref().unwrap_or(&refused.policies);
        let mut written: Vec<_> = ids.iter().filter_map(|id| self.written(id)).collect();
        written.sort_by_key(|w| (w.breadth, &w.id));
        written.iter().filter_map(|w| w.advice.clone()).collect()
    }
}

/// Asks Cedar. SECURITY: an error is a refusal, whatever Cedar answered.
pub(super) fn authorize(request: &Request, policies: &PolicySet, entities: &Entities) -> Verdict {
    let response = Authorizer::new().is_authorized(request, policies, entities);
    let mut ids: Vec<String> = response
        .diagnostics()
        .reason()
        .map(ToString::to_string)
        .collect();
    let mut errors: Vec<String> = response
        .diagnostics()
        .errors()
        .map(|error| chain(error))
        .collect();
    ids.sort_unstable();
    errors.sort_unstable();
    let allowed = response.decision() == CedarDecision::Allow && errors.is_empty();
    Verdict {
        allowed,
        policies: ids,
        errors,
    }
}

/// What alone stands in the way of a yes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hindrance {
    /// Missing tests.
    Evidence,
    /// What holds the environment, perhaps missing tests too.
    Hold,
    /// Something that neither would help.
    Other,
}

fn answer(verdict: Verdict, hindrance: Hindrance, advice: Vec<String>, facts: Facts) -> Answer {
    let Verdict {
        allowed,
        policies,
        errors,
    } = verdict;
    Answer {
        allowed,
        policies,
        errors,
        evidence_would_allow: hindrance == Hindrance::Evidence,
        held: hindrance == Hindrance::Hold,
        advice,
        recorded: Recorded(facts),
    }
}
