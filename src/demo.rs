//! `syncgate demo`: the real gate over a stand-in of Argo CD and a token issuer, and the story of
//! one commit on its way to production, and of one that is taken back.
//!
//! The stand-ins are small and only here: `standin` plays the calls of the story, `issuer` signs
//! the tokens. The story itself ([`story`]) speaks to the gate like any client and is told against a
//! real Argo CD too.

mod issuer;
mod standin;
pub mod story;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::body::{self, Body};
use crate::clock::Clock;
use crate::config::Config;
use crate::evidence::client::{Client, Gate};
use crate::evidence::run::{Attempt, AttemptBatch, Collected, Finish, NewRun, Outcome, Tool};
use crate::evidence::verdict::Tally;
use crate::listener::{Limits, Listener, Stop};
use crate::names::Suite;
use crate::policy::Source;
use issuer::Issuer;
use standin::{Answer, StandIn};
use story::Stage;

/// The commits of the story, oldest first.
const COMMITS: [&str; 2] = [
    "3f2c1a9d4b5e6f708192a3b4c5d6e7f8091a2b3c",
    "9ab12cd3e4f5061728394a5b6c7d8e9f0a1b2c3d",
];
/// A later one, of which the tests fail.
const FAILING: &str = "c0ffee3e4f5061728394a5b6c7d8e9f0a1b2c3d4";
/// How often the stand-in's kubelet looks for an operation to run.
const TICK: Duration = Duration::from_millis(50);
/// The token by which the gate signs in at the stand-in.
const UPSTREAM_TOKEN: &str = "demo-token-of-the-gate-at-the-stand-in";

/// Tells the story with the gate at `listen`, giving each line to `say`. With `exit` it ends after
/// the story, otherwise it stays up until a signal.
///
/// # Errors
/// When something cannot start, or a step of the story is not as told.
pub async fn run(
    listen: SocketAddr,
    exit: bool,
    say: &mut (dyn FnMut(&str) + Send),
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let world = World::start(listen, folder.path()).await?;
    let stage = world.stage()?;
    let told = story::tell(&stage, say).await;
    if told.is_ok() && !exit {
        say(&world.invitation(&stage));
        crate::serve::until_stopped(Arc::clone(&world.app)).await;
    } else {
        crate::serve::stop(&world.app).await;
    }
    world.stop.drain(&world.tasks, Duration::from_secs(1)).await;
    told
}

/// The gate and the stand-ins, running.
struct World {
    app: Arc<App>,
    url: url::Url,
    issuer: Arc<Issuer>,
    argocd: Arc<StandIn>,
    stop: Stop,
    tasks: TaskTracker,
}

impl World {
    async fn start(listen: SocketAddr, folder: &Path) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let (stop, tasks) = (Stop::default(), TaskTracker::new());
        let limits = Limits::default();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(loopback, None, limits).await?;
        let upstream = listener.address();
        let issuer = Arc::new(Issuer::new(upstream, clock.clone())?);
        let argocd = Arc::new(StandIn::new(COMMITS[0], clock.clone()));
        let (i, a) = (Arc::clone(&issuer), Arc::clone(&argocd));
        let answer = move |request| answer(Arc::clone(&i), Arc::clone(&a), request);
        tasks.spawn(listener.serve(answer, stop.clone(), tasks.clone()));
        // The port must be known for the links in refusals, before the gate is built.
        let listen = free_port(listen)?;
        let config = configuration(folder, listen, upstream, &issuer)?;
        let app = App::start(config, clock, Stop::default())?;
        let bound = crate::serve::bind(Arc::clone(&app)).await?;
        let url: url::Url = bound.public.parse()?;
        let world = Self {
            app,
            url,
            issuer,
            argocd,
            stop,
            tasks,
        };
        world.start_kubelet();
        Ok(world)
    }

    /// Plays the test Jobs: a staging operation runs its tests as its service account would.
    fn start_kubelet(&self) {
        let (argocd, issuer) = (Arc::clone(&self.argocd), Arc::clone(&self.issuer));
        let (url, stop) = (self.url.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.soft.cancelled() => return,
                    () = tokio::time::sleep(TICK) => {}
                }
                for (application, commit) in argocd.running() {
                    let outcome = if commit == FAILING {
                        Outcome::Failed
                    } else {
                        Outcome::Passed
                    };
                    if let Err(error) = run_job(&url, &issuer, &application, outcome).await {
                        tracing::error!(
                            application,
                            error = format!("{error:#}"),
                            "the test Job failed"
                        );
                    }
                    let is_staging = application.ends_with("-staging");
                    let phase = match outcome {
                        Outcome::Failed if is_staging => "Failed",
                        _ => "Succeeded",
                    };
                    argocd.finish_operation(&application, phase);
                }
            }
        });
    }

    fn stage(&self) -> anyhow::Result<Stage> {
        let (argocd, failing) = (Arc::clone(&self.argocd), Arc::clone(&self.argocd));
        Stage::new(story::Setting {
            gate: self.url.clone(),
            ca_file: None,
            engineer: (
                "alice".into(),
                self.issuer.person("alice", &["engineering"])?,
            ),
            release_manager: ("rita".into(), self.issuer.person("rita", &["release"])?),
            security: ("sam".into(), self.issuer.person("sam", &["security"])?),
            component: "checkout".into(),
            push: Box::new(move || {
                argocd.push(COMMITS[1]);
                Ok(COMMITS[1].to_owned())
            }),
            push_failing: Box::new(move || {
                failing.push(FAILING);
                Ok(FAILING.to_owned())
            }),
        })
    }

    fn invitation(&self, stage: &Stage) -> String {
        format!(
            "\nThe demo stays up; end it with Ctrl-C. Try, for example:\n\n  \
             GATE={url}\n  TOKEN={token}   # rita, valid for an hour\n  \
             curl -s -H \"Authorization: Bearer $TOKEN\" $GATE/api/v1/applications/checkout-prod | head -c 400\n  \
             curl -s -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \
             -d '{{}}' $GATE/api/v1/applications/cart-prod/sync\n",
            url = self.url.as_str().trim_end_matches('/'),
            token = stage.release_manager_token(),
        )
    }
}

/// A port that was free a moment ago, where `listen` leaves it open.
fn free_port(listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    if listen.port() != 0 {
        return Ok(listen);
    }
    Ok(std::net::TcpListener::bind(listen)?.local_addr()?)
}

/// The demo's configuration and policies, written to `folder` and read as any other.
fn configuration(
    folder: &Path,
    listen: SocketAddr,
    upstream: SocketAddr,
    issuer: &Issuer,
) -> anyhow::Result<Config> {
    let policies = folder.join("policies");
    std::fs::create_dir(&policies)?;
    let shipped = Source::shipped();
    for file in shipped
        .policies
        .iter()
        .chain(&shipped.cases)
        .chain([&shipped.schema])
    {
        std::fs::write(policies.join(&file.name), &file.text)?;
    }
    let text = include_str!("demo/syncgate.toml")
        .replace("@LISTEN@", &listen.to_string())
        .replace("@UPSTREAM@", &upstream.to_string())
        .replace("@UPSTREAM_TOKEN@", UPSTREAM_TOKEN)
        .replace("@PEOPLE@", &issuer.people())
        .replace("@WORKLOADS@", &issuer.workloads());
    std::fs::write(folder.join("kubeconfig"), kubeconfig(upstream).to_string())?;
    let file = folder.join("syncgate.toml");
    std::fs::write(&file, text)?;
    Ok(Config::load(&file)?)
}

/// By which the gate reaches the Kubernetes API of the stand-in.
fn kubeconfig(upstream: SocketAddr) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "demo",
        "clusters": [{"name": "demo", "cluster": {"server": format!("http://{upstream}")}}],
        "users": [{"name": "gate", "user": {"token": UPSTREAM_TOKEN}}],
        "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "gate"}}],
    })
}

/// What a hook Job of a staging application does: runs its tests, of which the last ends like this, and reports each
/// attempt.
async fn run_job(
    gate: &url::Url,
    issuer: &Issuer,
    application: &str,
    outcome: Outcome,
) -> anyhow::Result<()> {
    let Some((component, "staging")) = application.rsplit_once('-') else {
        return Ok(());
    };
    let token = issuer.service_account("shop-staging", &format!("{component}-tests"))?;
    let client = Client::new(&Gate {
        url: gate.clone(),
        token,
        ca_file: None,
    })?;
    let tests = [
        "tests/test_cart.py::test_total",
        "tests/test_pay.py::test_refund",
    ];
    let now = Clock::system().now();
    let attempts = attempts(&tests, outcome, now);
    let new = new_run(application, &attempts, now)?;
    let run = client.open(&new, &ulid::Ulid::new().to_string()).await?;
    let finish = Finish {
        exit_status: i32::from(outcome == Outcome::Failed),
        finished_at: now,
        batches: 1,
        attempts: attempts.len() as u64,
        interrupted: false,
        attestation: None,
    };
    let batch = AttemptBatch {
        sequence: 0,
        attempts,
    };
    client.add(&run.run, &batch).await?;
    client.finish(&run.run, &finish).await?;
    Ok(())
}

/// One attempt for each of `tests`, which passed but for the last one.
fn attempts(tests: &[&str], last: Outcome, now: jiff::Timestamp) -> Vec<Attempt> {
    let is_last = |index: usize| index + 1 == tests.len();
    tests
        .iter()
        .enumerate()
        .map(|(index, test)| Attempt {
            test: (*test).to_owned(),
            attempt: 1,
            outcome: if is_last(index) {
                last
            } else {
                Outcome::Passed
            },
            duration_ms: 12,
            started_at: now,
            message: None,
            worker: None,
        })
        .collect()
}

fn new_run(
    application: &str,
    attempts: &[Attempt],
    now: jiff::Timestamp,
) -> anyhow::Result<NewRun> {
    Ok(NewRun {
        application: application.to_owned(),
        application_namespace: None,
        environment: None,
        suite: Suite::parse("integration")?,
        commits: None,
        dirty: None,
        collected: Collected {
            tests: attempts.len() as u64,
            digest: attempts.iter().collect::<Tally>().digest(),
            deselected: 0,
        },
        tool: Tool {
            name: "demo".to_owned(),
            version: None,
            plugin: None,
            python: None,
            platform: None,
        },
        options: Vec::new(),
        started_at: now,
    })
}

/// The stand-ins' one listener.
async fn answer(
    issuer: Arc<Issuer>,
    argocd: Arc<StandIn>,
    request: Request<Body>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if head.method == Method::GET
        && let Some(document) = issuer.document(path)
    {
        return json_answer(StatusCode::OK, &document);
    }
    let expected = format!("Bearer {UPSTREAM_TOKEN}");
    let signed_in = head
        .headers
        .get("authorization")
        .is_some_and(|v| v == expected.as_str());
    if !signed_in && path != "/api/version" {
        let error = json!({"error": "no session information", "code": 16});
        return json_answer(StatusCode::UNAUTHORIZED, &error);
    }
    let Ok(body) = body::collect(body, 1 << 20).await else {
        return json_answer(
            StatusCode::BAD_REQUEST,
            &json!({"error": "no body", "code": 3}),
        );
    };
    match argocd.answer(&head.method, path, &body) {
        Answer::Json(status, value) => json_answer(status, &value),
        Answer::Watch(now, events) => {
            let first = stream::iter(now.into_iter().map(|event| Ok(line(&event))));
            let later = stream::unfold(events, |mut events| async {
                // A watcher that lags has missed events; its stream ends, and it starts anew.
                let event = events.recv().await.ok()?;
                Some((Ok::<_, Infallible>(line(&event)), events))
            });
            let body = StreamBody::new(stream::StreamExt::chain(first, later));
            let mut response = Response::new(body::boxed(body));
            let kind = http::HeaderValue::from_static("application/json");
            response.headers_mut().insert("content-type", kind);
            response
        }
    }
}

fn line(event: &Value) -> Frame<Bytes> {
    Frame::data(Bytes::from(format!("{event}\n")))
}

fn json_answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(body::full(value.to_string()));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", kind);
    response
}
