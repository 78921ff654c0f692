//! `syncgate doctor` finds out what is wrong, in order, and asks nothing that changes anything.

use serde_json::{Value, json};

use crate::world::{GATE_TOKEN, Outside, Ran, run};

/// Argo CD as it should be: the gate's own account, and nobody signs in but by the gate.
fn arranged(outside: &Outside) {
    let says = |path: &str, what: Value| {
        outside
            .argocd
            .says(path, "application/json", what.to_string());
    };
    says(
        "/api/v1/session/userinfo",
        json!({"loggedIn": true, "username": "syncgate", "iss": "argocd"}),
    );
    says(
        "/api/v1/settings",
        json!({"url": "https://gate.example", "userLoginsDisabled": true}),
    );
    says("/api/version", json!({"Version": "v3.6.1"}));
}

async fn doctor(outside: &Outside) -> Ran {
    let config = outside.path().join("syncgate.toml");
    let ran = run([
        "doctor",
        "--config",
        config.to_str().unwrap(),
        "--output",
        "json",
    ])
    .await;
    assert!(!ran.out.contains(GATE_TOKEN), "{ran:?}");
    ran
}

/// Each finding: the check, and how it is with it.
fn findings(ran: &Ran) -> Vec<(String, String)> {
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(said["ok"], ran.code == 0, "{ran:?}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = said["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| (text(&finding["check"]), text(&finding["state"])))
        .collect()
}

fn expected(list: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(check, state): &(&str, &str)| ((*check).to_owned(), (*state).to_owned());
    list.iter().map(owned).collect()
}

#[tokio::test]
async fn an_installation_in_order_has_nothing_wrong_and_nothing_is_changed() {
    let outside = Outside::start().await;
    arranged(&outside);
    outside.write_config("");
    let ran = doctor(&outside).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let all = [
        ("configuration", "well"),
        ("policies", "well"),
        ("keys", "well"),
        ("keys", "well"),
        ("argocd", "well"),
        ("argocd", "well"),
        ("callers", "well"),
        ("past-the-gate", "well"),
        ("admission", "well"),
    ];
    assert_eq!(findings(&ran), expected(&all));
    let asked = outside.argocd.own_questions();
    assert_eq!(
        asked,
        [
            "GET /api/version",
            "GET /api/v1/session/userinfo",
            "GET /api/v1/settings"
        ]
    );
    assert!(!outside.store().exists());
}

#[tokio::test]
async fn what_is_wrong_is_named_and_the_first_of_it_decides_the_exit_code() {
    let outside = Outside::start().await;
    let config = outside.write_config("");
    // An Argo CD with a Dex, an issuer, passwords and links of its own, which does not take the token.
    let ran = doctor(&outside).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let wrong = findings(&ran);
    let wrong: Vec<_> = wrong.iter().filter(|(_, state)| state == "wrong").collect();
    let ways = wrong.iter().filter(|(check, _)| check == "past-the-gate");
    assert_eq!((wrong.len(), ways.count()), (5, 4), "{ran:?}");

    let text = std::fs::read_to_string(&config).unwrap();
    let people = outside.issuer.people();
    std::fs::write(&config, text.replace(&people, "http://127.0.0.1:9/oidc")).unwrap();
    let ran = doctor(&outside).await;
    assert_eq!(ran.code, 69, "{ran:?}");
    let unreachable = ("keys".to_owned(), "unreachable".to_owned());
    assert!(findings(&ran).contains(&unreachable), "{ran:?}");

    outside.write_policy(
        "odd.cedar",
        "permit (principal, action, resource) when { colour };",
    );
    let ran = doctor(&outside).await;
    assert_eq!(ran.code, 64, "{ran:?}");
    assert_eq!(findings(&ran)[1].1, "misconfigured");

    std::fs::write(&config, "url = 7").unwrap();
    let ran = doctor(&outside).await;
    assert_eq!(ran.code, 64, "{ran:?}");
    assert_eq!(
        findings(&ran),
        expected(&[("configuration", "misconfigured")])
    );
}
