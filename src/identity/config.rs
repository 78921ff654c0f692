//! What configuration says about identity, checked.
//!
//! In: values that the reader of the configuration file has parsed. Out: structs whose fields hold
//! by construction (an issuer's URL is `https`, or `http` on loopback where that was allowed), and
//! one check over the whole ([`IdentityConfig::check`]) for what only shows in combination.
//! Refused: anything that could name another host than the one written down.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use url::Url;

use super::ci::CiProvider;
use super::roles::RoleMapping;
use crate::outbound::{self, is_loopback};

/// Everything that identity is configured with.
#[derive(Clone, Debug, Default)]
pub struct IdentityConfig {
    /// `OpenID` Connect issuers, for people.
    pub oidc: Vec<OidcIssuer>,
    /// Kubernetes clusters whose service accounts may call.
    pub kubernetes: Vec<KubernetesIssuer>,
    /// CI systems whose jobs may call.
    pub ci: Vec<CiIssuer>,
    /// Who has which role.
    pub roles: Vec<RoleMapping>,
    /// How keys are kept fresh.
    pub refresh: RefreshTimes,
}

/// One `OpenID` Connect issuer.
#[derive(Clone, Debug)]
pub struct OidcIssuer {
    /// The issuer; tokens must carry exactly this text as `iss`.
    pub url: IssuerUrl,
    /// The clients that people sign in through.
    pub client_ids: ClientIds,
    /// Further audiences that count, beside the two clients.
    pub audiences: BTreeSet<String>,
    /// The claim that holds the groups, `groups` as a rule.
    pub groups_claim: String,
    /// A PEM file with the only authorities to trust for this issuer; the system's if absent.
    pub ca: Option<PathBuf>,
    /// Hosts (`host` or `host:port`) beside the issuer's own that its discovery document may name
    /// for its keys.
    pub jwks_hosts: BTreeSet<String>,
    /// Where the keys come from.
    pub keys: KeySource,
}

/// The two clients of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIds {
    /// The public client of the `argocd` command.
    pub cli: String,
    /// The client of the web pages, if people sign in there.
    pub ui: Option<String>,
}

/// One Kubernetes cluster as an issuer of service-account tokens.
#[derive(Clone, Debug)]
pub struct KubernetesIssuer {
    /// The issuer, as kube-apiserver's `--service-account-issuer` has it.
    pub url: IssuerUrl,
    /// The audience that a projected token must be requested for.
    pub audience: String,
    /// A PEM file with the only authorities to trust; the system's if absent.
    pub ca: Option<PathBuf>,
    /// Where the keys come from. The discovery document of a cluster often names an inner address:
    /// [`KeySource::Uri`] says a better one.
    pub keys: KeySource,
    /// A file with a bearer token for kube-apiserver, read anew for each fetch.
    pub token_file: Option<PathBuf>,
    /// The longest life (`exp` less `iat`) a token may have; one of a year cannot be taken back.
    pub longest_life: SignedDuration,
}

/// One CI system as an issuer of tokens of its jobs.
#[derive(Clone, Debug)]
pub struct CiIssuer {
    /// The issuer; tokens must carry exactly this text as `iss`.
    pub url: IssuerUrl,
    /// Which claims its tokens have.
    pub provider: CiProvider,
    /// The audience, which must be the only one of a token.
    pub audience: String,
    /// A PEM file with the only authorities to trust; the system's if absent.
    pub ca: Option<PathBuf>,
    /// Where the keys come from.
    pub keys: KeySource,
    /// The longest life (`exp` less `iat`) a token may have. GitHub's live for minutes, GitLab's as long
    /// as the job may take.
    pub longest_life: SignedDuration,
}

/// The default of [`KubernetesIssuer::longest_life`] and [`CiIssuer::longest_life`].
pub const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// Where an issuer's keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// From the `jwks_uri` of the issuer's discovery document.
    Discover,
    /// From a JWKS file, read anew at each refresh.
    File(PathBuf),
    /// From this address, without discovery.
    Uri(FetchUrl),
}

/// How keys are kept fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshTimes {
    /// How often keys are read anew when nothing asks for it.
    pub interval: Duration,
    /// How long after a refresh, good or failed, an unknown key starts no other.
    pub cool_down: Duration,
    /// How long a caller waits for a refresh that is under way.
    pub wait: Duration,
    /// How long one answer of the issuer may take.
    pub timeout: Duration,
}

impl Default for RefreshTimes {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(15),
            cool_down: Duration::from_secs(30),
            wait: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
        }
    }
}

/// Whether an address without TLS is acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttp {
    /// On loopback addresses only, for tests and demonstrations.
    Loopback,
    /// Nowhere.
    Refuse,
}

/// An address that keys or metadata may be fetched from: `https`, or `http` to loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchUrl(Url);

impl FetchUrl {
    /// Checks `text` and takes it.
    ///
    /// # Errors
    /// [`BadUrl`] if it is no URL, has a user name, password or fragment, or a scheme other than
    /// `https` (and `http` to loopback where `plain` allows it).
    pub fn parse(text: &str, plain: PlainHttp) -> Result<Self, BadUrl> {
        let bad = |fault| BadUrl {
            text: text.to_owned(),
            fault,
        };
        let url = Url::parse(text).map_err(|_| bad(UrlFault::NotAbsolute))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad(UrlFault::Credentials));
        }
        if url.fragment().is_some() {
            return Err(bad(UrlFault::Fragment));
        }
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if plain == PlainHttp::Loopback && is_loopback(&url) => Ok(Self(url)),
            _ => Err(bad(UrlFault::Scheme)),
        }
    }

    /// The address.
    #[must_use]
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// Whether TLS protects it.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// `host` for the scheme's own port, else `host:port`.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}

/// The name of an issuer: an address without query, kept as it was written, since `iss` is
/// compared by its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerUrl {
    text: String,
    url: FetchUrl,
}

impl IssuerUrl {
    /// Checks `text` and takes it.
    ///
    /// # Errors
    /// [`BadUrl`] as for [`FetchUrl::parse`], and for a query.
    pub fn parse(text: &str, plain: PlainHttp) -> Result<Self, BadUrl> {
        let url = FetchUrl::parse(text, plain)?;
        if url.as_url().query().is_some() {
            return Err(BadUrl {
                text: text.to_owned(),
                fault: UrlFault::Query,
            });
        }
        Ok(Self {
            text: text.to_owned(),
            url,
        })
    }

    /// The issuer exactly as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The issuer as an address.
    #[must_use]
    pub fn address(&self) -> &FetchUrl {
        &self.url
    }

    /// What was allowed for the issuer is allowed for its keys: `http` only if it uses that itself.
    #[must_use]
    pub fn plain_http(&self) -> PlainHttp {
        if self.url.is_https() {
            PlainHttp::Refuse
        } else {
            PlainHttp::Loopback
        }
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An address that is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {fault}")]
pub struct BadUrl {
    text: String,
    fault: UrlFault,
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum UrlFault {
    #[error("has a user name or password in it")]
    Credentials,
    #[error("has a fragment (`#`)")]
    Fragment,
    #[error("is not an absolute URL")]
    NotAbsolute,
    #[error("has a query (`?`)")]
    Query,
    #[error("does not begin with `https://` (`http://` is for loopback, and must be allowed)")]
    Scheme,
}

/// One thing that keeps identity from starting.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A text that must not be empty is.
    #[error("`{field}` of issuer `{issuer}` is empty")]
    Empty {
        /// Whose.
        issuer: String,
        /// Which.
        field: &'static str,
    },
    /// A JWKS file does not hold a usable key.
    #[error("cannot take the keys of `{issuer}` from its file")]
    KeyFile {
        /// Whose.
        issuer: String,
        /// Why.
        #[source]
        source: super::keys::KeyError,
    },
    /// Nobody could sign in.
    #[error("no issuer is configured")]
    NoIssuer,
    /// Two issuers with one name.
    #[error("issuer `{issuer}` is configured twice")]
    Repeated {
        /// The name.
        issuer: String,
    },
    /// A role for people or accounts of an issuer that is not configured would never match.
    #[error("role `{role}` names issuer `{issuer}`, which is not configured")]
    RoleIssuer {
        /// The role.
        role: String,
        /// The issuer it names.
        issuer: String,
    },
    /// It is not known whom to trust for it.
    #[error("cannot set up TLS for `{issuer}`")]
    Trust {
        /// Whose.
        issuer: String,
        /// Why.
        #[source]
        source: outbound::Error,
    },
}

impl IdentityConfig {
    /// Everything that is wrong with the combination of these settings; empty if nothing is.
    #[must_use]
    pub fn check(&self) -> Vec<SetupError> {
        let mut errors = Vec::new();
        let oidc = self.oidc.iter().map(|o| &o.url);
        let mut seen = BTreeSet::new();
        let kubernetes = self.kubernetes.iter().map(|k| &k.url);
        let ci = self.ci.iter().map(|c| &c.url);
        for url in oidc.chain(kubernetes).chain(ci) {
            if !seen.insert(url.as_str()) {
                let issuer = url.to_string();
                errors.push(SetupError::Repeated { issuer });
            }
        }
        if seen.is_empty() {
            errors.push(SetupError::NoIssuer);
        }
        errors.extend(self.oidc.iter().flat_map(OidcIssuer::check));
        errors.extend(self.kubernetes.iter().flat_map(KubernetesIssuer::check));
        errors.extend(self.ci.iter().flat_map(CiIssuer::check));
        for mapping in &self.roles {
            for issuer in mapping.issuers().filter(|i| !seen.contains(i)) {
                errors.push(SetupError::RoleIssuer {
                    role: mapping.role.to_string(),
                    issuer: issuer.to_owned(),
                });
            }
        }
        errors
    }
}

impl OidcIssuer {
    fn check(&self) -> Vec<SetupError> {
        let ui = self.client_ids.ui.iter().map(|ui| ("client_ids.ui", ui));
        let audiences = self.audiences.iter().map(|a| ("audiences", a));
        let fields = [
            ("client_ids.cli", &self.client_ids.cli),
            ("groups_claim", &self.groups_claim),
        ];
        empty_fields(&self.url, fields.into_iter().chain(ui).chain(audiences))
    }
}

impl KubernetesIssuer {
    fn check(&self) -> Vec<SetupError> {
        empty_fields(&self.url, [("audience", &self.audience)])
    }
}

impl CiIssuer {
    fn check(&self) -> Vec<SetupError> {
        empty_fields(&self.url, [("audience", &self.audience)])
    }
}

/// An error for each field with no text; an empty audience would match an empty `aud`.
fn empty_fields<'a>(
    url: &IssuerUrl,
    fields: impl IntoIterator<Item = (&'static str, &'a String)>,
) -> Vec<SetupError> {
    let empty = fields.into_iter().filter(|(_, text)| text.is_empty());
    empty
        .map(|(field, _)| SetupError::Empty {
            issuer: url.to_string(),
            field,
        })
        .collect()
}

#[cfg(test)]
mod tests;
