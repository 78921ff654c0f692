//! What all requests share, built once from the configuration.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, mpsc};
use tokio_util::task::TaskTracker;

use crate::argocd::client::{self, Client, Timeouts};
use crate::clock::Clock;
use crate::config::{self, Config, Environment, IssuerKind};
use crate::endpoint::{self, Endpoints};
use crate::evidence::service::{Required, Runs};
use crate::forward::{self, Plaintext, Upstream, UpstreamConfig, UpstreamToken};
use crate::git::Git;
use crate::identity::Identity;
use crate::identity::aws::{self, Sts};
use crate::identity::config::{
    CiIssuer, ClientIds, FetchUrl, IdentityConfig, IssuerUrl, KeySource, KubernetesIssuer,
    LONGEST_LIFE, OidcIssuer, PlainHttp, RefreshTimes,
};
use crate::identity::roles::{AccountMatch, BadAccount, GroupMatch, RoleMapping};
use crate::identity::session::Sessions;
use crate::index::{Index, Told};
use crate::issuer::Issuer;
use crate::listener::Stop;
use crate::names::AppRef;
use crate::notify;
use crate::outbound;
use crate::policy;
use crate::record::Recorder;
use crate::rollout::{self, Kubernetes};
use crate::snapshot;
use crate::store::{self, Store};

/// Applications are spread over this many locks; two that share one wait for each other.
const LOCKS: usize = 256;
/// How long a change waits for another of the same application.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// How long Argo CD may take to begin an answer. A refresh waits for its controller.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

/// Why the gate cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The upstream cannot be set up.
    #[error("the upstream cannot be used")]
    Client(#[source] client::Error),
    /// An endpoint under test cannot be set up.
    #[error("the test door cannot be used")]
    Endpoint(#[from] endpoint::Error),
    /// The gate cannot be Argo CD's issuer.
    #[error("no tokens for Argo CD can be signed")]
    Issuer(#[from] crate::signing::Error),
    /// Issuers cannot be set up.
    #[error("the issuers cannot be used:\n{0}")]
    Identity(String),
    /// The policies are not in order.
    #[error("the policies are not in order:\n{0}")]
    Policies(policy::LoadError),
    /// A receiver of messages cannot be set up.
    #[error("a receiver cannot be used")]
    Receiver(#[source] outbound::Error),
    /// AWS STS cannot be set up.
    #[error("AWS STS cannot be used")]
    Sts(#[source] outbound::Error),
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

impl Error {
    /// The exit code of a gate that cannot start for this reason.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Issuer(_) | Self::Store(_) => 1,
            Self::Client(_)
            | Self::Endpoint(_)
            | Self::Identity(_)
            | Self::Policies(_)
            | Self::Receiver(_)
            | Self::Sts(_)
            | Self::Token(_)
            | Self::Upstream(_)
            | Self::Watch(_) => 64,
        }
    }
}

/// The gate.
pub struct App {
    /// The configuration that it was built from.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// Verifies callers.
    pub identity: Identity,
    /// Asks AWS who signed a proof, where roles and users of AWS may call.
    pub sts: Option<Sts>,
    /// The policies in force.
    pub policies: policy::Live,
    /// What is kept.
    pub store: Store,
    /// The log of decisions.
    pub recorder: Recorder,
    /// The way to Argo CD for callers' requests.
    pub upstream: Upstream,
    /// Names callers there, where it is told who they are.
    pub issuer: Option<Issuer>,
    /// The ways to endpoints under test.
    pub endpoints: Endpoints,
    /// Our own questions to Argo CD.
    pub argocd: Client,
    /// What Argo CD's watch says about applications.
    pub index: Index,
    /// Resolves names in repositories.
    pub git: Git,
    /// The Kubernetes API, where rollouts may be taken back.
    pub kubernetes: Option<Kubernetes>,
    /// Test runs.
    pub runs: Runs,
    /// What the requests at the admission door share.
    pub(crate) admission: crate::admission::Shared,
    /// What preflights share.
    pub(crate) preflight: crate::preflight::Shared,
    /// Tells the sender of messages that there are new ones.
    pub(crate) notices: tokio::sync::Notify,
    /// Where snapshots are asked for.
    pub(crate) snapshots: mpsc::Sender<snapshot::Wanted>,
    /// Answers about what may be read in lists.
    pub(crate) reads: crate::filtered::Reads,
    /// Everything that was spawned; a stop waits for it.
    pub tasks: TaskTracker,
    /// The two steps of a stop.
    pub stop: Stop,
    locks: Vec<Mutex<()>>,
}

impl App {
    /// Builds everything and starts the background work: keys, the watch of applications and of the
    /// policies, and the settling of runs. To be called inside a runtime.
    ///
    /// # Errors
    /// [`Error`], naming the part that cannot be used.
    pub fn start(config: Config, clock: Clock, stop: Stop) -> Result<Arc<Self>, Error> {
        let tasks = TaskTracker::new();
        let policies =
            policy::Live::open(&config.policies, clock.clone()).map_err(Error::Policies)?;
        let (folder, soft) = (&config.policies, stop.soft.clone());
        policy::watch(folder, policies.clone(), &tasks, soft).map_err(Error::Watch)?;
        let store = Store::open(&config.store)?;
        let sessions = Sessions::new(store.clone(), &config.url, clock.clone());
        let issuers = identity_config(&config)?;
        let identity = Identity::new(issuers, sessions, clock.clone(), &tasks, &stop.soft)
            .map_err(|errors| Error::Identity(list(&errors)))?;
        let (token, argocd) = argocd(&config)?;
        let sts = sts(&config).map_err(Error::Sts)?;
        let upstream = UpstreamConfig {
            url: config.upstream.url.clone(),
            ca: config.upstream.ca.clone(),
            token,
            plaintext: Plaintext::LoopbackOnly,
            answer_timeout: ANSWER_TIMEOUT,
        };
        let upstream = Upstream::new(upstream, tasks.clone(), &stop).map_err(Error::Upstream)?;
        let issuer = Issuer::new(&config, clock.clone())?;
        let endpoints = Endpoints::new(&config, clock.clone(), &tasks, &stop)?;
        let recorder = Recorder::new(store.clone(), clock.clone(), tasks.clone());
        let git = Git::new(config.git.clone(), git_cache(&config));
        let runs = runs(&config, &store, &clock);
        let sender = notify::Sender::new(&config.receivers).map_err(Error::Receiver)?;
        let (snapshots, wanted) = snapshot::queue();
        let (index, told) = Index::new(config.upstream.namespace.clone());
        let app = Arc::new(Self {
            index,
            notices: tokio::sync::Notify::new(),
            snapshots,
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            kubernetes: config.rollback.clone().map(Kubernetes::new),
            config,
            clock,
            identity,
            sts,
            policies,
            store,
            recorder,
            upstream,
            issuer,
            endpoints,
            argocd,
            git,
            runs,
            admission: crate::admission::Shared::default(),
            preflight: crate::preflight::Shared::default(),
            reads: crate::filtered::reads(),
            tasks,
            stop,
        });
        app.begin(told, sender, wanted);
        Ok(app)
    }

    /// Begins what goes on beside the requests.
    fn begin(
        self: &Arc<Self>,
        told: Told,
        sender: notify::Sender,
        wanted: mpsc::Receiver<snapshot::Wanted>,
    ) {
        self.tasks.spawn(crate::index::follow(Arc::clone(self)));
        self.tasks.spawn(crate::settle::run(Arc::clone(self)));
        self.tasks
            .spawn(crate::settle::follow(Arc::clone(self), told.ended));
        self.tasks
            .spawn(crate::unexplained::follow(Arc::clone(self), told.changed));
        self.tasks.spawn(rollout::run(Arc::clone(self)));
        self.tasks.spawn(sender.run(Arc::clone(self)));
        self.tasks.spawn(snapshot::follow(Arc::clone(self), wanted));
        let stop = self.stop.soft.clone();
        self.tasks.spawn(Endpoints::follow(Arc::clone(self), stop));
        self.tasks.spawn(crate::admission::follow(Arc::clone(self)));
    }

    /// Waits until no other change of `application` is between its check and its forward; `None` when
    /// that takes too long.
    pub async fn lock(&self, application: &AppRef) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        application.name.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or(0);
        let lock = self.locks.get(place)?;
        tokio::time::timeout(LOCK_WAIT, lock.lock()).await.ok()
    }

    /// Whether every write of an Application comes by the admission door too, so that what Argo CD resolves
    /// by itself is looked at before it runs.
    #[must_use]
    pub fn has_admission_door(&self) -> bool {
        self.config.admission.is_some()
    }

    /// `application` as configuration and policies have it: without a namespace where that is Argo CD's own.
    #[must_use]
    pub fn named(&self, application: &AppRef) -> AppRef {
        let home = &self.config.upstream.namespace;
        AppRef {
            namespace: application.namespace.clone().filter(|it| it != home),
            name: application.name.clone(),
        }
    }

    /// The link to a rollout, for people.
    #[must_use]
    pub fn rollout_link(&self, decision: crate::names::DecisionId) -> String {
        format!("{}syncgate/v1/rollouts/{decision}", self.config.url)
    }

    /// The link to a decision, for people.
    #[must_use]
    pub fn link(&self, decision: crate::names::DecisionId) -> String {
        format!("{}syncgate/v1/log/{decision}", self.config.url)
    }
}

/// The gate's credential at Argo CD, and what asks with it.
///
/// # Errors
/// [`Error::Token`], [`Error::Upstream`] and [`Error::Client`].
pub(crate) fn argocd(config: &Config) -> Result<(UpstreamToken, Client), Error> {
    let token = config.upstream.token.read().map_err(Error::Token)?;
    let token = UpstreamToken::parse(&token).map_err(|error| Error::Token(error.to_string()))?;
    let url = &config.upstream.url;
    let tls = outbound::client_config(url, config.upstream.ca.as_deref());
    let tls = tls.map_err(|error| Error::Upstream(error.into()))?;
    let client = Client::new(url, tls, token.text(), Timeouts::default());
    Ok((token, client.map_err(Error::Client)?))
}

/// The test runs in `store`, and what the configuration says of them.
fn runs(config: &Config, store: &Store, clock: &Clock) -> Runs {
    let url = config.url.as_str();
    Runs::new(store.clone(), clock.clone(), url, required(config))
        .signed_by(config.signers.iter().cloned().collect())
}

/// What the environments require of test runs.
fn required(config: &Config) -> Vec<Required> {
    let of = |environment: &Environment| {
        let by = environment.name.clone();
        let requirements = environment.requires.clone().into_iter();
        requirements.map(move |requirement| Required {
            by: by.clone(),
            requirement,
        })
    };
    config.environments.iter().flat_map(of).collect()
}

/// Histories that reachability is answered from lie beside the store.
fn git_cache(config: &Config) -> PathBuf {
    config.store.with_extension("git")
}

/// The issuers and roles of the configuration as the identity room takes them.
///
/// # Errors
/// [`Error::Identity`] for an address that is none.
pub(crate) fn identity_config(config: &Config) -> Result<IdentityConfig, Error> {
    let bad = |error: &dyn std::fmt::Display| Error::Identity(error.to_string());
    let mut identity = IdentityConfig {
        oidc: Vec::new(),
        kubernetes: Vec::new(),
        ci: Vec::new(),
        roles: roles(config).map_err(|e| bad(&e))?,
        refresh: RefreshTimes::default(),
    };
    for issuer in &config.issuers {
        // The configuration takes plain http for loopback only.
        let url = IssuerUrl::parse(&issuer.issuer, PlainHttp::Loopback).map_err(|e| bad(&e))?;
        let keys = keys(issuer).map_err(|e| bad(&e))?;
        let ca = issuer.ca.clone();
        match &issuer.kind {
            IssuerKind::Ci { provider, audience } => identity.ci.push(CiIssuer {
                url,
                provider: *provider,
                audience: audience.clone(),
                ca,
                keys,
                longest_life: LONGEST_LIFE,
            }),
            IssuerKind::Kubernetes {
                audience,
                token_file,
            } => {
                identity.kubernetes.push(KubernetesIssuer {
                    url,
                    audience: audience.clone(),
                    ca,
                    keys,
                    token_file: token_file.clone(),
                    longest_life: LONGEST_LIFE,
                });
            }
            IssuerKind::Oidc {
                cli_client_id,
                ui_client_id,
                groups_claim,
                ..
            } => {
                identity.oidc.push(OidcIssuer {
                    url,
                    client_ids: ClientIds {
                        cli: cli_client_id.clone(),
                        ui: ui_client_id.clone(),
                    },
                    audiences: BTreeSet::default(),
                    groups_claim: groups_claim.clone(),
                    ca,
                    jwks_hosts: BTreeSet::default(),
                    keys,
                });
            }
        }
    }
    Ok(identity)
}

/// The way to AWS STS, where the configuration has one.
fn sts(config: &Config) -> Result<Option<Sts>, outbound::Error> {
    let Some(aws) = &config.aws else {
        return Ok(None);
    };
    let rules = aws::Rules {
        endpoints: aws.sts.clone(),
        audience: config.url.as_str().trim_end_matches('/').to_owned(),
    };
    Sts::new(rules, aws.ca.as_deref()).map(Some)
}

fn roles(config: &Config) -> Result<Vec<RoleMapping>, BadAccount> {
    let mapping = |mapping: &config::RoleMapping| {
        let groups = mapping.groups.iter().cloned();
        let accounts = mapping.service_accounts.iter();
        Ok(RoleMapping {
            role: mapping.role.clone(),
            groups: groups
                .map(|(issuer, group)| GroupMatch { issuer, group })
                .collect(),
            service_accounts: accounts
                .map(|a| AccountMatch::parse(&a.issuer, &format!("{}/{}", a.namespace, a.name)))
                .collect::<Result<_, _>>()?,
            ci: mapping.ci.clone(),
            aws: mapping.aws.clone(),
        })
    };
    config.roles.iter().map(mapping).collect()
}

fn keys(issuer: &config::Issuer) -> Result<KeySource, crate::identity::config::BadUrl> {
    match &issuer.jwks_uri {
        None => Ok(KeySource::Discover),
        Some(uri) => FetchUrl::parse(uri.as_str(), PlainHttp::Loopback).map(KeySource::Uri),
    }
}

pub(crate) fn list<E: std::fmt::Display>(errors: &[E]) -> String {
    errors
        .iter()
        .map(|error| format!("  {error}"))
        .collect::<Vec<_>>()
        .join("\n")
}
