//! The configuration: a TOML file becomes checked values, or every mistake in it at once.
//!
//! In: the text of the file and the folder it lies in (relative paths start there). Out: a
//! [`Config`] whose every field is checked, or [`Problems`] with the key path of each mistake.
//! Refused: unknown keys, secrets that cannot be read, a plain listener off loopback without being
//! told so. Never: a default that opens something.

mod admission;
mod ci;
pub(crate) mod endpoints;
mod environments;
mod freezes;
mod reader;
mod rollback;
mod secret;
mod sections;
mod signers;

use std::fmt;
use std::path::{Path, PathBuf};

pub use admission::Admission;
pub use endpoints::{Endpoint, Inject, Place};
pub use environments::{Applications, Assignment, ComponentRule, Environment, Traits, fits};
pub use rollback::Rollback;
pub use secret::Secret;
pub use sections::{
    Admin, Aws, Callers, GitAccess, GitCredential, Issuer, IssuerKind, Listen, Receiver,
    RoleMapping, ServerTls, ServiceAccount, Tester, Upstream, Workload,
};

use reader::Table;

use crate::break_glass;
use crate::evidence::dsse::Signer;
use crate::freeze::Freeze;

/// Everything that the file says.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where callers reach the gate; used in links and in what `argocd login` is told.
    pub url: url::Url,
    /// The public listener.
    pub listen: Listen,
    /// The listener for probes and metrics.
    pub admin: Option<Admin>,
    /// The Argo CD API server.
    pub upstream: Upstream,
    /// The door at which the API server of a cluster asks about writes.
    pub admission: Option<Admission>,
    /// The `SQLite` file of the record and the evidence.
    pub store: PathBuf,
    /// The folder of `schema.cedarschema` and `*.cedar`.
    pub policies: PathBuf,
    /// Who may vouch for callers.
    pub issuers: Vec<Issuer>,
    /// AWS, where its roles and users may call.
    pub aws: Option<Aws>,
    /// Which groups and workloads have which roles.
    pub roles: Vec<RoleMapping>,
    /// The environments; their order says nothing.
    pub environments: Vec<Environment>,
    /// Whose signatures of attestations mean something.
    pub signers: Vec<Signer>,
    /// When environments take no change.
    pub freezes: Vec<Freeze>,
    /// How long a break-glass is good for, and how soon its tests are due.
    pub break_glass: break_glass::Terms,
    /// How the gate takes rollouts back; absent: it only proposes to.
    pub rollback: Option<Rollback>,
    /// Which workload reports the tests of which applications.
    pub workloads: Vec<Workload>,
    /// Repositories in which the gate may resolve names itself.
    pub git: Vec<GitAccess>,
    /// Who is told of alarms.
    pub receivers: Vec<Receiver>,
    /// What is under test behind the test door.
    pub endpoints: Vec<Endpoint>,
    /// The file of the key that tells endpoints who calls; absent: one that is made at each start.
    pub assertion_key: Option<PathBuf>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key path, such as `environment[1].requires[0].suite`.
    pub key: String,
    /// What is wrong, to be read behind the key.
    pub message: String,
}

/// Every mistake of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// The file's name as it was given.
    pub file: String,
    /// At least one mistake, in the order of the file's sections.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len();
        write!(
            f,
            "{}: {count} {}",
            self.file,
            if count == 1 { "mistake" } else { "mistakes" }
        )?;
        for problem in &self.list {
            if problem.key.is_empty() {
                write!(f, "\n  {}", problem.message)?;
            } else {
                write!(f, "\n  {}: {}", problem.key, problem.message)?;
            }
        }
        Ok(())
    }
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`Problems`] with every mistake; an unreadable file is one.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Problems {
            file: file.clone(),
            list: vec![Problem {
                key: String::new(),
                message: format!("cannot be read: {error}"),
            }],
        })?;
        let base = path.parent().unwrap_or_else(|| Path::new("."));
        Self::parse(&text, base).map_err(|list| Problems { file, list })
    }

    /// Checks `text`; relative paths in it start at `base`.
    ///
    /// # Errors
    /// Every mistake, at least one.
    pub fn parse(text: &str, base: &Path) -> Result<Self, Vec<Problem>> {
        let fields: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            vec![Problem {
                key: String::new(),
                message: error.to_string().trim_end().to_owned(),
            }]
        })?;
        let mut problems = reader::Problems::default();
        let config = Self::read(Table::root(fields), base, &mut problems);
        let list = problems.into_list();
        match config {
            Some(config) if list.is_empty() => Ok(config),
            _ => Err(list),
        }
    }

    /// The issuer of the tokens by which the gate names callers at Argo CD.
    #[must_use]
    pub fn argocd_issuer(&self) -> String {
        format!("{}syncgate/argocd", self.url)
    }

    /// The issuer by which people sign in: the first of `OpenID` Connect.
    #[must_use]
    pub fn people(&self) -> Option<&Issuer> {
        let mut issuers = self.issuers.iter();
        issuers.find(|issuer| matches!(issuer.kind, IssuerKind::Oidc { .. }))
    }

    fn read(mut root: Table, base: &Path, problems: &mut reader::Problems) -> Option<Self> {
        let url = root.required_parsed("url", problems, sections::external_url);
        let listen = sections::listen(root.required_table("listen", problems), base, problems);
        let admin = root
            .table("admin", problems)
            .and_then(|t| sections::admin(t, problems));
        let upstream =
            sections::upstream(root.required_table("upstream", problems), base, problems);
        let store = base.join(
            root.text("store", problems)
                .unwrap_or_else(|| "syncgate.db".into()),
        );
        let policies = base.join(
            root.text("policies", problems)
                .unwrap_or_else(|| "policies".into()),
        );
        let issuers = sections::issuers(&mut root, base, problems);
        check_issuer(url.as_ref(), upstream.as_ref(), &issuers, problems);
        let admission = root.table("admission", problems).and_then(|table| {
            let namespace = upstream.as_ref().map(|u| u.namespace.as_str());
            admission::read(table, base, &issuers, namespace, problems)
        });
        let aws = sections::aws(&mut root, base, problems);
        let roles = sections::roles(&mut root, &issuers, aws.is_some(), problems);
        let signers = signers::read(&mut root, base, problems);
        let environments = environments::read(&mut root, &signers, problems);
        let freezes = freezes::read(&mut root, &environments, problems);
        let break_glass = sections::break_glass(&mut root, problems);
        let rollback = rollback::read(&mut root, base, admission.as_ref(), problems);
        let workloads = sections::workloads(&mut root, &issuers, problems);
        let git = sections::git(&mut root, base, problems);
        let receivers = sections::receivers(&mut root, base, &environments, problems);
        let endpoints = endpoints::read(&mut root, base, url.as_ref(), &environments, problems);
        let assertion_key = endpoints::assertion_key(&mut root, base, problems);
        root.finish(problems);
        Some(Self {
            url: url?,
            listen: listen?,
            admin,
            upstream: upstream?,
            admission,
            store,
            policies,
            issuers,
            aws,
            roles,
            environments,
            signers,
            freezes,
            break_glass,
            rollback,
            workloads,
            git,
            receivers,
            endpoints,
            assertion_key,
        })
    }
}

/// What the gate signs is no credential at the gate, and Argo CD must get its key over a way that nobody can change.
fn check_issuer(
    url: Option<&url::Url>,
    upstream: Option<&Upstream>,
    issuers: &[Issuer],
    problems: &mut reader::Problems,
) {
    let Some(url) = url else { return };
    let own = format!("{url}syncgate");
    for issuer in issuers {
        let rest = issuer.issuer.strip_prefix(&own);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            let name = &issuer.issuer;
            problems.add(
                "url",
                format!("`{name}` is the gate itself, which vouches for nobody here"),
            );
        }
    }
    let named = upstream.is_some_and(|upstream| upstream.callers == Callers::Named);
    if named && let Err(why) = sections::trusted_url(url.as_str()) {
        problems.add(
            "upstream.callers",
            format!("`named` needs a `url` that nobody can listen to or change on the way: {why}"),
        );
    }
}

#[cfg(test)]
mod tests;
