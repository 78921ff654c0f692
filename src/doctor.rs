//! Finds out what is wrong with an installation, in order.
//!
//! In: the gate's configuration file. Out: a [`Finding`] for each thing that must hold, with what to do where it does
//! not; and for each that cannot be seen from here. The gate need not run. Argo CD is asked with the gate's credential,
//! for nothing that changes anything. Never: a secret in a finding; a finding that guesses.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::app;
use crate::argocd::client::{self, Client};
use crate::clock::Clock;
use crate::config::{Callers, Config, ServerTls};
use crate::identity::Identity;
use crate::identity::keys::KeyError;
use crate::issuer::CLIENT_ID;
use crate::json;
use crate::listener::tls::{self, Tls};
use crate::outbound::is_loopback;
use crate::policy;
use crate::telemetry::chain;

/// The versions of Argo CD whose API is in the table.
const SUPPORTED: &str = "v3.6.";

/// How it is with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it must be.
    Well,
    /// Not to be seen from here.
    Unseen,
    /// Not as it must be.
    Wrong,
    /// A mistake in the configuration or what it names.
    Misconfigured,
    /// It does not answer.
    Unreachable,
}

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which: `configuration`, `policies`, `certificate`, `keys`, `argocd`, `callers`, `past-the-gate`, `admission`.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub found: String,
    /// What to do; absent where all is well.
    pub mend: Option<String>,
}

impl Finding {
    fn well(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            state: State::Well,
            found: found.into(),
            mend: None,
        }
    }

    fn ill(
        check: &'static str,
        state: State,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            check,
            state,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }

    /// Whether nothing is wrong with it that could be seen.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self.state, State::Well | State::Unseen)
    }
}

/// Looks at everything that the configuration in `file` is about, as far as one thing lets the next be looked at.
pub async fn examine(file: &Path) -> Vec<Finding> {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(problems) => {
            let mend = "correct these keys; config/syncgate.toml explains every one";
            let (state, found) = (State::Misconfigured, problems.to_string());
            return vec![Finding::ill("configuration", state, found, mend)];
        }
    };
    let found = format!("{} is in order", file.display());
    let mut findings = vec![Finding::well("configuration", found), policies(&config)];
    let door = config.admission.as_ref();
    let listeners = [
        ("listen", config.listen.tls.as_ref()),
        ("admission", door.map(|door| &door.tls)),
    ];
    for (section, files) in listeners {
        findings.extend(files.map(|files| certificate(section, files)));
    }
    findings.extend(keys(&config).await);
    findings.extend(argocd(&config).await);
    findings.push(admission(&config));
    findings
}

fn policies(config: &Config) -> Finding {
    let folder = &config.policies;
    match policy::Live::open(folder, Clock::system()) {
        Ok(_) => Finding::well("policies", policy::check(folder).to_string()),
        Err(error) => {
            let mend = format!("see `syncgate policy test {}`", folder.display());
            Finding::ill("policies", State::Misconfigured, error.to_string(), mend)
        }
    }
}

fn certificate(section: &str, files: &ServerTls) -> Finding {
    let loaded = Tls::load(tls::Files {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        client_ca: None,
    });
    match loaded {
        Ok(_) => Finding::well("certificate", format!("that of [{section}] has its key")),
        Err(error) => {
            let mend = format!("correct `certificate` and `key` of [{section}]");
            Finding::ill("certificate", State::Misconfigured, chain(&error), mend)
        }
    }
}

/// Whether the keys of each issuer can be read.
async fn keys(config: &Config) -> Vec<Finding> {
    let read = match app::identity_config(config) {
        Ok(identity) => Identity::read_keys(identity)
            .await
            .map_err(|errors| app::Error::Identity(app::list(&errors))),
        Err(error) => Err(error),
    };
    let read = match read {
        Ok(read) => read,
        Err(error) => {
            let mend = "correct the issuers";
            return vec![Finding::ill(
                "keys",
                State::Misconfigured,
                chain(&error),
                mend,
            )];
        }
    };
    let read = read.into_iter().map(|(issuer, keys)| match keys {
        Ok(keys) => Finding::well("keys", format!("{keys} of {issuer}")),
        Err(error) => {
            let state = match error {
                KeyError::Fetch(_) => State::Unreachable,
                KeyError::Discovery(_)
                | KeyError::File { .. }
                | KeyError::ForeignHost { .. }
                | KeyError::OtherIssuer { .. }
                | KeyError::Set(_) => State::Wrong,
            };
            let mend = "see that `issuer` is its exact `iss`, that this machine reaches it, and that `ca` is its authority";
            Finding::ill("keys", state, format!("{issuer}: {}", chain(&error)), mend)
        }
    });
    read.collect()
}

/// Argo CD: whether it answers, is one that is known, takes the gate's credential, and agrees on who calls.
async fn argocd(config: &Config) -> Vec<Finding> {
    let client = match app::argocd(config) {
        Ok((_, client)) => client,
        Err(error) => {
            let mend = "correct [upstream]";
            return vec![Finding::ill(
                "argocd",
                State::Misconfigured,
                chain(&error),
                mend,
            )];
        }
    };
    match asked(&client).await {
        Err(error) => vec![unanswered(config, &error)],
        Ok(said) => {
            let mut findings = vec![version(&said.version), account(&said.account)];
            findings.push(callers(config, &said.settings));
            findings.extend(past_the_gate(config, &said.settings));
            findings
        }
    }
}

/// What Argo CD said.
struct Said {
    version: Value,
    account: Value,
    settings: Value,
}

async fn asked(client: &Client) -> Result<Said, client::Error> {
    Ok(Said {
        version: client.public("/api/version").await?,
        account: client.told("/api/v1/session/userinfo").await?,
        settings: client.told("/api/v1/settings").await?,
    })
}

fn unanswered(config: &Config, error: &client::Error) -> Finding {
    let (state, mend) = match error {
        client::Error::Unreachable(_) | client::Error::Timeout(_) => (
            State::Unreachable,
            "see that argocd-server runs, that this machine reaches it, and that `ca` of [upstream] is its authority",
        ),
        client::Error::Unauthenticated => (State::Wrong, NEW_TOKEN),
        _ => (
            State::Wrong,
            "see that `url` of [upstream] is argocd-server's",
        ),
    };
    let found = format!("{}: {}", config.upstream.url, chain(error));
    Finding::ill("argocd", state, found, mend)
}

const NEW_TOKEN: &str = "put a token of `argocd account generate-token` into `token` of [upstream], and start the gate anew";

fn version(said: &Value) -> Finding {
    let version = json::text(said, "/Version");
    if version.starts_with(SUPPORTED) {
        return Finding::well("argocd", format!("version {version}"));
    }
    let found = format!("version {version}, whose API may differ from what the gate knows");
    let mend = format!("use Argo CD {SUPPORTED}x with this gate");
    Finding::ill("argocd", State::Wrong, found, mend)
}

fn account(said: &Value) -> Finding {
    if *json::at(said, "/loggedIn") != Value::Bool(true) {
        let found = "it does not take the gate's token";
        return Finding::ill("argocd", State::Wrong, found, NEW_TOKEN);
    }
    let name = json::text(said, "/username");
    if json::text(said, "/iss") == "argocd" && name != "admin" {
        return Finding::well("argocd", format!("the gate's account is `{name}`"));
    }
    let found = format!("the gate's token is of `{name}`, which is no account for it alone");
    Finding::ill("argocd", State::Wrong, found, NEW_TOKEN)
}

/// Whether Argo CD agrees on as whom callers arrive.
fn callers(config: &Config, settings: &Value) -> Finding {
    let issuer = json::text(settings, "/oidcConfig/issuer");
    let client = json::text(settings, "/oidcConfig/clientID");
    let ours = config.argocd_issuer();
    let (found, mend) = match config.upstream.callers {
        Callers::Account if issuer == ours => (
            "Argo CD has the gate for its issuer, but callers arrive as the gate's account"
                .to_owned(),
            "set `callers = \"named\"` in [upstream], or take oidc.config out of argocd-cm"
                .to_owned(),
        ),
        Callers::Account => {
            return Finding::well("callers", "they arrive as the gate's account");
        }
        Callers::Named if issuer == ours && client == CLIENT_ID => {
            return Finding::well(
                "callers",
                "they arrive as themselves; Argo CD has the gate for its issuer",
            );
        }
        Callers::Named => (
            format!(
                "they arrive as themselves, but Argo CD has the issuer `{issuer}` with the client `{client}`"
            ),
            format!(
                "set oidc.config in argocd-cm to the issuer {ours} with the clientID {CLIENT_ID}, and restart argocd-server"
            ),
        ),
    };
    Finding::ill("callers", State::Wrong, found, mend)
}

/// Whether Argo CD can be used without the gate.
fn past_the_gate(config: &Config, settings: &Value) -> Vec<Finding> {
    const CHECK: &str = "past-the-gate";
    let mut findings = Vec::new();
    let mut wrong = |found: String, mend: String| {
        findings.push(Finding::ill(CHECK, State::Wrong, found, mend));
    };
    if *json::at(settings, "/userLoginsDisabled") != Value::Bool(true) {
        wrong(
            "people sign in at Argo CD with passwords".to_owned(),
            "set `admin.enabled: \"false\"` in argocd-cm, and let no account have the capability `login`".to_owned(),
        );
    }
    let dex = json::at(settings, "/dexConfig/connectors").as_array();
    if dex.is_some_and(|connectors| !connectors.is_empty()) {
        wrong(
            "people sign in at Argo CD through its Dex".to_owned(),
            "take dex.config out of argocd-cm".to_owned(),
        );
    }
    let issuer = json::text(settings, "/oidcConfig/issuer");
    if !issuer.is_empty() && issuer != config.argocd_issuer() {
        wrong(
            format!("people sign in at Argo CD by {issuer}"),
            "take oidc.config out of argocd-cm".to_owned(),
        );
    }
    let url = json::text(settings, "/url");
    let leads_here = url
        .parse::<url::Url>()
        .is_ok_and(|it| it.origin() == config.url.origin());
    if !leads_here {
        wrong(
            format!("links of Argo CD lead to `{url}`"),
            format!("set `url: {}` in argocd-cm", config.url),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::well(
            CHECK,
            "nobody signs in at Argo CD itself, and its links lead here",
        ));
    }
    if !is_loopback(&config.upstream.url) {
        let found = format!("who else reaches {}", config.upstream.url);
        let mend = "let a network policy admit the gate alone: config/kubernetes/README.md";
        findings.push(Finding::ill(CHECK, State::Unseen, found, mend));
    }
    findings
}

fn admission(config: &Config) -> Finding {
    if config.admission.is_none() {
        let found = "no [admission]: what Argo CD does by itself, sets and kubectl are told of, not stopped";
        return Finding::well("admission", found);
    }
    let found = "whether the API server asks at the door of [admission]";
    let mend = "see `kubectl get validatingwebhookconfiguration syncgate`, and config/kubernetes/README.md";
    Finding::ill("admission", State::Unseen, found, mend)
}

#[cfg(test)]
mod tests;
