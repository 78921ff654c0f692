//! The public key of a signer.
//!
//! In: PEM with one `SubjectPublicKeyInfo` (RFC 7468 section 13). Out: a [`PublicKey`] for the one
//! algorithm that its type has here. Refused: private keys, weak keys, every other type.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PSS_2048_8192_SHA256,
    VerificationAlgorithm,
};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;

use crate::digest::sha256_hex;

/// A key that verifies signatures: of Ed25519 (RFC 8032), of ECDSA on P-256 with SHA-256 in ASN.1 DER
/// (FIPS 186-5), or of RSASSA-PSS with SHA-256 (RFC 8017).
#[derive(Clone)]
pub struct PublicKey {
    parsed: Arc<ParsedPublicKey>,
    /// SHA-256 of its one DER form.
    fingerprint: String,
}

/// Why text is no key of a signer, to be read behind the key of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// It is of a type, or a size, that is not taken.
    #[error("is neither an Ed25519 key, nor ECDSA on P-256, nor RSA of 2,048 to 8,192 bits")]
    Kind,
    /// There is no public key in it.
    #[error(
        "is no public key in PEM (`-----BEGIN PUBLIC KEY-----`); `openssl pkey -pubin -in FILE` shows what it is"
    )]
    NotPem,
    /// It is, or holds, a private key.
    #[error("is a private key; give the public one: `openssl pkey -in FILE -pubout`")]
    Private,
    /// There are several.
    #[error("holds {count} keys; give each a [[signer]] of its own")]
    Several {
        /// How many.
        count: usize,
    },
}

impl PublicKey {
    /// Reads `pem`.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn from_pem(pem: &str) -> Result<Self, BadKey> {
        if pem.contains("PRIVATE KEY") {
            return Err(BadKey::Private);
        }
        let keys: Result<Vec<_>, _> =
            SubjectPublicKeyInfoDer::pem_slice_iter(pem.as_bytes()).collect();
        let keys = keys.map_err(|_| BadKey::NotPem)?;
        match keys.as_slice() {
            [] => Err(BadKey::NotPem),
            [key] => Self::from_der(key),
            _ => Err(BadKey::Several { count: keys.len() }),
        }
    }

    fn from_der(der: &[u8]) -> Result<Self, BadKey> {
        let elliptic: [&'static dyn VerificationAlgorithm; 2] = [&ED25519, &ECDSA_P256_SHA256_ASN1];
        let elliptic = elliptic
            .into_iter()
            .find_map(|algorithm| ParsedPublicKey::new(algorithm, der).ok());
        let parsed = if let Some(key) = elliptic {
            key
        } else {
            // It knows how large a key must be; the other would say so at the first signature only.
            PublicEncryptingKey::from_der(der).map_err(|_| BadKey::Kind)?;
            ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, der).map_err(|_| BadKey::Kind)?
        };
        let der: PublicKeyX509Der<'_> = parsed.as_der().map_err(|_| BadKey::Kind)?;
        Ok(Self {
            fingerprint: sha256_hex(der.as_ref()),
            parsed: Arc::new(parsed),
        })
    }

    /// Whether `signature` is this key's over `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint)
    }
}
