//! What the way through the gate costs: CPU time per request, of the whole process, for the same
//! requests sent to a null upstream directly and through listener and forwarding, over loopback.
//! The difference is the gate's share; client and upstream are in both numbers.
//!
//! `cargo bench --bench proxy` measures; run by `cargo test --benches` it only shows that it works.
//! Budget for the gate's share: 40 us a request, before identity, policy and record.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use syncgate::body::{self, Body};
use syncgate::forward::{
    Channel, Detach, Outbound, Permission, Plaintext, SendAs, Shape, Upstream, UpstreamConfig,
    UpstreamToken,
};
use syncgate::listener::{Limits, Listener, Stop};
use syncgate::names::DecisionId;
use tokio_util::task::TaskTracker;

/// Requests under way at a time.
const PARALLEL: usize = 32;
/// The kernel's unit of process times (`USER_HZ`), the same on all common systems.
const TICK: Duration = Duration::from_millis(10);

/// Stands for the policy's permit: what is measured here begins after it.
struct Benched;
impl Permission for Benched {}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let count = if measured { 50_000 } else { 500 };
    let (stop, tasks) = (Stop::default(), TaskTracker::new());
    let upstream = serve(null, &stop, &tasks).await?;
    let gate = gate(&upstream, &stop, &tasks).await?;
    println!("{count} requests of 1 KiB each, {PARALLEL} at a time; CPU time per request");
    for (name, version, kind) in [
        ("REST over HTTP/1.1", Version::HTTP_11, "application/json"),
        ("gRPC over HTTP/2", Version::HTTP_2, "application/grpc"),
    ] {
        // Connections are opened and code is warm before anything is counted.
        for url in [&upstream, &gate] {
            run(url, version, kind, count / 10).await?;
        }
        let direct = run(&upstream, version, kind, count).await?;
        let gated = run(&gate, version, kind, count).await?;
        let share = gated.cpu.saturating_sub(direct.cpu);
        println!("{name}: direct {direct}, gated {gated}, the gate's share {share:.1?}");
    }
    stop.drain(&tasks, Duration::from_secs(1)).await;
    Ok(())
}

/// Answers with what it got; a gRPC call with its status too.
async fn null(request: Request<Body>) -> Response<Body> {
    let kind = request.headers().get("content-type").cloned();
    let grpc = kind.as_ref().is_some_and(|kind| kind == "application/grpc");
    let body = request.into_body();
    let mut response = Response::new(if grpc {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        body::boxed(body.with_trailers(async move { Some(Ok(trailers)) }))
    } else {
        body
    });
    if let Some(kind) = kind {
        response.headers_mut().insert("content-type", kind);
    }
    response
}

async fn gate(upstream: &str, stop: &Stop, tasks: &TaskTracker) -> anyhow::Result<String> {
    let config = UpstreamConfig {
        url: upstream.parse()?,
        ca: None,
        token: UpstreamToken::parse("header.payload.signature")?,
        plaintext: Plaintext::LoopbackOnly,
        answer_timeout: Duration::from_secs(30),
    };
    let upstream = Upstream::new(config, tasks.clone(), stop)?;
    let handler = move |request: Request<Body>| {
        let upstream = upstream.clone();
        async move {
            let kind = request.headers().get("content-type");
            let grpc = kind.is_some_and(|kind| kind == "application/grpc");
            let outbound = Outbound {
                channel: if grpc { Channel::Grpc } else { Channel::Rest },
                send_as: SendAs::Gate,
                decision: DecisionId(ulid::Ulid::nil()),
                detach: Detach::No,
                shape: Shape::Message,
                until: None,
                on_end: None,
            };
            let sent = upstream.send(&Benched, outbound, request).await;
            sent.unwrap_or_else(|error| {
                let mut response = Response::new(body::full(error.to_string()));
                *response.status_mut() = http::StatusCode::BAD_GATEWAY;
                response
            })
        }
    };
    serve(handler, stop, tasks).await
}

async fn serve<H, F>(handler: H, stop: &Stop, tasks: &TaskTracker) -> anyhow::Result<String>
where
    H: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let address = "127.0.0.1:0".parse()?;
    let listener = Listener::bind(address, None, Limits::default()).await?;
    let url = format!("http://{}/", listener.address());
    tasks.spawn(listener.serve(handler, stop.clone(), tasks.clone()));
    Ok(url)
}

/// What requests cost, each.
struct Cost {
    cpu: Duration,
    wall: Duration,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1?} ({:.1?} apart)", self.cpu, self.wall)
    }
}

async fn run(url: &str, version: Version, kind: &str, count: u32) -> anyhow::Result<Cost> {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new())
        .http2_only(version == Version::HTTP_2)
        .build_http();
    let (cpu, start) = (cpu_time()?, Instant::now());
    stream::iter(0..count)
        .map(|_| call(&client, url, version, kind))
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await?;
    Ok(Cost {
        cpu: cpu_time()?.saturating_sub(cpu) / count,
        wall: start.elapsed() / count,
    })
}

async fn call(
    client: &Client<HttpConnector, Body>,
    url: &str,
    version: Version,
    kind: &str,
) -> anyhow::Result<()> {
    let request = Request::post(url)
        .version(version)
        .header("content-type", kind)
        .body(body::full(vec![b'x'; 1024]))?;
    let response = client.request(request).await?;
    ensure!(response.status().is_success(), "{}", response.status());
    let answer = response.into_body().collect().await?.to_bytes();
    ensure!(answer.len() == 1024, "{} bytes came back", answer.len());
    Ok(())
}

/// User and system time of this process: fields 14 and 15 of `/proc/self/stat` (proc(5)).
fn cpu_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is the command in parentheses and may hold spaces.
    let (_, fields) = stat
        .rsplit_once(')')
        .context("no command in the stat file")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.map(str::parse::<u32>).sum::<Result<_, _>>()?;
    Ok(TICK * ticks)
}
