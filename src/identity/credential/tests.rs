//! Where credentials are looked for, and that nothing a client sets survives (R3).

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    map
}

/// What is found: `place:token`, `absent`, or the code of the refusal.
fn found(lines: &[(&str, &str)]) -> String {
    match Credential::from_headers(&headers(lines)) {
        Ok(None) => "absent".into(),
        Ok(Some(c)) => format!("{:?}:{}", c.place(), c.token()),
        Err(reason) => reason.code().into(),
    }
}

#[test]
fn each_place_is_read() {
    for (lines, expected) in [
        (vec![], "absent"),
        (vec![("token", "a.b.c")], "Metadata:a.b.c"),
        (
            vec![("Authorization", "Bearer a.b.c")],
            "Authorization:a.b.c",
        ),
        (
            vec![("Authorization", "bearer a.b.c")],
            "Authorization:a.b.c",
        ),
        (vec![("Cookie", "argocd.token=a.b.c")], "Cookie:a.b.c"),
        (
            vec![("Cookie", "x=1; argocd.token=a.b.c;y=2")],
            "Cookie:a.b.c",
        ),
        (
            vec![("Cookie", "x=1"), ("Cookie", "argocd.token=a.b.c")],
            "Cookie:a.b.c",
        ),
        (
            vec![
                ("token", "a"),
                ("authorization", "Bearer a"),
                ("cookie", "argocd.token=a"),
            ],
            "Metadata:a",
        ),
    ] {
        assert_eq!(found(&lines), expected, "{lines:?}");
    }
}

#[test]
fn the_empty_token_of_a_signed_out_command_is_absent() {
    assert_eq!(found(&[("token", "")]), "absent");
    assert_eq!(
        found(&[("token", ""), ("authorization", "Bearer b")]),
        "Authorization:b"
    );
    assert_eq!(
        found(&[("token", ""), ("cookie", "argocd.token=")]),
        "absent"
    );
}

#[test]
fn what_is_ambiguous_or_of_another_form_is_refused() {
    let large = "x".repeat(LIMIT + 1);
    for (lines, code) in [
        (
            vec![("token", "a"), ("authorization", "Bearer b")],
            "conflict",
        ),
        (
            vec![("token", "a"), ("cookie", "argocd.token=b")],
            "conflict",
        ),
        (
            vec![("authorization", "Bearer a"), ("cookie", "argocd.token=b")],
            "conflict",
        ),
        (vec![("token", "a"), ("token", "a")], "repeated-place"),
        (vec![("token", ""), ("token", "a")], "repeated-place"),
        (
            vec![("authorization", "Bearer a"), ("Authorization", "Bearer a")],
            "repeated-place",
        ),
        (
            vec![("cookie", "argocd.token=a; argocd.token=a")],
            "repeated-place",
        ),
        (
            vec![("cookie", "argocd.token="), ("cookie", "argocd.token=a")],
            "repeated-place",
        ),
        (
            vec![("cookie", "argocd.token=2:a; argocd.token-1=b")],
            "split-cookie",
        ),
        (vec![("cookie", "argocd.token=1:a")], "split-cookie"),
        (vec![("authorization", "Basic YTpi")], "not-bearer"),
        (vec![("authorization", "DPoP a.b.c")], "not-bearer"),
        (vec![("authorization", "a.b.c")], "not-bearer"),
        (vec![("authorization", "Bearer")], "not-bearer"),
        (vec![("authorization", "Bearer ")], "not-bearer"),
        (vec![("authorization", "Bearer a b")], "not-bearer"),
        (vec![("authorization", "Bearer a, Bearer b")], "not-bearer"),
        (vec![("authorization", ""), ("token", "a")], "not-bearer"),
        (vec![("token", large.as_str())], "too-large"),
    ] {
        assert_eq!(found(&lines), code, "{lines:?}");
    }
}

#[test]
fn a_refused_header_is_not_repeated_in_the_sentence() {
    for line in ["s3cr3t", "Basic s3cr3t", "Bearer s3cr3t s3cr3t"] {
        let reason = Credential::from_headers(&headers(&[("authorization", line)])).unwrap_err();
        assert_eq!(
            reason.to_string(),
            "the Authorization header is not of the form `Bearer TOKEN`: send the token like that"
        );
        assert!(!format!("{reason:?}{:?}", reason.detail()).contains("s3cr3t"));
    }
    let credential = Credential::from_headers(&headers(&[("token", "s3cr3t")])).unwrap();
    assert_eq!(
        format!("{credential:?}"),
        "Some(Credential(in the metadata `token`))"
    );
}

/// Headers in which a client could say who it is.
const FORGED: &[&str] = &[
    "token",
    "Authorization",
    "Proxy-Authorization",
    "DPoP",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Uri",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Client-Cert",
    "X-Real-Ip",
    "X-Http-Method-Override",
    "X-Original-Url",
    "X-Rewrite-Url",
    "Client-Ip",
    "True-Client-Ip",
    "X-Cluster-Client-Ip",
    "X-Client-Cert",
    "X-Envoy-External-Address",
    "X-Amz-Security-Token",
    "X-Api-Key",
    "X-Access-Token",
    "Renew-Token",
    "DPoP",
    "Remote-User",
    "X-Remote-User",
    "X-Remote-Group",
    "X-Auth-Request-User",
    "X-User",
    "X-Email",
    "X-Groups",
    "X-WebAuth-User",
    "Impersonate-User",
    "Impersonate-Group",
    "Impersonate-Extra-Scopes",
    "Client-Cert",
    "Grpc-Metadata-Token",
    "Grpc-Metadata-Authorization",
    "grpcgateway-authorization",
    "grpcgateway-cookie",
    "Syncgate-Decision",
    "Syncgate-User",
    "X-Syncgate-User",
    "Argocd-Username",
    "Argocd-User-Id",
    "Argocd-User-Groups",
    "Argocd-Target-Cluster-Name",
];

/// R3: every form, with dashes, underscores and dots, in any case, once or twice.
#[test]
fn r3_nothing_that_a_client_sets_survives() {
    for name in FORGED {
        let spellings = [
            (*name).to_owned(),
            name.replace('-', "_"),
            name.replace('-', "."),
            name.to_uppercase(),
            name.to_lowercase().replacen('-', "_", 1),
        ];
        for spelling in spellings {
            let mut map = headers(&[(&spelling, "evil"), (&spelling, "evil"), ("accept", "x")]);
            strip(&mut map);
            assert_eq!(map, headers(&[("accept", "x")]), "{spelling}");
        }
    }
}

#[test]
fn r3_session_cookies_are_cut_out_and_others_stay() {
    for (before, after) in [
        ("argocd.token=a", None),
        ("x=1; argocd.token=a; y=2", Some("x=1; y=2")),
        ("argocd.token=2:a; argocd.token-1=b;argocd.token-99=c", None),
        ("ArgoCD.Token=a; x=1", Some("x=1")),
        (" argocd.token =a; x=1", Some("x=1")),
        ("argocd.token; x=1", Some("x=1")),
        ("x=\"a; argocd.token=b\"", Some("x=\"a")),
        (
            "argocd.oauthstate=s; __Host-syncgate=t; syncgate_session=u",
            None,
        ),
        (";;", None),
    ] {
        let mut map = headers(&[("cookie", before)]);
        strip(&mut map);
        assert_eq!(
            map.get("cookie").map(|v| v.to_str().unwrap()),
            after,
            "{before}"
        );
    }
    let mut map = HeaderMap::new();
    map.append(
        "cookie",
        HeaderValue::from_bytes(b"x=1; \xffargocd.token=a").unwrap(),
    );
    strip(&mut map);
    assert!(map.is_empty());
}

#[test]
fn what_a_call_needs_is_left() {
    let needed = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "1S"),
        ("user-agent", "argocd-client/v3"),
        ("accept", "text/event-stream"),
        ("argocd-application-name", "argocd:shop"),
        ("argocd-project-name", "shop"),
    ];
    let mut map = headers(&needed);
    strip(&mut map);
    assert_eq!(map, headers(&needed));
    let mut map = headers(&[("argocd_application_name", "x")]);
    strip(&mut map);
    assert!(map.is_empty());
}

proptest! {
    #[test]
    fn no_headers_make_it_panic_and_stripped_headers_hold_no_credential(
        lines in prop::collection::vec(
            ("(token|authorization|cookie|grpc-metadata-token|argocd_username)",
             "(Bearer |argocd\\.token=|[ -~]){0,3}[ -~]{0,20}"),
            0..6,
        ),
        bytes in prop::collection::vec(0x20u8..=0xff, 0..20),
    ) {
        let lines: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let mut map = headers(&lines);
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            map.append("cookie", value);
        }
        let _ = Credential::from_headers(&map);
        strip(&mut map);
        prop_assert_eq!(Credential::from_headers(&map), Ok(None));
        prop_assert!(map.keys().all(|name| name == "cookie"));
    }
}
