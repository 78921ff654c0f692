//! Lists and watches carry only what the caller may see.
//!
//! In: the upstream's answer to a List or Watch, as gRPC, gRPC-Web, JSON, JSON lines or server-sent
//! events, and a predicate over the facts of an object. Out: the same answer without the objects
//! that the predicate refuses; the others are copied byte by byte. Anything that is not understood
//! (an unknown framing, field or key, a compressed frame, an object without a name) ends the
//! answer with an error: nothing passes unread. One message is held at a time, up to 200 MiB.
//!
//! A list has its objects under a repeated field, an event has one object; see [`Layout`]. What of
//! an object is looked at is its [`Facts`].

mod fields;
mod frames;
mod json;
mod protobuf;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use serde::Deserialize;

use self::frames::{Framing, Splitter};
use crate::body::{self, Body, BoxError};

pub use self::fields::needs_fields_rewrite;

/// Where a message keeps its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Many objects (a list) or one (an event).
    repeated: bool,
    /// The protobuf field.
    field: u64,
    /// The JSON key.
    key: &'static str,
    /// What stands before an object's paths in the `fields` parameter.
    fields_prefix: &'static str,
}

/// `ApplicationList`.
pub const APPLICATION_LIST: Layout = Layout {
    repeated: true,
    field: 2,
    key: "items",
    fields_prefix: "items",
};

/// `ApplicationWatchEvent`.
pub const APPLICATION_EVENT: Layout = Layout {
    repeated: false,
    field: 2,
    key: "application",
    fields_prefix: "result.application",
};

/// What a predicate sees of an object.
pub trait Facts: Sized {
    /// The JSON paths of an object that the facts are read from.
    const PATHS: &'static [&'static str];

    /// The facts of an object in protobuf.
    ///
    /// # Errors
    /// [`Error`] when the object is malformed or has no name.
    fn from_protobuf(object: &[u8]) -> Result<Self, Error>;

    /// The facts of an object in JSON.
    ///
    /// # Errors
    /// The same.
    fn from_json(object: &[u8]) -> Result<Self, Error>;
}

/// The facts of an Application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppFacts {
    /// `metadata.name`; never empty.
    pub name: String,
    /// `metadata.namespace`; empty when the answer does not tell.
    pub namespace: String,
    /// `spec.project`; empty means `default`.
    pub project: String,
    /// `metadata.uid`; absent from REST answers that chose their fields.
    pub uid: Option<String>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `spec.destination`.
    pub destination: Destination,
}

/// Where an Application is rolled out to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// The URL of the cluster; empty where `name` says which.
    pub server: String,
    /// The namespace there.
    pub namespace: String,
    /// The name of the cluster; empty where `server` says which.
    pub name: String,
}

impl Facts for AppFacts {
    const PATHS: &'static [&'static str] = &[
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "metadata.labels",
        "spec.project",
        "spec.destination",
    ];

    fn from_protobuf(object: &[u8]) -> Result<Self, Error> {
        protobuf::application(object)
    }

    fn from_json(object: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Application {
            metadata: Metadata,
            #[serde(default)]
            spec: Spec,
        }
        #[derive(Deserialize)]
        struct Metadata {
            name: String,
            #[serde(default)]
            namespace: String,
            uid: Option<String>,
            labels: Option<BTreeMap<String, String>>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Spec {
            project: String,
            destination: Destination,
        }
        let Application { metadata, spec } =
            serde_json::from_slice(object).map_err(|_| Error::Malformed)?;
        if metadata.name.is_empty() {
            return Err(Error::NoName);
        }
        Ok(Self {
            name: metadata.name,
            namespace: metadata.namespace,
            project: spec.project,
            uid: metadata.uid,
            labels: metadata.labels.unwrap_or_default(),
            destination: spec.destination,
        })
    }
}

/// Why an answer cannot be filtered, and so not be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A message is compressed.
    #[error("the upstream compressed an answer that must be read")]
    Compressed,
    /// The body ended inside a message.
    #[error("the upstream's answer ends inside a message")]
    CutShort,
    /// It is not what its content type says.
    #[error("the upstream's answer is malformed")]
    Malformed,
    /// An object without a name.
    #[error("the upstream sent an object without a name")]
    NoName,
    /// A message is longer than Argo CD's own limit.
    #[error(
        "the upstream sent a message of more than {} bytes",
        frames::MESSAGE_LIMIT
    )]
    TooLarge,
    /// A field that may come once came twice.
    #[error("the upstream sent field {field} twice")]
    Twice {
        /// Its number.
        field: u64,
    },
    /// A field of the container that is not known.
    #[error("the upstream sent the unknown field {number}")]
    UnknownField {
        /// Its number.
        number: u64,
    },
    /// A key of the container that is not known.
    #[error("the upstream sent the unknown key `{key}`")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A content type that lists and watches do not have.
    #[error("the upstream sent a list as `{kind}`")]
    UnknownKind {
        /// The content type.
        kind: String,
    },
}

/// Asks for an answer that can be read: not compressed.
pub fn prepare_request(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.remove("grpc-accept-encoding");
}

/// `response` with only the objects that `permit` says yes to. A status that is no success is
/// Argo CD's own refusal, holds no objects, and passes.
///
/// # Errors
/// [`Error`] when the head shows that the body cannot be read. Later errors break off the body.
pub fn filter<F, P>(
    response: Response<Body>,
    layout: Layout,
    permit: P,
) -> Result<Response<Body>, Error>
where
    F: Facts + 'static,
    P: Fn(&F) -> bool + Send + 'static,
{
    if !response.status().is_success() {
        return Ok(response);
    }
    let framing = framing(response.headers(), layout)?;
    let (mut head, inner) = response.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove(ETAG);
    let filtered = Filtered {
        inner,
        splitter: Splitter::new(framing, layout),
        permit: Box::new(permit),
        state: State::Reading,
    };
    Ok(Response::from_parts(head, body::boxed(filtered)))
}

fn framing(headers: &HeaderMap, layout: Layout) -> Result<Framing, Error> {
    let encoding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if !matches!(encoding, None | Some(b"identity")) {
        return Err(Error::Compressed);
    }
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = kind.unwrap_or_default();
    match kind
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
    {
        b"application/grpc" => Ok(Framing::Grpc),
        b"application/grpc-web+proto" => Ok(Framing::GrpcWeb),
        b"application/json" if layout.repeated => Ok(Framing::Whole),
        b"application/json" => Ok(Framing::Lines),
        b"text/event-stream" if !layout.repeated => Ok(Framing::Events),
        _ => Err(Error::UnknownKind {
            kind: String::from_utf8_lossy(kind).into_owned(),
        }),
    }
}

/// A body of which only permitted messages come out.
struct Filtered<F> {
    inner: Body,
    splitter: Splitter,
    permit: Box<dyn Fn(&F) -> bool + Send>,
    state: State,
}

enum State {
    Reading,
    /// The messages are over; what follows, if anything, are these trailers.
    Ending(Option<HeaderMap>),
    Ended,
}

impl<F: Facts> Filtered<F> {
    /// Takes a frame in; gives messages that became complete by it.
    fn take(&mut self, frame: Option<Frame<Bytes>>) -> Result<Option<Bytes>, Error> {
        let trailers = match frame.map(Frame::into_data) {
            Some(Ok(data)) => {
                self.splitter.push(&data)?;
                return self.splitter.next(&*self.permit);
            }
            Some(Err(frame)) => frame.into_trailers().ok(),
            None => None,
        };
        self.state = State::Ending(trailers);
        self.splitter.end(&*self.permit)
    }
}

impl<F: Facts> http_body::Body for Filtered<F> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            let message = match &mut this.state {
                State::Ended => return Poll::Ready(None),
                State::Ending(trailers) => {
                    let trailers = trailers.take().map(|map| Ok(Frame::trailers(map)));
                    this.state = State::Ended;
                    return Poll::Ready(trailers);
                }
                State::Reading => match this.splitter.next(&*this.permit) {
                    Ok(None) => {
                        match std::task::ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                            Some(Err(error)) => {
                                this.state = State::Ended;
                                return Poll::Ready(Some(Err(error)));
                            }
                            Some(Ok(frame)) => this.take(Some(frame)),
                            None => this.take(None),
                        }
                    }
                    message => message,
                },
            };
            match message {
                Ok(None) => {}
                Ok(Some(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
                Err(error) => {
                    tracing::warn!(%error, "an answer could not be filtered and was broken off");
                    this.state = State::Ended;
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Ended | State::Ending(None) => true,
            State::Ending(Some(_)) => false,
            // An answer of which the head is all (a gRPC refusal) stays one.
            State::Reading => self.splitter.is_idle() && self.inner.is_end_stream(),
        }
    }
}

#[cfg(test)]
mod tests;
