//! Connections to the upstream: TCP, then TLS where the URL says so, both within one time limit.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::body::BoxError;

/// How long TCP and TLS together may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The protocol of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Makes connections for one pool.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    protocol: Protocol,
}

/// Why there is no connection. Nothing was sent on it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no HTTP/2 is offered over TLS")]
    NoHttp2,
    #[error("no TCP connection")]
    Tcp(#[source] BoxError),
    #[error("no connection within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
}

impl ConnectError {
    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::NoHttp2 | Self::Tls(_) => true,
            Self::Tcp(_) | Self::Timeout => false,
        }
    }
}

impl Connector {
    /// A connector for `protocol`; `tls` is absent for clear text.
    pub(crate) fn new(
        protocol: Protocol,
        tls: Option<&(ClientConfig, ServerName<'static>)>,
    ) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        let tls = tls.map(|(config, name)| {
            let mut config = config.clone();
            // One protocol per pool: Argo CD binds a connection to what its first request is.
            config.alpn_protocols = match protocol {
                Protocol::Http1 => vec![b"http/1.1".to_vec()],
                Protocol::Http2 => vec![b"h2".to_vec()],
            };
            (TlsConnector::from(Arc::new(config)), name.clone())
        });
        Self { tcp, tls, protocol }
    }

    async fn connect(mut self, target: Uri) -> Result<Stream, ConnectError> {
        let tcp = self.tcp.call(target).await;
        let tcp = tcp.map_err(|error| ConnectError::Tcp(error.into()))?;
        let Some((connector, name)) = self.tls else {
            return Ok(MaybeHttpsStream::Http(tcp));
        };
        let tls = connector
            .connect(name, TokioIo::new(tcp))
            .await
            .map_err(ConnectError::Tls)?;
        if self.protocol == Protocol::Http2 && tls.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(ConnectError::NoHttp2);
        }
        Ok(MaybeHttpsStream::Https(TokioIo::new(tls)))
    }
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = self.clone().connect(target);
        Box::pin(async move {
            tokio::time::timeout(TIMEOUT, connecting)
                .await
                .unwrap_or(Err(ConnectError::Timeout))
        })
    }
}
