//! The names that every room uses: applications, environments, commits, decisions.
//!
//! Each is a type of its own: a branch name cannot be passed where a commit is wanted, and text
//! from a caller becomes a name only through a check.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Defines a newtype over `String` that is only made through `parse`.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` and takes it.
            ///
            /// # Errors
            /// [`BadName`] when it does not have the form of this name.
            pub fn parse(text: impl Into<String>) -> Result<Self, BadName> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(BadName { what: $what, text }) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                Self::parse(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// Text that does not have the form of the name it was given for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct BadName {
    what: &'static str,
    text: String,
}

fn dns_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
}

fn short_printable(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_./:".contains(&b))
}

name!(
    /// The name of an environment (`staging`), as configuration declares it.
    EnvironmentName, "an environment name (lower-case letters, digits, `-`, `.`)", dns_label
);
name!(
    /// The name of an endpoint under test (`checkout-api`), as configuration declares it.
    EndpointName, "an endpoint name (lower-case letters, digits, `-`, `.`)", dns_label
);
name!(
    /// The name of a freeze (`year-end`), as configuration declares it.
    FreezeName, "a freeze name (lower-case letters, digits, `-`, `.`)", dns_label
);
name!(
    /// What is promoted from one environment to the next (`checkout`).
    Component, "a component name (letters, digits, `-_./:`, at most 128)", short_printable
);
name!(
    /// The name of a test suite (`integration`).
    Suite, "a suite name (letters, digits, `-_./:`, at most 128)", short_printable
);
name!(
    /// A role that policies name (`release-manager`).
    Role, "a role name (letters, digits, `-_./:`, at most 128)", short_printable
);
name!(
    /// Who signs attestations of test runs (`ci`), as configuration declares it.
    SignerName, "a signer's name (letters, digits, `-_./:`, at most 128)", short_printable
);
name!(
    /// What a source is pinned to: a full Git SHA-1 (40 hexadecimal digits), an exact chart
    /// version, or an OCI digest. Never a branch, a tag or an abbreviation.
    Commit, "a full commit SHA, an exact chart version or an OCI digest", |text| {
        is_full_sha(text) || is_oci_digest(text) || is_exact_version(text)
    }
);
name!(
    /// SHA-256 of the canonical JSON of an application's source(s), in lower-case hexadecimal.
    SourceDigest, "a SHA-256 digest in lower-case hexadecimal", |text| {
        text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }
);

/// Whether `text` is a full Git SHA-1: 40 lower-case hexadecimal digits.
#[must_use]
pub fn is_full_sha(text: &str) -> bool {
    text.len() == 40
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_oci_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// An exact semantic version as Helm resolves a constraint to: three numbers, optional suffix.
fn is_exact_version(text: &str) -> bool {
    let core = text.strip_prefix('v').unwrap_or(text);
    let core = core.split(['-', '+']).next().unwrap_or_default();
    text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b))
        && core.split('.').count() == 3
        && core
            .split('.')
            .all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

impl Commit {
    /// The first seven digits of a SHA, or the whole of anything else: for people.
    #[must_use]
    pub fn short(&self) -> &str {
        if is_full_sha(&self.0) {
            self.0.get(..7).unwrap_or(&self.0)
        } else {
            &self.0
        }
    }
}

/// Names one pod.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Names one Application: its namespace, where the request gave one, and its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct AppRef {
    /// The namespace of the Application object; absent means Argo CD's own.
    pub namespace: Option<String>,
    /// The Application's name.
    pub name: String,
}

impl fmt::Display for AppRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// The identifier of one decision, in every answer, record and refusal (a ULID).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DecisionId(pub ulid::Ulid);

impl DecisionId {
    /// A new identifier at `now`; identifiers sort by time.
    #[must_use]
    pub fn new(now: jiff::Timestamp) -> Self {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let random = ulid::Ulid::new().random();
        Self(ulid::Ulid::from_parts(millis, random))
    }

    /// When it was made, to the millisecond; none for a time that no clock tells.
    #[must_use]
    pub fn made_at(self) -> Option<jiff::Timestamp> {
        let millis = i64::try_from(self.0.timestamp_ms()).ok()?;
        jiff::Timestamp::from_millisecond(millis).ok()
    }

    /// The identifier of what nobody asked for and that was seen at `at`: the same for the same `name`,
    /// whenever it is asked, so that a crash between its entry in the log and what follows from it leaves
    /// one entry.
    #[must_use]
    pub fn of_seen(at: jiff::Timestamp, name: &str) -> Self {
        let hash = crate::digest::sha256(name.as_bytes());
        let bits = |bits: u128, byte: &u8| bits << 8 | u128::from(*byte);
        let random = hash.iter().take(16).fold(0, bits);
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        Self(ulid::Ulid::from_parts(millis, random))
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_or_an_abbreviation_is_not_a_commit() {
        for text in [
            "main",
            "HEAD",
            "3f2c1a9",
            "v1",
            "1.2",
            "",
            "--upload-pack=x",
            "1.x.0",
            "3F2C1A93F2C1A93F2C1A93F2C1A93F2C1A93F2C1",
        ] {
            assert!(Commit::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn commits_chart_versions_and_digests_are_commits() {
        for text in [
            "3f2c1a93f2c1a93f2c1a93f2c1a93f2c1a93f2c1",
            "1.2.3",
            "v1.2.3-rc.1+build5",
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ] {
            assert!(Commit::parse(text).is_ok(), "{text}");
        }
    }
}
