//! Files: keys, authorities and tokens that configuration names.

use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::Clock;
use crate::identity::Identity;
use crate::identity::config::OidcIssuer;

#[tokio::test]
async fn keys_come_from_a_file_and_change_with_it() {
    let (old, new) = (key("old"), key("new"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let write = |key: &TestKey| {
        std::fs::write(&path, json!({ "keys": [key.jwk()] }).to_string()).unwrap();
    };
    let mut config = testing::oidc("http://127.0.0.1:1");
    config.keys = KeySource::File(path.clone());
    write(&old);
    let bench = Bench::oidc(config);
    let claims = person("http://127.0.0.1:1");
    assert_eq!(bench.word(&old.token(&claims)).await, "verified");
    write(&new);
    cool_down().await;
    assert_eq!(bench.word(&new.token(&claims)).await, "verified");
    assert_eq!(bench.word(&old.token(&claims)).await, "key-unknown");
}

/// The errors that keep identity with `issuer` from starting, with their causes.
fn setup_errors(issuer: OidcIssuer) -> Vec<String> {
    let config = IdentityConfig {
        oidc: vec![issuer],
        ..IdentityConfig::default()
    };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let sessions = testing::sessions(&folder, testing::GATE, &clock);
    let errors = Identity::new(config, sessions, clock, &tasks, &stop).unwrap_err();
    let chain = |error: &SetupError| {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    };
    errors.iter().map(chain).collect()
}

/// R22: what cannot be read keeps the gate from starting.
#[test]
fn r22_unreadable_files_are_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, empty) = (folder.path().join("missing"), folder.path().join("empty"));
    std::fs::write(&empty, "").unwrap();
    let with = |change: &dyn Fn(&mut OidcIssuer)| {
        let mut issuer = testing::oidc("http://127.0.0.1:1");
        change(&mut issuer);
        setup_errors(issuer)
    };
    assert_eq!(
        with(&|issuer| issuer.keys = KeySource::File(missing.clone())),
        [format!(
            "cannot take the keys of `http://127.0.0.1:1` from its file: cannot read `{}`: No such \
             file or directory (os error 2)",
            missing.display()
        )]
    );
    assert_eq!(
        with(&|issuer| issuer.keys = KeySource::File(empty.clone())),
        [
            "cannot take the keys of `http://127.0.0.1:1` from its file: cannot use the key set: the \
          key set is not JSON: EOF while parsing a value at line 1 column 0"
        ]
    );
    let unread = format!(
        "the certificates in `{}` cannot be read: ",
        missing.display()
    );
    let none = format!("`{}` holds no certificate", empty.display());
    for (path, why) in [(&missing, unread), (&empty, none)] {
        let errors = with(&|issuer| issuer.ca = Some(path.clone()));
        let expected = format!("cannot set up TLS for `http://127.0.0.1:1`: {why}");
        assert!(
            errors.len() == 1 && errors[0].starts_with(&expected),
            "{errors:?}"
        );
    }
}

#[tokio::test]
async fn the_token_for_the_keys_is_read_anew_for_each_fetch() {
    let key = key("k1");
    let cluster = TestIssuer::start(&[&key]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "one\n").unwrap();
    let mut config = testing::kubernetes(&cluster.url);
    config.token_file = Some(path.clone());
    let bench = Bench::new(IdentityConfig {
        kubernetes: vec![config],
        refresh: testing::quick(),
        ..IdentityConfig::default()
    });
    assert_eq!(
        bench
            .word(&key.token(&testing::account(&cluster.url)))
            .await,
        "verified"
    );
    std::fs::write(&path, "two").unwrap();
    cool_down().await;
    let unknown = TestKey::new("k2", Algorithm::EdDSA);
    assert_eq!(
        bench
            .word(&unknown.token(&testing::account(&cluster.url)))
            .await,
        "key-unknown"
    );
    let sent = ["Bearer one", "Bearer one", "Bearer two", "Bearer two"];
    assert_eq!(
        cluster.authorizations(),
        sent.map(|text| Some(text.to_owned()))
    );
}

/// A server certificate for 127.0.0.1, and its PEM.
fn certificate() -> (TlsAcceptor, String) {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key.unwrap())
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), signed.cert.pem())
}

#[tokio::test]
async fn only_the_configured_authority_is_trusted() {
    let key = key("k1");
    let (tls, pem) = certificate();
    let (_, other_pem) = certificate();
    let issuer = TestIssuer::start_on(&[&key], Some(tls)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let token = key.token(&person(&issuer.url));
    for (pem, word) in [(pem, "verified"), (other_pem, "keys-unavailable")] {
        std::fs::write(&path, pem).unwrap();
        let mut config = testing::oidc(&issuer.url);
        config.ca = Some(path.clone());
        assert_eq!(Bench::oidc(config).word(&token).await, word);
    }
}
