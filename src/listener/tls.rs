//! The certificate that a listener shows, and whose client certificates it wants.
//!
//! In: PEM files. Out: [`Tls`], from which each connection takes what is in force. Files are read
//! again when they change, since certificates are renewed (cert-manager, kubelet); a half-written or
//! wrong new one leaves the old in force and says so. Never: a listener that goes on without TLS, or
//! without asking for the client certificate that it was told to ask for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::digest::sha256;

/// How often the files are looked at. A renewed certificate comes days before the old one ends.
const LOOK: Duration = Duration::from_secs(10);

/// The files of a listener, all PEM.
#[derive(Clone, Debug)]
pub struct Files {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The key of that certificate.
    pub key: PathBuf,
    /// The authorities one of which must have issued the client's certificate; absent: none is asked
    /// for.
    pub client_ca: Option<PathBuf>,
}

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
    /// The authorities of clients are none.
    #[error("`{}` holds no certificate of an authority that clients could have", path.display())]
    NoClientAuthority {
        /// The file.
        path: PathBuf,
        /// What the TLS library says.
        #[source]
        source: VerifierBuilderError,
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

/// What a listener shows now. Clones are one.
#[derive(Clone)]
pub struct Tls(Arc<Shown>);

struct Shown {
    files: Files,
    config: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads `files`: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1.
    ///
    /// # Errors
    /// [`Error`], naming the file at fault.
    pub fn load(files: Files) -> Result<Self, Error> {
        let config = ArcSwap::from_pointee(config(&files)?);
        Ok(Self(Arc::new(Shown { files, config })))
    }

    /// What a connection that begins now is to be shown.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.0.config.load_full()
    }

    /// Reads the files again whenever they have changed, until `stop`.
    pub async fn follow(self, stop: CancellationToken) {
        let mut known = self.0.files.fingerprint().await;
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK))
            .await
            .is_some()
        {
            let now = self.0.files.fingerprint().await;
            if now != known {
                self.renew();
                known = now;
            }
        }
    }

    fn renew(&self) {
        let certificate = self.0.files.certificate.display();
        match config(&self.0.files) {
            Ok(config) => {
                self.0.config.store(Arc::new(config));
                tracing::info!(%certificate, "the certificate was read again");
            }
            Err(error) => {
                let error = crate::telemetry::chain(&error);
                tracing::error!(%certificate, error, "the old certificate stays");
            }
        }
    }
}

impl Files {
    /// What tells one state of the files from another.
    async fn fingerprint(&self) -> [u8; 32] {
        let mut all = Vec::new();
        for path in [&self.certificate, &self.key]
            .into_iter()
            .chain(&self.client_ca)
        {
            // A file that is away for a moment is one more state.
            let bytes = tokio::fs::read(path).await.unwrap_or_default();
            all.extend_from_slice(&sha256(&bytes));
        }
        sha256(&all)
    }
}

fn config(files: &Files) -> Result<ServerConfig, Error> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| Error::ReadKey {
        path: files.key.clone(),
        source,
    })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mismatch = |source| Error::Mismatch {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(mismatch)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(path)?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            let verifier = verifier.map_err(|source| Error::NoClientAuthority {
                path: path.clone(),
                source,
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(mismatch)?;
    // grpc-go insists on `h2`; browsers and Python take either.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unreadable = |source| Error::ReadCertificate {
        path: path.into(),
        source,
    };
    let all = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if all.is_empty() {
        return Err(Error::NoCertificate { path: path.into() });
    }
    Ok(all)
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

    fn files_of(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Files {
        Files {
            certificate: certificate.into(),
            key: key.into(),
            client_ca: client_ca.map(Path::to_owned),
        }
    }

    fn refusal(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> String {
        let refused = Tls::load(files_of(certificate, key, client_ca));
        refused.err().unwrap().to_string()
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
            let error = refusal(&c, &k, None);
            assert!(error.contains(named) && error.contains(says), "{error}");
        }
        let (_folder, c, k) = files(&pem, &key);
        let missing = c.with_file_name("absent.crt");
        let error = refusal(&missing, &k, None);
        assert!(error.contains("absent.crt"), "{error}");
        let error = refusal(&c, &k, Some(&missing));
        assert!(error.contains("absent.crt"), "{error}");
        assert!(Tls::load(files_of(&c, &k, Some(&c))).is_ok());
    }

    #[test]
    fn a_renewed_pair_is_shown_and_a_wrong_one_is_not() {
        let pair = || {
            let own = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
            (own.cert.pem(), own.signing_key.serialize_pem())
        };
        let ((old, old_key), (new, new_key)) = (pair(), pair());
        let (_folder, c, k) = files(&old, &old_key);
        let tls = Tls::load(files_of(&c, &k, None)).unwrap();
        let before = tls.current();
        std::fs::write(&c, &new).unwrap();
        tls.renew();
        assert!(Arc::ptr_eq(&before, &tls.current()), "half of a pair");
        std::fs::write(&k, &new_key).unwrap();
        tls.renew();
        assert!(!Arc::ptr_eq(&before, &tls.current()));
    }
}
