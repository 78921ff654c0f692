//! Keys from a real server: rotation, outages, crowds, and answers that must not be followed.

mod setup;

use std::time::Duration;

use futures_util::future::join_all;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::*;
use crate::identity::config::{IdentityConfig, PlainHttp};
use crate::identity::testing::{self, Answer, Bench, DISCOVERY, JWKS, TestIssuer, TestKey, person};

async fn cool_down() {
    tokio::time::sleep(testing::quick().cool_down * 2).await;
}

/// Waits until `done`.
async fn until(done: impl AsyncFn() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.unwrap();
}

fn key(id: &str) -> TestKey {
    TestKey::new(id, Algorithm::EdDSA)
}

#[tokio::test]
async fn a_crowd_at_the_start_makes_one_fetch() {
    let key = key("k1");
    let issuer = TestIssuer::start(&[&key]).await;
    let bench = Bench::oidc(testing::oidc(&issuer.url));
    let tokens: Vec<String> = (0..200)
        .map(|n| {
            let mut claims = person(&issuer.url);
            claims["sub"] = json!(format!("u{n}"));
            key.token(&claims)
        })
        .collect();
    let words = join_all(tokens.iter().map(|token| bench.word(token))).await;
    assert!(words.iter().all(|word| *word == "verified"), "{words:?}");
    assert_eq!((issuer.hits(DISCOVERY), issuer.hits(JWKS)), (1, 1));
}

#[tokio::test]
async fn a_new_key_is_fetched_once_for_a_crowd_and_the_others_stay() {
    let (old, new) = (key("old"), key("new"));
    let issuer = TestIssuer::start(&[&old]).await;
    let bench = Bench::oidc(testing::oidc(&issuer.url));
    let claims = person(&issuer.url);
    assert_eq!(bench.word(&old.token(&claims)).await, "verified");
    issuer.publish(&[&old, &new]);
    cool_down().await;
    let token = new.token(&claims);
    let words = join_all((0..100).map(|_| bench.word(&token))).await;
    assert!(words.iter().all(|word| *word == "verified"), "{words:?}");
    assert_eq!(bench.word(&old.token(&claims)).await, "verified");
    assert_eq!(issuer.hits(JWKS), 2);
}

#[tokio::test]
async fn unknown_keys_make_no_fetch_within_the_cool_down() {
    let known = key("k1");
    let issuer = TestIssuer::start(&[&known]).await;
    let bench = Bench::new(IdentityConfig {
        oidc: vec![testing::oidc(&issuer.url)],
        refresh: RefreshTimes {
            cool_down: Duration::from_hours(1),
            ..testing::quick()
        },
        ..IdentityConfig::default()
    });
    let claims = person(&issuer.url);
    assert_eq!(bench.word(&known.token(&claims)).await, "verified");
    for n in 0..50 {
        let token = key(&format!("unknown-{n}")).token(&claims);
        assert_eq!(bench.word(&token).await, "key-unknown");
    }
    assert_eq!(issuer.hits(JWKS), 1);
}

#[tokio::test]
async fn an_outage_leaves_the_keys_in_force_and_is_not_hammered() {
    let known = key("k1");
    let issuer = TestIssuer::start(&[&known]).await;
    let bench = Bench::oidc(testing::oidc(&issuer.url));
    let claims = person(&issuer.url);
    assert_eq!(bench.word(&known.token(&claims)).await, "verified");
    let broken = [
        "",
        "{}",
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"EC","crv":"P-256"}]}"#,
    ];
    for body in broken {
        issuer.answer(JWKS, Answer::ok(body));
        cool_down().await;
        let (started, before) = (Instant::now(), issuer.hits(JWKS));
        let unknown = key("k2").token(&claims);
        while started.elapsed() < testing::quick().cool_down * 2 {
            let words = join_all((0..20).map(|_| bench.word(&unknown))).await;
            assert!(words.iter().all(|word| *word == "key-unknown"), "{words:?}");
            assert_eq!(
                bench.word(&known.token(&claims)).await,
                "verified",
                "{body}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // A failure starts the cool-down too.
        let cool_downs = started.elapsed().as_millis() / testing::quick().cool_down.as_millis();
        let fetches = u128::try_from(issuer.hits(JWKS) - before).unwrap();
        assert!(
            (1..=cool_downs + 1).contains(&fetches),
            "{fetches} in {cool_downs}"
        );
    }
}

#[tokio::test]
async fn an_issuer_that_is_down_at_the_start_is_asked_again_by_itself() {
    let known = key("k1");
    let issuer = TestIssuer::start(&[&known]).await;
    issuer.answer(
        DISCOVERY,
        Answer {
            status: 503,
            ..Answer::ok("")
        },
    );
    let bench = Bench::oidc(testing::oidc(&issuer.url));
    let token = known.token(&person(&issuer.url));
    assert_eq!(
        bench.sentence(&token).await,
        format!(
            "the keys of `{}` cannot be read now: try again in a minute",
            issuer.url
        )
    );
    assert_eq!(bench.identity.issuers_without_keys(), [issuer.url.as_str()]);
    let document = json!({"issuer": issuer.url, "jwks_uri": format!("{}{JWKS}", issuer.url)});
    issuer.answer(DISCOVERY, Answer::ok(document.to_string()));
    until(async || bench.identity.issuers_without_keys().is_empty()).await;
    assert_eq!(bench.word(&token).await, "verified");
}

#[tokio::test]
async fn one_unreadable_key_does_not_lose_the_good_ones() {
    let good = key("good");
    let issuer = TestIssuer::start(&[&good]).await;
    let keys = json!({"keys": [
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "EC", "kid": "off-curve", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
        {"kty": "new-kind", "kid": "later"},
        "no object",
        good.jwk(),
    ]});
    issuer.answer(JWKS, Answer::ok(keys.to_string()));
    let bench = Bench::oidc(testing::oidc(&issuer.url));
    assert_eq!(
        bench.word(&good.token(&person(&issuer.url))).await,
        "verified"
    );
}

#[test]
fn keys_that_are_not_for_verifying_are_left_out() {
    let good = TestKey::new("k", Algorithm::RS256).jwk();
    let changed = |name: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[name] = value;
        json!({ "keys": [jwk] }).to_string()
    };
    let parses = |set: &str| KeySet::parse(set.as_bytes()).is_ok();
    assert!(parses(&json!({ "keys": [good] }).to_string()));
    assert!(parses(&changed("use", json!("sig"))));
    assert!(parses(&changed("key_ops", json!(["verify"]))));
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt"])),
        ("key_ops", json!("verify")),
        ("alg", json!("HS256")),
        ("alg", json!("ES256")),
        ("alg", json!("RSA-OAEP")),
        ("kty", json!("oct")),
        ("kid", json!(7)),
        ("d", json!("AQAB")),
        ("n", json!("AQAB")),
    ] {
        assert!(!parses(&changed(name, value.clone())), "{name} {value}");
    }
    let many = json!({ "keys": vec![good; 129] }).to_string();
    assert_eq!(
        KeySet::parse(many.as_bytes()).unwrap_err(),
        JwksError::NoList
    );
}

/// What a discovery document or key set answers, and that no caller passes and nobody else is
/// asked.
async fn refused(answers: impl FnOnce(&TestIssuer, &TestIssuer) -> Vec<(&'static str, Answer)>) {
    let key = key("k1");
    let (issuer, other) = (
        TestIssuer::start(&[&key]).await,
        TestIssuer::start(&[&key]).await,
    );
    for (path, answer) in answers(&issuer, &other) {
        issuer.answer(path, answer);
    }
    let bench = Bench::oidc(testing::oidc(&issuer.url));
    let token = key.token(&person(&issuer.url));
    assert_eq!(bench.word(&token).await, "keys-unavailable");
    assert_eq!(other.hits(JWKS) + other.hits(DISCOVERY), 0);
}

/// R20: answers that point elsewhere.
#[tokio::test]
async fn r20_redirects_are_not_followed() {
    for path in [DISCOVERY, JWKS] {
        for status in [301, 302, 307, 308] {
            refused(|_, other| {
                let location = Some(format!("{}{path}", other.url));
                vec![(
                    path,
                    Answer {
                        status,
                        location,
                        ..Answer::ok("")
                    },
                )]
            })
            .await;
        }
    }
}

/// R20: a document of, or with keys at, another host.
#[tokio::test]
async fn r20_discovery_names_neither_another_issuer_nor_another_host() {
    refused(|issuer, other| {
        let keys = format!("{}{JWKS}", issuer.url);
        vec![(
            DISCOVERY,
            Answer::ok(json!({"issuer": other.url, "jwks_uri": keys}).to_string()),
        )]
    })
    .await;
    refused(|issuer, _| {
        let (name, keys) = (format!("{}/", issuer.url), format!("{}{JWKS}", issuer.url));
        vec![(
            DISCOVERY,
            Answer::ok(json!({"issuer": name, "jwks_uri": keys}).to_string()),
        )]
    })
    .await;
    for keys in [
        "{other}/jwks",
        "http://169.254.169.254/jwks",
        "file:///etc/passwd",
        "/jwks",
    ] {
        refused(|issuer, other| {
            let keys = keys.replace("{other}", &other.url);
            vec![(
                DISCOVERY,
                Answer::ok(json!({"issuer": issuer.url, "jwks_uri": keys}).to_string()),
            )]
        })
        .await;
    }
    refused(|issuer, other| {
        let twice = format!(
            r#"{{"issuer":"{0}","jwks_uri":"{0}/jwks","jwks_uri":"{1}/jwks"}}"#,
            issuer.url, other.url
        );
        vec![(DISCOVERY, Answer::ok(twice))]
    })
    .await;
}

#[tokio::test]
async fn another_host_has_the_keys_if_configuration_says_so() {
    let key = key("k1");
    let (issuer, other) = (
        TestIssuer::start(&[]).await,
        TestIssuer::start(&[&key]).await,
    );
    let elsewhere = format!("{}{JWKS}", other.url);
    let document = json!({"issuer": issuer.url, "jwks_uri": elsewhere});
    issuer.answer(DISCOVERY, Answer::ok(document.to_string()));
    let mut listed = testing::oidc(&issuer.url);
    let host = other.url.trim_start_matches("http://").to_owned();
    listed.jwks_hosts.insert(host);
    let mut direct = testing::oidc(&issuer.url);
    direct.keys = KeySource::Uri(FetchUrl::parse(&elsewhere, PlainHttp::Loopback).unwrap());
    let token = key.token(&person(&issuer.url));
    for config in [listed, direct] {
        assert_eq!(Bench::oidc(config).word(&token).await, "verified");
    }
    assert_eq!(issuer.hits(DISCOVERY), 1);
}

/// R18: neither a large nor a slow answer keeps anybody.
#[tokio::test]
async fn r18_large_and_slow_answers_are_given_up() {
    refused(|issuer, _| {
        let document = json!({"issuer": issuer.url, "jwks_uri": format!("{}{JWKS}", issuer.url)});
        let padded = format!("{document}{}", " ".repeat(600 * 1024));
        vec![(DISCOVERY, Answer::ok(padded))]
    })
    .await;
    let started = Instant::now();
    refused(|_, _| {
        let delay = Duration::from_mins(1);
        vec![(
            JWKS,
            Answer {
                delay,
                ..Answer::ok("")
            },
        )]
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn refreshes_are_counted_by_issuer_and_result() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let key = key("k1");
    let issuer = TestIssuer::start(&[&key]).await;
    let bench = Bench::oidc(testing::oidc(&issuer.url));
    let claims = person(&issuer.url);
    assert_eq!(bench.word(&key.token(&claims)).await, "verified");
    let unknown = TestKey::new("k2", Algorithm::EdDSA).token(&claims);
    cool_down().await;
    assert_eq!(bench.word(&unknown).await, "key-unknown");
    issuer.answer(
        JWKS,
        Answer {
            status: 500,
            ..Answer::ok("")
        },
    );
    cool_down().await;
    assert_eq!(bench.word(&unknown).await, "key-unknown");
    let counted = handle.render();
    for result in ["changed", "unchanged", "failed"] {
        let line = format!(
            "{REFRESHES}{{issuer=\"{}\",result=\"{result}\"}} ",
            issuer.url
        );
        assert!(counted.contains(&line), "{counted}");
    }
}

#[tokio::test]
async fn keys_are_read_anew_by_themselves_until_the_stop() {
    let (old, new) = (key("old"), key("new"));
    let issuer = TestIssuer::start(&[&old]).await;
    let bench = Bench::new(IdentityConfig {
        oidc: vec![testing::oidc(&issuer.url)],
        refresh: RefreshTimes {
            interval: Duration::from_millis(50),
            cool_down: Duration::from_hours(1),
            ..testing::quick()
        },
        ..IdentityConfig::default()
    });
    let claims = person(&issuer.url);
    assert_eq!(bench.word(&old.token(&claims)).await, "verified");
    issuer.publish(&[&new]);
    // Within the cool-down nobody's token can cause this.
    let token = new.token(&claims);
    until(async || bench.word(&token).await == "verified").await;
    assert_eq!(bench.word(&old.token(&claims)).await, "key-unknown");
    bench.stop();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stopped = issuer.hits(JWKS);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(issuer.hits(JWKS), stopped);
}
