//! A classified request with its body becomes a [`Call`].
//!
//! In: what [`super::classify`] found, and the whole body. Out: the application that the call is
//! about, and the body to send on, which says what was read and nothing else. Refused, by name:
//! unknown fields, fields twice, other spellings, names that no Kubernetes object has, a forged
//! `status` or `operation`. Where the path and the body name the application, both must agree.

mod application;
mod checked;
mod patch;
mod resource;
mod set;
mod source;
mod sync;

use std::fmt;

use bytes::Bytes;

use super::classify::{Classified, Wire};
use super::operation::{Effect, Operation};
use super::{framing, json, path, proto, protobuf, written};
use crate::names::AppRef;
pub use application::Written;
pub use patch::{ApplicationPatch, Patch, PatchFault};
pub use resource::{ResourceCall, ResourceChange, ResourcePatch};
pub use set::{SetDelete, SetWritten};
use source::{REFRESH, Source};
pub(crate) use sync::{HookJson, null_is_empty};
pub use sync::{Retry, SyncRequest};

/// Names of the remarks that the gate leaves on an operation.
pub use sync::{INFO_CALLER, INFO_DECISION, INFO_ROLLBACK};

/// Why a body is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The same fact is told twice, and differently.
    #[error("`{field}` is `{path}` in the path and `{body}` in the body")]
    Disagree {
        /// The field.
        field: &'static str,
        /// What the path says.
        path: String,
        /// What the body says.
        body: String,
    },
    /// Framing of a gRPC body.
    #[error(transparent)]
    Framing(#[from] framing::Error),
    /// The JSON of the body.
    #[error(transparent)]
    Json(#[from] json::Error),
    /// A field that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// Text where a name of a Kubernetes object is wanted.
    #[error("`{value}` is not a name that `{field}` can have")]
    Name {
        /// The field.
        field: &'static str,
        /// The text.
        value: String,
    },
    /// A patch.
    #[error(transparent)]
    Patch(#[from] PatchFault),
    /// Path or query.
    #[error(transparent)]
    Path(#[from] path::Error),
    /// Sources and pins do not fit together.
    #[error("{sources} sources cannot be pinned on an application with {kind}")]
    Pin {
        /// How many sources were given.
        sources: usize,
        /// What the application has.
        kind: &'static str,
    },
    /// The protobuf of the body.
    #[error(transparent)]
    Proto(#[from] proto::Error),
    /// The protobuf around the fields that were looked for.
    #[error(transparent)]
    Protobuf(#[from] protobuf::Error),
    /// A field of the query that is not known, comes in the body too, or has another type.
    #[error("`{0}` in the query is not taken")]
    Query(String),
    /// A revision that cannot be one.
    #[error("`{0}` is not a revision")]
    Revision(String),
    /// Positions and revisions of sources do not pair up.
    #[error("`sourcePositions` and `revisions` do not pair up: {0}")]
    Sources(&'static str),
    /// The caller sets what only Argo CD may set.
    #[error("`{0}` is set by Argo CD alone")]
    Upstreams(&'static str),
    /// What callers write, read to the last field.
    #[error(transparent)]
    Written(#[from] written::Error),
}

/// The application that a call is about, as the request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppTarget {
    /// Which application. An absent namespace means Argo CD's own, which a caller may also name.
    pub app: AppRef,
    /// The project that the caller says it is in; the upstream answers "not found" if it is not.
    pub project: Option<String>,
}

/// One call of Argo CD's API, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Which operation.
    pub operation: Operation,
    /// How it came and is answered.
    pub wire: Wire,
    /// The application that it is about, if it is about one.
    pub app: Option<AppTarget>,
    /// Another application, which it reads as a resource of that one.
    pub child: Option<AppRef>,
    /// Whether `Get` also asks for a refresh, which is a write.
    pub refresh: bool,
    /// Path and query to send on.
    pub forward_path: String,
    /// What was read of the body.
    pub body: Body,
}

/// What was read of a body, and can be sent on.
#[derive(Clone, PartialEq)]
pub enum Body {
    /// `Create`, `Update` and `UpdateSpec` of an application.
    Application(Box<Written>),
    /// `Create` and `Generate` of an application set.
    ApplicationSet(Box<SetWritten>),
    /// `Delete` of an application set.
    ApplicationSetDelete(SetDelete),
    /// What `CanI` asks.
    CanI(proto::CanIRequest),
    /// Any other call: the body to send on, framed for its wire.
    Other(Bytes),
    /// `Patch` of an application.
    Patch(ApplicationPatch),
    /// A change of one live object.
    Resource(Box<ResourceCall>),
    /// A rollback.
    Rollback(Rollback),
    /// A sync.
    Sync(Box<SyncRequest>),
}

/// A request to roll out again what an entry of the history says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// The entry's number.
    pub id: i64,
    /// Nothing is changed.
    pub dry_run: bool,
    /// Resources that the entry does not have are deleted.
    pub prune: bool,
    /// The body to send on, framed for its wire.
    pub forward: Bytes,
}

/// By hand: bodies hold passwords of repositories and manifests with secrets.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application(written) => written.fmt(f),
            Self::ApplicationSet(written) => written.fmt(f),
            Self::ApplicationSetDelete(delete) => delete.name.fmt(f),
            Self::CanI(question) => f.debug_tuple("CanI").field(question).finish(),
            Self::Other(bytes) => write!(f, "Other({} bytes)", bytes.len()),
            Self::Patch(patch) => patch.patch.fmt(f),
            Self::Resource(call) => call.fmt(f),
            Self::Rollback(rollback) => rollback.id.fmt(f),
            Self::Sync(request) => request.fmt(f),
        }
    }
}

impl Call {
    /// Reads `body`, the whole body of the request that was classified.
    ///
    /// # Errors
    /// [`Error`], which names what is not taken.
    pub fn parse(classified: Classified, body: &Bytes) -> Result<Self, Error> {
        let source = Source::of(&classified, body)?;
        let row = classified.operation.row();
        let app = match &row.application {
            Some(fields) => source.app(fields)?,
            None => None,
        };
        let refresh = classified.operation == Operation::ApplicationGet && source.has(&REFRESH)?;
        let child = source.child(classified.operation)?;
        let read = source.body(classified.operation, body)?;
        Ok(Self {
            operation: classified.operation,
            wire: classified.wire,
            app,
            child,
            refresh,
            forward_path: classified.forward_path,
            body: read,
        })
    }

    /// What the call does to the world; `Get` with a refresh is a write.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self.operation.effect() {
            Effect::Read if self.refresh => Effect::Write,
            effect => effect,
        }
    }

    /// The body to send to the upstream, on the wire that the call came by.
    ///
    /// # Errors
    /// [`Error`] when a message became too large to be framed, or has no JSON form.
    pub fn forward_body(&self) -> Result<Bytes, Error> {
        match &self.body {
            Body::Application(written) => Ok(written.forward.clone()),
            Body::ApplicationSet(written) => Ok(written.forward.clone()),
            Body::ApplicationSetDelete(SetDelete { forward, .. })
            | Body::Other(forward)
            | Body::Patch(ApplicationPatch { forward, .. })
            | Body::Rollback(Rollback { forward, .. }) => Ok(forward.clone()),
            Body::Resource(call) => Ok(call.forward.clone()),
            Body::CanI(_) => Ok(Bytes::new()),
            Body::Sync(request) => match self.wire {
                Wire::Grpc | Wire::GrpcWeb => {
                    Ok(framing::write_message(&request.to_grpc_message())?)
                }
                Wire::Rest | Wire::RestStream => Ok(request.to_json()?.into()),
            },
        }
    }
}

/// As much of a caller's text as an error repeats.
fn shown(text: &str) -> String {
    const MOST: usize = 100;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}

/// Whether Kubernetes would take `text` as the name of an object (RFC 1123 subdomain).
fn is_object_name(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= 253
        && text.split('.').all(|label| {
            label.bytes().next().is_some_and(alphanumeric)
                && label.bytes().last().is_some_and(alphanumeric)
                && label.bytes().all(|b| alphanumeric(b) || b == b'-')
        })
}

#[cfg(test)]
mod tests;
