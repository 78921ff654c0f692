//! Who AWS says it is, by one name for each role or user.
//!
//! In: the ARN of an answer, or one that configuration gives a role to. Out: the canonical ARN. A
//! session (`arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`) is its role, without the path, which
//! sessions do not show; names of roles are unique in an account whatever their paths. Refused: the
//! account's root, federated users, partitions that are not listed, and whatever has another form.
//! Compared is byte by byte.

use std::fmt;

/// Partitions whose principals may call.
const PARTITIONS: [&str; 3] = ["aws", "aws-cn", "aws-us-gov"];
/// Characters of a path, at most.
const MAX_PATH: usize = 512;
/// Characters of a name or session, at most.
const MAX_NAME: usize = 64;

/// A role, with the session that calls, or a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsPrincipal {
    /// The canonical ARN: `arn:PARTITION:iam::ACCOUNT:role/NAME` or `arn:PARTITION:iam::ACCOUNT:user/PATH/NAME`.
    pub arn: PrincipalArn,
    /// The account: 12 digits.
    pub account: String,
    /// The name of the role or user, without a path.
    pub name: String,
    /// The name of the role's session, which whoever assumed the role has chosen; a user has none.
    pub session: Option<String>,
}

/// The canonical ARN of a role or user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrincipalArn(String);

/// Text that is not the canonical ARN of a role or user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadArn {
    /// A session of a role.
    #[error("`{text}` is one session of a role: write the role, `{instead}`")]
    Session {
        /// The text.
        text: String,
        /// The role.
        instead: PrincipalArn,
    },
    /// A role with its path.
    #[error(
        "`{text}` has a path, which AWS STS does not tell of a role: write `{instead}`; no two \
         roles of an account have one name"
    )]
    RolePath {
        /// The text.
        text: String,
        /// The role without it.
        instead: PrincipalArn,
    },
    /// Anything else.
    #[error(
        "`{0}` is not the ARN of one IAM role or user, such as \
         `arn:aws:iam::123456789012:role/deployer` or `arn:aws:iam::123456789012:user/ci`"
    )]
    NotOne(String),
}

impl AwsPrincipal {
    /// Whom the `Arn` of an answer to `GetCallerIdentity` names; `None` for the account's root, a
    /// federated user, and text that is no such ARN.
    pub(super) fn of_caller(arn: &str) -> Option<Self> {
        let parts = Parts::of(arn)?;
        let resource: Vec<&str> = parts.resource.split('/').collect();
        match (parts.service, resource.as_slice()) {
            ("sts", ["assumed-role", name, session]) if is_name(name) && is_session(session) => {
                Some(Self {
                    arn: parts.role(name),
                    account: parts.account.to_owned(),
                    name: (*name).to_owned(),
                    session: Some((*session).to_owned()),
                })
            }
            ("iam", ["user", path @ .., name]) if is_path(path) && is_name(name) => Some(Self {
                arn: PrincipalArn(arn.to_owned()),
                account: parts.account.to_owned(),
                name: (*name).to_owned(),
                session: None,
            }),
            _ => None,
        }
    }
}

impl PrincipalArn {
    /// The role or user that configuration names.
    ///
    /// # Errors
    /// [`BadArn`], with what to write instead where that can be told.
    pub fn parse(text: &str) -> Result<Self, BadArn> {
        let bad = || BadArn::NotOne(text.to_owned());
        let parts = Parts::of(text).ok_or_else(bad)?;
        let resource: Vec<&str> = parts.resource.split('/').collect();
        match (parts.service, resource.as_slice()) {
            ("iam", ["role", name]) if is_name(name) => Ok(Self(text.to_owned())),
            ("iam", ["role", path @ .., name]) if is_path(path) && is_name(name) => {
                Err(BadArn::RolePath {
                    text: text.to_owned(),
                    instead: parts.role(name),
                })
            }
            _ => {
                let caller = AwsPrincipal::of_caller(text).ok_or_else(bad)?;
                match caller.session {
                    None => Ok(caller.arn),
                    Some(_) => Err(BadArn::Session {
                        text: text.to_owned(),
                        instead: caller.arn,
                    }),
                }
            }
        }
    }

    /// The ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PrincipalArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `arn:PARTITION:SERVICE::ACCOUNT:RESOURCE`: IAM and STS have no region in theirs.
struct Parts<'a> {
    partition: &'a str,
    service: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> Parts<'a> {
    fn of(arn: &'a str) -> Option<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, service, "", account, resource] = *parts.as_slice() else {
            return None;
        };
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        (PARTITIONS.contains(&partition) && is_account).then_some(Self {
            partition,
            service,
            account,
            resource,
        })
    }

    fn role(&self, name: &str) -> PrincipalArn {
        PrincipalArn(format!(
            "arn:{}:iam::{}:role/{name}",
            self.partition, self.account
        ))
    }
}

/// The names that IAM gives: letters, digits and `_+=,.@-`.
fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(fits)
}

/// The names of sessions are of the same characters, at least two.
fn is_session(session: &str) -> bool {
    session.len() >= 2 && is_name(session)
}

/// A path of names. IAM would take other characters in it, too; such users cannot sign in here.
fn is_path(path: &[&str]) -> bool {
    let length: usize = path.iter().map(|part| part.len() + 1).sum();
    length <= MAX_PATH && path.iter().all(|part| is_name(part))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(arn: &str) -> Option<(String, String, String, Option<String>)> {
        let it = AwsPrincipal::of_caller(arn)?;
        Some((it.arn.to_string(), it.account, it.name, it.session))
    }

    #[test]
    fn a_session_is_its_role_and_a_user_is_itself() {
        for (arn, canonical, name, session) in [
            (
                "arn:aws:sts::123456789012:assumed-role/deployer/run-42",
                "arn:aws:iam::123456789012:role/deployer",
                "deployer",
                Some("run-42"),
            ),
            (
                "arn:aws-cn:sts::000000000000:assumed-role/Admin_+=,.@-/ada@example.com",
                "arn:aws-cn:iam::000000000000:role/Admin_+=,.@-",
                "Admin_+=,.@-",
                Some("ada@example.com"),
            ),
            (
                "arn:aws-us-gov:iam::123456789012:user/ci",
                "arn:aws-us-gov:iam::123456789012:user/ci",
                "ci",
                None,
            ),
            (
                "arn:aws:iam::123456789012:user/teams/shop/ci",
                "arn:aws:iam::123456789012:user/teams/shop/ci",
                "ci",
                None,
            ),
        ] {
            let account = arn.split(':').nth(4).unwrap();
            let expected = (
                canonical.to_owned(),
                account.to_owned(),
                name.to_owned(),
                session.map(str::to_owned),
            );
            assert_eq!(told(arn), Some(expected));
        }
    }

    #[test]
    fn nobody_else_is_a_principal() {
        for arn in [
            "",
            "arn",
            "arn:aws:iam::123456789012:root",
            "arn:aws:sts::123456789012:federated-user/ada",
            "arn:aws:sts::123456789012:user/moto",
            "arn:aws:iam::123456789012:role/deployer",
            "arn:aws:iam::123456789012:assumed-role/deployer/run",
            "arn:aws:sts::123456789012:assumed-role/deployer",
            "arn:aws:sts::123456789012:assumed-role/deployer/",
            "arn:aws:sts::123456789012:assumed-role/deployer/r",
            "arn:aws:sts::123456789012:assumed-role//run",
            "arn:aws:sts::123456789012:assumed-role/ci/deployer/run",
            "arn:aws:sts::123456789012:Assumed-Role/deployer/run",
            "arn:aws:sts:eu-central-1:123456789012:assumed-role/deployer/run",
            "arn:aws-iso:sts::123456789012:assumed-role/deployer/run",
            "arn:AWS:sts::123456789012:assumed-role/deployer/run",
            "arn:aws:sts::12345678901:assumed-role/deployer/run",
            "arn:aws:sts::1234567890123:assumed-role/deployer/run",
            "arn:aws:sts::12345678901\u{661}:assumed-role/deployer/run",
            "arn:aws:sts::123456789012:assumed-role/deployer/run:x",
            "arn:aws:sts::123456789012:assumed-role/deployer/run x",
            "arn:aws:sts::123456789012:assumed-role/deploy\u{435}r/run",
            " arn:aws:iam::123456789012:user/ci",
            "arn:aws:iam::123456789012:user/ci\n",
            "arn:aws:iam::123456789012:user/",
            "arn:aws:iam::123456789012:user//ci",
            "arn:aws:iam::123456789012:user/a*/ci",
            "arn:aws:iam::123456789012:user",
        ] {
            assert_eq!(told(arn), None, "{arn}");
        }
        let long = "x".repeat(MAX_NAME + 1);
        assert_eq!(
            told(&format!("arn:aws:iam::123456789012:user/{long}")),
            None
        );
        let path = "abcdefg/".repeat(MAX_PATH / 8 + 1);
        assert_eq!(
            told(&format!("arn:aws:iam::123456789012:user/{path}ci")),
            None
        );
    }

    #[test]
    fn configuration_names_roles_and_users_as_sessions_will_be_known() {
        for text in [
            "arn:aws:iam::123456789012:role/deployer",
            "arn:aws:iam::123456789012:user/ci",
            "arn:aws:iam::123456789012:user/teams/ci",
        ] {
            assert_eq!(PrincipalArn::parse(text).unwrap().as_str(), text);
        }
        for (text, instead) in [
            (
                "arn:aws:sts::123456789012:assumed-role/deployer/run-42",
                "is one session of a role: write the role, `arn:aws:iam::123456789012:role/deployer`",
            ),
            (
                "arn:aws:iam::123456789012:role/ci/deployer",
                "write `arn:aws:iam::123456789012:role/deployer`",
            ),
            ("arn:aws:iam::123456789012:root", "is not the ARN of one"),
            ("arn:aws:iam::123456789012:role/*", "is not the ARN of one"),
            ("arn:aws:iam::*:role/deployer", "is not the ARN of one"),
            ("deployer", "is not the ARN of one"),
        ] {
            let error = PrincipalArn::parse(text).unwrap_err().to_string();
            assert!(error.contains(instead), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_taken_is_canonical(
            text in "(arn:aws:(iam|sts)::123456789012:(role|user|assumed-role|root)[/:a-z*é ]{0,12}|\\PC{0,80})",
        ) {
            if let Some(caller) = AwsPrincipal::of_caller(&text) {
                prop_assert_eq!(PrincipalArn::parse(caller.arn.as_str()), Ok(caller.arn));
            }
            if let Ok(arn) = PrincipalArn::parse(&text) {
                prop_assert_eq!(arn.as_str(), &text);
            }
        }
    }
}
