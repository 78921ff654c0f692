//! Jobs of CI: claims as GitHub and GitLab document them, then one wrong thing per token.

use super::*;
use crate::identity::ci::{CiJob, CiProvider, JobMatch, RepositoryMatch};
use crate::identity::config::IdentityConfig;
use crate::identity::roles::RoleMapping;
use crate::names::Role;
use crate::pattern::Pattern;

/// Both CI systems, and people, each with a key of its own under the same id.
struct Forges {
    github: TestIssuer,
    gitlab: TestIssuer,
    people: TestIssuer,
    key: TestKey,
    bench: Bench,
}

impl Forges {
    async fn new() -> Self {
        let key = TestKey::new("k1", Algorithm::RS256);
        let (github, gitlab, people) = (
            TestIssuer::start(&[&key]).await,
            TestIssuer::start(&[&key]).await,
            TestIssuer::start(&[&key]).await,
        );
        let bench = Bench::new(IdentityConfig {
            oidc: vec![testing::oidc(&people.url)],
            ci: vec![
                testing::ci(&github.url, CiProvider::GitHub),
                testing::ci(&gitlab.url, CiProvider::GitLab),
            ],
            roles: vec![
                tester(&github.url),
                tester(&gitlab.url),
                anybody(&github.url, "acme/*"),
                anybody(&gitlab.url, "acme/*"),
            ],
            refresh: testing::quick(),
            ..IdentityConfig::default()
        });
        Self {
            github,
            gitlab,
            people,
            key,
            bench,
        }
    }

    fn issuer(&self, name: &str) -> &TestIssuer {
        match name {
            "github" => &self.github,
            "gitlab" => &self.gitlab,
            _ => &self.people,
        }
    }

    /// The documented token of the CI system `name` in which `change` was made to the claims.
    fn token(&self, name: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = testing::documented(name);
        claims["iss"] = json!(self.issuer(name).url);
        change(&mut claims);
        self.key.token(&claims)
    }

    async fn job(&self, name: &str, change: impl FnOnce(&mut Value)) -> CiJob {
        let caller = caller(self.bench.send(&self.token(name, change)).await);
        assert_eq!(caller.issuer, self.issuer(name).url);
        assert!(caller.groups.is_empty());
        match &caller.subject {
            Subject::CiJob(job) => CiJob::clone(job),
            other => panic!("not a job: {other:?}"),
        }
    }

    async fn refused(&self, name: &str, change: impl FnOnce(&mut Value)) -> String {
        let sentence = self.bench.sentence(&self.token(name, change)).await;
        let fit = |b: u8| (b' '..=b'~').contains(&b) && b != b'%';
        assert!(sentence.bytes().all(fit), "{sentence}");
        sentence.replace(&self.issuer(name).url, "ISSUER")
    }
}

/// `ci-job` for whatever runs in `repositories`: a job without any role is nobody.
pub(super) fn anybody(issuer: &str, repositories: &str) -> RoleMapping {
    RoleMapping {
        role: Role::parse("ci-job").unwrap(),
        groups: vec![],
        service_accounts: vec![],
        ci: vec![JobMatch {
            issuer: issuer.into(),
            repository: RepositoryMatch::parse(repositories).unwrap(),
            repository_id: None,
            git_ref: None,
            workflow: None,
            environment: None,
            event: None,
        }],
        aws: vec![],
    }
}

/// `test-job` for protected tests of the owner `acme`.
fn tester(issuer: &str) -> RoleMapping {
    RoleMapping {
        role: Role::parse("test-job").unwrap(),
        groups: vec![],
        service_accounts: vec![],
        ci: vec![JobMatch {
            issuer: issuer.into(),
            repository: RepositoryMatch::parse("acme/*").unwrap(),
            repository_id: None,
            git_ref: Some(Pattern::new("refs/*")),
            workflow: None,
            environment: Some(Pattern::new("staging")),
            event: None,
        }],
        aws: vec![],
    }
}

#[tokio::test]
async fn a_github_job_is_read_from_the_documented_claims() {
    let forges = Forges::new().await;
    let job = forges.job("github", |_| ()).await;
    let CiJob {
        provider,
        subject,
        repository,
        repository_id,
        git_ref,
        ref_protected,
        workflow,
        environment,
        event,
        run,
    } = job;
    assert_eq!(provider, CiProvider::GitHub);
    assert_eq!(subject, "repo:acme/checkout:environment:staging");
    assert_eq!((&*repository, &*repository_id), ("acme/checkout", "74"));
    assert_eq!(git_ref.as_deref(), Some("refs/heads/main"));
    assert!(ref_protected);
    // The reusable workflow whose steps hold the token, not the one that called it.
    let called = "acme/ci/.github/workflows/test.yml@refs/tags/v3";
    assert_eq!(workflow.as_deref(), Some(called));
    assert_eq!(environment.as_deref(), Some("staging"));
    assert_eq!((&*event, &*run), ("push", "9204836251"));
}

#[tokio::test]
async fn a_gitlab_job_is_read_from_the_documented_claims_in_the_same_form() {
    let forges = Forges::new().await;
    let job = forges.job("gitlab", |_| ()).await;
    assert_eq!(job.provider, CiProvider::GitLab);
    assert_eq!(
        job.subject,
        "project_path:acme/shop/checkout:ref_type:tag:ref:v1.4.0"
    );
    assert_eq!(job.repository, "acme/shop/checkout");
    assert_eq!(job.repository_id, "20");
    assert_eq!(job.git_ref.as_deref(), Some("refs/tags/v1.4.0"));
    assert!(job.ref_protected);
    let workflow = "gitlab.com/acme/shop/checkout//.gitlab-ci.yml@refs/tags/v1.4.0";
    assert_eq!(job.workflow.as_deref(), Some(workflow));
    assert_eq!(job.environment.as_deref(), Some("staging"));
    assert_eq!((&*job.event, &*job.run), ("push", "574"));
}

#[tokio::test]
async fn roles_come_from_the_facts_and_the_subject_names_the_caller() {
    let forges = Forges::new().await;
    let caller = caller(forges.bench.send(&forges.token("github", |_| ())).await);
    let roles: Vec<_> = caller.roles.iter().map(Role::as_str).collect();
    assert_eq!(roles, ["ci-job", "test-job"]);
    assert_eq!(caller.display(), "repo:acme/checkout:environment:staging");
    assert_eq!(
        caller.unique(),
        format!(
            "{}#repo:acme/checkout:environment:staging",
            forges.github.url
        )
    );
    assert_eq!(caller.pod(), None);
    // The subject does not tell the two refs from each other; the roles do.
    let target = forges.token("github", set("event_name", json!("pull_request_target")));
    let other = self::caller(forges.bench.send(&target).await);
    assert_eq!(other.unique(), caller.unique());
    let roles: Vec<_> = other.roles.iter().map(Role::as_str).collect();
    assert_eq!(roles, ["ci-job"]);
    // Anybody in the world has jobs at a public CI system.
    let stranger = forges.token("github", set("repository", json!("evil/checkout")));
    assert_eq!(forges.bench.word(&stranger).await, "unknown-workload");
}

#[tokio::test]
async fn what_may_be_missing_is_missing_and_not_empty() {
    let forges = Forges::new().await;
    let job = forges
        .job("github", |claims| {
            for name in ["environment", "job_workflow_ref", "ref_protected"] {
                unset(name)(claims);
            }
        })
        .await;
    assert_eq!((job.environment, job.ref_protected), (None, false));
    let caller = "acme/checkout/.github/workflows/release.yml@refs/heads/main";
    assert_eq!(job.workflow.as_deref(), Some(caller));
    let job = forges
        .job("gitlab", |claims| {
            unset("environment")(claims);
            set("ci_config_ref_uri", Value::Null)(claims);
            unset("job_project_id")(claims);
            set("ref_protected", json!("false"))(claims);
        })
        .await;
    assert_eq!((job.environment, job.workflow), (None, None));
    assert!(!job.ref_protected && job.git_ref.is_some());
}

/// A branch in the token of a pull or merge request is not one that its author may write to.
#[tokio::test]
async fn a_pull_or_merge_request_is_never_taken_for_a_branch() {
    let forges = Forges::new().await;
    let own = forges
        .job("github", |claims| {
            claims["event_name"] = json!("pull_request");
            claims["ref"] = json!("refs/pull/7/merge");
        })
        .await;
    assert_eq!(own.git_ref.as_deref(), Some("refs/pull/7/merge"));
    assert!(!own.ref_protected);
    for (name, claim, value) in [
        ("github", "event_name", "pull_request_target"),
        ("github", "event_name", "pull_request"),
        ("gitlab", "pipeline_source", "merge_request_event"),
        ("gitlab", "pipeline_source", "external_pull_request_event"),
        // A child pipeline of a merge request from a fork.
        ("gitlab", "job_project_id", "21"),
    ] {
        let job = forges
            .job(name, |claims| {
                claims[claim] = json!(value);
                if name == "gitlab" {
                    claims["ref_path"] = json!("refs/heads/main");
                }
            })
            .await;
        assert_eq!(
            (job.git_ref, job.ref_protected),
            (None, false),
            "{name} {claim} {value}"
        );
    }
}

#[tokio::test]
async fn r7_each_claim_that_matters_must_be_there_and_of_its_form() {
    let forges = Forges::new().await;
    let all = [
        ("github", "sub"),
        ("github", "repository"),
        ("github", "repository_id"),
        ("github", "ref"),
        ("github", "event_name"),
        ("github", "run_id"),
        ("github", "aud"),
        ("github", "iat"),
        ("github", "exp"),
        ("gitlab", "sub"),
        ("gitlab", "project_path"),
        ("gitlab", "project_id"),
        ("gitlab", "ref_path"),
        ("gitlab", "ref_protected"),
        ("gitlab", "pipeline_source"),
        ("gitlab", "pipeline_id"),
        ("gitlab", "aud"),
        ("gitlab", "iat"),
        ("gitlab", "exp"),
    ];
    for (name, claim) in all {
        let mend = "ask whoever runs `ISSUER` to have it put right";
        assert_eq!(
            forges.refused(name, unset(claim)).await,
            format!("the token's claim `{claim}` is missing: {mend}"),
        );
        for value in [json!({}), json!(true), json!([{}])] {
            assert_eq!(
                forges.refused(name, set(claim, value)).await,
                format!("the token's claim `{claim}` is of the wrong type: {mend}"),
            );
        }
    }
    let neither = |claims: &mut Value| {
        unset("job_workflow_ref")(claims);
        unset("workflow_ref")(claims);
    };
    let sentence = forges.refused("github", neither).await;
    assert!(sentence.contains("`workflow_ref` is missing"), "{sentence}");
}

#[tokio::test]
async fn r7_names_that_could_be_taken_for_others_are_refused() {
    let forges = Forges::new().await;
    for (name, claim, value, fault) in [
        ("github", "repository", "", "is empty"),
        ("github", "repository", "checkout", "is not well-formed"),
        (
            "github",
            "repository",
            "acme/shop/checkout",
            "is not well-formed",
        ),
        ("github", "repository", "acme/..", "is not well-formed"),
        ("github", "repository", "acme/", "is not well-formed"),
        ("github", "repository", "/checkout", "is not well-formed"),
        (
            "github",
            "repository",
            "acme/checkout ",
            "is not well-formed",
        ),
        ("github", "repository", "acme/*", "is not well-formed"),
        // A Cyrillic letter that looks like the Latin one.
        (
            "github",
            "repository",
            "acme/ch\u{435}ckout",
            "is not well-formed",
        ),
        ("github", "repository_id", "74 ", "is not well-formed"),
        ("github", "repository_id", "x", "is not well-formed"),
        ("github", "ref", "main", "is not well-formed"),
        ("github", "ref", "refs/", "is not well-formed"),
        (
            "github",
            "ref",
            "refs/heads/ma\u{200b}in",
            "is not well-formed",
        ),
        ("github", "ref", "refs/heads/main\n", "is not well-formed"),
        ("github", "ref_protected", "True", "is not well-formed"),
        ("github", "environment", "", "is empty"),
        (
            "github",
            "environment",
            "prod\u{202e}",
            "is not well-formed",
        ),
        (
            "github",
            "job_workflow_ref",
            "a\u{0}b",
            "is not well-formed",
        ),
        ("gitlab", "project_path", "checkout", "is not well-formed"),
        (
            "gitlab",
            "project_path",
            "acme//checkout",
            "is not well-formed",
        ),
        ("gitlab", "ref_path", "v1.4.0", "is not well-formed"),
        ("gitlab", "ref_path", "refs/heads/", "is not well-formed"),
        (
            "gitlab",
            "ref_path",
            "refs/merge-requests/7/head",
            "is not well-formed",
        ),
        ("gitlab", "ref_protected", "yes", "is not well-formed"),
        ("gitlab", "pipeline_source", "", "is empty"),
    ] {
        let sentence = forges.refused(name, set(claim, json!(value))).await;
        let expected = format!("the token's claim `{claim}` {fault}: ");
        assert!(sentence.starts_with(&expected), "{value:?}: {sentence}");
    }
}

#[tokio::test]
async fn a_token_is_for_this_gate_alone_and_for_hours() {
    let forges = Forges::new().await;
    let mend = "have the job request one with that audience, and no other";
    for (audience, found) in [
        (
            json!("https://github.com/acme"),
            "`https://github.com/acme`",
        ),
        (json!([]), "nobody"),
        // Whoever gets it under the other name could send it here.
        (
            json!(["https://gate.example.com", "https://vault.example"]),
            "`https://gate.example.com` or `https://vault.example`",
        ),
    ] {
        assert_eq!(
            forges.refused("gitlab", set("aud", audience)).await,
            format!(
                "the token is for {found}, and this gate needs one for \
                 `https://gate.example.com`: {mend}"
            )
        );
    }
    assert_eq!(
        forges
            .refused("gitlab", set("iat", after_now(-86_400)))
            .await,
        "the token lives for 25 hours, and this gate takes at most 24: request one with a shorter life"
    );
    assert_eq!(
        forges.refused("github", set("exp", after_now(-60))).await,
        "the token expired 14:13:30Z, 1 minute ago: have the job request a new one"
    );
}

/// A job chooses its audience, and some issuers are those of people too.
#[tokio::test]
async fn a_job_is_not_taken_for_a_person_nor_a_person_for_a_job() {
    let forges = Forges::new().await;
    for (name, mark) in [
        ("github", "job_workflow_ref"),
        ("gitlab", "ci_config_ref_uri"),
    ] {
        let mut claims = testing::documented(name);
        claims["iss"] = json!(forges.people.url);
        claims["aud"] = json!("argocd-cli");
        claims["groups"] = json!(["engineering"]);
        assert_eq!(
            forges.bench.sentence(&forges.key.token(&claims)).await,
            format!("the token is of type `{mark}`, not one to sign in with: send an ID token")
        );
        let mut claims = person(&forges.issuer(name).url);
        claims["aud"] = json!("https://gate.example.com");
        assert_eq!(forges.bench.word(&forges.key.token(&claims)).await, "claim");
        // The claims of the one at the issuer of the other.
        let other = if name == "github" { "gitlab" } else { "github" };
        let mut claims = testing::documented(name);
        claims["iss"] = json!(forges.issuer(other).url);
        assert_eq!(forges.bench.word(&forges.key.token(&claims)).await, "claim");
    }
}
