//! A set of public keys (JWKS, RFC 7517).
//!
//! In: the bytes of a key set. Out: a [`KeySet`] that verifies signatures. A key that cannot be
//! read, or is not for verifying, is left out and counted; a set without any usable key is an
//! error. Refused as keys: symmetric ones, private ones, RSA below 2,048 bits.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::digest::sha256;
use crate::identity::jwt::Algorithm;
use crate::json::{self, JsonError};

/// The most keys that one issuer may publish.
const KEY_LIMIT: usize = 128;

/// The keys of one issuer at one time.
#[derive(Debug)]
pub struct KeySet {
    /// Of the bytes that it was read from: two sets with the same digest are the same.
    digest: [u8; 32],
    keys: Vec<Key>,
    /// How many keys were left out.
    unreadable: usize,
}

/// One key, ready for each algorithm that it may be used with.
#[derive(Debug)]
struct Key {
    id: Option<String>,
    verifiers: Vec<(Algorithm, ParsedPublicKey)>,
}

/// Why a signature was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::identity) enum KeyFault {
    /// The token names no key, and it is not the case that exactly one could be meant.
    Ambiguous,
    /// There are no keys at all.
    Empty,
    /// The key is there and did not sign this.
    Signature,
    /// No key has that id.
    Unknown,
}

/// Why bytes are not a key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not one JSON object.
    #[error("the key set is {0}")]
    Json(String),
    /// Without the list `keys`, or with too long a one.
    #[error("the key set has no list `keys` of at most {KEY_LIMIT}")]
    NoList,
    /// No key in it is usable.
    #[error("the key set has no usable key ({unreadable} left out)")]
    NoneUsable {
        /// How many there were.
        unreadable: usize,
    },
}

impl KeySet {
    /// A set without keys, before the first was read.
    pub(super) fn empty() -> Self {
        Self {
            digest: [0; 32],
            keys: Vec::new(),
            unreadable: 0,
        }
    }

    /// The set that `bytes` are.
    ///
    /// # Errors
    /// [`JwksError`] if it is not one, or has no usable key.
    pub fn parse(bytes: &[u8]) -> Result<Self, JwksError> {
        let set = json::object(bytes).map_err(|e: JsonError| JwksError::Json(e.to_string()))?;
        let Some(Value::Array(list)) = set.get("keys") else {
            return Err(JwksError::NoList);
        };
        if list.len() > KEY_LIMIT {
            return Err(JwksError::NoList);
        }
        let keys: Vec<Key> = list.iter().filter_map(Key::read).collect();
        let unreadable = list.len() - keys.len();
        if keys.is_empty() {
            return Err(JwksError::NoneUsable { unreadable });
        }
        Ok(Self {
            digest: sha256(bytes),
            keys,
            unreadable,
        })
    }

    /// How many keys there are, and how many were left out.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.keys.len(), self.unreadable)
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A name of this set's content.
    pub(in crate::identity) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Whether a token that names `key_id` has a key here. One that names none has, if there is
    /// any key: which one is settled when it is verified.
    pub(super) fn has(&self, key_id: Option<&str>) -> bool {
        match key_id {
            Some(id) => self.with_id(id).next().is_some(),
            None => !self.is_empty(),
        }
    }

    /// Whether `signature` over `message` is from the key `key_id`, or from the only key that
    /// could be meant if that is absent.
    pub(in crate::identity) fn verify(
        &self,
        algorithm: Algorithm,
        key_id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), KeyFault> {
        if self.is_empty() {
            return Err(KeyFault::Empty);
        }
        let candidates: Vec<&Key> = match key_id {
            Some(id) if self.has(key_id) => self.with_id(id).collect(),
            Some(_) => return Err(KeyFault::Unknown),
            None => self.keys.iter().collect(),
        };
        let verifiers: Vec<_> = candidates
            .into_iter()
            .filter_map(|key| key.verifier(algorithm))
            .collect();
        if key_id.is_none() && verifiers.len() != 1 {
            return Err(KeyFault::Ambiguous);
        }
        // Keys of different kinds may share an id (RFC 7517 section 4.5); all are the issuer's.
        let verified = verifiers
            .into_iter()
            .any(|key| key.verify_sig(message, signature).is_ok());
        if verified {
            Ok(())
        } else {
            Err(KeyFault::Signature)
        }
    }

    fn with_id<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Key> {
        self.keys
            .iter()
            .filter(move |key| key.id.as_deref() == Some(id))
    }
}

impl Key {
    /// The key that one entry of a set is, if it is one for verifying.
    fn read(entry: &Value) -> Option<Self> {
        let jwk = entry.as_object()?;
        if !is_for_verifying(jwk) {
            return None;
        }
        let id = match jwk.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return None,
        };
        let mut verifiers = match text(jwk, "kty")? {
            "RSA" => rsa(jwk)?,
            "EC" => elliptic(jwk)?,
            "OKP" => edwards(jwk)?,
            _ => return None,
        };
        if let Some(only) = jwk.get("alg") {
            let only = Algorithm::from_name(only.as_str()?)?;
            verifiers.retain(|(algorithm, _)| *algorithm == only);
        }
        (!verifiers.is_empty()).then_some(Self { id, verifiers })
    }

    fn verifier(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        let mut verifiers = self.verifiers.iter();
        verifiers
            .find(|(own, _)| *own == algorithm)
            .map(|(_, key)| key)
    }
}

/// Public, and not set aside for something else (RFC 7517 sections 4.2 and 4.3). A private key
/// that was published is everybody's.
fn is_for_verifying(jwk: &Map<String, Value>) -> bool {
    let signs = jwk.get("use").is_none_or(|r#use| r#use == "sig");
    let verifies = jwk.get("key_ops").is_none_or(|operations| {
        operations
            .as_array()
            .is_some_and(|list| list.iter().any(|operation| operation == "verify"))
    });
    signs && verifies && !jwk.contains_key("d")
}

type Verifiers = Vec<(Algorithm, ParsedPublicKey)>;

/// RFC 7518 section 6.3.1.
fn rsa(jwk: &Map<String, Value>) -> Option<Verifiers> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    // Exactly what `RSA_PKCS1_2048_8192_*` will ask for at the first signature.
    let bits = n.len() * 8 - usize::try_from(n.first()?.leading_zeros()).ok()?;
    if !(2_048..=8_192).contains(&bits) {
        return None;
    }
    let components = RsaPublicKeyComponents { n, e };
    let parse = |algorithm: Algorithm| {
        let key = components.to_parsed_public_key(algorithm.rsa()?).ok()?;
        Some((algorithm, key))
    };
    Algorithm::RSA.into_iter().map(parse).collect()
}

/// RFC 7518 section 6.2.1. The curve decides the algorithm.
fn elliptic(jwk: &Map<String, Value>) -> Option<Verifiers> {
    let (algorithm, verification, size): (_, &'static dyn VerificationAlgorithm, _) =
        match text(jwk, "crv")? {
            "P-256" => (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED, 32),
            "P-384" => (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED, 48),
            _ => return None,
        };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != size || y.len() != size {
        return None;
    }
    // SEC 1 section 2.3.3, uncompressed; aws-lc checks that the point is on the curve.
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    let key = ParsedPublicKey::new(verification, point).ok()?;
    Some(vec![(algorithm, key)])
}

/// RFC 8037 section 2.
fn edwards(jwk: &Map<String, Value>) -> Option<Verifiers> {
    if text(jwk, "crv")? != "Ed25519" {
        return None;
    }
    let key = ParsedPublicKey::new(&ED25519, bytes(jwk, "x")?).ok()?;
    Some(vec![(Algorithm::EdDsa, key)])
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    jwk.get(name)?.as_str()
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(jwk, name)?).ok()
}
