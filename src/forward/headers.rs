//! Which headers cross the gate.
//!
//! Towards the upstream everything that could carry a credential, an identity, or a statement about
//! who connects from where is removed first, in every spelling; what `Connection` names is removed
//! with it; only then are the gate's own headers set, so that no request can name them away. Back
//! to the client nothing crosses that is, holds or renews the upstream's credential.

use std::sync::Arc;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, TE, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Channel;
use super::token::UpstreamToken;
use crate::identity::credential;
use crate::listener::Connection;
use crate::names::DecisionId;

/// The header of every answer that names the decision.
pub const DECISION: HeaderName = HeaderName::from_static("syncgate-decision");

/// Headers about one connection (RFC 9110 section 7.6.1).
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers of an answer that would hand out, set or renew a credential, or send the client past
/// the gate. Cookies go as a whole: the sign-in is the gate's.
const NEVER_BACK: &[&str] = &[
    "alt-svc",
    "grpc-metadata-renew-token",
    "grpc-metadata-token",
    "renew-token",
    "set-cookie",
    "token",
];

/// Makes the headers of a client's request those of a request of ours.
pub(super) fn prepare_request(
    headers: &mut HeaderMap,
    channel: Channel,
    credential: Option<&UpstreamToken>,
    connection: &Connection,
    host: Option<&HeaderValue>,
) {
    strip_hop_by_hop(headers);
    credential::strip(headers);
    // No cookie of the gate is for the upstream, and no other is needed there.
    headers.remove(COOKIE);
    // The length follows from the body, which may have been rewritten; `Host` from the upstream's
    // URL. The listener has answered `Expect` itself.
    for name in [CONTENT_LENGTH, EXPECT, HOST] {
        headers.remove(name);
    }
    set_kind(headers, channel);
    if let Some(token) = credential {
        set_credential(headers, channel, token);
    }
    set_forwarded(headers, connection, host);
}

/// Makes the headers of the upstream's answer those of ours.
pub(super) fn prepare_response(
    headers: &mut HeaderMap,
    secrets: &[Arc<UpstreamToken>],
    decision: DecisionId,
) {
    strip_hop_by_hop(headers);
    scrub(headers, secrets);
    if let Ok(value) = HeaderValue::try_from(decision.to_string()) {
        headers.insert(DECISION, value);
    }
}

/// Removes from an answer's headers or trailers what is not for the client.
pub(super) fn scrub(headers: &mut HeaderMap, secrets: &[Arc<UpstreamToken>]) {
    remove_where(headers, |name, values| {
        let holds = |value: &HeaderValue| secrets.iter().any(|it| it.is_in(value.as_bytes()));
        is_never_back(name) || values.iter().any(holds)
    });
}

/// Whether no upstream may send this header to a client, whatever is in it.
pub(crate) fn is_never_back(name: &HeaderName) -> bool {
    let name = folded(name);
    NEVER_BACK.contains(&name.as_str()) || name.starts_with("syncgate-")
}

/// Some servers take `_` for `-`; so does the comparison. (`HeaderName` is lower-case already.)
pub(crate) fn folded(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(|token| String::from_utf8_lossy(token).trim().to_ascii_lowercase())
        .collect();
    remove_where(headers, |name, _| {
        HOP_BY_HOP.contains(&name.as_str()) || named.iter().any(|n| n == name.as_str())
    });
}

/// Argo CD sorts calls by exactly these content types, and closes connections with any other.
fn set_kind(headers: &mut HeaderMap, channel: Channel) {
    match channel {
        Channel::Cookie | Channel::Rest => return,
        Channel::Grpc => {
            // grpc-go demands it, as proof that nothing on the way drops trailers.
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        }
        Channel::GrpcWeb => {
            let kind = HeaderValue::from_static("application/grpc-web+proto");
            headers.insert(CONTENT_TYPE, kind);
        }
    }
    // No message is forwarded compressed, and grpc-go answers in the encoding that a request names,
    // whatever the client accepts: the gate could not read such an answer.
    headers.remove("grpc-encoding");
}

fn set_credential(headers: &mut HeaderMap, channel: Channel, token: &UpstreamToken) {
    match channel {
        Channel::Cookie => {
            headers.insert(COOKIE, token.cookie());
        }
        Channel::Grpc | Channel::GrpcWeb => {
            headers.insert(super::TOKEN, token.bare());
        }
        Channel::Rest => {
            headers.insert(AUTHORIZATION, token.bearer());
        }
    }
}

pub(crate) fn set_forwarded(
    headers: &mut HeaderMap,
    connection: &Connection,
    host: Option<&HeaderValue>,
) {
    if let Ok(peer) = HeaderValue::try_from(connection.peer.ip().to_string()) {
        headers.insert("x-forwarded-for", peer);
    }
    let proto = if connection.tls.is_some() {
        "https"
    } else {
        "http"
    };
    headers.insert("x-forwarded-proto", HeaderValue::from_static(proto));
    if let Some(host) = host {
        headers.insert("x-forwarded-host", host.clone());
    }
}

/// Puts back what a websocket handshake needs.
pub(crate) fn set_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Whether the headers ask for, or confirm, a websocket.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let lists = |name: HeaderName, wanted: &str| {
        headers.get_all(name).iter().any(|value| {
            value.to_str().is_ok_and(|text| {
                text.split(',')
                    .any(|t| t.trim().eq_ignore_ascii_case(wanted))
            })
        })
    };
    lists(CONNECTION, "upgrade") && lists(UPGRADE, "websocket")
}

pub(crate) fn remove_where(
    headers: &mut HeaderMap,
    doomed: impl Fn(&HeaderName, &http::header::GetAll<'_, HeaderValue>) -> bool,
) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| doomed(name, &headers.get_all(*name)))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "upstream.token.canary";

    fn token() -> UpstreamToken {
        UpstreamToken::parse(SECRET).unwrap()
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::try_from(*name).unwrap();
                (name, HeaderValue::try_from(*value).unwrap())
            })
            .collect()
    }

    fn sent(channel: Channel, lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = headers(lines);
        let connection = Connection::new("192.0.2.7:4711".parse().unwrap(), None);
        let host = HeaderValue::from_static("gate.example");
        prepare_request(
            &mut headers,
            channel,
            Some(&token()),
            &connection,
            Some(&host),
        );
        headers
    }

    #[test]
    fn every_spelling_of_a_credential_or_identity_is_removed() {
        for name in [
            "Authorization",
            "token",
            "TOKEN",
            "Grpc-Metadata-Token",
            "grpc_metadata_token",
            "Grpc-Metadata-Authorization",
            "grpcgateway-cookie",
            "Cookie",
            "X-HTTP-Method-Override",
            "X-Forwarded-For",
            "x_forwarded_for",
            "X-Forwarded-Uri",
            "X-Forwarded-User",
            "Forwarded",
            "X-Real-IP",
            "X-Original-URL",
            "Argocd-Username",
            "Argocd-User-Id",
            "Argocd-User-Groups",
            "Impersonate-User",
            "X-Remote-User",
            "Remote_User",
            "X-Amz-Security-Token",
            "X-Auth-Request-Email",
            "Syncgate-Decision",
            "Proxy-Authorization",
            "renew-token",
            "DPoP",
        ] {
            for channel in Channel::ALL {
                let sent = sent(channel, &[(name, "of the client"), (name, "twice")]);
                let left: Vec<_> = sent
                    .iter()
                    .filter(|(_, v)| matches!(v.as_bytes(), b"of the client" | b"twice"))
                    .collect();
                assert!(left.is_empty(), "{name} by {channel:?}: {left:?}");
            }
        }
    }

    #[test]
    fn the_upstream_credential_is_set_in_the_one_form_that_the_channel_reads() {
        for (channel, name, value) in [
            (Channel::Cookie, "cookie", format!("argocd.token={SECRET}")),
            (Channel::Grpc, "token", SECRET.to_owned()),
            (Channel::GrpcWeb, "token", SECRET.to_owned()),
            (Channel::Rest, "authorization", format!("Bearer {SECRET}")),
        ] {
            let sent = sent(channel, &[("token", ""), ("cookie", "argocd.token=mine")]);
            let carriers: Vec<_> = sent
                .iter()
                .filter(|(_, v)| token().is_in(v.as_bytes()))
                .map(|(n, v)| (n.as_str(), v.to_str().unwrap().to_owned()))
                .collect();
            assert_eq!(carriers, [(name, value)], "{channel:?}");
        }
    }

    #[test]
    fn r4_no_request_can_name_our_headers_away() {
        for lines in [
            [("Connection", "token, authorization, cookie"), ("a", "b")],
            [
                ("connection", "X-Forwarded-For"),
                ("CONNECTION", "Token,te"),
            ],
        ] {
            assert_eq!(sent(Channel::Grpc, &lines)["token"], SECRET);
            assert_eq!(sent(Channel::Grpc, &lines)["te"], "trailers");
            let rest = sent(Channel::Rest, &lines);
            assert_eq!(rest["authorization"], format!("Bearer {SECRET}"));
            assert_eq!(rest["x-forwarded-for"], "192.0.2.7");
            assert_eq!(rest["x-forwarded-host"], "gate.example");
        }
    }

    #[test]
    fn hop_by_hop_headers_end_here_and_so_does_what_connection_names() {
        let lines = [
            ("Connection", "keep-alive, X-Secret-Hop"),
            ("x-secret-hop", "1"),
            ("Keep-Alive", "timeout=5"),
            ("TE", "gzip"),
            ("Trailer", "token"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("Proxy-Connection", "close"),
            ("accept-language", "en"),
        ];
        let sent = sent(Channel::Rest, &lines);
        let mut names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accept-language",
                "authorization",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto"
            ]
        );
        let mut back = headers(&lines);
        prepare_response(
            &mut back,
            &[Arc::new(token())],
            DecisionId::new(jiff::Timestamp::UNIX_EPOCH),
        );
        let mut names: Vec<_> = back.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-language", "syncgate-decision"]);
    }

    #[test]
    fn nothing_of_the_upstream_credential_comes_back() {
        let mut back = headers(&[
            ("Set-Cookie", "argocd.token=1:abc; Path=/"),
            ("Set-Cookie", "other=1"),
            ("renew-token", "abc"),
            ("Grpc-Metadata-Renew-Token", "abc"),
            ("Grpc_Metadata_Renew_Token", "abc"),
            ("x-echo", "innocent"),
            ("x-echo", "Bearer upstream.token.canary"),
            ("syncgate-decision", "forged"),
            ("content-type", "application/json"),
        ]);
        prepare_response(
            &mut back,
            &[Arc::new(token())],
            DecisionId::new(jiff::Timestamp::UNIX_EPOCH),
        );
        let mut names: Vec<_> = back.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "syncgate-decision"]);
        assert_ne!(back["syncgate-decision"], "forged");
    }
}
