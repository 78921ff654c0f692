//! The same action on gRPC, gRPC-Web and REST gets the same decision and the same effect.

use bytes::Bytes;
use http::HeaderMap;
use syncgate::argocd::framing;
use syncgate::argocd::proto::{
    ApplicationSyncRequest, Info, RetryStrategy, SyncOperationResource, SyncOptions,
};
use syncgate::argocd::request::{INFO_CALLER, INFO_DECISION};

use crate::world::{Call, FIRST, GATE_TOKEN, SECOND, Said, Wire, World};

fn sync_of(name: &str) -> ApplicationSyncRequest {
    ApplicationSyncRequest {
        name: name.to_owned(),
        ..ApplicationSyncRequest::default()
    }
}

/// Removes the remark that holds the decision, and gives it.
fn take_decision(sync: &mut ApplicationSyncRequest) -> String {
    let is_decision = |info: &Info| info.name.as_deref() == Some(INFO_DECISION);
    let place = sync.infos.iter().position(is_decision).expect("a decision");
    sync.infos.remove(place).value.unwrap()
}

#[tokio::test]
async fn a_sync_arrives_pinned_and_signed_as_the_gate_on_every_wire() {
    let world = World::new().await;
    let argocd = &world.outside.argocd;
    let token = world.outside.alice();
    let mut arrived = Vec::new();
    for wire in Wire::ALL {
        argocd.forget();
        let mut asked = sync_of("checkout-staging");
        asked.prune = Some(true);
        asked.retry_strategy = Some(RetryStrategy {
            limit: Some(2),
            backoff: None,
            refresh: Some(true),
        });
        asked.infos = vec![Info {
            name: Some(INFO_DECISION.to_owned()),
            value: Some("forged".to_owned()),
        }];
        let said = world.gate.ask(wire, &token, &Call::sync_as(asked)).await;
        assert_eq!(said.code(), 0, "{said:?}");
        let mut sync = argocd.only_sync();
        assert_eq!(take_decision(&mut sync), said.decision().to_string());
        let [seen] = argocd.forwarded().try_into().unwrap();
        assert_is_ours(&seen.headers, wire, &token);
        arrived.push(sync);
    }
    let sync = &arrived[0];
    assert_eq!(sync.revision.as_deref(), Some(FIRST));
    assert_eq!(sync.prune, Some(true));
    let retry = sync.retry_strategy.as_ref().unwrap();
    assert_eq!((retry.limit, retry.refresh), (Some(2), Some(false)));
    let [info] = sync.infos.as_slice() else {
        panic!("{sync:?}")
    };
    assert_eq!(info.name.as_deref(), Some(INFO_CALLER));
    assert_eq!(info.value.as_deref(), Some("alice@shop.example"));
    assert!(arrived.iter().all(|other| other == sync), "{arrived:?}");
}

/// Our credential once, in the form that Argo CD takes on this wire, and nothing of the caller's.
fn assert_is_ours(headers: &HeaderMap, wire: Wire, token: &str) {
    let (ours, value, theirs) = match wire {
        Wire::Rest => ("authorization", format!("Bearer {GATE_TOKEN}"), "token"),
        _ => ("token", GATE_TOKEN.to_owned(), "authorization"),
    };
    let sent: Vec<_> = headers.get_all(ours).iter().collect();
    assert_eq!(sent, [value.as_str()], "{wire:?}");
    assert!(!headers.contains_key(theirs) && !headers.contains_key("cookie"));
    assert!(!format!("{headers:?}").contains(token));
}

#[tokio::test]
async fn the_retry_strategy_of_the_spec_is_held_where_the_request_has_none() {
    let world = World::new().await;
    world
        .outside
        .argocd
        .change("checkout-staging", |application| {
            application["spec"]["syncPolicy"]["retry"] =
                serde_json::json!({"limit": 5, "refresh": true});
        });
    for wire in Wire::ALL {
        world.outside.argocd.forget();
        let call = Call::sync("checkout-staging");
        let said = world.gate.ask(wire, &world.outside.alice(), &call).await;
        assert_eq!(said.code(), 0, "{said:?}");
        let retry = world.outside.argocd.only_sync().retry_strategy.unwrap();
        assert_eq!((retry.limit, retry.refresh), (Some(5), Some(false)));
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn every_decision_is_the_same_on_every_wire() {
    let world = World::new().await;
    let outside = &world.outside;
    let (alice, rita, sam) = (outside.alice(), outside.rita(), outside.sam());
    let (nobody, tests) = (outside.nobody(), outside.tests());
    let dry = ApplicationSyncRequest {
        dry_run: Some(true),
        ..sync_of("checkout-prod")
    };
    let local = ApplicationSyncRequest {
        manifests: vec!["{}".to_owned()],
        ..sync_of("checkout-staging")
    };
    let part = ApplicationSyncRequest {
        resources: vec![SyncOperationResource {
            kind: Some("ConfigMap".to_owned()),
            name: Some("checkout".to_owned()),
            ..SyncOperationResource::default()
        }],
        sync_options: Some(SyncOptions {
            items: vec!["Replace=true".to_owned()],
        }),
        ..sync_of("checkout-prod")
    };
    let asked = [
        (
            "an engineer to staging",
            &alice,
            Call::sync("checkout-staging"),
            0,
        ),
        (
            "an engineer to prod",
            &alice,
            Call::sync("checkout-prod"),
            7,
        ),
        (
            "a manager to untested prod",
            &rita,
            Call::sync("checkout-prod"),
            9,
        ),
        ("a dry run of prod", &rita, Call::sync_as(dry), 0),
        ("a part of untested prod", &rita, Call::sync_as(part), 9),
        ("local manifests", &alice, Call::sync_as(local), 7),
        (
            "somebody without a role",
            &nobody,
            Call::sync("checkout-staging"),
            7,
        ),
        ("a test job", &tests, Call::sync("checkout-staging"), 7),
        ("security", &sam, Call::sync("checkout-staging"), 7),
        ("what does not exist", &rita, Call::sync("no-such-prod"), 7),
        ("a reader of prod", &alice, Call::get("checkout-prod"), 0),
        (
            "a test job reading its own",
            &tests,
            Call::get("checkout-staging"),
            0,
        ),
        (
            "a test job reading another",
            &tests,
            Call::get("cart-staging"),
            7,
        ),
        ("nobody reading", &nobody, Call::get("checkout-staging"), 7),
        ("nobody listing", &nobody, Call::list(), 7),
    ];
    for (what, token, call, expected) in &asked {
        let mut sentences = Vec::new();
        for wire in Wire::ALL {
            outside.argocd.forget();
            let said = world.gate.ask(wire, token, call).await;
            assert_eq!(said.code(), *expected, "{what} on {wire:?}: {said:?}");
            let forwarded = outside.argocd.forwarded().len();
            assert_eq!(forwarded, usize::from(*expected == 0), "{what} on {wire:?}");
            if *expected != 0 {
                let sentence = said.sentence();
                sentences.push(sentence.split(". decision").next().unwrap().to_owned());
            }
        }
        sentences.dedup();
        assert!(sentences.len() <= 1, "{what}: {sentences:?}");
    }
}

#[tokio::test]
async fn a_refusal_for_want_of_tests_is_told_in_one_line() {
    let world = World::new().await;
    for wire in Wire::ALL {
        let call = Call::sync("checkout-prod");
        let said = world.gate.ask(wire, &world.outside.rita(), &call).await;
        let decision = said.decision();
        let expected = format!(
            "sync of checkout-prod refused: checkout@3f2c1a9 has no passing 'integration' run in \
             staging. decision {decision} - see https://gate.example/syncgate/v1/log/{decision}"
        );
        assert_eq!(said.sentence(), expected);
        let status = if wire == Wire::Rest { 400 } else { 200 };
        assert_eq!((said.code(), said.status), (9, status));
    }
}

// What cannot be read in one way is refused by name

#[tokio::test]
async fn a_body_that_could_be_read_in_two_ways_is_refused_by_name() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched();
    let path = "/api/v1/applications/checkout-staging/sync";
    let bodies = [
        (r#"{"revizion": "main"}"#, "revizion"),
        (r#"{"revision": "a", "revision": "b"}"#, "revision"),
        (r#"{"Revision": "main"}"#, "Revision"),
        (r#"{"dry_run": true}"#, "dry_run"),
        (r#"{"dryRun": "true"}"#, "dryRun"),
        (
            r#"{"strategy": {"hook": {"force": true, "more": 1}}}"#,
            "more",
        ),
        (r#"{"name": "checkout-prod"}"#, "checkout-prod"),
        (r"{} {}", "trailing"),
        (r"[]", "not an object"),
        (r#"{"revision""#, ""),
        (
            r#"{"revision": "--upload-pack=touch /tmp/x"}"#,
            "--upload-pack",
        ),
        (r#"{"revision": "main\nHEAD"}"#, "not a revision"),
        (r#"{"revision": "main\u0000"}"#, "not a revision"),
        (
            r#"{"sourcePositions": [1], "revisions": []}"#,
            "sourcePositions",
        ),
    ];
    for (body, named) in bodies {
        let said = world
            .gate
            .rest("POST", path, &world.outside.alice(), body)
            .await;
        assert_eq!((said.status, said.code()), (400, 3), "{body}: {said:?}");
        assert!(
            said.sentence().contains(named),
            "{body}: {}",
            said.sentence()
        );
    }
}

#[tokio::test]
async fn a_message_that_could_be_read_in_two_ways_is_refused_by_name() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched();
    let name = b"\x0a\x10checkout-staging".to_vec();
    let message = |more: &[u8]| framing::write_message(&[&name, more].concat()).unwrap();
    let mut compressed = message(b"").to_vec();
    compressed[0] = 1;
    let twice = [message(b""), message(b"")].concat();
    let trailing = [message(b"").as_ref(), b"x"].concat();
    let short = message(b"")[..9].to_vec();
    let bodies: [(&str, Bytes, &str); 8] = [
        ("an unknown field", message(b"\x98\x06\x01"), "99"),
        (
            "an unknown field inside",
            message(b"\x5a\x03\x98\x06\x01"),
            "99",
        ),
        (
            "a revision that is an option",
            message(b"\x12\x03-ux"),
            "not a revision",
        ),
        ("compression", compressed.into(), "compressed"),
        ("two messages", twice.into(), "follow the message"),
        ("trailing bytes", trailing.into(), "follow the message"),
        ("half a message", short.into(), "inside of a message"),
        ("nothing", Bytes::new(), "no message"),
    ];
    for wire in Wire::FRAMED {
        let headers = [wire.credential(&world.outside.alice())];
        for (what, body, named) in &bodies {
            let path = "/application.ApplicationService/Sync";
            let said = world.gate.send(wire, "POST", path, &headers, body.clone());
            let said = said.await;
            assert_eq!((said.status, said.code()), (200, 3), "{what}: {said:?}");
            assert!(
                said.sentence().contains(named),
                "{what}: {}",
                said.sentence()
            );
        }
    }
}

#[tokio::test]
async fn a_revision_that_the_caller_names_is_what_is_checked_and_sent() {
    let world = World::new().await;
    for wire in Wire::ALL {
        world.outside.argocd.forget();
        let asked = ApplicationSyncRequest {
            revision: Some(SECOND.to_owned()),
            ..sync_of("checkout-staging")
        };
        let token = world.outside.alice();
        let said = world.gate.ask(wire, &token, &Call::sync_as(asked)).await;
        assert_eq!(said.code(), 0, "{said:?}");
        let sync = world.outside.argocd.only_sync();
        assert_eq!(sync.revision.as_deref(), Some(SECOND));
    }
    // Another branch cannot be resolved without access to the repository.
    let asked = ApplicationSyncRequest {
        revision: Some("feature".to_owned()),
        ..sync_of("checkout-staging")
    };
    let said: Said = world
        .gate
        .ask(Wire::Rest, &world.outside.alice(), &Call::sync_as(asked))
        .await;
    assert_eq!(said.code(), 9, "{said:?}");
    assert!(said.sentence().contains("cannot be pinned"), "{said:?}");
}
