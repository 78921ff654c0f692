//! Tokens, good and bad, and the documents by which the gate checks them.

use std::sync::LazyLock;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use syncgate::clock::Clock;

/// All keys have this one identifier, so that only their bytes tell them apart.
const KEY_ID: &str = "key-1";
const HOUR: i64 = 3600;

/// A key that signs tokens.
struct Key {
    signing: EncodingKey,
    public: Vec<u8>,
}

impl Key {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        Self {
            signing: EncodingKey::from_ec_der(pkcs8.as_ref()),
            public: pair.public_key().as_ref().to_vec(),
        }
    }

    fn jwks(&self) -> Value {
        // An uncompressed point: 0x04, x, y (SEC 1, 2.3.3).
        let (x, y) = self.public[1..].split_at(32);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }
}

/// Three issuers on loopback: of people, of service accounts, and of jobs of CI.
pub(crate) struct Issuer {
    base: String,
    ci: Key,
    people: Key,
    workloads: Key,
}

impl Issuer {
    /// Issuers whose documents will be at `base`.
    pub(crate) fn new(base: String) -> Self {
        Self {
            base,
            ci: Key::new(),
            people: Key::new(),
            workloads: Key::new(),
        }
    }

    /// The `iss` of people.
    pub(crate) fn people(&self) -> String {
        format!("{}/oidc", self.base)
    }

    /// The `iss` of service accounts.
    pub(crate) fn workloads(&self) -> String {
        format!("{}/kubernetes", self.base)
    }

    /// The `iss` of jobs of CI.
    pub(crate) fn ci(&self) -> String {
        format!("{}/ci", self.base)
    }

    /// The document at `path`, if there is one.
    pub(crate) fn document(&self, path: &str) -> Option<Value> {
        let (issuer, page) = path.strip_prefix('/')?.split_once('/')?;
        let (key, issuer) = match issuer {
            "ci" => (&self.ci, self.ci()),
            "kubernetes" => (&self.workloads, self.workloads()),
            "oidc" => (&self.people, self.people()),
            _ => return None,
        };
        match page {
            ".well-known/openid-configuration" => Some(json!({
                "issuer": issuer,
                "jwks_uri": format!("{issuer}/keys"),
                "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            })),
            "keys" => Some(key.jwks()),
            _ => None,
        }
    }

    /// The ID token of a person in `groups`.
    pub(crate) fn person(&self, name: &str, groups: &[&str]) -> String {
        sign(&self.people, &self.person_claims(name, groups))
    }

    /// The projected token of a service account.
    pub(crate) fn account(&self, namespace: &str, name: &str) -> String {
        self.account_with(namespace, name, |_| {})
    }

    /// The token of a service account whose claims are changed so; times are seconds since 1970.
    pub(crate) fn account_with(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> String {
        let mut claims = json!({
            "iss": self.workloads(), "aud": ["syncgate"], "iat": now(), "nbf": now(),
            "exp": now() + HOUR, "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": name, "uid": "4f2c1e7a-0000-4000-8000-000000000001"},
            },
        });
        change(&mut claims);
        sign(&self.workloads, &claims)
    }

    /// The ID token of a person, good for `seconds` from this moment.
    pub(crate) fn person_for(&self, name: &str, groups: &[&str], seconds: i64) -> String {
        let mut claims = self.person_claims(name, groups);
        let end = Clock::system().now().as_second() + seconds;
        claims["exp"] = end.into();
        sign(&self.people, &claims)
    }

    /// The token of a job of the repository `acme/checkout`, as GitHub Actions writes it, whose claims are
    /// changed so.
    pub(crate) fn job(&self, change: impl FnOnce(&mut Value)) -> String {
        let documented = include_str!("../../fixtures/claims/github.json");
        let mut claims: Value = serde_json::from_str(documented).unwrap();
        for (name, value) in [
            ("iss", json!(self.ci())),
            ("aud", json!("syncgate")),
            ("iat", json!(now())),
            ("nbf", json!(now())),
            ("exp", json!(now() + 300)),
        ] {
            claims[name] = value;
        }
        change(&mut claims);
        sign(&self.ci, &claims)
    }

    /// Tokens that must not be taken, each with what is wrong with it. All claim to be Alice, whose
    /// own token would be.
    #[expect(clippy::too_many_lines, reason = "it is a table")]
    pub(crate) fn bad_tokens(&self) -> Vec<(&'static str, String)> {
        let with = |change: &[(&str, Value)]| {
            let mut claims = self.person_claims("alice", &["engineering"]);
            for (name, value) in change {
                claims[name] = value.clone();
            }
            claims
        };
        let good = with(&[]);
        let ours = |change: &[(&str, Value)]| sign(&self.people, &with(change));
        let genuine = sign(&self.people, &good);
        let body = genuine.rsplit_once('.').unwrap().0;
        vec![
            (
                "expired",
                ours(&[
                    ("iat", json!(now() - 2 * HOUR)),
                    ("exp", json!(now() - HOUR)),
                ]),
            ),
            (
                "not yet valid",
                ours(&[
                    ("nbf", json!(now() + HOUR)),
                    ("exp", json!(now() + 2 * HOUR)),
                ]),
            ),
            ("for another audience", ours(&[("aud", json!("grafana"))])),
            ("for no audience", ours(&[("aud", json!([]))])),
            (
                "signed by the other issuer's key of the same id",
                sign(&self.workloads, &good),
            ),
            (
                "signed by a stranger's key of the same id",
                sign(&Key::new(), &good),
            ),
            (
                "of an unknown issuer",
                ours(&[("iss", json!("https://login.example"))]),
            ),
            (
                "of an issuer with a slash more",
                ours(&[("iss", json!(format!("{}/", self.people())))]),
            ),
            ("without a subject", ours(&[("sub", json!(""))])),
            ("of alg none", unsigned("none", &good)),
            ("of alg NONE", unsigned("NONE", &good)),
            (
                "of HS256, keyed with the public point",
                keyed(&self.people.public, &good),
            ),
            (
                "of HS256, keyed with the key set",
                keyed(self.people.jwks().to_string().as_bytes(), &good),
            ),
            ("without its signature", format!("{body}.")),
            (
                "with another body",
                splice(&genuine, &with(&[("sub", json!("rita"))])),
            ),
            ("garbage", "garbage".to_owned()),
            ("three dots", "a.b.c".to_owned()),
        ]
    }

    fn person_claims(&self, name: &str, groups: &[&str]) -> Value {
        json!({
            "iss": self.people(), "aud": "argocd-cli", "sub": name, "iat": now(),
            "exp": now() + HOUR, "email": format!("{name}@shop.example"),
            "email_verified": true, "groups": groups,
        })
    }
}

fn now() -> i64 {
    static START: LazyLock<i64> = LazyLock::new(|| Clock::system().now().as_second());
    *START
}

fn sign(key: &Key, claims: &Value) -> String {
    let header = jsonwebtoken::Header {
        kid: Some(KEY_ID.to_owned()),
        ..jsonwebtoken::Header::new(Algorithm::ES256)
    };
    jsonwebtoken::encode(&header, claims, &key.signing).unwrap()
}

fn keyed(secret: &[u8], claims: &Value) -> String {
    let header = jsonwebtoken::Header {
        kid: Some(KEY_ID.to_owned()),
        ..jsonwebtoken::Header::new(Algorithm::HS256)
    };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
}

fn unsigned(algorithm: &str, claims: &Value) -> String {
    let header = json!({"alg": algorithm, "typ": "JWT", "kid": KEY_ID}).to_string();
    let (header, claims) = (
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims.to_string()),
    );
    format!("{header}.{claims}.")
}

/// Header and signature of `token` around other claims.
fn splice(token: &str, claims: &Value) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("{}.{claims}.{}", parts[0], parts[2])
}
