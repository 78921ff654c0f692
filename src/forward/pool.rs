//! The connections to the upstream, kept apart by what they carry.
//!
//! Argo CD binds a connection to what its first request is, so gRPC and everything else never
//! share one. The HTTP/2 client keeps one connection per client and lets calls beyond the
//! upstream's stream limit wait without a word; hence calls and streams have clients of their own,
//! each with a fixed number of places, and a call that finds none is refused and not queued.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connect::{Connector, Protocol};
use crate::body::Body;

/// Argo CD ends connections that ping more often than every 10 s; its own clients do every 20 s.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
const IDLE: Duration = Duration::from_mins(1);
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
const HEADER_LIMIT: u32 = 256 * 1024;
/// Places per connection, far below what any server admits, and connections at most.
const PLACES: usize = 64;
const CONNECTIONS: usize = 64;

/// A client with its pool.
pub(crate) type HttpClient = Client<Connector, Body>;

/// A place on a connection, given back when dropped.
pub(crate) type Place = OwnedSemaphorePermit;

/// The server's trust and name; absent for clear text.
pub(crate) type Trust = Option<(ClientConfig, ServerName<'static>)>;

/// All connections to the upstream.
pub(crate) struct Pools {
    /// REST, server-sent events, websockets and gRPC-Web: a connection per request under way.
    pub(crate) http1: HttpClient,
    /// gRPC calls that are answered and over.
    pub(crate) calls: Shards,
    /// gRPC streams that stay.
    pub(crate) streams: Shards,
}

impl Pools {
    /// Pools whose HTTP/2 connections are asked every `ping` whether they are still there.
    pub(crate) fn new(trust: &Trust, ping: Duration) -> Self {
        let mut http1 = builder();
        http1.http1_max_buf_size(HEADER_LIMIT as usize * 2);
        let http2 = Connector::new(Protocol::Http2, trust.as_ref());
        Self {
            http1: http1.build(Connector::new(Protocol::Http1, trust.as_ref())),
            calls: Shards::new(http2.clone(), ping),
            streams: Shards::new(http2, ping),
        }
    }
}

/// HTTP/2 clients, each with [`PLACES`] places; more are made as they fill.
pub(crate) struct Shards {
    connector: Connector,
    ping: Duration,
    clients: Mutex<Vec<(HttpClient, Arc<Semaphore>)>>,
}

impl Shards {
    fn new(connector: Connector, ping: Duration) -> Self {
        Self {
            connector,
            ping,
            clients: Mutex::default(),
        }
    }

    /// A client with a free place on it; none when all connections are full.
    pub(crate) fn place(&self) -> Option<(HttpClient, Place)> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        for (client, places) in clients.iter() {
            if let Ok(place) = Arc::clone(places).try_acquire_owned() {
                return Some((client.clone(), place));
            }
        }
        if clients.len() == CONNECTIONS {
            return None;
        }
        let places = Arc::new(Semaphore::new(PLACES));
        let place = Arc::clone(&places).try_acquire_owned().ok()?;
        let client = self.client();
        clients.push((client.clone(), places));
        Some((client, place))
    }

    fn client(&self) -> HttpClient {
        let mut builder = builder();
        builder
            .http2_only(true)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(HEADER_LIMIT)
            .http2_keep_alive_interval(self.ping)
            .http2_keep_alive_timeout(PING_TIMEOUT);
        builder.build(self.connector.clone())
    }
}

/// What all clients have in common. Only a request of which not a byte was sent is tried again, on
/// another connection: the library hands back those that a closing connection never took.
fn builder() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .retry_canceled_requests(true);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_beyond_the_places_of_a_connection_get_another_and_at_the_end_none() {
        let pools = Pools::new(&None, PING_EVERY);
        let held: Vec<_> = (0..PLACES * CONNECTIONS)
            .map(|_| pools.streams.place().unwrap())
            .collect();
        assert!(pools.streams.place().is_none());
        assert!(pools.calls.place().is_some(), "calls have their own");
        drop(held);
        assert!(pools.streams.place().is_some());
        assert_eq!(pools.streams.clients.lock().unwrap().len(), CONNECTIONS);
    }
}
