//! Takes credentials out of free text, before it is on record for good.
//!
//! No field of an entry is made for a credential. But a caller writes some of the text in it (the
//! justification in `--info`, the name in a refused request), and people paste tokens. What has the
//! form of one is replaced: a JSON Web Token, what follows `Bearer` or `Basic`, a private key in
//! PEM, and any text under a key that names a secret. What has no recognisable form cannot be found
//! here; that is why the types come first.

use serde_json::Value;

/// What stands where a credential was.
const REMOVED: &str = "[credential removed]";

/// Parts of keys whose text is never kept.
const SECRET_KEYS: [&str; 6] = [
    "authorization",
    "cookie",
    "password",
    "private_key",
    "secret",
    "token",
];

/// Cleans every text in `value`, keys included.
pub(crate) fn clean(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(fields) => {
            let dirty: Vec<String> = fields
                .keys()
                .filter(|key| cleaned(key).is_some())
                .cloned()
                .collect();
            for key in dirty {
                if let Some(inner) = fields.remove(&key) {
                    fields.insert(REMOVED.into(), inner);
                }
            }
            for (key, inner) in fields.iter_mut() {
                match inner {
                    Value::String(text) if names_a_secret(key) => REMOVED.clone_into(text),
                    inner => clean(inner),
                }
            }
        }
        Value::String(text) => {
            if let Some(clean) = cleaned(text) {
                *text = clean;
            }
        }
        Value::Bool(_) | Value::Null | Value::Number(_) => {}
    }
}

/// `text` as [`clean`] would leave it.
pub(crate) fn text(text: &str) -> String {
    cleaned(text).unwrap_or_else(|| text.to_owned())
}

/// The most bytes kept of a free text that must be recorded whatever its length.
const MOST: usize = 16 << 10;

/// `text`, cut at a character to what is kept of it.
pub(super) fn cut(mut text: String) -> String {
    let end = (0..=MOST)
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    text.truncate(end);
    text
}

fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    SECRET_KEYS.iter().any(|secret| key.contains(secret))
}

/// `text` without credentials, if there was one in it.
fn cleaned(text: &str) -> Option<String> {
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        return Some(REMOVED.into());
    }
    let mut found = false;
    let mut after_scheme = false;
    let clean: String = text
        .split_inclusive(|c: char| !is_token_character(c))
        .map(|piece| {
            let word = piece.trim_end_matches(|c: char| !is_token_character(c));
            let rest = piece.get(word.len()..).unwrap_or_default();
            let secret = is_jwt(word) || (after_scheme && looks_random(word));
            if !word.is_empty() {
                after_scheme = ["bearer", "basic", "dpop"]
                    .iter()
                    .any(|scheme| word.eq_ignore_ascii_case(scheme));
            }
            found |= secret;
            if secret {
                format!("{REMOVED}{rest}")
            } else {
                piece.to_owned()
            }
        })
        .collect();
    found.then_some(clean)
}

/// The characters of base64 in both alphabets, and the dots between the parts of a JWT.
fn is_token_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.~+/".contains(c)
}

/// Whether `word` can be the secret after `Bearer`, not the next word of a sentence.
fn looks_random(word: &str) -> bool {
    word.len() >= 8
        && (word.contains(|c: char| c.is_ascii_digit())
            || word.chars().skip(1).any(|c| c.is_ascii_uppercase()))
}

/// Whether `word` has the form of a JSON Web Token or of an encrypted one: base64url parts with
/// dots between, the first a JSON object (`{"` is `eyJ`).
fn is_jwt(word: &str) -> bool {
    let parts = word.split('.').count();
    (parts == 3 || parts == 5)
        && word.starts_with("eyJ")
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl";

    fn after(mut value: Value) -> Value {
        clean(&mut value);
        value
    }

    #[test]
    fn a_token_pasted_into_a_sentence_is_taken_out_of_it() {
        let text = format!("see ({JWT}), please");
        assert_eq!(
            after(json!([text])),
            json!(["see ([credential removed]), please"])
        );
    }

    #[test]
    fn a_header_value_is_taken_out_whatever_its_form() {
        assert_eq!(
            after(json!({"note": "used Authorization: bearer s3cr3t-canary/+ and failed"})),
            json!({"note": "used Authorization: bearer [credential removed] and failed"})
        );
    }

    #[test]
    fn a_private_key_is_taken_out_whole() {
        let pem = "x -----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY-----";
        assert_eq!(after(json!(pem)), json!(REMOVED));
    }

    #[test]
    fn text_under_a_key_that_names_a_secret_is_taken_out_at_any_depth() {
        assert_eq!(
            after(json!({"a": [{"Set-Cookie": "canary", "repo_password": "canary", "n": 1}]})),
            json!({"a": [{"Set-Cookie": REMOVED, "repo_password": REMOVED, "n": 1}]})
        );
    }

    #[test]
    fn a_token_used_as_a_key_is_taken_out() {
        assert_eq!(after(json!({JWT: 1})), json!({REMOVED: 1}));
    }

    #[test]
    fn other_text_stays_as_it_is() {
        let value = json!({
            "commit": "3f2c1a93f2c1a93f2c1a93f2c1a93f2c1a93f2c1",
            "why": "the bearer of bad news: basic authentication; eyJ is how tokens begin",
            "operation": "account.AccountService/CreateToken",
            "unicode": "größer ☃ \u{202e}",
        });
        assert_eq!(after(value.clone()), value);
    }
}
