//! What all requests share, built once from the configuration.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};
use tokio_util::task::TaskTracker;

use crate::argocd::client::{self, Client};
use crate::clock::Clock;
use crate::config::Config;
use crate::forward::{self, Upstream, UpstreamConfig, UpstreamToken};
use crate::git::Git;
use crate::identity::{self, Identity};
use crate::index::Index;
use crate::listener::Stop;
use crate::names::AppRef;
use crate::policy;
use crate::record::Recorder;
use crate::store::{self, Store};

/// Applications are spread over this many locks; two that share one wait for each other.
const LOCKS: usize = 256;

/// Why the gate cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The upstream cannot be set up.
    #[error("the upstream cannot be used")]
    Client(#[source] client::SetupError),
    /// An issuer cannot be set up.
    #[error("an issuer cannot be used")]
    Identity(#[source] identity::SetupError),
    /// The policies are not in order.
    #[error("the policies are not in order:\n{0}")]
    Policies(policy::LoadError),
    /// The store cannot be opened.
    #[error("the store cannot be used")]
    Store(#[from] store::Error),
    /// The upstream's token is not one.
    #[error("upstream.token: {0}")]
    Token(String),
    /// The upstream cannot be set up.
    #[error("the upstream cannot be used")]
    Upstream(#[source] forward::SetupError),
    /// The folder of policies cannot be watched.
    #[error("the folder of policies cannot be watched")]
    Watch(#[source] policy::WatchError),
}

/// The gate.
pub struct App {
    /// The configuration that it was built from.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// Verifies callers.
    pub identity: Identity,
    /// The policies in force.
    pub policies: policy::Live,
    /// What is kept.
    pub store: Store,
    /// The log of decisions.
    pub recorder: Recorder,
    /// The way to Argo CD for callers' requests.
    pub upstream: Upstream,
    /// Our own questions to Argo CD.
    pub argocd: Client,
    /// What Argo CD's watch says about applications.
    pub index: Index,
    /// Resolves names in repositories.
    pub git: Git,
    /// Everything that was spawned; a stop waits for it.
    pub tasks: TaskTracker,
    /// The two steps of a stop.
    pub stop: Stop,
    locks: Vec<Mutex<()>>,
}

impl App {
    /// Builds everything and starts the background work: keys, the watch of applications and of the
    /// policies, and the settling of runs.
    ///
    /// # Errors
    /// [`Error`], naming the part that cannot be used.
    pub async fn start(config: Config, clock: Clock, stop: Stop) -> Result<Arc<Self>, Error> {
        let tasks = TaskTracker::new();
        let policies = policy::Live::open(&config.policies, clock.clone()).map_err(Error::Policies)?;
        policy::watch(&config.policies, policies.clone(), &tasks, stop.soft.clone())
            .map_err(Error::Watch)?;
        let identity = Identity::new(
            identity_config(&config),
            clock.clone(),
            &tasks,
            stop.soft.clone(),
        )
        .map_err(Error::Identity)?;
        let token = config.upstream.token.read().map_err(Error::Token)?;
        let token = UpstreamToken::parse(&token).map_err(|error| Error::Token(error.to_string()))?;
        let argocd = Client::new(&config.upstream.url, config.upstream.ca.as_deref(), token.clone())
            .map_err(Error::Client)?;
        let upstream = UpstreamConfig::new(config.upstream.url.clone(), config.upstream.ca.clone(), token);
        let upstream = Upstream::new(upstream, tasks.clone(), &stop).map_err(Error::Upstream)?;
        let store = Store::open(&config.store)?;
        let recorder = Recorder::new(store.clone(), clock.clone(), tasks.clone());
        let git = Git::new(config.git.clone(), git_cache(&config));
        let app = Arc::new(Self {
            index: Index::new(),
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            config,
            clock,
            identity,
            policies,
            store,
            recorder,
            upstream,
            argocd,
            git,
            tasks,
            stop,
        });
        app.tasks.spawn(crate::index::follow(Arc::clone(&app)));
        app.tasks.spawn(crate::settle::run(Arc::clone(&app)));
        Ok(app)
    }

    /// Waits until no other change of `application` is between its check and its forward.
    pub async fn lock(&self, application: &AppRef) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        application.name.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or(0);
        match self.locks.get(place) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        }
    }

    /// The link to a decision, for people.
    #[must_use]
    pub fn link(&self, decision: crate::names::DecisionId) -> String {
        format!("{}syncgate/v1/log/{decision}", self.config.url)
    }
}

/// Histories that reachability is answered from lie beside the store.
fn git_cache(config: &Config) -> PathBuf {
    config.store.with_extension("git")
}
