//! R9: what the cache answers is what a fresh verification would.

use super::*;

#[tokio::test]
async fn r9_a_cached_answer_is_the_fresh_one_at_every_time() {
    let world = World::new().await;
    let tokens = [
        world.person(|_| ()),
        world.person(|claims| claims["sub"] = json!("00u2")),
        world.person(|claims| claims["nbf"] = claims["iat"].clone()),
        world.account(|_| ()),
        world.account(|claims| claims["sub"] = json!("system:serviceaccount:shop:other")),
    ];
    // Forwards, backwards, over each edge and far away.
    for seconds in [
        0, 60, 119, 120, 2_999, 3_000, 3_001, -659, -660, -661, 0, 86_400, -86_400,
    ] {
        let fresh = Bench::new(config(&world.people, &world.cluster));
        world.bench.at(seconds);
        fresh.at(seconds);
        for token in &tokens {
            let cached = world.bench.send(token).await;
            assert_eq!(cached, fresh.send(token).await, "{seconds}");
            assert_eq!(cached, world.bench.send(token).await, "{seconds}");
        }
    }
}

#[tokio::test]
async fn a_hit_is_the_same_caller_until_the_token_expires() {
    let world = World::new().await;
    let token = world.person(|_| ());
    let first = caller(world.bench.send(&token).await);
    let again = caller(world.bench.send(&token).await);
    assert!(Arc::ptr_eq(&first, &again));
    world.bench.at(121);
    let later = caller(world.bench.send(&token).await);
    assert!(!Arc::ptr_eq(&first, &later));
    assert_eq!(first, later);
    world.bench.at(3_000);
    assert_eq!(world.bench.word(&token).await, "expired");
}

#[tokio::test]
async fn withdrawn_keys_end_what_was_verified_with_them() {
    let world = World::new().await;
    let token = world.person(|_| ());
    assert_eq!(world.bench.word(&token).await, "verified");
    let new = TestKey::new("k2", Algorithm::ES256);
    world.people.publish(&[&new]);
    tokio::time::sleep(testing::quick().cool_down * 2).await;
    // The new key's first token makes the gate read the set in which the old one is missing.
    assert_eq!(
        world
            .bench
            .word(&new.token(&person(&world.people.url)))
            .await,
        "verified"
    );
    assert_eq!(world.bench.word(&token).await, "key-unknown");
}

/// Two issuers, one key, one key id, and claims that are the same but for the issuer.
#[tokio::test]
async fn r9_issuers_with_the_same_key_stay_apart() {
    let key = TestKey::new("k1", Algorithm::EdDSA);
    let (one, two) = (
        TestIssuer::start(&[&key]).await,
        TestIssuer::start(&[&key]).await,
    );
    let bench = Bench::new(IdentityConfig {
        oidc: vec![testing::oidc(&one.url), testing::oidc(&two.url)],
        roles: testing::roles(&one.url, &two.url)[..1].to_vec(),
        refresh: testing::quick(),
        ..IdentityConfig::default()
    });
    for _ in 0..2 {
        let first = caller(bench.send(&key.token(&person(&one.url))).await);
        let second = caller(bench.send(&key.token(&person(&two.url))).await);
        assert_eq!(
            (first.issuer.as_str(), first.roles.len()),
            (one.url.as_str(), 1)
        );
        assert_eq!(
            (second.issuer.as_str(), second.roles.len()),
            (two.url.as_str(), 0)
        );
        assert_ne!(first.unique(), second.unique());
    }
}
