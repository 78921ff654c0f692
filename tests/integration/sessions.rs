//! Sessions: what a credential is exchanged for, what it is good for, and how it ends.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{Call, Outside, Said, Service, Wire, World, within};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const WATCH: &str = "/api/v1/stream/applications";

async fn post(world: &World, path: &str, fields: &[(&str, &str)]) -> Said {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    world.gate.form(path, form.finish()).await
}

async fn exchange(world: &World, token: &str, kind: &str, further: &[(&str, &str)]) -> Said {
    let mut fields = vec![
        ("grant_type", EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", kind),
    ];
    fields.extend(further);
    post(world, "/syncgate/v1/token", &fields).await
}

/// A session's token, and its id.
async fn session(world: &World, token: &str) -> (String, String) {
    let said = exchange(world, token, ID_TOKEN, &[]).await;
    assert_eq!(said.status, 200, "{said:?}");
    let token = said.json()["access_token"].as_str().unwrap().to_owned();
    (token, said.decision().to_string())
}

async fn may_list(world: &World, token: &str) -> u64 {
    let said = world.gate.ask(Wire::Grpc, token, &Call::list()).await;
    said.code()
}

#[tokio::test]
async fn a_session_is_its_caller_on_every_wire_and_on_record() {
    let world = World::new().await;
    for (token, kind) in [
        (world.outside.alice(), ID_TOKEN),
        (world.outside.issuer.account("shop", "checkout-tests"), JWT),
    ] {
        let said = exchange(&world, &token, kind, &[("requested_token_type", JWT)]).await;
        assert_eq!(
            (said.status, said.header("cache-control")),
            (200, "no-store")
        );
        let answer = said.json();
        assert_eq!(answer["token_type"], "Bearer");
        assert_eq!(
            answer["issued_token_type"],
            "urn:ietf:params:oauth:token-type:access_token"
        );
        assert!(
            (895..=900).contains(&answer["expires_in"].as_i64().unwrap()),
            "{answer}"
        );
        assert_eq!(answer.get("refresh_token"), None);
        let began = world.record(said.decision()).await;
        assert_eq!(began.opening.operation, "Session.begin");
        let of_token = began.opening.caller.unwrap();
        assert_eq!(of_token.session, None);
        let own = answer["access_token"].as_str().unwrap();
        for wire in Wire::ALL {
            let call = Call::get("checkout-staging");
            let (direct, by_session) = (
                world.gate.ask(wire, &token, &call).await,
                world.gate.ask(wire, own, &call).await,
            );
            assert_eq!(direct.code(), by_session.code(), "{wire:?}");
            let entry = world.record(by_session.decision()).await;
            let caller = entry.opening.caller.unwrap();
            assert_eq!(caller.session, Some(said.decision()));
            assert_eq!(
                (&caller.unique, &caller.roles),
                (&of_token.unique, &of_token.roles)
            );
        }
    }
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
#[tokio::test]
async fn what_is_asked_wrongly_is_told_in_the_words_of_oauth() {
    let world = World::new().await;
    let alice = world.outside.alice();
    let (own, _) = session(&world, &alice).await;
    let bob = world.outside.issuer.person("bob", &[]);
    let gate = world.app.config.url.to_string();
    let token = |token: &str| vec![("subject_token", token.to_owned())];
    let well = |further: &[(&'static str, &str)]| {
        let mut fields = vec![
            ("grant_type", EXCHANGE.to_owned()),
            ("subject_token_type", ID_TOKEN.to_owned()),
        ];
        fields.extend(
            further
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        fields
    };
    let with = |fields: Vec<(&'static str, String)>, token: Vec<(&'static str, String)>| {
        fields.into_iter().chain(token).collect::<Vec<_>>()
    };
    for (what, fields, error) in [
        ("nothing", vec![], "invalid_request"),
        (
            "another grant",
            vec![("grant_type", "password".to_owned())],
            "unsupported_grant_type",
        ),
        ("no token", well(&[]), "invalid_request"),
        (
            "no JWT",
            with(well(&[]), token("opaque")),
            "invalid_request",
        ),
        (
            "a token of the gate",
            with(well(&[]), token(&own)),
            "invalid_request",
        ),
        (
            "an actor",
            with(well(&[("actor_token", &bob)]), token(&alice)),
            "invalid_request",
        ),
        (
            "twice",
            with(well(&[("subject_token", &bob)]), token(&alice)),
            "invalid_request",
        ),
        (
            "elsewhere",
            with(well(&[("audience", "https://else.example")]), token(&alice)),
            "invalid_target",
        ),
        (
            "a scope",
            with(well(&[("scope", "admin")]), token(&alice)),
            "invalid_scope",
        ),
        (
            "a refresh token that is none",
            vec![
                ("grant_type", "refresh_token".to_owned()),
                ("refresh_token", own.clone()),
            ],
            "invalid_grant",
        ),
    ] {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let said = post(&world, "/syncgate/v1/token", &fields).await;
        assert_eq!(
            (said.status, said.header("content-type")),
            (400, "application/json"),
            "{what}"
        );
        let told = said.json();
        assert_eq!(told["error"], error, "{what}: {told}");
        let sentence = told["error_description"].as_str().unwrap();
        assert!(
            sentence.contains(&said.decision().to_string()),
            "{what}: {sentence}"
        );
        assert!(
            !sentence.contains(&alice) && !sentence.contains(&own),
            "{what}"
        );
    }
    let fine = exchange(
        &world,
        &alice,
        ID_TOKEN,
        &[("audience", gate.trim_end_matches('/'))],
    )
    .await;
    assert_eq!(fine.status, 200);
    let json = world
        .gate
        .rest("POST", "/syncgate/v1/token", &alice, "{}")
        .await;
    assert_eq!(
        (json.status, &json.json()["error"]),
        (415, &"invalid_request".into())
    );
    let get = world
        .gate
        .rest("GET", "/syncgate/v1/token", &alice, "")
        .await;
    assert_eq!((get.status, get.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn policies_say_who_may_have_a_session() {
    let outside = Outside::start().await;
    outside.write_policy(
        "no-session.cedar",
        r#"@id("no-session") @advice("engineers need a session that is bound")
           forbid (principal in Syncgate::Role::"engineer",
                   action == Syncgate::Action::"Session.begin", resource)
           unless { context.bound };"#,
    );
    outside.write_policy(
        "no-session.cases.json",
        r#"[{ "name": "an engineer has none as a bearer", "caller": { "roles": ["engineer"] },
              "action": "Session.begin", "decision": "deny", "reason": ["no-session"] },
            { "name": "but by a key", "caller": { "roles": ["engineer"] }, "action": "Session.begin",
              "context": { "bound": true }, "decision": "allow", "reason": ["session"] }]"#,
    );
    let world = World::over(outside).await;
    let said = exchange(&world, &world.outside.alice(), ID_TOKEN, &[]).await;
    assert_eq!(
        (said.status, &said.json()["error"]),
        (403, &"access_denied".into())
    );
    let entry = world.record(said.decision()).await;
    assert_eq!(entry.opening.determining, ["no-session"]);
}

#[tokio::test]
async fn a_session_is_renewed_by_its_refresh_token_once_and_given_back() {
    let world = World::new().await;
    let scope = [("scope", "offline_access")];
    let said = exchange(&world, &world.outside.alice(), ID_TOKEN, &scope).await;
    let first = said.json();
    let renew = async |token: &Value| {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.as_str().unwrap()),
        ];
        post(&world, "/syncgate/v1/token", &fields).await
    };
    let second = renew(&first["refresh_token"]).await.json();
    let own = second["access_token"].as_str().unwrap();
    assert_eq!(may_list(&world, own).await, 0);
    // A refresh token is no token to call with.
    let refresh = second["refresh_token"].as_str().unwrap();
    assert_eq!(may_list(&world, refresh).await, 16);
    let given = post(&world, "/syncgate/v1/token/revoke", &[("token", own)]).await;
    assert_eq!(given.status, 200);
    assert_eq!(may_list(&world, own).await, 16);
    let late = renew(&second["refresh_token"]).await;
    assert_eq!(late.json()["error"], "invalid_grant");
    let nothing = post(
        &world,
        "/syncgate/v1/token/revoke",
        &[("token", "nonsense")],
    )
    .await;
    assert_eq!(nothing.status, 200);
    // Whoever shows an old one holds a copy: the session ends.
    let said = exchange(&world, &world.outside.alice(), ID_TOKEN, &scope).await;
    let old = said.json();
    let new = renew(&old["refresh_token"]).await.json();
    assert_eq!(
        renew(&old["refresh_token"]).await.json()["error"],
        "invalid_grant"
    );
    assert_eq!(
        may_list(&world, new["access_token"].as_str().unwrap()).await,
        16
    );
}

#[tokio::test]
async fn the_metadata_leads_to_everything() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched();
    let url = world.app.config.url.as_str();
    let get = async |path: &str| {
        let answer = world
            .gate
            .send(Wire::Rest, "GET", path, &[], Bytes::new())
            .await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    };
    let resource = get("/.well-known/oauth-protected-resource").await;
    assert_eq!(resource["resource"], url);
    let server = get("/.well-known/oauth-authorization-server/syncgate").await;
    assert_eq!(resource["authorization_servers"], json!([server["issuer"]]));
    assert_eq!(server["issuer"], format!("{url}syncgate"));
    let keys = server["jwks_uri"]
        .as_str()
        .unwrap()
        .strip_prefix(url)
        .unwrap();
    let keys = get(&format!("/{keys}")).await;
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    assert_eq!(keys["keys"][0].get("d"), None);
}

/// A watch that has begun.
async fn watch(world: &World, token: &str) -> Incoming {
    let accept = ("accept", "text/event-stream".to_owned());
    let headers = [Wire::Rest.credential(token), accept];
    let gate = &world.gate;
    let answer = gate.begin(Wire::Rest, "GET", WATCH, &headers, Bytes::new());
    let answer = answer.await;
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    within("a first event", body.frame())
        .await
        .unwrap()
        .unwrap();
    body
}

/// Whether a stream ends within `limit`.
async fn ends(mut body: Incoming, limit: Duration) -> bool {
    let ended = async { while let Some(Ok(_)) = body.frame().await {} };
    tokio::time::timeout(limit, ended).await.is_ok()
}

/// R8: rights that were taken back do not go on in what is open.
#[tokio::test]
async fn r8_a_revoked_session_loses_what_it_has_open_and_nobody_else_does() {
    let outside = Outside::start().await;
    let service = Service::start(&outside.tasks).await;
    let section = format!(
        "[[endpoint]]\nname = \"api\"\nenvironment = \"staging\"\nprefix = \"/endpoints/api/\"\n\
         url = \"http://{}\"\nmethods = [\"GET\"]\n",
        service.address
    );
    let world = World::with_sections(outside, &section).await;
    let (lost, id) = session(&world, &world.outside.alice()).await;
    let (kept, _) = session(&world, &world.outside.alice()).await;
    let stream = watch(&world, &lost).await;
    let other = watch(&world, &kept).await;
    let mut socket = socket(&world, &lost).await;
    let body = json!({ "session": id, "reason": "a laptop was lost" }).to_string();
    let path = "/syncgate/v1/sessions/revoke";
    let no = world
        .gate
        .rest("POST", path, &world.outside.alice(), &body)
        .await;
    assert_eq!(no.status, 403);
    let done = world
        .gate
        .rest("POST", path, &world.outside.sam(), &body)
        .await;
    assert_eq!(done.status, 200, "{done:?}");
    let soon = Duration::from_secs(5);
    assert!(ends(stream, soon).await);
    let mut rest = Vec::new();
    tokio::time::timeout(soon, socket.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(!ends(other, Duration::from_millis(300)).await);
    assert_eq!(
        (may_list(&world, &lost).await, may_list(&world, &kept).await),
        (16, 0)
    );
    let again = world
        .gate
        .rest("POST", path, &world.outside.sam(), &body)
        .await;
    assert_eq!(again.status, 404);
}

async fn socket(world: &World, token: &str) -> TcpStream {
    let mut socket = TcpStream::connect(world.gate.address).await.unwrap();
    let request = format!(
        "GET /endpoints/api/socket HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: eA==\r\n\
         sec-websocket-version: 13\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("an upgrade", socket.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    socket
}

#[tokio::test]
async fn what_was_issued_to_a_subject_before_counts_no_more() {
    let world = World::new().await;
    let (alice, rita) = (world.outside.alice(), world.outside.rita());
    let stream = watch(&world, &alice).await;
    let other = watch(&world, &rita).await;
    let subject = format!("{}#alice", world.outside.issuer.people());
    let body = json!({ "subject": subject, "reason": "left the company" }).to_string();
    let path = "/syncgate/v1/sessions/revoke";
    let done = world
        .gate
        .rest("POST", path, &world.outside.sam(), &body)
        .await;
    assert_eq!(done.status, 200, "{done:?}");
    let entry = world.record(done.decision()).await;
    assert_eq!(entry.opening.operation, "Session.revoke");
    assert_eq!(entry.opening.request["subject"], subject);
    assert!(ends(stream, Duration::from_secs(5)).await);
    assert!(!ends(other, Duration::from_millis(300)).await);
    assert_eq!(
        (
            may_list(&world, &alice).await,
            may_list(&world, &rita).await
        ),
        (16, 0)
    );
    let said = exchange(&world, &alice, ID_TOKEN, &[]).await;
    assert_eq!(said.json()["error"], "invalid_request");
}

#[tokio::test]
async fn a_stream_ends_with_the_credential() {
    let world = World::new().await;
    let soon = world
        .outside
        .issuer
        .person_for("alice", &["engineering"], 5);
    let stream = watch(&world, &soon).await;
    assert!(ends(stream, Duration::from_secs(15)).await);
    assert_eq!(may_list(&world, &soon).await, 16);
}

#[tokio::test]
async fn security_sees_who_is_signed_in() {
    let world = World::new().await;
    let (_, id) = session(&world, &world.outside.alice()).await;
    let path = "/syncgate/v1/sessions";
    let list = world
        .gate
        .rest("GET", path, &world.outside.sam(), "")
        .await
        .json();
    assert_eq!(list["sessions"][0]["session"], id);
    assert_eq!(list["sessions"][0]["who"], "alice@shop.example");
    let no = world
        .gate
        .rest("GET", path, &world.outside.alice(), "")
        .await;
    assert_eq!(no.status, 403);
}
