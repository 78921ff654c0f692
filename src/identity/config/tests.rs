//! One wrong thing per case.

use super::*;
use crate::identity::roles::{GroupMatch, RoleMapping};
use crate::names::Role;

fn oidc(url: &str) -> OidcIssuer {
    OidcIssuer {
        url: IssuerUrl::parse(url, PlainHttp::Refuse).unwrap(),
        client_ids: ClientIds {
            cli: "cli".into(),
            ui: Some("ui".into()),
        },
        audiences: BTreeSet::new(),
        groups_claim: "groups".into(),
        ca: None,
        jwks_hosts: BTreeSet::new(),
        keys: KeySource::Discover,
    }
}

fn messages(config: &IdentityConfig) -> Vec<String> {
    config.check().iter().map(ToString::to_string).collect()
}

#[test]
fn an_issuer_is_https_or_allowed_loopback_without_anything_that_hides_the_host() {
    for (text, plain, message) in [
        ("http://idp.example", PlainHttp::Loopback, "does not begin"),
        ("http://127.0.0.1:1", PlainHttp::Refuse, "does not begin"),
        (
            "http://127.0.0.1.evil.example",
            PlainHttp::Loopback,
            "does not begin",
        ),
        ("ftp://127.0.0.1", PlainHttp::Loopback, "does not begin"),
        (
            "https://idp.example@evil.example",
            PlainHttp::Refuse,
            "has a user name",
        ),
        (
            "https://idp.example/#x",
            PlainHttp::Refuse,
            "has a fragment",
        ),
        ("https://idp.example/?x", PlainHttp::Refuse, "has a query"),
        ("idp.example", PlainHttp::Refuse, "is not an absolute URL"),
    ] {
        let error = IssuerUrl::parse(text, plain).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{text}` {message}")), "{error}");
    }
    for text in [
        "http://127.0.0.1:8000",
        "http://[::1]:8000/x",
        "http://localhost",
    ] {
        assert!(
            IssuerUrl::parse(text, PlainHttp::Loopback).is_ok(),
            "{text}"
        );
    }
}

#[test]
fn the_text_of_an_issuer_is_kept_as_written() {
    let issuer = IssuerUrl::parse("https://IDP.example", PlainHttp::Refuse).unwrap();
    assert_eq!(issuer.as_str(), "https://IDP.example");
    assert_eq!(issuer.address().authority(), "idp.example");
}

#[test]
fn every_mistake_is_named_at_once() {
    let mut broken = oidc("https://a.example");
    broken.client_ids.ui = Some(String::new());
    broken.audiences.insert(String::new());
    let config = IdentityConfig {
        oidc: vec![oidc("https://a.example"), broken],
        roles: vec![RoleMapping {
            role: Role::parse("engineer").unwrap(),
            groups: vec![GroupMatch {
                issuer: "https://b.example".into(),
                group: "eng".into(),
            }],
            service_accounts: vec![],
            ci: vec![],
            aws: vec![],
        }],
        ..IdentityConfig::default()
    };
    assert_eq!(
        messages(&config),
        [
            "issuer `https://a.example` is configured twice",
            "`client_ids.ui` of issuer `https://a.example` is empty",
            "`audiences` of issuer `https://a.example` is empty",
            "role `engineer` names issuer `https://b.example`, which is not configured",
        ]
    );
}

#[test]
fn a_gate_that_nobody_can_sign_in_to_does_not_start() {
    assert_eq!(
        messages(&IdentityConfig::default()),
        ["no issuer is configured"]
    );
}
