//! R6: issuer × claims × audience × type × algorithm; only the listed cells pass.

use std::fmt::Write as _;

use super::*;
use crate::identity::ci::CiProvider;

const AUDIENCES: [&str; 6] = [
    "argocd-cli",
    "argocd-ui",
    "syncgate",
    "https://gate.example.com",
    "kubernetes",
    "",
];

/// `-` is a header without `typ`.
const TYPES: [&str; 8] = [
    "-",
    "JWT",
    "at+jwt",
    "dpop+jwt",
    "logout+jwt",
    "syncgate-refresh+jwt",
    "syncgate-challenge+jwt",
    "",
];

/// Each algorithm with the key that signs it; `none` and `HS256` are what they are in attacks.
const ALGORITHMS: [(&str, &str); 13] = [
    ("ES256", "p256"),
    ("ES384", "p384"),
    ("EdDSA", "ed"),
    ("PS256", "rsa"),
    ("PS384", "rsa"),
    ("PS512", "rsa"),
    ("RS256", "rsa"),
    ("RS384", "rsa"),
    ("RS512", "rsa"),
    ("HS256", "rsa"),
    ("HS512", "rsa"),
    ("none", "rsa"),
    ("nOnE", "rsa"),
];

struct Keys([TestKey; 4]);

impl Keys {
    fn new() -> Self {
        Self([
            TestKey::new("p256", Algorithm::ES256),
            TestKey::new("p384", Algorithm::ES384),
            TestKey::new("ed", Algorithm::EdDSA),
            TestKey::new("rsa", Algorithm::RS256),
        ])
    }

    async fn issuer(&self) -> TestIssuer {
        TestIssuer::start(&self.0.each_ref()).await
    }

    fn token(&self, algorithm: &str, key: &str, typ: &str, claims: &Value) -> String {
        let mut header = json!({"alg": algorithm, "kid": key});
        if typ != "-" {
            header["typ"] = json!(typ);
        }
        let (header, claims) = (header.to_string(), claims.to_string());
        let key = self.0.iter().find(|k| k.jwk()["kid"] == key).unwrap();
        match algorithm.parse::<Algorithm>() {
            Ok(symmetric @ (Algorithm::HS256 | Algorithm::HS512)) => {
                // The classic confusion: the public key, taken for a shared secret.
                let secret =
                    jsonwebtoken::EncodingKey::from_secret(key.jwk().to_string().as_bytes());
                let signed = testing::unsigned(&header, &claims);
                let mac = jsonwebtoken::crypto::sign(signed.as_bytes(), &secret, symmetric);
                format!("{signed}.{}", mac.unwrap())
            }
            Ok(asymmetric) => key.sign_as(asymmetric, &header, &claims),
            Err(_) => format!("{}.", testing::unsigned(&header, &claims)),
        }
    }
}

/// The claims of a service account, which are good for a person too, and those of a job of CI, so that only
/// the cell decides.
fn claims(of: &str, issuer: &str, audience: &str) -> Value {
    let mut claims = match of {
        "job" => testing::documented("github"),
        _ => account(issuer),
    };
    claims["iss"] = json!(issuer);
    claims["aud"] = json!(audience);
    claims
}

#[tokio::test]
async fn r6_only_the_listed_cells_pass() {
    let keys = Keys::new();
    let (people, cluster, forge, stranger) = (
        keys.issuer().await,
        keys.issuer().await,
        keys.issuer().await,
        keys.issuer().await,
    );
    let mut gate = keys.issuer().await;
    gate.url = format!("{}syncgate", testing::GATE);
    let bench = Bench::new(IdentityConfig {
        oidc: vec![testing::oidc(&people.url)],
        kubernetes: vec![testing::kubernetes(&cluster.url)],
        ci: vec![testing::ci(&forge.url, CiProvider::GitHub)],
        roles: vec![ci::anybody(&forge.url, "acme/*")],
        refresh: testing::quick(),
    });
    let mut passed = String::new();
    for (name, issuer) in [
        ("people", &people),
        ("cluster", &cluster),
        ("forge", &forge),
        ("stranger", &stranger),
        // Everything that says to be the gate's own, and is not.
        ("gate", &gate),
    ] {
        let audiences = AUDIENCES.into_iter().chain([testing::GATE]);
        let audiences: Vec<_> = audiences.collect();
        for (of, audience) in ["account", "job"]
            .into_iter()
            .flat_map(|of| audiences.iter().map(move |audience| (of, *audience)))
        {
            for typ in TYPES {
                let mut row = String::new();
                for (algorithm, key) in ALGORITHMS {
                    let token = keys.token(algorithm, key, typ, &claims(of, &issuer.url, audience));
                    if bench.word(&token).await == "verified" {
                        write!(row, " {algorithm}").unwrap();
                    }
                }
                if !row.is_empty() {
                    writeln!(passed, "{name} {of} {audience} {typ}:{row}").unwrap();
                }
            }
        }
    }
    insta::assert_snapshot!(passed, @r"
    people account argocd-cli -: ES256 ES384 EdDSA PS256 PS384 PS512 RS256 RS384 RS512
    people account argocd-cli JWT: ES256 ES384 EdDSA PS256 PS384 PS512 RS256 RS384 RS512
    people account argocd-ui -: ES256 ES384 EdDSA PS256 PS384 PS512 RS256 RS384 RS512
    people account argocd-ui JWT: ES256 ES384 EdDSA PS256 PS384 PS512 RS256 RS384 RS512
    cluster account syncgate -: ES256 ES384 EdDSA PS256 PS384 PS512 RS256 RS384 RS512
    cluster account syncgate JWT: ES256 ES384 EdDSA PS256 PS384 PS512 RS256 RS384 RS512
    forge job https://gate.example.com -: ES256 ES384 EdDSA PS256 PS384 PS512 RS256 RS384 RS512
    forge job https://gate.example.com JWT: ES256 ES384 EdDSA PS256 PS384 PS512 RS256 RS384 RS512
    ");
    assert_eq!(
        stranger.hits(testing::DISCOVERY) + stranger.hits(testing::JWKS),
        0
    );
}
