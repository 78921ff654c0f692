//! Before a test run the gate says what stands in its way, within two seconds, and tells nobody more
//! than they may know.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::{Value, json};
use syncgate::clock::Clock;
use syncgate::config::Config;
use syncgate::pattern::Pattern;
use syncgate::record::Word;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::world::{Call, Outside, Ran, Said, Service, Wire, World, eventually, new_run, run};

/// What runs, as people read it.
const SHORT: &str = "3f2c1a9";
const PATH: &str = "/syncgate/v1/preflight";
/// How long anything may take.
const SOON: Duration = Duration::from_secs(2);

fn question(application: &str) -> Value {
    json!({"application": application, "suite": "integration", "now": Clock::system().now()})
}

/// Asks, and measures.
async fn ask(world: &World, token: &str, question: &Value) -> Said {
    let begin = Instant::now();
    let said = world
        .gate
        .rest("POST", PATH, token, &question.to_string())
        .await;
    let took = begin.elapsed();
    assert!(took < SOON, "{took:?}: {said:?}");
    said
}

/// The answer to a good credential, and in it the one check of this kind.
fn check(said: &Said, kind: &str) -> Value {
    assert_eq!(said.status, 200, "{said:?}");
    let json = said.json();
    let all = json["checks"].as_array().unwrap();
    let ok = all.iter().all(|check| check["ok"] == true);
    assert_eq!(json["ok"], ok, "{json}");
    for check in all {
        assert!(check["ok"] == true || check["mend"].is_string(), "{check}");
    }
    let of_kind: Vec<_> = all.iter().filter(|check| check["check"] == kind).collect();
    assert_eq!(of_kind.len(), 1, "{json}");
    of_kind[0].clone()
}

fn detail(check: &Value) -> &str {
    check["detail"].as_str().unwrap()
}

/// The token of the tests of `checkout-staging`, whose times are changed by seconds from now.
fn token(outside: &Outside, change: impl FnOnce(&mut Value, i64)) -> String {
    let now = Clock::system().now().as_second();
    outside
        .issuer
        .account_with("shop-staging", "checkout-tests", |claims| {
            change(claims, now);
        })
}

#[tokio::test]
async fn all_is_well_with_a_good_token_for_its_own_application() {
    let world = World::new().await;
    let said = ask(
        &world,
        &world.outside.tests(),
        &question("checkout-staging"),
    )
    .await;
    // Nothing runs yet, and the application is out of sync.
    let report = check(&said, "report");
    assert_eq!(report["ok"], false, "{report}");
    assert!(detail(&report).contains("is out of sync"), "{report}");
    // While an operation runs, a run is about that.
    let sync = Call::sync("checkout-staging");
    let alice = world.outside.alice();
    assert_eq!(world.gate.ask(Wire::Rest, &alice, &sync).await.code(), 0);
    let said = ask(
        &world,
        &world.outside.tests(),
        &question("checkout-staging"),
    )
    .await;
    let json = said.json();
    assert_eq!(json["ok"], true, "{json}");
    let kinds: Vec<_> = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["check"].clone())
        .collect();
    assert_eq!(kinds, ["credential", "lifetime", "clock", "report"]);
    assert_eq!(json["gate"], "https://gate.example");
    assert_eq!(
        json["caller"],
        "system:serviceaccount:shop-staging:checkout-tests"
    );
    assert_eq!(json["expected_seconds"], Value::Null);
    assert_eq!(json["decision"], said.decision().to_string());
    assert!(detail(&check(&said, "credential")).contains("by a service-account token of"));
    let report = check(&said, "report");
    let told = format!("the operation that goes on, at {SHORT}");
    assert!(detail(&report).contains(&told), "{report}");
    // With none it is about what is deployed, and says so.
    world.report("passed").await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    let said = ask(
        &world,
        &world.outside.tests(),
        &question("checkout-staging"),
    )
    .await;
    let report = check(&said, "report");
    let told = format!("no operation is going on: a run is about what is deployed, {SHORT}");
    assert!(
        report["ok"] == true && detail(&report).contains(&told),
        "{report}"
    );
    // The run that passed took a second.
    assert_eq!(said.json()["expected_seconds"], 1);
}

#[tokio::test]
async fn it_is_on_record_as_a_read_with_what_failed() {
    let world = World::new().await;
    let mut body = question("checkout-staging");
    body["endpoints"] = json!(["checkout-api"]);
    body["now"] = json!("2020-01-01T00:00:00Z");
    let said = ask(&world, &world.outside.tests(), &body).await;
    let record = world.record(said.decision()).await.opening;
    assert_eq!(
        (record.operation.as_str(), record.effect.as_str()),
        ("Preflight.check", "read")
    );
    assert_eq!(record.word, Word::Permit);
    assert_eq!(record.determining, ["preflight"]);
    assert_eq!(record.applications[0].name, "checkout-staging");
    assert_eq!(
        record.caller.unwrap().display,
        "system:serviceaccount:shop-staging:checkout-tests"
    );
    let failed = json!(["clock", "report", "endpoint checkout-api"]);
    assert_eq!(record.request["failed"], failed);
}

// A credential that does not hold

#[tokio::test]
async fn a_bad_credential_is_refused_with_the_precise_reason_within_two_seconds() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched();
    let outside = &world.outside;
    for (reason, told, token) in [
        (
            "expired",
            "1 hour ago: read the token file again, the kubelet renews it",
            token(outside, |claims, now| {
                claims["iat"] = json!(now - 7_200);
                claims["nbf"] = json!(now - 7_200);
                claims["exp"] = json!(now - 3_600);
            }),
        ),
        (
            "audience",
            "the token is for `https://gate.elsewhere`, and this gate needs one for `syncgate`: mount",
            token(outside, |claims, _| {
                claims["aud"] = json!(["https://gate.elsewhere"]);
            }),
        ),
        (
            "not-yet-valid",
            "seconds ahead of this gate's clock: set the clocks, or wait",
            token(outside, |claims, now| claims["nbf"] = json!(now + 300)),
        ),
        ("malformed", "is not a signed JWT", "garbage".to_owned()),
    ] {
        let said = ask(&world, &token, &question("checkout-staging")).await;
        assert_eq!(said.status, 401, "{said:?}");
        let json = said.json();
        assert_eq!(
            (&json["code"], &json["reason"]),
            (&json!("unauthenticated"), &json!(reason))
        );
        assert!(said.sentence().contains(told), "{}", said.sentence());
        // The command says the same, in one line with what to do.
        let (ran, took) = at(&world, &token, &[]).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(took < SOON, "{took:?}");
        let line = ran
            .out
            .lines()
            .find(|line| line.starts_with("FAIL"))
            .unwrap();
        assert!(
            line.starts_with("FAIL  credential: the token") && line.contains(" -> "),
            "{line}"
        );
        assert!(!line.contains("decision"), "{line}");
    }
    // The seconds are told.
    let ahead = token(outside, |claims, now| claims["nbf"] = json!(now + 300));
    let sentence = ask(&world, &ahead, &question("checkout-staging"))
        .await
        .sentence();
    assert!(
        ["299", "300"]
            .iter()
            .any(|s| sentence.contains(&format!("{s} seconds"))),
        "{sentence}"
    );
}

#[tokio::test]
async fn nobody_asks_without_a_credential_or_by_a_cookie() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched();
    let body = Bytes::from(question("checkout-staging").to_string());
    let said = world
        .gate
        .send(Wire::Rest, "POST", PATH, &[], body.clone())
        .await;
    assert_eq!((said.status, &said.json()["reason"]), (401, &Value::Null));
    let cookie = [("cookie", format!("argocd.token={}", world.outside.tests()))];
    let said = world
        .gate
        .send(Wire::Rest, "POST", PATH, &cookie, body)
        .await;
    assert_eq!(said.status, 400, "{said:?}");
    assert!(said.sentence().contains("without cookies"));
}

// What only the checks see

#[tokio::test]
async fn a_skewed_clock_of_the_caller_is_told_with_its_seconds() {
    let world = World::new().await;
    for (skew, way) in [(45, "ahead of"), (-45, "behind")] {
        let mut body = question("checkout-staging");
        body["now"] = json!(Clock::system().now() + SignedDuration::from_secs(skew));
        let said = ask(&world, &world.outside.tests(), &body).await;
        let clock = check(&said, "clock");
        assert_eq!(clock["ok"], false);
        let told =
            [44, 45, 46].map(|s| format!("the caller's clock is {s} seconds {way} the gate's"));
        assert!(told.iter().any(|told| detail(&clock) == told), "{clock}");
    }
}

#[tokio::test]
async fn a_token_that_ends_before_the_run_is_told_unless_the_kubelet_renews_it() {
    let world = World::new().await;
    let plain = token(&world.outside, |claims, now| {
        claims["exp"] = json!(now + 1_200);
    });
    let in_pod = token(&world.outside, |claims, now| {
        claims["exp"] = json!(now + 1_200);
        claims["kubernetes.io"]["pod"] = json!({"name": "tests-x7k2p", "uid": "u"});
    });
    for (token, expected, ok) in [
        (&plain, 900, true),
        (&plain, 1_200, false),
        (&in_pod, 1_200, true),
    ] {
        let mut body = question("checkout-staging");
        body["expected_seconds"] = json!(expected);
        let said = ask(&world, token, &body).await;
        let lifetime = check(&said, "lifetime");
        assert_eq!(lifetime["ok"], ok, "{expected}: {lifetime}");
        assert_eq!(said.json()["expected_seconds"], expected);
    }
}

/// A run of the tests of `checkout-staging` that took so many seconds and ended so.
async fn ran(world: &World, seconds: i64, outcome: &str) {
    let token = world.outside.tests();
    let post = async |path: &str, body: Value| {
        let path = format!("/syncgate/v1/runs{path}");
        world
            .gate
            .rest("POST", &path, &token, &body.to_string())
            .await
    };
    let began = Clock::system().now();
    let mut new = new_run("checkout-staging");
    new["started_at"] = json!(began);
    let opened = post("", new).await.json();
    let run = opened["run"].as_str().unwrap();
    let attempt = json!({
        "test": "tests/test_pay.py::test_refund", "attempt": 1, "outcome": outcome,
        "duration_ms": 3, "started_at": began,
    });
    let batch = json!({"sequence": 0, "attempts": [attempt]});
    post(&format!("/{run}/attempts"), batch).await;
    let end = json!({
        "exit_status": i32::from(outcome != "passed"), "batches": 1, "attempts": 1,
        "finished_at": began + SignedDuration::from_secs(seconds),
    });
    let said = post(&format!("/{run}/finish"), end).await;
    assert_eq!(said.json()["verdict"], outcome, "{said:?}");
}

#[tokio::test]
async fn how_long_a_run_takes_is_the_longest_of_the_newest_that_passed() {
    let world = World::new().await;
    let sync = Call::sync("checkout-staging");
    world
        .gate
        .ask(Wire::Rest, &world.outside.alice(), &sync)
        .await;
    let expected = async |suite: &str| {
        let mut body = question("checkout-staging");
        body["suite"] = json!(suite);
        let said = ask(&world, &world.outside.tests(), &body).await;
        assert_eq!(check(&said, "report")["ok"], true);
        said.json()["expected_seconds"].clone()
    };
    ran(&world, 7_200, "failed").await;
    assert_eq!(expected("integration").await, Value::Null);
    // A clock that was set back counts as no time.
    for (seconds, longest) in [(-5, 0), (900, 900), (60, 900)] {
        ran(&world, seconds, "passed").await;
        assert_eq!(expected("integration").await, longest);
    }
    assert_eq!(expected("smoke").await, Value::Null, "of its own suite");
    // After ten more it is forgotten.
    for _ in 0..9 {
        ran(&world, 60, "passed").await;
    }
    assert_eq!(expected("integration").await, 60);
}

#[tokio::test]
async fn an_endpoint_that_the_gate_does_not_have_is_told_with_the_key() {
    let world = World::new().await;
    let mut body = question("checkout-staging");
    body["endpoints"] = json!(["checkout-api"]);
    let said = ask(&world, &world.outside.tests(), &body).await;
    let endpoint = check(&said, "endpoint");
    assert_eq!(
        (&endpoint["ok"], &endpoint["about"]),
        (&json!(false), &json!("checkout-api"))
    );
    assert_eq!(endpoint["detail"], "this gate has no endpoint of that name");
    assert!(endpoint["mend"].as_str().unwrap().contains("[[endpoint]]"));
}

// Endpoints under test

/// Endpoints of `service`, good and bad.
fn endpoints(service: SocketAddr, mute: SocketAddr) -> String {
    let one = |name: &str, environment: &str, url: String, health: &str| {
        format!(
            "[[endpoint]]\nname = \"{name}\"\nenvironment = \"{environment}\"\n\
             prefix = \"/endpoints/{name}/\"\nurl = \"{url}\"\nmethods = [\"GET\"]\n{health}\n"
        )
    };
    let at = |service: SocketAddr| format!("http://{service}");
    let nowhere = ([127, 0, 0, 1], 9).into();
    [
        one("good", "staging", at(service), "health = \"/healthz\""),
        one("plain", "staging", at(service), ""),
        one("silent", "staging", at(service), "health = \"/silent\""),
        one("sick", "staging", at(service), "health = \"/sick\""),
        one("away", "staging", at(nowhere), ""),
        one("mute", "staging", format!("https://{mute}"), ""),
        one("live", "prod", at(service), "health = \"/healthz\""),
    ]
    .concat()
}

#[tokio::test]
async fn an_endpoint_that_is_away_or_silent_or_refuses_is_told_within_two_seconds() {
    let outside = Outside::start().await;
    let service = Service::start(&outside.tasks).await;
    // It takes connections, and says nothing.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sections = endpoints(service.address, mute.local_addr().unwrap());
    let world = World::with_sections(outside, &sections).await;
    let expected = [
        ("good", true, "may be read in staging, and answers"),
        ("plain", true, "may be read in staging, and answers"),
        ("silent", false, "no"),
        ("sick", false, "status 503"),
        ("away", false, "onnection refused"),
        ("mute", false, "no"),
        (
            "live",
            false,
            "the policies do not let system:serviceaccount:shop-staging:checkout-tests read it",
        ),
        ("none", false, "this gate has no endpoint of that name"),
    ];
    let mut body = question("checkout-staging");
    body["endpoints"] = json!(expected.map(|(name, ..)| name));
    let said = ask(&world, &world.outside.tests(), &body).await;
    let json = said.json();
    let checks = json["checks"].as_array().unwrap();
    for ((name, ok, told), check) in expected.iter().zip(&checks[4..]) {
        assert_eq!(
            (&check["about"], &check["ok"]),
            (&json!(name), &json!(ok)),
            "{check}"
        );
        assert!(detail(check).contains(told), "{check}");
        assert_eq!(check["mend"].is_null(), *ok, "{check}");
    }
    // Who may not read any makes the gate look at none.
    let before = service.seen().len();
    let said = ask(&world, &world.outside.nobody(), &body).await;
    assert!(
        said.json()["checks"].as_array().unwrap()[4..]
            .iter()
            .all(|c| c["ok"] == false)
    );
    assert_eq!(service.seen().len(), before);
    // The caller's credential does not get there.
    for seen in service.seen() {
        assert_eq!(seen.header("authorization"), "");
    }
}

// Who may report

/// What a refused report says, without the decision.
fn refusal(said: &Said) -> String {
    let sentence = said.sentence();
    sentence.rsplit_once(". decision ").unwrap().0.to_owned()
}

#[tokio::test]
async fn who_may_not_report_learns_what_a_refused_report_says_and_no_more() {
    let world = World::new().await;
    // There is a history, and an operation that goes on.
    let sync = Call::sync("checkout-staging");
    let alice = world.outside.alice();
    assert_eq!(world.gate.ask(Wire::Rest, &alice, &sync).await.code(), 0);
    world.report("passed").await;
    let tests = world.outside.tests();
    let stranger = world.outside.issuer.account("default", "checkout-tests");
    for (token, application) in [
        (&alice, "checkout-staging"),
        (&stranger, "checkout-staging"),
        (&stranger, "cart-prod"),
        (&stranger, "no-such-application"),
        (&world.outside.nobody(), "checkout-prod"),
        (&tests, "checkout-prod"),
        (&tests, "stray"),
    ] {
        let said = ask(&world, token, &question(application)).await;
        let report = check(&said, "report");
        assert_eq!(report["ok"], false, "{application}");
        let refused = world.gate.open_run(token, application).await;
        assert_eq!(refused.status, 403, "{application}: {refused:?}");
        let refused = refusal(&refused);
        let (detail, mend) = (detail(&report), report["mend"].as_str().unwrap());
        let whole = format!("{detail}: {mend}");
        assert!(refused == detail || refused == whole, "{refused} | {whole}");
        // A service account is told the key that would let it report.
        let is_account =
            [&tests, &stranger].contains(&token) && application != "no-such-application";
        assert_eq!(mend.contains("[[workload]]` with"), is_account, "{mend}");
        let text = said.json().to_string();
        assert_eq!(said.json()["expected_seconds"], Value::Null, "{text}");
        assert!(!text.contains(SHORT), "{text}");
    }
}

#[tokio::test]
async fn where_a_run_could_not_be_opened_the_reason_is_the_same() {
    let all = |config: &mut Config| config.workloads[0].applications = Pattern::new("*");
    let world = World::with(Outside::start().await, all).await;
    let tests = world.outside.tests();
    for (application, environment) in [
        ("stray", None),
        ("both-ways", None),
        ("checkout-prod", None),
        ("cart-staging", Some("prod")),
    ] {
        let mut asked = question(application);
        asked["environment"] = json!(environment);
        let report = check(&ask(&world, &tests, &asked).await, "report");
        assert_eq!(report["ok"], false, "{application}: {report}");
        if environment.is_some() {
            // A run is first asked for its commits, which cannot be told yet.
            world
                .gate
                .ask(Wire::Rest, &world.outside.alice(), &Call::sync(application))
                .await;
        }
        let mut new = new_run(application);
        new["environment"] = json!(environment);
        let said = world
            .gate
            .rest("POST", "/syncgate/v1/runs", &tests, &new.to_string())
            .await;
        assert!([400, 409].contains(&said.status), "{said:?}");
        assert_eq!(refusal(&said), detail(&report));
    }
}

// Others that do not answer

#[tokio::test]
async fn an_argo_cd_that_never_answers_is_not_waited_for() {
    let world = World::new().await;
    world
        .outside
        .argocd
        .answer_own_after(Duration::from_hours(1));
    let mut body = question("checkout-staging");
    body["endpoints"] = json!((0..32).map(|n| format!("api-{n}")).collect::<Vec<_>>());
    let said = ask(&world, &world.outside.tests(), &body).await;
    let report = check(&said, "credential");
    assert_eq!(report["ok"], true);
    let all = said.json();
    let report = &all["checks"][3];
    assert_eq!(report["check"], "report");
    assert_eq!(report["detail"], "Argo CD did not answer the gate in time");
    assert_eq!(all["checks"].as_array().unwrap().len(), 4 + 32);
}

#[tokio::test]
async fn an_argo_cd_that_is_away_is_told() {
    let nowhere = |config: &mut Config| {
        config.upstream.url = "http://127.0.0.1:9".parse().unwrap();
    };
    let world = World::with(Outside::start().await, nowhere).await;
    let said = ask(
        &world,
        &world.outside.tests(),
        &question("checkout-staging"),
    )
    .await;
    let report = check(&said, "report");
    assert_eq!(report["detail"], "the gate cannot reach Argo CD");
}

#[tokio::test]
async fn too_many_at_once_are_told_to_come_again_and_the_others_are_answered_in_time() {
    let world = World::new().await;
    world
        .outside
        .argocd
        .answer_own_after(Duration::from_hours(1));
    let token = world.outside.tests();
    let body = question("checkout-staging");
    // One is verified first, so that the keys are there for all.
    ask(&world, &token, &body).await;
    let all = join_all((0..40).map(|_| ask(&world, &token, &body))).await;
    let (busy, answered): (Vec<_>, Vec<_>) = all.iter().partition(|said| said.status == 503);
    assert_eq!((busy.len(), answered.len()), (8, 32));
    for said in busy {
        assert_eq!(said.header("retry-after"), "1");
        assert_eq!(said.json()["code"], "overloaded");
    }
    // Then there is room again.
    assert_eq!(ask(&world, &token, &body).await.status, 200);
}

#[tokio::test]
async fn what_was_asked_is_on_record_although_the_caller_left() {
    let world = World::new().await;
    world
        .outside
        .argocd
        .answer_own_after(Duration::from_millis(500));
    let (token, body) = (
        world.outside.tests(),
        question("checkout-staging").to_string(),
    );
    let mut socket = TcpStream::connect(world.gate.address).await.unwrap();
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {token}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let argocd = &world.outside.argocd;
    eventually("the question", || async {
        let asked = argocd.own_questions();
        asked
            .iter()
            .any(|q| q.starts_with("GET /api/v1/applications/checkout-staging"))
            .then_some(())
    })
    .await;
    drop(socket);
    let sam = world.outside.sam();
    eventually("the record", || async {
        let path = "/syncgate/v1/log?operation=Preflight.check";
        let log = world.gate.rest("GET", path, &sam, "").await.json();
        (log["entries"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
}

// What is no question

#[tokio::test]
async fn a_bad_question_is_refused_before_anybody_is_asked() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched();
    let token = world.outside.tests();
    let with = |name: &str, value: Value| {
        let mut body = question("checkout-staging");
        body[name] = value;
        body
    };
    for body in [
        json!({}),
        with("verdict", json!("passed")),
        with("application", json!("../x")),
        with("endpoints", json!(vec!["x"; 33])),
        with("now", json!(0)),
    ] {
        let said = ask(&world, &token, &body).await;
        assert_eq!(said.status, 400, "{said:?}");
    }
    let said = ask(&world, &token, &with("suite", json!("x".repeat(70_000)))).await;
    assert_eq!(said.status, 413, "{said:?}");
    let said = world.gate.rest("GET", PATH, &token, "").await;
    assert_eq!((said.status, said.header("allow")), (405, "POST"));
}

// The command

/// Runs the command for `checkout-staging` and measures it.
async fn at(world: &World, token: &str, more: &[&str]) -> (Ran, Duration) {
    let url = world.gate.url();
    let options = [
        "preflight",
        "--gate",
        &url,
        "--token",
        token,
        "--app",
        "checkout-staging",
    ];
    let begin = Instant::now();
    let ran = run(options.iter().chain(more).copied()).await;
    (ran, begin.elapsed())
}

#[tokio::test]
async fn the_command_says_one_line_for_each_check_and_tells_by_its_exit_code() {
    let world = World::new().await;
    let tests = world.outside.tests();
    let sync = Call::sync("checkout-staging");
    world
        .gate
        .ask(Wire::Rest, &world.outside.alice(), &sync)
        .await;
    let (ran, took) = at(
        &world,
        &tests,
        &["--environment", "staging", "--expected", "15m"],
    )
    .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(took < SOON, "{took:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 6, "{}", ran.out);
    assert!(
        lines[1..5].iter().all(|line| line.starts_with("ok    ")),
        "{}",
        ran.out
    );
    let (ran, _) = at(
        &world,
        &tests,
        &["--endpoint", "a", "--endpoint", "b", "--expected", "2h"],
    )
    .await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let failed: Vec<&str> = ran
        .out
        .lines()
        .filter(|line| line.starts_with("FAIL"))
        .collect();
    assert_eq!(failed.len(), 3, "{}", ran.out);
    assert!(
        failed.iter().all(|line| line.contains(" -> ")),
        "{}",
        ran.out
    );
    let (ran, _) = at(&world, &tests, &["--output", "json", "--endpoint", "a"]).await;
    assert_eq!(ran.code, 1);
    assert_eq!(ran.json()["checks"][4]["about"], "a");
}

#[tokio::test]
async fn the_command_tells_wrong_usage_and_a_gate_that_is_away_by_its_exit_code() {
    let world = World::new().await;
    let tests = world.outside.tests();
    for wrong in [
        &["--expected", "soon"][..],
        &["--endpoint", ""],
        &["--suite", "two words"],
    ] {
        let (ran, _) = at(&world, &tests, wrong).await;
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
    }
    let begin = Instant::now();
    let nobody = [
        "--gate",
        "http://127.0.0.1:9",
        "--token",
        "a.b.c",
        "--app",
        "x",
    ];
    let ran = run(["preflight"].iter().chain(&nobody).copied()).await;
    assert_eq!((ran.code, ran.out.as_str()), (69, ""), "{ran:?}");
    assert!(begin.elapsed() < SOON);
}

#[tokio::test]
async fn a_gate_that_never_answers_cannot_be_reached() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let begin = Instant::now();
    let ran = run([
        "preflight",
        "--gate",
        &url,
        "--token",
        "a.b.c",
        "--app",
        "x",
    ])
    .await;
    assert_eq!(ran.code, 69, "{ran:?}");
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}
