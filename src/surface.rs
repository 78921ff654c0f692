//! Which door was knocked on, told by host and path.

use http::{HeaderMap, Uri};

use crate::endpoint::{Endpoint, Endpoints, Found};
use crate::listener::Connection;
use crate::own::token;

/// A surface of the gate.
pub enum Surface {
    /// Argo CD's API and everything that argocd-server serves beside it.
    ArgoCd,
    /// The gate's own API under `/syncgate/`.
    Own,
    /// An endpoint under test.
    TestEndpoint(Found<Endpoint>),
}

/// The prefix of everything that is the gate's own.
pub const OWN: &str = "/syncgate/";

impl Surface {
    /// The surface of a request for `uri`, as it was sent: that of an endpoint under test by its host, or
    /// by its prefix at any other; then the gate's own; Argo CD's for everything else. An encoded or odd
    /// form of our prefixes is Argo CD's, whose canonicaliser then refuses or forwards it; it never
    /// reaches our own API or an endpoint.
    #[must_use]
    pub fn of(
        uri: &Uri,
        headers: &HeaderMap,
        connection: &Connection,
        endpoints: &Endpoints,
    ) -> Self {
        match endpoints.find(uri, headers, connection) {
            Some(found) => Self::TestEndpoint(found),
            None if is_own(uri.path()) => Self::Own,
            None => Self::ArgoCd,
        }
    }
}

/// The prefix, and the two documents whose places are not ours to choose.
fn is_own(path: &str) -> bool {
    path.starts_with(OWN) || [token::RESOURCE, token::SERVER].contains(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_prefix_is_ours() {
        assert!(is_own("/syncgate/v1/runs"));
        for path in [
            "/syncgate",
            "//syncgate/v1/runs",
            "/%73yncgate/v1/runs",
            "/SYNCGATE/v1",
            "/",
        ] {
            assert!(!is_own(path), "{path}");
        }
    }
}
