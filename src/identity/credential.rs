//! Where a request carries its credential.
//!
//! In: request headers. Out: the one credential ([`Credential::from_headers`]), or that there is
//! none, or why it is refused. Two that differ, or one given twice, are refused: whichever a later
//! reader took first, it would be a guess. [`strip`] removes every header in which a client could
//! set a credential or an identity; whoever forwards calls it before setting its own.

use std::fmt;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::reason::{Place, Reason};

/// The largest token that is looked at.
pub const LIMIT: usize = 16 * 1024;

/// The gRPC metadata that the `argocd` command sends its token in, empty when it has none.
const METADATA: &str = "token";

/// The session cookie of Argo CD's pages. Argo CD splits a long one: `argocd.token=2:...` and
/// `argocd.token-1=...`.
const COOKIE_NAME: &str = "argocd.token";

/// A token as it came, and where. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    token: String,
    place: Place,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential(in {})", self.place)
    }
}

impl Credential {
    /// The credential of a request; `None` if it has none, as when all of them are empty.
    ///
    /// # Errors
    /// A [`Reason`] if there are several, or one not of its form.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Reason> {
        let found = [
            from_metadata(headers)?,
            from_authorization(headers)?,
            from_cookie(headers)?,
        ];
        let mut found = found.into_iter().flatten();
        let Some(first) = found.next() else {
            return Ok(None);
        };
        match found.find(|other| other.token != first.token) {
            Some(second) => Err(Reason::Conflict {
                first: first.place,
                second: second.place,
            }),
            None => Ok(Some(first)),
        }
    }

    /// Where it was. A cookie comes without the user's doing, so that requests which change
    /// something need a guard against forgery when it is [`Place::Cookie`].
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// The token itself, for its verification only.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    fn new(token: &str, place: Place) -> Result<Self, Reason> {
        if token.len() > LIMIT {
            return Err(Reason::TooLarge {
                bytes: token.len(),
                limit: LIMIT,
            });
        }
        Ok(Self {
            token: token.to_owned(),
            place,
        })
    }
}

/// The metadata `token`. The `argocd` command sends it with every call, empty when signed out.
fn from_metadata(headers: &HeaderMap) -> Result<Option<Credential>, Reason> {
    match only(headers, METADATA, Place::Metadata)? {
        None | Some("") => Ok(None),
        Some(token) => Credential::new(token, Place::Metadata).map(Some),
    }
}

/// `Authorization: Bearer TOKEN` (RFC 6750 section 2.1). The header without a token is refused, not
/// taken for absent: its sender meant to sign in, as with an unset variable in a script.
fn from_authorization(headers: &HeaderMap) -> Result<Option<Credential>, Reason> {
    let Some(value) = only(headers, AUTHORIZATION.as_str(), Place::Authorization)? else {
        return Ok(None);
    };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim_matches(' ');
            if token.is_empty() || token.contains(' ') {
                return Err(Reason::NotBearer);
            }
            Credential::new(token, Place::Authorization).map(Some)
        }
        _ => Err(Reason::NotBearer),
    }
}

/// The cookie `argocd.token`. HTTP/2 may send cookies in several headers (RFC 9113 section 8.2.3).
fn from_cookie(headers: &HeaderMap) -> Result<Option<Credential>, Reason> {
    let place = Place::Cookie;
    let mut found = None;
    for value in headers.get_all(COOKIE) {
        let line = value.to_str().map_err(|_| Reason::Unprintable { place })?;
        for (name, value) in line.split(';').map(cookie_pair) {
            if name.strip_prefix(COOKIE_NAME).is_some_and(is_part_suffix) {
                return Err(Reason::SplitCookie);
            }
            if name == COOKIE_NAME && found.replace(value).is_some() {
                return Err(Reason::RepeatedPlace { place });
            }
        }
    }
    match found {
        None | Some("") => Ok(None),
        Some(token) if token.contains(':') => Err(Reason::SplitCookie),
        Some(token) => Credential::new(token, place).map(Some),
    }
}

/// Whether what follows `argocd.token` makes it a further part: `-1`, `-2`.
fn is_part_suffix(suffix: &str) -> bool {
    suffix
        .strip_prefix('-')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Name and value of one cookie, without the white space around them.
fn cookie_pair(pair: &str) -> (&str, &str) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (name.trim_ascii(), value.trim_ascii())
}

/// The value of the header `name`, which may appear once.
fn only<'a>(headers: &'a HeaderMap, name: &str, place: Place) -> Result<Option<&'a str>, Reason> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(Reason::RepeatedPlace { place }),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Reason::Unprintable { place }),
        },
    }
}

/// Headers that carry a credential, an identity or where a request comes from, or that change what
/// it is; in lower case with every character other than letters and digits as `-`.
const STRIPPED: &[&str] = &[
    "authorization",
    "client-ip",
    "dpop",
    "forwarded",
    "from",
    "proxy-authorization",
    "remote-user",
    "renew-token",
    "token",
    "true-client-ip",
    "x-access-token",
    "x-api-key",
    "x-cluster-client-ip",
    "x-email",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-real-ip",
    "x-token",
];

/// As [`STRIPPED`], by their beginning. Argo CD's gateway makes gRPC metadata of `grpc-metadata-`,
/// so that `Grpc-Metadata-Token` is a credential.
const STRIPPED_PREFIXES: &[&str] = &[
    "argocd-",
    "cf-access-",
    "client-cert",
    "grpc-metadata-",
    "grpcgateway-",
    "impersonate-",
    "ssl-client-",
    "syncgate",
    "x-amz-",
    "x-amzn-oidc-",
    "x-auth",
    "x-client-",
    "x-envoy-",
    "x-forwarded",
    "x-goog-authenticated-",
    "x-goog-iap-",
    "x-group",
    "x-ms-client-principal",
    "x-ms-token-",
    "x-original-",
    "x-remote-",
    "x-rewrite-",
    "x-ssl-",
    "x-syncgate",
    "x-user",
    "x-webauth-",
];

/// The `argocd-` headers that name what a call is about, not who makes it.
const KEPT: &[&str] = &["argocd-application-name", "argocd-project-name"];

/// The beginnings of cookie names that no upstream may see.
const STRIPPED_COOKIES: &[&str] = &[
    "argocd.",
    "syncgate",
    "__host-syncgate",
    "__secure-syncgate",
];

/// Removes every header (or trailer) and cookie in which a client could set a credential or an
/// identity, in every spelling: `X-Forwarded-User`, `x_forwarded_user`, `X.Forwarded.User`.
pub fn strip(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|n| is_stripped(n)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    strip_cookies(headers);
}

/// Whether [`strip`] removes the header `name`. Header names are compared without regard to case,
/// and some upstreams take `_` for `-`, so both are one here.
fn is_stripped(name: &HeaderName) -> bool {
    let plain: String = name
        .as_str()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let kept = KEPT.contains(&name.as_str());
    !kept
        && (STRIPPED.contains(&plain.as_str())
            || STRIPPED_PREFIXES
                .iter()
                .any(|prefix| plain.starts_with(prefix)))
}

/// Leaves the cookies that are nobody's session here. A cookie header with bytes that readers
/// take differently is removed whole.
fn strip_cookies(headers: &mut HeaderMap) {
    let kept: Vec<HeaderValue> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| kept_cookies(value.to_str().ok()?))
        .collect();
    headers.remove(COOKIE);
    for value in kept {
        headers.append(COOKIE, value);
    }
}

/// The cookies of one line that may go on; `None` if there are none. Split at every `;` as Go's
/// `net/http` does, quoted or not.
fn kept_cookies(line: &str) -> Option<HeaderValue> {
    let kept: Vec<&str> = line
        .split(';')
        .map(str::trim_ascii)
        .filter(|pair| {
            let name = cookie_pair(pair).0.to_ascii_lowercase();
            !name.is_empty()
                && !STRIPPED_COOKIES
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
        })
        .collect();
    if kept.is_empty() {
        return None;
    }
    HeaderValue::from_str(&kept.join("; ")).ok()
}

#[cfg(test)]
mod tests;
