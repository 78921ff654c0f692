//! Tells an endpoint who calls: a JWT that the gate signs for each request.
//!
//! In: a verified caller, a decision, and the origin of the endpoint. Out: a compact JWS (RFC 7515) with
//! the type `syncgate-identity+jwt`, good for a minute and for that one endpoint; and the key set (RFC
//! 7517) to verify it with. The key is ES256 or `EdDSA`: that of a file, read again when it changes, with
//! the one before it still in the set; or one that is made at each start and never leaves memory. Never:
//! a symmetric key, a credential of the caller among the claims.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::digest::{canonical_json, sha256_hex};
use crate::identity::Caller;
use crate::names::{DecisionId, Role};
use crate::signing::{Error, SigningKey};

/// How long an assertion is good for, in seconds.
pub const LIFETIME: i64 = 60;
/// The type (`typ`) of an assertion, so that it is taken for nothing else (RFC 8725 section 3.11).
pub const TYPE: &str = "syncgate-identity+jwt";

/// What an assertion says.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// The origin of the endpoint.
    pub audience: &'a str,
    /// Who calls.
    pub caller: &'a Caller,
    /// The endpoint's environment.
    pub environment: &'a str,
    /// The decision.
    pub decision: DecisionId,
}

/// Signs assertions.
pub struct Signer {
    issuer: String,
    file: Option<PathBuf>,
    clock: Clock,
    keys: ArcSwap<Keys>,
}

struct Keys {
    current: Arc<SigningKey>,
    /// The one before, for services that have not read the set since.
    previous: Option<Arc<SigningKey>>,
}

impl Signer {
    /// Signs as `issuer`, the gate's address, with the key in `file` or one that is made now.
    ///
    /// # Errors
    /// [`Error`] for a key that cannot be used.
    pub fn new(issuer: &str, file: Option<PathBuf>, clock: Clock) -> Result<Self, Error> {
        let key = match &file {
            Some(path) => SigningKey::from_pem_file(path)?,
            None => SigningKey::generate()?,
        };
        Ok(Self {
            issuer: issuer.to_owned(),
            file,
            clock,
            keys: ArcSwap::from_pointee(Keys {
                current: Arc::new(key),
                previous: None,
            }),
        })
    }

    /// The files that [`Signer::renew`] reads.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.file.iter().cloned().collect()
    }

    /// Reads the file again. The key that was in force stays so if that fails.
    ///
    /// # Errors
    /// [`Error`], as [`Signer::new`].
    pub fn renew(&self) -> Result<(), Error> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        let key = Arc::new(SigningKey::from_pem_file(path)?);
        let now = self.keys.load_full();
        if key.id() != now.current.id() {
            let previous = Some(Arc::clone(&now.current));
            let current = key;
            self.keys.store(Arc::new(Keys { current, previous }));
        }
        Ok(())
    }

    /// The set of public keys, as JSON.
    #[must_use]
    pub fn key_set(&self) -> Value {
        let keys = self.keys.load();
        let all = std::iter::once(&keys.current).chain(&keys.previous);
        json!({ "keys": all.map(|key| key.public_jwk()).collect::<Vec<_>>() })
    }

    /// An assertion of `statement`, as the value of a header; nothing if it cannot be signed.
    #[must_use]
    pub fn sign(&self, statement: Statement<'_>) -> Option<HeaderValue> {
        let now = self.clock.now();
        let roles: Vec<&str> = statement.caller.roles.iter().map(Role::as_str).collect();
        let claims = json!({
            "iss": self.issuer,
            "aud": statement.audience,
            "sub": statement.caller.unique(),
            "who": statement.caller.display(),
            "roles": roles,
            "environment": statement.environment,
            "decision": statement.decision.to_string(),
            "iat": now.as_second(),
            "exp": now.as_second() + LIFETIME,
            "jti": DecisionId::new(now).to_string(),
        });
        let key = Arc::clone(&self.keys.load().current);
        let mut value = HeaderValue::try_from(key.jwt(TYPE, &claims)?).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Never the key.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = sha256_hex(&canonical_json(&self.key_set()));
        f.debug_struct("Signer")
            .field("keys", &set)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;
    use crate::identity::{SignIn, Subject};

    const AUDIENCE: &str = "https://checkout.example";

    fn verified(signer: &Signer, token: &HeaderValue) -> jsonwebtoken::TokenData<Value> {
        let token = token.to_str().unwrap();
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.typ.as_deref(), Some(TYPE));
        let set: JwkSet = serde_json::from_value(signer.key_set()).unwrap();
        let key = set.find(header.kid.as_deref().unwrap()).unwrap();
        let mut rules = Validation::new(header.alg);
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&["https://gate.example"]);
        let key = DecodingKey::from_jwk(key).unwrap();
        jsonwebtoken::decode(token, &key, &rules).unwrap()
    }

    fn person() -> Caller {
        Caller {
            subject: Subject::OidcUser {
                subject: "ada".to_owned(),
                email: Some("ada@example.com".to_owned()),
                name: None,
            },
            issuer: "https://idp.example".to_owned(),
            groups: std::collections::BTreeSet::new(),
            roles: [Role::parse("engineer").unwrap()].into(),
            expires_at: jiff::Timestamp::MAX,
            sign_in: SignIn::default(),
        }
    }

    fn statement(caller: &Caller) -> Statement<'_> {
        Statement {
            audience: AUDIENCE,
            caller,
            environment: "staging",
            decision: DecisionId::new(jiff::Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn what_is_signed_verifies_by_the_published_set_and_lasts_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let caller = person();
        for (kind, algorithm) in [
            (Some(&PKCS_ECDSA_P256_SHA256), Algorithm::ES256),
            (Some(&PKCS_ED25519), Algorithm::EdDSA),
            (None, Algorithm::ES256),
        ] {
            let file = kind.map(|kind| {
                let pair = KeyPair::generate_for(kind).unwrap();
                std::fs::write(&path, pair.serialize_pem()).unwrap();
                path.clone()
            });
            let signer = Signer::new("https://gate.example", file, Clock::system()).unwrap();
            let token = signer.sign(statement(&caller)).unwrap();
            let said = verified(&signer, &token);
            assert_eq!(said.header.alg, algorithm);
            assert_eq!(said.claims["sub"], caller.unique());
            assert_eq!(said.claims["who"], caller.display());
            assert_eq!(said.claims["environment"], "staging");
            let (issued, end) = (&said.claims["iat"], &said.claims["exp"]);
            assert_eq!(end.as_i64().unwrap() - issued.as_i64().unwrap(), 60);
            assert!(token.is_sensitive());
            let again = signer.sign(statement(&caller)).unwrap();
            assert_ne!(said.claims["jti"], verified(&signer, &again).claims["jti"]);
        }
    }

    #[test]
    fn the_key_before_stays_in_the_set_and_a_bad_one_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let write = |kind| {
            let pair = KeyPair::generate_for(kind).unwrap();
            std::fs::write(&path, pair.serialize_pem()).unwrap();
        };
        write(&PKCS_ECDSA_P256_SHA256);
        let signer = Signer::new("https://gate.example", Some(path.clone()), Clock::system());
        let signer = signer.unwrap();
        let caller = person();
        let old = signer.sign(statement(&caller)).unwrap();
        signer.renew().unwrap();
        assert_eq!(signer.key_set()["keys"].as_array().unwrap().len(), 1);
        write(&PKCS_ED25519);
        signer.renew().unwrap();
        let new = signer.sign(statement(&caller)).unwrap();
        let algorithm = |token| verified(&signer, token).header.alg;
        assert_eq!(
            (algorithm(&old), algorithm(&new)),
            (Algorithm::ES256, Algorithm::EdDSA)
        );
        write(&PKCS_ECDSA_P384_SHA384);
        assert!(matches!(signer.renew(), Err(Error::Kind { .. })));
        std::fs::write(&path, "half").unwrap();
        assert!(matches!(signer.renew(), Err(Error::Read { .. })));
        let still = signer.sign(statement(&caller)).unwrap();
        assert_eq!(algorithm(&still), Algorithm::EdDSA);
        assert!(!signer.key_set().to_string().contains("\"d\""));
    }

    /// As `openssl ecparam -name prime256v1 -genkey` and `openssl genpkey -algorithm ed25519` make them.
    const OF_OPENSSL: [(&str, Algorithm); 2] = [
        (
            "-----BEGIN EC PARAMETERS-----\n\
             BggqhkjOPQMBBw==\n\
             -----END EC PARAMETERS-----\n\
             -----BEGIN EC PRIVATE KEY-----\n\
             MHcCAQEEINxf6fkuOx8tpBROTUZXmyd5iia/32GvPsAwf9E+wTr4oAoGCCqGSM49\n\
             AwEHoUQDQgAE4FkVfdYqCTwItuQYGr779RYi3cw9SKItcfwTJEflSeQEijeS6Dsh\n\
             WwVd8eenGTC5FImNakEXOthVzF953ZW24A==\n\
             -----END EC PRIVATE KEY-----\n",
            Algorithm::ES256,
        ),
        (
            "-----BEGIN PRIVATE KEY-----\n\
             MC4CAQAwBQYDK2VwBCIEIFYr/UpNEMhIyHYP6KEwIHDwaRRuil8yqrAgSHU7WNfQ\n\
             -----END PRIVATE KEY-----\n",
            Algorithm::EdDSA,
        ),
    ];

    #[test]
    fn keys_as_openssl_makes_them_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        for (pem, algorithm) in OF_OPENSSL {
            std::fs::write(&path, pem).unwrap();
            let file = Some(path.clone());
            let signer = Signer::new("https://gate.example", file, Clock::system()).unwrap();
            let token = signer.sign(statement(&person())).unwrap();
            assert_eq!(verified(&signer, &token).header.alg, algorithm);
            let shown = format!("{signer:?}");
            assert!(!pem.lines().any(|line| shown.contains(line)));
        }
    }
}
