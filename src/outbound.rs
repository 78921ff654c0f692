//! The ways out: TLS as a client, for everything that the gate and its commands ask.
//!
//! In: an address, and perhaps a file with the authorities to trust there. Out: what a client needs.
//! Refused: a file without a certificate. Never: the system's authorities beside those of a file, or
//! a server that nobody vouches for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use url::{Host, Url};

/// Why it is not known whom to trust.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate in the file is not one.
    #[error("`{}` holds a certificate that cannot be used", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The file holds no certificate.
    #[error("`{}` holds no certificate: it should be PEM with the certificates to trust", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The key is not that of our certificate.
    #[error("the key in `{}` does not fit the first certificate of the chain beside it", path.display())]
    OwnMismatch {
        /// The file of the key.
        path: PathBuf,
        /// What the TLS library says.
        #[source]
        source: rustls::Error,
    },
    /// Our own certificate or key is not there or not PEM.
    #[error("the certificate or key in `{}` cannot be read: it should be PEM, a key not encrypted", path.display())]
    ReadOwn {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The file is not there or not PEM.
    #[error("the certificates in `{}` cannot be read", path.display())]
    ReadCertificates {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The system's certificates cannot be read.
    #[error("the certificates that this system trusts cannot be read: name a file of them")]
    SystemCertificates(#[source] std::io::Error),
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// TLS as a client of `url` that trusts the authorities in `ca` alone, or the system's.
///
/// # Errors
/// [`Error`] when the certificates cannot be read.
pub fn client_config(url: &Url, ca: Option<&Path>) -> Result<ClientConfig, Error> {
    Ok(trusting(url, ca)?.with_no_client_auth())
}

/// As [`client_config`], with a certificate of our own: the PEM files of its chain, leaf first, and of
/// its key.
///
/// # Errors
/// [`Error`] when a file cannot be read, or the key is not that of the certificate.
pub fn client_config_with(
    url: &Url,
    ca: Option<&Path>,
    (certificate, key): (&Path, &Path),
) -> Result<ClientConfig, Error> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::ReadOwn { path, source }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(unreadable(certificate))?
        .collect();
    let chain = chain.map_err(unreadable(certificate))?;
    if chain.is_empty() {
        return Err(Error::NoCertificate {
            path: certificate.into(),
        });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    trusting(url, ca)?
        .with_client_auth_cert(chain, private)
        .map_err(|source| Error::OwnMismatch {
            path: key.into(),
            source,
        })
}

fn trusting(
    url: &Url,
    ca: Option<&Path>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?;
    Ok(match ca {
        Some(path) => builder.with_root_certificates(roots(path)?),
        // Without TLS nobody needs to be trusted, and a small machine may have no authorities.
        None if url.scheme() == "http" => builder.with_root_certificates(RootCertStore::empty()),
        None => builder
            .with_native_roots()
            .map_err(Error::SystemCertificates)?,
    })
}

/// The authorities in the PEM file at `path`.
fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let unreadable = |source| Error::ReadCertificates {
        path: path.into(),
        source,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let certificate = certificate.map_err(unreadable)?;
        roots
            .add(certificate)
            .map_err(|source| Error::BadCertificate {
                path: path.into(),
                source,
            })?;
    }
    if roots.is_empty() {
        return Err(Error::NoCertificate { path: path.into() });
    }
    Ok(roots)
}

/// Connections for HTTP/1, with TLS as in `tls` where the address says `https`.
pub(crate) fn http1(mut tls: ClientConfig) -> HttpsConnector<HttpConnector> {
    // The connector offers its own protocols and refuses a configuration that has some.
    tls.alpn_protocols.clear();
    HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .build()
}

/// Whether the host of `url` is this machine, so that clear text to it stays here.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// `url` as it may be shown: without user and password.
pub(crate) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // Both fail only for a URL that cannot have them.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_usable_certificate_trusts_nobody_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let url = Url::parse("https://gate.example").unwrap();
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let error = client_config(&url, Some(&path)).unwrap_err().to_string();
            assert!(error.contains("ca.pem"), "{error}");
            error
        };
        assert!(refused("").contains("holds no certificate"));
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(refused(garbage).contains("cannot be used"));
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(refused(cut).contains("cannot be read"));
        let missing = folder.path().join("absent.pem");
        let error = client_config(&url, Some(&missing)).unwrap_err().to_string();
        assert!(error.contains("absent.pem"), "{error}");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (url, is) in [
            ("http://127.0.0.1:8080", true),
            ("http://127.1.2.3", true),
            ("http://[::1]:80", true),
            ("http://localhost", true),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
            ("http://[::2]", false),
            ("data:localhost", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), is, "{url}");
        }
    }
}
