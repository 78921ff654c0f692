//! Whether a folder's schema fits the requests of this gate.
//!
//! A folder may be older than the binary. An action that its schema lacks, or an attribute that it
//! does not know, would make every such request an error, and so a refusal, at the worst moment;
//! here it is found before the folder takes effect. Each kind of request that the shipped schema
//! admits is tried once.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{EntityTypeName, Schema};
use jiff::Timestamp;

use super::facts::{Facts, Kind};
use super::load::Policies;
use super::parse::parse_schema;
use super::problem::{Fault, Problem};
use super::question::{
    ApplicationFacts, Context, Deploying, EndpointFacts, FindingWord, Mode, Question, Resource,
    SyncOptions,
};
use super::source::{SCHEMA, Source};
use crate::identity::{Caller, SignIn, Subject};
use crate::names::AppRef;

/// How many are told; the rest has the same cause.
const MAX_TOLD: usize = 8;

/// What does not fit, each once.
pub(super) fn problems(policies: &Policies) -> Vec<Problem> {
    let shipped = match parse_schema(&Source::shipped().schema) {
        Ok(schema) => schema,
        Err(problems) => return problems,
    };
    let mut told = BTreeSet::new();
    let mut problems = Vec::new();
    for (action, kind, resource) in requests(&shipped) {
        let Some(message) = unfit(policies, &caller(kind), &action, resource) else {
            continue;
        };
        if told.insert(message.clone()) && problems.len() < MAX_TOLD {
            problems.push(Problem {
                file: SCHEMA.into(),
                place: None,
                fault: Fault::SchemaUnfit { action, message },
            });
        }
    }
    problems
}

fn unfit(policies: &Policies, caller: &Caller, action: &str, resource: Kind) -> Option<String> {
    let Some(known) = policies.action(action) else {
        return Some(format!("there is no action `{action}`"));
    };
    let (application, endpoint) = (application(), endpoint());
    let question = Question {
        caller,
        action,
        resource: match resource {
            Kind::Application => Resource::Application(&application),
            Kind::Endpoint => Resource::Endpoint(&endpoint),
            Kind::Environment => Resource::Environment("probe"),
            Kind::Gate => Resource::Gate,
            _ => Resource::ArgoCd,
        },
        context: Context {
            finding: FindingWord::None,
            now: Timestamp::UNIX_EPOCH,
            wire: "grpc",
            mode: Mode::Enforce,
            sync: SyncOptions::belong_to(action).then(SyncOptions::default),
            deploy: Deploying::freely(action),
        },
    };
    let refusal = policies.request(known, &Facts::of(&question)).err()?;
    Some(refusal.errors.join(", "))
}

/// Every kind of request that `schema` admits, sorted: action, caller, resource.
fn requests(schema: &Schema) -> Vec<(String, Kind, Kind)> {
    let kind = |name: &EntityTypeName| {
        let kinds = [
            Kind::Application,
            Kind::Endpoint,
            Kind::Environment,
            Kind::Gate,
        ];
        kinds
            .into_iter()
            .find(|kind| kind.type_name() == name)
            .unwrap_or(Kind::ArgoCd)
    };
    let mut requests: Vec<_> = schema
        .request_envs()
        .map(|env| {
            let callers = [Kind::Controller, Kind::Person];
            let caller = callers
                .into_iter()
                .find(|kind| kind.type_name() == env.principal());
            (
                env.action().id().unescaped().to_owned(),
                caller.unwrap_or(Kind::Workload),
                kind(env.resource()),
            )
        })
        .collect();
    requests.sort_unstable();
    requests
}

fn caller(kind: Kind) -> Caller {
    let name = || "probe".to_owned();
    Caller {
        subject: match kind {
            Kind::Controller => Subject::Gate,
            Kind::Person => Subject::OidcUser {
                subject: name(),
                email: Some(name()),
                name: None,
            },
            _ => Subject::KubernetesAccount {
                namespace: name(),
                name: name(),
                pod: None,
            },
        },
        issuer: name(),
        groups: BTreeSet::from([name()]),
        roles: BTreeSet::new(),
        expires_at: Timestamp::UNIX_EPOCH,
        sign_in: SignIn::default(),
    }
}

fn endpoint() -> EndpointFacts {
    let name = || "probe".to_owned();
    EndpointFacts {
        name: name(),
        environment: name(),
        method: name(),
        path: name(),
    }
}

fn application() -> ApplicationFacts {
    let name = || "probe".to_owned();
    ApplicationFacts {
        app: AppRef {
            namespace: None,
            name: name(),
        },
        uid: None,
        project: name(),
        environment: name(),
        component: name(),
        cluster: name(),
        destination_namespace: name(),
        labels: BTreeMap::from([(name(), name())]),
        auto_sync: false,
        tested_by_caller: true,
    }
}
