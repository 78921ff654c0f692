//! The demo's token issuer: an OpenID provider and a Kubernetes API server's issuer in one.
//!
//! It serves discovery and keys for two issuers on loopback and mints tokens in the process that
//! runs the demo; there is no login page and nobody else can have a token made.

use std::net::SocketAddr;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::clock::Clock;

/// The client that the demo's people sign in with.
pub(super) const CLIENT: &str = "argocd-cli";
/// The audience of the demo's service-account tokens.
pub(super) const AUDIENCE: &str = "syncgate";
const KEY_ID: &str = "demo";
const LIFETIME_SECONDS: i64 = 3600;

/// Mints tokens and answers for their keys.
pub(super) struct Issuer {
    base: String,
    signing: EncodingKey,
    jwks: Value,
    clock: Clock,
}

impl Issuer {
    /// An issuer with a fresh ES256 key whose documents will be served at `address`.
    ///
    /// # Errors
    /// When no key can be made.
    pub(super) fn new(address: SocketAddr, clock: Clock) -> anyhow::Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let pkcs8 = pair.to_pkcs8v1()?;
        // An uncompressed point: 0x04, x, y (SEC 1, 2.3.3).
        let point = pair.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
        let jwks = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]});
        let signing = EncodingKey::from_ec_der(pkcs8.as_ref());
        Ok(Self {
            base: format!("http://{address}"),
            signing,
            jwks,
            clock,
        })
    }

    /// The `iss` of people's tokens.
    pub(super) fn people(&self) -> String {
        format!("{}/oidc", self.base)
    }

    /// The `iss` of service-account tokens.
    pub(super) fn workloads(&self) -> String {
        format!("{}/kubernetes", self.base)
    }

    /// The document at `path`, or nothing.
    pub(super) fn document(&self, path: &str) -> Option<Value> {
        let issuer = match path.strip_suffix("/.well-known/openid-configuration") {
            Some("/oidc") => self.people(),
            Some("/kubernetes") => self.workloads(),
            _ => return (path == "/keys").then(|| self.jwks.clone()),
        };
        Some(json!({
            "issuer": issuer,
            "jwks_uri": format!("{}/keys", self.base),
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }))
    }

    /// An ID token for a person in `groups`.
    ///
    /// # Errors
    /// When signing fails.
    pub(super) fn person(&self, name: &str, groups: &[&str]) -> anyhow::Result<String> {
        self.sign(json!({
            "iss": self.people(), "aud": CLIENT, "sub": name,
            "email": format!("{name}@shop.example"), "email_verified": true, "groups": groups,
        }))
    }

    /// A projected token of a Kubernetes service account.
    ///
    /// # Errors
    /// When signing fails.
    pub(super) fn service_account(&self, namespace: &str, name: &str) -> anyhow::Result<String> {
        self.sign(json!({
            "iss": self.workloads(), "aud": [AUDIENCE],
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": name, "uid": "4f2c1e7a-0000-4000-8000-000000000001"},
                "pod": {"name": format!("{name}-1"), "uid": "4f2c1e7a-0000-4000-8000-000000000002"},
            },
        }))
    }

    fn sign(&self, mut claims: Value) -> anyhow::Result<String> {
        let now = self.clock.now().as_second();
        for (name, time) in [("iat", now), ("nbf", now), ("exp", now + LIFETIME_SECONDS)] {
            if let Some(claims) = claims.as_object_mut() {
                claims.insert(name.into(), time.into());
            }
        }
        let header = Header {
            kid: Some(KEY_ID.into()),
            ..Header::new(Algorithm::ES256)
        };
        Ok(jsonwebtoken::encode(&header, &claims, &self.signing)?)
    }
}
