//! The upstream's credential, kept out of logs and answers.

use std::fmt;

use http::HeaderValue;

/// The shortest credential that is taken: a shorter one could be part of innocent text, and
/// whatever contains it is removed from answers.
const SHORTEST: usize = 8;

/// The credential by which Argo CD knows this gate.
#[derive(Clone)]
pub struct UpstreamToken {
    text: String,
    bare: HeaderValue,
    bearer: HeaderValue,
    cookie: HeaderValue,
}

/// Text that cannot be the upstream's credential. It does not hold the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the upstream token must be at least {SHORTEST} letters, digits or `-._~+/=` on one line, as \
     `argocd account generate-token` prints it"
)]
pub struct BadToken;

impl UpstreamToken {
    /// Checks `text` (white space around it is dropped) and takes it.
    ///
    /// # Errors
    /// [`BadToken`] when it is too short, or holds what could end a header or a cookie.
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let text = text.trim();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if text.len() < SHORTEST || !text.bytes().all(allowed) {
            return Err(BadToken);
        }
        let secret = |value: String| {
            let mut value = HeaderValue::try_from(value).map_err(|_| BadToken)?;
            value.set_sensitive(true);
            Ok(value)
        };
        Ok(Self {
            bare: secret(text.to_owned())?,
            bearer: secret(format!("Bearer {text}"))?,
            cookie: secret(format!("argocd.token={text}"))?,
            text: text.to_owned(),
        })
    }

    /// The token itself, for the gate's own questions.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// As the value of the gRPC metadata key `token`.
    pub(super) fn bare(&self) -> HeaderValue {
        self.bare.clone()
    }

    /// As the value of `Authorization`.
    pub(super) fn bearer(&self) -> HeaderValue {
        self.bearer.clone()
    }

    /// As the value of `Cookie`.
    pub(super) fn cookie(&self) -> HeaderValue {
        self.cookie.clone()
    }

    /// Whether `bytes` hold the credential.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        bytes
            .windows(self.text.len())
            .any(|window| window == self.text.as_bytes())
    }
}

/// By hand: never the text.
impl fmt::Debug for UpstreamToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpstreamToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_header_or_a_cookie_is_no_token() {
        for text in [
            "",
            "short",
            "two words",
            "a;b;c;d;e",
            "line\nbreak",
            "kéykéykéy",
        ] {
            assert_eq!(
                UpstreamToken::parse(text).unwrap_err(),
                BadToken,
                "{text:?}"
            );
        }
        let token = UpstreamToken::parse("eyJh.eyJz.c2ln\n").unwrap();
        assert!(!format!("{token:?}").contains("eyJ"));
        assert!(token.is_in(b"argocd.token=eyJh.eyJz.c2ln; Path=/"));
        assert!(!token.is_in(b"eyJh.eyJz"));
    }
}
