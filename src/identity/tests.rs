//! Identity as a whole: real signatures, a real issuer on loopback.

mod cached;
mod ci;
mod claims;
mod matrix;
mod providers;
mod refusals;

use std::sync::Arc;

use super::aws::{self, AwsPrincipal};
use super::config::IdentityConfig;
use super::roles::RoleMapping;
use super::testing::{self, Bench, TestIssuer, TestKey, account, person};
use super::{Caller, SchemeOutcome, Subject};
use crate::names::Role;
use http::HeaderMap;
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

/// One OIDC issuer and one cluster, each with a key of its own under the same id.
struct World {
    people: TestIssuer,
    people_key: TestKey,
    cluster: TestIssuer,
    cluster_key: TestKey,
    bench: Bench,
}

fn config(people: &TestIssuer, cluster: &TestIssuer) -> IdentityConfig {
    IdentityConfig {
        oidc: vec![testing::oidc(&people.url)],
        kubernetes: vec![testing::kubernetes(&cluster.url)],
        ci: Vec::new(),
        roles: testing::roles(&people.url, &cluster.url),
        refresh: testing::quick(),
    }
}

impl World {
    async fn new() -> Self {
        let people_key = TestKey::new("k1", Algorithm::ES256);
        let cluster_key = TestKey::new("k1", Algorithm::RS256);
        let people = TestIssuer::start(&[&people_key]).await;
        let cluster = TestIssuer::start(&[&cluster_key]).await;
        let bench = Bench::new(config(&people, &cluster));
        Self {
            people,
            people_key,
            cluster,
            cluster_key,
            bench,
        }
    }

    /// A person's token in which `change` was made to the claims.
    fn person(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = person(&self.people.url);
        change(&mut claims);
        self.people_key.token(&claims)
    }

    /// An account's token in which `change` was made to the claims, without `typ`, as Kubernetes
    /// writes it.
    fn account(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = account(&self.cluster.url);
        change(&mut claims);
        let header = json!({"alg": "RS256", "kid": "k1"});
        self.cluster_key
            .sign(&header.to_string(), &claims.to_string())
    }
}

/// Addresses of test issuers have random ports.
fn plain(sentence: &str, world: &World) -> String {
    sentence
        .replace(&world.people.url, "PEOPLE")
        .replace(&world.cluster.url, "CLUSTER")
}

async fn refused(world: &World, token: &str) -> String {
    let sentence = plain(&world.bench.sentence(token).await, world);
    let fit = |b: u8| (b' '..=b'~').contains(&b) && b != b'%';
    assert!(sentence.bytes().all(fit), "{sentence}");
    sentence
}

fn set(name: &str, value: Value) -> impl FnOnce(&mut Value) {
    move |claims| claims[name] = value
}

fn unset(name: &str) -> impl FnOnce(&mut Value) {
    move |claims| {
        claims.as_object_mut().unwrap().remove(name).unwrap();
    }
}

fn after_now(seconds: i64) -> Value {
    let now: jiff::Timestamp = testing::NOW.parse().unwrap();
    json!(now.as_second() + seconds)
}

fn caller(outcome: SchemeOutcome) -> Arc<Caller> {
    match outcome {
        SchemeOutcome::Verify(caller) => caller,
        other => panic!("not verified: {other:?}"),
    }
}

#[tokio::test]
async fn a_person_is_verified_with_groups_and_roles() {
    let world = World::new().await;
    let caller = caller(world.bench.send(&world.person(|_| ())).await);
    assert_eq!(
        caller.subject,
        Subject::OidcUser {
            subject: "00u1".into(),
            email: Some("ada@example.com".into()),
            name: Some("Ada".into()),
        }
    );
    assert_eq!(caller.issuer, world.people.url);
    assert_eq!(
        caller.groups,
        ["engineering", "on-call"].map(String::from).into()
    );
    assert_eq!(
        caller
            .roles
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["engineer"]
    );
    assert_eq!(caller.expires_at.to_string(), "2026-11-23T15:04:30Z");
}

#[tokio::test]
async fn a_service_account_is_verified_with_its_pod_and_roles() {
    let world = World::new().await;
    let caller = caller(world.bench.send(&world.account(|_| ())).await);
    assert_eq!(
        caller.subject,
        Subject::KubernetesAccount {
            namespace: "shop".into(),
            name: "tests".into(),
            pod: Some("checkout-tests-x2".into()),
        }
    );
    assert!(caller.groups.is_empty());
    assert_eq!(
        caller
            .roles
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["test-job"]
    );
}

#[tokio::test]
async fn a_service_account_token_without_a_pod_names_none() {
    let world = World::new().await;
    let token = world.account(|claims| {
        claims["kubernetes.io"]
            .as_object_mut()
            .unwrap()
            .remove("pod");
    });
    let caller = caller(world.bench.send(&token).await);
    assert!(matches!(
        &caller.subject,
        Subject::KubernetesAccount { pod: None, .. }
    ));
}

#[tokio::test]
async fn what_issuers_write_differently_is_understood() {
    let world = World::new().await;
    let email = |caller: &Caller| match &caller.subject {
        Subject::OidcUser { email, .. } => email.clone(),
        Subject::AwsPrincipal { .. }
        | Subject::CiJob(_)
        | Subject::Gate
        | Subject::KubernetesAccount { .. }
        | Subject::KubernetesUser { .. } => None,
    };
    // One group as text, fractions of seconds, flags as text, Keycloak's mark of an ID token.
    let token = world.person(|claims| {
        claims["groups"] = json!("engineering");
        claims["exp"] = json!(claims["exp"].as_f64().unwrap() + 0.5);
        claims["email_verified"] = json!("true");
        claims["typ"] = json!("ID");
        claims["azp"] = json!("argocd-ui");
        claims["aud"] = json!(["argocd-ui", "another"]);
    });
    let one = caller(world.bench.send(&token).await);
    assert_eq!(one.groups, ["engineering".to_owned()].into());
    assert_eq!(email(&one).as_deref(), Some("ada@example.com"));
    // What is not verified is not the caller's; no groups are no groups; odd names are not shown.
    let token = world.person(|claims| {
        claims["email_verified"] = json!(false);
        claims["name"] = json!("");
        claims.as_object_mut().unwrap().remove("groups");
    });
    let other = caller(world.bench.send(&token).await);
    assert_eq!(email(&other), None);
    assert!(other.groups.is_empty() && other.roles.is_empty());
}

#[tokio::test]
async fn whom_sts_names_is_a_caller_by_the_role_of_the_session() {
    let arn = "arn:aws:iam::123456789012:role/deployer";
    let principal = AwsPrincipal {
        arn: aws::PrincipalArn::parse(arn).unwrap(),
        account: "123456789012".into(),
        name: "deployer".into(),
        session: Some("run-42".into()),
    };
    let deployer = RoleMapping {
        role: Role::parse("release-manager").unwrap(),
        groups: vec![],
        service_accounts: vec![],
        ci: vec![],
        aws: vec![principal.arn.clone()],
    };
    let bench = Bench::new(IdentityConfig {
        oidc: vec![testing::oidc("https://login.example.com")],
        roles: vec![deployer],
        ..IdentityConfig::default()
    });
    let end: Timestamp = "2026-11-23T15:14:30Z".parse().unwrap();
    let caller = bench.identity.of_aws(principal, end).unwrap();
    assert_eq!(caller.display(), arn);
    assert_eq!(caller.unique(), format!("https://sts.amazonaws.com#{arn}"));
    assert_eq!(
        caller.roles.first().map(Role::as_str),
        Some("release-manager")
    );
    assert!(caller.groups.is_empty() && caller.pod().is_none());
    let kept = serde_json::to_value(&caller).unwrap();
    assert_eq!(
        kept["subject"],
        json!({
            "kind": "aws-principal",
            "arn": arn,
            "account": "123456789012",
            "name": "deployer",
            "session": "run-42",
        })
    );
    assert_eq!(serde_json::from_value::<Caller>(kept).unwrap(), caller);
}

#[tokio::test]
async fn no_credential_is_absent_and_reaches_no_issuer() {
    let world = World::new().await;
    let absent = world.bench.identity.authenticate(&HeaderMap::new()).await;
    assert_eq!(absent, SchemeOutcome::Absent);
}

/// R5: nothing but the credential decides.
#[tokio::test]
async fn r5_no_other_header_makes_a_caller() {
    let world = World::new().await;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("user-agent", "kube-probe/1.37"),
        ("x-forwarded-user", "ada@example.com"),
        ("x-forwarded-for", "127.0.0.1"),
        ("argocd-username", "admin"),
        ("grpc-metadata-token", "x"),
        ("impersonate-user", "admin"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let outcome = world.bench.identity.authenticate(&headers).await;
    assert_eq!(outcome, SchemeOutcome::Absent);
}
