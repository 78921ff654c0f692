//! Fetching keys and metadata of an issuer.
//!
//! In: an address that configuration or a checked discovery document gave. Out: the body of a 200
//! answer. Refused: redirects (the answer of another host is not the issuer's), large bodies, slow
//! answers. No connection is kept.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, HeaderValue, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::identity::config::{FetchUrl, IssuerUrl, SetupError};
use crate::outbound;

/// The largest answer that is read; the key sets of large providers have some 10 KiB.
const BODY_LIMIT: usize = 512 * 1024;

/// The largest token file.
const TOKEN_LIMIT: usize = 16 * 1024;

/// Asks one issuer.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    timeout: Duration,
    token_file: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The body broke off or is too large.
    #[error("the answer of `{url}` cannot be read, or has more than {BODY_LIMIT} bytes")]
    Body {
        /// Asked.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection, no TLS, or no HTTP.
    #[error("`{url}` cannot be reached")]
    Connect {
        /// Asked.
        url: String,
        /// Why.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// The answer points elsewhere.
    #[error("`{url}` answered with a redirect, which is not followed")]
    Redirect {
        /// Asked.
        url: String,
    },
    /// The request cannot be built.
    #[error("`{url}` cannot be asked")]
    Request {
        /// Asked.
        url: String,
        /// Why.
        #[source]
        source: http::Error,
    },
    /// Another status than 200.
    #[error("`{url}` answered {status}")]
    Status {
        /// Asked.
        url: String,
        /// Answered.
        status: StatusCode,
    },
    /// Too slow.
    #[error("`{url}` did not answer within {} s", limit.as_secs_f32())]
    Timeout {
        /// Asked.
        url: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The token to show cannot be read.
    #[error("the token file `{}` cannot be used", path.display())]
    TokenFile {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Fetcher {
    /// A fetcher for `issuer` that trusts the authorities in `ca`, or the system's, and shows the
    /// token in `token_file` if there is one.
    pub(super) fn new(
        issuer: &IssuerUrl,
        ca: Option<&Path>,
        token_file: Option<PathBuf>,
        timeout: Duration,
    ) -> Result<Self, SetupError> {
        let tls = outbound::client_config(issuer.address().as_url(), ca);
        let tls = tls.map_err(|source| SetupError::Trust {
            issuer: issuer.to_string(),
            source,
        })?;
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(outbound::http1(tls));
        Ok(Self {
            client,
            timeout,
            token_file,
        })
    }

    /// The body that `url` answers with.
    pub(super) async fn get(&self, url: &FetchUrl) -> Result<Bytes, FetchError> {
        let answer = tokio::time::timeout(self.timeout, self.ask(url)).await;
        answer.unwrap_or_else(|_| {
            Err(FetchError::Timeout {
                url: url.as_url().to_string(),
                limit: self.timeout,
            })
        })
    }

    async fn ask(&self, url: &FetchUrl) -> Result<Bytes, FetchError> {
        let request = self.request(url).await?;
        let url = url.as_url().to_string();
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(source) => return Err(FetchError::Connect { url, source }),
        };
        match response.status() {
            StatusCode::OK => body(url, response).await,
            status if status.is_redirection() => Err(FetchError::Redirect { url }),
            status => Err(FetchError::Status { url, status }),
        }
    }

    async fn request(&self, url: &FetchUrl) -> Result<Request<Empty<Bytes>>, FetchError> {
        let mut request = Request::get(url.as_url().as_str())
            .header(ACCEPT, "application/json, application/jwk-set+json")
            .header(CONNECTION, "close")
            .header(USER_AGENT, concat!("syncgate/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &self.token_file {
            request = request.header(AUTHORIZATION, bearer(path).await?);
        }
        request
            .body(Empty::new())
            .map_err(|source| FetchError::Request {
                url: url.as_url().to_string(),
                source,
            })
    }
}

async fn body(url: String, response: Response<Incoming>) -> Result<Bytes, FetchError> {
    match Limited::new(response.into_body(), BODY_LIMIT)
        .collect()
        .await
    {
        Ok(body) => Ok(body.to_bytes()),
        Err(source) => Err(FetchError::Body { url, source }),
    }
}

/// The header that shows the token in the file at `path`, read anew since it is renewed there.
async fn bearer(path: &Path) -> Result<HeaderValue, FetchError> {
    let fault = |source| FetchError::TokenFile {
        path: path.to_owned(),
        source,
    };
    let token = tokio::fs::read_to_string(path).await.map_err(fault)?;
    let token = token.trim_ascii();
    if token.is_empty() || token.len() > TOKEN_LIMIT {
        return Err(fault(io::Error::other("it is empty or too large")));
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| fault(io::Error::other("it holds bytes that a header cannot")))?;
    value.set_sensitive(true);
    Ok(value)
}
