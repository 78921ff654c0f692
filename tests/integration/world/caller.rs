//! Callers: one request at a time, on a connection of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use syncgate::argocd::framing::{self, Decoder, Frame};
use syncgate::argocd::proto::ApplicationSyncRequest;
use syncgate::names::DecisionId;
use syncgate::outbound;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use super::within;

/// How a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Grpc,
    GrpcWeb,
    Rest,
}

impl Wire {
    pub(crate) const ALL: [Self; 3] = [Self::Grpc, Self::GrpcWeb, Self::Rest];
    /// Those that carry protobuf.
    pub(crate) const FRAMED: [Self; 2] = [Self::Grpc, Self::GrpcWeb];

    /// The content type of its requests.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::GrpcWeb => "application/grpc-web+proto",
            Self::Rest => "application/json",
        }
    }

    /// The header in which the argocd CLI, or a script, sends its token on this wire.
    pub(crate) fn credential(self, token: &str) -> (&'static str, String) {
        match self {
            Self::Grpc | Self::GrpcWeb => ("token", token.to_owned()),
            Self::Rest => ("authorization", format!("Bearer {token}")),
        }
    }
}

/// One call, as it looks on each wire.
pub(crate) struct Call {
    method: &'static str,
    path: String,
    json: Option<Value>,
    grpc: String,
    message: Vec<u8>,
}

impl Call {
    /// Syncs `application` to what its branch is.
    pub(crate) fn sync(application: &str) -> Self {
        Self::sync_as(ApplicationSyncRequest {
            name: application.to_owned(),
            ..ApplicationSyncRequest::default()
        })
    }

    /// Syncs as asked.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "requests are made for the call"
    )]
    pub(crate) fn sync_as(request: ApplicationSyncRequest) -> Self {
        let mut json = serde_json::to_value(&request).unwrap();
        json.as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        Self {
            method: "POST",
            path: format!("/api/v1/applications/{}/sync", request.name),
            json: Some(json),
            grpc: "/application.ApplicationService/Sync".to_owned(),
            message: request.encode_to_vec(),
        }
    }

    /// Reads `application`.
    pub(crate) fn get(application: &str) -> Self {
        Self {
            method: "GET",
            path: format!("/api/v1/applications/{application}"),
            json: None,
            grpc: "/application.ApplicationService/Get".to_owned(),
            // Its first field is the name, as of a sync.
            message: Self::sync(application).message,
        }
    }

    /// The same application, by another method.
    pub(crate) fn becomes(&mut self, rest: &str, grpc: &str) {
        self.path.push_str(rest);
        grpc.clone_into(&mut self.grpc);
    }

    /// Reads a page without parameters.
    pub(crate) fn read(path: &str, grpc: &str) -> Self {
        Self {
            method: "GET",
            path: path.to_owned(),
            json: None,
            grpc: grpc.to_owned(),
            message: Vec::new(),
        }
    }

    /// Lists applications.
    pub(crate) fn list() -> Self {
        Self::read(
            "/api/v1/applications",
            "/application.ApplicationService/List",
        )
    }
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Said {
    async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let collected = body.collect().await.unwrap();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            trailers: collected.trailers().cloned().unwrap_or_default(),
            body: collected.to_bytes(),
        }
    }

    /// The gRPC code, wherever the wire has it; 0 for a success.
    pub(crate) fn code(&self) -> u64 {
        if let Some(status) = self.grpc("grpc-status") {
            return status.parse().unwrap();
        }
        match self.status {
            200..=299 => 0,
            _ => self.json()["code"]
                .as_u64()
                .unwrap_or_else(|| panic!("{self:?}")),
        }
    }

    /// The sentence of a refusal.
    pub(crate) fn sentence(&self) -> String {
        self.grpc("grpc-message").unwrap_or_else(|| {
            let json = self.json();
            let text = json["message"].as_str().or(json["detail"].as_str());
            text.unwrap_or_else(|| panic!("{self:?}")).to_owned()
        })
    }

    fn grpc(&self, name: &str) -> Option<String> {
        let text = |headers: &HeaderMap| Some(headers.get(name)?.to_str().unwrap().to_owned());
        text(&self.headers)
            .or_else(|| text(&self.trailers))
            .or_else(|| {
                let lines = self.frames().into_iter().find_map(|frame| match frame {
                    Frame::Trailers(lines) => Some(String::from_utf8(lines.to_vec()).unwrap()),
                    Frame::Message(_) => None,
                })?;
                let value = lines.lines().find_map(|line| line.split_once(": "))?;
                (value.0 == name).then(|| value.1.to_owned())
            })
    }

    fn frames(&self) -> Vec<Frame> {
        let kind = self.headers.get("content-type");
        if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
            return Vec::new();
        }
        let mut decoder = Decoder::new(framing::MAX_MESSAGE_BYTES);
        decoder.push(&self.body);
        std::iter::from_fn(|| decoder.next_frame().unwrap()).collect()
    }

    /// The messages of a framed answer.
    pub(crate) fn messages<M: prost::Message + Default>(&self) -> Vec<M> {
        let messages = self.frames().into_iter().filter_map(|frame| match frame {
            Frame::Message(bytes) => Some(M::decode(bytes).unwrap()),
            Frame::Trailers(_) => None,
        });
        messages.collect()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The header `name`, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The decision that the answer names.
    pub(crate) fn decision(&self) -> DecisionId {
        DecisionId(self.header("syncgate-decision").parse().unwrap())
    }
}

/// A gate to knock on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
    tasks: TaskTracker,
}

impl Gate {
    /// The gate at `url`, whose certificate `ca` signed.
    pub(crate) fn new(url: &str, ca: Option<&Path>, tasks: TaskTracker) -> Self {
        let url: url::Url = url.parse().unwrap();
        let trusting = |ca| Arc::new(outbound::client_config(&url, Some(ca)).unwrap());
        Self {
            address: url.socket_addrs(|| None).unwrap()[0],
            tls: ca.map(trusting),
            tasks,
        }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Makes `call` on `wire` with `token`.
    pub(crate) async fn ask(&self, wire: Wire, token: &str, call: &Call) -> Said {
        self.ask_with(wire, &[wire.credential(token)], call).await
    }

    /// Makes `call` on `wire` with these headers.
    pub(crate) async fn ask_with(
        &self,
        wire: Wire,
        headers: &[(&str, String)],
        call: &Call,
    ) -> Said {
        let body = match wire {
            Wire::Rest => call.json.as_ref().map(Value::to_string).unwrap_or_default(),
            Wire::Grpc | Wire::GrpcWeb => {
                return self.framed(wire, headers, &call.grpc, &call.message).await;
            }
        };
        let bytes = Bytes::from(body);
        self.send(wire, call.method, &call.path, headers, bytes)
            .await
    }

    /// Sends one message to a gRPC path.
    pub(crate) async fn framed(
        &self,
        wire: Wire,
        headers: &[(&str, String)],
        path: &str,
        message: &[u8],
    ) -> Said {
        let body = framing::write_message(message).unwrap();
        self.send(wire, "POST", path, headers, body).await
    }

    /// Sends a request to REST with a token.
    pub(crate) async fn rest(&self, method: &str, path: &str, token: &str, body: &str) -> Said {
        let headers = [Wire::Rest.credential(token)];
        let bytes = Bytes::from(body.to_owned());
        self.send(Wire::Rest, method, path, &headers, bytes).await
    }

    /// Posts a form, without a credential.
    pub(crate) async fn form(&self, path: &str, form: String) -> Said {
        let mut request = Request::post(path)
            .header("host", self.address.to_string())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .unwrap();
        *request.version_mut() = http::Version::HTTP_11;
        let talk = async {
            let socket = self.connect(false).await;
            let (mut sender, connection) = http1::handshake(socket).await.unwrap();
            self.tasks.spawn(connection);
            Said::read(sender.send_request(request).await.unwrap()).await
        };
        within(path, talk).await
    }

    /// Sends a request.
    pub(crate) async fn send(
        &self,
        wire: Wire,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Said {
        let what = format!("{wire:?} {method} {path}");
        let talk = async { Said::read(self.begin(wire, method, path, headers, body).await).await };
        within(&what, talk).await
    }

    /// Sends a request, and gives the answer as soon as its head is there.
    pub(crate) async fn begin(
        &self,
        wire: Wire,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Response<Incoming> {
        self.try_begin(wire, method, path, headers, body)
            .await
            .unwrap()
    }

    /// The same, where the gate may break off.
    pub(crate) async fn try_begin(
        &self,
        wire: Wire,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let h2 = wire == Wire::Grpc;
        let uri = if h2 {
            format!("{}{path}", self.url())
        } else {
            path.to_owned()
        };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", wire.kind());
        if h2 {
            request = request.header("te", "trailers");
        } else {
            request = request.header("host", self.address.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body)).unwrap();
        let socket = self.connect(h2).await;
        if h2 {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), socket).await?;
            self.tasks.spawn(connection);
            sender.send_request(request).await
        } else {
            let (mut sender, connection) = http1::handshake(socket).await?;
            self.tasks.spawn(connection);
            sender.send_request(request).await
        }
    }

    async fn connect(&self, h2: bool) -> TokioIo<Box<dyn Socket>> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let Some(tls) = &self.tls else {
            return TokioIo::new(Box::new(socket));
        };
        let mut tls = rustls::ClientConfig::clone(tls);
        let protocol: &[u8] = if h2 { b"h2" } else { b"http/1.1" };
        tls.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TlsConnector::from(Arc::new(tls)).connect(name, socket);
        TokioIo::new(Box::new(socket.await.unwrap()))
    }

    /// Reports a run of one test of the suite `integration` on `checkout-staging`, and gives the
    /// answer to its end.
    pub(crate) async fn report(&self, token: &str, outcome: &str) -> Value {
        self.report_as(token, &new_run("checkout-staging"), outcome)
            .await
    }

    /// The same by a run that is opened by `opening`.
    pub(crate) async fn report_as(&self, token: &str, opening: &Value, outcome: &str) -> Value {
        let opened = self.post_run(token, opening).await;
        assert_eq!(opened.status, 201, "{opened:?}");
        let run = opened.json()["run"].as_str().unwrap().to_owned();
        let attempt = json!({
            "test": TEST, "attempt": 1, "outcome": outcome, "duration_ms": 3,
            "started_at": moment(), "message": null, "worker": null,
        });
        let batch = json!({"sequence": 0, "attempts": [attempt]});
        let path = format!("/syncgate/v1/runs/{run}/attempts");
        let stored = self.rest("POST", &path, token, &batch.to_string()).await;
        assert_eq!(stored.status, 200, "{stored:?}");
        let end = json!({
            "exit_status": i32::from(outcome != "passed"), "finished_at": "2026-11-23T04:00:01Z",
            "batches": 1, "attempts": 1, "interrupted": false,
        });
        let path = format!("/syncgate/v1/runs/{run}/finish");
        let finished = self.rest("POST", &path, token, &end.to_string()).await;
        assert_eq!(finished.status, 200, "{finished:?}");
        finished.json()
    }

    /// Opens a run of one test.
    pub(crate) async fn open_run(&self, token: &str, application: &str) -> Said {
        self.post_run(token, &new_run(application)).await
    }

    /// Opens a run, as its reporters do: again where the gate says that it may take it on a little later.
    pub(crate) async fn post_run(&self, token: &str, body: &Value) -> Said {
        let body = body.to_string();
        let ask = || self.rest("POST", "/syncgate/v1/runs", token, &body);
        let mut said = ask().await;
        for _ in 0..12 {
            if said.header("retry-after").is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            said = ask().await;
        }
        said
    }
}

/// The one test of all runs.
const TEST: &str = "tests/test_pay.py::test_refund";

/// A time that no test has begun at yet.
pub(crate) fn moment() -> String {
    static MOMENTS: AtomicU32 = AtomicU32::new(0);
    let moment = MOMENTS.fetch_add(1, Ordering::Relaxed);
    format!("2026-11-23T04:00:00.{moment:06}Z")
}

/// The body that opens a run of one test.
pub(crate) fn new_run(application: &str) -> Value {
    json!({
        "application": application, "suite": "integration",
        "collected": {
            "tests": 1, "digest": syncgate::digest::sha256_hex(TEST.as_bytes()), "deselected": 0,
        },
        "tool": {"name": "pytest"}, "started_at": "2026-11-23T04:00:00Z",
    })
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Sends these bytes and gives the status of the HTTP/1.1 answer; 0 if there was none.
pub(crate) async fn raw_http1(gate: &Gate, bytes: &[u8]) -> (u16, String) {
    let mut socket = TcpStream::connect(gate.address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A gate that closes on what it cannot read may reset the connection.
    let _ = within("a raw answer", socket.read_to_end(&mut answer)).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    (status.unwrap_or(0), text)
}

/// Sends one HTTP/2 request with exactly these header fields and gives the type of the first frame
/// that answers it: 1 for a head, 3 for a reset stream, 7 for a connection that is given up.
pub(crate) async fn raw_http2(gate: &Gate, fields: &[(&str, &str)], body: &[u8]) -> u8 {
    let mut block = Vec::new();
    for (name, value) in fields {
        // RFC 7541 section 6.2.2: literal, not indexed, new name.
        block.push(0);
        for text in [name, value] {
            block.extend(hpack_length(text.len()));
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(1, 0x4, 1, &block));
    bytes.extend(frame(0, 0x1, 1, body));
    let mut socket = TcpStream::connect(gate.address).await.unwrap();
    socket.write_all(&bytes).await.unwrap();
    let answer = async {
        loop {
            let mut head = [0; 9];
            if socket.read_exact(&mut head).await.is_err() {
                return 7;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            socket.read_exact(&mut payload).await.unwrap();
            if [1, 3, 7].contains(&head[3]) {
                return head[3];
            }
        }
    };
    within("a raw answer", answer).await
}

/// RFC 7541 section 5.1, of seven bits, without Huffman coding.
fn hpack_length(length: usize) -> Vec<u8> {
    let Some(mut rest) = length.checked_sub(127) else {
        return vec![u8::try_from(length).unwrap()];
    };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() + 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// RFC 9113 section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}
