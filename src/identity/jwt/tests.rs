//! The standards' own examples, and bytes that nobody signed.

use proptest::prelude::*;

use super::*;

fn verified(token: &str, keys: &str) -> Result<Claims, Reason> {
    let keys = KeySet::parse(keys.as_bytes()).unwrap();
    UnverifiedToken::parse(token)?.verify(Type::Jwt, &keys, Scheme::Oidc)
}

/// The payload of the examples in RFC 7515.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvb\
                       S9pc19yb290Ijp0cnVlfQ";

/// RFC 7515 appendix A.3.
#[test]
fn the_es256_example_of_rfc_7515_verifies() {
    let key = r#"{"keys":[{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3\
                     -Kg6NU1Q";
    let token = format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}.{signature}");
    let claims = verified(&token, key).unwrap();
    assert_eq!(claims.issuer(), "joe");
    assert_eq!(
        claims.value("http://example.com/is_root"),
        Some(&Value::Bool(true))
    );
    let forged = token.replacen(PAYLOAD, &PAYLOAD.replacen("am9l", "am9m", 1), 1);
    let forged = forged.replacen(".Dt", ".Du", 1);
    assert!(matches!(
        verified(&forged, key),
        Err(Reason::Signature { .. })
    ));
}

/// RFC 7515 appendix A.1 is an HMAC, and is refused whatever the keys are.
#[test]
fn the_hs256_example_of_rfc_7515_is_refused() {
    let token = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWF\
         OEjXk"
    );
    assert!(matches!(
        UnverifiedToken::parse(&token),
        Err(Reason::Algorithm { .. })
    ));
}

/// RFC 7515 appendix A.5 has no signature.
#[test]
fn the_unsecured_example_of_rfc_7515_is_refused() {
    let token = format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.");
    assert!(matches!(
        UnverifiedToken::parse(&token),
        Err(Reason::Algorithm { .. })
    ));
}

#[test]
fn an_unverified_token_gives_up_issuer_key_and_algorithm_only() {
    let token = crate::identity::testing::unsigned(
        r#"{"alg":"PS384","kid":"k1"}"#,
        r#"{"iss":"https://a.example","sub":"x"}"#,
    );
    let token = format!("{token}.c2ln");
    let unverified = UnverifiedToken::parse(&token).unwrap();
    assert_eq!(unverified.issuer(), "https://a.example");
    assert_eq!(unverified.key_id(), Some("k1"));
    assert_eq!(unverified.algorithm(), Algorithm::Ps384);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[ -~]{0,200}") {
        let _ = UnverifiedToken::parse(&text);
    }

    #[test]
    fn no_parts_make_it_panic(header in any::<Vec<u8>>(), claims in any::<Vec<u8>>(), signature in any::<Vec<u8>>()) {
        let parts = [header, claims, signature].map(|part| URL_SAFE_NO_PAD.encode(part));
        prop_assert!(UnverifiedToken::parse(&parts.join(".")).is_err());
    }

    /// Every changed character of a token makes another token of it, which is refused.
    #[test]
    fn no_character_can_be_changed(place in any::<prop::sample::Index>(), by in "[A-Za-z0-9_-]") {
        use crate::identity::testing::TestKey;

        let key = TestKey::new("k1", jsonwebtoken::Algorithm::EdDSA);
        let token = key.token(&serde_json::json!({"iss": "a", "sub": "b"}));
        let place = place.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(place..=place, &by);
        prop_assume!(changed != token);
        let keys = serde_json::json!({ "keys": [key.jwk()] }).to_string();
        prop_assert!(verified(&token, &keys).is_ok());
        prop_assert!(verified(&changed, &keys).is_err());
    }

    #[test]
    fn no_bytes_as_keys_make_it_panic(bytes in any::<Vec<u8>>()) {
        prop_assert!(KeySet::parse(&bytes).is_err());
    }
}
