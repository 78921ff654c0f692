//! Every answer that the gate gives by itself.
//!
//! In: a [`Rejection`], or the bytes of a local answer. Out: a response in the form that the caller
//! speaks. One exhaustive match gives each rejection its status, code and sentence; no cause, path
//! or Rust name reaches the caller.
//!
//! | rejection | HTTP | gRPC | why this one |
//! |---|---|---|---|
//! | no or bad credential | 401 | `Unauthenticated` | the UI goes to its login |
//! | policy, unknown operation | 403 | `PermissionDenied` | not 404, which means "no such app" |
//! | a freeze, a stopped line | 403 | `PermissionDenied` | a policy says so; `Retry-After` tells when it ends, where that is known |
//! | evidence | 400 | `FailedPrecondition` | as grpc-gateway maps that code |
//! | what contradicts what is stored; a report that is none about what runs | 409 | `Aborted` | as it is after a change; `Retry-After` where that passes by itself |
//! | malformed, wrong type or method, too large | 400, 415, 405, 413 | `InvalidArgument` | the CLI repeats `ResourceExhausted` |
//! | overloaded, record behind, upstream or endpoint unreachable | 503, 502 | `Unavailable` | the CLI repeats it, and nothing was forwarded |
//! | upstream or endpoint failed | 502 | `Internal` | it may have acted: nobody may repeat the call by himself |
//! | upstream or endpoint too slow | 504 | `DeadlineExceeded` | the same; never repeated by the CLI |
//!
//! A denial is never `Unavailable` or `ResourceExhausted` (the CLI would repeat it) and never
//! `Unimplemented` (the CLI would fall back to another call).

use std::borrow::Cow;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;

use crate::body::{self, Body};
use crate::forward::{self, DECISION};
use crate::names::DecisionId;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web as the argocd CLI speaks it.
    GrpcWeb,
    /// The gate's token endpoint: RFC 6749 section 5.2.
    OAuth,
    /// The gate's own API: RFC 9457 problem details.
    Own,
    /// Argo CD's REST API.
    Rest,
}

impl Form {
    /// The form for a request that could not be classified: by its content type, so that the caller
    /// can read the refusal.
    #[must_use]
    pub fn of_content_type(headers: &HeaderMap) -> Self {
        match headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) {
            Some(kind) if kind.starts_with(b"application/grpc-web") => Self::GrpcWeb,
            Some(kind) if kind.starts_with(b"application/grpc") => Self::Grpc,
            _ => Self::Rest,
        }
    }
}

/// What an answer says besides its subject.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The decision; in a header, and at the end of the sentence.
    pub decision: DecisionId,
    /// Where people can read more about it.
    pub link: Option<&'a str>,
}

/// Every way to end a call without the upstream's answer. Sentences are for the caller: lower case,
/// no final stop, and without the decision, which is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The request cannot be read as what it says it is.
    BadRequest {
        /// What is wrong.
        sentence: String,
    },
    /// The request contradicts what is stored.
    Conflict {
        /// In what way.
        sentence: String,
        /// The sequence number that is expected next, where there is one.
        next: Option<u64>,
    },
    /// An endpoint under test broke off or answered out of protocol; it may have acted.
    EndpointFailed {
        /// Which.
        endpoint: String,
    },
    /// An endpoint under test did not answer in time; it may act yet.
    EndpointTimeout {
        /// Which.
        endpoint: String,
    },
    /// No connection to an endpoint under test; nothing was forwarded.
    EndpointUnreachable {
        /// Which.
        endpoint: String,
        /// Whether it is TLS that failed.
        tls: bool,
    },
    /// Policy would permit it if the evidence were there.
    Evidence {
        /// What is missing, and which commit would pass.
        sentence: String,
    },
    /// Policy would permit it if nothing held the environment.
    Held {
        /// What holds it, until when, why, and who may pass.
        sentence: String,
        /// In how many seconds that ends, where it is known.
        retry_after: Option<u64>,
    },
    /// The gate itself failed; nothing was forwarded.
    Internal,
    /// There is no such thing in the gate's own API.
    NotFound {
        /// What was looked for.
        sentence: String,
    },
    /// What RFC 6749 section 5.2 and those that build on it have a word for.
    OAuth {
        /// The word.
        error: &'static str,
        /// What is wrong, and what to do.
        sentence: String,
    },
    /// More calls than the gate admits; nothing was forwarded.
    Overloaded,
    /// Policy does not permit it.
    Policy {
        /// Who may not do what.
        sentence: String,
    },
    /// The record cannot take an entry now; nothing was forwarded.
    RecordBehind,
    /// A report of tests is none about what runs, or contradicts what is stored.
    Report {
        /// Which reason, in kebab case.
        code: &'static str,
        /// The same in words.
        sentence: String,
        /// Whether the same report may be taken on a little later.
        passes: bool,
    },
    /// The body is larger than what is accepted.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// No credential, or one that does not hold.
    Unauthenticated {
        /// Whether there was one.
        credential: Credential,
        /// What is wrong, or how to sign in.
        sentence: String,
    },
    /// A method or path that is not in the table.
    UnknownOperation {
        /// Which.
        sentence: String,
    },
    /// The upstream broke off or answered out of protocol; it may have acted.
    UpstreamFailed,
    /// The upstream did not answer in time; it may act yet.
    UpstreamTimeout,
    /// No connection to the upstream; nothing was forwarded.
    UpstreamUnreachable,
    /// A method that the path of the gate's own API does not have.
    WrongMethod {
        /// Those that it has, as in the `Allow` header.
        allowed: Cow<'static, str>,
    },
    /// A content type that is not accepted here.
    WrongType {
        /// The one that is.
        expected: &'static str,
    },
}

/// Whether a refused caller presented anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    Absent,
    /// Something that did not hold, and why, as a stable word.
    Invalid(&'static str),
}

/// The gRPC codes that the gate uses, and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Aborted = 10,
    DeadlineExceeded = 4,
    FailedPrecondition = 9,
    Internal = 13,
    InvalidArgument = 3,
    NotFound = 5,
    PermissionDenied = 7,
    Unauthenticated = 16,
    Unavailable = 14,
}

/// A rejection in terms of all wires.
struct Plain {
    http: StatusCode,
    grpc: Code,
    word: &'static str,
    sentence: String,
}

impl Rejection {
    /// The stable word of the rejection, for records, metric labels and problem details.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.plain().word
    }

    /// The sentence alone, for what has no decision on record.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.plain().sentence
    }

    /// The HTTP status that it has on REST.
    #[must_use]
    pub fn http_status(&self) -> StatusCode {
        self.plain().http
    }

    /// The gRPC code.
    #[must_use]
    pub fn grpc_code(&self) -> u32 {
        self.plain().grpc as u32
    }

    #[rustfmt::skip]
    fn plain(&self) -> Plain {
        use StatusCode as S;
        let plain = |http, grpc, word, sentence: &str| Plain {
            http, grpc, word, sentence: printable(sentence),
        };
        match self {
            Self::BadRequest { sentence } => plain(S::BAD_REQUEST, Code::InvalidArgument, "bad-request", sentence),
            Self::Conflict { sentence, next: _ } => plain(S::CONFLICT, Code::Aborted, "conflict", sentence),
            Self::EndpointFailed { endpoint } => plain(S::BAD_GATEWAY, Code::Internal, "endpoint-failed",
                &format!("endpoint {endpoint} broke off without an answer and may have acted")),
            Self::EndpointTimeout { endpoint } => plain(S::GATEWAY_TIMEOUT, Code::DeadlineExceeded, "endpoint-timeout",
                &format!("endpoint {endpoint} did not answer in time and may act yet")),
            Self::EndpointUnreachable { endpoint, tls: false } => plain(S::BAD_GATEWAY, Code::Unavailable, "endpoint-unreachable",
                &format!("endpoint {endpoint} cannot be reached, nothing was forwarded")),
            Self::EndpointUnreachable { endpoint, tls: true } => plain(S::BAD_GATEWAY, Code::Unavailable, "endpoint-unreachable",
                &format!("endpoint {endpoint} has no TLS that the gate trusts, nothing was forwarded")),
            Self::Evidence { sentence } => plain(S::BAD_REQUEST, Code::FailedPrecondition, "evidence", sentence),
            Self::Held { sentence, retry_after: _ } => plain(S::FORBIDDEN, Code::PermissionDenied, "held", sentence),
            Self::Internal => plain(S::INTERNAL_SERVER_ERROR, Code::Internal, "internal",
                "the gate failed and forwarded nothing"),
            Self::NotFound { sentence } => plain(S::NOT_FOUND, Code::NotFound, "not-found", sentence),
            Self::OAuth { error, sentence } => plain(S::BAD_REQUEST, Code::InvalidArgument, error, sentence),
            Self::Overloaded => plain(S::SERVICE_UNAVAILABLE, Code::Unavailable, "overloaded",
                "too many calls are under way, nothing was forwarded: try again"),
            Self::Policy { sentence } => plain(S::FORBIDDEN, Code::PermissionDenied, "policy", sentence),
            Self::RecordBehind => plain(S::SERVICE_UNAVAILABLE, Code::Unavailable, "record-behind",
                "the decision could not be recorded, nothing was forwarded: try again"),
            Self::Report { code, sentence, passes: _ } => plain(S::CONFLICT, Code::Aborted, code, sentence),
            Self::TooLarge { limit } => plain(S::PAYLOAD_TOO_LARGE, Code::InvalidArgument, "too-large",
                &format!("the request is larger than {limit} bytes")),
            Self::Unauthenticated { credential: _, sentence } => plain(S::UNAUTHORIZED, Code::Unauthenticated, "unauthenticated", sentence),
            Self::UnknownOperation { sentence } => plain(S::FORBIDDEN, Code::PermissionDenied, "unknown-operation", sentence),
            Self::UpstreamFailed => plain(S::BAD_GATEWAY, Code::Internal, "upstream-failed",
                "Argo CD broke off without an answer and may have acted: look before trying again"),
            Self::UpstreamTimeout => plain(S::GATEWAY_TIMEOUT, Code::DeadlineExceeded, "upstream-timeout",
                "Argo CD did not answer in time and may act yet: look before trying again"),
            Self::UpstreamUnreachable => plain(S::BAD_GATEWAY, Code::Unavailable, "upstream-unreachable",
                "Argo CD cannot be reached, nothing was forwarded: try again"),
            Self::WrongMethod { allowed } => plain(S::METHOD_NOT_ALLOWED, Code::InvalidArgument, "wrong-method",
                &format!("this path takes {allowed}")),
            Self::WrongType { expected } => plain(S::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, "wrong-type",
                &format!("the content type here is {expected}")),
        }
    }
}

/// What the caller is told of a failed forward; the error itself is for the log and the record.
impl From<&forward::Error> for Rejection {
    fn from(error: &forward::Error) -> Self {
        match error {
            forward::Error::CallerBody(_)
            | forward::Error::CallerRequest { .. }
            | forward::Error::ForeignOrigin { .. } => Self::BadRequest {
                sentence: error.to_string(),
            },
            forward::Error::Stopped
            | forward::Error::UpstreamProtocol(_)
            | forward::Error::UpstreamSurprise { .. } => Self::UpstreamFailed,
            forward::Error::UpstreamBusy => Self::Overloaded,
            forward::Error::UpstreamTimeout { .. } => Self::UpstreamTimeout,
            forward::Error::UpstreamTls(_) | forward::Error::UpstreamUnreachable(_) => {
                Self::UpstreamUnreachable
            }
        }
    }
}

impl Rejection {
    /// What the caller is told of a request that did not come back from the endpoint of this name.
    #[must_use]
    pub fn of_endpoint(endpoint: &str, error: &forward::Error) -> Self {
        let endpoint = endpoint.to_owned();
        match Self::from(error) {
            Self::UpstreamFailed => Self::EndpointFailed { endpoint },
            Self::UpstreamTimeout => Self::EndpointTimeout { endpoint },
            Self::UpstreamUnreachable => Self::EndpointUnreachable {
                endpoint,
                tls: matches!(error, forward::Error::UpstreamTls(_)),
            },
            other => other,
        }
    }
}

/// What people read: the sentence, the decision, and where to read more.
#[must_use]
pub fn line(rejection: &Rejection, about: About<'_>) -> String {
    line_of(&rejection.plain(), about)
}

fn line_of(plain: &Plain, about: About<'_>) -> String {
    let sentence = format!("{}. decision {}", plain.sentence, about.decision);
    match about.link {
        Some(link) => format!("{sentence} - see {}", printable(link)),
        None => sentence,
    }
}

/// `rejection` as an answer in `form`.
#[must_use]
pub fn reject(form: Form, rejection: &Rejection, about: About<'_>) -> Response<Body> {
    let plain = rejection.plain();
    let sentence = line_of(&plain, about);
    let mut response = match form {
        Form::Grpc => trailers_only("application/grpc", &plain, &sentence),
        Form::GrpcWeb => trailers_only("application/grpc-web+proto", &plain, &sentence),
        Form::OAuth => oauth(&plain, &sentence, about.decision),
        Form::Own => problem(rejection, &plain, &sentence, about.decision),
        Form::Rest => rest(&plain, &sentence),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    put(headers, DECISION, &about.decision.to_string());
    match form {
        Form::Grpc | Form::GrpcWeb => {}
        Form::OAuth | Form::Own | Form::Rest => explain(headers, rejection),
    }
    response
}

/// A local answer to a gRPC call: one `message`, and status 0 in the trailers.
#[must_use]
pub fn ok_grpc(message: &[u8], decision: DecisionId) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let end = async move { Some(Ok(trailers)) };
    let body = Full::new(frame(0, message)).with_trailers(end);
    answer(
        StatusCode::OK,
        "application/grpc",
        body::boxed(body),
        decision,
    )
}

/// A local answer to a gRPC-Web call: one `message`, then a trailer frame with status 0.
#[must_use]
pub fn ok_grpc_web(message: &[u8], decision: DecisionId) -> Response<Body> {
    let mut bytes = BytesMut::from(frame(0, message).as_ref());
    bytes.extend_from_slice(&frame(0x80, b"grpc-status: 0\r\n"));
    let body = body::full(bytes.freeze());
    answer(StatusCode::OK, "application/grpc-web+proto", body, decision)
}

/// A local answer in JSON; `status` is 200 or another success.
#[must_use]
pub fn ok_json(status: StatusCode, json: Vec<u8>, decision: DecisionId) -> Response<Body> {
    answer(status, "application/json", body::full(json), decision)
}

fn answer(
    status: StatusCode,
    kind: &'static str,
    body: Body,
    decision: DecisionId,
) -> Response<Body> {
    let mut response = respond(status, kind, body);
    put(response.headers_mut(), DECISION, &decision.to_string());
    response
}

/// The gRPC length-prefixed message (or trailer) of `bytes`.
fn frame(flags: u8, bytes: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(bytes.len() + 5);
    framed.put_u8(flags);
    // No local answer comes near 4 GiB.
    framed.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    framed.put_slice(bytes);
    framed.freeze()
}

/// The status in the head of an answer without body: gRPC's "Trailers-Only", and what the CLI's
/// gRPC-Web reads (it never looks into a trailer frame).
fn trailers_only(kind: &'static str, plain: &Plain, sentence: &str) -> Response<Body> {
    let mut response = respond(StatusCode::OK, kind, body::empty());
    let headers = response.headers_mut();
    put(
        headers,
        HeaderName::from_static("grpc-status"),
        &(plain.grpc as u32).to_string(),
    );
    // Printable ASCII without `%` needs no percent-encoding (gRPC over HTTP/2, "Status-Message"),
    // and the CLI's gRPC-Web would not decode it.
    put(headers, HeaderName::from_static("grpc-message"), sentence);
    response
}

fn rest(plain: &Plain, sentence: &str) -> Response<Body> {
    let json = json!({ "error": sentence, "code": plain.grpc as u32, "message": sentence });
    respond(plain.http, "application/json", body::full(json.to_string()))
}

/// What has no word in the RFCs is told in ours, as they allow.
fn oauth(plain: &Plain, sentence: &str, decision: DecisionId) -> Response<Body> {
    let error = match plain.word {
        "bad-request" | "too-large" | "wrong-method" | "wrong-type" => "invalid_request",
        "policy" => "access_denied",
        "internal" => "server_error",
        "overloaded" | "record-behind" => "temporarily_unavailable",
        word => word,
    };
    let json = json!({
        "error": error,
        "error_description": sentence,
        "decision": decision.to_string(),
    });
    respond(plain.http, "application/json", body::full(json.to_string()))
}

fn problem(
    rejection: &Rejection,
    plain: &Plain,
    sentence: &str,
    decision: DecisionId,
) -> Response<Body> {
    let mut json = json!({
        "type": format!("urn:syncgate:problem:{}", plain.word),
        "title": plain.http.canonical_reason().unwrap_or("Refused"),
        "status": plain.http.as_u16(),
        "detail": sentence,
        "code": plain.word,
        "decision": decision.to_string(),
    });
    let further = match rejection {
        Rejection::Conflict {
            next: Some(next), ..
        } => Some(("next", json!(next))),
        Rejection::Unauthenticated {
            credential: Credential::Invalid(reason),
            ..
        } => Some(("reason", json!(reason))),
        _ => None,
    };
    if let (Some((name, value)), Some(fields)) = (further, json.as_object_mut()) {
        fields.insert(name.into(), value);
    }
    respond(
        plain.http,
        "application/problem+json",
        body::full(json.to_string()),
    )
}

/// The headers by which HTTP itself explains a refusal.
fn explain(headers: &mut HeaderMap, rejection: &Rejection) {
    if let Rejection::Unauthenticated { credential, .. } = rejection {
        // RFC 6750 section 3.1: the error only where a credential was presented.
        let challenge = match credential {
            Credential::Absent => "Bearer realm=\"syncgate\"",
            Credential::Invalid(_) => "Bearer realm=\"syncgate\", error=\"invalid_token\"",
        };
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Rejection::Overloaded | Rejection::Report { passes: true, .. } = rejection {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Rejection::Held {
        retry_after: Some(seconds),
        ..
    } = rejection
    {
        put(headers, RETRY_AFTER, &seconds.to_string());
    }
    if let Rejection::WrongMethod { allowed } = rejection {
        put(headers, ALLOW, allowed);
    }
}

fn respond(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// `value` is printable ASCII, so it is always a header.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// `text` as one line of printable ASCII without `%`, which every wire carries as it is.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '%' => line.push_str(" percent"),
            ' '..='~' => line.push(character),
            character if character.is_whitespace() => line.push(' '),
            _ => line.push('?'),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision() -> DecisionId {
        DecisionId("01J0000000000000000000000A".parse().unwrap())
    }

    fn about() -> About<'static> {
        About {
            decision: decision(),
            link: None,
        }
    }

    fn every() -> Vec<Rejection> {
        let sentence = || "alice may not sync `shop`".to_owned();
        vec![
            Rejection::BadRequest {
                sentence: sentence(),
            },
            Rejection::Conflict {
                sentence: sentence(),
                next: Some(3),
            },
            Rejection::EndpointFailed {
                endpoint: "api".into(),
            },
            Rejection::EndpointTimeout {
                endpoint: "api".into(),
            },
            Rejection::EndpointUnreachable {
                endpoint: "api".into(),
                tls: true,
            },
            Rejection::Evidence {
                sentence: sentence(),
            },
            Rejection::Held {
                sentence: sentence(),
                retry_after: Some(60),
            },
            Rejection::Internal,
            Rejection::NotFound {
                sentence: sentence(),
            },
            Rejection::Overloaded,
            Rejection::Policy {
                sentence: sentence(),
            },
            Rejection::RecordBehind,
            Rejection::Report {
                code: "dry-run",
                sentence: sentence(),
                passes: false,
            },
            Rejection::TooLarge { limit: 4 },
            Rejection::Unauthenticated {
                credential: Credential::Absent,
                sentence: sentence(),
            },
            Rejection::UnknownOperation {
                sentence: sentence(),
            },
            Rejection::UpstreamFailed,
            Rejection::UpstreamTimeout,
            Rejection::UpstreamUnreachable,
            Rejection::WrongMethod {
                allowed: "POST".into(),
            },
            Rejection::WrongType {
                expected: "application/json",
            },
        ]
    }

    async fn answered_json(response: Response<Body>) -> serde_json::Value {
        let bytes = body::collect(response.into_body(), 4096).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn statuses_are_the_table_of_the_header() {
        let table: Vec<String> = every()
            .iter()
            .map(|r| {
                format!(
                    "{} {} {}",
                    r.word(),
                    r.http_status().as_u16(),
                    r.grpc_code()
                )
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        bad-request 400 3
        conflict 409 10
        endpoint-failed 502 13
        endpoint-timeout 504 4
        endpoint-unreachable 502 14
        evidence 400 9
        held 403 7
        internal 500 13
        not-found 404 5
        overloaded 503 14
        policy 403 7
        record-behind 503 14
        dry-run 409 10
        too-large 413 3
        unauthenticated 401 16
        unknown-operation 403 7
        upstream-failed 502 13
        upstream-timeout 504 4
        upstream-unreachable 502 14
        wrong-method 405 3
        wrong-type 415 3
        ");
    }

    #[tokio::test]
    async fn grpc_and_grpc_web_carry_the_status_in_the_head_of_a_200() {
        for (form, kind) in [
            (Form::Grpc, "application/grpc"),
            (Form::GrpcWeb, "application/grpc-web+proto"),
        ] {
            for rejection in every() {
                let response = reject(form, &rejection, about());
                assert_eq!(response.status(), StatusCode::OK);
                assert_eq!(response.headers()[CONTENT_TYPE], kind);
                let code = rejection.grpc_code().to_string();
                assert_eq!(response.headers()["grpc-status"], code);
                let message = response.headers()["grpc-message"].to_str().unwrap();
                assert!(
                    message.contains("decision 01J0000000000000000000000A"),
                    "{message}"
                );
                assert!(http_body::Body::is_end_stream(response.body()));
            }
        }
    }

    #[tokio::test]
    async fn rest_carries_error_code_and_message_and_challenges_on_401() {
        let rejection = Rejection::Unauthenticated {
            credential: Credential::Invalid("expired"),
            sentence: "the token has expired".into(),
        };
        let response = reject(Form::Rest, &rejection, about());
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let challenge = "Bearer realm=\"syncgate\", error=\"invalid_token\"";
        assert_eq!(response.headers()[WWW_AUTHENTICATE], challenge);
        assert_eq!(response.headers()[DECISION], "01J0000000000000000000000A");
        let sentence = "the token has expired. decision 01J0000000000000000000000A";
        let expected = json!({ "error": sentence, "code": 16, "message": sentence });
        assert_eq!(answered_json(response).await, expected);
    }

    #[tokio::test]
    async fn the_own_api_answers_with_problem_details() {
        let rejection = Rejection::Conflict {
            sentence: "batch 5 was sent before batch 3".into(),
            next: Some(3),
        };
        let link = About {
            link: Some("https://gate/syncgate/log/1"),
            ..about()
        };
        let response = reject(Form::Own, &rejection, link);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let expected = json!({
            "type": "urn:syncgate:problem:conflict",
            "title": "Conflict",
            "status": 409,
            "detail": "batch 5 was sent before batch 3. decision 01J0000000000000000000000A - see \
                       https://gate/syncgate/log/1",
            "code": "conflict",
            "decision": "01J0000000000000000000000A",
            "next": 3,
        });
        assert_eq!(answered_json(response).await, expected);
    }

    #[test]
    fn a_sentence_is_one_line_of_printable_ascii_without_percent() {
        assert_eq!(
            printable("50% of\nthe ‘apps’\u{0}"),
            "50 percent of the ?apps??"
        );
        let hostile = Rejection::Policy {
            sentence: "x\r\ngrpc-status: 0".into(),
        };
        let response = reject(Form::Grpc, &hostile, about());
        assert_eq!(response.headers()["grpc-status"], "7");
    }

    #[tokio::test]
    async fn local_answers_are_framed_as_their_wire_wants() {
        let grpc = ok_grpc(b"abc", decision())
            .into_body()
            .collect()
            .await
            .unwrap();
        assert_eq!(grpc.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(grpc.to_bytes().as_ref(), b"\0\0\0\0\x03abc");
        let web = ok_grpc_web(b"abc", decision()).into_body();
        let web = body::collect(web, 100).await.unwrap();
        assert_eq!(
            web.as_ref(),
            b"\0\0\0\0\x03abc\x80\0\0\0\x10grpc-status: 0\r\n"
        );
    }
}
