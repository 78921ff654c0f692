//! The test door: HTTP endpoints under test, each in an environment.
//!
//! In: a request to the host or prefix of a configured endpoint, by a caller with a credential of the
//! gate's. Out: the endpoint's answer, streamed; gRPC and websockets pass through. Each request is one
//! Cedar decision with a record entry, whose opening is on disk before anything but a read is sent on.
//! Refused: callers without a credential, cookies as one (a page of another site could send them, and one
//! of the endpoint's would be of the gate's own site), methods that the endpoint does not take, what no
//! policy permits, and every path or host that can be read in two ways. Never: the caller's credential or
//! cookies at the endpoint, the endpoint's credential at the caller, an identity that the gate did not
//! verify.
//!
//! | module | knows |
//! |---|---|
//! | `line` | the order of what is done for one request |
//! | `place` | which endpoint a host and path are |
//! | `headers`, `location` | what crosses, and where answers may lead |
//! | `assertion` | how an endpoint is told who calls |
//! | `material` | credentials and certificates in files, and when they change |
//! | `upstream` | how a request is sent, and sent again |
//! | `reach` | how to look at an endpoint beforehand |

pub mod assertion;
mod headers;
mod line;
mod location;
mod material;
mod place;
mod reach;
mod upstream;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Uri};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Origin;

use self::assertion::Signer;
use self::material::Live;
use self::place::Places;
use self::upstream::Upstream;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::forward::{Plaintext, SetupError, trust};
use crate::listener::{Connection, Stop};
use crate::policy::EndpointFacts;
use crate::telemetry::chain;

pub use self::headers::IDENTITY;
pub(crate) use self::line::{handle, key_set};
pub use self::material::Error;
pub use self::place::{Found, canonical};
pub use self::reach::{Reachable, Unreachable, answers, may_reach, probe};

/// The action of GET, HEAD and OPTIONS, which change nothing.
const READ: &str = "Endpoint.read";
/// The action of every other method, and of websockets.
const WRITE: &str = "Endpoint.write";
/// Where the keys are published.
pub const KEYS: &str = "/syncgate/jwks.json";
/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// All endpoints under test.
pub struct Endpoints {
    all: Vec<Arc<Endpoint>>,
    places: Places<Endpoint>,
    signer: Option<Signer>,
    /// Where callers reach the gate.
    gate: Origin,
}

/// One endpoint under test.
pub struct Endpoint {
    config: config::Endpoint,
    audience: String,
    upstream: Upstream,
}

impl Endpoints {
    /// Sets up the endpoints of `config`; connects to none of them yet. Tunnels run on `tasks`, until
    /// the hard signal of `stop`.
    ///
    /// # Errors
    /// [`Error`], naming the endpoint or file at fault.
    pub fn new(
        config: &Config,
        clock: Clock,
        tasks: &TaskTracker,
        stop: &Stop,
    ) -> Result<Self, Error> {
        let all: Vec<Arc<Endpoint>> = config
            .endpoints
            .iter()
            .map(|endpoint| Endpoint::new(endpoint.clone(), tasks, stop).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let places = all.iter().map(|endpoint| {
            let config = &endpoint.config;
            (
                config.name.to_string(),
                config.place.clone(),
                Arc::clone(endpoint),
            )
        });
        let issuer = config.url.as_str().trim_end_matches('/');
        let signer = if config.endpoints.iter().any(|endpoint| endpoint.identity) {
            Some(Signer::new(issuer, config.assertion_key.clone(), clock)?)
        } else {
            None
        };
        Ok(Self {
            places: Places::new(places),
            all,
            signer,
            gate: config.url.origin(),
        })
    }

    /// The endpoint of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Endpoint> {
        let mut all = self.all.iter();
        all.find(|endpoint| endpoint.config.name.as_str() == name)
            .map(Arc::as_ref)
    }

    /// What a request for `uri` is for, if it is for this door.
    #[must_use]
    pub fn find(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        connection: &Connection,
    ) -> Option<Found<Endpoint>> {
        let default_port = if connection.tls.is_some() { 443 } else { 80 };
        self.places.find(uri, headers, default_port)
    }

    /// Reads files again when they have changed, until `stop`.
    pub async fn follow(app: Arc<App>, stop: CancellationToken) {
        let endpoints = &app.endpoints;
        let mut watched: Vec<(Changing<'_>, [u8; 32])> = Vec::new();
        let signer = endpoints.signer.iter().map(Changing::Signer);
        for one in signer.chain(endpoints.all.iter().map(|e| Changing::Endpoint(e))) {
            if !one.files().is_empty() {
                let known = material::fingerprint(&one.files()).await;
                watched.push((one, known));
            }
        }
        if watched.is_empty() {
            return;
        }
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK))
            .await
            .is_some()
        {
            for (one, known) in &mut watched {
                let now = material::fingerprint(&one.files()).await;
                if now != *known {
                    one.renew();
                    *known = now;
                }
            }
        }
    }
}

/// What is read again when its files change.
enum Changing<'a> {
    Endpoint(&'a Endpoint),
    Signer(&'a Signer),
}

impl Changing<'_> {
    fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Endpoint(endpoint) => endpoint.upstream.live.files(),
            Self::Signer(signer) => signer.files(),
        }
    }

    fn renew(&self) {
        let (what, renewed) = match self {
            Self::Endpoint(endpoint) => (
                endpoint.config.name.as_str(),
                endpoint.upstream.live.renew(),
            ),
            Self::Signer(signer) => ("assertion.key", signer.renew().map_err(Error::from)),
        };
        match renewed {
            Ok(()) => tracing::info!(what, "the files of the test door were read again"),
            Err(error) => {
                tracing::error!(what, error = chain(&error), "the old ones stay in force");
            }
        }
    }
}

impl Endpoint {
    fn new(config: config::Endpoint, tasks: &TaskTracker, stop: &Stop) -> Result<Self, Error> {
        let setup = |source: SetupError| Error::Setup {
            endpoint: config.name.to_string(),
            source: Box::new(source),
        };
        let target = trust::target(&config.url, Plaintext::LoopbackOnly).map_err(setup)?;
        Ok(Self {
            audience: config.url.origin().ascii_serialization(),
            upstream: Upstream {
                target,
                live: Live::new(config.clone())?,
                timeout: config.timeout,
                tasks: tasks.clone(),
                hard: stop.hard.clone(),
            },
            config,
        })
    }

    /// What policies know of a request for `path`, decoded and without the query.
    fn facts(&self, method: &Method, path: &str) -> EndpointFacts {
        EndpointFacts {
            name: self.config.name.to_string(),
            environment: self.config.environment.to_string(),
            method: method.to_string(),
            path: path.to_owned(),
        }
    }
}
