//! What a request costs with the gate and without it: CPU time per request over loopback.
//!
//! Three processes, so that each one's CPU time (`/proc/PID/stat`, user and system) can be told from
//! the others': a client, a null upstream, and this one, which runs the whole gate as `serve` does
//! (listener, identity, policy, record, forward, metrics). The same client sends the same requests
//! to the upstream directly and through the gate, one after the other in one run.
//!
//! - A REST read and a gRPC read of one application. The gate decides by what its watch of Argo CD
//!   told, and records through the queue.
//! - A gated sync. The gate reads the application afresh, finds the evidence, asks Cedar, stores the
//!   deployment and the opening entry durably, pins the commit, forwards, reads what became of it,
//!   and closes the record; up to two seconds of settling after the last sync are counted too.
//! - A list of 2,000 applications, about each of which the gate asks Cedar once a minute.
//! - A GET and a POST to an endpoint under test. The gate asks Cedar, signs who calls, adds a credential,
//!   and looks for it in the answer's headers; the opening entry of a POST is durable before it is sent on.
//!
//! On 2026-11-23, on 2 shared cores, in one run of 22 s: a REST read 58 us without the gate, 104 us and
//! 362 us for the gate with it (8.0 times in all); a gRPC read 39 us without, 64 us and 338 us with it
//! (10.3 times); a gated sync 3 ms for the gate, of which each stores its deployment and its entries
//! durably. In another run of that day, on busier cores: a GET of an endpoint 24 us without the gate,
//! 62 us and 285 us for the gate with it (14.8 times in all); a POST 22 us without, 56 us and 402 us with
//! it (20.8 times). Runs of one day differ by a quarter. Of the gate's share for a REST read, by samples of an
//! earlier run: policy 20 %, writing the record 20 %, making its two entries 15 %, planning 6 %,
//! identity 4 %; the rest is HTTP and the kernel.
//!
//! `cargo bench --bench gate` measures; run by `cargo test --benches` it
//! only shows that it works.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

mod client;
mod upstream;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use syncgate::app::App;
use syncgate::argocd::client::Refresh;
use syncgate::clock::Clock;
use syncgate::config::Config;
use syncgate::evidence::binding::{self, Claims};
use syncgate::evidence::run::{Attempt, AttemptBatch, Collected, Finish, NewRun, Outcome, Tool};
use syncgate::evidence::service::{Reporter, Subject};
use syncgate::evidence::verdict::Tally;
use syncgate::gate::AppFacts;
use syncgate::listener::Stop;
use syncgate::names::{AppRef, Component, DecisionId, EnvironmentName, Suite};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use client::{Done, Kind, Order};

/// The client of the token.
const AUDIENCE: &str = "argocd-cli";
/// The application whose tests have passed.
const TESTED: &str = "checkout-staging";
const COMMIT: &str = "9ab12cd3e4f5061728394a5b6c7d8e9f0a1b2c3d";
/// What is asked for at the endpoint under test.
const UNDER_TEST: &str = "/carts/7";
/// Where the gate has that endpoint.
const PREFIX: &str = "/endpoints/checkout-api";
/// How many applications a list holds.
const LISTED: usize = 2_000;
/// The kernel's unit of process times (`USER_HZ`), the same on all common systems.
const TICK: Duration = Duration::from_millis(10);
/// What follows a sync once a second, twice.
const SETTLING: Duration = Duration::from_secs(2);

fn main() -> anyhow::Result<()> {
    let role = std::env::args().nth(1).unwrap_or_default();
    let mut runtime = match role.as_str() {
        "client" | "upstream" => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    match role.as_str() {
        "client" => client::run(&runtime),
        "upstream" => {
            let applications = std::env::args().nth(2).context("how many applications?")?;
            runtime.block_on(upstream::run(applications.parse()?))
        }
        _ => runtime.block_on(measure(std::env::args().any(|a| a == "--bench"))),
    }
}

/// Where the upstream is, and a token of its own issuer.
#[derive(Serialize, Deserialize)]
struct Place {
    url: String,
    token: String,
}

async fn measure(measured: bool) -> anyhow::Result<()> {
    let (reads, syncs, lists) = if measured {
        (20_000, 300, 100)
    } else {
        (50, 5, 2)
    };
    let mut upstream = Helper::start(&["upstream", &(2 * syncs).to_string()])?;
    let place: Place = upstream.read().await?;
    let folder = tempfile::tempdir()?;
    let app = gate(folder.path(), &place.url).await?;
    let bound = syncgate::serve::bind(Arc::clone(&app)).await?;
    test_passes(&app).await?;
    let mut world = World {
        client: Helper::start(&["client"])?,
        upstream,
        token: place.token,
    };
    println!("CPU time per request; client and upstream, then the gate");
    for (what, kind, count) in [
        ("REST read", Kind::RestRead, reads),
        ("gRPC read", Kind::GrpcRead, reads),
        ("list of 2,000", Kind::List, lists),
        ("gated sync", Kind::Sync, syncs),
        ("endpoint GET", Kind::EndpointRead, reads),
        ("endpoint POST", Kind::EndpointWrite, reads / 4),
    ] {
        let gate = match kind {
            Kind::EndpointRead | Kind::EndpointWrite => format!("{}{PREFIX}", bound.public),
            Kind::GrpcRead | Kind::List | Kind::RestRead | Kind::Sync => bound.public.clone(),
        };
        if kind == Kind::List && measured {
            let first = world.run(&gate, kind, 0, 1).await?.apart;
            println!("{what}: the first takes {first:.0?}, with a question to Cedar for each");
        }
        // Connections are opened and code is warm before anything is counted.
        for url in [&place.url, &gate] {
            world.run(url, kind, count, count / 10).await?;
        }
        let direct = world.run(&place.url, kind, 0, count).await?;
        let gated = world.run(&gate, kind, 0, count).await?;
        let ratio = (gated.ends + gated.gate).as_secs_f64() / direct.ends.as_secs_f64();
        if measured {
            let added = gated.apart.saturating_sub(direct.apart);
            println!(
                "{what}: without {direct}; with {gated}; {ratio:.1} times; {added:.0?} more apart"
            );
        } else {
            println!("{what}: answered, too few to measure");
        }
    }
    syncgate::serve::stop(&app).await;
    Ok(())
}

/// The gate in front of the upstream at `url`, with the policies of this repository.
async fn gate(folder: &Path, url: &str) -> anyhow::Result<Arc<App>> {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let text = format!(
        r#"
url = "http://127.0.0.1"
policies = "{policies}"
[listen]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[upstream]
url = "{url}"
token = "header.payload.signature"
[[oidc]]
issuer = "{url}"
cli_client_id = "{AUDIENCE}"
jwks_uri = "{url}/keys"
[[role]]
name = "release-manager"
groups = [{{ issuer = "{url}", group = "release" }}]
[[environment]]
name = "staging"
mode = "enforce"
applications = {{ namespaces = ["shop-staging"] }}
component = "label:component"
[[environment]]
name = "prod"
mode = "enforce"
applications = {{ namespaces = ["shop-prod"] }}
component = "label:component"
[[environment.requires]]
suite = "integration"
environment = "staging"
[[endpoint]]
name = "checkout-api"
environment = "staging"
prefix = "{PREFIX}/"
url = "{url}"
methods = ["GET", "POST"]
inject.header = {{ name = "X-Api-Key", value = "file:key" }}
"#,
        policies = policies.display()
    );
    std::fs::write(folder.join("key"), "the key of the endpoint")?;
    let config = Config::parse(&text, folder)
        .map_err(|problems| anyhow::anyhow!("the configuration: {problems:?}"))?;
    let app = App::start(config, Clock::system(), Stop::default())?;
    let told = AppRef {
        namespace: None,
        name: name(0),
    };
    while app.index.get(&told).is_none() {
        tokio::time::sleep(TICK).await;
    }
    Ok(app)
}

/// Stores a passing run of the suite that prod requires.
async fn test_passes(app: &App) -> anyhow::Result<()> {
    let application = AppRef {
        namespace: None,
        name: TESTED.to_owned(),
    };
    let json = app.argocd.application(&application, None, Refresh::None);
    let facts = AppFacts::from_json(&json.await?)?;
    let environment = app.config.environments.first().context("no environment")?;
    let binding = binding::bind(
        &facts,
        Claims::default(),
        &environment.varies,
        Clock::system().now(),
    )?;
    let now = app.clock.now();
    let attempt = Attempt {
        test: "tests/test_pay.py::test_refund".to_owned(),
        attempt: 1,
        outcome: Outcome::Passed,
        duration_ms: 1,
        started_at: now,
        message: None,
        worker: None,
    };
    let subject = Subject {
        application: facts.application.clone(),
        environment: EnvironmentName::parse("staging")?,
        component: Component::parse("checkout")?,
    };
    let reporter = Reporter {
        unique: "bench",
        decision: DecisionId::new(now),
    };
    let new = new_run(&attempt)?;
    let opened = app
        .runs
        .open(reporter, None, new, &subject, binding)
        .await?;
    let batch = AttemptBatch {
        sequence: 0,
        attempts: vec![attempt],
    };
    app.runs.add(reporter, &opened.run, batch).await?;
    let finish = Finish {
        exit_status: 0,
        finished_at: now,
        batches: 1,
        attempts: 1,
        interrupted: false,
        attestation: None,
    };
    app.runs
        .finish(reporter, &opened.run, &finish, None, &facts)
        .await?;
    Ok(())
}

/// The opening of a run with this one attempt.
fn new_run(attempt: &Attempt) -> anyhow::Result<NewRun> {
    let tally: Tally = std::iter::once(attempt).collect();
    Ok(NewRun {
        application: TESTED.to_owned(),
        application_namespace: None,
        environment: None,
        suite: Suite::parse("integration")?,
        commits: None,
        dirty: None,
        collected: Collected {
            tests: 1,
            digest: tally.digest(),
            deselected: 0,
        },
        tool: Tool {
            name: "bench".to_owned(),
            version: None,
            plugin: None,
            python: None,
            platform: None,
        },
        options: Vec::new(),
        started_at: attempt.started_at,
    })
}

/// The name of the application with this number.
fn name(number: usize) -> String {
    format!("checkout-{number}-prod")
}

fn environment(name: &str) -> &'static str {
    if name == TESTED { "staging" } else { "prod" }
}

/// The source in the spec of an application.
fn source(name: &str) -> Value {
    json!({
        "repoURL": "https://git.shop.example/shop.git",
        "path": format!("components/checkout/overlays/{}", environment(name)),
        "targetRevision": "main",
    })
}

/// An application as Argo CD would give it, with the last operation, which has ended.
fn application(name: &str, operation: Option<&Value>) -> Value {
    let (environment, source) = (environment(name), source(name));
    let namespace = format!("shop-{environment}");
    let destination = json!({"server": "https://kubernetes.default.svc", "namespace": namespace});
    let resources: Vec<Value> = (0..10)
        .map(|n| {
            json!({
                "version": "v1", "kind": "ConfigMap", "namespace": namespace,
                "name": format!("settings-{n}"), "status": "Synced",
            })
        })
        .collect();
    let state = operation.map(|operation| {
        json!({
            "phase": "Succeeded", "operation": operation,
            "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z",
            "syncResult": {"revision": COMMIT, "source": source},
        })
    });
    json!({
        "metadata": {
            "name": name, "namespace": "argocd", "uid": format!("uid-of-{name}"),
            "labels": {"component": "checkout"},
        },
        "spec": {"project": "shop", "source": source, "destination": destination},
        "status": {
            "sync": {
                "status": "Synced", "revision": COMMIT,
                "comparedTo": {"source": source, "destination": destination},
            },
            "health": {"status": "Healthy"},
            "resources": resources,
            "operationState": state,
            "controllerNamespace": "argocd",
        },
    })
}

/// Prints a line at once, although nobody's terminal reads it.
fn say(line: &str) {
    println!("{line}");
}

struct World {
    client: Helper,
    upstream: Helper,
    token: String,
}

impl World {
    async fn run(
        &mut self,
        url: &str,
        kind: Kind,
        first: usize,
        count: usize,
    ) -> anyhow::Result<Cost> {
        let before = self.cpu()?;
        let order = Order {
            url: url.to_owned(),
            token: self.token.clone(),
            kind,
            first,
            count,
        };
        self.client.tell(&order).await?;
        let done: Done = self.client.read().await?;
        if kind == Kind::Sync {
            tokio::time::sleep(SETTLING).await;
        }
        let after = self.cpu()?;
        let count = u32::try_from(count)?.max(1);
        Ok(Cost {
            gate: after.0.saturating_sub(before.0) / count,
            ends: after.1.saturating_sub(before.1) / count,
            apart: Duration::from_micros(done.micros) / count,
        })
    }

    /// Of the gate; of client and upstream.
    fn cpu(&self) -> anyhow::Result<(Duration, Duration)> {
        let ends = self.client.cpu()? + self.upstream.cpu()?;
        Ok((cpu_time("self")?, ends))
    }
}

/// What one request costs.
struct Cost {
    gate: Duration,
    ends: Duration,
    apart: Duration,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0?}+{:.0?}", self.ends, self.gate)?;
        write!(f, " ({:.0?} apart)", self.apart)
    }
}

/// This program in another role, spoken to by lines of JSON. It ends with its standard input.
struct Helper {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Helper {
    fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = process.stdin.take().context("no input")?;
        let output = process.stdout.take().context("no output")?;
        Ok(Self {
            process,
            input,
            output: BufReader::new(output).lines(),
        })
    }

    async fn tell<T: Serialize>(&mut self, what: &T) -> anyhow::Result<()> {
        let line = format!("{}\n", serde_json::to_string(what)?);
        self.input.write_all(line.as_bytes()).await?;
        Ok(())
    }

    async fn read<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = self.output.next_line().await?.context("it has ended")?;
        Ok(serde_json::from_str(&line)?)
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        let id = self.process.id().context("it has ended")?;
        cpu_time(&id.to_string())
    }
}

/// User and system time of a process: fields 14 and 15 of `/proc/PID/stat` (proc(5)).
fn cpu_time(process: &str) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the command in parentheses and may hold spaces.
    let (_, fields) = stat
        .rsplit_once(')')
        .context("no command in the stat file")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.map(str::parse::<u32>).sum::<Result<_, _>>()?;
    Ok(TICK * ticks)
}
