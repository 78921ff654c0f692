//! What files say about an endpoint: its credential, our certificate there, and whom to trust.
//!
//! In: the configuration of an endpoint. Out: [`Material`], whole and ready, swapped when a file has
//! changed (a mounted Secret is renewed by changing its files). A half-written or wrong new one leaves
//! the old in force and says so. Never: a secret in a log line, an error or a debug output.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::headers::Needles;
use crate::config::endpoints::check_secret;
use crate::config::{Endpoint, Inject, Secret};
use crate::digest::sha256;
use crate::forward::connect::{Connector, Protocol};
use crate::forward::pool::{Pools, Trust};
use crate::forward::{SetupError, trust};
use crate::outbound;

/// How often an HTTP/2 connection is asked whether it is still there. Servers of gRPC end connections
/// that are asked more often than every five minutes, unless they are told otherwise.
const PING: Duration = Duration::from_mins(6);

/// Why an endpoint cannot be set up. No secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key that tells endpoints who calls.
    #[error("assertion.key")]
    Assertion(#[from] crate::signing::Error),
    /// A secret cannot be sent.
    #[error("the secret of endpoint `{endpoint}` {what}")]
    Secret {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        what: String,
    },
    /// Its address, authorities or certificate cannot be used.
    #[error("endpoint `{endpoint}` cannot be reached")]
    Setup {
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<SetupError>,
    },
}

/// What is in force for an endpoint.
pub(super) struct Material {
    /// The header that is added.
    pub(super) credential: Option<(HeaderName, HeaderValue)>,
    /// What no answer may hold.
    pub(super) needles: Needles,
    /// Connections that were made with it.
    pub(super) pools: Pools,
    /// Makes a connection for a look.
    pub(super) connector: Connector,
}

/// The material of an endpoint, as its files are now.
pub(super) struct Live {
    endpoint: Endpoint,
    material: ArcSwap<Material>,
}

impl Live {
    /// Reads everything.
    ///
    /// # Errors
    /// [`Error`], naming the endpoint.
    pub(super) fn new(endpoint: Endpoint) -> Result<Self, Error> {
        let material = ArcSwap::from_pointee(Material::read(&endpoint)?);
        Ok(Self { endpoint, material })
    }

    /// What is in force now.
    pub(super) fn current(&self) -> Arc<Material> {
        self.material.load_full()
    }

    /// Reads everything again. What was in force stays so if that fails.
    ///
    /// # Errors
    /// As [`Live::new`].
    pub(super) fn renew(&self) -> Result<(), Error> {
        self.material
            .store(Arc::new(Material::read(&self.endpoint)?));
        Ok(())
    }

    /// The files that everything is read from.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let of_secret = |secret: &Secret| match secret {
            Secret::File(path) => vec![path.clone()],
            Secret::Value(_) => Vec::new(),
        };
        let mut files: Vec<PathBuf> = self.endpoint.ca.iter().cloned().collect();
        files.extend(match &self.endpoint.inject {
            Inject::Basic { password, .. } => of_secret(password),
            Inject::Certificate { certificate, key } => vec![certificate.clone(), key.clone()],
            Inject::Header { value, .. } => of_secret(value),
            Inject::Nothing => Vec::new(),
        });
        files
    }
}

impl Material {
    fn read(endpoint: &Endpoint) -> Result<Self, Error> {
        let trust = trust(endpoint).map_err(|source| Error::Setup {
            endpoint: endpoint.name.to_string(),
            source: Box::new(source),
        })?;
        let (credential, needles) = credential(&endpoint.inject).map_err(|what| Error::Secret {
            endpoint: endpoint.name.to_string(),
            what,
        })?;
        Ok(Self {
            credential,
            needles,
            pools: Pools::new(&trust, PING),
            connector: Connector::new(Protocol::Http1, trust.as_ref()),
        })
    }
}

/// Whom to trust there, and as whom we come.
fn trust(endpoint: &Endpoint) -> Result<Trust, SetupError> {
    let (url, ca) = (&endpoint.url, endpoint.ca.as_deref());
    match &endpoint.inject {
        Inject::Certificate { certificate, key } => {
            let config = outbound::client_config_with(url, ca, (certificate, key))?;
            Ok(Some((config, trust::server_name(url)?)))
        }
        Inject::Basic { .. } | Inject::Header { .. } | Inject::Nothing => trust::trust(url, ca),
    }
}

type Header = Option<(HeaderName, HeaderValue)>;

fn credential(inject: &Inject) -> Result<(Header, Needles), String> {
    let (name, text, secrets) = match inject {
        Inject::Certificate { .. } | Inject::Nothing => {
            return Ok((None, Needles::new(std::iter::empty())));
        }
        Inject::Basic { user, password } => {
            let password = read(password)?;
            let pair = STANDARD.encode(format!("{user}:{password}"));
            let text = format!("Basic {pair}");
            (AUTHORIZATION, text, vec![password, pair])
        }
        Inject::Header {
            name,
            scheme,
            value,
        } => {
            let secret = read(value)?;
            let text = match scheme {
                Some(scheme) => format!("{scheme} {secret}"),
                None => secret.clone(),
            };
            (name.clone(), text, vec![secret])
        }
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| "cannot be sent".to_owned())?;
    value.set_sensitive(true);
    let needles = Needles::new(secrets.iter().map(String::as_bytes));
    Ok((Some((name, value)), needles))
}

fn read(secret: &Secret) -> Result<String, String> {
    let text = secret.read()?;
    check_secret(&text)?;
    Ok(text)
}

/// What tells one state of `files` from another.
pub(super) async fn fingerprint(files: &[PathBuf]) -> [u8; 32] {
    let mut all = Vec::new();
    for path in files {
        // A file that is away for a moment is one more state.
        let bytes = tokio::fs::read(path).await.unwrap_or_default();
        all.extend_from_slice(&sha256(&bytes));
    }
    sha256(&all)
}
