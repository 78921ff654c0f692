//! How Argo CD's answers look on each wire.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use serde_json::{Value, json};
use syncgate::argocd::framing;
use syncgate::argocd::proto::{
    Application, ApplicationDestination, ApplicationList, ApplicationSpec, ApplicationWatchEvent,
    ObjectMeta,
};
use syncgate::body::{self, Body};
use tokio::sync::broadcast;

use super::argocd::{GATE_TOKEN, Seen, event};

/// What the stand-in says, before it is put on a wire.
pub(crate) enum Answer {
    /// The Kubernetes API's word for an object that was changed meanwhile.
    Conflict,
    /// As Argo CD speaks of what is not there, too.
    Denied,
    /// Applications.
    List(Vec<Value>),
    /// A message of its own.
    Message(Vec<u8>),
    /// One application.
    One(Value),
    /// Anything else; an empty message on gRPC.
    Other(Value),
    /// Applications, and on REST what changes from then on.
    Watch(Vec<Value>),
}

/// The name in the first field of a framed message.
pub(crate) fn name_in(body: &[u8]) -> String {
    let message = framing::read_message(body, framing::MAX_MESSAGE_BYTES).unwrap();
    // The first field of Get's and Sync's messages is the name.
    let sync = syncgate::argocd::proto::ApplicationSyncRequest::decode(message);
    sync.map(|sync| sync.name).unwrap_or_default()
}

/// JSON, or a stream of it.
pub(crate) fn rest(
    seen: &Seen,
    answer: Answer,
    events: broadcast::Receiver<Value>,
) -> Response<Body> {
    let (status, json) = match answer {
        Answer::Conflict => {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict",
                "message": "the object has been modified", "code": 409,
            });
            (StatusCode::CONFLICT, status)
        }
        Answer::Denied => {
            let error =
                json!({"error": "permission denied", "code": 7, "message": "permission denied"});
            (StatusCode::FORBIDDEN, error)
        }
        Answer::List(items) => (StatusCode::OK, json!({"metadata": {}, "items": items})),
        Answer::Message(_) => panic!("REST has JSON"),
        Answer::One(value) | Answer::Other(value) => (StatusCode::OK, value),
        Answer::Watch(now) => return watch(seen, &now, events),
    };
    let mut response = Response::new(body::full(json.to_string()));
    *response.status_mut() = status;
    give_away(response.headers_mut());
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", kind);
    response
}

/// A body that a test gave, with the end that its kind has.
pub(crate) fn given(kind: &str, bytes: Vec<u8>) -> Response<Body> {
    let body = body::full(bytes);
    let body = if kind == "application/grpc" {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        body::boxed(body.with_trailers(async move { Some(Ok(trailers)) }))
    } else {
        body
    };
    let mut response = Response::new(body);
    let kind = HeaderValue::try_from(kind).unwrap();
    response.headers_mut().insert("content-type", kind);
    response
}

fn watch(seen: &Seen, now: &[Value], events: broadcast::Receiver<Value>) -> Response<Body> {
    let accepts = seen.headers.get("accept");
    let sse = accepts.is_some_and(|accept| accept == "text/event-stream");
    let now: Vec<Value> = now.iter().map(|one| event("ADDED", one)).collect();
    let later = stream::unfold(events, |mut events| async {
        let event = events.recv().await.ok()?;
        Some((event, events))
    });
    let lines = stream::iter(now).chain(later).map(move |event| {
        let line = if sse {
            format!("data: {event}\n\n")
        } else {
            format!("{event}\n")
        };
        Ok::<_, Infallible>(Frame::data(Bytes::from(line)))
    });
    let mut response = Response::new(body::boxed(StreamBody::new(lines)));
    let kind = if sse {
        "text/event-stream"
    } else {
        "application/json"
    };
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert("content-type", kind);
    response
}

/// gRPC, or gRPC-Web.
pub(crate) fn framed(seen: &Seen, answer: Answer) -> Response<Body> {
    let (status, messages) = match answer {
        Answer::Conflict | Answer::Denied => ("7", Vec::new()),
        Answer::List(items) => {
            let items = items.iter().map(message).collect();
            ("0", vec![ApplicationList { items }.encode_to_vec()])
        }
        Answer::One(value) => ("0", vec![message(&value).encode_to_vec()]),
        Answer::Message(bytes) => ("0", vec![bytes]),
        Answer::Other(_) => ("0", vec![Vec::new()]),
        Answer::Watch(now) => ("0", now.iter().map(added).collect()),
    };
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend_from_slice(&framing::write_message(&message).unwrap());
    }
    let web = seen.kind() == "application/grpc-web+proto";
    let body = if web {
        let lines = format!("grpc-status: {status}\r\n");
        bytes.extend_from_slice(&framing::write_trailers(lines.as_bytes()).unwrap());
        body::full(bytes)
    } else {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(status));
        give_away(&mut trailers);
        let end = async move { Some(Ok(trailers)) };
        body::boxed(body::full(bytes).with_trailers(end))
    };
    let mut response = Response::new(body);
    give_away(response.headers_mut());
    let kind = HeaderValue::try_from(seen.kind()).unwrap();
    response.headers_mut().insert("content-type", kind);
    response
}

/// An upstream that gives its credential away in every place that is not content.
fn give_away(headers: &mut HeaderMap) {
    let cookie = format!("argocd.token={GATE_TOKEN}; Path=/");
    for (name, value) in [
        ("set-cookie", cookie.as_str()),
        ("renew-token", GATE_TOKEN),
        ("x-debug", GATE_TOKEN),
    ] {
        headers.insert(name, HeaderValue::try_from(value).unwrap());
    }
}

fn added(application: &Value) -> Vec<u8> {
    let event = ApplicationWatchEvent {
        r#type: Some("ADDED".to_owned()),
        application: Some(message(application)),
    };
    event.encode_to_vec()
}

fn message(application: &Value) -> Application {
    let text = |pointer: &str| {
        let value = application.pointer(pointer).and_then(Value::as_str);
        value.map(str::to_owned)
    };
    let metadata = ObjectMeta {
        name: text("/metadata/name"),
        namespace: text("/metadata/namespace"),
        uid: text("/metadata/uid"),
        ..ObjectMeta::default()
    };
    let destination = ApplicationDestination {
        server: text("/spec/destination/server"),
        namespace: text("/spec/destination/namespace"),
        name: None,
    };
    let spec = ApplicationSpec {
        destination: Some(destination),
        project: text("/spec/project"),
        ..ApplicationSpec::default()
    };
    Application {
        metadata: Some(metadata),
        spec: Some(spec),
    }
}
