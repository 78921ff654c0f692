//! The files in `config/providers`: each, as it is shipped, with the ID token that its vendor documents.

use std::fs;
use std::path::Path;

use super::*;
use crate::config::Config;
use crate::identity::config::KeySource;
use crate::names::Role;

const PROVIDERS: [&str; 4] = ["dex", "entra", "keycloak", "okta"];

/// One shipped file, with a key that its issuer is believed to have.
struct Provider {
    name: &'static str,
    key: TestKey,
    bench: Bench,
    _folder: tempfile::TempDir,
}

impl Provider {
    fn new(name: &'static str) -> Self {
        Self::edited(name, |text| text)
    }

    /// The same with another text of its file.
    fn edited(name: &'static str, edit: impl FnOnce(String) -> String) -> Self {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/providers");
        let text = fs::read_to_string(shipped.join(format!("{name}.toml"))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("argocd-token"), "x").unwrap();
        let config = Config::parse(&edit(text), folder.path()).unwrap();
        let mut identity = crate::app::identity_config(&config).unwrap();
        // Vendors sign with RS256.
        let key = TestKey::new("k1", Algorithm::RS256);
        let keys = folder.path().join("keys.json");
        fs::write(&keys, json!({"keys": [key.jwk()]}).to_string()).unwrap();
        for issuer in &mut identity.oidc {
            issuer.keys = KeySource::File(keys.clone());
        }
        Self {
            name,
            key,
            bench: Bench::new(identity),
            _folder: folder,
        }
    }

    fn token(&self, documented: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = testing::documented(documented);
        change(&mut claims);
        self.key.token(&claims)
    }

    async fn caller(&self, documented: &str, change: impl FnOnce(&mut Value)) -> Arc<Caller> {
        caller(self.bench.send(&self.token(documented, change)).await)
    }

    async fn word(&self, change: impl FnOnce(&mut Value)) -> &'static str {
        self.bench.word(&self.token(self.name, change)).await
    }
}

fn roles(caller: &Caller) -> Vec<&str> {
    caller.roles.iter().map(Role::as_str).collect()
}

#[tokio::test]
async fn every_shipped_file_takes_its_vendors_token_and_gives_the_roles() {
    for name in PROVIDERS {
        let provider = Provider::new(name);
        let caller = provider.caller(name, |_| ()).await;
        assert_eq!(roles(&caller), ["engineer", "release-manager"], "{name}");
        assert_eq!(caller.display(), "ada@acme.example", "{name}");
        // The first group alone.
        let first = provider.caller(name, |claims| {
            claims["groups"].as_array_mut().unwrap().truncate(1);
        });
        assert_eq!(roles(&*first.await), ["engineer"], "{name}");
        let none = provider.caller(name, unset("groups")).await;
        assert_eq!(roles(&none), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn no_shipped_file_takes_another_tenants_token_or_another_clients() {
    for name in PROVIDERS {
        let provider = Provider::new(name);
        let issuer = testing::documented(name)["iss"]
            .as_str()
            .unwrap()
            .to_owned();
        for (claim, value, word) in [
            ("iss", json!(format!("{issuer}/")), "unknown-issuer"),
            ("iss", json!(issuer.to_uppercase()), "unknown-issuer"),
            ("aud", json!("another-client"), "audience"),
            ("azp", json!("another-client"), "authorized-party"),
            ("sub", json!(""), "claim"),
        ] {
            let found = provider.word(set(claim, value.clone())).await;
            assert_eq!(found, word, "{name}: {claim} {value}");
        }
    }
}

/// What each vendor calls a group that only looks like the mapped one.
#[tokio::test]
async fn a_group_counts_by_its_exact_name() {
    for (name, group) in [
        ("dex", "Engineering"),
        ("entra", "0760B6CF-170E-4A14-91B3-4B78E0739963"),
        ("keycloak", "/engineering"),
        ("okta", "syncgate-engineers-2"),
    ] {
        let provider = Provider::new(name);
        let caller = provider.caller(name, set("groups", json!([group]))).await;
        assert_eq!(roles(&caller), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn keycloaks_access_and_refresh_tokens_are_no_id_tokens() {
    let keycloak = Provider::new("keycloak");
    for typ in ["Bearer", "Refresh", "Offline", "Logout"] {
        assert_eq!(keycloak.word(set("typ", json!(typ))).await, "type", "{typ}");
    }
    // With an audience mapper that adds another client, the authorized party decides.
    let several = set("aud", json!(["argocd-cli", "grafana"]));
    assert_eq!(keycloak.word(several).await, "verified");
    let without = |claims: &mut Value| {
        set("aud", json!(["argocd-cli", "grafana"]))(claims);
        unset("azp")(claims);
    };
    assert_eq!(keycloak.word(without).await, "claim");
}

#[tokio::test]
async fn a_token_that_says_that_its_groups_are_elsewhere_is_refused() {
    let entra = Provider::new("entra");
    let issuer = "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0";
    let sentence = format!(
        "the token leaves out its groups, there are too many for it: ask whoever runs `{issuer}` to \
         put in only those that are assigned to this gate's client, or app roles"
    );
    for (documented, change) in [
        ("entra-overage", json!({})),
        // Also where some groups are there, or the mark is that of the implicit flow.
        (
            "entra-overage",
            json!({"groups": ["0760b6cf-170e-4a14-91b3-4b78e0739963"]}),
        ),
        ("entra", json!({"hasgroups": true})),
        ("entra", json!({"hasgroups": "true"})),
        ("entra", json!({"_claim_names": {"groups": "src1"}})),
    ] {
        let with = |claims: &mut Value| {
            let change = change.as_object().unwrap().clone();
            claims.as_object_mut().unwrap().extend(change);
        };
        let token = entra.token(documented, with);
        assert_eq!(entra.bench.sentence(&token).await, sentence, "{change}");
    }
    for (name, value) in [
        ("_claim_names", json!(["groups"])),
        ("_claim_names", json!("groups")),
        ("hasgroups", json!({})),
        ("hasgroups", json!("perhaps")),
    ] {
        assert_eq!(
            entra.word(set(name, value.clone())).await,
            "claim",
            "{value}"
        );
    }
    // What is elsewhere is something else.
    let address = set("_claim_names", json!({"address": "src1"}));
    assert_eq!(entra.word(address).await, "verified");
    assert_eq!(entra.word(set("hasgroups", json!(false))).await, "verified");
}

#[tokio::test]
async fn app_roles_are_never_too_many() {
    let entra = Provider::edited("entra", |text| {
        text.replace("groups_claim = \"groups\"", "groups_claim = \"roles\"")
            .replace("0760b6cf-170e-4a14-91b3-4b78e0739963", "syncgate-engineer")
    });
    for documented in ["entra", "entra-overage"] {
        let caller = entra.caller(documented, |_| ()).await;
        assert_eq!(roles(&caller), ["engineer"], "{documented}");
    }
}

#[tokio::test]
async fn an_address_of_entra_id_counts_only_if_its_domain_is_verified() {
    let entra = Provider::new("entra");
    let documented = testing::documented("entra");
    let subject = documented["sub"].as_str().unwrap();
    for (flag, expected) in [
        (json!(true), "ada@acme.example"),
        (json!("1"), "ada@acme.example"),
        (json!(1), "ada@acme.example"),
        (json!(false), subject),
        (json!("0"), subject),
    ] {
        let caller = entra.caller("entra", set("xms_edov", flag.clone())).await;
        assert_eq!(caller.display(), expected, "{flag}");
    }
    let unasked = entra.caller("entra", unset("xms_edov")).await;
    assert_eq!(unasked.display(), subject);
    assert_eq!(roles(&unasked), ["engineer", "release-manager"]);
    assert_eq!(entra.word(set("xms_edov", json!([]))).await, "claim");
}
