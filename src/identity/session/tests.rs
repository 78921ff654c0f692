use std::sync::Mutex;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use tempfile::TempDir;

use super::*;
use crate::identity::Subject;
use crate::identity::testing::{self, GATE, NOW};

/// The sessions of a gate, with a clock that tests can move.
struct Bench {
    sessions: Arc<Sessions>,
    now: Arc<Mutex<Timestamp>>,
    stop: CancellationToken,
    folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        Self::at(GATE, tempfile::tempdir().unwrap()).await
    }

    async fn at(url: &str, folder: TempDir) -> Self {
        let now = Arc::new(Mutex::new(NOW.parse().unwrap()));
        let told = Arc::clone(&now);
        let clock = Clock::from_fn(move || *told.lock().unwrap());
        let sessions = Arc::new(testing::sessions(&folder, url, &clock));
        sessions.keep().await.unwrap();
        Self {
            sessions,
            now,
            stop: CancellationToken::new(),
            folder,
        }
    }

    /// The same gate, started anew.
    async fn again(self) -> Self {
        self.stop.cancel();
        self.sessions.store.close().await;
        Self::at(GATE, self.folder).await
    }

    fn later(&self, span: SignedDuration) {
        let mut now = self.now.lock().unwrap();
        *now = now.checked_add(span).unwrap();
    }

    fn id(&self) -> DecisionId {
        DecisionId::new(*self.now.lock().unwrap())
    }

    async fn begin(&self, renewable: bool) -> Issued {
        let caller = self.ada();
        self.sessions
            .begin(&caller, self.id(), renewable)
            .await
            .unwrap()
    }

    /// Who has just signed in, with a credential of an hour.
    fn ada(&self) -> Caller {
        let now = *self.now.lock().unwrap();
        Caller {
            subject: Subject::OidcUser {
                subject: "ada".into(),
                email: Some("ada@example.com".into()),
                name: None,
            },
            issuer: "https://idp.example".into(),
            groups: ["engineering".to_owned()].into(),
            roles: std::collections::BTreeSet::new(),
            expires_at: now.checked_add(SignedDuration::from_hours(1)).unwrap(),
            sign_in: SignIn {
                at: Some(now),
                ..SignIn::default()
            },
        }
    }

    async fn shown(&self, token: &str) -> Result<Shown, Reason> {
        self.sessions.verify(UnverifiedToken::parse(token)?).await
    }

    async fn word(&self, token: &str) -> &'static str {
        match self.shown(token).await {
            Ok(_) => "verified",
            Err(reason) => reason.code(),
        }
    }

    fn revoked(&self) -> Revoked {
        let at = *self.now.lock().unwrap();
        Revoked {
            by: "sam".to_owned(),
            at,
            reason: "a laptop was lost".to_owned(),
            decision: self.id(),
        }
    }
}

#[tokio::test]
async fn a_token_is_one_of_rfc_9068_and_names_its_session() {
    let bench = Bench::new().await;
    let issued = bench.begin(false).await;
    assert_eq!(issued.refresh, None);
    let header = jsonwebtoken::decode_header(&issued.token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let set: JwkSet = serde_json::from_value(bench.sessions.key_set().await.unwrap()).unwrap();
    let key = DecodingKey::from_jwk(set.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut rules = Validation::new(header.alg);
    rules.set_audience(&[GATE]);
    rules.set_issuer(&["https://gate.example/syncgate"]);
    rules.validate_exp = false;
    let said: Value = jsonwebtoken::decode(&issued.token, &key, &rules)
        .unwrap()
        .claims;
    assert_eq!(said["sub"], "https://idp.example#ada");
    assert_eq!(said["sid"], issued.session.to_string());
    let (from, to) = (said["iat"].as_i64().unwrap(), said["exp"].as_i64().unwrap());
    assert_eq!(to - from, 900);
    let shown = bench.shown(&issued.token).await.unwrap();
    assert_eq!(shown.row.caller, bench.ada());
    assert_eq!(sign_in(&shown.row).session, Some(issued.session));
}

#[tokio::test]
async fn a_token_lasts_a_quarter_of_an_hour_and_no_longer_than_what_it_was_given_for() {
    let bench = Bench::new().await;
    let issued = bench.begin(false).await;
    bench.later(SignedDuration::from_secs(899));
    assert_eq!(bench.word(&issued.token).await, "verified");
    bench.later(SignedDuration::from_secs(1));
    assert_eq!(bench.word(&issued.token).await, "expired");
    let mut short = bench.ada();
    short.expires_at = bench
        .now
        .lock()
        .unwrap()
        .checked_add(SignedDuration::from_secs(20))
        .unwrap();
    let issued = bench
        .sessions
        .begin(&short, bench.id(), false)
        .await
        .unwrap();
    assert_eq!(issued.expires_at, short.expires_at);
    bench.later(SignedDuration::from_secs(20));
    assert_eq!(bench.word(&issued.token).await, "expired");
}

#[tokio::test]
async fn each_token_of_the_gate_is_good_for_one_thing() {
    let bench = Bench::new().await;
    let issued = bench.begin(true).await;
    let refresh = issued.refresh.unwrap();
    let challenge = bench.sessions.challenge().await.unwrap();
    for (token, as_access, as_refresh, as_challenge) in [
        (&issued.token, "verified", "type", "type"),
        (&refresh, "type", "renewable", "type"),
        (&challenge, "type", "type", "spent once"),
    ] {
        assert_eq!(bench.word(token).await, as_access);
        let renewable = bench.sessions.renewable(token).await;
        assert_eq!(
            renewable.map_or_else(|r| r.code(), |_| "renewable"),
            as_refresh
        );
        let spent = bench.sessions.spend(token).await;
        assert_eq!(
            spent.map_or_else(|r| r.code(), |()| "spent once"),
            as_challenge
        );
    }
}

#[tokio::test]
async fn a_refresh_token_renews_once_and_for_the_second_time_ends_the_session() {
    let bench = Bench::new().await;
    let first = bench.begin(true).await;
    bench.later(SignedDuration::from_mins(20));
    assert_eq!(bench.word(&first.token).await, "expired");
    let refresh = first.refresh.unwrap();
    let second = bench.sessions.renew(&refresh, bench.id()).await.unwrap();
    assert_eq!(second.session, first.session);
    assert_eq!(bench.word(&second.token).await, "verified");
    let again = bench
        .sessions
        .renew(&refresh, bench.id())
        .await
        .unwrap_err();
    assert_eq!(again.code(), "spent");
    assert_eq!(bench.word(&second.token).await, "revoked");
    let last = second.refresh.unwrap();
    let last = bench.sessions.renew(&last, bench.id()).await.unwrap_err();
    assert_eq!(last.code(), "revoked");
}

#[tokio::test]
async fn a_session_is_renewed_for_half_a_day_after_a_fresh_sign_in() {
    let bench = Bench::new().await;
    let mut issued = bench.begin(true).await;
    for _ in 0..12 {
        bench.later(SignedDuration::from_mins(59));
        let refresh = issued.refresh.unwrap();
        issued = bench.sessions.renew(&refresh, bench.id()).await.unwrap();
    }
    assert_eq!(
        issued
            .expires_at
            .duration_since(*bench.now.lock().unwrap())
            .as_secs(),
        12 * 60
    );
    bench.later(SignedDuration::from_mins(12));
    let refresh = issued.refresh.unwrap();
    let ended = bench
        .sessions
        .renew(&refresh, bench.id())
        .await
        .unwrap_err();
    assert_eq!(ended.code(), "expired");
    let mut stale = bench.ada();
    bench.later(SignedDuration::from_secs(301));
    let refused = bench.sessions.begin(&stale, bench.id(), true).await;
    assert_eq!(refused.err().unwrap().code(), "stale");
    stale.sign_in.at = None;
    let refused = bench.sessions.begin(&stale, bench.id(), true).await;
    assert_eq!(refused.err().unwrap().code(), "stale");
}

#[tokio::test]
async fn what_is_revoked_counts_no_more_and_what_comes_after_does() {
    let bench = Bench::new().await;
    let (one, other) = (bench.begin(true).await, bench.begin(false).await);
    assert!(
        bench
            .sessions
            .revoke(one.session, bench.revoked())
            .await
            .unwrap()
    );
    assert!(
        !bench
            .sessions
            .revoke(one.session, bench.revoked())
            .await
            .unwrap()
    );
    assert_eq!(bench.word(&one.token).await, "revoked");
    assert_eq!(bench.word(&other.token).await, "verified");
    let before = bench.ada();
    for of in [
        RevokedFor::Subject("https://idp.example#ada".to_owned()),
        RevokedFor::Issuer("https://idp.example".to_owned()),
    ] {
        let token = bench.begin(false).await.token;
        assert_eq!(bench.word(&token).await, "verified");
        bench
            .sessions
            .revoke_all(of, bench.revoked())
            .await
            .unwrap();
        assert_eq!(bench.word(&token).await, "revoked");
        assert_eq!(
            bench.sessions.holds(&before).await.unwrap_err().code(),
            "revoked"
        );
        bench.later(SignedDuration::from_secs(62));
        assert!(bench.sessions.holds(&bench.ada()).await.is_ok());
        assert_eq!(
            bench.word(&bench.begin(false).await.token).await,
            "verified"
        );
    }
    let mut undated = bench.ada();
    undated.sign_in.at = None;
    assert_eq!(
        bench.sessions.holds(&undated).await.unwrap_err().code(),
        "revoked"
    );
    let mut elsewhere = before;
    elsewhere.issuer = "https://other.example".to_owned();
    assert!(bench.sessions.holds(&elsewhere).await.is_ok());
}

#[tokio::test]
async fn who_waits_for_changes_hears_of_each_revocation() {
    let bench = Bench::new().await;
    let issued = bench.begin(false).await;
    let mut changes = bench.sessions.changes();
    bench
        .sessions
        .revoke(issued.session, bench.revoked())
        .await
        .unwrap();
    tokio::time::timeout(WAIT, changes.next()).await.unwrap();
    let of = RevokedFor::Issuer("https://idp.example".to_owned());
    bench
        .sessions
        .revoke_all(of, bench.revoked())
        .await
        .unwrap();
    tokio::time::timeout(WAIT, changes.next()).await.unwrap();
}

#[tokio::test]
async fn a_challenge_is_good_once_for_two_minutes_and_here() {
    let bench = Bench::new().await;
    let challenge = bench.sessions.challenge().await.unwrap();
    bench.sessions.spend(&challenge).await.unwrap();
    let again = bench.sessions.spend(&challenge).await.unwrap_err();
    assert_eq!(
        again.to_string(),
        "this challenge was used before: ask for a new one"
    );
    let late = bench.sessions.challenge().await.unwrap();
    bench.later(CHALLENGE_LIFE);
    assert_eq!(
        bench.sessions.spend(&late).await.unwrap_err().code(),
        "expired"
    );
    // Another gate of the same name has other keys; one of another name is another issuer.
    let twin = Bench::new().await;
    let fresh = bench.sessions.challenge().await.unwrap();
    assert_eq!(
        twin.sessions.spend(&fresh).await.unwrap_err().code(),
        "key-unknown"
    );
    let other = Bench::at("https://other.example/", tempfile::tempdir().unwrap()).await;
    let other = other.sessions.challenge().await.unwrap();
    assert_eq!(
        bench.sessions.spend(&other).await.unwrap_err().code(),
        "unknown-issuer"
    );
}

#[tokio::test]
async fn a_gate_that_is_started_anew_knows_what_it_gave_out_and_took_back() {
    let bench = Bench::new().await;
    let (kept, lost) = (bench.begin(false).await, bench.begin(false).await);
    let challenge = bench.sessions.challenge().await.unwrap();
    bench.sessions.spend(&challenge).await.unwrap();
    bench
        .sessions
        .revoke(lost.session, bench.revoked())
        .await
        .unwrap();
    let of = RevokedFor::Subject("https://idp.example#bob".to_owned());
    bench
        .sessions
        .revoke_all(of, bench.revoked())
        .await
        .unwrap();
    let mut bob = bench.ada();
    bob.subject = Subject::OidcUser {
        subject: "bob".into(),
        email: None,
        name: None,
    };
    let bench = bench.again().await;
    assert_eq!(bench.word(&kept.token).await, "verified");
    assert_eq!(bench.word(&lost.token).await, "revoked");
    assert_eq!(
        bench.sessions.spend(&challenge).await.unwrap_err().code(),
        "spent"
    );
    assert_eq!(
        bench.sessions.holds(&bob).await.unwrap_err().code(),
        "revoked"
    );
}

#[tokio::test]
async fn keys_change_every_month_and_nobody_is_dropped() {
    let bench = Bench::new().await;
    let key = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let keys = async || {
        let set = bench.sessions.key_set().await.unwrap();
        set["keys"].as_array().unwrap().len()
    };
    let first = bench.begin(false).await.token;
    bench.sessions.keep().await.unwrap();
    assert_eq!(keys().await, 1);
    bench.later(SignedDuration::from_hours(30 * 24 + 1));
    bench.sessions.keep().await.unwrap();
    // Published first, then used.
    let before = bench.begin(true).await;
    assert_eq!((keys().await, key(&before.token)), (2, key(&first)));
    bench.later(SignedDuration::from_mins(31));
    bench.sessions.keep().await.unwrap();
    let after = bench.begin(false).await.token;
    assert_ne!(key(&after), key(&first));
    let refresh = before.refresh.unwrap();
    let renewed = bench.sessions.renew(&refresh, bench.id()).await.unwrap();
    assert_eq!(bench.word(&renewed.token).await, "verified");
    bench.later(SignedDuration::from_hours(25));
    bench.sessions.keep().await.unwrap();
    assert_eq!(
        (keys().await, key(&bench.begin(false).await.token)),
        (1, key(&after))
    );
}

#[tokio::test]
async fn nobody_is_let_in_before_it_is_known_what_was_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(NOW.parse().unwrap());
    let sessions = testing::sessions(&folder, GATE, &clock);
    let bench = Bench::new().await;
    let held = sessions.holds(&bench.ada()).await;
    assert_eq!(held.unwrap_err().code(), "sessions-unavailable");
    assert!(!sessions.is_ready());
}
