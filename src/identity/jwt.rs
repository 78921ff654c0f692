//! Signed JWTs (RFC 7515, 7519), strictly.
//!
//! In: the text of a token. Out: first an [`UnverifiedToken`], which gives up only what is needed
//! to find the key; with the key's word, [`Claims`]. They are different types, so that nothing can
//! read a claim that was not verified. Refused: every algorithm but the asymmetric ones on the
//! list, header extensions (`crit`, `b64`), types other than the one that is asked for, keys given
//! twice, padding and stray bits in the base64. Never: a key that the token itself brings (`jwk`, `jku`, `x5c`, `x5u`).

mod claims;

use aws_lc_rs::signature as lc;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

pub(super) use claims::text_of;
pub use claims::{Claims, LEEWAY};

use super::keys::{KeyFault, KeySet};
use super::reason::{Quoted, Reason, Scheme};
use crate::json::{self, JsonError};

/// The longest key id that is looked up.
const KEY_ID_LIMIT: usize = 256;

/// The signature algorithms that are accepted (RFC 7518 section 3, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSA-PSS with SHA-256.
    Ps256,
    /// RSA-PSS with SHA-384.
    Ps384,
    /// RSA-PSS with SHA-512.
    Ps512,
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// RSA PKCS #1 v1.5 with SHA-384.
    Rs384,
    /// RSA PKCS #1 v1.5 with SHA-512.
    Rs512,
}

impl Algorithm {
    /// What one RSA key can be used with.
    pub(super) const RSA: [Self; 6] = [
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
    ];

    /// The algorithm with this name in a header or a JWK; `None` for all others, `none` and the
    /// symmetric ones among them.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" => Self::EdDsa,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            _ => return None,
        })
    }

    /// How aws-lc verifies it with an RSA key (2,048 to 8,192 bits); `None` for other keys.
    pub(super) fn rsa(self) -> Option<&'static lc::RsaParameters> {
        Some(match self {
            Self::EdDsa | Self::Es256 | Self::Es384 => return None,
            Self::Ps256 => &lc::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &lc::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &lc::RSA_PSS_2048_8192_SHA512,
            Self::Rs256 => &lc::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &lc::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &lc::RSA_PKCS1_2048_8192_SHA512,
        })
    }
}

/// What a token is for, as its header says (`typ`; RFC 8725 section 3.11): one that was made for one thing is
/// taken for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// An ID token, or one of a service account: `JWT`, or nothing, as Kubernetes has it.
    Jwt,
    /// One that the gate makes for itself, by its name.
    Own(&'static str),
}

/// A token whose signature nobody has checked. It gives up its issuer, its key's id and its
/// algorithm; the claims come out with [`UnverifiedToken::verify`].
pub struct UnverifiedToken<'a> {
    /// What is signed: header and payload as they came.
    signed: &'a [u8],
    signature: Vec<u8>,
    algorithm: Algorithm,
    typ: Option<String>,
    key_id: Option<String>,
    issuer: String,
    claims: Map<String, Value>,
}

impl<'a> UnverifiedToken<'a> {
    /// Takes `token` apart.
    ///
    /// # Errors
    /// A [`Reason`] if it is not a JWT in compact form, or its header is not acceptable.
    pub fn parse(token: &'a str) -> Result<Self, Reason> {
        let (signed, signature) = token
            .rsplit_once('.')
            .ok_or_else(|| malformed("no parts"))?;
        let (header, payload) = signed
            .split_once('.')
            .filter(|(_, payload)| !payload.contains('.'))
            .ok_or_else(|| malformed("not three parts"))?;
        let header = part("header", header)?;
        let claims = part("payload", payload)?;
        let issuer = match claims.get("iss") {
            Some(Value::String(issuer)) => issuer.clone(),
            _ => return Err(malformed("no issuer")),
        };
        let algorithm = algorithm(&header, &issuer)?;
        check_extensions(&header)?;
        Ok(Self {
            signed: signed.as_bytes(),
            signature: decode("signature", signature)?,
            algorithm,
            typ: typ(&header)?,
            key_id: key_id(&header)?,
            issuer,
            claims,
        })
    }

    /// The issuer that the token claims.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The `kid`, if there is one.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether its header says that it is of the type `wanted`.
    ///
    /// # Errors
    /// [`Reason::Type`].
    pub fn check_type(&self, wanted: Type) -> Result<(), Reason> {
        let fits = match (wanted, self.typ.as_deref()) {
            (Type::Jwt, None) => true,
            (Type::Jwt, Some(typ)) => typ.eq_ignore_ascii_case("jwt"),
            (Type::Own(name), Some(typ)) => typ == name,
            (Type::Own(_), None) => false,
        };
        if fits {
            return Ok(());
        }
        Err(Reason::Type {
            found: Quoted::new(self.typ.as_deref().unwrap_or("JWT")),
        })
    }

    /// The claims, if it is of the type `wanted` and the signature is one of `keys`, which must be the keys
    /// of [`UnverifiedToken::issuer`]. `scheme` is for the sentence of a refusal.
    ///
    /// # Errors
    /// A [`Reason`] if it is of another type, the key is not there or the signature is not its.
    pub fn verify(self, wanted: Type, keys: &KeySet, scheme: Scheme) -> Result<Claims, Reason> {
        self.check_type(wanted)?;
        let verified = keys.verify(
            self.algorithm,
            self.key_id.as_deref(),
            self.signed,
            &self.signature,
        );
        let issuer = Quoted::new(&self.issuer);
        match verified {
            Ok(()) => Ok(Claims::new(self.issuer, self.claims)),
            Err(KeyFault::Ambiguous) => Err(Reason::KeyNotNamed { issuer }),
            Err(KeyFault::Empty) => Err(Reason::KeysUnavailable { issuer }),
            Err(KeyFault::Signature) => Err(Reason::Signature { scheme, issuer }),
            Err(KeyFault::Unknown) => Err(Reason::KeyUnknown {
                scheme,
                issuer,
                key: Quoted::new(self.key_id.as_deref().unwrap_or_default()),
            }),
        }
    }
}

/// One part of a token: base64url without padding around a JSON object.
fn part(name: &str, text: &str) -> Result<Map<String, Value>, Reason> {
    json::object(&decode(name, text)?).map_err(|error| match error {
        JsonError::Repeated(key) => Reason::Repeated {
            key: Quoted::new(&key),
        },
        other => malformed(&format!("{name}: {other}")),
    })
}

/// RFC 7515 section 2: no padding; the engine also refuses unused bits that are not zero.
fn decode(name: &str, text: &str) -> Result<Vec<u8>, Reason> {
    let decoded = URL_SAFE_NO_PAD.decode(text);
    decoded.map_err(|error| malformed(&format!("{name}: {error}")))
}

fn malformed(detail: &str) -> Reason {
    Reason::Malformed {
        detail: detail.to_owned(),
    }
}

/// SECURITY: a list of what is accepted, so that `none`, `HS256` keyed with a public key, and
/// whatever is invented next are refused before any key is looked at.
fn algorithm(header: &Map<String, Value>, issuer: &str) -> Result<Algorithm, Reason> {
    let Some(Value::String(name)) = header.get("alg") else {
        return Err(malformed("header: no algorithm"));
    };
    Algorithm::from_name(name).ok_or_else(|| {
        // Argo CD signs its own tokens with HS256; their owners deserve a better hint.
        if issuer == "argocd" {
            return Reason::ArgoCdToken;
        }
        Reason::Algorithm {
            algorithm: Quoted::new(name),
        }
    })
}

/// RFC 7515 section 4.1.11: extensions in `crit` must be understood, and none is. `b64` (RFC 7797)
/// changes what is signed.
fn check_extensions(header: &Map<String, Value>) -> Result<(), Reason> {
    let known = ["crit", "b64", "enc", "zip"];
    match known.into_iter().find(|name| header.contains_key(*name)) {
        Some(extension) => Err(Reason::Extension { extension }),
        None => Ok(()),
    }
}

fn typ(header: &Map<String, Value>) -> Result<Option<String>, Reason> {
    match header.get("typ") {
        None => Ok(None),
        Some(Value::String(typ)) => Ok(Some(typ.clone())),
        Some(_) => Err(malformed("header: `typ` is not a string")),
    }
}

fn key_id(header: &Map<String, Value>) -> Result<Option<String>, Reason> {
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(id)) if id.len() <= KEY_ID_LIMIT => Ok(Some(id.clone())),
        Some(_) => Err(malformed("header: `kid` is not a short string")),
    }
}

#[cfg(test)]
mod tests;
