//! What Argo CD is told of callers, and for how long.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use super::*;
use crate::names::Role;

const PEOPLE: &str = "https://idp.example";

fn config(callers: &str) -> Config {
    let text = format!(
        r#"
url = "https://gate.example"
[listen]
address = "127.0.0.1:0"
[upstream]
url = "https://argocd.example"
token = "canary-token"
{callers}
[[kubernetes]]
issuer = "https://kubernetes.default.svc"
audience = "syncgate"
[[oidc]]
issuer = "{PEOPLE}"
cli_client_id = "argocd-cli"
[[oidc]]
issuer = "https://contractors.example"
cli_client_id = "argocd-cli"
"#
    );
    Config::parse(&text, Path::new(".")).unwrap()
}

/// An issuer, and its time.
fn issuer() -> (Issuer, Timestamp) {
    let now = Clock::system().now();
    let config = config(r#"callers = "named""#);
    let issuer = Issuer::new(&config, Clock::fixed(now)).unwrap().unwrap();
    (issuer, now)
}

fn person(issuer: &str, email: Option<&str>, expires_at: Timestamp) -> Caller {
    Caller {
        subject: Subject::OidcUser {
            subject: "00u1".to_owned(),
            email: email.map(str::to_owned),
            name: Some("role:admin".to_owned()),
        },
        issuer: issuer.to_owned(),
        groups: ["role:admin".to_owned()].into(),
        roles: ["engineer", "on-call"]
            .map(|role| Role::parse(role).unwrap())
            .into(),
        expires_at,
        sign_in: crate::identity::SignIn::default(),
    }
}

fn decision() -> DecisionId {
    DecisionId(ulid::Ulid::nil())
}

/// The claims, once Argo CD's checks have passed: signature by the published key, issuer, audience, time.
fn claims(issuer: &Issuer, caller: &Caller, lifetime: Lifetime) -> Value {
    let token = issuer.token(caller, decision(), lifetime).unwrap();
    let header = jsonwebtoken::decode_header(token.text()).unwrap();
    let set: JwkSet = serde_json::from_value(issuer.document(KEYS).unwrap()).unwrap();
    let key = set.find(header.kid.as_deref().unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_audience(&[CLIENT_ID]);
    rules.set_issuer(&[issuer.document(DISCOVERY).unwrap()["issuer"]
        .as_str()
        .unwrap()]);
    let key = DecodingKey::from_jwk(key).unwrap();
    let token = jsonwebtoken::decode::<Value>(token.text(), &key, &rules);
    token.unwrap().claims
}

#[test]
fn a_token_says_this_of_a_person_and_nothing_else() {
    let (issuer, now) = issuer();
    let caller = person(PEOPLE, Some("ada@example.com"), Timestamp::MAX);
    let expected = json!({
        "iss": "https://gate.example/syncgate/argocd",
        "aud": "syncgate",
        "sub": "https://idp.example#00u1",
        "email": "ada@example.com",
        "groups": ["syncgate:engineer", "syncgate:on-call"],
        "iat": now.as_second(),
        "exp": now.as_second() + 300,
        "jti": decision().to_string(),
    });
    assert_eq!(claims(&issuer, &caller, Lifetime::Call), expected);
}

#[test]
fn nobody_but_a_person_of_the_first_issuer_is_shown_by_an_e_mail() {
    let (issuer, _) = issuer();
    let contractor = person(
        "https://contractors.example",
        Some("ada@example.com"),
        Timestamp::MAX,
    );
    let cluster = "https://kubernetes.default.svc";
    let of_cluster = |subject| Caller {
        subject,
        issuer: cluster.to_owned(),
        ..person("", None, Timestamp::MAX)
    };
    let account = of_cluster(Subject::KubernetesAccount {
        namespace: "shop".to_owned(),
        name: "tests".to_owned(),
        pod: None,
    });
    let user = of_cluster(Subject::KubernetesUser {
        name: "ada@example.com".to_owned(),
    });
    let unverified = person(PEOPLE, None, Timestamp::MAX);
    for (caller, subject) in [
        (contractor, "https://contractors.example#00u1".to_owned()),
        (
            account,
            format!("{cluster}#system:serviceaccount:shop:tests"),
        ),
        (user, format!("{cluster}#ada@example.com")),
        (unverified, format!("{PEOPLE}#00u1")),
    ] {
        let claims = claims(&issuer, &caller, Lifetime::Call);
        assert_eq!(claims["sub"], subject);
        assert_eq!(claims.get("email"), None, "{subject}");
    }
}

#[test]
fn no_token_outlives_the_credential_and_none_comes_of_one_that_has_ended() {
    let (issuer, now) = issuer();
    for (lifetime, left, lives) in [
        (Lifetime::Call, 60, 60),
        (Lifetime::Call, 86_400, 300),
        (Lifetime::Terminal, 60, 60),
        (Lifetime::Terminal, 86_400, 3600),
    ] {
        let caller = person(PEOPLE, None, now + SignedDuration::from_secs(left));
        let claims = claims(&issuer, &caller, lifetime);
        let end = claims["exp"].as_i64().unwrap();
        assert_eq!(end - now.as_second(), lives, "{lifetime:?} {left}");
    }
    for expires_at in [now, now - SignedDuration::from_secs(1), Timestamp::MIN] {
        for lifetime in [Lifetime::Call, Lifetime::Terminal] {
            let caller = person(PEOPLE, None, expires_at);
            let token = issuer.token(&caller, decision(), lifetime);
            assert_eq!(token.unwrap_err(), NoToken::Expired);
        }
    }
}

#[test]
fn a_caller_without_a_role_is_in_no_group() {
    let (issuer, _) = issuer();
    let mut caller = person(PEOPLE, None, Timestamp::MAX);
    caller.roles = BTreeSet::new();
    assert_eq!(
        claims(&issuer, &caller, Lifetime::Call)["groups"],
        json!([])
    );
}

#[test]
fn a_gate_has_no_issuer_unless_it_is_told_so_and_each_start_another_key() {
    for account in ["", r#"callers = "account""#] {
        let none = Issuer::new(&config(account), Clock::system()).unwrap();
        assert!(none.is_none());
    }
    let keys = || issuer().0.document(KEYS).unwrap();
    let (one, other) = (keys(), keys());
    assert_ne!(one["keys"][0]["kid"], other["keys"][0]["kid"]);
    assert!(!one.to_string().contains("\"d\""));
    assert_eq!(issuer().0.document("/syncgate/argocd/token"), None);
}
