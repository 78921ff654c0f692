//! Who calls.
//!
//! In: the headers of a request. Out: a [`Caller`] whose credential was verified, or the reason
//! why not. A scheme has three outcomes ([`SchemeOutcome`]); what was rejected never falls through
//! to the next scheme. Never: a claim that was not verified, a credential in a log or an error.
//!
//! For example: the `argocd` command sends its ID token as the metadata `token`. [`credential`]
//! finds it, and that there is no other; [`jwt`] takes it apart and tells its issuer, and with the
//! issuer the scheme; [`keys`] has that issuer's keys, or gets them; with the right key the
//! claims come out; `oidc` reads the person and groups from them, [`roles`] the roles.

pub mod aws;
pub mod ci;
pub mod config;
pub mod credential;
pub mod interface;
pub mod jwt;
pub mod keys;
pub mod reason;
pub mod roles;
pub mod session;

mod cache;
mod kubernetes;
mod oidc;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::aws::AwsPrincipal;
use self::cache::VerifiedTokens;
use self::ci::{Ci, CiJob};
use self::config::{
    CiIssuer, IdentityConfig, KubernetesIssuer, OidcIssuer, RefreshTimes, SetupError,
};
use self::credential::Credential;
use self::jwt::{Claims, Type, UnverifiedToken};
use self::keys::{IssuerKeys, KeyError, Origin};
use self::kubernetes::Kubernetes;
use self::oidc::Oidc;
use self::reason::{Quoted, Reason, Scheme};
use self::roles::RoleMapping;
use self::session::Sessions;
use crate::clock::Clock;
use crate::names::{DecisionId, PodRef, Role};

/// What came of looking for a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemeOutcome {
    /// The request carries none.
    Absent,
    /// It carries one that does not count; nothing else is tried.
    Reject(Reason),
    /// It carries one that counts.
    Verify(Arc<Caller>),
}

/// Establishes who calls. Built once, shared by all requests.
#[derive(Debug)]
pub struct Identity {
    issuers: HashMap<Arc<str>, Issuer>,
    roles: Vec<RoleMapping>,
    verified: VerifiedTokens,
    sessions: Arc<Sessions>,
    clock: Clock,
}

/// A name that no user of a cluster has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not the name of a user or service account")]
pub struct BadUser(Quoted);

/// One configured issuer.
#[derive(Debug)]
struct Issuer {
    name: Arc<str>,
    rules: Rules,
    keys: Arc<IssuerKeys>,
}

/// How the claims of an issuer's tokens are read.
#[derive(Debug)]
enum Rules {
    Ci(Ci),
    Kubernetes(Kubernetes),
    Oidc(Oidc),
}

impl Identity {
    /// Checks `config`, reads the files it names, and starts on `tasks` one refresher of keys for
    /// each issuer, and what `sessions` need, until `stop`. Tokens are judged by `clock`. To be called inside
    /// the runtime.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, at once.
    pub fn new(
        config: IdentityConfig,
        sessions: Sessions,
        clock: Clock,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, Vec<SetupError>> {
        let roles = config.roles.clone();
        let issuers = issuers(config)?;
        for issuer in issuers.values() {
            tasks.spawn(Arc::clone(&issuer.keys).run(stop.clone()));
        }
        let sessions = Arc::new(sessions);
        tasks.spawn(Arc::clone(&sessions).run(stop.clone()));
        Ok(Self {
            issuers,
            roles,
            verified: VerifiedTokens::new(),
            sessions,
            clock,
        })
    }

    /// Who calls, by the headers of the request. Waits for an issuer's keys if the token names one
    /// that is not known, no longer than [`RefreshTimes::wait`].
    pub async fn authenticate(&self, headers: &HeaderMap) -> SchemeOutcome {
        let verified = match Credential::from_headers(headers) {
            Ok(None) => return SchemeOutcome::Absent,
            Ok(Some(credential)) => self.verify(credential.token()).await,
            Err(reason) => Err(reason),
        };
        match verified {
            Ok(caller) => SchemeOutcome::Verify(caller),
            Err(reason) => SchemeOutcome::Reject(reason),
        }
    }

    /// Whether `issuer` vouches for anybody here.
    #[must_use]
    pub fn trusts(&self, issuer: &str) -> bool {
        self.issuers.contains_key(issuer) || issuer == aws::ISSUER
    }

    /// The sessions of this gate.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Who holds `token`, one of a configured issuer: a token of the gate is not exchanged for another.
    ///
    /// # Errors
    /// The [`Reason`] why it does not count.
    pub async fn subject_of(&self, token: &str) -> Result<Arc<Caller>, Reason> {
        let unverified = UnverifiedToken::parse(token)?;
        self.of_issuer(token, unverified).await
    }

    /// Whose session a refresh token renews. It is not used up by this.
    ///
    /// # Errors
    /// The [`Reason`] why it renews none.
    pub async fn of_refresh_token(&self, token: &str) -> Result<Arc<Caller>, Reason> {
        let shown = self.sessions.renewable(token).await?;
        self.of_shown(&shown)
    }

    /// Reads the keys of every issuer that `config` names, once: how many of each there are, or why there are
    /// none; by name.
    ///
    /// # Errors
    /// As [`Identity::new`].
    pub async fn read_keys(
        config: IdentityConfig,
    ) -> Result<Vec<(String, Result<usize, KeyError>)>, Vec<SetupError>> {
        let mut read = Vec::new();
        for issuer in issuers(config)?.into_values() {
            let keys = issuer.keys.refresh().await;
            let keys = keys.map(|_| issuer.keys.current().counts().0);
            read.push((issuer.name.to_string(), keys));
        }
        read.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(read)
    }

    /// The issuers whose keys could not be read yet: nobody of theirs can call. For `/ready`.
    #[must_use]
    pub fn issuers_without_keys(&self) -> Vec<&str> {
        let without = self.issuers.values();
        let without = without.filter(|issuer| issuer.keys.current().is_empty());
        without.map(|issuer| &*issuer.name).collect()
    }

    /// The user whom the API server of the cluster `issuer` names, until `expires_at`. Only for what
    /// comes from that API server: it is believed about its users. A service account is the caller
    /// that it is by its token, whose groups say nothing.
    ///
    /// # Errors
    /// [`BadUser`] for a name that is none, or of a service account that cannot be.
    pub fn vouched(
        &self,
        issuer: &str,
        user: &str,
        groups: BTreeSet<String>,
        expires_at: Timestamp,
    ) -> Result<Caller, BadUser> {
        let subject = kubernetes::user(user).ok_or_else(|| BadUser(Quoted::new(user)))?;
        let groups = match subject {
            Subject::KubernetesUser { .. } => groups,
            Subject::AwsPrincipal { .. }
            | Subject::CiJob(_)
            | Subject::Gate
            | Subject::KubernetesAccount { .. }
            | Subject::OidcUser { .. } => BTreeSet::new(),
        };
        Ok(Caller {
            roles: roles::roles_of(&subject, issuer, &groups, &self.roles),
            subject,
            issuer: issuer.to_owned(),
            groups,
            expires_at,
            sign_in: SignIn::default(),
        })
    }

    /// The AWS role or user whom STS has named ([`aws::Sts::identity`]), until `expires_at`.
    ///
    /// # Errors
    /// [`Reason::UnknownWorkload`] for one that has no role here.
    pub fn of_aws(&self, principal: AwsPrincipal, expires_at: Timestamp) -> Result<Caller, Reason> {
        let subject = Subject::AwsPrincipal {
            arn: principal.arn.to_string(),
            account: principal.account,
            name: principal.name,
            session: principal.session,
        };
        let caller = Caller {
            roles: roles::roles_of(&subject, aws::ISSUER, &BTreeSet::new(), &self.roles),
            subject,
            issuer: aws::ISSUER.to_owned(),
            groups: BTreeSet::new(),
            expires_at,
            sign_in: SignIn {
                at: Some(self.clock.now()),
                ..SignIn::default()
            },
        };
        known(&caller)?;
        Ok(caller)
    }

    async fn verify(&self, token: &str) -> Result<Arc<Caller>, Reason> {
        let unverified = UnverifiedToken::parse(token)?;
        if unverified.issuer() == self.sessions.issuer() {
            return self.of_session(unverified).await;
        }
        self.of_issuer(token, unverified).await
    }

    async fn of_session(&self, token: UnverifiedToken<'_>) -> Result<Arc<Caller>, Reason> {
        let shown = self.sessions.verify(token).await?;
        self.of_shown(&shown)
    }

    /// The roles are those of now, not those of when the session began.
    fn of_shown(&self, shown: &session::Shown) -> Result<Arc<Caller>, Reason> {
        let who = &shown.row.caller;
        // An issuer that was taken out of the configuration vouches for nobody any more.
        if !self.trusts(&who.issuer) {
            return Err(Reason::SessionEnded);
        }
        let caller = Caller {
            roles: roles::roles_of(&who.subject, &who.issuer, &who.groups, &self.roles),
            expires_at: shown.expires_at,
            sign_in: session::sign_in(&shown.row),
            ..who.clone()
        };
        known(&caller)?;
        Ok(Arc::new(caller))
    }

    async fn of_issuer(
        &self,
        token: &str,
        unverified: UnverifiedToken<'_>,
    ) -> Result<Arc<Caller>, Reason> {
        let caller = self.of_token(token, unverified).await?;
        self.sessions.not_revoked(&caller).await?;
        Ok(caller)
    }

    async fn of_token(
        &self,
        token: &str,
        unverified: UnverifiedToken<'_>,
    ) -> Result<Arc<Caller>, Reason> {
        let issuer = self.issuers.get(unverified.issuer());
        let issuer = issuer.ok_or_else(|| Reason::UnknownIssuer {
            issuer: Quoted::new(unverified.issuer()),
        })?;
        let keys = issuer.keys.having(unverified.key_id()).await;
        let now = self.clock.now();
        let key = cache::Key::new(token, &issuer.name);
        if let Some(caller) = self.verified.get(&key, keys.digest(), now) {
            return Ok(caller);
        }
        let claims = unverified.verify(Type::Jwt, &keys, issuer.rules.scheme())?;
        let (subject, groups, window) = issuer.rules.read(&claims, now)?;
        let caller = Arc::new(Caller {
            roles: roles::roles_of(&subject, &issuer.name, &groups, &self.roles),
            subject,
            issuer: issuer.name.to_string(),
            groups,
            expires_at: window.end,
            sign_in: SignIn {
                at: claims.issued_at()?,
                ..SignIn::default()
            },
        });
        known(&caller)?;
        self.verified
            .put(key, Arc::clone(&caller), keys.digest(), &window, now);
        Ok(caller)
    }
}

/// Whether `caller` is somebody here. People and accounts of a cluster are, by their issuer; of CI systems and of AWS,
/// which vouch for the whole world, only who has a role.
fn known(caller: &Caller) -> Result<(), Reason> {
    let public = matches!(
        caller.subject,
        Subject::AwsPrincipal { .. } | Subject::CiJob(_)
    );
    if public && caller.roles.is_empty() {
        let who = Quoted::new(&caller.display());
        return Err(Reason::UnknownWorkload { who });
    }
    Ok(())
}

/// The issuers of `config`, which is checked, and the files it names read.
fn issuers(config: IdentityConfig) -> Result<HashMap<Arc<str>, Issuer>, Vec<SetupError>> {
    let mut errors = config.check();
    let mut issuers = HashMap::new();
    let times = config.refresh;
    let oidc = config.oidc.into_iter().map(|o| Issuer::oidc(o, times));
    let kubernetes = config.kubernetes.into_iter();
    let kubernetes = kubernetes.map(|k| Issuer::kubernetes(k, times));
    let ci = config.ci.into_iter().map(|c| Issuer::ci(c, times));
    for issuer in oidc.chain(kubernetes).chain(ci) {
        match issuer {
            Ok(issuer) => {
                issuers.insert(Arc::clone(&issuer.name), issuer);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(issuers)
    } else {
        Err(errors)
    }
}

impl Issuer {
    fn ci(config: CiIssuer, times: RefreshTimes) -> Result<Self, SetupError> {
        let rules = Rules::Ci(Ci::new(&config));
        let origin = Origin {
            issuer: config.url,
            source: config.keys,
            ca: config.ca,
            hosts: BTreeSet::new(),
            token_file: None,
        };
        Self::new(rules, origin, times)
    }

    fn oidc(config: OidcIssuer, times: RefreshTimes) -> Result<Self, SetupError> {
        let rules = Rules::Oidc(Oidc::new(&config));
        let origin = Origin {
            issuer: config.url,
            source: config.keys,
            ca: config.ca,
            hosts: config.jwks_hosts,
            token_file: None,
        };
        Self::new(rules, origin, times)
    }

    fn kubernetes(config: KubernetesIssuer, times: RefreshTimes) -> Result<Self, SetupError> {
        let rules = Rules::Kubernetes(Kubernetes::new(&config));
        let origin = Origin {
            issuer: config.url,
            source: config.keys,
            ca: config.ca,
            hosts: BTreeSet::new(),
            token_file: config.token_file,
        };
        Self::new(rules, origin, times)
    }

    fn new(rules: Rules, origin: Origin, times: RefreshTimes) -> Result<Self, SetupError> {
        Ok(Self {
            name: origin.issuer.as_str().into(),
            rules,
            keys: Arc::new(IssuerKeys::new(origin, times)?),
        })
    }
}

impl Rules {
    fn scheme(&self) -> Scheme {
        match self {
            Self::Ci(_) => Scheme::Ci,
            Self::Kubernetes(_) => Scheme::Kubernetes,
            Self::Oidc(_) => Scheme::Oidc,
        }
    }

    /// The subject and groups that `claims` name, and when the token counts, if that is `now`.
    fn read(
        &self,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<(Subject, BTreeSet<String>, Range<Timestamp>), Reason> {
        match self {
            Self::Ci(rules) => rules.read(claims, now),
            Self::Kubernetes(rules) => rules.read(claims, now),
            Self::Oidc(rules) => rules.read(claims, now),
        }
    }
}

/// Who was verified, how, and what configuration makes of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The person or workload.
    pub subject: Subject,
    /// The exact `iss` of the credential.
    pub issuer: String,
    /// The groups that the issuer claims for the subject.
    pub groups: BTreeSet<String>,
    /// The roles that configuration gives to these groups, or to this workload.
    pub roles: BTreeSet<Role>,
    /// When the credential ends.
    pub expires_at: Timestamp,
    /// How they signed in.
    #[serde(default)]
    pub sign_in: SignIn,
}

/// How a caller signed in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// When the issuer gave out the credential; absent where it does not say.
    pub at: Option<Timestamp>,
    /// The session of the gate that the credential belongs to, named by the decision that began it.
    pub session: Option<DecisionId>,
    /// Whether the credential is bound to a key that the caller has shown to hold.
    pub bound: bool,
}

/// The facts of one scheme.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Subject {
    /// An AWS role or user, by a signed `sts:GetCallerIdentity`.
    AwsPrincipal {
        /// The canonical ARN (see [`aws::PrincipalArn`]): of a session, its role's.
        arn: String,
        /// Its account.
        account: String,
        /// The name of the role or user, without a path.
        name: String,
        /// The name of the role's session, which its user has chosen.
        session: Option<String>,
    },
    /// A job of CI, by the ID token that it was issued.
    CiJob(Box<CiJob>),
    /// This gate, in what it does by itself.
    Gate,
    /// A Kubernetes service account, by a projected token.
    KubernetesAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The pod that the token is bound to, where it is.
        pod: Option<String>,
    },
    /// A user of a Kubernetes cluster who is no service account, as its API server names them.
    KubernetesUser {
        /// The name.
        name: String,
    },
    /// A person, by an `OpenID` Connect ID token.
    OidcUser {
        /// The `sub` claim.
        subject: String,
        /// The `email` claim, if the issuer gave one that it does not call unverified.
        email: Option<String>,
        /// The `name` claim.
        name: Option<String>,
    },
}

impl Caller {
    /// The gate at `url`, where it acts by itself at `now`.
    #[must_use]
    pub fn gate(url: &url::Url, now: Timestamp) -> Self {
        Self {
            subject: Subject::Gate,
            issuer: url.to_string(),
            groups: BTreeSet::new(),
            roles: BTreeSet::new(),
            expires_at: now,
            sign_in: SignIn::default(),
        }
    }

    /// What people call this caller: the e-mail, else the subject; a role or user of AWS by its ARN; a job of CI
    /// by its subject; a user or service account (`system:serviceaccount:NS:NAME`) of a cluster as Kubernetes
    /// names them.
    #[must_use]
    pub fn display(&self) -> String {
        match &self.subject {
            Subject::AwsPrincipal { arn, .. } => arn.clone(),
            Subject::CiJob(job) => job.subject.clone(),
            Subject::Gate => "syncgate".to_owned(),
            Subject::KubernetesAccount {
                namespace, name, ..
            } => {
                format!("system:serviceaccount:{namespace}:{name}")
            }
            Subject::KubernetesUser { name } => name.clone(),
            Subject::OidcUser { subject, email, .. } => {
                email.clone().unwrap_or_else(|| subject.clone())
            }
        }
    }

    /// An identifier that no other subject of any issuer has: `ISSUER#SUBJECT`.
    #[must_use]
    pub fn unique(&self) -> String {
        match &self.subject {
            Subject::AwsPrincipal { .. }
            | Subject::CiJob(_)
            | Subject::Gate
            | Subject::KubernetesAccount { .. }
            | Subject::KubernetesUser { .. } => format!("{}#{}", self.issuer, self.display()),
            Subject::OidcUser { subject, .. } => format!("{}#{subject}", self.issuer),
        }
    }

    /// The pod that the credential is bound to, where it is.
    #[must_use]
    pub fn pod(&self) -> Option<PodRef> {
        match &self.subject {
            Subject::KubernetesAccount {
                namespace,
                pod: Some(pod),
                ..
            } => Some(PodRef {
                namespace: namespace.clone(),
                name: pod.clone(),
            }),
            _ => None,
        }
    }
}

/// By hand, so that a new field stays out of logs until somebody adds it here.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("unique", &self.unique())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwsPrincipal { arn, .. } => write!(f, "AwsPrincipal({arn})"),
            Self::CiJob(job) => write!(f, "CiJob({})", job.subject),
            Self::Gate => f.write_str("Gate"),
            Self::KubernetesAccount {
                namespace, name, ..
            } => {
                write!(f, "KubernetesAccount({namespace}/{name})")
            }
            Self::KubernetesUser { name } => write!(f, "KubernetesUser({name})"),
            Self::OidcUser { subject, .. } => write!(f, "OidcUser({subject})"),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
