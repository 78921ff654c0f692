//! SHA-256 and its text form; the only place that hashes.

use aws_lc_rs::digest::{SHA256, digest};

/// The SHA-256 of `bytes` (32 bytes).
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// `bytes` in lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a `String` cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// The SHA-256 of `bytes` in lower-case hexadecimal (64 characters).
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

/// The canonical bytes of a JSON value (RFC 8785): UTF-8, keys sorted, no white space between
/// tokens, one form for each number and string.
///
/// # Panics
/// Never: only keys that are no text and numbers that are not finite have no canonical form, and a
/// `Value` cannot hold them.
#[must_use]
pub fn canonical_json(value: &serde_json::Value) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "never: see `Panics`")]
    serde_json_canonicalizer::to_vec(value).expect("a JSON value has a canonical form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_sorts_keys_at_every_level() {
        let value: serde_json::Value =
            serde_json::from_str(r#"{"b": 1, "a": {"d": [1, 2], "c": null}}"#).unwrap();
        assert_eq!(
            canonical_json(&value),
            br#"{"a":{"c":null,"d":[1,2]},"b":1}"#
        );
    }

    #[test]
    fn sha256_agrees_with_fips_180_4() {
        assert_eq!(
            sha256_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
