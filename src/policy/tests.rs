//! Tests of the policy room, and what they share.

mod deciding;
mod golden;
mod loading;
mod properties;
mod reloading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jiff::Timestamp;

use super::question::{
    ApplicationFacts, Context, Deploying, EndpointFacts, FindingWord, Mode, Moves, Question,
    Resource, SyncOptions,
};
use super::source::{File, Source};
use super::{LoadError, Policies};
use crate::identity::ci::{CiJob, CiProvider};
use crate::identity::{Caller, SignIn, Subject};
use crate::names::{AppRef, Role};

const SYNC: &str = "ApplicationService.Sync";
const GET: &str = "ApplicationService.Get";

/// The shipped policies, built once: that takes long in a debug build.
fn shipped() -> &'static Policies {
    static ONCE: LazyLock<Policies> =
        LazyLock::new(|| Policies::build(&Source::shipped()).unwrap());
    &ONCE
}

/// The shipped schema with these policies, in a file `edited.cedar`.
fn edited(policies: &str) -> Result<Policies, LoadError> {
    let mut source = Source::shipped();
    source.policies = vec![File {
        name: "edited.cedar".into(),
        text: policies.into(),
    }];
    Policies::build(&source)
}

fn roles(names: &[&str]) -> BTreeSet<Role> {
    names
        .iter()
        .map(|name| Role::parse(*name).unwrap())
        .collect()
}

fn person(names: &[&str]) -> Caller {
    Caller {
        subject: Subject::OidcUser {
            subject: "ada".into(),
            email: Some("ada@example.com".into()),
            name: None,
        },
        issuer: "https://idp.example".into(),
        groups: BTreeSet::from(["engineering".into()]),
        roles: roles(names),
        expires_at: Timestamp::MAX,
        sign_in: SignIn::default(),
    }
}

/// A user of a cluster.
fn user(names: &[&str]) -> Caller {
    Caller {
        subject: Subject::KubernetesUser { name: "ada".into() },
        issuer: "https://kubernetes.default.svc".into(),
        ..person(names)
    }
}

fn workload(names: &[&str]) -> Caller {
    Caller {
        subject: Subject::KubernetesAccount {
            namespace: "checkout".into(),
            name: "tester".into(),
            pod: None,
        },
        issuer: "https://kubernetes.default.svc".into(),
        ..person(names)
    }
}

/// A job of CI, on a protected ref or another.
fn job(names: &[&str], ref_protected: bool) -> Caller {
    Caller {
        subject: Subject::CiJob(Box::new(CiJob {
            provider: CiProvider::GitHub,
            subject: "repo:acme/checkout:ref:refs/heads/main".into(),
            repository: "acme/checkout".into(),
            repository_id: "74".into(),
            git_ref: Some("refs/heads/main".into()),
            ref_protected,
            workflow: Some("acme/checkout/.github/workflows/test.yml@refs/heads/main".into()),
            environment: None,
            event: "push".into(),
            run: "1".into(),
        })),
        issuer: "https://token.actions.githubusercontent.com".into(),
        ..person(names)
    }
}

fn app(environment: &str) -> ApplicationFacts {
    ApplicationFacts {
        app: AppRef {
            namespace: None,
            name: format!("checkout-{environment}"),
        },
        uid: Some("8d1f8a0e-5d0c-4b4e-9c58-1f6a2b1c0d3e".into()),
        project: "shop".into(),
        environment: environment.into(),
        component: "checkout".into(),
        cluster: "https://kubernetes.default.svc".into(),
        destination_namespace: "checkout".into(),
        labels: BTreeMap::from([("team".into(), "payments".into())]),
        auto_sync: false,
        tested_by_caller: false,
    }
}

fn endpoint(environment: &str) -> EndpointFacts {
    EndpointFacts {
        name: format!("checkout-api-{environment}"),
        environment: environment.into(),
        method: "GET".into(),
        path: "/carts".into(),
    }
}

fn context(action: &str, finding: FindingWord) -> Context {
    Context {
        finding,
        now: "2026-11-23T04:00:00Z".parse().unwrap(),
        wire: "grpc",
        mode: Mode::Enforce,
        sync: SyncOptions::belong_to(action).then(SyncOptions::default),
        deploy: Deploying::freely(action),
    }
}

fn about<'a>(
    caller: &'a Caller,
    action: &'a str,
    app: &'a ApplicationFacts,
    finding: FindingWord,
) -> Question<'a> {
    Question {
        caller,
        action,
        resource: Resource::Application(app),
        context: context(action, finding),
    }
}
