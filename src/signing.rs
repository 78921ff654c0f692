//! Keys that the gate signs JWTs with.
//!
//! In: a key (made here, from a PEM file, or as PKCS #8), a type, claims. Out: a compact JWS (RFC 7515), and
//! the public key as a JWK (RFC 7517) whose id is its thumbprint (RFC 7638). ES256 or `EdDSA`. Never: a
//! symmetric key; a private key in a message.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject as _};
use serde_json::{Value, json};

use crate::digest::{canonical_json, sha256};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key is of another kind.
    #[error("the key in `{}` is neither of P-256 (ES256) nor Ed25519 (EdDSA)", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// No key can be made.
    #[error("no key can be made")]
    Make,
    /// The file is not there, or not PEM.
    #[error("the key in `{}` cannot be read: it should be PEM, PKCS#8 or SEC1, and not encrypted", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// What was kept is not a key.
    #[error("the key that was kept cannot be used")]
    Stored,
}

/// A key that signs.
pub struct SigningKey {
    pair: Pair,
    algorithm: &'static str,
    id: String,
    public: Value,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// A new key of P-256, for ES256.
    ///
    /// # Errors
    /// [`Error::Make`] where the system gives no randomness.
    pub fn generate() -> Result<Self, Error> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Ok(Self::new(Pair::Ecdsa(pair.map_err(|_| Error::Make)?)))
    }

    /// The key in the PEM file at `path` (PKCS #8 or SEC 1): P-256 or Ed25519.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Kind`].
    pub fn from_pem_file(path: &Path) -> Result<Self, Error> {
        let key = PrivateKeyDer::from_pem_file(path).map_err(|source| Error::Read {
            path: path.into(),
            source,
        })?;
        let der = key.secret_der();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = match &key {
            PrivateKeyDer::Pkcs8(_) => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .map(Pair::Ed25519)
                .or_else(|_| EcdsaKeyPair::from_pkcs8(algorithm, der).map(Pair::Ecdsa)),
            _ => EcdsaKeyPair::from_private_key_der(algorithm, der).map(Pair::Ecdsa),
        };
        pair.map(Self::new)
            .map_err(|_| Error::Kind { path: path.into() })
    }

    /// The key of P-256 that [`SigningKey::to_pkcs8`] gave.
    ///
    /// # Errors
    /// [`Error::Stored`] if it is none.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
        Ok(Self::new(Pair::Ecdsa(pair.map_err(|_| Error::Stored)?)))
    }

    /// The private key, to be kept where nobody reads it (PKCS #8, DER).
    ///
    /// # Errors
    /// [`Error::Stored`] for a key that is not of P-256.
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, Error> {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let der = pair.to_pkcs8v1().map_err(|_| Error::Stored)?;
                Ok(der.as_ref().to_vec())
            }
            Pair::Ed25519(_) => Err(Error::Stored),
        }
    }

    /// The public key as a JWK, with `kid`, `alg` and `use`.
    #[must_use]
    pub fn public_jwk(&self) -> &Value {
        &self.public
    }

    /// The id of the key: its thumbprint.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `claims` as a signed JWT of the type `typ`; nothing if the system gives no randomness.
    #[must_use]
    pub fn jwt(&self, typ: &str, claims: &Value) -> Option<String> {
        let header = json!({"alg": self.algorithm, "kid": self.id, "typ": typ});
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature = self.signature(signed.as_bytes())?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn new(pair: Pair) -> Self {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (algorithm, mut public) = match &pair {
            Pair::Ecdsa(pair) => {
                // An uncompressed point: 0x04, x, y (SEC 1, 2.3.3).
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let public = json!({"crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y)});
                ("ES256", public)
            }
            Pair::Ed25519(pair) => {
                let x = encode(pair.public_key().as_ref());
                ("EdDSA", json!({"crv": "Ed25519", "kty": "OKP", "x": x}))
            }
        };
        // RFC 7638: the members above, sorted, are those of a thumbprint.
        let id = encode(&sha256(&canonical_json(&public)));
        for (name, value) in [("kid", id.as_str()), ("alg", algorithm), ("use", "sig")] {
            if let Some(public) = public.as_object_mut() {
                public.insert(name.to_owned(), value.into());
            }
        }
        Self {
            pair,
            algorithm,
            id,
            public,
        }
    }

    fn signature(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&SystemRandom::new(), bytes).ok()?;
                Some(signature.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Some(pair.sign(bytes).as_ref().to_vec()),
        }
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Never the key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_kept_is_the_same_key() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
        assert_eq!(key.public_jwk(), again.public_jwk());
        assert_eq!(key.id(), again.id());
        let shown = format!("{key:?} {}", key.public_jwk());
        assert!(!shown.contains("\"d\""), "{shown}");
        assert!(matches!(
            SigningKey::from_pkcs8(b"half"),
            Err(Error::Stored)
        ));
    }
}
