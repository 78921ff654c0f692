//! Test keys, tokens and an issuer on loopback, for this room's tests and those of others.
//!
//! Tokens are signed by `jsonwebtoken`, which the product does not verify with: two readings of the
//! standards have to agree.

mod issuer;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use rcgen::{PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::issuer::{Answer, DISCOVERY, JWKS, TestIssuer};
use super::ci::CiProvider;
use super::config::{
    CiIssuer, ClientIds, IdentityConfig, IssuerUrl, KeySource, KubernetesIssuer, LONGEST_LIFE,
    OidcIssuer, PlainHttp, RefreshTimes,
};
use super::roles::{AccountMatch, GroupMatch, RoleMapping};
use super::session::Sessions;
use super::{Identity, SchemeOutcome};
use crate::clock::Clock;
use crate::names::Role;
use crate::store::Store;

/// When the tests take place.
pub(crate) const NOW: &str = "2026-11-23T14:14:30Z";

/// The address of the gate.
pub(crate) const GATE: &str = "https://gate.example/";

/// A key pair with an id.
#[derive(Clone)]
pub(crate) struct TestKey {
    id: String,
    algorithm: Algorithm,
    private: EncodingKey,
    public: Value,
}

impl TestKey {
    /// A new key for `algorithm`. The RSA key is one and the same for all: making one is slow.
    pub(crate) fn new(id: &str, algorithm: Algorithm) -> Self {
        static RSA: LazyLock<KeyPair> = LazyLock::new(|| {
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
        });
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let elliptic = |pair: &KeyPair, curve: &str| {
            let (x, y) = pair.public_key_raw()[1..].split_at(pair.public_key_raw().len() / 2);
            json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
        };
        let (private, mut public) = match algorithm {
            Algorithm::ES256 => {
                let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
                (
                    EncodingKey::from_ec_der(pair.serialized_der()),
                    elliptic(&pair, "P-256"),
                )
            }
            Algorithm::ES384 => {
                let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
                (
                    EncodingKey::from_ec_der(pair.serialized_der()),
                    elliptic(&pair, "P-384"),
                )
            }
            Algorithm::EdDSA => {
                let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
                let x = encode(pair.public_key_raw());
                let public = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
                (EncodingKey::from_ed_der(pair.serialized_der()), public)
            }
            _ => {
                let private = EncodingKey::from_rsa_pem(RSA.serialize_pem().as_bytes()).unwrap();
                let jwk = Jwk::from_encoding_key(&private, algorithm).unwrap();
                let mut public = serde_json::to_value(jwk).unwrap();
                public.as_object_mut().unwrap().remove("alg");
                (private, public)
            }
        };
        public["kid"] = json!(id);
        Self {
            id: id.to_owned(),
            algorithm,
            private,
            public,
        }
    }

    /// The public key, as an entry of a key set.
    pub(crate) fn jwk(&self) -> Value {
        self.public.clone()
    }

    /// A token with `claims`, its header as issuers write it.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm, "kid": self.id, "typ": "JWT"});
        self.sign(&header.to_string(), &claims.to_string())
    }

    /// A token with exactly this header and these claims, signed as the key signs, whatever the
    /// header says.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        self.sign_as(self.algorithm, header, claims)
    }

    /// The same with another algorithm of the key's family.
    pub(crate) fn sign_as(&self, algorithm: Algorithm, header: &str, claims: &str) -> String {
        let signed = unsigned(header, claims);
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.private, algorithm);
        format!("{signed}.{}", signature.unwrap())
    }
}

/// Header and payload of a token.
pub(crate) fn unsigned(header: &str, claims: &str) -> String {
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    )
}

/// Short times, so that a test of refreshing is quick, and an interval that does not disturb it.
pub(crate) fn quick() -> RefreshTimes {
    RefreshTimes {
        interval: Duration::from_hours(1),
        cool_down: Duration::from_millis(300),
        wait: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
    }
}

/// `url` as an OIDC issuer with the clients `argocd-cli` and `argocd-ui`.
pub(crate) fn oidc(url: &str) -> OidcIssuer {
    OidcIssuer {
        url: IssuerUrl::parse(url, PlainHttp::Loopback).unwrap(),
        client_ids: ClientIds {
            cli: "argocd-cli".into(),
            ui: Some("argocd-ui".into()),
        },
        audiences: BTreeSet::new(),
        groups_claim: "groups".into(),
        ca: None,
        jwks_hosts: BTreeSet::new(),
        keys: KeySource::Discover,
    }
}

/// `url` as a cluster whose tokens need the audience `syncgate`.
pub(crate) fn kubernetes(url: &str) -> KubernetesIssuer {
    KubernetesIssuer {
        url: IssuerUrl::parse(url, PlainHttp::Loopback).unwrap(),
        audience: "syncgate".into(),
        ca: None,
        keys: KeySource::Discover,
        token_file: None,
        longest_life: LONGEST_LIFE,
    }
}

/// `url` as a CI system whose tokens need the audience of the documented claims.
pub(crate) fn ci(url: &str, provider: CiProvider) -> CiIssuer {
    CiIssuer {
        url: IssuerUrl::parse(url, PlainHttp::Loopback).unwrap(),
        provider,
        audience: "https://gate.example.com".into(),
        ca: None,
        keys: KeySource::Discover,
        longest_life: LONGEST_LIFE,
    }
}

/// The claims in `tests/fixtures/claims` by this name, valid from ten minutes ago for an hour.
pub(crate) fn documented(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/claims");
    let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let mut claims: Value = serde_json::from_str(&text).unwrap();
    let now: Timestamp = NOW.parse().unwrap();
    claims["iat"] = json!(now.as_second() - 600);
    claims["exp"] = json!(now.as_second() + 3_000);
    claims.as_object_mut().unwrap().remove("nbf");
    claims
}

/// `engineer` for the group `engineering`, `test-job` for the account `shop/tests`.
pub(crate) fn roles(oidc: &str, cluster: &str) -> Vec<RoleMapping> {
    let group = GroupMatch {
        issuer: oidc.into(),
        group: "engineering".into(),
    };
    let account = AccountMatch::parse(cluster, "shop/tests").unwrap();
    vec![
        RoleMapping {
            role: Role::parse("engineer").unwrap(),
            groups: vec![group],
            service_accounts: vec![],
            ci: vec![],
            aws: vec![],
        },
        RoleMapping {
            role: Role::parse("test-job").unwrap(),
            groups: vec![],
            service_accounts: vec![account],
            ci: vec![],
            aws: vec![],
        },
    ]
}

/// The claims of a person's ID token, valid from ten minutes ago for an hour.
pub(crate) fn person(issuer: &str) -> Value {
    let now: Timestamp = NOW.parse().unwrap();
    json!({
        "iss": issuer,
        "aud": "argocd-cli",
        "sub": "00u1",
        "email": "ada@example.com",
        "email_verified": true,
        "name": "Ada",
        "groups": ["engineering", "on-call"],
        "iat": now.as_second() - 600,
        "exp": now.as_second() + 3_000,
    })
}

/// The claims of a projected token of the account `shop/tests`.
pub(crate) fn account(issuer: &str) -> Value {
    let now: Timestamp = NOW.parse().unwrap();
    json!({
        "iss": issuer,
        "aud": ["syncgate"],
        "sub": "system:serviceaccount:shop:tests",
        "iat": now.as_second() - 600,
        "nbf": now.as_second() - 600,
        "exp": now.as_second() + 3_000,
        "kubernetes.io": {
            "namespace": "shop",
            "node": {"name": "n1", "uid": "4"},
            "pod": {"name": "checkout-tests-x2", "uid": "1"},
            "serviceaccount": {"name": "tests", "uid": "2"},
        },
    })
}

/// The sessions of the gate at `url`, kept in `folder`.
pub(crate) fn sessions(folder: &tempfile::TempDir, url: &str, clock: &Clock) -> Sessions {
    let store = Store::open(&folder.path().join("store.db")).unwrap();
    Sessions::new(store, &url.parse().unwrap(), clock.clone())
}

/// An [`Identity`] with a clock that tests can move.
pub(crate) struct Bench {
    pub(crate) identity: Identity,
    now: Arc<Mutex<Timestamp>>,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// Identity as configured, at [`NOW`].
    pub(crate) fn new(config: IdentityConfig) -> Self {
        let now = Arc::new(Mutex::new(NOW.parse().unwrap()));
        let told = Arc::clone(&now);
        let clock = Clock::from_fn(move || *told.lock().unwrap());
        let stop = CancellationToken::new();
        let folder = tempfile::tempdir().unwrap();
        let sessions = sessions(&folder, GATE, &clock);
        let tasks = TaskTracker::new();
        let identity = Identity::new(config, sessions, clock, &tasks, &stop).unwrap();
        Self {
            identity,
            now,
            stop,
            _folder: folder,
        }
    }

    /// One OIDC issuer, quick to refresh.
    pub(crate) fn oidc(issuer: OidcIssuer) -> Self {
        Self::new(IdentityConfig {
            oidc: vec![issuer],
            refresh: quick(),
            ..IdentityConfig::default()
        })
    }

    /// Stops what identity runs.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Sets the clock to `seconds` after [`NOW`].
    pub(crate) fn at(&self, seconds: i64) {
        let now: Timestamp = NOW.parse().unwrap();
        *self.now.lock().unwrap() = now + SignedDuration::from_secs(seconds);
    }

    /// What comes of `token`, sent as the `argocd` command does.
    pub(crate) async fn send(&self, token: &str) -> SchemeOutcome {
        let mut headers = HeaderMap::new();
        headers.insert("token", token.parse().unwrap());
        self.identity.authenticate(&headers).await
    }

    /// The same in a word: `verified`, or the code of the refusal.
    pub(crate) async fn word(&self, token: &str) -> &'static str {
        match self.send(token).await {
            SchemeOutcome::Absent => "absent",
            SchemeOutcome::Reject(reason) => reason.code(),
            SchemeOutcome::Verify(_) => "verified",
        }
    }

    /// The sentence of the refusal of `token`, which must be refused.
    pub(crate) async fn sentence(&self, token: &str) -> String {
        match self.send(token).await {
            SchemeOutcome::Reject(reason) => reason.to_string(),
            other => panic!("not refused: {other:?}"),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
