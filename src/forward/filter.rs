//! Answers carry only what the caller may see.
//!
//! In: the upstream's answer to a list, watch or tree, as gRPC, gRPC-Web, JSON, JSON lines or
//! server-sent events; a [`Layout`], which says where its objects are; and a [`Rule`], which says what
//! of each object may be seen. Out: the same answer without the rest; what stays whole is copied byte
//! by byte. Anything that is not understood (an unknown framing, field or key, a compressed frame, an
//! object without a name) ends the answer with an error: nothing passes unread. One message is held at
//! a time, up to 200 MiB.
//!
//! | module | knows |
//! |---|---|
//! | `applications`, `resources` | what of an object is looked at: the rules |
//! | `frames` | where one message ends and the next begins |
//! | `protobuf`, `json` | where the objects are in a message |
//! | `fields` | the parameter by which callers choose what is sent of an object |

mod applications;
mod fields;
mod frames;
mod json;
mod protobuf;
mod resources;

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;

use self::fields::Fields;
use self::frames::{Framing, Splitter};
use crate::body::{self, Body, BoxError};

pub use self::applications::{AppFacts, Applications, Destination};
pub use self::fields::forward_query;
pub use self::resources::{Diffs, Named, Nodes};

/// Where a message keeps its objects.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// Whether the answer is a stream of messages; in JSON each is then the `result` of an object.
    streamed: bool,
    /// Everything that the message may have.
    parts: &'static [Part],
    /// How `fields` chooses, on REST.
    fields: Fields,
}

/// One field of a message.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    /// Its number in protobuf; absent there if it has none.
    field: Option<u64>,
    /// Its key in JSON.
    key: &'static str,
    holds: Holds,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// Objects, of which those stay that may be seen. It is always there.
    List,
    /// The same, and absent where there are none.
    Objects,
    /// The one object that the message is about: the message goes with it.
    Only,
    /// No object.
    Plain,
}

impl Part {
    const fn new(field: u64, key: &'static str, holds: Holds) -> Self {
        Self {
            field: Some(field),
            key,
            holds,
        }
    }

    const fn only_json(key: &'static str) -> Self {
        Self {
            field: None,
            key,
            holds: Holds::Plain,
        }
    }
}

/// `ApplicationList`.
pub static APPLICATION_LIST: Layout = Layout {
    streamed: false,
    parts: &[
        Part::new(1, "metadata", Holds::Plain),
        Part::new(2, "items", Holds::List),
        Part::only_json("apiVersion"),
        Part::only_json("kind"),
    ],
    fields: Fields::OfList {
        prefix: "items",
        needed: applications::PATHS,
    },
};

/// A stream of `ApplicationWatchEvent`.
pub static APPLICATION_EVENT: Layout = Layout {
    streamed: true,
    parts: &[
        Part::new(1, "type", Holds::Plain),
        Part::new(2, "application", Holds::Only),
    ],
    fields: Fields::Of {
        prefixes: &["result.application"],
        needed: applications::PATHS,
    },
};

/// What both kinds of answers with an `ApplicationTree` have.
const TREE: &[Part] = &[
    Part::new(1, "nodes", Holds::Objects),
    Part::new(2, "orphanedNodes", Holds::Objects),
    Part::new(3, "hosts", Holds::Plain),
    Part::new(4, "shardsCount", Holds::Plain),
];

/// `ApplicationTree`. Argo CD takes no `fields` for it.
pub static APPLICATION_TREE: Layout = Layout {
    streamed: false,
    parts: TREE,
    fields: Fields::Ignored,
};

/// A stream of `ApplicationTree`.
pub static APPLICATION_TREES: Layout = Layout {
    streamed: true,
    parts: TREE,
    fields: Fields::Of {
        prefixes: &["result.nodes", "result.orphanedNodes"],
        needed: resources::NODE_PATHS,
    },
};

/// `ApplicationSetTree`.
pub static APPLICATION_SET_TREE: Layout = Layout {
    streamed: false,
    parts: &[Part::new(1, "nodes", Holds::Objects)],
    fields: Fields::Ignored,
};

/// `ManagedResourcesResponse`.
pub static MANAGED_RESOURCES: Layout = Layout {
    streamed: false,
    parts: &[Part::new(1, "items", Holds::Objects)],
    fields: Fields::Of {
        prefixes: &["items"],
        needed: resources::PATHS,
    },
};

/// What of an object may be seen: nothing; the object as it is, where it may be seen whole; else what
/// of it may.
pub type Seen<'a> = Option<Cow<'a, [u8]>>;

/// Says what of an object may be seen.
pub trait Rule: Send {
    /// What may be seen of an object in protobuf.
    ///
    /// # Errors
    /// [`Error`] when the object is malformed or has no name.
    fn protobuf<'a>(&self, object: &'a [u8]) -> Result<Seen<'a>, Error>;

    /// What may be seen of an object in JSON.
    ///
    /// # Errors
    /// The same.
    fn json<'a>(&self, object: &'a [u8]) -> Result<Seen<'a>, Error>;
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
    /// A content type that such answers do not have.
    #[error("the upstream sent an answer as `{kind}`")]
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

/// `response` with only what `rule` leaves of its objects, which answers a request with `query`. A
/// status that is no success is Argo CD's own refusal, holds no objects, and passes.
///
/// # Errors
/// [`Error`] when the head shows that the body cannot be read. Later errors break off the body.
pub fn filter(
    response: Response<Body>,
    layout: &'static Layout,
    query: &str,
    rule: impl Rule + 'static,
) -> Result<Response<Body>, Error> {
    if !response.status().is_success() {
        return Ok(response);
    }
    let framing = framing(response.headers(), layout)?;
    let (mut head, inner) = response.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove(ETAG);
    let filtered = Filtered {
        inner,
        splitter: Splitter::new(framing, layout, layout.fields.asked(query)),
        rule: Box::new(rule),
        state: State::Reading,
    };
    Ok(Response::from_parts(head, body::boxed(filtered)))
}

fn framing(headers: &HeaderMap, layout: &Layout) -> Result<Framing, Error> {
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
        b"application/json" if !layout.streamed => Ok(Framing::Whole),
        b"application/json" => Ok(Framing::Lines),
        b"text/event-stream" if layout.streamed => Ok(Framing::Events),
        _ => Err(Error::UnknownKind {
            kind: String::from_utf8_lossy(kind).into_owned(),
        }),
    }
}

/// A body of which only permitted messages come out.
struct Filtered {
    inner: Body,
    splitter: Splitter,
    rule: Box<dyn Rule>,
    state: State,
}

enum State {
    Reading,
    /// The messages are over; what follows, if anything, are these trailers.
    Ending(Option<HeaderMap>),
    Ended,
}

impl Filtered {
    /// Takes a frame in; gives messages that became complete by it.
    fn take(&mut self, frame: Option<Frame<Bytes>>) -> Result<Option<Bytes>, Error> {
        let trailers = match frame.map(Frame::into_data) {
            Some(Ok(data)) => {
                self.splitter.push(&data)?;
                return self.splitter.next(&*self.rule);
            }
            Some(Err(frame)) => frame.into_trailers().ok(),
            None => None,
        };
        self.state = State::Ending(trailers);
        self.splitter.end(&*self.rule)
    }
}

impl http_body::Body for Filtered {
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
                State::Reading => match this.splitter.next(&*this.rule) {
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
