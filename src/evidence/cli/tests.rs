//! The commands against a gate on loopback, over real sockets, and their text.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde::Serialize;
use tokio_util::task::TaskTracker;
use url::Url;

use super::words::hook_in_words;
use super::*;
use crate::clock::Clock;
use crate::evidence::binding::{Claims, bind};
use crate::evidence::client::Gate;
use crate::evidence::dsse::tests::fixture;
use crate::evidence::dsse::{PublicKey, Signer};
use crate::evidence::hook::{Disagreement, HookPhase, HookResult};
use crate::evidence::junit::Counts;
use crate::evidence::report::Files;
use crate::evidence::run::{self, NewRun};
use crate::evidence::service::{Reporter, Required, Runs, Subject};
use crate::evidence::verdict::{LeastShare, ReasonCode, Verdict};
use crate::evidence::view::RunList;
use crate::gate::testing::{facts, single};
use crate::gate::{MatchBy, Requirement};
use crate::names::{AppRef, Component, DecisionId};
use crate::names::{EnvironmentName, SignerName, Suite};
use crate::store::{RunFilter, RunId, Store};

const NOW: &str = "2026-11-23T14:02:00Z";

fn clock() -> Clock {
    Clock::fixed(NOW.parse().unwrap())
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is refused at the door, as by a load balancer without a gate behind it.
    Away,
    /// It is done, and the connection ends before the answer.
    Lost,
    /// It is done and answered.
    Answered,
}

/// The fates of the next requests; those after them are answered.
pub(super) type Fates = Arc<Mutex<VecDeque<Fate>>>;

/// The interface over [`Runs`], without the identity and policy that stand before it.
async fn serve(runs: Arc<Runs>, fates: Fates, tasks: &TaskTracker) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let inner = tasks.clone();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (runs, fates) = (Arc::clone(&runs), Arc::clone(&fates));
            inner.spawn(async move {
                let service = hyper::service::service_fn(move |request| {
                    let runs = Arc::clone(&runs);
                    let fate = fates.lock().unwrap().pop_front();
                    async move {
                        if fate == Some(Fate::Away) {
                            return Ok(json(503, &serde_json::json!({"detail": "nobody there"})));
                        }
                        let answer = answer(&runs, request).await;
                        if fate == Some(Fate::Lost) {
                            return Err(std::io::Error::other("the line is cut"));
                        }
                        Ok(answer)
                    }
                });
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

fn json(status: u16, value: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(value).unwrap();
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

async fn open(
    runs: &Runs,
    reporter: Reporter<'_>,
    key: &str,
    new: NewRun,
) -> Response<Full<Bytes>> {
    let subject = Subject {
        application: AppRef {
            namespace: None,
            name: "checkout-staging".into(),
        },
        environment: EnvironmentName::parse("staging").unwrap(),
        component: Component::parse("checkout").unwrap(),
    };
    let claims = Claims {
        commits: new.commits.as_deref(),
        ..Claims::default()
    };
    match bind(&facts(&single()), claims, &[], clock().now()) {
        Err(refusal) => {
            let problem =
                serde_json::json!({"detail": refusal.to_string(), "code": refusal.code()});
            json(409, &problem)
        }
        Ok(binding) => {
            let opened = runs.open(reporter, Some(key), new, &subject, binding).await;
            json(201, &opened.unwrap())
        }
    }
}

async fn answer(runs: &Runs, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    if head.headers["authorization"] != "Bearer secret" {
        return json(
            401,
            &serde_json::json!({"detail": "sign in first", "code": "no-credential"}),
        );
    }
    let reporter = Reporter {
        unique: "tester",
        decision: DecisionId::new(clock().now()),
    };
    let path: Vec<&str> = head.uri.path().split('/').skip(4).collect();
    match (head.method.as_str(), path.as_slice()) {
        ("POST", []) => {
            let key = head.headers["idempotency-key"].to_str().unwrap();
            open(runs, reporter, key, run::read(&body).unwrap()).await
        }
        ("POST", [run, "attempts"]) => {
            assert!(body.len() <= run::MAX_BODY_BYTES);
            json(
                200,
                &runs
                    .add(reporter, run, run::read(&body).unwrap())
                    .await
                    .unwrap(),
            )
        }
        ("POST", [run, "finish"]) => {
            let finish = run::read(&body).unwrap();
            let vouched = runs.vouched(&finish).await.unwrap();
            json(
                200,
                &runs
                    .finish(reporter, run, &finish, vouched, &facts(&single()))
                    .await
                    .unwrap(),
            )
        }
        ("GET", []) => {
            assert_eq!(head.uri.query(), Some("suite=integration&limit=5"));
            let filter = RunFilter {
                limit: 5,
                ..RunFilter::default()
            };
            let runs = runs.list(filter).await.unwrap();
            json(200, &RunList { runs })
        }
        ("GET", [run]) => {
            let id = RunId(ulid::Ulid::from_string(run).unwrap());
            json(200, &runs.show(id).await.unwrap().unwrap())
        }
        _ => json(404, &serde_json::json!({"detail": "no such page"})),
    }
}

pub(super) struct World {
    pub(super) gate: Gate,
    pub(super) fates: Fates,
    pub(super) folder: tempfile::TempDir,
}

/// Prod requires the suite, and wants it to be new.
fn required() -> Required {
    Required {
        by: EnvironmentName::parse("prod").unwrap(),
        requirement: Requirement {
            suite: Suite::parse("integration").unwrap(),
            environment: EnvironmentName::parse("staging").unwrap(),
            max_age: Some(jiff::SignedDuration::from_hours(24)),
            least_share: LeastShare::default(),
            match_by: MatchBy::Commit,
            signed_by: Vec::new(),
        },
    }
}

pub(super) async fn world(tasks: &TaskTracker) -> World {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("syncgate.db")).unwrap();
    let key = PublicKey::from_pem(&fixture("ed25519.pem")).unwrap();
    let ci = Signer {
        name: SignerName::parse("ci").unwrap(),
        keyid: None,
        key,
    };
    let runs = Runs::new(store, clock(), "https://gate", vec![required()])
        .signed_by([ci].into_iter().collect());
    let fates = Fates::default();
    let address = serve(Arc::new(runs), Arc::clone(&fates), tasks).await;
    World {
        fates,
        gate: Gate {
            url: Url::parse(&format!("http://{address}/")).unwrap(),
            token: "secret\n".into(),
            ca_file: None,
        },
        folder,
    }
}

pub(super) fn options(gate: &Gate, file: &str) -> SubmitOptions {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let path = fixtures.join(file);
    let files = if file.starts_with("reportlog") {
        Files::Reportlog(path)
    } else {
        Files::Junit {
            paths: vec![path],
            counts: Counts::Strict,
        }
    };
    SubmitOptions {
        gate: gate.clone(),
        files,
        application: "checkout-staging".into(),
        application_namespace: None,
        environment: None,
        suite: Suite::parse("integration").unwrap(),
        commits: Vec::new(),
        dirty: None,
        exit_status: None,
        key: None,
        patience: Duration::ZERO,
        output: Output::Table,
    }
}

pub(super) async fn submitted(options: SubmitOptions) -> (Result<Outcome, Error>, String) {
    let mut out = Vec::new();
    let outcome = submit(options, &clock(), &mut out).await;
    (outcome, String::from_utf8(out).unwrap())
}

/// The identifier of a run is another one each time.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| word.len() == 26 && word.starts_with("01");
    let parts = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    parts
        .map(|part| {
            let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            if is_id(word) {
                part.replace(word, "RUN")
            } else {
                part.to_owned()
            }
        })
        .collect()
}

#[tokio::test]
async fn a_file_becomes_a_run_that_can_be_listed_and_shown() {
    let tasks = TaskTracker::new();
    let world = world(&tasks).await;
    let green = options(&world.gate, "junit/pytest-9.2.xml");
    let (outcome, text) = submitted(green).await;
    assert_eq!(outcome.unwrap(), Outcome::Passed);
    insta::assert_snapshot!(without_ids(&text), @r"
    passed run RUN: 2 of 2 tests passed
      counts from now on
      https://gate/syncgate/v1/runs/RUN
    ");

    let red = options(&world.gate, "reportlog/pytest-9.2-rerunfailures.jsonl");
    let (outcome, text) = submitted(red).await;
    assert_eq!(outcome.unwrap().exit_status(), 1);
    insta::assert_snapshot!(without_ids(&text), @r"
    failed run RUN: 7 of 11 tests passed
      failed-tests: 2 tests failed: tests/test_checkout.py::test_discount, tests/test_checkout.py::test_with_broken_fixture
      passed-with-retries: 1 test passed at a later attempt: tests/test_checkout.py::test_flaky
      counts from now on
      https://gate/syncgate/v1/runs/RUN
      what the application was like: https://gate/syncgate/v1/runs/RUN/snapshot
    ");

    let list = |output| ListOptions {
        gate: world.gate.clone(),
        query: vec![("suite", "integration".into()), ("limit", "5".into())],
        output,
    };
    let mut out = Vec::new();
    let listed = super::list(list(Output::Table), &mut out).await.unwrap();
    assert_eq!(listed.exit_status(), 0);
    let table = String::from_utf8(out).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.lines().nth(1).unwrap().contains("failed"), "{table}");

    let mut out = Vec::new();
    super::list(list(Output::Json), &mut out).await.unwrap();
    let runs: RunList = serde_json::from_slice(&out).unwrap();
    let mut out = Vec::new();
    let show = ShowOptions {
        gate: world.gate.clone(),
        run: runs.runs[1].run.clone(),
        output: Output::Table,
    };
    super::show(show, &mut out).await.unwrap();
    insta::assert_snapshot!(without_ids(&String::from_utf8(out).unwrap()), @r"
    RUN                         ENDED             VERDICT  COMPONENT  ENVIRONMENT  SUITE        COMMITS  TESTS  SIGNED BY  COUNTS FOR
    RUN  2026-11-23 14:02  passed   checkout   staging      integration  aaaaaaa  2/2    -          - (superseded)

    reported by tester
    prod requires 'integration' in staging: a later run has the last word: RUN

    passed         0 ms  tests.test_green::test_one
    passed         0 ms  tests.test_green::test_two
    ");
}

#[test]
fn a_hook_job_is_told_beside_its_run_on_lines_of_its_own() {
    let mut hook = HookResult {
        kind: Some("PostSync".into()),
        job: Some("shop/tests".into()),
        phase: HookPhase::Succeeded,
        message: String::new(),
        seen_at: NOW.parse().unwrap(),
    };
    let told = hook_in_words(&hook, None);
    assert_eq!(told, "hook Job shop/tests (PostSync): Succeeded\n");
    hook.phase = HookPhase::Failed;
    hook.message = "too\nlong\u{1b}[2J".into();
    let disagreement = Disagreement {
        reason: ReasonCode::HookFailed,
        reported: Verdict::Passed,
        counts_as: Verdict::Failed,
        decision: DecisionId::of_seen(NOW.parse().unwrap(), "a run"),
    };
    insta::assert_snapshot!(without_ids(&hook_in_words(&hook, Some(&disagreement))), @r"
    hook Job shop/tests (PostSync): Failed: toolong[2J
    report and Job disagree: the report is worth passed, the run counts as failed; decision RUN
    ");
    let lost = HookResult::lost(None, "the application is gone", NOW.parse().unwrap());
    let told = hook_in_words(&lost, None);
    assert_eq!(
        told,
        "hook Job that was not seen: lost: the application is gone\n"
    );
}

#[tokio::test]
async fn refusals_and_absent_gates_have_their_exit_status() {
    let tasks = TaskTracker::new();
    let world = world(&tasks).await;
    let good = || options(&world.gate, "junit/pytest-9.2.xml");

    let mut other_commit = good();
    other_commit.commits = vec!["b".repeat(40)];
    let error = submitted(other_commit).await.0.unwrap_err();
    assert_eq!(error.exit_status(), 1);
    assert!(
        error
            .to_string()
            .starts_with("the gate refused: the reporter tested `bbb"),
        "{error}"
    );

    let mut stranger = good();
    stranger.gate.token = "other".into();
    let error = submitted(stranger).await.0.unwrap_err();
    assert_eq!(
        (error.exit_status(), error.to_string()),
        (1, "the gate refused: sign in first".into())
    );

    let error = submitted(options(&world.gate, "junit/README.md"))
        .await
        .0
        .unwrap_err();
    assert_eq!(error.exit_status(), 2);

    let mut absent = good();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    absent.gate.url.set_port(Some(port)).unwrap();
    let error = submitted(absent).await.0.unwrap_err();
    assert_eq!(error.exit_status(), 69);
}
