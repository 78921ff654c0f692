//! Stories on real sockets: a client, the gate, and an upstream that asserts what it is sent.

mod world;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::world::{CANARY, NAMED, ORIGIN, Pair, Permit, Setup, World, status, within};
use super::*;
use crate::listener::Limits;

fn grpc(url: String, message: impl Into<Bytes>) -> Request<Body> {
    Request::post(url)
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc+proto")
        .header("grpc-encoding", "gzip")
        .header("te", "trailers")
        .header("token", "of the client")
        .body(body::full(message))
        .unwrap()
}

fn get(url: String) -> Request<Body> {
    Request::get(url).body(body::empty()).unwrap()
}

fn grpc_answer(message: Body, grpc_status: &'static str) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(grpc_status));
    trailers.insert("renew-token", HeaderValue::from_static(CANARY));
    let end = async move { Some(Ok(trailers)) };
    Response::builder()
        .header("content-type", "application/grpc")
        .body(body::boxed(message.with_trailers(end)))
        .unwrap()
}

async fn bytes(response: Response<Incoming>) -> Bytes {
    within(body::collect(body::boxed(response.into_body()), 200 << 20))
        .await
        .unwrap()
}

/// Tells when it is dropped.
struct Notice(Option<oneshot::Sender<()>>);

impl Drop for Notice {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            // Nobody may be waiting any more.
            let _ = tell.send(());
        }
    }
}

// What arrives

#[tokio::test]
async fn rest_arrives_as_http1_with_our_credential_however_the_client_speaks() {
    for (gate_tls, scheme) in [(None, "http"), (Some(Pair::new()), "https")] {
        let setup = Setup {
            gate_tls,
            upstream_tls: Some(Pair::new()),
            root: "/argo",
            ..Setup::default()
        };
        let mut world = World::with(setup, move |request| async move {
            assert_eq!(request.version(), Version::HTTP_11);
            assert_eq!(request.uri(), "/argo/api/v1/x%2Fy?a=b");
            let headers = request.headers();
            assert_eq!(headers["authorization"], format!("Bearer {CANARY}"));
            assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
            assert_eq!(headers["x-forwarded-proto"], scheme);
            let (host, forwarded) = (&headers["host"], &headers["x-forwarded-host"]);
            assert!(host.to_str().unwrap().starts_with("localhost:"));
            assert_ne!(host, forwarded);
            assert!(headers.get("cookie").is_none() && headers.get("token").is_none());
            let sent = body::collect(request.into_body(), 100).await.unwrap();
            assert_eq!(sent, "{}");
            Response::new(body::full("answered"))
        })
        .await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let request = Request::post(world.url("/api/v1/x%2Fy?a=b"))
                .version(version)
                .header("authorization", "Bearer of.the.client")
                .header("cookie", "argocd.token=mine")
                .header("x-forwarded-for", "10.1.1.1")
                .header("connection", "authorization")
                .body(body::full("{}"));
            let response = world
                .client(version)
                .request(request.unwrap())
                .await
                .unwrap();
            assert_eq!(response.version(), version);
            assert!(response.headers().contains_key(DECISION));
            assert_eq!(bytes(response).await, "answered");
            let end = world.ending().await;
            assert_eq!((end.how, end.bytes), (Ending::Completed, 8));
        }
        world.end().await;
    }
}

#[tokio::test]
async fn grpc_arrives_as_http2_of_the_one_type_and_its_trailers_come_back() {
    for tls in [false, true] {
        let setup = Setup {
            gate_tls: tls.then(Pair::new),
            upstream_tls: tls.then(Pair::new),
            ..Setup::default()
        };
        let mut world = World::with(setup, |request| async move {
            assert_eq!(request.version(), Version::HTTP_2);
            assert_eq!(request.uri().path(), "/application.ApplicationService/Get");
            let headers = request.headers();
            assert_eq!(headers["content-type"], "application/grpc");
            assert_eq!(headers["te"], "trailers");
            assert!(!headers.contains_key("grpc-encoding"), "{headers:?}");
            let tokens: Vec<_> = headers.get_all("token").iter().collect();
            assert_eq!(tokens, [CANARY]);
            grpc_answer(request.into_body(), "5")
        })
        .await;
        let url = world.url("/application.ApplicationService/Get");
        let request = grpc(url, "message");
        let response = world
            .client(Version::HTTP_2)
            .request(request)
            .await
            .unwrap();
        let collected = within(response.into_body().collect()).await.unwrap();
        let trailers = collected.trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "5");
        assert!(trailers.get("renew-token").is_none());
        assert_eq!(collected.to_bytes(), "message");
        let end = world.ending().await;
        assert_eq!((end.how, end.grpc_status), (Ending::Completed, Some(5)));
        world.end().await;
    }
}

#[tokio::test]
async fn trailers_of_a_request_end_at_the_gate() {
    let world = World::new(|request| async move {
        let sent = request.into_body().collect().await.unwrap();
        assert!(sent.trailers().is_none(), "{:?}", sent.trailers());
        grpc_answer(body::full(sent.to_bytes()), "0")
    })
    .await;
    let mut trailers = HeaderMap::new();
    trailers.insert("token", HeaderValue::from_static("of the client"));
    let end = async move { Some(Ok(trailers)) };
    let request = grpc(world.url("/s/M"), "").map(|_| {
        let body = body::full("message").with_trailers(end);
        body::boxed(body)
    });
    let response = world.client(Version::HTTP_2).request(request);
    assert_eq!(bytes(within(response).await.unwrap()).await, "message");
    world.end().await;
}

#[tokio::test]
async fn a_grpc_status_in_the_head_ends_the_stream_there() {
    let mut world = World::new(|_| async {
        let mut response = status(StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("7"));
        response
    })
    .await;
    for path in ["/s/Read", "/detached/Sync"] {
        let request = grpc(world.url(path), "");
        let response = world
            .client(Version::HTTP_2)
            .request(request)
            .await
            .unwrap();
        assert_eq!(response.headers()["grpc-status"], "7");
        assert!(response.body().is_end_stream(), "{path}");
        assert_eq!(world.ending().await.grpc_status, Some(7));
    }
    world.end().await;
}

#[tokio::test]
async fn grpc_web_passes_as_it_is_and_its_trailer_frame_is_read() {
    const BODY: &[u8] = b"\0\0\0\0\x01x\x80\0\0\0\x10grpc-status: 9\r\n";
    let mut world = World::new(|request| async move {
        assert_eq!(request.version(), Version::HTTP_11);
        assert_eq!(request.headers()["token"], CANARY);
        let kind = &request.headers()["content-type"];
        assert_eq!(kind, "application/grpc-web+proto");
        assert!(!request.headers().contains_key("grpc-encoding"));
        Response::new(body::full(BODY))
    })
    .await;
    let request = Request::post(world.url("/s/M"))
        .header("content-type", "application/grpc-web+proto")
        .header("grpc-encoding", "gzip")
        .body(body::full("message"));
    let client = world.client(Version::HTTP_11);
    let response = client.request(request.unwrap()).await.unwrap();
    assert_eq!(bytes(response).await, BODY);
    assert_eq!(world.ending().await.grpc_status, Some(9));
    world.end().await;
}

#[tokio::test]
async fn an_anonymous_call_carries_no_credential_at_all() {
    let world = World::new(|request| async move {
        let sent = format!("{:?}", request.headers());
        assert!(
            !sent.contains("token") && !sent.contains("authorization"),
            "{sent}"
        );
        status(StatusCode::OK)
    })
    .await;
    let requests = [
        get(world.url("/anonymous/api/version")),
        grpc(world.url("/anonymous/Version"), "m"),
    ];
    for mut request in requests {
        let value = HeaderValue::from_static("Bearer of.the.client");
        request.headers_mut().insert("authorization", value);
        let client = world.client(Version::HTTP_2);
        let response = within(client.request(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    world.end().await;
}

#[tokio::test]
async fn a_call_as_its_caller_carries_that_credential_alone_and_no_trailer_brings_it_back() {
    let world = World::new(|request| async move {
        let sent = request.headers().clone();
        assert_eq!(sent["token"], NAMED);
        let all: Vec<_> = sent.values().map(HeaderValue::as_bytes).collect();
        assert!(!all.contains(&CANARY.as_bytes()));
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("x-echo", sent["token"].clone());
        let end = async move { Some(Ok(trailers)) };
        Response::new(body::boxed(request.into_body().with_trailers(end)))
    })
    .await;
    let client = world.client(Version::HTTP_2);
    let response = client.request(grpc(world.url("/named/Get"), "m")).await;
    let collected = within(response.unwrap().into_body().collect())
        .await
        .unwrap();
    let trailers = collected.trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers.len(), 1, "{trailers:?}");
    world.end().await;
}

#[tokio::test]
async fn the_upstream_credential_never_comes_back() {
    let world = World::new(|request| async move {
        // An upstream that echoes every header, under its own name and another.
        let mut response = Response::new(body::full("ok"));
        for (name, value) in request.headers() {
            response.headers_mut().append(name, value.clone());
            response.headers_mut().append("x-echo", value.clone());
        }
        let cookie = HeaderValue::from_static("argocd.token=renewed; Path=/");
        response.headers_mut().append("set-cookie", cookie);
        response
    })
    .await;
    let kinds = [
        "application/json",
        "application/grpc",
        "application/grpc-web+proto",
    ];
    for (kind, path) in kinds
        .iter()
        .flat_map(|kind| [(kind, "/x"), (kind, "/named")])
    {
        let request = Request::post(world.url(path))
            .header("content-type", *kind)
            .body(body::full("x"));
        let client = world.client(Version::HTTP_2);
        let response = client.request(request.unwrap()).await.unwrap();
        let seen = format!("{:?}", response.headers());
        for secret in [CANARY, NAMED, "argocd.token", "Sensitive"] {
            assert!(!seen.contains(secret), "{seen}");
        }
    }
    world.end().await;
}

// Size and time

#[tokio::test]
async fn large_messages_and_headers_pass() {
    let world = World::new(|request| async move {
        let large = request.headers().get("x-large").cloned();
        let mut response = grpc_answer(request.into_body(), "0");
        if let Some(large) = large {
            response.headers_mut().insert("x-large", large);
        }
        response
    })
    .await;
    let client = world.client(Version::HTTP_2);
    for size in [1 << 20, 200 << 20] {
        let request = grpc(world.url("/s/M"), vec![7; size]);
        let response = client.request(request).await.unwrap();
        assert_eq!(bytes(response).await.len(), size);
    }
    let large = "x".repeat(64 * 1024);
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut request = get(world.url("/api"));
        *request.version_mut() = version;
        let value = HeaderValue::try_from(&large).unwrap();
        request.headers_mut().insert("x-large", value);
        let response = world.client(version).request(request).await.unwrap();
        assert_eq!(response.headers()["x-large"], large.as_str(), "{version:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn events_come_through_one_by_one() {
    let (tell, told) = mpsc::channel::<&str>(1);
    let told = Arc::new(tokio::sync::Mutex::new(told));
    let world = World::new(move |_| {
        let told = Arc::clone(&told);
        async move {
            let stream = futures_util::stream::unfold(told, |told| async move {
                let event = told.lock().await.recv().await?;
                let frame = Frame::data(Bytes::from(event));
                Some((Ok::<_, BoxError>(frame), told))
            });
            let body = body::boxed(StreamBody::new(Box::pin(stream)));
            let mut response = Response::new(body);
            let kind = HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert("content-type", kind);
            response
        }
    })
    .await;
    let request = get(world.url("/stream/applications"));
    let client = world.client(Version::HTTP_11);
    let mut response = client.request(request).await.unwrap();
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        // The next event is sent only after the one before it was read.
        tell.send(event).await.unwrap();
        let frame = within(response.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
    }
    drop(tell);
    assert!(within(response.frame()).await.is_none());
    world.end().await;
}

#[tokio::test]
async fn a_read_ends_upstream_with_its_client_and_a_deploy_does_not() {
    let (seen, mut arrived) = mpsc::unbounded_channel();
    let mut world = World::new(move |request| {
        let seen = seen.clone();
        async move {
            let (dropped, gone) = oneshot::channel();
            let notice = Notice(Some(dropped));
            let (release, released) = oneshot::channel::<()>();
            seen.send((gone, release)).unwrap();
            drop(released.await);
            drop(notice);
            grpc_answer(request.into_body(), "0")
        }
    })
    .await;

    let client = world.client(Version::HTTP_2);
    let http1 = world.client(Version::HTTP_11);
    let reads = [
        client.request(grpc(world.url("/s/Read"), "m")),
        http1.request(get(world.url("/api/read"))),
    ];
    for call in reads {
        let task = world.tasks.spawn(call);
        let (gone, _release) = within(arrived.recv()).await.unwrap();
        task.abort();
        within(gone).await.unwrap();
        assert_eq!(world.ending().await.how, Ending::Cancelled);
    }

    let call = client.request(grpc(world.url("/detached/Sync"), "m"));
    let task = world.tasks.spawn(call);
    let (_gone, release) = within(arrived.recv()).await.unwrap();
    task.abort();
    tokio::time::sleep(Duration::from_millis(100)).await;
    release.send(()).unwrap();
    let end = world.ending().await;
    assert_eq!((end.how, end.grpc_status), (Ending::Completed, Some(0)));
    world.end().await;
}

#[tokio::test]
async fn a_caller_deadline_and_the_answer_timeout_end_a_call() {
    let setup = Setup {
        answer_timeout: Some(Duration::from_millis(100)),
        ..Setup::default()
    };
    let mut world = World::with(setup, |_| std::future::pending()).await;
    let client = world.client(Version::HTTP_2);
    let mut with_deadline = grpc(world.url("/stream/Watch"), "m");
    let deadline = HeaderValue::from_static("10m");
    with_deadline.headers_mut().insert("grpc-timeout", deadline);
    for request in [grpc(world.url("/s/M"), "m"), with_deadline] {
        let response = within(client.request(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let how = Ending::Failed(Fault::UpstreamTimeout);
        assert_eq!(world.ending().await.how, how);
    }
    world.end().await;
}

// Websockets

async fn handshake(world: &World, origin: &str, after: &str) -> TcpStream {
    let mut socket = TcpStream::connect(world.gate).await.unwrap();
    let head = format!(
        "GET /terminal?pod=p HTTP/1.1\r\nHost: gate\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n\r\n{after}"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

/// Reads until `wanted` was read, or the end.
async fn read_until(socket: &mut TcpStream, wanted: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(wanted) {
        if within(socket.read_buf(&mut read)).await.unwrap() == 0 {
            break;
        }
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_websocket_carries_bytes_both_ways_also_those_sent_too_early() {
    let tasks = TaskTracker::new();
    let spawner = tasks.clone();
    let mut world = World::new(move |mut request| {
        let upgrade = hyper::upgrade::on(&mut request);
        spawner.spawn(async move {
            let mut socket = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            let mut buffer = [0; 64];
            loop {
                match socket.read(&mut buffer).await.unwrap_or(0) {
                    0 => break,
                    n => socket.write_all(&buffer[..n]).await.unwrap(),
                }
            }
        });
        async move {
            let headers = request.headers();
            assert_eq!(headers["cookie"], format!("argocd.token={CANARY}"));
            assert_eq!(headers["sec-websocket-key"], "dGhlIHNhbXBsZSBub25jZQ==");
            let mut response = status(StatusCode::SWITCHING_PROTOCOLS);
            headers::set_upgrade(response.headers_mut());
            response
        }
    })
    .await;
    let mut socket = handshake(&world, ORIGIN, "too early;").await;
    let head = read_until(&mut socket, "too early;").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    socket.write_all(b"later").await.unwrap();
    assert_eq!(read_until(&mut socket, "later").await, "later");
    drop(socket);
    let end = world.ending().await;
    assert_eq!((end.how, end.bytes), (Ending::Completed, 15));
    tasks.close();
    within(tasks.wait()).await;
    world.end().await;
}

#[tokio::test]
async fn a_refused_websocket_leaves_nothing_to_smuggle_on() {
    let world = World::new(|_| async { status(StatusCode::FORBIDDEN) }).await;
    let smuggled = "GET /api/v1/secret HTTP/1.1\r\nHost: gate\r\n\r\n";
    let mut socket = handshake(&world, ORIGIN, smuggled).await;
    let all = read_until(&mut socket, "no such text").await;
    assert!(all.starts_with("HTTP/1.1 403"), "{all}");
    assert_eq!(all.matches("HTTP/1.1").count(), 1, "{all}");
    assert_eq!(world.calls(), 1, "the upstream saw the smuggled request");
    world.end().await;
}

#[tokio::test]
async fn a_websocket_of_a_foreign_page_does_not_reach_the_upstream() {
    let world = World::new(|_| async { panic!("the upstream was touched") }).await;
    let mut socket = handshake(&world, "https://evil.example", "").await;
    let head = read_until(&mut socket, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    assert_eq!(world.fault(), Fault::Caller);
    assert_eq!(world.calls(), 0);
    world.end().await;
}

// Failures

#[tokio::test]
async fn an_upstream_with_an_untrusted_certificate_is_never_spoken_to() {
    let setup = Setup {
        upstream_tls: Some(Pair::new()),
        trust: Some(Pair::new()),
        ..Setup::default()
    };
    let mut world = World::with(setup, |_| async { panic!("the upstream was touched") }).await;
    let requests = [get(world.url("/api")), grpc(world.url("/s/M"), "m")];
    for request in requests {
        let client = world.client(Version::HTTP_2);
        let response = within(client.request(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(world.fault(), Fault::UpstreamTls);
        assert_eq!(world.ending().await.how, Ending::Failed(Fault::UpstreamTls));
    }
    assert_eq!(world.calls(), 0);
    world.end().await;
}

#[tokio::test]
async fn an_absent_upstream_is_told_from_one_that_breaks_off() {
    let tasks = TaskTracker::new();
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", tcp.local_addr().unwrap());
    let config = UpstreamConfig {
        url: url.parse().unwrap(),
        ca: None,
        token: UpstreamToken::parse(CANARY).unwrap(),
        plaintext: Plaintext::LoopbackOnly,
        answer_timeout: Duration::from_secs(5),
    };
    let upstream = Upstream::new(config, tasks.clone(), &Stop::default()).unwrap();
    let send = async |channel| {
        let mut request = get("/x".into());
        let peer = "127.0.0.1:1".parse().unwrap();
        let connection = crate::listener::Connection::new(peer, None);
        request.extensions_mut().insert(connection);
        let outbound = Outbound {
            channel,
            send_as: SendAs::Gate,
            decision: DecisionId::new(jiff::Timestamp::UNIX_EPOCH),
            detach: Detach::Yes,
            shape: Shape::Message,
            until: None,
            on_end: None,
        };
        within(upstream.send(&Permit, outbound, request))
            .await
            .unwrap_err()
    };
    tasks.spawn(async move {
        // Two connections are closed in the middle of a request, then nobody listens.
        for _ in 0..2 {
            let (mut socket, _) = tcp.accept().await.unwrap();
            socket.read_u8().await.unwrap();
        }
    });
    for channel in [Channel::Rest, Channel::Grpc] {
        let error = send(channel).await;
        assert_eq!(error.fault(), Fault::UpstreamProtocol, "{channel:?}");
        assert!(error.may_have_acted());
    }
    tasks.close();
    within(tasks.wait()).await;
    for channel in [Channel::Rest, Channel::Grpc] {
        let error = send(channel).await;
        assert_eq!(error.fault(), Fault::UpstreamUnreachable, "{channel:?}");
        assert!(!error.may_have_acted());
        assert!(crate::telemetry::chain(&error).contains("refused"));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_fault_of_the_caller() {
    let mut world = World::new(|request| async move {
        let body = body::collect(request.into_body(), 100).await;
        assert!(
            body.is_err(),
            "the upstream took half a body for a whole one"
        );
        status(StatusCode::OK)
    })
    .await;
    let mut socket = TcpStream::connect(world.gate).await.unwrap();
    let half = b"POST /detached/x HTTP/1.1\r\nHost: gate\r\nContent-Length: 10\r\n\r\nhalf";
    socket.write_all(half).await.unwrap();
    drop(socket);
    assert_eq!(world.ending().await.how, Ending::Failed(Fault::Caller));
    world.end().await;
}

// Stopping

#[tokio::test]
async fn a_drain_lets_calls_finish_admits_no_new_ones_and_cuts_at_last() {
    let (seen, mut arrived) = mpsc::unbounded_channel();
    let mut world = World::new(move |_| {
        let seen = seen.clone();
        async move {
            let (release, released) = oneshot::channel::<()>();
            seen.send(release).unwrap();
            drop(released.await);
            Response::new(body::full("finished"))
        }
    })
    .await;
    let (one, two) = (
        world.client(Version::HTTP_11),
        world.client(Version::HTTP_2),
    );
    let finishing = tokio_util::task::AbortOnDropHandle::new(
        world.tasks.spawn(one.request(get(world.url("/finishing")))),
    );
    let release = within(arrived.recv()).await.unwrap();
    let stuck = world
        .tasks
        .spawn(two.request(grpc(world.url("/stream/stuck"), "m")));
    let _held = within(arrived.recv()).await.unwrap();

    world.stop.soft.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(
        TcpStream::connect(world.gate).await.is_err(),
        "a new connection was admitted"
    );
    release.send(()).unwrap();
    let finished = within(finishing).await.unwrap().unwrap();
    assert_eq!(bytes(finished).await, "finished");
    assert_eq!(world.ending().await.how, Ending::Completed);

    world.stop.hard.cancel();
    assert!(within(stuck).await.unwrap().is_err());
    assert_eq!(world.ending().await.how, Ending::Cancelled);
    world.end().await;
}

#[tokio::test]
async fn a_drain_closes_idle_connections_at_once() {
    let world = World::new(|_| async { status(StatusCode::NO_CONTENT) }).await;
    let mut idle = TcpStream::connect(world.gate).await.unwrap();
    let request = b"GET /x HTTP/1.1\r\nHost: gate\r\n\r\n";
    idle.write_all(request).await.unwrap();
    read_until(&mut idle, "\r\n\r\n").await;
    let client = world.client(Version::HTTP_2);
    let response = client.request(get(world.url("/x"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);

    world.stop.soft.cancel();
    assert_eq!(within(idle.read(&mut [0])).await.unwrap(), 0);
    // The listener and both connections are gone, without the hard signal.
    world.tasks.close();
    within(world.tasks.wait()).await;
    world.end().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_and_slow_handshakes_are_closed() {
    let setup = Setup {
        gate_tls: Some(Pair::new()),
        limits: Some(Limits {
            connections: 1,
            handshake: Duration::from_millis(300),
            ..Limits::default()
        }),
        ..Setup::default()
    };
    let world = World::with(setup, |_| async { status(StatusCode::OK) }).await;
    let mut silent = TcpStream::connect(world.gate).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut second = TcpStream::connect(world.gate).await.unwrap();
    assert_eq!(within(second.read(&mut [0])).await.unwrap_or(0), 0);
    assert_eq!(within(silent.read(&mut [0])).await.unwrap_or(0), 0);
    let client = world.client(Version::HTTP_2);
    let response = within(client.request(get(world.url("/")))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "the place is free again");
    drop(client);
    world.end().await;
}
