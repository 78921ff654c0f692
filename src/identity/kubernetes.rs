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
        let lifetime = claims.lifetime()?;
        if lifetime > self.longest_life {
            return Err(Reason::Lifetime {
                lifetime,
                longest: self.longest_life,
            });
        }
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

/// Namespace and name of `system:serviceaccount:NAMESPACE:NAME`.
fn account(claims: &Claims) -> Result<(&str, &str), Reason> {
    let unclean = || claims.fault("sub", ClaimFault::Unclean);
    let (namespace, name) = claims
        .subject()?
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
        .ok_or_else(unclean)?;
    if is_object_name(namespace) && is_object_name(name) {
        Ok((namespace, name))
    } else {
        Err(unclean())
    }
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
