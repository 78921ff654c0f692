//! Who has no good credential gets a clear refusal on every wire, and Argo CD never hears of it.

use http::Version;

use crate::world::{Call, Said, Wire, World};

/// What an engineer may do with a good token, so that only the credential stands in the way.
fn calls() -> [Call; 3] {
    [
        Call::sync("checkout-staging"),
        Call::list(),
        Call::get("checkout-staging"),
    ]
}

/// The refusal has the form of its wire, says something, and names its decision.
fn assert_unauthenticated(said: &Said, wire: Wire, what: &str) {
    assert_eq!(said.code(), 16, "{what}: {said:?}");
    let sentence = said.sentence();
    let decision = said.decision().to_string();
    assert!(sentence.contains(&format!("decision {decision}")), "{what}");
    assert!(
        sentence
            .bytes()
            .all(|b| (b' '..=b'~').contains(&b) && b != b'%'),
        "{what}: {sentence}"
    );
    if wire == Wire::Rest {
        assert_eq!(said.status, 401, "{what}");
        assert!(
            said.header("www-authenticate").starts_with("Bearer realm="),
            "{what}"
        );
        let json = said.json();
        assert_eq!(
            (&json["error"], &json["code"]),
            (&json["message"], &16.into())
        );
    } else {
        // Trailers-only: the status is in the head, and nothing follows.
        assert_eq!(
            (said.status, said.header("content-type")),
            (200, wire.kind())
        );
        assert_eq!(said.header("grpc-status"), "16", "{what}");
        assert!(said.body.is_empty() && said.trailers.is_empty(), "{what}");
    }
}

async fn untouchable() -> World {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched();
    world
}

#[tokio::test]
async fn without_a_credential_nothing_goes_through() {
    let world = untouchable().await;
    for wire in Wire::ALL {
        for call in calls() {
            let said = world.gate.ask_with(wire, &[], &call).await;
            assert_unauthenticated(&said, wire, "none");
            assert!(said.sentence().contains("argocd login --sso"), "{said:?}");
            if wire == Wire::Rest {
                assert_eq!(said.header("www-authenticate"), "Bearer realm=\"syncgate\"");
            }
        }
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_on_every_wire_and_the_upstream_is_never_touched() {
    let world = untouchable().await;
    for (what, token) in world.outside.issuer.bad_tokens() {
        for wire in Wire::ALL {
            for call in calls() {
                let said = world.gate.ask(wire, &token, &call).await;
                let what = format!("a token {what} on {wire:?}");
                assert_unauthenticated(&said, wire, &what);
                if wire == Wire::Rest {
                    let challenge = said.header("www-authenticate");
                    assert!(challenge.contains("error=\"invalid_token\""), "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_runs_api_refuses_the_same_tokens_as_problem_details() {
    let world = untouchable().await;
    for (what, token) in world.outside.issuer.bad_tokens() {
        for said in [
            world.gate.open_run(&token, "checkout-staging").await,
            world
                .gate
                .rest("GET", "/syncgate/v1/runs", &token, "")
                .await,
            world.gate.rest("GET", "/syncgate/v1/log", &token, "").await,
        ] {
            assert_eq!(said.status, 401, "{what}: {said:?}");
            assert_eq!(said.header("content-type"), "application/problem+json");
            let json = said.json();
            assert_eq!(json["code"], "unauthenticated", "{what}");
            assert_eq!(json["decision"], said.decision().to_string());
            assert!(
                said.header("www-authenticate").contains("invalid_token"),
                "{what}"
            );
        }
    }
}

#[tokio::test]
async fn two_credentials_at_once_are_refused_even_if_both_are_good() {
    let world = untouchable().await;
    let (alice, rita) = (world.outside.alice(), world.outside.rita());
    let pairs = [
        [
            ("token", alice.clone()),
            ("authorization", format!("Bearer {rita}")),
        ],
        [
            ("token", alice.clone()),
            ("cookie", format!("argocd.token={rita}")),
        ],
        [("token", alice.clone()), ("token", rita.clone())],
        [
            ("authorization", format!("Bearer {alice}")),
            ("authorization", format!("Bearer {alice}")),
        ],
    ];
    for pair in pairs {
        for wire in Wire::ALL {
            for call in calls() {
                let said = world.gate.ask_with(wire, &pair, &call).await;
                assert_unauthenticated(&said, wire, pair[1].0);
            }
        }
    }
}

#[tokio::test]
async fn a_bad_token_beside_a_good_one_is_never_passed_over() {
    let world = untouchable().await;
    let good = world.outside.alice();
    for header in [
        ("authorization", "Basic YWRtaW46YWRtaW4=".to_owned()),
        ("authorization", "Bearer".to_owned()),
        ("authorization", "Bearer garbage".to_owned()),
        ("cookie", "argocd.token=garbage".to_owned()),
    ] {
        let headers = [("token", good.clone()), header];
        for wire in Wire::ALL {
            let said = world.gate.ask_with(wire, &headers, &calls()[1]).await;
            assert_unauthenticated(&said, wire, &headers[1].1);
        }
    }
}

#[tokio::test]
async fn a_service_account_token_is_not_taken_where_its_audience_is_another() {
    let world = untouchable().await;
    // A service account's token is signed by the cluster's key; as a person's it is nobody's.
    let token = world.outside.issuer.account("kube-system", "default");
    let said = world.gate.ask(Wire::Rest, &token, &Call::list()).await;
    assert_eq!(said.status, 403, "{said:?}");
}

#[tokio::test]
async fn the_same_refusals_come_over_tls() {
    let world = World::with_tls().await;
    world.outside.argocd.must_not_be_touched();
    for wire in Wire::ALL {
        let said = world.gate.ask(wire, "garbage", &calls()[0]).await;
        assert_unauthenticated(&said, wire, "over TLS");
    }
}

#[tokio::test]
async fn a_good_token_goes_through_on_every_wire_with_tls_and_without() {
    for world in [World::new().await, World::with_tls().await] {
        let token = world.outside.alice();
        for wire in Wire::ALL {
            world.outside.argocd.forget();
            let said = world
                .gate
                .ask(wire, &token, &Call::get("checkout-prod"))
                .await;
            assert_eq!(said.code(), 0, "{said:?}");
            let [seen] = world.outside.argocd.forwarded().try_into().unwrap();
            let expected = match wire {
                Wire::Grpc => Version::HTTP_2,
                Wire::GrpcWeb | Wire::Rest => Version::HTTP_11,
            };
            assert_eq!(seen.version, expected);
        }
    }
}
