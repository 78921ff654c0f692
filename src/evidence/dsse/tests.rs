//! The vector of the specification, envelopes that securesystemslib made, and what was made to harm.

use std::path::Path;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Somebody who signs with Ed25519.
pub(crate) struct Hand {
    pair: Ed25519KeyPair,
}

impl Hand {
    /// Another one for each `seed`.
    pub(crate) fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        Self { pair }
    }

    /// Their public key.
    pub(crate) fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.pair.public_key().as_der().unwrap();
        let text = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    pub(crate) fn signer(&self, name: &str) -> Signer {
        Signer {
            name: SignerName::parse(name).unwrap(),
            keyid: None,
            key: PublicKey::from_pem(&self.pem()).unwrap(),
        }
    }

    fn signature(&self, payload: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(&pae(PAYLOAD_TYPE, payload)))
    }

    /// The envelope of `payload` that they sign.
    pub(crate) fn sign(&self, payload: &[u8]) -> Value {
        json!({
            "payload": STANDARD.encode(payload), "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": "k", "sig": self.signature(payload)}],
        })
    }
}

/// A file of `tests/fixtures/dsse`.
pub(crate) fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dsse");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn signer(name: &str, pem: &str) -> Signer {
    Signer {
        name: SignerName::parse(name).unwrap(),
        keyid: None,
        key: PublicKey::from_pem(pem).unwrap(),
    }
}

fn parsed(envelope: &Value) -> Result<Envelope, Invalid> {
    Envelope::parse(envelope.to_string().as_bytes())
}

fn names(verified: &Verified) -> Vec<&str> {
    verified.signed_by.iter().map(SignerName::as_str).collect()
}

#[test]
fn the_vector_of_the_specification_holds() {
    let signed = pae("http://example.com/HelloWorld", b"hello world");
    let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
    assert_eq!(signed, expected);
    // Lengths are of bytes, and an empty payload is one.
    assert_eq!(
        pae("\u{e9}", b"\xff\n"),
        b"DSSEv1 2 \xc3\xa9 2 \xff\n".to_vec()
    );
    assert_eq!(pae("", b""), b"DSSEv1 0  0 ".to_vec());
    let key = PublicKey::from_pem(&fixture("specification.pem")).unwrap();
    let signature = STANDARD
        .decode(fixture("specification.sig").trim())
        .unwrap();
    assert!(key.verifies(&signed, &signature));
    assert!(!key.verifies(b"hello world", &signature));
}

#[test]
fn envelopes_of_securesystemslib_are_verified_by_their_own_key_alone() {
    let all = ["ecdsa", "ed25519", "rsa"];
    for made_by in all {
        let envelope = Envelope::parse(fixture(&format!("{made_by}.json")).as_bytes()).unwrap();
        for key in all {
            let signers: Signers = [signer(key, &fixture(&format!("{key}.pem")))]
                .into_iter()
                .collect();
            let verified = signers.verify(envelope.clone());
            assert_eq!(verified.is_ok(), key == made_by, "{made_by} by {key}");
        }
        let everybody: Signers = all
            .map(|key| signer(key, &fixture(&format!("{key}.pem"))))
            .into_iter()
            .collect();
        assert_eq!(names(&everybody.verify(envelope).unwrap()), [made_by]);
    }
}

#[test]
fn weak_keys_and_those_of_other_kinds_are_no_keys_of_signers() {
    let refused = fixture("refused.pem");
    let end = "-----END PUBLIC KEY-----\n";
    let keys: Vec<&str> = refused.split_inclusive(end).collect();
    assert_eq!(keys.len(), 5);
    for key in &keys {
        assert_eq!(PublicKey::from_pem(key), Err(BadKey::Kind), "{key}");
    }
    assert_eq!(
        PublicKey::from_pem(&refused),
        Err(BadKey::Several { count: 5 })
    );
    let good = fixture("ed25519.pem");
    for (pem, error) in [
        ("", BadKey::NotPem),
        ("ed25519", BadKey::NotPem),
        (&good.replace("PUBLIC KEY", "CERTIFICATE"), BadKey::NotPem),
        (&good.replace("PUBLIC KEY", "PRIVATE KEY"), BadKey::Private),
        (&good.replace("END", "EMD"), BadKey::NotPem),
        (&good.replace("MCow", "MCox"), BadKey::Kind),
    ] {
        assert_eq!(PublicKey::from_pem(pem), Err(error), "{pem}");
    }
}

#[test]
fn what_is_signed_is_the_type_and_every_byte_of_the_payload() {
    let (ci, stranger) = (Hand::new(1), Hand::new(2));
    let signers: Signers = [ci.signer("ci")].into_iter().collect();
    let of = |envelope: &Value| signers.verify(parsed(envelope).unwrap());
    let good = ci.sign(b"{\"a\": 1}");
    assert_eq!(of(&good).unwrap().payload, b"{\"a\": 1}");
    let mut edited = good.clone();
    edited["payload"] = STANDARD.encode(b"{\"a\":1}").into();
    let unverified = Unverified {
        signatures: 1,
        signers: 1,
    };
    assert_eq!(of(&edited), Err(unverified));
    assert_eq!(of(&stranger.sign(b"{}")), Err(unverified));
    // Signed as something else, or without the encoding.
    for message in [pae("text/plain", b"{}"), b"{}".to_vec()] {
        let mut other = ci.sign(b"{}");
        other["signatures"][0]["sig"] = STANDARD.encode(ci.pair.sign(&message)).into();
        assert_eq!(of(&other), Err(unverified));
    }
    for sig in ["", "AAAA"] {
        let mut empty = ci.sign(b"{}");
        empty["signatures"][0]["sig"] = sig.into();
        assert_eq!(of(&empty), Err(unverified), "{sig}");
    }
    assert!(Signers::default().verify(parsed(&good).unwrap()).is_err());
}

#[test]
fn a_signer_counts_once_and_a_keyid_is_a_hint_alone() {
    let (ci, qa, stranger) = (Hand::new(1), Hand::new(2), Hand::new(3));
    let hinted = Signer {
        keyid: Some("of-qa".to_owned()),
        ..qa.signer("qa")
    };
    let signers: Signers = [ci.signer("ci"), hinted].into_iter().collect();
    let by = |hands: &[(&Hand, Option<&str>)]| {
        let mut envelope = ci.sign(b"{}");
        envelope["signatures"] = hands
            .iter()
            .map(|(hand, keyid)| json!({"keyid": keyid, "sig": hand.signature(b"{}")}))
            .collect();
        signers.verify(parsed(&envelope).unwrap())
    };
    let both = by(&[
        (&qa, None),
        (&stranger, Some("of-qa")),
        (&ci, None),
        (&ci, None),
    ])
    .unwrap();
    assert_eq!(names(&both), ["ci", "qa"]);
    // The name of another's key makes nobody that other.
    assert_eq!(names(&by(&[(&ci, Some("of-qa"))]).unwrap()), ["ci"]);
    assert_eq!(
        names(&by(&[(&ci, None), (&ci, Some("of-qa"))]).unwrap()),
        ["ci"]
    );
    assert!(by(&[(&stranger, Some("of-qa"))]).is_err());
}

#[test]
fn both_alphabets_of_base64_are_read_with_padding_and_without() {
    let ci = Hand::new(1);
    let signers: Signers = [ci.signer("ci")].into_iter().collect();
    // `?` and `>` make the characters in which the alphabets differ.
    let payload = br#"{"a": "???>>>~~~"}"#;
    let signature = ci.pair.sign(&pae(PAYLOAD_TYPE, payload));
    for engine in [STANDARD, URL_SAFE, URL_SAFE_NO_PAD] {
        let envelope = json!({
            "payload": engine.encode(payload), "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": engine.encode(signature.as_ref())}],
            "extension": {"is": "ignored"},
        });
        let verified = signers.verify(parsed(&envelope).unwrap()).unwrap();
        assert_eq!(verified.payload, payload);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn hostile_and_broken_envelopes_are_refused_with_their_place() {
    let ci = Hand::new(1);
    let good = ci.sign(b"{}").to_string();
    let with = |member: &str, value: Value| {
        let mut envelope = ci.sign(b"{}");
        envelope[member] = value;
        envelope.to_string()
    };
    let signature = json!({"sig": "AAAA"});
    let many = |count: usize| with("signatures", vec![signature.clone(); count].into());
    for (text, told) in [
        (String::new(), "`attestation`: not JSON"),
        ("[]".to_owned(), "`attestation`: not a JSON object"),
        (
            good.strip_suffix('}').unwrap().to_owned(),
            "`attestation`: not JSON: EOF",
        ),
        (format!("{good}{good}"), "trailing characters"),
        (
            good.replace("{\"keyid", "{\"sig\":\"\",\"keyid"),
            "`attestation`: the member `sig` is given twice",
        ),
        (
            good.replacen('{', "{\"payload\":\"\",", 1),
            "the member `payload` is given twice",
        ),
        (
            good.replacen('{', "{\"x\":1,\"\\u0078\":1,", 1),
            "the member `x` is given twice",
        ),
        (
            format!("{{\"a\":{}", "[".repeat(100_000)),
            "recursion limit",
        ),
        ("{}".to_owned(), "missing field `payload`"),
        (with("signatures", json!({})), "`attestation.signatures`: "),
        (
            with("payload", json!(1)),
            "`attestation.payload`: invalid type",
        ),
        (
            with("payload", json!("e3=0")),
            "`attestation.payload`: it is no base64",
        ),
        (
            with("payload", json!("_+AA")),
            "`attestation.payload`: it is no base64",
        ),
        (
            with("payload", json!("e31")),
            "`attestation.payload`: it is no base64",
        ),
        (
            with("signatures", json!([{"sig": "\u{1b}"}])),
            "`attestation.signatures[0].sig`: it is no base64",
        ),
        (
            with("payloadType", json!("application/vnd.in-toto+json ")),
            "`attestation.payloadType`: it is another type",
        ),
        (many(0), "there are 0 signatures; send 1 to 16"),
        (many(MAX_SIGNATURES + 1), "there are 17 signatures"),
        (many(50_000), "there are 50000 signatures"),
        (
            with("payload", "A".repeat(MAX_ENVELOPE_BYTES).into()),
            "bytes is too large; split the suite",
        ),
    ] {
        let error = Envelope::parse(text.as_bytes()).unwrap_err().to_string();
        let beginning: String = text.chars().take(80).collect();
        assert!(error.contains(told), "{beginning}: {error}");
        assert!(
            error.len() < 600 && !error.contains(char::is_control),
            "{error}"
        );
    }
    assert!(Envelope::parse(many(MAX_SIGNATURES).as_bytes()).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
        let _ = Envelope::parse(&bytes);
    }

    /// An envelope with a few of its bytes changed, taken out or repeated is refused, or holds what was
    /// signed.
    #[test]
    fn whatever_is_done_to_an_envelope_what_is_verified_was_signed(
        cuts in prop::collection::vec((0..700_usize, 0..40_usize, any::<Option<u8>>()), 1..4),
        repeats in any::<bool>(),
    ) {
        let ci = Hand::new(1);
        let payload = b"{\"result\": \"FAILED\"}".repeat(10);
        let mut text = ci.sign(&payload).to_string().into_bytes();
        for (at, length, byte) in cuts {
            let from = at.min(text.len());
            let to = (from + length).min(text.len());
            let part = text[from..to].to_vec();
            let new = match byte {
                Some(byte) => vec![byte],
                None if repeats => part.repeat(2),
                None => Vec::new(),
            };
            text.splice(from..to, new);
        }
        let signers: Signers = [ci.signer("ci")].into_iter().collect();
        if let Some(verified) = Envelope::parse(&text).ok().and_then(|it| signers.verify(it).ok()) {
            prop_assert_eq!(verified.payload, payload);
        }
    }
}
