//! The sections of the test door: `[[endpoint]]` and `[assertion]`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderName, Method};
use jiff::SignedDuration;
use url::Url;

use super::environments::Environment;
use super::reader::{Problems, Table};
use super::secret::Secret;
use super::sections::{file, trusted_url};
use crate::names::{EndpointName, EnvironmentName};

/// The beginning of every prefix: what stands behind it up to the next slash is a name.
pub(crate) const PREFIX: &str = "/endpoints/";
/// How long an endpoint may take to begin its answer unless the file says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The methods of an endpoint that names none.
const DEFAULT_METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::OPTIONS];
/// The shortest secret: what contains it is removed from answers, so it must not be part of innocent
/// text.
const SHORTEST_SECRET: usize = 8;
/// Headers that are the connection's or the gate's own; none of them can carry a credential.
const NOT_INJECTED: [&str; 12] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "grpc-timeout",
];

/// One endpoint under test.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name, as policies know it.
    pub name: EndpointName,
    /// The environment that it is in.
    pub environment: EnvironmentName,
    /// Where callers find it.
    pub place: Place,
    /// Where it is: https, or http on loopback; perhaps with a path.
    pub url: Url,
    /// A PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The methods that it takes, each once.
    pub methods: Vec<Method>,
    /// How long it may do nothing before it begins to answer.
    pub timeout: Duration,
    /// The path of a GET that succeeds when it is well.
    pub health: Option<String>,
    /// The credential that the gate adds.
    pub inject: Inject,
    /// Whether it is told who calls.
    pub identity: bool,
}

/// Where callers find an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// At a host of its own.
    Host {
        /// The name, in lower case.
        host: String,
        /// The port that must be named too; absent: any.
        port: Option<u16>,
    },
    /// Under `/endpoints/NAME/`.
    Prefix,
}

/// A credential for an endpoint, which callers never see.
#[derive(Clone, Debug)]
pub enum Inject {
    /// HTTP basic authentication (RFC 7617).
    Basic {
        /// The user; without a colon.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A certificate of the gate's in the TLS handshake.
    Certificate {
        /// A PEM file: the chain, leaf first.
        certificate: PathBuf,
        /// A PEM file: the key of the leaf.
        key: PathBuf,
    },
    /// A header.
    Header {
        /// Its name.
        name: HeaderName,
        /// What stands before the secret, with a space between: `Bearer`.
        scheme: Option<String>,
        /// The secret.
        value: Secret,
    },
    /// None.
    Nothing,
}

/// Reads `[[endpoint]]`.
pub(super) fn read(
    root: &mut Table,
    base: &Path,
    gate: Option<&Url>,
    environments: &[Environment],
    problems: &mut Problems,
) -> Vec<Endpoint> {
    let mut out: Vec<Endpoint> = Vec::new();
    for mut table in root.tables("endpoint", problems) {
        let (name, place) = (table.key("name"), table.key("host"));
        let environment = table.key("environment");
        let Some(endpoint) = endpoint(&mut table, base, problems) else {
            table.finish(problems);
            continue;
        };
        table.finish(problems);
        if !environments.iter().any(|e| e.name == endpoint.environment) {
            let unknown = &endpoint.environment;
            problems.add(
                environment,
                format!("`{unknown}` is not an environment of this file"),
            );
        }
        if out.iter().any(|other| other.name == endpoint.name) {
            problems.add(name, format!("`{}` is declared twice", endpoint.name));
        }
        if let Place::Host { host, .. } = &endpoint.place {
            if gate.and_then(Url::host_str) == Some(host) {
                problems.add(
                    &place,
                    format!(
                        "`{host}` is the gate's own host; give the endpoint another, or a prefix"
                    ),
                );
            }
            if out.iter().any(|other| other.place == endpoint.place) {
                problems.add(&place, format!("`{host}` is another endpoint's too"));
            }
        }
        out.push(endpoint);
    }
    out
}

/// Reads `[assertion]`: the file of the key that signs who calls; absent: one that is made at each
/// start.
pub(super) fn assertion_key(
    root: &mut Table,
    base: &Path,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let mut table = root.table("assertion", problems)?;
    if !table.has("key") {
        problems.add(table.key("key"), "is required");
    }
    let key = file(&mut table, "key", base, problems);
    table.finish(problems);
    key
}

fn endpoint(table: &mut Table, base: &Path, problems: &mut Problems) -> Option<Endpoint> {
    let name = table.required_parsed("name", problems, |text| EndpointName::parse(text));
    let environment =
        table.required_parsed("environment", problems, |text| EnvironmentName::parse(text));
    let place = place(table, name.as_ref(), problems);
    let url = table.required_parsed("url", problems, upstream_url);
    let ca = file(table, "ca", base, problems);
    let methods = methods(table, problems);
    let timeout = table.duration("timeout", problems).and_then(as_std);
    let health = table.parsed("health", problems, |text| {
        crate::endpoint::canonical(text.split('?').next().unwrap_or_default())
            .map(|_| text.to_owned())
            .map_err(|odd| format!("`{text}` is not a path: {odd}"))
    });
    let inject = inject(table, base, url.as_ref(), problems);
    let identity = !table.has("identity") || table.flag("identity", problems);
    Some(Endpoint {
        name: name?,
        environment: environment?,
        place: place?,
        url: url?,
        ca,
        methods,
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        health,
        inject: inject?,
        identity,
    })
}

fn as_std(span: SignedDuration) -> Option<Duration> {
    Duration::try_from(span).ok()
}

fn upstream_url(text: &str) -> Result<Url, String> {
    let url = trusted_url(text)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or password; give them under `inject.basic`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() || url.host_str().is_none() {
        return Err(format!("`{text}` must be a host, and perhaps a path"));
    }
    Ok(url)
}

/// Host or prefix: exactly one.
fn place(table: &mut Table, name: Option<&EndpointName>, problems: &mut Problems) -> Option<Place> {
    let key = table.key("host");
    let both = table.has("host") && table.has("prefix");
    let neither = !table.has("host") && !table.has("prefix");
    let host = table.parsed("host", problems, host);
    let prefix = table.parsed("prefix", problems, |text| {
        let own = name.map(|name| format!("{PREFIX}{name}/"));
        match own {
            Some(own) if own != text => Err(format!(
                "`{text}` cannot be a prefix; the one of this endpoint is `{own}`"
            )),
            _ => Ok(Place::Prefix),
        }
    });
    if both {
        problems.add(key, "contradicts prefix; give one of them");
        return None;
    }
    if neither {
        problems.add(key, "is required, or `prefix`");
    }
    host.or(prefix)
}

/// A name, perhaps with a port. An address would shadow the gate for whoever calls it by that.
fn host(text: &str) -> Result<Place, String> {
    let bad = || format!("`{text}` is not the name of a host, perhaps with a port");
    let authority: Authority = text.parse().map_err(|_| bad())?;
    let host = authority.host().to_ascii_lowercase();
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    if is_address || host == "localhost" {
        return Err(format!(
            "`{text}` would stand for the gate itself; give a name"
        ));
    }
    let port = authority.port_u16();
    let plain = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if plain != text.to_ascii_lowercase() || host.ends_with('.') || !host.bytes().all(is_name) {
        return Err(bad());
    }
    Ok(Place::Host { host, port })
}

fn methods(table: &mut Table, problems: &mut Problems) -> Vec<Method> {
    if !table.has("methods") {
        return DEFAULT_METHODS.to_vec();
    }
    let key = table.key("methods");
    let mut out: Vec<Method> = Vec::new();
    let texts = table.texts("methods", problems);
    if texts.is_empty() {
        problems.add(&key, "names no method");
    }
    for (index, text) in texts.iter().enumerate() {
        match Method::from_bytes(text.as_bytes()) {
            Ok(Method::CONNECT | Method::TRACE) => problems.add(
                format!("{key}[{index}]"),
                format!("`{text}` has no place at an endpoint"),
            ),
            Ok(method) if text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') => {
                if !out.contains(&method) {
                    out.push(method);
                }
            }
            _ => problems.add(
                format!("{key}[{index}]"),
                format!("`{text}` is not a method such as `POST`"),
            ),
        }
    }
    out
}

/// At most one credential.
fn inject(
    table: &mut Table,
    base: &Path,
    url: Option<&Url>,
    problems: &mut Problems,
) -> Option<Inject> {
    let Some(mut table) = table.table("inject", problems) else {
        return Some(Inject::Nothing);
    };
    let key = table.key("header");
    let path = table.key("client_certificate");
    let header = table
        .table("header", problems)
        .map(|t| header(t, base, problems));
    let basic = table
        .table("basic", problems)
        .map(|t| basic(t, base, problems));
    let pair = (table.has("client_certificate"), table.has("client_key"));
    let certificate = file(&mut table, "client_certificate", base, problems);
    let client_key = file(&mut table, "client_key", base, problems);
    let certificate = match pair {
        (false, false) => None,
        (true, true) => {
            if url.is_some_and(|url| url.scheme() != "https") {
                problems.add(path, "needs an https url");
            }
            let pair = certificate.zip(client_key);
            Some(pair.map(|(certificate, key)| Inject::Certificate { certificate, key }))
        }
        _ => {
            problems.add(path, "client_certificate and client_key belong together");
            Some(None)
        }
    };
    table.finish(problems);
    let mut given = [header, basic, certificate].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(one), None) => one,
        (None, _) => {
            problems.add(
                key,
                "is required, or `basic`, or `client_certificate` with `client_key`",
            );
            None
        }
        (Some(_), Some(_)) => {
            problems.add(key, "there is more than one credential; give one of them");
            None
        }
    }
}

fn header(mut table: Table, base: &Path, problems: &mut Problems) -> Option<Inject> {
    let name = table.required_parsed("name", problems, |text| {
        let name = HeaderName::try_from(text)
            .map_err(|_| format!("`{text}` is not the name of a header"))?;
        let is_ours = name.as_str().replace('_', "-").starts_with("syncgate");
        if is_ours || NOT_INJECTED.contains(&name.as_str()) {
            return Err(format!("`{text}` cannot carry a credential"));
        }
        Ok(name)
    });
    let scheme = table.parsed("scheme", problems, |text| {
        let word = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if !text.is_empty() && text.bytes().all(word) {
            Ok(text.to_owned())
        } else {
            Err(format!("`{text}` is not a word such as `Bearer`"))
        }
    });
    let value = secret(&mut table, "value", base, problems);
    table.finish(problems);
    Some(Inject::Header {
        name: name?,
        scheme,
        value: value?,
    })
}

fn basic(mut table: Table, base: &Path, problems: &mut Problems) -> Option<Inject> {
    let user = table.required_parsed("user", problems, |text| {
        if text.is_empty() || text.contains(':') || text.chars().any(char::is_control) {
            Err("is no user of basic authentication: it is empty, or has a colon or control characters")
        } else {
            Ok(text.to_owned())
        }
    });
    let password = secret(&mut table, "password", base, problems);
    table.finish(problems);
    Some(Inject::Basic {
        user: user?,
        password: password?,
    })
}

fn secret(
    table: &mut Table,
    key: &'static str,
    base: &Path,
    problems: &mut Problems,
) -> Option<Secret> {
    table.required_parsed(key, problems, |text| {
        let secret = Secret::parse(text, base)?;
        check_secret(&secret.read()?)?;
        Ok::<_, String>(secret)
    })
}

/// Whether `text` can be sent as a credential and kept out of answers.
///
/// # Errors
/// A sentence, without the text.
pub(crate) fn check_secret(text: &str) -> Result<(), String> {
    if text.len() < SHORTEST_SECRET {
        return Err(format!(
            "is a secret of fewer than {SHORTEST_SECRET} bytes, which could not be told from innocent text \
             in an answer"
        ));
    }
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        Ok(())
    } else {
        Err(
            "is a secret of more than one line, or with other characters than printable ASCII"
                .to_owned(),
        )
    }
}
