//! Cases: what the policies are meant to decide, written beside them.
//!
//! A file `NAME.cases.json` is an array. Each case has a name, a request and the decision that is
//! expected, in one of two forms. The long form is that of `cedar run-tests` of Cedar's own command
//! line: `request`, `entities`, `decision`, `reason`, `num_errors`. The short form says only what
//! matters and leaves the rest to be filled as the gate fills it:
//!
//! ```json
//! {
//!   "name": "an engineer syncs staging",
//!   "caller": { "roles": ["engineer"] },
//!   "action": "ApplicationService.Sync",
//!   "application": { "environment": "staging" },
//!   "context": { "finding": "satisfied" },
//!   "decision": "allow",
//!   "reason": ["engineer-deploy"]
//! }
//! ```

mod forms;

use std::collections::BTreeSet;

use cedar_policy::{Context as CedarContext, Entities, EntityUid, Request};
use serde::Serialize;
use serde_json::Value;

use self::forms::{Expected, Long, LongRequest, Short};
use super::decide::{Verdict, authorize};
use super::load::Policies;
use super::problem::{Fault, Problem, chain};
use super::source::{File, Source};

const MAX_CASES: usize = 10_000;

/// What running the cases of a folder led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Every case that could be read, in the order of the files.
    pub(super) results: Vec<CaseResult>,
    /// Files that are none of cases, and cases that fail.
    pub(super) problems: Vec<Problem>,
}

/// What one case led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseResult {
    /// The file it is in.
    pub file: String,
    /// Its name.
    pub name: String,
    /// Whether everything came out as it says.
    pub passed: bool,
    /// The ids of the policies that determined the decision.
    pub policies: Vec<String>,
}

/// A case, or a record, that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// It does not have the form of one.
    #[error("wrong form")]
    Form(#[source] serde_json::Error),
    /// A part of it does not fit the schema.
    #[error("its {part} does not fit the schema: {message}")]
    Misfit {
        /// Which part.
        part: &'static str,
        /// What Cedar said.
        message: String,
    },
    /// Its action concerns an application, an endpoint or an environment, and it names none.
    #[error("`{action}` needs an `{what}`")]
    Needs {
        /// The action.
        action: String,
        /// What it concerns.
        what: &'static str,
    },
    /// The schema does not have its action.
    #[error("the schema has no action `{action}`")]
    UnknownAction {
        /// The action.
        action: String,
    },
}

/// What a case says must come out.
struct Wanted {
    name: String,
    decision: Expected,
    reason: Option<Vec<String>>,
    errors: usize,
}

/// Runs every case of `source` against `policies`.
#[must_use]
pub(super) fn run(policies: &Policies, source: &Source) -> Outcome {
    let mut outcome = Outcome::default();
    for file in &source.cases {
        run_file(policies, file, &mut outcome);
    }
    outcome
}

fn run_file(policies: &Policies, file: &File, outcome: &mut Outcome) {
    let problem = |place, fault| Problem {
        file: file.name.clone(),
        place,
        fault,
    };
    let cases: Vec<Value> = match serde_json::from_str(&file.text) {
        Ok(cases) => cases,
        Err(error) => {
            let place = Some((error.line(), error.column())).filter(|(line, _)| *line > 0);
            outcome.problems.push(problem(
                place,
                Fault::Cases {
                    message: error.to_string(),
                },
            ));
            return;
        }
    };
    if cases.len() > MAX_CASES {
        let fault = Fault::TooMany {
            what: "cases",
            limit: MAX_CASES,
        };
        outcome.problems.push(problem(None, fault));
        return;
    }
    for (index, case) in cases.into_iter().enumerate() {
        let name = case.get("name").and_then(Value::as_str).map(str::to_owned);
        match judge(policies, case) {
            Ok((wanted, verdict)) => {
                let differs = wanted.differs(&verdict);
                outcome.results.push(CaseResult {
                    file: file.name.clone(),
                    name: wanted.name.clone(),
                    passed: differs.is_none(),
                    policies: verdict.policies,
                });
                let fails = |message| Fault::CaseFails {
                    case: wanted.name,
                    message,
                };
                outcome
                    .problems
                    .extend(differs.map(fails).map(|fault| problem(None, fault)));
            }
            Err(error) => {
                let name = name.unwrap_or_else(|| format!("number {}", index + 1));
                let message = format!("case `{name}`: {}", chain(&error));
                outcome
                    .problems
                    .push(problem(None, Fault::Cases { message }));
            }
        }
    }
}

impl Wanted {
    /// What came out differently, in words.
    fn differs(&self, verdict: &Verdict) -> Option<String> {
        let decision = if verdict.allowed {
            Expected::Allow
        } else {
            Expected::Deny
        };
        let list = |ids: &BTreeSet<&String>| {
            let ids: Vec<_> = ids.iter().map(|id| format!("`{id}`")).collect();
            if ids.is_empty() {
                "no policy".to_owned()
            } else {
                ids.join(", ")
            }
        };
        let mut all = Vec::new();
        if decision != self.decision {
            all.push(format!(
                "expected {}, is {}",
                self.decision.word(),
                decision.word()
            ));
        }
        let is: BTreeSet<&String> = verdict.policies.iter().collect();
        let wanted: Option<BTreeSet<&String>> = self.reason.as_ref().map(|r| r.iter().collect());
        if let Some(wanted) = wanted.filter(|wanted| *wanted != is) {
            all.push(format!(
                "expected {} to determine it, is {}",
                list(&wanted),
                list(&is)
            ));
        }
        if verdict.errors.len() != self.errors {
            let told = verdict.errors.join(", ");
            all.push(format!(
                "expected {} errors, are {}: {told}",
                self.errors,
                verdict.errors.len()
            ));
        }
        (!all.is_empty()).then(|| all.join("; "))
    }
}

fn judge(policies: &Policies, case: Value) -> Result<(Wanted, Verdict), CaseError> {
    if case.get("request").is_some() {
        let long: Long = serde_json::from_value(case).map_err(form)?;
        let verdict = again(policies, &long.request, &long.entities)?;
        let wanted = Wanted {
            name: long.name,
            decision: long.decision,
            reason: Some(long.reason),
            errors: long.num_errors,
        };
        Ok((wanted, verdict))
    } else {
        let short: Short = serde_json::from_value(case).map_err(form)?;
        let verdict = short.ask(policies)?;
        let wanted = Wanted {
            name: short.name,
            decision: short.decision,
            reason: short.reason,
            errors: short.num_errors,
        };
        Ok((wanted, verdict))
    }
}

/// Answers a request in the long form, which is that of a record too.
fn again(
    policies: &Policies,
    request: &LongRequest,
    entities: &Value,
) -> Result<Verdict, CaseError> {
    let schema = policies.schema();
    let uid = |part, text: &str| text.parse::<EntityUid>().map_err(|e| misfit(part, &e));
    let action = uid("action", &request.action)?;
    let context = CedarContext::from_json_value(request.context.clone(), Some((schema, &action)))
        .map_err(|e| misfit("context", &e))?;
    let entities = Entities::from_json_value(entities.clone(), Some(schema))
        .map_err(|e| misfit("entities", &e))?;
    let principal = uid("principal", &request.principal)?;
    let resource = uid("resource", &request.resource)?;
    let request = Request::new(principal, action, resource, context, Some(schema))
        .map_err(|e| misfit("request", &e))?;
    Ok(authorize(&request, policies.set(), &entities))
}

fn form(error: serde_json::Error) -> CaseError {
    CaseError::Form(error)
}

fn misfit(part: &'static str, error: &dyn std::error::Error) -> CaseError {
    CaseError::Misfit {
        part,
        message: chain(error),
    }
}

/// Answers again what an [`Answer`](super::Answer) recorded: whether it is permitted, and by which
/// policies.
///
/// # Errors
/// [`CaseError`] when `recorded` is no such record or does not fit the schema of `policies`.
pub fn answer_again(
    policies: &Policies,
    recorded: &Value,
) -> Result<(bool, Vec<String>), CaseError> {
    let part = |name: &str| recorded.get(name).cloned().unwrap_or_default();
    let request: LongRequest = serde_json::from_value(part("request")).map_err(form)?;
    let verdict = again(policies, &request, &part("entities"))?;
    Ok((verdict.allowed, verdict.policies))
}
