use super::*;
use crate::identity::Subject;

fn caller() -> Caller {
    Caller {
        subject: Subject::OidcUser {
            subject: "00u1".into(),
            email: Some("ada@example.org".into()),
            name: None,
        },
        issuer: "https://idp.example".into(),
        groups: ["engineers".to_owned(), "oncall".to_owned()].into(),
        roles: [].into(),
        expires_at: jiff::Timestamp::UNIX_EPOCH,
        sign_in: crate::identity::SignIn::default(),
    }
}

fn sign_in() -> SignIn {
    SignIn {
        url: "https://gate.example".into(),
        name: "Example".into(),
        issuer: "https://idp.example".into(),
        client_id: "gate-ui".into(),
        cli_client_id: "gate-cli".into(),
        scopes: vec!["openid".into(), "groups".into()],
        enable_pkce: true,
    }
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn the_version_is_told_on_both_wires() {
    // 1: "v3.6.1"
    assert_eq!(version(Wire::Grpc, "v3.6.1"), b"\x0a\x06v3.6.1");
    assert_eq!(
        json_of(&version(Wire::Rest, "v3.6.1")),
        json!({ "Version": "v3.6.1" })
    );
}

#[test]
fn the_caller_is_told_who_the_gate_verified() {
    let message = user_info(Wire::GrpcWeb, Some(&caller()));
    let read = GetUserInfoResponse::decode(&message[..]).unwrap();
    assert_eq!(read.username.as_deref(), Some("ada@example.org"));
    assert_eq!(read.groups, ["engineers", "oncall"]);
    assert_eq!(
        json_of(&user_info(Wire::Rest, Some(&caller()))),
        json!({
            "loggedIn": true, "username": "ada@example.org", "iss": "https://idp.example",
            "groups": ["engineers", "oncall"],
        })
    );
}

#[test]
fn the_anonymous_are_nobody() {
    assert_eq!(user_info(Wire::Grpc, None), b"");
    assert_eq!(json_of(&user_info(Wire::Rest, None)), json!({}));
}

#[test]
fn can_i_says_yes_or_no() {
    assert_eq!(can_i(Wire::Grpc, true), b"\x0a\x03yes");
    assert_eq!(json_of(&can_i(Wire::Rest, false)), json!({ "value": "no" }));
}

/// Settings as an upstream with Dex and a provider of its own gives them, with a field (4,
/// `appLabelKey`) and one that no version has (400).
fn upstream_message() -> Vec<u8> {
    let mut message = Settings {
        url: Some("https://argocd.internal".into()),
        dex_config: Some(DexConfig {}),
        oidc_config: Some(OidcConfig {
            issuer: Some("https://other".into()),
            ..OidcConfig::default()
        }),
        user_logins_disabled: Some(false),
    }
    .encode_to_vec();
    message.extend(b"\x22\x03key\x82\x19\x01x");
    message
}

#[test]
fn our_sign_in_replaces_the_upstreams_in_protobuf_and_the_rest_stays() {
    let out = settings(Wire::Grpc, &upstream_message(), &sign_in()).unwrap();
    let read = Settings::decode(&out[..]).unwrap();
    assert_eq!(read.url.as_deref(), Some("https://gate.example"));
    assert_eq!(read.dex_config, None);
    assert_eq!(read.user_logins_disabled, Some(true));
    let oidc = read.oidc_config.unwrap();
    assert_eq!(oidc.issuer.as_deref(), Some("https://idp.example"));
    assert_eq!(oidc.cli_client_id.as_deref(), Some("gate-cli"));
    assert_eq!(oidc.enable_pkce_authentication, Some(true));
    assert!(out.starts_with(b"\x22\x03key\x82\x19\x01x"));
    for text in ["https://argocd.internal", "https://other"] {
        assert!(!String::from_utf8_lossy(&out).contains(text), "{text}");
    }
}

#[test]
fn our_sign_in_replaces_the_upstreams_in_json_and_the_rest_stays() {
    let upstream = json!({
        "url": "https://argocd.internal", "appLabelKey": "key", "userLoginsDisabled": false,
        "dexConfig": { "connectors": [{ "name": "GitHub" }] },
        "oidcConfig": { "issuer": "https://other", "idTokenClaims": {} },
    });
    let out = settings(Wire::Rest, upstream.to_string().as_bytes(), &sign_in()).unwrap();
    assert_eq!(
        json_of(&out),
        json!({
            "url": "https://gate.example", "appLabelKey": "key", "userLoginsDisabled": true,
            "oidcConfig": {
                "name": "Example", "issuer": "https://idp.example", "clientID": "gate-ui",
                "cliClientID": "gate-cli", "scopes": ["openid", "groups"],
                "enablePKCEAuthentication": true,
            },
        })
    );
}

#[test]
fn what_is_no_answer_is_not_laid_over() {
    assert_eq!(settings(Wire::Rest, b"[]", &sign_in()), Err(Error::Json));
    assert_eq!(
        settings(Wire::Grpc, b"\x0a\xff", &sign_in()),
        Err(Error::Protobuf(protobuf::Error::Malformed))
    );
}
