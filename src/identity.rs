//! Who calls.
//!
//! In: the headers of a request. Out: a [`Caller`] whose credential was verified, or the reason
//! why not. A scheme has three outcomes ([`SchemeOutcome`]); what was rejected never falls through
//! to the next scheme. Never: a claim that was not verified, a credential in a log or an error.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::Role;

/// Who was verified, how, and what configuration makes of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The person or workload.
    pub subject: Subject,
    /// The exact `iss` of the credential.
    pub issuer: String,
    /// The groups that the issuer claims for the subject.
    pub groups: BTreeSet<String>,
    /// The roles that configuration gives to these groups, or to this workload.
    pub roles: BTreeSet<Role>,
    /// When the credential ends.
    pub expires_at: Timestamp,
}

/// The facts of one scheme.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Subject {
    /// A Kubernetes service account, by a projected token.
    KubernetesAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The pod that the token is bound to, where it is.
        pod: Option<String>,
    },
    /// A person, by an OpenID Connect ID token.
    OidcUser {
        /// The `sub` claim.
        subject: String,
        /// The `email` claim, if the issuer gave one that it does not call unverified.
        email: Option<String>,
        /// The `name` claim.
        name: Option<String>,
    },
}

impl Caller {
    /// What people call this caller: the e-mail, else the subject; `system:serviceaccount:NS:NAME`
    /// for a service account, as Kubernetes writes it.
    #[must_use]
    pub fn display(&self) -> String {
        match &self.subject {
            Subject::KubernetesAccount {
                namespace, name, ..
            } => {
                format!("system:serviceaccount:{namespace}:{name}")
            }
            Subject::OidcUser { subject, email, .. } => {
                email.clone().unwrap_or_else(|| subject.clone())
            }
        }
    }

    /// An identifier that no other subject of any issuer has: `ISSUER#SUBJECT`.
    #[must_use]
    pub fn unique(&self) -> String {
        match &self.subject {
            Subject::KubernetesAccount { .. } => format!("{}#{}", self.issuer, self.display()),
            Subject::OidcUser { subject, .. } => format!("{}#{subject}", self.issuer),
        }
    }
}

/// By hand, so that a new field stays out of logs until somebody adds it here.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("unique", &self.unique())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KubernetesAccount {
                namespace, name, ..
            } => {
                write!(f, "KubernetesAccount({namespace}/{name})")
            }
            Self::OidcUser { subject, .. } => write!(f, "OidcUser({subject})"),
        }
    }
}
