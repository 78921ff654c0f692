//! The two forms of a case, and how the short one is filled.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::super::decide::Verdict;
use super::super::facts::Kind;
use super::super::load::Policies;
use super::super::question::{
    ApplicationFacts, Context, Deploying, EndpointFacts, FindingWord, GlassWord, Mode, Moves,
    Question, Resource, SyncOptions,
};
use super::CaseError;
use crate::identity::ci::{CiJob, CiProvider};
use crate::identity::{Caller, SignIn, Subject, aws};
use crate::names::{AppRef, Role};

/// The form of `cedar run-tests`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Long {
    pub(super) name: String,
    pub(super) request: LongRequest,
    pub(super) entities: Value,
    pub(super) decision: Expected,
    pub(super) reason: Vec<String>,
    #[serde(default)]
    pub(super) num_errors: usize,
}

/// Its request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LongRequest {
    pub(super) principal: String,
    pub(super) action: String,
    pub(super) resource: String,
    #[serde(default = "empty_object")]
    pub(super) context: Value,
}

/// The short form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Short {
    pub(super) name: String,
    caller: ShortCaller,
    action: String,
    application: Option<ShortApplication>,
    endpoint: Option<ShortEndpoint>,
    environment: Option<String>,
    #[serde(default)]
    context: ShortContext,
    pub(super) decision: Expected,
    pub(super) reason: Option<Vec<String>>,
    #[serde(default)]
    pub(super) num_errors: usize,
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
    /// What a job of CI is; only of one.
    ci: Option<ShortJob>,
    /// Whether configuration lets this workload report the application's tests.
    #[serde(default)]
    tests: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CallerKind {
    /// A role of AWS, whose name the subject is.
    Aws,
    Ci,
    Gate,
    #[default]
    Person,
    User,
    Workload,
}

#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ShortJob {
    provider: CiProvider,
    repository: String,
    repository_id: String,
    /// Empty: of a pull or merge request that has none.
    #[serde(rename = "ref")]
    git_ref: String,
    ref_protected: bool,
    workflow: String,
    environment: String,
    event: String,
}

/// A push to the protected default branch.
impl Default for ShortJob {
    fn default() -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            provider: CiProvider::GitHub,
            repository: text("acme/checkout"),
            repository_id: text("74"),
            git_ref: text("refs/heads/main"),
            ref_protected: true,
            workflow: text("acme/checkout/.github/workflows/test.yml@refs/heads/main"),
            environment: String::new(),
            event: text("push"),
        }
    }
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShortEndpoint {
    name: Option<String>,
    environment: String,
    method: Option<String>,
    path: Option<String>,
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
    moves: Option<Moves>,
    freezes: BTreeSet<String>,
    stopped: bool,
    break_glass: Option<GlassWord>,
    rolled_back: bool,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Wire {
    Admission,
    #[default]
    Grpc,
    GrpcWeb,
    Own,
    Rest,
}

/// The decision that is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Expected {
    #[serde(alias = "Allow")]
    Allow,
    #[serde(alias = "Deny")]
    Deny,
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

impl Expected {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl Short {
    /// Asks as the gate asks, with everything that is left open filled.
    pub(super) fn ask(&self, policies: &Policies) -> Result<Verdict, CaseError> {
        let caller = self.caller.filled(self.context.bound)?;
        let application = self
            .application
            .as_ref()
            .map(|app| app.filled(self.caller.tests));
        let endpoint = self.endpoint.as_ref().map(ShortEndpoint::filled);
        let question = Question {
            caller: &caller,
            action: &self.action,
            resource: match (&application, &endpoint, &self.environment) {
                (Some(application), _, _) => Resource::Application(application),
                (None, Some(endpoint), _) => Resource::Endpoint(endpoint),
                (None, None, Some(environment)) => Resource::Environment(environment),
                (None, None, None) => self.singleton(policies)?,
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

    /// What a case that names nothing is about, by its action.
    fn singleton(&self, policies: &Policies) -> Result<Resource<'static>, CaseError> {
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
            Err(CaseError::UnknownAction {
                action: self.action.clone(),
            })
        } else {
            let needs = |kind: Kind| kinds.contains(&kind.type_name());
            Err(CaseError::Needs {
                action: self.action.clone(),
                what: match () {
                    () if needs(Kind::Endpoint) => "endpoint",
                    () if needs(Kind::Environment) => "environment",
                    () => "application",
                },
            })
        }
    }
}

impl ShortCaller {
    fn filled(&self, bound: bool) -> Result<Caller, CaseError> {
        if self.ci.is_some() && self.kind != CallerKind::Ci {
            return Err(CaseError::Misfit {
                part: "caller",
                message: "`ci` is for the kind `ci`".to_owned(),
            });
        }
        let issuer = match self.kind {
            CallerKind::Aws => aws::ISSUER,
            _ => "https://idp.example",
        };
        let subject = || self.subject.clone().unwrap_or_else(|| "somebody".into());
        let subject = match self.kind {
            CallerKind::Aws => Subject::AwsPrincipal {
                arn: format!("arn:aws:iam::123456789012:role/{}", subject()),
                account: "123456789012".into(),
                name: subject(),
                session: None,
            },
            CallerKind::Ci => Subject::CiJob(Box::new(self.job())),
            CallerKind::Gate => Subject::Gate,
            CallerKind::Person => Subject::OidcUser {
                email: Some(format!("{}@example.com", subject())),
                subject: subject(),
                name: None,
            },
            CallerKind::User => Subject::KubernetesUser { name: subject() },
            CallerKind::Workload => Subject::KubernetesAccount {
                namespace: "tests".into(),
                name: subject(),
                pod: None,
            },
        };
        Ok(Caller {
            subject,
            issuer: self.issuer.clone().unwrap_or_else(|| issuer.into()),
            groups: self.groups.clone(),
            roles: self.roles.clone(),
            expires_at: Timestamp::MAX,
            sign_in: SignIn {
                bound,
                ..SignIn::default()
            },
        })
    }

    fn job(&self) -> CiJob {
        let job = self.ci.clone().unwrap_or_default();
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let subject = format!("repo:{}:ref:{}", job.repository, job.git_ref);
        CiJob {
            provider: job.provider,
            subject: self.subject.clone().unwrap_or(subject),
            repository: job.repository,
            repository_id: job.repository_id,
            git_ref: some(job.git_ref),
            ref_protected: job.ref_protected,
            workflow: some(job.workflow),
            environment: some(job.environment),
            event: job.event,
            run: "1".to_owned(),
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

impl ShortEndpoint {
    fn filled(&self) -> EndpointFacts {
        let or =
            |value: &Option<String>, other: &str| value.clone().unwrap_or_else(|| other.to_owned());
        EndpointFacts {
            name: or(&self.name, "checkout-api"),
            environment: self.environment.clone(),
            method: or(&self.method, "GET"),
            path: or(&self.path, "/"),
        }
    }
}

impl ShortContext {
    /// What is rolled out moves forward, unless the case says otherwise. What a case says of an action
    /// that has no such facts is kept, so that it does not fit the schema.
    fn deploying(&self, action: &str) -> Option<Deploying> {
        let held = self.stopped || !self.freezes.is_empty();
        let says = held || self.rolled_back || self.moves.is_some() || self.break_glass.is_some();
        let moves = match self.finding {
            None | Some(FindingWord::None) => Moves::Nothing,
            Some(FindingWord::Incumbent) => Moves::Back,
            Some(_) => Moves::Forward,
        };
        (says || Deploying::belongs_to(action)).then(|| Deploying {
            moves: self.moves.unwrap_or(moves),
            freezes: self.freezes.clone(),
            stopped: self.stopped,
            break_glass: self.break_glass.unwrap_or_default(),
            rolled_back: self.rolled_back,
        })
    }

    fn filled(&self, action: &str) -> Context {
        let options = SyncOptions::belong_to(action).then(SyncOptions::default);
        Context {
            finding: self.finding.unwrap_or(FindingWord::None),
            now: self.now.unwrap_or(Timestamp::UNIX_EPOCH),
            wire: match self.wire {
                Wire::Admission => "admission",
                Wire::Grpc => "grpc",
                Wire::GrpcWeb => "grpc-web",
                Wire::Own => "own",
                Wire::Rest => "rest",
            },
            mode: self.mode.unwrap_or(Mode::Enforce),
            sync: self.sync.or(options),
            deploy: self.deploying(action),
        }
    }
}
