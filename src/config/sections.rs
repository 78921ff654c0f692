//! The sections of the file but the environments.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use url::Url;

use super::ci;
use super::environments::Environment;
use super::reader::{Problems, Table};
use super::secret::Secret;
use crate::break_glass::Terms;
use crate::identity::aws::{PrincipalArn, StsUrl};
use crate::identity::ci::{CiProvider, JobMatch};
use crate::names::{EnvironmentName, Role};
use crate::notify::{Kind, Template};
use crate::outbound::is_loopback;
use crate::pattern::Pattern;

/// How long a stop waits for calls under way unless the file says otherwise.
const DEFAULT_DRAIN: SignedDuration = SignedDuration::from_secs(30);

/// The longest time for which a break-glass may let anything through.
const LONGEST_EXCEPTION: SignedDuration = SignedDuration::from_hours(24);

/// The public listener.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Certificate and key; absent is plain HTTP.
    pub tls: Option<ServerTls>,
    /// How long a stop waits for calls under way.
    pub drain: SignedDuration,
}

/// Certificate chain and private key of a listener, both PEM files.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The key of the leaf.
    pub key: PathBuf,
}

/// The listener for probes and metrics.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Address and port; plain HTTP.
    pub address: SocketAddr,
}

/// The Argo CD API server.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Scheme, host and port; `http` only on loopback.
    pub url: Url,
    /// A PEM file of the authorities to trust instead of the public ones.
    pub ca: Option<PathBuf>,
    /// The API token of the account that the gate uses.
    pub token: Secret,
    /// As whom calls of callers arrive there.
    pub callers: Callers,
    /// Argo CD's own namespace: applications there are named without it.
    pub namespace: String,
}

/// As whom calls of callers arrive at Argo CD. What the gate asks or does by itself is always its account's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Callers {
    /// All as the gate's account.
    #[default]
    Account,
    /// Each as themselves: the gate is Argo CD's `OpenID` Connect issuer, and names them in a token.
    Named,
}

/// Someone who vouches for callers.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The exact `iss` of its tokens, as written (a final slash counts); discovery starts here.
    pub issuer: String,
    /// A PEM file of the authorities to trust for it instead of the public ones.
    pub ca: Option<PathBuf>,
    /// Where its keys are, if not where discovery says.
    pub jwks_uri: Option<Url>,
    /// What it issues.
    pub kind: IssuerKind,
}

/// What an issuer issues.
#[derive(Clone, Debug)]
pub enum IssuerKind {
    /// ID tokens of jobs of CI.
    Ci {
        /// Which claims they have.
        provider: CiProvider,
        /// The audience that a token must have, and no other.
        audience: String,
    },
    /// Kubernetes projected service-account tokens.
    Kubernetes {
        /// The audience that a token must have.
        audience: String,
        /// A file with a bearer token for reading discovery and keys, where the API server wants one;
        /// read at each use, since projected tokens are renewed.
        token_file: Option<PathBuf>,
    },
    /// `OpenID` Connect ID tokens.
    Oidc {
        /// The public client that `argocd login --sso` uses.
        cli_client_id: String,
        /// The client of the web UI.
        ui_client_id: Option<String>,
        /// The scopes that `argocd login --sso` asks for.
        scopes: Vec<String>,
        /// The claim that holds the groups.
        groups_claim: String,
        /// The name shown to people.
        name: String,
    },
}

/// AWS, whose roles and users may call.
#[derive(Clone, Debug)]
pub struct Aws {
    /// The endpoints of STS that the gate asks; at least one.
    pub sts: Vec<StsUrl>,
    /// A PEM file of the authorities to trust there instead of the system's.
    pub ca: Option<PathBuf>,
}

/// Who has a role.
#[derive(Clone, Debug)]
pub struct RoleMapping {
    /// The role.
    pub role: Role,
    /// (issuer, group) pairs.
    pub groups: Vec<(String, String)>,
    /// Kubernetes service accounts.
    pub service_accounts: Vec<ServiceAccount>,
    /// Jobs of CI.
    pub ci: Vec<JobMatch>,
    /// Roles and users of AWS.
    pub aws: Vec<PrincipalArn>,
}

/// A Kubernetes service account of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// The issuer of the cluster's tokens.
    pub issuer: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Which applications' tests a workload reports.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What runs them.
    pub tester: Tester,
    /// The applications whose tests it runs.
    pub applications: Pattern,
}

/// What runs tests.
#[derive(Clone, Debug)]
pub enum Tester {
    /// Jobs of CI.
    Ci(JobMatch),
    /// What runs as this service account.
    ServiceAccount(ServiceAccount),
}

/// A repository in which the gate resolves names itself.
#[derive(Clone, Debug)]
pub struct GitAccess {
    /// Patterns of the repository's URL, as applications name it.
    pub repository: Pattern,
    /// Branches from which a full SHA must be reachable.
    pub branches: Vec<String>,
    /// How to sign in; absent for repositories that want nothing.
    pub credential: Option<GitCredential>,
}

/// Who is told what has happened.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Where messages go: https, or http on loopback.
    pub url: Url,
    /// A PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The bearer token to send.
    pub token: Option<Secret>,
    /// Makes messages for Slack; absent: `CloudEvents` events are sent.
    pub slack: Option<Template>,
    /// Of what; of everything where it is empty.
    pub events: Vec<Kind>,
    /// From which environments; from all where it is empty.
    pub environments: Vec<EnvironmentName>,
}

/// How to sign in to a repository.
#[derive(Clone, Debug)]
pub enum GitCredential {
    /// An SSH private key file.
    SshKey(PathBuf),
    /// A token for https.
    Token(Secret),
}

/// The gate's own URL: http or https, no path.
pub(super) fn external_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("`{text}` is not an http or https URL"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("`{text}` must end behind host and port"));
    }
    Ok(url)
}

/// An issuer, kept as written: `iss` is compared byte by byte.
pub(super) fn issuer(text: &str) -> Result<String, String> {
    trusted_url(text).map(|_| text.to_owned())
}

/// A URL to which credentials go: https, or http on loopback.
pub(super) fn trusted_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(format!("`{text}` is plain http off loopback; use https")),
        other => Err(format!(
            "`{other}` is not a scheme that can be used here; use https"
        )),
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not an address and port such as `127.0.0.1:8443`"))
}

/// A file that must be readable now.
pub(super) fn file(
    table: &mut Table,
    key: &'static str,
    base: &Path,
    problems: &mut Problems,
) -> Option<PathBuf> {
    table.parsed(key, problems, |text| {
        let path = base.join(text);
        match std::fs::File::open(&path) {
            Ok(_) => Ok(path),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        }
    })
}

fn secret(
    table: &mut Table,
    key: &'static str,
    base: &Path,
    problems: &mut Problems,
) -> Option<Secret> {
    table.parsed(key, problems, |text| Secret::parse(text, base))
}

pub(super) fn listen(mut table: Table, base: &Path, problems: &mut Problems) -> Option<Listen> {
    let address = table.required_parsed("address", problems, address);
    let path = table.key("certificate");
    let pair = (table.has("certificate"), table.has("key"));
    let certificate = file(&mut table, "certificate", base, problems);
    let key = file(&mut table, "key", base, problems);
    let plaintext = table.flag("plaintext", problems);
    let drain = table.duration("drain", problems).unwrap_or(DEFAULT_DRAIN);
    match pair {
        (true, true) if plaintext => problems.add(table.key("plaintext"), "contradicts certificate and key"),
        (true, true) => {}
        (false, false) if plaintext => {}
        (false, false) if address.is_some_and(|a| a.ip().is_loopback()) => {}
        (false, false) => problems.add(path, "is required off loopback; or say `plaintext = true` where something in front speaks TLS"),
        _ => problems.add(path, "certificate and key belong together"),
    }
    table.finish(problems);
    let tls = certificate
        .zip(key)
        .map(|(certificate, key)| ServerTls { certificate, key });
    Some(Listen {
        address: address?,
        tls,
        drain,
    })
}

pub(super) fn admin(mut table: Table, problems: &mut Problems) -> Option<Admin> {
    let address = table.required_parsed("address", problems, address);
    table.finish(problems);
    Some(Admin { address: address? })
}

pub(super) fn upstream(mut table: Table, base: &Path, problems: &mut Problems) -> Option<Upstream> {
    let url = table.required_parsed("url", problems, trusted_url);
    let ca = file(&mut table, "ca", base, problems);
    let token = table.required_parsed("token", problems, |text| Secret::parse(text, base));
    let callers = table.parsed("callers", problems, |text| match text {
        "account" => Ok(Callers::Account),
        "named" => Ok(Callers::Named),
        other => Err(format!(
            "`{other}` is not how callers arrive; use `account` or `named`"
        )),
    });
    let namespace = table
        .text("namespace", problems)
        .unwrap_or_else(|| "argocd".into());
    table.finish(problems);
    Some(Upstream {
        url: url?,
        ca,
        token: token?,
        callers: callers.unwrap_or_default(),
        namespace,
    })
}

pub(super) fn issuers(root: &mut Table, base: &Path, problems: &mut Problems) -> Vec<Issuer> {
    let mut out: Vec<Issuer> = Vec::new();
    let mut add = |key: String, issuer: Option<Issuer>, problems: &mut Problems| {
        let Some(issuer) = issuer else { return };
        if out.iter().any(|other| other.issuer == issuer.issuer) {
            problems.add(key, format!("`{}` is declared twice", issuer.issuer));
        }
        out.push(issuer);
    };
    for mut table in root.tables("oidc", problems) {
        let key = table.key("issuer");
        let issuer = oidc(&mut table, base, problems);
        table.finish(problems);
        add(key, issuer, problems);
    }
    for mut table in root.tables("kubernetes", problems) {
        let key = table.key("issuer");
        let url = table.required_parsed("issuer", problems, issuer);
        let audience = table.required("audience", problems);
        let ca = file(&mut table, "ca", base, problems);
        let jwks_uri = table.parsed("jwks_uri", problems, trusted_url);
        let token_file = file(&mut table, "token_file", base, problems);
        table.finish(problems);
        let kind = IssuerKind::Kubernetes {
            audience,
            token_file,
        };
        add(
            key,
            url.map(|issuer| Issuer {
                issuer,
                ca,
                jwks_uri,
                kind,
            }),
            problems,
        );
    }
    for table in root.tables("ci", problems) {
        let key = table.key("issuer");
        let issuer = ci::read(table, base, problems);
        add(key, issuer, problems);
    }
    out
}

fn oidc(table: &mut Table, base: &Path, problems: &mut Problems) -> Option<Issuer> {
    let issuer = table.required_parsed("issuer", problems, issuer);
    let cli_client_id = table.required("cli_client_id", problems);
    let ui_client_id = table.text("ui_client_id", problems);
    let groups_claim = table
        .text("groups_claim", problems)
        .unwrap_or_else(|| "groups".into());
    let name = table
        .text("name", problems)
        .unwrap_or_else(|| "OpenID Connect".into());
    let ca = file(table, "ca", base, problems);
    let jwks_uri = table.parsed("jwks_uri", problems, trusted_url);
    let scopes = if table.has("scopes") {
        table.texts("scopes", problems)
    } else {
        ["openid", "profile", "email", "groups"]
            .map(String::from)
            .to_vec()
    };
    let kind = IssuerKind::Oidc {
        cli_client_id,
        ui_client_id,
        scopes,
        groups_claim,
        name,
    };
    Some(Issuer {
        issuer: issuer?,
        ca,
        jwks_uri,
        kind,
    })
}

/// The section `[aws]`.
pub(super) fn aws(root: &mut Table, base: &Path, problems: &mut Problems) -> Option<Aws> {
    let mut table = root.table("aws", problems)?;
    let sts = if table.has("sts") {
        let is_empty = table.is_empty("sts");
        let sts = each(&mut table, "sts", problems, |text| {
            StsUrl::parse(text).map_err(|error| error.to_string())
        });
        if is_empty {
            problems.add(
                table.key("sts"),
                "names no endpoint; leave it out for the global one",
            );
        }
        sts
    } else {
        vec![StsUrl::default()]
    };
    let ca = file(&mut table, "ca", base, problems);
    table.finish(problems);
    Some(Aws { sts, ca })
}

pub(super) fn roles(
    root: &mut Table,
    issuers: &[Issuer],
    has_aws: bool,
    problems: &mut Problems,
) -> Vec<RoleMapping> {
    let mut out = Vec::new();
    for mut table in root.tables("role", problems) {
        let role = table.required_parsed("name", problems, |text| Role::parse(text));
        let mut groups = Vec::new();
        for mut entry in table.tables("groups", problems) {
            let key = entry.key("issuer");
            let issuer = entry.required_parsed("issuer", problems, issuer);
            let group = entry.required("group", problems);
            entry.finish(problems);
            let Some(issuer) = issuer else { continue };
            let known = issuers.iter().find(|known| known.issuer == issuer);
            match known.map(|known| &known.kind) {
                Some(IssuerKind::Kubernetes { .. } | IssuerKind::Oidc { .. }) => {
                    groups.push((issuer, group));
                }
                Some(IssuerKind::Ci { .. }) => problems.add(
                    key,
                    format!("`{issuer}` is of jobs of CI, which have no groups; use `ci`"),
                ),
                None => problems.add(key, format!("`{issuer}` is not an issuer of this file")),
            }
        }
        let key = table.key("service_accounts");
        let mut service_accounts = Vec::new();
        for text in table.texts("service_accounts", problems) {
            match service_account(&text, issuers) {
                Ok(account) => service_accounts.push(account),
                Err(message) => problems.add(&key, message),
            }
        }
        let jobs = table.tables("ci", problems).into_iter();
        let ci = jobs.filter_map(|entry| ci::job(entry, issuers, problems));
        let ci = ci.collect();
        let key = table.key("aws");
        let aws = each(&mut table, "aws", problems, |text| {
            PrincipalArn::parse(text).map_err(|error| error.to_string())
        });
        if !aws.is_empty() && !has_aws {
            problems.add(key, "needs the section [aws] in this file");
        }
        table.finish(problems);
        if let Some(role) = role {
            out.push(RoleMapping {
                role,
                groups,
                service_accounts,
                ci,
                aws,
            });
        }
    }
    out
}

/// `NAMESPACE/NAME`, or `ISSUER#NAMESPACE/NAME` where several clusters are configured: the same
/// names in two of them are two accounts.
fn service_account(text: &str, issuers: &[Issuer]) -> Result<ServiceAccount, String> {
    let clusters = clusters(issuers);
    let (issuer, name) = match (text.rsplit_once('#'), clusters.as_slice()) {
        (Some((issuer, account)), known) if known.contains(&issuer) => (issuer, account),
        (Some((issuer, _)), _) => {
            return Err(format!(
                "`{issuer}` is not a [[kubernetes]] issuer of this file"
            ));
        }
        (None, [only]) => (*only, text),
        (None, []) => {
            return Err(format!(
                "`{text}` needs a [[kubernetes]] issuer in this file"
            ));
        }
        (None, _) => {
            return Err(format!(
                "`{text}` is ambiguous with several [[kubernetes]] issuers; write ISSUER#{text}"
            ));
        }
    };
    account(name, issuer)
}

/// The names of the configured clusters.
pub(super) fn clusters(issuers: &[Issuer]) -> Vec<&str> {
    issuers
        .iter()
        .filter(|issuer| matches!(issuer.kind, IssuerKind::Kubernetes { .. }))
        .map(|issuer| issuer.issuer.as_str())
        .collect()
}

/// The account `NAMESPACE/NAME` of the cluster `issuer`.
pub(super) fn account(text: &str, issuer: &str) -> Result<ServiceAccount, String> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(ServiceAccount {
                issuer: issuer.to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
        }
        _ => Err(format!("`{text}` is not `NAMESPACE/NAME`")),
    }
}

pub(super) fn workloads(
    root: &mut Table,
    issuers: &[Issuer],
    problems: &mut Problems,
) -> Vec<Workload> {
    let mut out = Vec::new();
    for mut table in root.tables("workload", problems) {
        let tester = tester(&mut table, issuers, problems);
        let applications = table.required("applications", problems);
        table.finish(problems);
        if let Some(tester) = tester {
            out.push(Workload {
                tester,
                applications: Pattern::new(applications),
            });
        }
    }
    out
}

/// Exactly one of `service_account` and `ci`.
fn tester(table: &mut Table, issuers: &[Issuer], problems: &mut Problems) -> Option<Tester> {
    let (path, is_account) = (table.key("service_account"), table.has("service_account"));
    let account = table.parsed("service_account", problems, |text| {
        service_account(text, issuers)
    });
    let Some(jobs) = table.table("ci", problems) else {
        if !is_account {
            problems.add(path, "is required, or `ci` instead of it");
        }
        return account.map(Tester::ServiceAccount);
    };
    if is_account {
        problems.add(path, "contradicts ci; give one of them");
    }
    ci::job(jobs, issuers, problems).map(Tester::Ci)
}

pub(super) fn git(root: &mut Table, base: &Path, problems: &mut Problems) -> Vec<GitAccess> {
    let mut out = Vec::new();
    for mut table in root.tables("git", problems) {
        let repository = Pattern::new(table.required("repository", problems));
        let branches = table.texts("branches", problems);
        let token = secret(&mut table, "token", base, problems);
        let key = file(&mut table, "ssh_key", base, problems);
        let credential = match (token, key) {
            (Some(_), Some(_)) => {
                problems.add(table.key("token"), "contradicts ssh_key; give one of them");
                None
            }
            (Some(token), None) => Some(GitCredential::Token(token)),
            (None, Some(key)) => Some(GitCredential::SshKey(key)),
            (None, None) => None,
        };
        table.finish(problems);
        out.push(GitAccess {
            repository,
            branches,
            credential,
        });
    }
    out
}

pub(super) fn receivers(
    root: &mut Table,
    base: &Path,
    environments: &[Environment],
    problems: &mut Problems,
) -> Vec<Receiver> {
    let mut out: Vec<Receiver> = Vec::new();
    for mut table in root.tables("notify", problems) {
        // The address of a Slack webhook is a secret.
        let url = table.required_parsed("url", problems, |text| {
            trusted_url(&Secret::parse(text, base)?.read()?)
        });
        let ca = file(&mut table, "ca", base, problems);
        let token = secret(&mut table, "token", base, problems);
        let slack = slack(&mut table, base, problems);
        let events = each(&mut table, "events", problems, Kind::parse);
        let environments = each(&mut table, "environments", problems, |text| {
            let known = environments.iter().find(|e| e.name.as_str() == text);
            known
                .map(|environment| environment.name.clone())
                .ok_or_else(|| format!("`{text}` is not an environment of this file"))
        });
        let key = table.key("url");
        table.finish(problems);
        let Some(url) = url else { continue };
        // Messages wait under the address of their receiver.
        if out.iter().any(|other| other.url == url) {
            problems.add(key, "is declared twice");
        }
        out.push(Receiver {
            url,
            ca,
            token,
            slack,
            events,
            environments,
        });
    }
    out
}

fn slack(table: &mut Table, base: &Path, problems: &mut Problems) -> Option<Template> {
    let is_slack = table.parsed("format", problems, |text| match text {
        "cloudevents" => Ok(false),
        "slack" => Ok(true),
        other => Err(format!(
            "`{other}` is not a format; use `cloudevents` or `slack`"
        )),
    });
    let template = table.parsed("template", problems, |text| {
        let path = base.join(text);
        let shown = path.display();
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {shown}: {error}"))?;
        Template::parse(&text).map_err(|error| format!("{shown} cannot be used: {error}"))
    });
    match (is_slack.unwrap_or(false), template) {
        (true, template) => Some(template.unwrap_or_default()),
        (false, None) => None,
        (false, Some(_)) => {
            problems.add(table.key("template"), "is for the format `slack` only");
            None
        }
    }
}

/// A list of texts, each made into something by `parse`.
fn each<T>(
    table: &mut Table,
    key: &'static str,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let mut out = Vec::new();
    for (index, text) in table.texts(key, problems).iter().enumerate() {
        match parse(text) {
            Ok(value) => out.push(value),
            Err(error) => problems.add(format!("{}[{index}]", table.key(key)), error),
        }
    }
    out
}

/// The section `[break_glass]`.
pub(super) fn break_glass(root: &mut Table, problems: &mut Problems) -> Terms {
    let usual = Terms::default();
    let Some(mut table) = root.table("break_glass", problems) else {
        return usual;
    };
    let terms = Terms {
        expires: table.duration("expires", problems).unwrap_or(usual.expires),
        due: table.duration("due", problems).unwrap_or(usual.due),
    };
    if terms.expires > LONGEST_EXCEPTION {
        problems.add(table.key("expires"), "is longer than a day");
    }
    table.finish(problems);
    terms
}
