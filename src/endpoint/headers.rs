//! Which headers cross the test door.
//!
//! Towards the endpoint: everything that could carry a credential, an identity or a statement about who
//! connects from where is removed in every spelling, with it what `Connection` names, cookies, and the
//! header of the gate's own credential; only then is the gate's set. Back: nothing that is, holds or
//! renews a credential, and no `syncgate-` header. Never: a cookie, in either direction: at a prefix it
//! would be one of the gate's own site.

use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, LOCATION, TE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::location::Redirects;
use crate::forward::headers::{
    folded, is_never_back, remove_where, set_forwarded, strip_hop_by_hop,
};
use crate::forward::observe::Scrub;
use crate::forward::{DECISION, headers as forward};
use crate::identity::credential;
use crate::listener::Connection;
use crate::names::DecisionId;

/// The header that tells an endpoint who calls.
pub const IDENTITY: HeaderName = HeaderName::from_static("syncgate-identity");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// What the gate adds to a request.
pub(super) struct Added<'a> {
    /// The header of the endpoint's credential.
    pub(super) credential: Option<&'a (HeaderName, HeaderValue)>,
    /// Who calls.
    pub(super) identity: Option<&'a HeaderValue>,
    /// Who connects.
    pub(super) connection: &'a Connection,
    /// The host that the caller named.
    pub(super) host: Option<&'a HeaderValue>,
    /// Where the endpoint is at the gate; empty at a host of its own.
    pub(super) prefix: &'a str,
    /// Whether it is gRPC.
    pub(super) grpc: bool,
}

/// Makes the headers of a caller's request those of a request of ours.
pub(super) fn prepare_request(headers: &mut HeaderMap, added: &Added<'_>) {
    strip_hop_by_hop(headers);
    credential::strip(headers);
    // The length follows from the body, `Host` from the address; the listener has answered `Expect`.
    for name in [AUTHORIZATION, CONTENT_LENGTH, COOKIE, EXPECT, HOST] {
        headers.remove(name);
    }
    if let Some((name, value)) = added.credential {
        let name_folded = folded(name);
        remove_where(headers, |other, _| folded(other) == name_folded);
        headers.insert(name, value.clone());
    }
    if added.grpc {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(identity) = added.identity {
        headers.insert(IDENTITY, identity.clone());
    }
    set_forwarded(headers, added.connection, added.host);
    if !added.prefix.is_empty()
        && let Ok(prefix) = HeaderValue::try_from(added.prefix)
    {
        headers.insert(PREFIX, prefix);
    }
}

/// What must not be in an answer: the credentials that went with the request.
#[derive(Clone)]
pub(super) struct Needles(Arc<[Box<[u8]>]>);

impl Needles {
    pub(super) fn new<'a>(secrets: impl Iterator<Item = &'a [u8]>) -> Self {
        Self(secrets.map(Box::from).collect())
    }

    /// These, and one more.
    pub(super) fn and(&self, secret: Option<&HeaderValue>) -> Self {
        let more = secret.map(|value| value.as_bytes().into());
        Self(self.0.iter().cloned().chain(more).collect())
    }

    fn are_in(&self, bytes: &[u8]) -> bool {
        let found = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        self.0
            .iter()
            .any(|needle| !needle.is_empty() && found(needle))
    }

    /// Removes from headers or trailers of an answer what is not for the caller.
    fn scrub(&self, headers: &mut HeaderMap) {
        remove_where(headers, |name, values| {
            is_never_back(name) || values.iter().any(|value| self.are_in(value.as_bytes()))
        });
    }

    /// The same, for trailers that are still to come.
    pub(super) fn scrubber(&self) -> Scrub {
        let needles = self.clone();
        Arc::new(move |trailers| needles.scrub(trailers))
    }
}

/// Makes the headers of the endpoint's answer those of ours.
pub(super) fn prepare_response(
    headers: &mut HeaderMap,
    needles: &Needles,
    redirects: &Redirects,
    decision: DecisionId,
) {
    strip_hop_by_hop(headers);
    needles.scrub(headers);
    let mut locations = headers.get_all(LOCATION).iter();
    let rewritten = match (locations.next(), locations.next()) {
        (Some(location), None) => redirects.rewritten(location),
        (None, _) | (Some(_), Some(_)) => None,
    };
    match rewritten {
        Some(location) => drop(headers.insert(LOCATION, location)),
        None => drop(headers.remove(LOCATION)),
    }
    if let Ok(value) = HeaderValue::try_from(decision.to_string()) {
        headers.insert(DECISION, value);
    }
}

/// Whether the headers ask for a websocket.
pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
    forward::is_websocket(headers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "credential-of-the-gate";

    fn sent(lines: &[(String, &str)], credential: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::try_from(name).unwrap();
            headers.append(name, HeaderValue::try_from(*value).unwrap());
        }
        let connection = Connection::new("192.0.2.7:4711".parse().unwrap(), None);
        let credential = (
            HeaderName::try_from(credential).unwrap(),
            HeaderValue::from_static(SECRET),
        );
        prepare_request(
            &mut headers,
            &Added {
                credential: Some(&credential),
                identity: Some(&HeaderValue::from_static("a.b.c")),
                connection: &connection,
                host: Some(&HeaderValue::from_static("gate.example")),
                prefix: "/endpoints/one",
                grpc: false,
            },
        );
        headers
    }

    /// `name` with these letters in upper case, and these dashes as underscores.
    fn spelt(name: &str, upper: u32, under: u32) -> String {
        let letters = name.chars().enumerate().map(|(place, letter)| {
            let bit = |bits: u32| bits >> (place % 32) & 1 == 1;
            match letter {
                '-' if bit(under) => '_',
                letter if bit(upper) => letter.to_ascii_uppercase(),
                letter => letter,
            }
        });
        letters.collect()
    }

    proptest! {
        #[test]
        fn no_spelling_of_an_identity_or_credential_crosses(
            name in prop::sample::select(vec![
                "authorization", "token", "cookie", "dpop", "forwarded", "x-forwarded-for",
                "x-forwarded-user", "x-forwarded-prefix", "x-remote-user", "remote-user", "x-real-ip",
                "syncgate-identity", "syncgate-decision", "x-syncgate-user", "impersonate-user",
                "x-auth-request-email", "x-amzn-oidc-data", "proxy-authorization", "x-api-key",
                "x-the-credential", "x-http-method-override", "renew-token", "grpc-metadata-token",
            ]),
            upper in any::<u32>(),
            under in any::<u32>(),
            connection in any::<bool>(),
        ) {
            let spelt = spelt(name, upper, under);
            let mut lines = vec![(spelt.clone(), "of the caller"), (spelt.clone(), "twice")];
            if connection {
                // The gate's own headers cannot be named away.
                let named = "syncgate-identity, X-The-Credential, x-forwarded-for";
                lines.push(("Connection".to_owned(), named));
            }
            let headers = sent(&lines, "x-the-credential");
            let of_the_caller = |value: &HeaderValue| value == "of the caller" || value == "twice";
            prop_assert!(!headers.values().any(of_the_caller), "{spelt}: {headers:?}");
            prop_assert_eq!(&headers["x-the-credential"], SECRET);
            prop_assert_eq!(&headers["syncgate-identity"], "a.b.c");
            prop_assert_eq!(&headers["x-forwarded-for"], "192.0.2.7");
            prop_assert_eq!(&headers["x-forwarded-prefix"], "/endpoints/one");
        }
    }

    #[test]
    fn what_is_the_applications_own_crosses() {
        let kept = [
            ("accept", "text/html"),
            ("content-type", "application/json"),
            ("if-match", "\"1\""),
            ("x-request-id", "7"),
            ("user-agent", "pytest"),
            ("origin", "https://shop.example"),
        ];
        let lines: Vec<_> = kept.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
        let headers = sent(&lines, "authorization");
        for (name, value) in kept {
            assert_eq!(headers[name], value);
        }
        assert_eq!(headers["authorization"], SECRET);
    }

    #[test]
    fn nothing_of_a_credential_comes_back() {
        let needles = Needles::new([SECRET.as_bytes(), b"pass-word"].into_iter());
        let needles = needles.and(Some(&HeaderValue::from_static("a.b.c")));
        let mut back = HeaderMap::new();
        for (name, value) in [
            ("set-cookie", "session=1"),
            ("syncgate-decision", "forged"),
            ("syncgate_identity", "forged"),
            ("x-echo", "innocent"),
            ("x-echo", "Bearer credential-of-the-gate"),
            ("x-basic", "me:pass-word"),
            ("x-who", "a.b.c"),
            ("alt-svc", "h3=\":443\""),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("content-type", "text/plain"),
            ("location", "https://one.example/"),
            ("location", "https://two.example/"),
        ] {
            back.append(name, HeaderValue::from_static(value));
        }
        let url = "https://upstream.example".parse().unwrap();
        let redirects = Redirects::new(&url, "/", "", Vec::new());
        let decision = DecisionId::new(jiff::Timestamp::UNIX_EPOCH);
        prepare_response(&mut back, &needles, &redirects, decision);
        let mut names: Vec<_> = back.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "syncgate-decision"]);
        assert_ne!(back["syncgate-decision"], "forged");
    }
}
