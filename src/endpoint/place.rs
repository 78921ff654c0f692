//! Which endpoint a request is for, told by its host and path as they were sent.
//!
//! In: the target of a request and its headers. Out: an endpoint with the path behind its place, that
//! there is none of the name, or what is odd. A path is sent on byte for byte, never normalised or put
//! together anew; one that two readers could read differently is refused, and what policies see is the
//! one reading that is left.
//! Never: another endpoint, or a page of the gate, by a form of the path or host that is not the plain
//! one.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Uri};

use crate::config::Place;
use crate::config::endpoints::PREFIX;

/// The longest path that goes on.
const MAX_PATH: usize = 8 * 1024;

/// The places of endpoints.
pub(super) struct Places<T> {
    hosts: HashMap<(String, Option<u16>), Arc<T>>,
    names: HashMap<String, Arc<T>>,
}

/// What a request that is for the test door is for.
pub enum Found<T> {
    /// An endpoint.
    At {
        /// Which.
        endpoint: Arc<T>,
        /// Path and query as they were sent, without the prefix; begins with a slash.
        path: String,
        /// The path as everybody reads it: decoded, without prefix and query.
        read: String,
        /// The prefix without the slash at its end; empty at a host.
        prefix: String,
    },
    /// None, since the request can be read in two ways.
    Odd(&'static str),
    /// None: there is no endpoint of this name.
    Unknown(String),
}

impl<T> Places<T> {
    /// The places of endpoints, each with its name.
    pub(super) fn new(all: impl Iterator<Item = (String, Place, Arc<T>)>) -> Self {
        let (mut hosts, mut names) = (HashMap::new(), HashMap::new());
        for (name, place, endpoint) in all {
            match place {
                Place::Host { host, port } => {
                    hosts.insert((host, port), endpoint);
                }
                Place::Prefix => {
                    names.insert(name, endpoint);
                }
            }
        }
        Self { hosts, names }
    }

    /// What the request for `uri` is for; nothing if it is not for this door. `default_port` is that of
    /// the scheme by which it came.
    pub(super) fn find(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        default_port: u16,
    ) -> Option<Found<T>> {
        match self.at_host(uri, headers, default_port) {
            Some(found) => Some(found),
            None => self.at_prefix(uri),
        }
    }

    fn at_host(&self, uri: &Uri, headers: &HeaderMap, default_port: u16) -> Option<Found<T>> {
        if self.hosts.is_empty() {
            return None;
        }
        let mut named: Vec<Option<(String, u16)>> = headers
            .get_all(HOST)
            .iter()
            .map(|value| host_and_port(value.to_str().ok()?, default_port))
            .collect();
        named.extend(
            uri.authority()
                .map(|authority| host_and_port(authority.as_str(), default_port)),
        );
        let endpoint = named.iter().flatten().find_map(|(host, port)| {
            let exact = self.hosts.get(&(host.clone(), Some(*port)));
            exact.or_else(|| self.hosts.get(&(host.clone(), None)))
        })?;
        // Whoever is behind us may take another of two names than we did.
        if headers.get_all(HOST).iter().count() > 1
            || named.iter().any(|other| named.first() != Some(other))
        {
            return Some(Found::Odd("it names two hosts"));
        }
        Some(found(endpoint, uri, ""))
    }

    fn at_prefix(&self, uri: &Uri) -> Option<Found<T>> {
        let rest = uri.path().strip_prefix(PREFIX)?;
        let (name, slash) = match rest.split_once('/') {
            Some((name, _)) => (name, true),
            None => (rest, false),
        };
        Some(match self.names.get(name) {
            Some(endpoint) if slash => found(endpoint, uri, &format!("{PREFIX}{name}")),
            Some(_) => Found::Odd("the place of an endpoint ends with a slash"),
            None => Found::Unknown(name.chars().take(64).collect()),
        })
    }
}

fn found<T>(endpoint: &Arc<T>, uri: &Uri, prefix: &str) -> Found<T> {
    let read = match canonical(uri.path()) {
        Ok(read) => read,
        Err(odd) => return Found::Odd(odd),
    };
    let sent = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    // The prefix is plain text: decoded it is the same.
    match (sent.strip_prefix(prefix), read.strip_prefix(prefix)) {
        (Some(path), Some(read)) if path.starts_with('/') => Found::At {
            endpoint: Arc::clone(endpoint),
            path: path.to_owned(),
            read: read.to_owned(),
            prefix: prefix.to_owned(),
        },
        _ => Found::Odd("it has no path"),
    }
}

/// Host, in lower case, and port of what a client named; nothing for what is not of that form.
pub(super) fn host_and_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    let authority: Authority = text.parse().ok()?;
    if text.contains('@') {
        return None;
    }
    let port = authority.port_u16().unwrap_or(default_port);
    Some((authority.host().to_ascii_lowercase(), port))
}

/// `path`, without a query, decoded, if it can be read in one way only.
///
/// # Errors
/// What is odd about it.
pub fn canonical(path: &str) -> Result<String, &'static str> {
    if path.len() > MAX_PATH {
        return Err("the path is too long");
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Err("the path does not begin with a slash");
    };
    let plain = |b: u8| b.is_ascii_graphic() && !b"\\\"<>^`{|}#".contains(&b);
    if !path.bytes().all(plain) {
        return Err("the path has a character that must be percent-encoded");
    }
    let segments: Vec<&str> = rest.split('/').collect();
    let (_, before) = segments.split_last().unwrap_or((&"", &[]));
    if before.iter().any(|segment| segment.is_empty()) {
        return Err("the path has an empty segment (two slashes in a row)");
    }
    // Some servers take parameters (`;`) off a segment before they look at it.
    let is_dots = |segment: &&str| matches!(segment.split(';').next(), Some("." | ".."));
    if segments.iter().any(is_dots) {
        return Err("the path has dot segments");
    }
    decoded(path)
}

/// `path` decoded, if what is percent-encoded is text that changes no segment: also for who decodes it
/// twice.
fn decoded(path: &str) -> Result<String, &'static str> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || {
            bytes
                .next()
                .and_then(|b| char::from(b).to_digit(16))
                .and_then(|d| u8::try_from(d).ok())
        };
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err("the path has a percent sign without two hexadecimal digits");
        };
        match high << 4 | low {
            b'/' | b'\\' => return Err("the path has an encoded slash or backslash"),
            b'.' => return Err("the path has an encoded dot"),
            b'%' => return Err("the path has an encoded percent sign"),
            byte if byte.is_ascii_control() => {
                return Err("the path has an encoded control character");
            }
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).map_err(|_| "what is percent-encoded in the path is not UTF-8")
}

#[cfg(test)]
mod tests;
