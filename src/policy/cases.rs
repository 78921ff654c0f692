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

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Context as CedarContext, Entities, EntityUid, Request};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decide::{Verdict, authorize};
use super::facts::Kind;
use super::load::Policies;
use super::problem::{Fault, Problem, chain};
use super::question::{
    ApplicationFacts, Context, FindingWord, Mode, Question, Resource, SyncOptions,
};
use super::source::{File, Source};
use crate::identity::{Caller, Subject};
use crate::names::{AppRef, Role};

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    name: String,
    request: LongRequest,
    entities: Value,
    decision: Expected,
    reason: Vec<String>,
    #[serde(default)]
    num_errors: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongRequest {
    principal: String,
    action: String,
    resource: String,
    #[serde(default = "empty_object")]
    context: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Short {
    name: String,
    caller: ShortCaller,
    action: String,
    application: Option<ShortApplication>,
    #[serde(default)]
    context: ShortContext,
    decision: Expected,
    reason: Option<Vec<String>>,
    #[serde(default)]
    num_errors: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShortCaller {
    #[serde(default)]
    kind: CallerKind,
    #[serde(default)]
    roles: BTreeSet<Role>,
    #[serde(default)]
    groups: BTreeSet<String>,
    issuer: Option<String>,
    subject: Option<String>,
    /// Whether configuration lets this workload report the application's tests.
    #[serde(default)]
    tests: bool,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CallerKind {
    #[default]
    Person,
    Workload,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ShortApplication {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    environment: String,
    project: Option<String>,
    component: Option<String>,
    cluster: Option<String>,
    destination_namespace: Option<String>,
    labels: BTreeMap<String, String>,
    auto_sync: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ShortContext {
    finding: Option<FindingWord>,
    now: Option<Timestamp>,
    bound: bool,
    wire: Wire,
    mode: Option<Mode>,
    sync: Option<SyncOptions>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Wire {
    #[default]
    Grpc,
    GrpcWeb,
    Own,
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    #[serde(alias = "Allow")]
    Allow,
    #[serde(alias = "Deny")]
    Deny,
}

/// What a case says must come out.
struct Wanted {
    name: String,
    decision: Expected,
    reason: Option<Vec<String>>,
    errors: usize,
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
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
            Err(message) => {
                let message = format!("case {}: {message}", index + 1);
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

impl Expected {
    fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

fn judge(policies: &Policies, case: Value) -> Result<(Wanted, Verdict), String> {
    if case.get("request").is_some() {
        let long: Long = serde_json::from_value(case).map_err(|e| e.to_string())?;
        let verdict = again(policies, &long.request, &long.entities)?;
        let wanted = Wanted {
            name: long.name,
            decision: long.decision,
            reason: Some(long.reason),
            errors: long.num_errors,
        };
        Ok((wanted, verdict))
    } else {
        let short: Short = serde_json::from_value(case).map_err(|e| e.to_string())?;
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
fn again(policies: &Policies, request: &LongRequest, entities: &Value) -> Result<Verdict, String> {
    let schema = policies.schema();
    let uid = |what: &str, text: &str| {
        text.parse::<EntityUid>()
            .map_err(|e| format!("{what} `{text}`: {}", chain(&e)))
    };
    let action = uid("action", &request.action)?;
    let context = CedarContext::from_json_value(request.context.clone(), Some((schema, &action)))
        .map_err(|e| format!("context: {}", chain(&e)))?;
    let entities = Entities::from_json_value(entities.clone(), Some(schema))
        .map_err(|e| format!("entities: {}", chain(&e)))?;
    let principal = uid("principal", &request.principal)?;
    let resource = uid("resource", &request.resource)?;
    let request = Request::new(principal, action, resource, context, Some(schema))
        .map_err(|e| format!("request: {}", chain(&e)))?;
    Ok(authorize(&request, policies.set(), &entities))
}

/// Answers again what an [`Answer`](super::Answer) recorded: whether it is permitted, and by which
/// policies.
///
/// # Errors
/// A sentence, when `recorded` is no such record or does not fit the schema of `policies`.
pub fn answer_again(policies: &Policies, recorded: &Value) -> Result<(bool, Vec<String>), String> {
    let part = |name: &str| recorded.get(name).cloned().unwrap_or_default();
    let request: LongRequest =
        serde_json::from_value(part("request")).map_err(|e| e.to_string())?;
    let verdict = again(policies, &request, &part("entities"))?;
    Ok((verdict.allowed, verdict.policies))
}

impl Short {
    fn ask(&self, policies: &Policies) -> Result<Verdict, String> {
        let caller = self.caller.filled();
        let application = self
            .application
            .as_ref()
            .map(|app| app.filled(self.caller.tests));
        let question = Question {
            caller: &caller,
            action: &self.action,
            resource: match &application {
                Some(application) => Resource::Application(application),
                None => self.singleton(policies)?,
            },
            context: self.context.filled(&self.action),
        };
        let answer = policies.answer(&question);
        let (allowed, policies, errors) = (answer.allowed, answer.policies, answer.errors);
        Ok(Verdict {
            allowed,
            policies,
            errors,
        })
    }

    /// What a case without an application is about, by its action.
    fn singleton(&self, policies: &Policies) -> Result<Resource<'static>, String> {
        let action = Kind::Action.uid(&self.action);
        let kinds: Vec<_> = policies
            .schema()
            .resources_for_action(&action)
            .into_iter()
            .flatten()
            .collect();
        if kinds.contains(&Kind::ArgoCd.type_name()) {
            Ok(Resource::ArgoCd)
        } else if kinds.contains(&Kind::Gate.type_name()) {
            Ok(Resource::Gate)
        } else if kinds.is_empty() {
            Err(format!(
                "`{}`: the schema has no action `{}`",
                self.name, self.action
            ))
        } else {
            Err(format!(
                "`{}`: `{}` needs an `application`",
                self.name, self.action
            ))
        }
    }
}

impl ShortCaller {
    fn filled(&self) -> Caller {
        let issuer = "https://idp.example";
        let subject = || self.subject.clone().unwrap_or_else(|| "somebody".into());
        let subject = match self.kind {
            CallerKind::Person => Subject::OidcUser {
                email: Some(format!("{}@example.com", subject())),
                subject: subject(),
                name: None,
            },
            CallerKind::Workload => Subject::KubernetesAccount {
                namespace: "tests".into(),
                name: subject(),
                pod: None,
            },
        };
        Caller {
            subject,
            issuer: self.issuer.clone().unwrap_or_else(|| issuer.into()),
            groups: self.groups.clone(),
            roles: self.roles.clone(),
            expires_at: Timestamp::MAX,
        }
    }
}

impl ShortApplication {
    fn filled(&self, tested_by_caller: bool) -> ApplicationFacts {
        let or =
            |value: &Option<String>, other: &str| value.clone().unwrap_or_else(|| other.to_owned());
        let name = format!("checkout-{}", self.environment);
        ApplicationFacts {
            app: AppRef {
                namespace: self.namespace.clone(),
                name: or(&self.name, &name),
            },
            uid: self.uid.clone(),
            project: or(&self.project, "default"),
            environment: self.environment.clone(),
            component: or(&self.component, "checkout"),
            cluster: or(&self.cluster, "https://kubernetes.default.svc"),
            destination_namespace: or(&self.destination_namespace, "default"),
            labels: self.labels.clone(),
            auto_sync: self.auto_sync,
            tested_by_caller,
        }
    }
}

impl ShortContext {
    fn filled(&self, action: &str) -> Context {
        let options = SyncOptions::belong_to(action).then(SyncOptions::default);
        Context {
            finding: self.finding.unwrap_or(FindingWord::None),
            now: self.now.unwrap_or(Timestamp::UNIX_EPOCH),
            bound: self.bound,
            wire: match self.wire {
                Wire::Grpc => "grpc",
                Wire::GrpcWeb => "grpc-web",
                Wire::Own => "own",
                Wire::Rest => "rest",
            },
            mode: self.mode.unwrap_or(Mode::Enforce),
            sync: self.sync.or(options),
        }
    }
}
