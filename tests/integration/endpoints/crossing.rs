//! What passes on every wire, what is tried again, and where answers may lead.

use super::*;

#[tokio::test]
async fn grpc_passes_with_its_trailers_and_is_refused_in_its_own_words() {
    let (world, service) = world(BEARER).await;
    let alice = world.outside.alice();
    let path = "/endpoints/api/pay.Pay/Charge";
    let message = framing::write_message(b"refund").unwrap();
    let headers = [("token", alice.clone())];
    let said = world
        .gate
        .send(Wire::Grpc, "POST", path, &headers, message.clone())
        .await;
    assert_eq!((said.code(), &said.body), (0, &message), "{said:?}");
    assert_eq!(said.trailers["x-kept"], "1");
    assert_clean(&said, &[SECRET]);
    let seen = service.last();
    assert_eq!(
        (seen.version, seen.header("te")),
        (Version::HTTP_2, "trailers")
    );
    assert_eq!(seen.header("authorization"), format!("Bearer {SECRET}"));
    assert_eq!(seen.header("token"), "");
    assert_eq!(recorded(&world, &said).await.opening.wire, "grpc");
    let nobody = [("token", world.outside.nobody())];
    let refused = world
        .gate
        .send(Wire::Grpc, "POST", path, &nobody, message.clone())
        .await;
    assert_eq!((refused.status, refused.code()), (200, 7));
    assert!(
        refused
            .sentence()
            .contains("write of endpoint api in staging refused")
    );
    assert!(
        refused.trailers.is_empty() && refused.body.is_empty(),
        "trailers only"
    );
    // Over HTTP/1.1 there are no trailers to carry its status.
    let kind = [("authorization", format!("Bearer {alice}"))];
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\n{}: {}\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n",
        kind[0].0, kind[0].1
    );
    let (_, text) = raw_http1(&world.gate, request.as_bytes()).await;
    assert!(text.contains("gRPC needs HTTP/2"), "{text}");
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn a_websocket_passes_and_needs_the_right_to_write() {
    let (world, service) = world("").await;
    let handshake = |token: &str| {
        format!(
            "GET /endpoints/api/socket HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: eA==\r\n\
             sec-websocket-version: 13\r\n\r\n"
        )
    };
    let mut socket = TcpStream::connect(world.gate.address).await.unwrap();
    let request = handshake(&world.outside.alice());
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("an upgrade", socket.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    for word in ["one", "two"] {
        socket.write_all(word.as_bytes()).await.unwrap();
        let mut echo = vec![0; 3];
        within("an echo", socket.read_exact(&mut echo))
            .await
            .unwrap();
        assert_eq!(echo, word.as_bytes());
    }
    let seen = service.last();
    assert_eq!(
        (seen.header("upgrade"), seen.header("sec-websocket-key")),
        ("websocket", "eA==")
    );
    drop(socket);
    let decision = head
        .lines()
        .find_map(|line| line.strip_prefix("syncgate-decision: "));
    let decision = syncgate::names::DecisionId(decision.unwrap().parse().unwrap());
    let entry = world.record(decision).await;
    assert_eq!(entry.opening.operation, "Endpoint.write");
    let (status, _) = raw_http1(&world.gate, handshake(&world.outside.nobody()).as_bytes()).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let (world, _service) = world("").await;
    let token = world.outside.alice();
    let mut socket = TcpStream::connect(world.gate.address).await.unwrap();
    let head = format!(
        "POST /endpoints/api/echo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    // Each part is back before the next is sent; the last comes later than the timeout.
    for part in ["first", "second", "third"] {
        let chunk = format!("{:x}\r\n{part}\r\n", part.len());
        socket.write_all(chunk.as_bytes()).await.unwrap();
        while !String::from_utf8_lossy(&got).contains(part) {
            let mut bytes = [0; 4096];
            let read = within(part, socket.read(&mut bytes)).await.unwrap();
            assert!(read > 0, "{part}: {}", String::from_utf8_lossy(&got));
            got.extend_from_slice(&bytes[..read]);
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
}

#[tokio::test]
async fn what_is_safe_is_tried_again_and_what_is_not_never() {
    let outside = Outside::start().await;
    let parked = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = parked.local_addr().unwrap();
    drop(parked);
    let tasks = outside.tasks.clone();
    let sections = sections(address, "").replace("500ms", "5s");
    let world = World::with_sections(outside, &sections).await;
    let alice = world.outside.alice();
    // Refused without the pauses between tries, which come to a second, although its body is short.
    let began = Instant::now();
    let refused = ask(&world, "POST", "/endpoints/api/a", &alice, "x").await;
    assert_eq!(refused.status, 502, "{refused:?}");
    assert!(
        refused
            .sentence()
            .contains("endpoint api cannot be reached")
    );
    assert!(
        began.elapsed() < Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
    let entry = recorded(&world, &refused).await;
    let outcome = entry.closing.unwrap().outcome;
    assert!(matches!(outcome, Outcome::Failed { stage } if stage == "upstream-unreachable"));
    // Away for a moment: a GET, and a PUT with a short body, get there; once each.
    let up = async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        Service::at(address, None, &tasks).await
    };
    let get = ask(&world, "GET", "/endpoints/api/a", &alice, "");
    let put = ask(&world, "PUT", "/endpoints/api/b", &alice, "short");
    let (service, get, put) = tokio::join!(up, get, put);
    assert_eq!(
        (get.status, put.status, &put.body[..]),
        (200, 200, &b"short"[..])
    );
    assert_eq!(service.seen().len(), 2);
    // Something answered: nothing is sent twice.
    let token = [Wire::Rest.credential(&alice)];
    let path = "/endpoints/api/cut";
    let cut = world
        .gate
        .begin(Wire::Rest, "GET", path, &token, Bytes::new());
    assert!(cut.await.into_body().collect().await.is_err());
    assert_eq!(service.seen().len(), 3);
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_given_up() {
    let (world, service) = world("").await;
    let alice = world.outside.alice();
    let said = ask(&world, "GET", "/endpoints/api/silent", &alice, "").await;
    assert_eq!(said.status, 504, "{said:?}");
    assert!(
        said.sentence()
            .contains("endpoint api did not answer in time")
    );
    assert_eq!(service.seen().len(), 1, "not tried again: it may act yet");
}

#[tokio::test]
async fn redirects_stay_at_the_door() {
    let (world, service) = world("").await;
    let alice = world.outside.alice();
    let own = format!("http://{}/next?x=1", service.address);
    let gate = world.gate.url();
    for (location, told) in [
        (own.as_str(), "/endpoints/api/next?x=1"),
        ("/next", "/endpoints/api/next"),
        ("https://login.example/x", "https://login.example/x"),
        ("https://gate.example/api/v1/session", ""),
        (&format!("{gate}/api/v1/applications"), ""),
        (
            "../../api/v1/applications",
            "/endpoints/api/api/v1/applications",
        ),
        (
            &format!("{own}\\..\\..\\x"),
            "/endpoints/api/next?x=1\\..\\..\\x",
        ),
    ] {
        let path = format!("/endpoints/api/redirect?{location}");
        let said = ask(&world, "GET", &path, &alice, "").await;
        assert_eq!(said.status, 307, "{location}: {said:?}");
        assert_eq!(said.header("location"), told, "{location}");
    }
}
