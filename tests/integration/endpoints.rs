//! The test door: who reaches an endpoint under test, what arrives there, and what comes back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Version;
use http_body_util::BodyExt as _;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;
use syncgate::argocd::framing;
use syncgate::config::Config;
use syncgate::endpoint::{self, Unreachable};
use syncgate::listener::tls::Files;
use syncgate::record::{Door, LogEntry, Outcome, Word};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{
    Authority, Outside, Process, Said, Service, Wire, World, eventually, raw_http1, within,
};

mod crossing;
mod secrets;

const SECRET: &str = "canary-of-the-endpoint";
const ROTATED: &str = "canary-that-came-later";

/// An endpoint `api` in staging that takes everything, and `live` in prod.
fn sections(service: SocketAddr, more: &str) -> String {
    format!(
        r#"
[[endpoint]]
name = "api"
environment = "staging"
prefix = "/endpoints/api/"
url = "http://{service}"
methods = ["GET", "HEAD", "POST", "PUT", "DELETE"]
timeout = "500ms"
health = "/healthz"
{more}

[[endpoint]]
name = "live"
environment = "prod"
prefix = "/endpoints/live/"
url = "http://{service}"
methods = ["GET"]

[[endpoint]]
name = "shop"
environment = "staging"
host = "shop.example"
url = "http://{service}/root"
"#
    )
}

const BEARER: &str =
    r#"inject.header = { name = "Authorization", scheme = "Bearer", value = "file:secret" }"#;

/// A gate in front of a service, whose credential is [`SECRET`].
async fn world(more: &str) -> (World, Service) {
    let outside = Outside::start().await;
    let service = Service::start(&outside.tasks).await;
    std::fs::write(outside.path().join("secret"), SECRET).unwrap();
    let sections = sections(service.address, more);
    let world = World::with_sections(outside, &sections).await;
    (world, service)
}

async fn ask(world: &World, method: &str, path: &str, token: &str, body: &str) -> Said {
    world.gate.rest(method, path, token, body).await
}

async fn recorded(world: &World, said: &Said) -> LogEntry {
    world.record(said.decision()).await
}

/// Nothing of `secrets` is anywhere in the answer.
fn assert_clean(said: &Said, secrets: &[&str]) {
    let head = format!("{:?} {:?}", said.headers, said.trailers);
    for secret in secrets {
        assert!(!head.contains(secret), "{secret}: {head}");
    }
}

#[tokio::test]
async fn a_request_arrives_with_the_gates_credential_and_comes_back_without() {
    let (world, service) = world(BEARER).await;
    let alice = world.outside.alice();
    let headers = [
        ("authorization", format!("Bearer {alice}")),
        ("cookie", "theirs=1".to_owned()),
        ("x-forwarded-user", "root".to_owned()),
        ("syncgate_identity", "forged".to_owned()),
        ("connection", "authorization, syncgate-identity".to_owned()),
        ("x-own", "kept".to_owned()),
    ];
    let body = Bytes::from_static(b"{\"pay\": 1}");
    let path = "/endpoints/api/orders/7?a=b%2Fc";
    let said = world
        .gate
        .send(Wire::Rest, "POST", path, &headers, body.clone())
        .await;
    assert_eq!((said.status, &said.body), (200, &body), "{said:?}");
    assert_eq!(said.header("x-own"), "kept");
    for gone in ["set-cookie", "x-echo", "syncgate_identity"] {
        assert_eq!(said.header(gone), "", "{gone}");
    }
    let seen = service.last();
    assert_eq!(
        (seen.target.as_str(), seen.version),
        ("/orders/7?a=b%2Fc", Version::HTTP_11)
    );
    assert_eq!(seen.header("authorization"), format!("Bearer {SECRET}"));
    assert_eq!(seen.header("host"), service.address.to_string());
    assert_eq!(seen.header("x-forwarded-prefix"), "/endpoints/api");
    assert_eq!(seen.header("x-own"), "kept");
    for gone in ["cookie", "x-forwarded-user", "syncgate_identity", "token"] {
        assert_eq!(seen.header(gone), "", "{gone}");
    }
    assert!(!format!("{seen:?}").contains(&alice));
    assert_clean(&said, &[SECRET, seen.header("syncgate-identity")]);

    let entry = recorded(&world, &said).await;
    let opening = &entry.opening;
    assert_eq!((opening.door, opening.word), (Door::Test, Word::Permit));
    assert_eq!(opening.operation, "Endpoint.write");
    assert_eq!(opening.determining, ["engineer-reach"]);
    assert_eq!(opening.request["path"], "/orders/7");
    assert_eq!(opening.request["endpoint"], "api");
    assert!(
        !opening.evaluation.is_null(),
        "a write can be decided again"
    );
    let outcome = &entry.closing.as_ref().unwrap().outcome;
    assert!(
        matches!(outcome, Outcome::Forwarded { bytes: 10, .. }),
        "{outcome:?}"
    );
    let kept = std::fs::read(world.outside.store()).unwrap();
    let kept = String::from_utf8_lossy(&kept);
    assert!(!kept.contains(SECRET) && !kept.contains(&alice));
    assert!(!format!("{:?}", world.app.config).contains(SECRET));
}

#[tokio::test]
async fn the_service_can_tell_who_calls_by_the_published_keys() {
    let (world, service) = world("").await;
    let said = ask(
        &world,
        "GET",
        "/endpoints/api/a",
        &world.outside.tests(),
        "",
    )
    .await;
    assert_eq!(said.status, 200, "{said:?}");
    let seen = service.last();
    let token = seen.header("syncgate-identity");
    let keys = world
        .gate
        .send(Wire::Rest, "GET", "/syncgate/jwks.json", &[], Bytes::new());
    let keys: JwkSet = serde_json::from_value(keys.await.json()).unwrap();
    let head = jsonwebtoken::decode_header(token).unwrap();
    let key = keys.find(head.kid.as_deref().unwrap()).unwrap();
    let mut rules = Validation::new(head.alg);
    rules.set_issuer(&["https://gate.example"]);
    rules.set_audience(&[format!("http://{}", service.address)]);
    let key = DecodingKey::from_jwk(key).unwrap();
    let claims = jsonwebtoken::decode::<Value>(token, &key, &rules)
        .unwrap()
        .claims;
    assert_eq!(
        claims["who"],
        "system:serviceaccount:shop-staging:checkout-tests"
    );
    assert_eq!(claims["roles"], serde_json::json!(["test-job"]));
    assert_eq!(claims["environment"], "staging");
    assert_eq!(claims["decision"], said.decision().to_string());
    // Not for another endpoint.
    rules.set_audience(&["https://other.example"]);
    assert!(jsonwebtoken::decode::<Value>(token, &key, &rules).is_err());
    // Nor a credential of the gate's own.
    let again = ask(&world, "GET", "/endpoints/api/a", token, "").await;
    assert_eq!(again.status, 401);
    let wrong = world
        .gate
        .send(Wire::Rest, "POST", "/syncgate/jwks.json", &[], Bytes::new());
    assert_eq!(wrong.await.status, 405);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn who_may_not_is_refused_and_nothing_arrives() {
    let (world, service) = world(BEARER).await;
    let outside = &world.outside;
    let (alice, rita, nobody) = (outside.alice(), outside.rita(), outside.nobody());
    for (method, path, token, status, said) in [
        (
            "GET",
            "/endpoints/live/a",
            &alice,
            403,
            "read of endpoint live in prod refused for alice",
        ),
        ("GET", "/endpoints/live/a", &rita, 403, "refused for rita"),
        (
            "POST",
            "/endpoints/api/a",
            &nobody,
            403,
            "write of endpoint api in staging refused",
        ),
        (
            "PATCH",
            "/endpoints/api/a",
            &alice,
            405,
            "this path takes GET, HEAD, POST, PUT, DELETE",
        ),
        (
            "GET",
            "/endpoints/other/a",
            &alice,
            404,
            "there is no endpoint `other`",
        ),
        ("GET", "/endpoints/api", &alice, 400, "ends with a slash"),
        (
            "GET",
            "/endpoints/api/../live/",
            &alice,
            400,
            "dot segments",
        ),
        (
            "GET",
            "/endpoints/api/%2e%2e/live/",
            &alice,
            400,
            "an encoded dot",
        ),
        (
            "GET",
            "/endpoints/api/a%2fb",
            &alice,
            400,
            "an encoded slash",
        ),
        (
            "GET",
            "/endpoints/api//live/",
            &alice,
            400,
            "an empty segment",
        ),
        (
            "GET",
            "/endpoints/api/a",
            &String::from("no.such.token"),
            401,
            "",
        ),
    ] {
        let refused = ask(&world, method, path, token, "").await;
        assert_eq!(refused.status, status, "{method} {path}: {refused:?}");
        assert_eq!(refused.header("content-type"), "application/problem+json");
        assert!(refused.sentence().contains(said), "{}", refused.sentence());
        let entry = recorded(&world, &refused).await;
        assert_eq!(entry.opening.door, Door::Test);
        assert_ne!(entry.opening.word, Word::Permit);
    }
    let advice = ask(&world, "POST", "/endpoints/api/a", &nobody, "")
        .await
        .sentence();
    assert!(advice.contains("needs the role `engineer`"), "{advice}");
    // Without a credential; a cookie is none.
    for headers in [vec![], vec![("cookie", format!("argocd.token={alice}"))]] {
        let path = "/endpoints/api/a";
        let refused = world
            .gate
            .send(Wire::Rest, "GET", path, &headers, Bytes::new())
            .await;
        assert_eq!(refused.status, 401, "{refused:?}");
        assert_eq!(
            refused.header("www-authenticate"),
            "Bearer realm=\"syncgate\""
        );
    }
    assert!(service.seen().is_empty(), "{:?}", service.seen());
}

#[tokio::test]
async fn a_policy_opens_prod_by_method_and_path() {
    let outside = Outside::start().await;
    let service = Service::start(&outside.tasks).await;
    let policy = r#"
@id("smoke-of-prod")
@advice("smoke tests read the status")
permit (
  principal in Syncgate::Role::"release-manager",
  action == Syncgate::Action::"Endpoint.read",
  resource == Syncgate::Endpoint::"live"
)
when { context.path like "/status/*" && context.method == "GET" };
"#;
    outside.write_policy("smoke.cedar", policy);
    let case = r#"[{"name": "smoke", "caller": {"roles": ["release-manager"]}, "action": "Endpoint.read",
        "endpoint": {"name": "live", "environment": "prod", "path": "/status/db"},
        "decision": "allow", "reason": ["smoke-of-prod"]}]"#;
    outside.write_policy("smoke.cases.json", case);
    let world = World::with_sections(outside, &sections(service.address, "")).await;
    let rita = world.outside.rita();
    let path = "/endpoints/live/status/db";
    assert_eq!(ask(&world, "GET", path, &rita, "").await.status, 200);
    assert_eq!(
        ask(&world, "GET", "/endpoints/live/orders", &rita, "")
            .await
            .status,
        403
    );
    // Written otherwise, it is read alike.
    let path = "/endpoints/live/%73tatus/d%62";
    assert_eq!(ask(&world, "GET", path, &rita, "").await.status, 200);
    let odd = "/endpoints/live/status/../orders";
    assert_eq!(ask(&world, "GET", odd, &rita, "").await.status, 400);
    assert_eq!(service.last().target, "/%73tatus/d%62");
    assert_eq!(service.seen().len(), 2);
}

#[tokio::test]
async fn a_host_of_its_own_leads_to_the_endpoint_and_every_other_to_argo_cd() {
    let (world, service) = world("").await;
    let alice = world.outside.alice();
    let get = |target: &str, host: &str| {
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {alice}\r\n\
             connection: close\r\n\r\n"
        );
        let gate = world.gate.clone();
        async move { raw_http1(&gate, request.as_bytes()).await }
    };
    for (target, host) in [
        ("/syncgate/v1/log", "shop.example"),
        ("/api/v1/applications", "SHOP.example:8080"),
        ("http://shop.example/a", "shop.example"),
    ] {
        let (status, text) = get(target, host).await;
        assert_eq!(status, 200, "{target} {host}: {text}");
    }
    let targets: Vec<String> = service.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(
        targets,
        [
            "/root/syncgate/v1/log",
            "/root/api/v1/applications",
            "/root/a"
        ]
    );
    for (target, host, status) in [
        ("http://shop.example/a", "gate.example", 400),
        ("http://gate.example/a", "shop.example", 400),
        ("/../a", "shop.example", 400),
        // Argo CD's and the gate's own, as ever.
        ("/api/v1/applications", "other.example", 200),
        ("/syncgate/v1/log", "shop.example.", 403),
        ("http://gate.example/syncgate/v1/log", "gate.example", 403),
    ] {
        let (found, text) = get(target, host).await;
        assert_eq!(found, status, "{target} {host}: {text}");
    }
    assert_eq!(service.seen().len(), 3);
}

#[tokio::test]
async fn a_look_tells_whether_a_caller_may_and_whether_it_answers() {
    let (world, service) = world(BEARER).await;
    let issuer = &world.outside.issuer;
    let caller = |name: &str, roles: &[&str]| {
        let roles = roles
            .iter()
            .map(|r| syncgate::names::Role::parse(*r).unwrap());
        syncgate::identity::Caller {
            subject: syncgate::identity::Subject::OidcUser {
                subject: name.to_owned(),
                email: None,
                name: None,
            },
            issuer: issuer.people(),
            groups: std::collections::BTreeSet::new(),
            roles: roles.collect(),
            expires_at: jiff::Timestamp::MAX,
            sign_in: syncgate::identity::SignIn::default(),
        }
    };
    let (alice, nobody) = (caller("alice", &["engineer"]), caller("nils", &[]));
    let app = &world.app;
    let second = Duration::from_secs(1);
    let permit = endpoint::may_reach(app, &alice, "api").unwrap();
    assert_eq!(endpoint::probe(app, &permit, second).await, Ok(()));
    let seen = service.last();
    assert_eq!(
        (seen.target.as_str(), seen.header("authorization")),
        ("/healthz", "Bearer canary-of-the-endpoint")
    );
    assert_eq!(seen.header("syncgate-identity"), "");
    assert!(matches!(
        endpoint::may_reach(app, &nobody, "api"),
        Err(Unreachable::Denied(_))
    ));
    assert!(matches!(
        endpoint::may_reach(app, &alice, "live"),
        Err(Unreachable::Denied(_))
    ));
    assert!(matches!(
        endpoint::may_reach(app, &alice, "none"),
        Err(Unreachable::Unknown)
    ));
    // Without `health`, a connection is enough.
    let permit = endpoint::may_reach(app, &alice, "shop").unwrap();
    assert_eq!(endpoint::probe(app, &permit, second).await, Ok(()));
    service.stop.soft.cancel();
    let refused = eventually("a refusal", || async {
        endpoint::probe(app, &permit, second).await.err()
    })
    .await;
    assert!(
        refused.starts_with("no TCP connection") && !refused.contains('\n'),
        "{refused}"
    );
}

#[tokio::test]
async fn a_look_ends_in_time_and_tells_of_a_sick_service() {
    for (health, expected) in [
        ("/silent", "no answer within 300 ms"),
        (
            "/sick",
            "GET /sick was answered with status 503 Service Unavailable",
        ),
    ] {
        let outside = Outside::start().await;
        let service = Service::start(&outside.tasks).await;
        let sections = sections(service.address, "").replace("/healthz", health);
        let world = World::with_sections(outside, &sections).await;
        let caller = syncgate::identity::Caller {
            subject: syncgate::identity::Subject::KubernetesAccount {
                namespace: "shop-staging".to_owned(),
                name: "checkout-tests".to_owned(),
                pod: None,
            },
            issuer: world.outside.issuer.workloads(),
            groups: std::collections::BTreeSet::new(),
            roles: [syncgate::names::Role::parse("test-job").unwrap()].into(),
            expires_at: jiff::Timestamp::MAX,
            sign_in: syncgate::identity::SignIn::default(),
        };
        let permit = endpoint::may_reach(&world.app, &caller, "api").unwrap();
        let began = Instant::now();
        let told = endpoint::probe(&world.app, &permit, Duration::from_millis(300)).await;
        assert_eq!(told, Err(expected.to_owned()));
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}
