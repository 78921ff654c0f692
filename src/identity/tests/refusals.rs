//! One wrong thing per token, and the exact sentence that its sender reads.

use super::*;

#[tokio::test]
async fn times() {
    let world = World::new().await;
    for (token, sentence) in [
        (
            world.person(set("exp", after_now(-743))),
            "the token expired 14:02:07Z, 12 minutes ago: sign in again",
        ),
        (
            world.account(set("exp", after_now(-90_000))),
            "the token expired 2026-11-22 13:14:30Z, 1 day ago: read the token file again, the \
             kubelet renews it",
        ),
        (
            world.person(set("exp", after_now(0))),
            "the token expired 14:14:30Z, 0 seconds ago: sign in again",
        ),
        (
            world.person(set("nbf", after_now(61))),
            "the token is not valid before 14:15:31Z, which is 61 seconds ahead of this gate's clock: \
             set the clocks, or wait",
        ),
        (
            world.person(set("iat", after_now(90))),
            "the token is not valid before 14:16:00Z, which is 90 seconds ahead of this gate's clock: \
             set the clocks, or wait",
        ),
        (
            world.person(unset("exp")),
            "the token's claim `exp` is missing: ask whoever runs `PEOPLE` to have it put right",
        ),
        (
            world.person(set("exp", json!("2099"))),
            "the token's claim `exp` is of the wrong type: ask whoever runs `PEOPLE` to have it \
             put right",
        ),
        (
            world.person(set("exp", json!(1e300))),
            "the token's claim `exp` is of the wrong type: ask whoever runs `PEOPLE` to have it \
             put right",
        ),
        (
            world.account(set("iat", after_now(-30 * 86_400))),
            "the token lives for 721 hours, and this gate takes at most 24: request one with a \
             shorter life",
        ),
    ] {
        assert_eq!(refused(&world, &token).await, sentence);
    }
    assert_eq!(
        world
            .bench
            .word(&world.person(set("nbf", after_now(60))))
            .await,
        "verified"
    );
}

#[tokio::test]
async fn whom_it_is_for() {
    let world = World::new().await;
    for (token, sentence) in [
        (
            world.person(set("aud", json!("grafana"))),
            "the token is for `grafana`, and this gate needs one for `argocd-cli` or `argocd-ui`: \
             sign in with `argocd login --sso`",
        ),
        (
            world.account(set("aud", json!(["https://kubernetes.default.svc"]))),
            "the token is for `https://kubernetes.default.svc`, and this gate needs one for \
             `syncgate`: mount a projected token with that audience",
        ),
        (
            world.person(set("aud", json!([]))),
            "the token is for nobody, and this gate needs one for `argocd-cli` or `argocd-ui`: \
             sign in with `argocd login --sso`",
        ),
        (
            world.person(unset("aud")),
            "the token's claim `aud` is missing: ask whoever runs `PEOPLE` to have it put right",
        ),
        (
            world.person(set("azp", json!("grafana"))),
            "the token was issued to the client `grafana`, which is not one of this gate's: sign \
             in with `argocd login --sso`",
        ),
        (
            world.person(set("aud", json!(["argocd-cli", "grafana"]))),
            "the token's claim `azp` is missing: ask whoever runs `PEOPLE` to have it put right",
        ),
    ] {
        assert_eq!(refused(&world, &token).await, sentence);
    }
}

/// R6: one key signs them all, and only one of them is for signing in.
#[tokio::test]
async fn r6_what_it_is() {
    let world = World::new().await;
    let claims = person(&world.people.url).to_string();
    let typed = |typ: &str| {
        let header = json!({"alg": "ES256", "kid": "k1", "typ": typ}).to_string();
        world.people_key.sign(&header, &claims)
    };
    for (token, found) in [
        (typed("at+jwt"), "at+jwt"),
        (typed("application/at+jwt"), "application/at+jwt"),
        (typed("secevent+jwt"), "secevent+jwt"),
        (world.person(set("typ", json!("Bearer"))), "Bearer"),
        (world.person(set("typ", json!("Refresh"))), "Refresh"),
        (world.person(set("events", json!({"x": {}}))), "events"),
    ] {
        assert_eq!(
            refused(&world, &token).await,
            format!("the token is of type `{found}`, not one to sign in with: send an ID token")
        );
    }
}

#[tokio::test]
async fn who_signed_it() {
    let world = World::new().await;
    let stranger = TestKey::new("k1", Algorithm::ES256);
    let unknown = TestKey::new("k9", Algorithm::ES256);
    let people = person(&world.people.url);
    let unnamed = json!({"alg": "ES256"}).to_string();
    for (token, sentence) in [
        (
            stranger.token(&people),
            "the token's signature is not from a key of `PEOPLE`: sign in again",
        ),
        (
            // The other issuer's key, under the same id.
            world.cluster_key.token(&people),
            "the token's signature is not from a key of `PEOPLE`: sign in again",
        ),
        (
            world.people_key.token(&account(&world.cluster.url)),
            "the token's signature is not from a key of `CLUSTER`: read the token file again, the \
             kubelet renews it",
        ),
        (
            unknown.token(&people),
            "the token is signed with a key that `PEOPLE` does not publish: sign in again",
        ),
        (
            unknown.sign(&unnamed, &people.to_string()),
            "the token's signature is not from a key of `PEOPLE`: sign in again",
        ),
        (
            world.people_key.token(&person("https://evil.example")),
            "the token is from `https://evil.example`, which this gate does not trust: sign in \
             with `argocd login --sso`, or send a token of a configured issuer",
        ),
        (
            world
                .people_key
                .token(&person(&format!("{}/", world.people.url))),
            "the token is from `PEOPLE/`, which this gate does not trust: sign in with `argocd \
             login --sso`, or send a token of a configured issuer",
        ),
    ] {
        assert_eq!(refused(&world, &token).await, sentence);
    }
    let only = world.people_key.sign(&unnamed, &people.to_string());
    assert_eq!(world.bench.word(&only).await, "verified");
}

#[tokio::test]
async fn a_key_must_be_named_when_there_are_several() {
    let (one, two) = (
        TestKey::new("a", Algorithm::ES256),
        TestKey::new("b", Algorithm::ES256),
    );
    let other_kind = TestKey::new("c", Algorithm::EdDSA);
    let issuer = TestIssuer::start(&[&one, &two, &other_kind]).await;
    let bench = Bench::oidc(testing::oidc(&issuer.url));
    let claims = person(&issuer.url).to_string();
    assert_eq!(
        bench
            .sentence(&one.sign(r#"{"alg":"ES256"}"#, &claims))
            .await,
        format!(
            "the token does not say which key of `{}` signed it (`kid`): ask whoever runs it to \
             have it put right",
            issuer.url
        )
    );
    assert_eq!(
        bench
            .word(&other_kind.sign(r#"{"alg":"EdDSA"}"#, &claims))
            .await,
        "verified"
    );
}

#[tokio::test]
async fn algorithms_that_are_no_signature() {
    let world = World::new().await;
    let claims = person(&world.people.url).to_string();
    for algorithm in [
        "none", "None", "HS256", "ES512", "ES256K", "RS1", "", "es256",
    ] {
        let header = json!({"alg": algorithm, "kid": "k1"}).to_string();
        for token in [
            world.people_key.sign(&header, &claims),
            format!("{}.", testing::unsigned(&header, &claims)),
        ] {
            assert_eq!(
                refused(&world, &token).await,
                format!(
                    "the token's algorithm `{algorithm}` is not accepted: send one that its \
                     issuer signed with RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or \
                     EdDSA"
                )
            );
        }
    }
    let own = testing::unsigned(
        r#"{"alg":"HS256","typ":"JWT"}"#,
        r#"{"iss":"argocd","sub":"admin:login"}"#,
    );
    assert_eq!(
        refused(&world, &format!("{own}.c2ln")).await,
        "tokens that Argo CD itself issued are not accepted here: sign in with `argocd login --sso`"
    );
}

#[tokio::test]
async fn headers_and_claims_that_readers_take_differently() {
    let world = World::new().await;
    let claims = person(&world.people.url).to_string();
    let twice =
        |name: &str, value: &str| claims.replacen('{', &format!("{{\"{name}\":{value},"), 1);
    let header = r#"{"alg":"ES256","kid":"k1"}"#;
    let sign = |header: &str, claims: &str| world.people_key.sign(header, claims);
    for (token, sentence) in [
        (
            sign(header, &twice("sub", "\"admin\"")),
            "the token names `sub` twice: send one whose issuer names it once",
        ),
        (
            sign(header, &twice("iss", "\"https://evil.example\"")),
            "the token names `iss` twice: send one whose issuer names it once",
        ),
        (
            sign(r#"{"alg":"none","alg":"ES256","kid":"k1"}"#, &claims),
            "the token names `alg` twice: send one whose issuer names it once",
        ),
        (
            sign(r#"{"alg":"ES256","kid":"k1","crit":["exp"]}"#, &claims),
            "the token's header has `crit`, which is not supported: send a plain signed token",
        ),
        (
            sign(r#"{"alg":"ES256","kid":"k1","b64":true}"#, &claims),
            "the token's header has `b64`, which is not supported: send a plain signed token",
        ),
        (
            sign(r#"{"alg":"ES256","kid":"k1","zip":"DEF"}"#, &claims),
            "the token's header has `zip`, which is not supported: send a plain signed token",
        ),
    ] {
        assert_eq!(refused(&world, &token).await, sentence);
    }
}

/// A key that the token brings itself is never used.
#[tokio::test]
async fn a_key_in_the_token_is_not_a_key_of_the_issuer() {
    let world = World::new().await;
    let stranger = TestKey::new("k1", Algorithm::ES256);
    let evil = TestIssuer::start(&[&stranger]).await;
    let header = json!({
        "alg": "ES256", "kid": "k1", "jwk": stranger.jwk(),
        "jku": format!("{}{}", evil.url, testing::JWKS),
    });
    let token = stranger.sign(&header.to_string(), &person(&world.people.url).to_string());
    assert_eq!(world.bench.word(&token).await, "signature");
    assert_eq!(evil.hits(testing::JWKS), 0);
}

#[tokio::test]
async fn what_is_no_token_at_all() {
    let world = World::new().await;
    let good = world.person(|_| ());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    for token in [
        "x".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{good}.x.y"),
        format!("{good}="),
        format!("{good}\u{20}x"),
        format!("{signed}.{signature}!"),
        format!("{}.c2ln", testing::unsigned("[]", "{}")),
        format!(
            "{}.c2ln",
            testing::unsigned(r#"{"alg":7}"#, r#"{"iss":"x"}"#)
        ),
        format!(
            "{}.c2ln",
            testing::unsigned(r#"{"alg":"ES256","kid":7}"#, r#"{"iss":"x"}"#)
        ),
        format!(
            "{}.c2ln",
            testing::unsigned(r#"{"alg":"ES256","typ":7}"#, r#"{"iss":"x"}"#)
        ),
        format!(
            "{}.c2ln",
            testing::unsigned(r#"{"alg":"ES256"}"#, r#"{"iss":["x"]}"#)
        ),
        format!("{}.c2ln", testing::unsigned(r#"{"alg":"ES256"}"#, "{}")),
    ] {
        assert_eq!(
            refused(&world, &token).await,
            "the token is not a signed JWT: send the whole token, as its issuer gave it",
            "{token}"
        );
    }
}

/// R18: the size is looked at before anything else.
#[tokio::test]
async fn r18_a_huge_token_is_not_read() {
    let world = World::new().await;
    assert_eq!(
        refused(&world, &"a".repeat(20_000)).await,
        "the token has 20000 bytes, and this gate takes at most 16384: sign in with fewer groups"
    );
}

/// R24: neither sentence nor detail nor debug form of a refusal holds the token's signature.
#[tokio::test]
async fn r24_a_refusal_never_holds_the_token() {
    let world = World::new().await;
    let good = world.person(set("exp", after_now(-1)));
    let [_, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("not three parts");
    };
    for token in [good.clone(), format!("{good}x"), good.replacen('.', "", 1)] {
        let SchemeOutcome::Reject(reason) = world.bench.send(&token).await else {
            panic!("not refused");
        };
        let all = format!("{reason} {reason:?} {:?}", reason.detail());
        assert!(!all.contains(signature) && !all.contains(payload), "{all}");
    }
}
