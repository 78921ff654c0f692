//! Why a credential was refused: the closed list.
//!
//! Every reason has a public sentence ([`Display`](std::fmt::Display): one line of printable ASCII
//! without `%`, what is wrong and then what to do), a stable [`code`](Reason::code) and, for the
//! record only, a [`detail`](Reason::detail). None ever holds the token, or a part of it other than
//! the names that it claims.

use std::fmt;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::aws;

/// Why a credential was refused. `Display` is the public sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// `alg` is not on the list.
    #[error(
        "the token's algorithm `{algorithm}` is not accepted: send one that its issuer signed with \
         RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA"
    )]
    Algorithm {
        /// What it says.
        algorithm: Quoted,
    },
    /// A token that Argo CD itself made.
    #[error(
        "tokens that Argo CD itself issued are not accepted here: sign in with `argocd login --sso`"
    )]
    ArgoCdToken,
    /// None of the audiences is ours.
    #[error("the token is for {found}, and this gate needs one for {wanted}: {}", scheme.fetch())]
    Audience {
        /// Which scheme.
        scheme: Scheme,
        /// Whom it is for.
        found: Quoted,
        /// Whom it should be for.
        wanted: Quoted,
    },
    /// The token was issued to a client that is not ours.
    #[error(
        "the token was issued to the client `{party}`, which is not one of this gate's: sign in \
         with `argocd login --sso`"
    )]
    AuthorizedParty {
        /// The `azp` claim.
        party: Quoted,
    },
    /// A proof of an AWS identity that does not hold.
    #[error(transparent)]
    Aws(#[from] aws::Fault),
    /// A claim is missing or not of its form.
    #[error(
        "the token's claim `{claim}` {fault}: ask whoever runs `{issuer}` to have it put right"
    )]
    Claim {
        /// Who issued it.
        issuer: Quoted,
        /// Which claim.
        claim: Quoted,
        /// What is wrong.
        fault: ClaimFault,
    },
    /// Two credentials that differ.
    #[error("the request carries two different credentials, in {first} and in {second}: send one")]
    Conflict {
        /// Where the one is.
        first: Place,
        /// Where the other is.
        second: Place,
    },
    /// The header asks for an extension.
    #[error(
        "the token's header has `{extension}`, which is not supported: send a plain signed token"
    )]
    Extension {
        /// Which member.
        extension: &'static str,
    },
    /// `exp` is past.
    #[error("the token expired {}, {} ago: {}", moment(*at, *now), span(*now, *at), scheme.renew())]
    Expired {
        /// Which scheme.
        scheme: Scheme,
        /// When.
        at: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// The issuer left the groups out and says where they are.
    #[error(
        "the token leaves out its groups, there are too many for it: ask whoever runs `{issuer}` to \
         put in only those that are assigned to this gate's client, or app roles"
    )]
    GroupsElsewhere {
        /// Who issued it.
        issuer: Quoted,
    },
    /// No key could be read yet.
    #[error("the keys of `{issuer}` cannot be read now: try again in a minute")]
    KeysUnavailable {
        /// Whose.
        issuer: Quoted,
    },
    /// No `kid`, and more than one key (or none) that could be meant.
    #[error(
        "the token does not say which key of `{issuer}` signed it (`kid`): ask whoever runs it to \
         have it put right"
    )]
    KeyNotNamed {
        /// Whose.
        issuer: Quoted,
    },
    /// The `kid` is not in the issuer's set.
    #[error("the token is signed with a key that `{issuer}` does not publish: {}", scheme.renew())]
    KeyUnknown {
        /// Which scheme.
        scheme: Scheme,
        /// Whose.
        issuer: Quoted,
        /// The `kid`.
        key: Quoted,
    },
    /// It may live longer than configuration allows.
    #[error(
        "the token lives for {} hours, and this gate takes at most {}: request one with a shorter \
         life", hours(*lifetime), longest.as_hours()
    )]
    Lifetime {
        /// How long.
        lifetime: SignedDuration,
        /// How long it may.
        longest: SignedDuration,
    },
    /// Not a signed JWT.
    #[error("the token is not a signed JWT: send the whole token, as its issuer gave it")]
    Malformed {
        /// What the parser found.
        detail: String,
    },
    /// Identities of AWS are not configured.
    #[error(
        "this gate takes no identities of AWS: ask whoever runs it for the section [aws] of its configuration"
    )]
    NoAws,
    /// `Authorization` is there and is not `Bearer TOKEN`.
    #[error("the Authorization header is not of the form `Bearer TOKEN`: send the token like that")]
    NotBearer,
    /// A program asks for a session that outlives its credential.
    #[error(
        "only a person has a session that can be renewed: exchange a new credential when this one has ended"
    )]
    NotRenewable,
    /// `nbf` or `iat` is in the future.
    #[error(
        "the token is not valid before {}, which is {} seconds ahead of this gate's clock: set the \
         clocks, or wait", moment(*from, *now), from.duration_since(*now).as_secs()
    )]
    NotYetValid {
        /// From when.
        from: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// Somebody took it back.
    #[error("the credential was revoked: sign in again")]
    Revoked {
        /// What was revoked, for the record.
        what: &'static str,
    },
    /// A JSON key appears twice.
    #[error("the token names `{key}` twice: send one whose issuer names it once")]
    Repeated {
        /// Which key.
        key: Quoted,
    },
    /// A header or cookie appears twice.
    #[error("the request carries {place} twice: send it once")]
    RepeatedPlace {
        /// Which.
        place: Place,
    },
    /// The signature is not the key's.
    #[error("the token's signature is not from a key of `{issuer}`: {}", scheme.renew())]
    Signature {
        /// Which scheme.
        scheme: Scheme,
        /// Whose key.
        issuer: Quoted,
    },
    /// The session is not there any more.
    #[error("the session has ended: sign in again")]
    SessionEnded,
    /// Sessions cannot be read.
    #[error("sessions cannot be read now: try again in a minute")]
    SessionsUnavailable,
    /// The session cookie is in several parts.
    #[error(
        "the cookie `argocd.token` is split into parts, which is not supported: sign in again with \
         fewer groups, or send the token as `Authorization: Bearer`"
    )]
    SplitCookie,
    /// A token over the limit.
    #[error(
        "the token has {bytes} bytes, and this gate takes at most {limit}: sign in with fewer groups"
    )]
    TooLarge {
        /// How many.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A token for something else.
    #[error("the token is of type `{found}`, not one to sign in with: send an ID token")]
    Type {
        /// The `typ` of the header or the claims, or the claim that gives it away.
        found: Quoted,
    },
    /// A session that can be renewed needs a sign-in of just now.
    #[error(
        "a session that can be renewed begins with a sign-in of the last five minutes: sign in again"
    )]
    Stale,
    /// What may be used once was used.
    #[error("this {what} was used before: ask for a new one")]
    Spent {
        /// What it is.
        what: &'static str,
    },
    /// Nobody configured that issuer.
    #[error(
        "the token is from `{issuer}`, which this gate does not trust: sign in with `argocd login \
         --sso`, or send a token of a configured issuer"
    )]
    UnknownIssuer {
        /// What it says.
        issuer: Quoted,
    },
    /// A program whom nobody has given a role: whoever has a job at a public CI system, or an account of AWS, could
    /// say as much.
    #[error(
        "no role is given to `{who}`: ask whoever runs this gate for one, in a [[role]] of its configuration"
    )]
    UnknownWorkload {
        /// Who it is.
        who: Quoted,
    },
    /// Bytes that a token cannot have.
    #[error("{place} holds bytes that a token cannot have: send the token as its issuer gave it")]
    Unprintable {
        /// Where.
        place: Place,
    },
}

impl Reason {
    /// A stable word for records, metrics and tests.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Algorithm { .. } => "algorithm",
            Self::ArgoCdToken => "argocd-token",
            Self::Audience { .. } => "audience",
            Self::AuthorizedParty { .. } => "authorized-party",
            Self::Aws(fault) => fault.code(),
            Self::Claim { .. } => "claim",
            Self::Conflict { .. } => "conflict",
            Self::Extension { .. } => "extension",
            Self::Expired { .. } => "expired",
            Self::KeysUnavailable { .. } => "keys-unavailable",
            Self::GroupsElsewhere { .. } => "groups-elsewhere",
            Self::KeyNotNamed { .. } => "key-not-named",
            Self::KeyUnknown { .. } => "key-unknown",
            Self::Lifetime { .. } => "lifetime",
            Self::Malformed { .. } => "malformed",
            Self::NoAws => "no-aws",
            Self::NotBearer => "not-bearer",
            Self::NotRenewable => "not-renewable",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::Revoked { .. } => "revoked",
            Self::Repeated { .. } => "repeated",
            Self::RepeatedPlace { .. } => "repeated-place",
            Self::Signature { .. } => "signature",
            Self::SessionEnded => "session-ended",
            Self::SessionsUnavailable => "sessions-unavailable",
            Self::Stale => "stale",
            Self::Spent { .. } => "spent",
            Self::SplitCookie => "split-cookie",
            Self::TooLarge { .. } => "too-large",
            Self::Type { .. } => "type",
            Self::UnknownIssuer { .. } => "unknown-issuer",
            Self::UnknownWorkload { .. } => "unknown-workload",
            Self::Unprintable { .. } => "unprintable",
        }
    }

    /// Whether the same caller may be verified a little later: something else could not be asked.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Aws(fault) => fault.passes(),
            Self::KeysUnavailable { .. } | Self::SessionsUnavailable => true,
            _ => false,
        }
    }

    /// What the record should hold beyond the sentence, if anything.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Aws(fault) => fault.detail(),
            Self::KeyUnknown { key, .. } => Some(format!("kid `{key}`")),
            Self::Malformed { detail } => Some(detail.clone()),
            Self::Revoked { what } => Some(format!("the {what} was revoked")),
            _ => None,
        }
    }
}

/// What is wrong with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimFault {
    /// It contradicts another claim.
    #[error("does not agree with `sub`")]
    Disagrees,
    /// It has no text, or an element has none.
    #[error("is empty")]
    Empty,
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It is too long, or has too many elements.
    #[error("is too long")]
    TooLong,
    /// It has control characters or is otherwise not of its form.
    #[error("is not well-formed")]
    Unclean,
    /// It has another JSON type.
    #[error("is of the wrong type")]
    WrongType,
}

/// Which scheme a token belongs to: it decides what a refused caller should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A job of CI.
    Ci,
    /// A Kubernetes service account.
    Kubernetes,
    /// `OpenID` Connect.
    Oidc,
    /// A session of the gate.
    Session,
}

impl Scheme {
    /// How to get a token like this one, but fresh.
    fn renew(self) -> &'static str {
        match self {
            Self::Ci => "have the job request a new one",
            Self::Kubernetes => "read the token file again, the kubelet renews it",
            Self::Oidc | Self::Session => "sign in again",
        }
    }

    /// How to get a token for this gate.
    fn fetch(self) -> &'static str {
        match self {
            Self::Ci => "have the job request one with that audience, and no other",
            Self::Kubernetes => "mount a projected token with that audience",
            Self::Oidc | Self::Session => "sign in with `argocd login --sso`",
        }
    }
}

/// Where in a request a credential was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The header `Authorization`.
    Authorization,
    /// The cookie `argocd.token`, which browsers send by themselves.
    Cookie,
    /// The gRPC metadata `token`, as the `argocd` command sends it.
    Metadata,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authorization => "the header `Authorization`",
            Self::Cookie => "the cookie `argocd.token`",
            Self::Metadata => "the metadata `token`",
        })
    }
}

/// Text of a stranger made fit for one line of an answer: printable ASCII without `%` and
/// backticks, at most 120 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    const LIMIT: usize = 120;

    /// `text`, made fit.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let fit = |c: char| match c {
            '%' | '`' => '?',
            ' '..='~' => c,
            _ => '?',
        };
        let mut line: String = text.chars().take(Self::LIMIT).map(fit).collect();
        if text.chars().nth(Self::LIMIT).is_some() {
            line.push_str("...");
        }
        Self(line)
    }

    /// `texts`, made fit, each in backticks; `nobody` if there are none.
    #[must_use]
    pub fn list(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let quoted: Vec<String> = texts
            .into_iter()
            .take(8)
            .map(|text| format!("`{}`", Self::new(text.as_ref())))
            .collect();
        if quoted.is_empty() {
            return Self("nobody".to_owned());
        }
        Self(quoted.join(" or "))
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `14:02:07Z` if that is today, else with the date.
pub(super) fn moment(at: Timestamp, now: Timestamp) -> String {
    let (at, now) = (at.to_zoned(TimeZone::UTC), now.to_zoned(TimeZone::UTC));
    if at.date() == now.date() {
        format!("{}Z", at.strftime("%H:%M:%S"))
    } else {
        format!("{}Z", at.strftime("%Y-%m-%d %H:%M:%S"))
    }
}

/// The time from `earlier` to `later` in its largest whole unit.
pub(super) fn span(later: Timestamp, earlier: Timestamp) -> String {
    let seconds = later.duration_since(earlier).as_secs().max(0);
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// The hours that `span` takes up, an hour that has begun counting whole.
fn hours(span: SignedDuration) -> i64 {
    span.as_hours() + i64::from(span.as_secs() % 3_600 > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_told_as_people_would() {
        let now: Timestamp = "2026-11-23T14:14:30Z".parse().unwrap();
        for (at, told) in [
            ("2026-11-23T14:02:07Z", "14:02:07Z, 12 minutes"),
            ("2026-11-23T14:14:29Z", "14:14:29Z, 1 second"),
            ("2026-11-23T01:00:00Z", "01:00:00Z, 13 hours"),
            ("2026-11-22T14:14:30Z", "2026-11-22 14:14:30Z, 1 day"),
        ] {
            let at = at.parse().unwrap();
            assert_eq!(format!("{}, {}", moment(at, now), span(now, at)), told);
        }
    }

    proptest! {
        #[test]
        fn quoted_text_is_fit_for_a_grpc_message(text in any::<String>()) {
            let quoted = Quoted::new(&text).to_string();
            prop_assert!(quoted.len() <= Quoted::LIMIT + 3);
            prop_assert!(quoted.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'%'));
        }
    }
}
