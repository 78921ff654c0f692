//! Where the upstream is, and whose certificates are trusted there.

use std::path::Path;
use std::sync::Arc;

use http::uri::{Authority, Scheme};
use rustls::pki_types::ServerName;
use url::Url;

use super::Plaintext;
use super::pool::Trust;
use crate::outbound::{self, is_loopback, shown};

/// Why the upstream's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The URL is not one of an Argo CD server.
    #[error("`{url}` is not the address of an upstream: {what}")]
    BadUrl {
        /// The URL, without user and password.
        url: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The credential would travel in clear text.
    #[error(
        "`{url}` would send the upstream token in clear text: use https, or allow plaintext for \
         this upstream"
    )]
    PlaintextBeyondLoopback {
        /// The URL.
        url: String,
    },
    /// It is not known whom to trust there.
    #[error(transparent)]
    Trust(#[from] outbound::Error),
}

/// The address of the upstream, taken apart.
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) root: Arc<str>,
}

pub(crate) fn target(url: &Url, plaintext: Plaintext) -> Result<Target, SetupError> {
    let bad = |what| SetupError::BadUrl {
        url: shown(url),
        what,
    };
    let scheme = match url.scheme() {
        "https" => Scheme::HTTPS,
        "http" if plaintext == Plaintext::Anywhere || is_loopback(url) => Scheme::HTTP,
        "http" => return Err(SetupError::PlaintextBeyondLoopback { url: shown(url) }),
        _ => return Err(bad("it begins with neither `https://` nor `http://`")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("it holds a user or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it holds a query or fragment"));
    }
    let authority = Authority::try_from(url.authority()).map_err(|_| bad("it names no host"))?;
    Ok(Target {
        scheme,
        authority,
        root: url.path().trim_end_matches('/').into(),
    })
}

/// Whom to trust for `url`: those in `ca` alone, or the system's.
pub(crate) fn trust(url: &Url, ca: Option<&Path>) -> Result<Trust, SetupError> {
    if url.scheme() != "https" {
        return Ok(None);
    }
    Ok(Some((outbound::client_config(url, ca)?, server_name(url)?)))
}

/// The name that the certificate at `url` must be for.
pub(crate) fn server_name(url: &Url) -> Result<ServerName<'static>, SetupError> {
    let bad = |what| SetupError::BadUrl {
        url: shown(url),
        what,
    };
    let name = url.host_str().ok_or(bad("it names no host"))?;
    let name = name.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(name.to_owned())
        .map_err(|_| bad("no certificate can be issued for its host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(url: &str, plaintext: Plaintext) -> Result<String, String> {
        target(&Url::parse(url).unwrap(), plaintext)
            .map(|t| format!("{}://{}{}", t.scheme, t.authority, t.root))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_credential_goes_in_clear_text_to_this_machine_only() {
        use Plaintext::{Anywhere, LoopbackOnly};
        for url in [
            "http://127.0.0.1:8080",
            "http://[::1]:80",
            "http://localhost",
        ] {
            assert!(checked(url, LoopbackOnly).is_ok(), "{url}");
        }
        for url in [
            "http://10.0.0.1",
            "http://localhost.example",
            "http://argocd",
        ] {
            let refused = checked(url, LoopbackOnly).unwrap_err();
            assert!(refused.contains("clear text"), "{refused}");
            assert!(checked(url, Anywhere).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_path_is_kept_and_what_is_no_address_is_refused() {
        let ok = checked("https://cd.example/argo/", Plaintext::LoopbackOnly);
        assert_eq!(ok.unwrap(), "https://cd.example/argo");
        for (url, what) in [
            ("ftp://cd.example", "neither"),
            ("https://me:secret@cd.example", "user"),
            ("https://cd.example/?a=b", "query"),
        ] {
            let refused = checked(url, Plaintext::Anywhere).unwrap_err();
            assert!(
                refused.contains(what) && !refused.contains("secret"),
                "{refused}"
            );
        }
    }
}
