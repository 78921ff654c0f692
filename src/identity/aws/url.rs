//! The address of an STS endpoint: scheme, host and perhaps a port.

use std::fmt;

use url::Url;

use crate::identity::config::{FetchUrl, PlainHttp};

/// The address of an STS endpoint: `https`, or `http` on loopback, with the path `/` and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StsUrl(FetchUrl);

/// Text that is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the address of an STS endpoint: write `https://HOST`, in lower case, as in \
     `https://sts.eu-central-1.amazonaws.com`"
)]
pub struct BadStsUrl(String);

impl StsUrl {
    /// The address that `text` is, with or without the final slash.
    ///
    /// # Errors
    /// [`BadStsUrl`] for everything else, an address in a form that is not its plain one included (a
    /// port that the scheme has anyway, upper case): proofs are compared by their bytes.
    pub fn parse(text: &str) -> Result<Self, BadStsUrl> {
        let bad = || BadStsUrl(text.to_owned());
        let url = FetchUrl::parse(text, PlainHttp::Loopback).map_err(|_| bad())?;
        let plain = url.as_url().as_str();
        let is_bare = url.as_url().path() == "/" && url.as_url().query().is_none();
        let is_plain = plain.trim_end_matches('/') == text.strip_suffix('/').unwrap_or(text);
        if is_bare && is_plain {
            Ok(Self(url))
        } else {
            Err(bad())
        }
    }

    /// The one form of it that a proof may have, with the final slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_url().as_str()
    }

    /// It, as an address.
    #[must_use]
    pub fn as_url(&self) -> &Url {
        self.0.as_url()
    }

    /// What the header `host` of a request to it holds.
    #[must_use]
    pub fn authority(&self) -> String {
        self.0.authority()
    }
}

/// The endpoint that answers for all regions of the partition `aws`.
impl Default for StsUrl {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a constant, used by a test")]
        Self::parse(super::ISSUER).expect("an address")
    }
}

impl fmt::Display for StsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_bare_address_in_its_plain_form() {
        for (text, authority) in [
            ("https://sts.amazonaws.com", "sts.amazonaws.com"),
            (
                "https://sts.cn-north-1.amazonaws.com.cn/",
                "sts.cn-north-1.amazonaws.com.cn",
            ),
            ("http://127.0.0.1:5000", "127.0.0.1:5000"),
            ("https://sts.example:8443", "sts.example:8443"),
        ] {
            let url = StsUrl::parse(text).unwrap();
            assert_eq!(
                url.as_str().trim_end_matches('/'),
                text.trim_end_matches('/')
            );
            assert!(url.as_str().ends_with('/'));
            assert_eq!(url.authority(), authority);
        }
        assert_eq!(StsUrl::default().as_str(), "https://sts.amazonaws.com/");
    }

    #[test]
    fn everything_else_is_not() {
        for text in [
            "",
            "sts.amazonaws.com",
            "http://sts.amazonaws.com",
            "HTTPS://sts.amazonaws.com",
            "https://STS.amazonaws.com",
            "https://sts.amazonaws.com:443",
            "https://sts.amazonaws.com//",
            "https://sts.amazonaws.com/x",
            "https://sts.amazonaws.com/..",
            "https://sts.amazonaws.com?",
            "https://sts.amazonaws.com/?Action=AssumeRole",
            "https://sts.amazonaws.com#",
            "https://a@sts.amazonaws.com",
            "https://sts.amazonaws.com\\",
            " https://sts.amazonaws.com",
            "https://sts.amazonaws.com\n",
            "ftp://sts.amazonaws.com",
        ] {
            assert_eq!(StsUrl::parse(text), Err(BadStsUrl(text.into())), "{text}");
        }
    }
}
