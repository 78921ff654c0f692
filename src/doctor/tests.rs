//! What is told of what Argo CD says. The order and the rest are tested over sockets.

use serde_json::json;

use super::*;

const OURS: &str = "https://gate.example/syncgate/argocd";

fn config(callers: &str, upstream: &str) -> Config {
    let text = format!(
        r#"
url = "https://gate.example"
[listen]
address = "127.0.0.1:0"
[upstream]
url = "{upstream}"
token = "canary-token"
callers = "{callers}"
"#
    );
    Config::parse(&text, Path::new(".")).unwrap()
}

fn states(findings: &[Finding]) -> Vec<State> {
    findings.iter().map(|finding| finding.state).collect()
}

#[test]
fn only_what_was_tried_is_a_version_that_is_known() {
    for (version, state) in [
        ("v3.6.1", State::Well),
        ("v3.6.12+abc", State::Well),
        ("v3.60.0", State::Wrong),
        ("v3.5.9", State::Wrong),
        ("v13.6.1", State::Wrong),
        ("", State::Wrong),
    ] {
        let found = super::version(&json!({ "Version": version }));
        assert_eq!(found.state, state, "{version}");
    }
}

#[test]
fn the_token_is_of_an_account_of_its_own() {
    for (said, state) in [
        (
            json!({"loggedIn": true, "username": "syncgate", "iss": "argocd"}),
            State::Well,
        ),
        (
            json!({"loggedIn": true, "username": "admin", "iss": "argocd"}),
            State::Wrong,
        ),
        (
            json!({"loggedIn": true, "username": "ada@example.com", "iss": "https://idp"}),
            State::Wrong,
        ),
        (
            json!({"loggedIn": "true", "username": "syncgate", "iss": "argocd"}),
            State::Wrong,
        ),
        (json!({}), State::Wrong),
    ] {
        assert_eq!(account(&said).state, state, "{said}");
    }
}

#[test]
fn both_sides_agree_on_as_whom_callers_arrive() {
    let with =
        |issuer: &str, client: &str| json!({"oidcConfig": {"issuer": issuer, "clientID": client}});
    for (mode, settings, state) in [
        ("account", json!({}), State::Well),
        (
            "account",
            with("https://idp.example", "argocd"),
            State::Well,
        ),
        ("account", with(OURS, CLIENT_ID), State::Wrong),
        ("named", with(OURS, CLIENT_ID), State::Well),
        ("named", with(OURS, "argocd"), State::Wrong),
        ("named", with(&format!("{OURS}/"), CLIENT_ID), State::Wrong),
        ("named", json!({"oidcConfig": null}), State::Wrong),
    ] {
        let config = config(mode, "https://argocd.example");
        assert_eq!(
            callers(&config, &settings).state,
            state,
            "{mode} {settings}"
        );
    }
}

#[test]
fn every_way_past_the_gate_is_named_and_what_cannot_be_seen_is_said() {
    let shut = json!({
        "url": "https://gate.example/", "userLoginsDisabled": true, "dexConfig": null,
        "oidcConfig": {"issuer": OURS},
    });
    let near = config("named", "http://127.0.0.1:8080");
    let far = config("named", "https://argocd.example");
    assert_eq!(states(&past_the_gate(&near, &shut)), [State::Well]);
    assert_eq!(
        states(&past_the_gate(&far, &shut)),
        [State::Well, State::Unseen]
    );
    for (open, what) in [
        (json!({"userLoginsDisabled": false}), "passwords"),
        (json!({"userLoginsDisabled": null}), "passwords"),
        (
            json!({"dexConfig": {"connectors": [{"name": "github"}]}}),
            "Dex",
        ),
        (
            json!({"oidcConfig": {"issuer": "https://idp.example"}}),
            "by https://idp.example",
        ),
        (json!({"url": "https://gate.example.evil"}), "links"),
        (json!({"url": null}), "links"),
    ] {
        let mut settings = shut.clone();
        for (key, value) in open.as_object().unwrap() {
            settings[key] = value.clone();
        }
        let findings = past_the_gate(&near, &settings);
        assert_eq!(states(&findings), [State::Wrong], "{settings}");
        assert!(findings[0].found.contains(what), "{findings:?}");
        assert!(findings[0].mend.is_some());
    }
}
