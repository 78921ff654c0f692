//! Roles: what configuration makes of a verified caller.
//!
//! In: a subject, its issuer and its groups, all verified, and the mapping from configuration.
//! Out: the roles that policies name. A group or an account counts only together with the issuer
//! that vouched for it: two clusters may both have an account `ci/deployer`.

use std::collections::BTreeSet;

use super::Subject;
use super::aws::PrincipalArn;
use super::ci::JobMatch;
use super::kubernetes::is_object_name;
use crate::names::Role;

/// Who has one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleMapping {
    /// The role.
    pub role: Role,
    /// Members of any of these groups have it.
    pub groups: Vec<GroupMatch>,
    /// These service accounts have it.
    pub service_accounts: Vec<AccountMatch>,
    /// These jobs of CI have it.
    pub ci: Vec<JobMatch>,
    /// These roles and users of AWS have it.
    pub aws: Vec<PrincipalArn>,
}

/// One group of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMatch {
    /// The issuer, exactly as configured.
    pub issuer: String,
    /// The group, exactly as the issuer names it.
    pub group: String,
}

/// Service accounts of one namespace of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountMatch {
    /// The cluster's issuer, exactly as configured.
    pub issuer: String,
    /// The namespace, exactly.
    pub namespace: String,
    /// Which accounts in it.
    pub name: AccountName,
}

/// Which accounts of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountName {
    /// All of them (`*`).
    Any,
    /// The one with this name.
    Exactly(String),
}

/// Text that names no service accounts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `NAMESPACE/NAME` or `NAMESPACE/*`")]
pub struct BadAccount(String);

impl AccountMatch {
    /// The accounts of `issuer` that `text` (`NAMESPACE/NAME`, or `NAMESPACE/*` for all) names.
    ///
    /// # Errors
    /// [`BadAccount`] if it has another form; a pattern such as `ci-*` would match nobody.
    pub fn parse(issuer: &str, text: &str) -> Result<Self, BadAccount> {
        let bad = || BadAccount(text.to_owned());
        let (namespace, name) = text.split_once('/').ok_or_else(bad)?;
        let name = match name {
            "*" => AccountName::Any,
            exact if is_object_name(exact) => AccountName::Exactly(exact.to_owned()),
            _ => return Err(bad()),
        };
        if !is_object_name(namespace) {
            return Err(bad());
        }
        Ok(Self {
            issuer: issuer.to_owned(),
            namespace: namespace.to_owned(),
            name,
        })
    }
}

impl RoleMapping {
    /// The issuers that this mapping names.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        let groups = self.groups.iter().map(|g| g.issuer.as_str());
        let accounts = self.service_accounts.iter().map(|a| a.issuer.as_str());
        let jobs = self.ci.iter().map(|job| job.issuer.as_str());
        groups.chain(accounts).chain(jobs)
    }

    fn matches(&self, subject: &Subject, issuer: &str, groups: &BTreeSet<String>) -> bool {
        match subject {
            Subject::CiJob(job) => self.ci.iter().any(|known| known.fits(issuer, job)),
            Subject::AwsPrincipal { arn, .. } => self.aws.iter().any(|it| it.as_str() == arn),
            Subject::Gate => false,
            Subject::KubernetesAccount {
                namespace, name, ..
            } => self
                .service_accounts
                .iter()
                .any(|a| a.issuer == issuer && a.namespace == *namespace && a.name.matches(name)),
            Subject::KubernetesUser { .. } | Subject::OidcUser { .. } => self
                .groups
                .iter()
                .any(|g| g.issuer == issuer && groups.contains(&g.group)),
        }
    }
}

impl AccountName {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(exact) => exact == name,
        }
    }
}

/// The roles that `mappings` give to `subject` of `issuer`, a member of `groups`. Groups count for
/// people only, account names for service accounts only, repositories for jobs of CI only.
#[must_use]
pub fn roles_of(
    subject: &Subject,
    issuer: &str,
    groups: &BTreeSet<String>,
    mappings: &[RoleMapping],
) -> BTreeSet<Role> {
    let matching = mappings
        .iter()
        .filter(|mapping| mapping.matches(subject, issuer, groups));
    matching.map(|mapping| mapping.role.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OKTA: &str = "https://acme.okta.com";
    const CLUSTER: &str = "https://kubernetes.default.svc";

    fn mapping() -> Vec<RoleMapping> {
        let account = |text| AccountMatch::parse(CLUSTER, text).unwrap();
        vec![
            RoleMapping {
                role: Role::parse("engineer").unwrap(),
                groups: vec![GroupMatch {
                    issuer: OKTA.into(),
                    group: "engineering".into(),
                }],
                service_accounts: vec![],
                ci: vec![],
                aws: vec![],
            },
            RoleMapping {
                role: Role::parse("test-job").unwrap(),
                groups: vec![],
                service_accounts: vec![account("shop/tests"), account("ci/*")],
                ci: vec![],
                aws: vec![],
            },
        ]
    }

    fn roles(subject: &Subject, issuer: &str, groups: &[&str]) -> Vec<String> {
        let groups = groups.iter().map(|g| (*g).to_owned()).collect();
        let roles = roles_of(subject, issuer, &groups, &mapping());
        roles.iter().map(ToString::to_string).collect()
    }

    fn account(namespace: &str, name: &str) -> Subject {
        Subject::KubernetesAccount {
            namespace: namespace.into(),
            name: name.into(),
            pod: None,
        }
    }

    fn person(subject: &str) -> Subject {
        Subject::OidcUser {
            subject: subject.into(),
            email: None,
            name: None,
        }
    }

    #[test]
    fn a_group_counts_only_from_its_own_issuer_and_by_its_exact_name() {
        assert_eq!(roles(&person("u1"), OKTA, &["engineering"]), ["engineer"]);
        for (issuer, group) in [
            ("https://evil.example", "engineering"),
            ("https://acme.okta.com/", "engineering"),
            (OKTA, "Engineering"),
            (OKTA, "engineering "),
            (OKTA, "*"),
        ] {
            assert!(
                roles(&person("u1"), issuer, &[group]).is_empty(),
                "{issuer} {group}"
            );
        }
    }

    #[test]
    fn an_account_counts_only_in_its_namespace_and_cluster() {
        assert_eq!(roles(&account("shop", "tests"), CLUSTER, &[]), ["test-job"]);
        assert_eq!(
            roles(&account("ci", "anything"), CLUSTER, &[]),
            ["test-job"]
        );
        for (issuer, namespace, name) in [
            ("https://other-cluster", "shop", "tests"),
            (CLUSTER, "shop", "tests2"),
            (CLUSTER, "shop", "*"),
            (CLUSTER, "shop2", "tests"),
            (CLUSTER, "*", "tests"),
        ] {
            let found = roles(&account(namespace, name), issuer, &[]);
            assert!(found.is_empty(), "{issuer} {namespace}/{name}");
        }
    }

    #[test]
    fn a_role_of_aws_counts_by_its_exact_arn_alone() {
        let arn = "arn:aws:iam::123456789012:role/deployer";
        let mappings = [RoleMapping {
            role: Role::parse("release-manager").unwrap(),
            groups: vec![],
            service_accounts: vec![],
            ci: vec![],
            aws: vec![PrincipalArn::parse(arn).unwrap()],
        }];
        let has = |subject: &Subject| {
            let roles = roles_of(
                subject,
                crate::identity::aws::ISSUER,
                &BTreeSet::new(),
                &mappings,
            );
            !roles.is_empty()
        };
        let principal = |arn: &str| Subject::AwsPrincipal {
            arn: arn.into(),
            account: "123456789012".into(),
            name: "deployer".into(),
            session: Some("run-42".into()),
        };
        assert!(has(&principal(arn)));
        for other in [
            "arn:aws:iam::123456789012:role/Deployer",
            "arn:aws:iam::123456789012:role/deployer2",
            "arn:aws:iam::123456789013:role/deployer",
            "arn:aws-cn:iam::123456789012:role/deployer",
            "arn:aws:iam::123456789012:user/deployer",
        ] {
            assert!(!has(&principal(other)), "{other}");
        }
        assert!(!has(&person(arn)));
        assert!(!has(&Subject::KubernetesUser { name: arn.into() }));
    }

    #[test]
    fn patterns_that_would_match_nobody_are_refused() {
        for text in [
            "shop",
            "shop/",
            "/tests",
            "*/tests",
            "*/*",
            "shop/test-*",
            "Shop/tests",
            "a/b/c",
        ] {
            assert_eq!(
                AccountMatch::parse(CLUSTER, text).unwrap_err().to_string(),
                format!("`{text}` is not `NAMESPACE/NAME` or `NAMESPACE/*`")
            );
        }
    }

    #[test]
    fn a_person_named_like_an_account_and_an_account_in_a_group_get_nothing() {
        let person = person("system:serviceaccount:shop:tests");
        assert!(roles(&person, CLUSTER, &[]).is_empty());
        assert!(roles(&account("x", "y"), OKTA, &["engineering"]).is_empty());
    }

    #[test]
    fn a_user_of_a_cluster_has_the_roles_of_its_groups_there() {
        let user = Subject::KubernetesUser {
            name: "system:serviceaccount:shop:tests".into(),
        };
        assert!(roles(&user, CLUSTER, &[]).is_empty());
        assert!(roles(&user, CLUSTER, &["engineering"]).is_empty());
        let masters = RoleMapping {
            role: Role::parse("cluster-admin").unwrap(),
            groups: vec![GroupMatch {
                issuer: CLUSTER.into(),
                group: "system:masters".into(),
            }],
            service_accounts: vec![],
            ci: vec![],
            aws: vec![],
        };
        let groups = BTreeSet::from(["system:masters".to_owned()]);
        let mappings = [masters];
        let cluster = roles_of(&user, CLUSTER, &groups, &mappings);
        assert_eq!(cluster.first().map(Role::as_str), Some("cluster-admin"));
        assert!(roles_of(&user, OKTA, &groups, &mappings).is_empty());
        // A service account has its roles by its name alone.
        assert!(roles_of(&account("x", "y"), CLUSTER, &groups, &mappings).is_empty());
    }
}
