//! Why a call did not come back from the upstream, and whether the upstream may have acted on it.

use std::error::Error as _;
use std::time::Duration;

use hyper_util::client::legacy;

use super::connect::ConnectError;

/// Why a call failed. The variants differ in what may have happened upstream: see
/// [`Error::may_have_acted`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client's body broke off while it was passed on.
    #[error("the request's body broke off")]
    CallerBody(#[source] legacy::Error),
    /// The request cannot be put into the upstream's form.
    #[error("the request cannot be forwarded: {what}")]
    CallerRequest {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A websocket was asked for by a page of another site.
    #[error("a websocket from origin `{origin}` is not allowed here")]
    ForeignOrigin {
        /// The `Origin` header.
        origin: String,
    },
    /// The gate is being stopped.
    #[error("the gate stopped before the upstream answered")]
    Stopped,
    /// As many calls are under way as connections to the upstream may carry.
    #[error("too many calls are under way")]
    UpstreamBusy,
    /// The upstream's answer, or the end of its connection, was not HTTP as expected.
    #[error("the upstream broke off or answered out of protocol")]
    UpstreamProtocol(#[source] legacy::Error),
    /// The upstream answered with something that does not belong to the request.
    #[error("the upstream answered out of protocol: {what}")]
    UpstreamSurprise {
        /// What it did.
        what: &'static str,
    },
    /// No answer in time.
    #[error("the upstream did not answer within {} ms", after.as_millis())]
    UpstreamTimeout {
        /// How long was waited.
        after: Duration,
    },
    /// The upstream's certificate is not trusted, or TLS failed otherwise.
    #[error("no trusted TLS connection to the upstream")]
    UpstreamTls(#[source] legacy::Error),
    /// No connection.
    #[error("the upstream cannot be reached")]
    UpstreamUnreachable(#[source] legacy::Error),
}

/// Which way a call failed, without its facts: for records and metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The client's body or request.
    Caller,
    /// The gate was stopped.
    Stopped,
    /// Too many calls.
    UpstreamBusy,
    /// Not HTTP as expected, or broken off.
    UpstreamProtocol,
    /// Not in time.
    UpstreamTimeout,
    /// Not trusted.
    UpstreamTls,
    /// Not there.
    UpstreamUnreachable,
}

impl Fault {
    /// The word for labels and records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Stopped => "stopped",
            Self::UpstreamBusy => "upstream-busy",
            Self::UpstreamProtocol => "upstream-protocol",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::UpstreamTls => "upstream-tls",
            Self::UpstreamUnreachable => "upstream-unreachable",
        }
    }
}

impl Error {
    /// Which way it failed.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::CallerBody(_) | Self::CallerRequest { .. } | Self::ForeignOrigin { .. } => {
                Fault::Caller
            }
            Self::Stopped => Fault::Stopped,
            Self::UpstreamBusy => Fault::UpstreamBusy,
            Self::UpstreamProtocol(_) | Self::UpstreamSurprise { .. } => Fault::UpstreamProtocol,
            Self::UpstreamTimeout { .. } => Fault::UpstreamTimeout,
            Self::UpstreamTls(_) => Fault::UpstreamTls,
            Self::UpstreamUnreachable(_) => Fault::UpstreamUnreachable,
        }
    }

    /// Whether the upstream may have seen the request. If not, the caller may safely repeat it.
    #[must_use]
    pub fn may_have_acted(&self) -> bool {
        match self {
            Self::CallerRequest { .. }
            | Self::ForeignOrigin { .. }
            | Self::UpstreamBusy
            | Self::UpstreamTls(_)
            | Self::UpstreamUnreachable(_) => false,
            Self::CallerBody(_)
            | Self::Stopped
            | Self::UpstreamProtocol(_)
            | Self::UpstreamSurprise { .. }
            | Self::UpstreamTimeout { .. } => true,
        }
    }
}

/// Sorts what the client library says. In doubt, the request may have arrived.
impl From<legacy::Error> for Error {
    fn from(error: legacy::Error) -> Self {
        match error.source() {
            Some(source)
                if source
                    .downcast_ref::<ConnectError>()
                    .is_some_and(ConnectError::is_tls) =>
            {
                Self::UpstreamTls(error)
            }
            Some(source) => match source.downcast_ref::<hyper::Error>() {
                // The body of a request is the only thing that is ours to give.
                Some(hyper) if hyper.is_user() => Self::CallerBody(error),
                Some(_) => Self::UpstreamProtocol(error),
                // No HTTP was spoken: the connect failed, here or for the call that was waited for.
                None => Self::UpstreamUnreachable(error),
            },
            None => Self::UpstreamProtocol(error),
        }
    }
}
