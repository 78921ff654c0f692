//! DSSE envelopes: taken apart, and verified before anybody reads what they hold.
//!
//! In: the text of an envelope (Dead Simple Signing Envelope, `envelope.md` 1.0.2) and the [`Signers`]
//! of the configuration. Out: first an [`Envelope`], of which nobody knows who signed it; with the
//! signers' word, [`Verified`] bytes and the names of those who signed exactly these (over [`pae`],
//! `protocol.md`). They are different types, so that what was not verified is not taken for what was.
//! Refused: envelopes over a limit, another payload type, a key of the JSON given twice, base64 of
//! neither alphabet. Never: a key that the envelope itself names; a `keyid` says only which key to try
//! first.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::{self, Alphabet};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::NO_PAD};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::run::{Invalid, MAX_BODY_BYTES};
use crate::json::{self, JsonError};
use crate::names::SignerName;

mod key;

pub use key::{BadKey, PublicKey};

/// `payloadType` of an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Bytes of an envelope, at most: it comes in one request with what else ends a run.
pub const MAX_ENVELOPE_BYTES: usize = MAX_BODY_BYTES - 64 * 1024;
/// Signatures of an envelope, at most. Each is tried with each key.
pub const MAX_SIGNATURES: usize = 16;

/// Who may sign, and with which key.
#[derive(Clone, Debug)]
pub struct Signer {
    /// What requirements call them.
    pub name: SignerName,
    /// What they write as `keyid` of their signatures, if that is known.
    pub keyid: Option<String>,
    /// Their key.
    pub key: PublicKey,
}

/// Everybody whose signatures mean something. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Signers(Arc<[Signer]>);

/// An envelope whose signatures nobody has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    keyid: Option<String>,
    bytes: Vec<u8>,
}

/// What somebody who is configured has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The bytes.
    pub payload: Vec<u8>,
    /// Whose signatures they carry, each once, sorted; never empty.
    pub signed_by: Vec<SignerName>,
}

/// No signature of the envelope is one of a configured signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of its {signatures} signatures is one of the {signers} configured signers")]
pub struct Unverified {
    /// How many signatures there are.
    pub signatures: usize,
    /// How many signers are configured.
    pub signers: usize,
}

impl FromIterator<Signer> for Signers {
    fn from_iter<I: IntoIterator<Item = Signer>>(signers: I) -> Self {
        Self(signers.into_iter().collect())
    }
}

impl Signers {
    /// Finds out who signed `envelope`. Signatures of others are passed over, and one signer counts once,
    /// however often they signed.
    ///
    /// # Errors
    /// [`Unverified`] if nobody of these did.
    pub fn verify(&self, envelope: Envelope) -> Result<Verified, Unverified> {
        let message = pae(PAYLOAD_TYPE, &envelope.payload);
        let mut signed_by = BTreeSet::new();
        for signature in &envelope.signatures {
            let mut candidates: Vec<&Signer> = self
                .0
                .iter()
                .filter(|signer| !signed_by.contains(&signer.name))
                .collect();
            candidates.sort_by_key(|it| it.keyid.is_none() || it.keyid != signature.keyid);
            let signer = candidates
                .into_iter()
                .find(|signer| signer.key.verifies(&message, &signature.bytes));
            signed_by.extend(signer.map(|signer| signer.name.clone()));
        }
        if signed_by.is_empty() {
            return Err(Unverified {
                signatures: envelope.signatures.len(),
                signers: self.0.len(),
            });
        }
        Ok(Verified {
            payload: envelope.payload,
            signed_by: signed_by.into_iter().collect(),
        })
    }
}

/// The pre-authentication encoding of DSSE: the bytes that are signed (`protocol.md`).
#[must_use]
pub fn pae(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// The JSON of an envelope. Members beside these are ignored, as the standard demands.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    payload: String,
    payload_type: String,
    signatures: Vec<WrittenSignature>,
}

#[derive(Deserialize)]
struct WrittenSignature {
    sig: String,
    #[serde(default)]
    keyid: Option<String>,
}

impl Envelope {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// [`Invalid`] with the place, if it is too large or not an envelope around an in-toto statement.
    pub fn parse(text: &[u8]) -> Result<Self, Invalid> {
        let size = text.len();
        if size > MAX_ENVELOPE_BYTES {
            return Err(invalid(
                "attestation",
                format!("an envelope of {size} bytes is too large"),
                &format!("split the suite; an envelope has at most {MAX_ENVELOPE_BYTES} bytes"),
            ));
        }
        let written: Written = read(text, "attestation", "send the DSSE envelope as it was made")?;
        if written.payload_type != PAYLOAD_TYPE {
            return Err(invalid(
                "attestation.payloadType",
                "it is another type of payload".to_owned(),
                &format!("sign an in-toto statement, as `{PAYLOAD_TYPE}`"),
            ));
        }
        let count = written.signatures.len();
        if !(1..=MAX_SIGNATURES).contains(&count) {
            return Err(invalid(
                "attestation.signatures",
                format!("there are {count} signatures"),
                &format!("send 1 to {MAX_SIGNATURES} of them"),
            ));
        }
        let mut signatures = Vec::with_capacity(count);
        for (index, signature) in written.signatures.into_iter().enumerate() {
            signatures.push(Signature {
                bytes: decode(
                    &format!("attestation.signatures[{index}].sig"),
                    &signature.sig,
                )?,
                // To the standard, an empty member is an absent one.
                keyid: signature.keyid.filter(|keyid| !keyid.is_empty()),
            });
        }
        Ok(Self {
            payload: decode("attestation.payload", &written.payload)?,
            signatures,
        })
    }

    /// What the envelope holds, whoever signed it: for the side that sends it.
    #[must_use]
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }
}

/// Reads the JSON object `text`, called `name`.
///
/// # Errors
/// [`Invalid`] with the place and `mend`, also for a key that is given twice.
pub(super) fn read<T: DeserializeOwned>(text: &[u8], name: &str, mend: &str) -> Result<T, Invalid> {
    let object = json::object(text).map_err(|error| {
        let problem = match error {
            JsonError::Repeated(key) => format!("the member `{}` is given twice", printable(&key)),
            JsonError::Syntax(_) | JsonError::NotAnObject => printable(&error.to_string()),
        };
        invalid(name, problem, mend)
    })?;
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => name.to_owned(),
            path => format!("{name}.{}", printable(path)),
        };
        invalid(&path, printable(&error.inner().to_string()), mend)
    })
}

/// RFC 4648, in the standard alphabet or the one for URLs, of which the text says nothing but by its
/// characters; padding is of no meaning here.
fn decode(path: &str, text: &str) -> Result<Vec<u8>, Invalid> {
    let engine = if text.contains(['-', '_']) {
        engine(&alphabet::URL_SAFE)
    } else {
        engine(&alphabet::STANDARD)
    };
    engine.decode(text).map_err(|error| {
        let mend = "encode it as RFC 4648 has it, in the standard alphabet or the one for URLs";
        invalid(path, format!("it is no base64: {error}"), mend)
    })
}

fn engine(alphabet: &Alphabet) -> GeneralPurpose {
    let config: GeneralPurposeConfig = NO_PAD;
    let indifferent = DecodePaddingMode::Indifferent;
    GeneralPurpose::new(alphabet, config.with_decode_padding_mode(indifferent))
}

pub(super) fn invalid(path: &str, problem: String, mend: &str) -> Invalid {
    Invalid {
        path: path.to_owned(),
        problem,
        mend: mend.to_owned(),
    }
}

/// `text` without control characters and cut, for a message.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
pub(crate) mod tests;
