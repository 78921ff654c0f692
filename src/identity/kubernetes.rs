//! Workloads, by projected tokens of Kubernetes service accounts.
//!
//! In: the verified claims of a configured cluster's token. Out: the account, and its pod where the
//! token is bound to one. Refused: tokens for another audience, those that live too long (a token
//! of a Secret lives for ever), and those whose `sub` and `kubernetes.io` claims disagree. The
//! token of a deleted pod counts until it expires: only kube-apiserver knows of the deletion.

use std::collections::BTreeSet;
use std::ops::Range;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::Subject;
use super::config::KubernetesIssuer;
use super::jwt::{Claims, text_of};
use super::reason::{ClaimFault, Reason, Scheme};

/// The claim that kube-apiserver puts namespace, account and pod into.
const CLAIM: &str = "kubernetes.io";

/// How tokens of one cluster are read.
#[derive(Debug)]
pub(super) struct Kubernetes {
    audiences: BTreeSet<String>,
    longest_life: SignedDuration,
}

impl Kubernetes {
    /// The rules of `issuer`.
    pub(super) fn new(issuer: &KubernetesIssuer) -> Self {
        Self {
            audiences: BTreeSet::from([issuer.audience.clone()]),
            longest_life: issuer.longest_life,
        }
    }

    /// The account that `claims` name, no groups, and when the token counts.
    pub(super) fn read(
        &self,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<(Subject, BTreeSet<String>, Range<Timestamp>), Reason> {
        let window = claims.window(now, Scheme::Kubernetes)?;
        claims.audiences(&self.audiences, Scheme::Kubernetes)?;
        claims.lives_at_most(self.longest_life)?;
        let (namespace, name) = account(claims)?;
        let bound = bound_object(claims)?;
        let same = field(claims, bound, "namespace")? == namespace
            && name_of(claims, bound, "serviceaccount")? == Some(name);
        if !same {
            return Err(claims.fault(CLAIM, ClaimFault::Disagrees));
        }
        let subject = Subject::KubernetesAccount {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            pod: name_of(claims, bound, "pod")?.map(str::to_owned),
        };
        Ok((subject, BTreeSet::new(), window))
    }
}

/// What begins the user name of every service account, and of nobody else.
const ACCOUNT: &str = "system:serviceaccount:";

fn account(claims: &Claims) -> Result<(&str, &str), Reason> {
    account_of(claims.subject()?).ok_or_else(|| claims.fault("sub", ClaimFault::Unclean))
}

/// Namespace and name of `system:serviceaccount:NAMESPACE:NAME`.
fn account_of(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(ACCOUNT)?.split_once(':')?;
    (is_object_name(namespace) && is_object_name(name)).then_some((namespace, name))
}

/// Whom the API server of a cluster calls `user`; `None` for no name, one that is no line of text,
/// and one of a service account that cannot be.
pub(super) fn user(user: &str) -> Option<Subject> {
    if let Some((namespace, name)) = account_of(user) {
        return Some(Subject::KubernetesAccount {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            pod: None,
        });
    }
    let is_name = !user.is_empty()
        && user.len() <= 1024
        && !user.starts_with(ACCOUNT)
        && !user.chars().any(char::is_control);
    is_name.then(|| Subject::KubernetesUser {
        name: user.to_owned(),
    })
}

/// The names that Kubernetes gives to objects (RFC 1123): lower-case letters, digits, `-` and `.`.
pub(super) fn is_object_name(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

fn bound_object(claims: &Claims) -> Result<&Map<String, Value>, Reason> {
    match claims.value(CLAIM) {
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(claims.fault(CLAIM, ClaimFault::WrongType)),
        None => Err(claims.fault(CLAIM, ClaimFault::Missing)),
    }
}

/// The text `key` of `object`, which must be there.
fn field<'a>(
    claims: &Claims,
    object: &'a Map<String, Value>,
    key: &str,
) -> Result<&'a str, Reason> {
    let value = object.get(key).unwrap_or(&Value::Null);
    text_of(value).map_err(|fault| claims.fault(CLAIM, fault))
}

/// The `name` of the object `key`; `None` if there is no such object.
fn name_of<'a>(
    claims: &Claims,
    object: &'a Map<String, Value>,
    key: &str,
) -> Result<Option<&'a str>, Reason> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::Object(named)) => field(claims, named, "name").map(Some),
        Some(_) => Err(claims.fault(CLAIM, ClaimFault::WrongType)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_a_cluster_are_accounts_or_people() {
        let account = |namespace: &str, name: &str| Subject::KubernetesAccount {
            namespace: namespace.into(),
            name: name.into(),
            pod: None,
        };
        let person = |name: &str| Subject::KubernetesUser { name: name.into() };
        for (name, subject) in [
            (
                "system:serviceaccount:argocd:argocd-server",
                Some(account("argocd", "argocd-server")),
            ),
            ("kubernetes-admin", Some(person("kubernetes-admin"))),
            (
                "system:kube-controller-manager",
                Some(person("system:kube-controller-manager")),
            ),
            (
                "Ada Lovelace <ada@example.com>",
                Some(person("Ada Lovelace <ada@example.com>")),
            ),
            ("", None),
            ("ada\nbob", None),
            ("system:serviceaccount:", None),
            ("system:serviceaccount:argocd", None),
            ("system:serviceaccount:argocd:a:b", None),
            ("system:serviceaccount:Argocd:x", None),
        ] {
            assert_eq!(user(name), subject, "{name}");
        }
    }
}
