//! The certificate that the listener shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why a certificate and key cannot be served. Each names the file and says what it should hold.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key is of no known kind, or not that of the certificate.
    #[error(
        "the key in `{}` does not fit the first certificate in `{}`: give the key that the \
         certificate was issued for, and put the server's own certificate first",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The file of certificates.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What the TLS library says.
        #[source]
        source: rustls::Error,
    },
    /// The file of certificates holds none.
    #[error(
        "`{}` holds no certificate: it should be PEM with the server's certificate first and the \
         intermediate ones after it", path.display()
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file of certificates is not there or not PEM.
    #[error("the certificates in `{}` cannot be read", path.display())]
    ReadCertificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The file of the key is not there, not PEM, or holds no unencrypted key.
    #[error(
        "the private key in `{}` cannot be read: it should be PEM, PKCS#8, PKCS#1 or SEC1, and \
         not encrypted", path.display()
    )]
    ReadKey {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
}

/// What the listener needs to show the certificates in `certificate` (PEM, the server's own first)
/// with the key in `key` (PEM): TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1.
///
/// # Errors
/// [`Error`], naming the file at fault.
pub fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
    let unreadable = |source| Error::ReadCertificate {
        path: certificate.into(),
        source,
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if chain.is_empty() {
        return Err(Error::NoCertificate {
            path: certificate.into(),
        });
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|source| Error::ReadKey {
        path: key.into(),
        source,
    })?;
    let mut config = config(chain, secret).map_err(|source| Error::Mismatch {
        certificate: certificate.into(),
        key: key.into(),
        source,
    })?;
    // grpc-go insists on `h2`; browsers and Python take either.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(certificate: &str, key: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (c, k) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        std::fs::write(&c, certificate).unwrap();
        std::fs::write(&k, key).unwrap();
        (folder, c, k)
    }

    #[test]
    fn each_error_names_the_file_at_fault() {
        let own = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let (pem, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        let foreign = other.signing_key.serialize_pem();
        for (certificate, key, named, says) in [
            ("", key.as_str(), "tls.crt", "holds no certificate"),
            (&pem, "", "tls.key", "not encrypted"),
            (&pem, &foreign, "tls.key", "does not fit"),
        ] {
            let (_folder, c, k) = files(certificate, key);
            let error = load(&c, &k).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains(says), "{error}");
        }
        let (_folder, c, k) = files(&pem, &key);
        let missing = c.with_file_name("absent.crt");
        let error = load(&missing, &k).unwrap_err().to_string();
        assert!(error.contains("absent.crt"), "{error}");
        assert!(load(&c, &k).is_ok());
    }
}
