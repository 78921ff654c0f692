//! The gate as Argo CD's issuer: each call arrives as its caller, by a token that is good there alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use http::HeaderMap;
use jiff::SignedDuration;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use syncgate::clock::Clock;
use syncgate::config::{Callers, Config};
use syncgate::issuer::{CLIENT_ID, DISCOVERY, KEYS};

use crate::world::{Call, GATE_TOKEN, Outside, Service, Wire, World};

/// A gate that names callers.
async fn world() -> World {
    World::with(Outside::start().await, named).await
}

fn named(config: &mut Config) {
    config.upstream.callers = Callers::Named;
}

/// The token with which a call arrived, in the one place where Argo CD looks on this wire.
fn arrived(headers: &HeaderMap, wire: Wire) -> String {
    let (place, prefix, elsewhere) = match wire {
        Wire::Rest => ("authorization", "Bearer ", "token"),
        _ => ("token", "", "authorization"),
    };
    assert!(!headers.contains_key(elsewhere) && !headers.contains_key("cookie"));
    let sent: Vec<_> = headers.get_all(place).iter().collect();
    let [sent] = sent.as_slice() else {
        panic!("{place}: {sent:?}")
    };
    sent.to_str()
        .unwrap()
        .strip_prefix(prefix)
        .unwrap()
        .to_owned()
}

/// What `token` says, by the documents that Argo CD reads.
async fn claims(world: &World, token: &str) -> Value {
    let document = async |path| {
        let said = world
            .gate
            .send(Wire::Rest, "GET", path, &[], "".into())
            .await;
        assert_eq!(said.status, 200, "{said:?}");
        assert_eq!(said.header("cache-control"), "public, max-age=60");
        said.json()
    };
    let discovered = document(DISCOVERY).await;
    assert_eq!(
        discovered["jwks_uri"],
        format!("https://gate.example{KEYS}"),
        "{discovered}"
    );
    let set: JwkSet = serde_json::from_value(document(KEYS).await).unwrap();
    let id = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_audience(&[CLIENT_ID]);
    rules.set_issuer(&[discovered["issuer"].as_str().unwrap()]);
    let key = DecodingKey::from_jwk(set.find(&id).unwrap()).unwrap();
    let token = jsonwebtoken::decode::<Value>(token, &key, &rules);
    token.unwrap().claims
}

/// Alice lists applications on `wire`. The token with which that arrived.
async fn of_alice(world: &World, wire: Wire) -> String {
    world.outside.argocd.forget();
    let alice = world.outside.alice();
    let said = world.gate.ask(wire, &alice, &Call::list()).await;
    assert_eq!(said.code(), 0, "{said:?}");
    let [seen] = world.outside.argocd.forwarded().try_into().unwrap();
    arrived(&seen.headers, wire)
}

#[tokio::test]
async fn each_call_arrives_as_its_caller_and_no_two_share_a_token() {
    let world = world().await;
    let people = world.outside.issuer.people();
    let mut tokens = BTreeSet::new();
    for wire in Wire::ALL {
        for (token, name, role) in [
            (world.outside.alice(), "alice", "syncgate:engineer"),
            (world.outside.rita(), "rita", "syncgate:release-manager"),
        ] {
            for call in [
                Call::sync("checkout-staging"),
                Call::list(),
                Call::get("checkout-prod"),
            ] {
                world.outside.argocd.forget();
                let said = world.gate.ask(wire, &token, &call).await;
                assert_eq!(said.code(), 0, "{said:?}");
                let [seen] = world.outside.argocd.forwarded().try_into().unwrap();
                let sent = format!("{:?}", seen.headers);
                assert!(
                    !sent.contains(GATE_TOKEN) && !sent.contains(&token),
                    "{sent}"
                );
                let minted = arrived(&seen.headers, wire);
                assert!(!format!("{:?} {:?}", said.headers, said.trailers).contains(&minted));
                let claims = claims(&world, &minted).await;
                assert_eq!(claims["sub"], format!("{people}#{name}"));
                assert_eq!(claims["email"], format!("{name}@shop.example"));
                assert_eq!(claims["groups"], json!([role]));
                assert_eq!(claims["jti"], said.decision().to_string());
                assert!(tokens.insert(minted), "{name} on {wire:?} had it before");
            }
        }
    }
    world.outside.argocd.forget();
    let call = Call::sync("checkout-staging");
    let said = world
        .gate
        .ask(Wire::Grpc, &world.outside.alice(), &call)
        .await;
    assert_eq!(said.code(), 0, "{said:?}");
    let own = world.outside.argocd.own();
    let account = format!("Bearer {GATE_TOKEN}");
    assert!(!own.is_empty(), "a sync is looked at before it goes out");
    assert!(
        own.iter()
            .all(|seen| seen.headers["authorization"] == account)
    );
}

#[tokio::test]
async fn what_the_gate_says_to_argo_cd_is_no_credential_at_any_of_its_own_doors() {
    let outside = Outside::start().await;
    let service = Service::start(&outside.tasks).await;
    let endpoint = format!(
        "[[endpoint]]\nname = \"api\"\nenvironment = \"staging\"\nprefix = \"/endpoints/api/\"\nurl = \"http://{}\"",
        service.address
    );
    outside.write_config("");
    let mut config = Config::load(&outside.add_config(&endpoint)).unwrap();
    named(&mut config);
    let world = World::with(outside, |it| *it = config).await;
    let minted = of_alice(&world, Wire::Grpc).await;
    world.outside.argocd.must_not_be_touched();
    for wire in Wire::ALL {
        for call in [
            Call::sync("checkout-staging"),
            Call::list(),
            Call::get("checkout-prod"),
        ] {
            let said = world.gate.ask(wire, &minted, &call).await;
            assert_eq!(said.code(), 16, "{said:?}");
            assert!(said.sentence().contains("syncgate/argocd"), "{said:?}");
        }
    }
    for (method, path) in [
        ("GET", "/syncgate/v1/log"),
        ("POST", "/syncgate/v1/runs"),
        ("POST", "/syncgate/v1/preflight"),
        ("GET", "/endpoints/api/x"),
        ("GET", "/terminal?appName=checkout-staging"),
        ("GET", "/extensions/metrics/graph"),
        ("POST", "/api/webhook"),
    ] {
        let said = world.gate.rest(method, path, &minted, "{}").await;
        assert_eq!(said.status, 401, "{path}: {said:?}");
        let cookie = [("cookie", format!("argocd.token={minted}"))];
        let said = world
            .gate
            .send(Wire::Rest, method, path, &cookie, "{}".into())
            .await;
        assert!([400, 401].contains(&said.status), "{path}: {said:?}");
    }
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn terminals_and_extensions_carry_it_in_the_cookie_and_a_terminal_for_as_long_as_the_caller_may()
 {
    let world = world().await;
    let rita = world.outside.rita();
    let handshake = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let application = [
        ("argocd-application-name", "argocd:checkout-prod"),
        ("argocd-project-name", "shop"),
    ];
    let terminal = "/terminal?appName=checkout-prod&projectName=shop&pod=checkout-1&container=main";
    let now = Clock::system().now().as_second();
    for (path, headers, lives) in [
        (terminal, &handshake[..], 3000..=3600),
        ("/extensions/metrics/graph", &application[..], 290..=300),
    ] {
        world.outside.argocd.forget();
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let mut headers: Vec<_> = headers.collect();
        headers.push(Wire::Rest.credential(&rita));
        world
            .gate
            .send(Wire::Rest, "GET", path, &headers, "".into())
            .await;
        let [seen] = world.outside.argocd.forwarded().try_into().unwrap();
        let cookie = seen.headers["cookie"].to_str().unwrap();
        let minted = cookie.strip_prefix("argocd.token=").unwrap();
        let claims = claims(&world, minted).await;
        assert_eq!(claims["email"], "rita@shop.example");
        let life = claims["exp"].as_i64().unwrap() - now;
        assert!(lives.contains(&life), "{path}: {life}");
        assert!(!format!("{:?}", seen.headers).contains(&rita));
    }
}

#[tokio::test]
async fn a_credential_that_ends_while_a_call_is_checked_names_nobody() {
    let later = Arc::new(AtomicI64::new(0));
    let told = Arc::clone(&later);
    let clock = Clock::from_fn(move || {
        Clock::system().now() + SignedDuration::from_hours(told.load(Ordering::Relaxed))
    });
    let world = World::with_at(clock, Outside::start().await, named).await;
    world.outside.argocd.must_not_be_touched_by_callers();
    let ends = Arc::clone(&later);
    world
        .outside
        .argocd
        .after_refresh(move |_| ends.store(2, Ordering::Relaxed));
    let call = Call::sync("checkout-staging");
    let said = world
        .gate
        .ask(Wire::Grpc, &world.outside.alice(), &call)
        .await;
    assert_eq!(said.code(), 16, "{said:?}");
    assert!(said.sentence().contains("the token expired"), "{said:?}");
    assert_eq!(
        later.load(Ordering::Relaxed),
        2,
        "it has ended in the middle"
    );
}

#[tokio::test]
async fn a_refusal_of_argo_cds_own_rules_reaches_the_caller_as_it_is() {
    let world = world().await;
    for wire in Wire::ALL {
        world.outside.argocd.deny_next();
        let call = Call::sync("checkout-staging");
        let said = world.gate.ask(wire, &world.outside.alice(), &call).await;
        assert_eq!(said.code(), 7, "{said:?}");
        let entry = world.record(said.decision()).await;
        assert_eq!(entry.opening.word, syncgate::record::Word::Permit);
    }
}

#[tokio::test]
async fn a_gate_that_does_not_name_callers_is_no_issuer() {
    let world = World::new().await;
    for path in [DISCOVERY, KEYS] {
        let said = world
            .gate
            .send(Wire::Rest, "GET", path, &[], "".into())
            .await;
        assert_eq!(said.status, 404, "{said:?}");
    }
    assert_eq!(of_alice(&world, Wire::Rest).await, GATE_TOKEN);
}
