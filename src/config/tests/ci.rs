//! Jobs of CI in the configuration.

use super::*;
use crate::identity::ci::{CiProvider, RepositoryMatch};

const CI: &str = r#"
[[ci]]
provider = "github"
audience = "https://gate.example"
[[ci]]
provider = "gitlab"
issuer = "https://gitlab.example"
audience = "https://gate.example"
jwks_uri = "https://gitlab.example/oauth/discovery/keys"
[[role]]
name = "test-job"
ci = [{ issuer = "https://token.actions.githubusercontent.com", repository = "acme/shop", repository_id = "74", ref = "refs/heads/main", workflow = "acme/shop/.github/workflows/test.yml@*", environment = "prod", event = "push" }, { issuer = "https://gitlab.example", repository = "acme/*" }]
[[workload]]
ci = { issuer = "https://gitlab.example", repository = "acme/shop/cart" }
applications = "cart-*"
"#;

#[test]
fn jobs_of_both_systems_are_taken() {
    let config = Config::parse(&format!("{GOOD}{CI}"), Path::new(".")).unwrap();
    let issuers: Vec<_> = config
        .issuers
        .iter()
        .filter_map(|issuer| match &issuer.kind {
            IssuerKind::Ci { provider, .. } => Some((*provider, &*issuer.issuer)),
            _ => None,
        })
        .collect();
    assert_eq!(
        issuers,
        [
            (
                CiProvider::GitHub,
                "https://token.actions.githubusercontent.com"
            ),
            (CiProvider::GitLab, "https://gitlab.example"),
        ]
    );
    let [.., role] = &*config.roles else {
        panic!("no role")
    };
    let [github, gitlab] = &*role.ci else {
        panic!("not two entries")
    };
    let repository = RepositoryMatch::Exactly("acme/shop".into());
    assert_eq!(github.repository, repository);
    assert_eq!(github.repository_id.as_deref(), Some("74"));
    let patterns = [
        (&github.git_ref, "refs/heads/main"),
        (&github.workflow, "acme/shop/.github/workflows/test.yml@*"),
        (&github.environment, "prod"),
        (&github.event, "push"),
    ];
    for (pattern, text) in patterns {
        assert_eq!(pattern.as_ref().map(Pattern::as_str), Some(text));
    }
    assert_eq!(gitlab.repository, RepositoryMatch::Below("acme".into()));
    assert!(gitlab.git_ref.is_none() && gitlab.workflow.is_none());
    let [.., workload] = &*config.workloads else {
        panic!("no workload")
    };
    assert!(
        matches!(&workload.tester, Tester::Ci(jobs) if jobs.issuer == "https://gitlab.example")
    );
}

#[test]
fn what_would_fit_nobody_or_anybody_is_a_mistake() {
    let text = r#"
[[ci]]
provider = "jenkins"
audience = "x"
[[ci]]
provider = "github"
[[ci]]
provider = "github"
audience = "x"
issuer = "http://forge.example"
[[ci]]
provider = "gitlab"
audience = "x"
[[ci]]
provider = "gitlab"
audience = "y"
[[role]]
name = "r"
groups = [{ issuer = "https://gitlab.com", group = "acme" }]
ci = [
  { issuer = "https://idp.example/", repository = "acme/shop" },
  { repository = "acme/shop" },
  { issuer = "https://gitlab.com" },
  { issuer = "https://gitlab.com", repository = "*" },
  { issuer = "https://gitlab.com", repository = "acme/shop", repository_id = "acme", ref = "main", workflow = "", environments = "x" },
]
[[workload]]
applications = "a"
[[workload]]
service_account = "ci/deployer"
ci = { issuer = "https://gitlab.com", repository = "acme/shop" }
applications = "a"
"#;
    let text = GOOD.replace("[[workload]]\nservice_account = \"shop-staging/checkout-tests\"\napplications = \"checkout-*\"\n", text);
    assert_eq!(
        problems(&text),
        [
            "ci[0].provider: `jenkins` is not a provider; use `github` or `gitlab`",
            "ci[1].audience: is required",
            "ci[2].issuer: `http://forge.example` is plain http off loopback; use https",
            "ci[4].issuer: `https://gitlab.com` is declared twice",
            "role[1].groups[0].issuer: `https://gitlab.com` is of jobs of CI, which have no groups; use `ci`",
            "role[1].ci[0].issuer: `https://idp.example/` is not a [[ci]] issuer of this file",
            "role[1].ci[1].issuer: is required",
            "role[1].ci[2].repository: is required",
            "role[1].ci[3].repository: `*` is not `OWNER/NAME` (for GitLab the path of the project), or `OWNER/*` for all of an owner",
            "role[1].ci[4].repository_id: `acme` is not the number of a repository, as text",
            "role[1].ci[4].ref: `main` is not a full ref such as `refs/heads/main` or `refs/tags/v*`",
            "role[1].ci[4].workflow: is empty",
            "role[1].ci[4].environments: is not a key; keys here: environment, event, issuer, ref, repository, repository_id, workflow",
            "workload[0].service_account: is required, or `ci` instead of it",
            "workload[1].service_account: contradicts ci; give one of them",
        ]
    );
}
