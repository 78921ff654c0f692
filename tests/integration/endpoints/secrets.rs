//! Credentials and certificates in files: used when they change, and shown to nobody.

use super::*;

#[tokio::test]
async fn a_renewed_credential_is_used_without_a_restart() {
    let (world, service) = world(BEARER).await;
    let alice = world.outside.alice();
    let path = world.outside.path().join("secret");
    let used = || async {
        let said = ask(&world, "GET", "/endpoints/api/a", &alice, "").await;
        assert_eq!(said.status, 200, "{said:?}");
        assert_clean(&said, &[SECRET, ROTATED]);
        service.last().header("authorization").to_owned()
    };
    assert_eq!(used().await, format!("Bearer {SECRET}"));
    std::fs::write(&path, format!("{ROTATED}\n")).unwrap();
    eventually("the new credential", || async {
        (used().await == format!("Bearer {ROTATED}")).then_some(())
    })
    .await;
    // A half-written one changes nothing.
    std::fs::write(&path, "short").unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(used().await, format!("Bearer {ROTATED}"));
}

#[tokio::test]
async fn basic_authentication_is_added_and_kept_back() {
    let basic = r#"inject.basic = { user = "tester", password = "file:secret" }"#;
    let (world, service) = world(basic).await;
    let said = ask(
        &world,
        "GET",
        "/endpoints/api/a",
        &world.outside.alice(),
        "",
    )
    .await;
    assert_eq!(said.status, 200);
    let sent = service.last().header("authorization").to_owned();
    assert_eq!(sent, "Basic dGVzdGVyOmNhbmFyeS1vZi10aGUtZW5kcG9pbnQ=");
    assert_clean(&said, &[SECRET, "dGVzdGVyOmNhbm"]);
}

#[tokio::test]
async fn the_endpoint_is_known_by_its_own_authority_and_the_gate_by_its_certificate() {
    let outside = Outside::start().await;
    let (ours, theirs) = (
        Authority::new(outside.path(), "ca"),
        Authority::new(outside.path(), "other"),
    );
    let (certificate, key) = ours.issue("server");
    let files = Files {
        certificate,
        key,
        client_ca: Some(outside.path().join("ca.pem")),
    };
    let service = Service::at(([127, 0, 0, 1], 0).into(), Some(files), &outside.tasks).await;
    // Nobody there knows who issued this one.
    theirs.issue("client");
    let endpoint = |name: &str, ca: &str| {
        format!(
            r#"
[[endpoint]]
name = "{name}"
environment = "staging"
prefix = "/endpoints/{name}/"
url = "https://localhost:{}"
ca = "{ca}.pem"
methods = ["GET", "POST"]
inject = {{ client_certificate = "client.pem", client_key = "client.key" }}
"#,
            service.address.port()
        )
    };
    let sections = endpoint("api", "ca") + &endpoint("untrusted", "other");
    let world = World::with_sections(outside, &sections).await;
    let alice = world.outside.alice();
    let refused = ask(&world, "GET", "/endpoints/untrusted/a", &alice, "").await;
    assert_eq!(refused.status, 502);
    assert!(
        refused.sentence().contains("no TLS that the gate trusts"),
        "{}",
        refused.sentence()
    );
    let refused = ask(&world, "GET", "/endpoints/api/a", &alice, "").await;
    assert_eq!(refused.status, 502, "{refused:?}");
    assert!(service.seen().is_empty());
    ours.issue("client");
    eventually("the new certificate", || async {
        let said = ask(&world, "GET", "/endpoints/api/a", &alice, "").await;
        (said.status == 200).then_some(())
    })
    .await;
    // gRPC has connections of its own.
    let message = framing::write_message(b"x").unwrap();
    let headers = [("token", alice.clone())];
    let path = "/endpoints/api/pay.Pay/Charge";
    let said = world
        .gate
        .send(Wire::Grpc, "POST", path, &headers, message)
        .await;
    assert_eq!(said.code(), 0, "{said:?}");
    assert_eq!(service.last().version, Version::HTTP_2);
}

#[tokio::test]
async fn no_secret_of_the_door_is_printed_or_kept() {
    let outside = Outside::start().await;
    let service = Service::start(&outside.tasks).await;
    let secret = outside.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    outside.write_config("");
    let sections = sections(service.address, BEARER);
    let debug = ["--log-filter", "debug"];
    let process = Process::serve_sections(&outside, &sections, &debug, None).await;
    let alice = outside.alice();
    let mut hidden = vec![SECRET.to_owned(), ROTATED.to_owned(), alice.clone()];
    for path in ["/a", "/redirect?/b", "/silent", "/../x"] {
        let path = format!("/endpoints/api{path}");
        let said = process.gate.rest("GET", &path, &alice, "").await;
        assert_clean(&said, &[SECRET, &alice]);
    }
    std::fs::write(&secret, ROTATED).unwrap();
    let log = || async {
        let printed = process.printed();
        printed.contains("were read again").then_some(printed)
    };
    eventually("the new secret", log).await;
    std::fs::write(&secret, "bad\ncanary-of-two-lines").unwrap();
    hidden.push("canary-of-two-lines".to_owned());
    eventually("a complaint", || async {
        let printed = process.printed();
        printed.contains("the old ones stay in force").then_some(())
    })
    .await;
    for seen in service.seen() {
        let assertion = seen.header("syncgate-identity");
        hidden.push(assertion.rsplit('.').next().unwrap().to_owned());
    }
    assert!(hidden.len() >= 7, "{hidden:?}");
    let store = std::fs::read(outside.store()).unwrap();
    let kept = process.printed() + &String::from_utf8_lossy(&store);
    for secret in hidden {
        assert!(!kept.contains(&secret), "{secret}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_stops_the_start_and_shows_no_secret() {
    let outside = Outside::start().await;
    std::fs::write(outside.path().join("secret"), SECRET).unwrap();
    std::fs::write(outside.path().join("key.pem"), SECRET).unwrap();
    outside.write_config("");
    let address = ([127, 0, 0, 1], 9).into();
    let sections = sections(address, BEARER) + "\n[assertion]\nkey = \"key.pem\"\n";
    let config = Config::load(&outside.add_config(&sections)).unwrap();
    let stop = syncgate::listener::Stop::default();
    let started = syncgate::app::App::start(config, syncgate::clock::Clock::system(), stop);
    let error = started.map(drop).unwrap_err();
    assert_eq!(error.exit_code(), 64);
    let chain = format!("{error:?} {}", syncgate::telemetry::chain(&error));
    assert!(
        chain.contains("key.pem") && !chain.contains("canary"),
        "{chain}"
    );
}
