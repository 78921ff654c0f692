//! The client, in a process of its own: sends what it is told to, and checks that it was answered.

use std::time::Instant;

use anyhow::ensure;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{Request, Version};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use syncgate::body::{self, Body};
use tokio::runtime::Runtime;

/// Requests under way at a time.
const PARALLEL: usize = 16;

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A GET of an endpoint under test over HTTP/1.1.
    EndpointRead,
    /// A POST to an endpoint under test over HTTP/1.1.
    EndpointWrite,
    /// `ApplicationService.Get` over HTTP/2.
    GrpcRead,
    /// `GET /api/v1/applications` over HTTP/1.1: everything that there is.
    List,
    /// `GET /api/v1/applications/NAME` over HTTP/1.1.
    RestRead,
    /// `POST /api/v1/applications/NAME/sync` over HTTP/1.1, each of another application.
    Sync,
}

/// So many requests of one kind.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) kind: Kind,
    /// The application of the first request.
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// How long an order took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) micros: u64,
}

/// Carries out each [`Order`] that a line of standard input holds.
pub(crate) fn run(runtime: &Runtime) -> anyhow::Result<()> {
    for line in std::io::stdin().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let start = Instant::now();
        runtime.block_on(carry_out(&order))?;
        let micros = u64::try_from(start.elapsed().as_micros())?;
        crate::say(&serde_json::to_string(&Done { micros })?);
    }
    Ok(())
}

async fn carry_out(order: &Order) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    // Else the kernel holds back every second frame of a request until the first is acknowledged.
    connector.set_nodelay(true);
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new())
        .http2_only(order.kind == Kind::GrpcRead)
        .build(connector);
    stream::iter(0..order.count)
        .map(|number| call(&client, order, order.first + number))
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await
}

async fn call(
    client: &Client<HttpConnector, Body>,
    order: &Order,
    number: usize,
) -> anyhow::Result<()> {
    let (url, token) = (&order.url, &order.token);
    let name = match order.kind {
        Kind::Sync => crate::name(number),
        Kind::EndpointRead | Kind::EndpointWrite | Kind::GrpcRead | Kind::List | Kind::RestRead => {
            crate::name(0)
        }
    };
    let request = match order.kind {
        Kind::EndpointRead => Request::get(format!("{url}{}", crate::UNDER_TEST))
            .header("authorization", format!("Bearer {token}"))
            .body(body::empty())?,
        Kind::EndpointWrite => Request::post(format!("{url}{}", crate::UNDER_TEST))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(body::full(r#"{"item":1}"#))?,
        Kind::GrpcRead => Request::post(format!("{url}/application.ApplicationService/Get"))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("token", token)
            .body(body::full(query(&name)?))?,
        Kind::List => Request::get(format!("{url}/api/v1/applications"))
            .header("authorization", format!("Bearer {token}"))
            .body(body::empty())?,
        Kind::RestRead => Request::get(format!("{url}/api/v1/applications/{name}"))
            .header("authorization", format!("Bearer {token}"))
            .body(body::empty())?,
        Kind::Sync => Request::post(format!("{url}/api/v1/applications/{name}/sync"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(body::full("{}"))?,
    };
    let response = client.request(request).await?;
    let status = response.status();
    let collected = response.into_body().collect().await?;
    let grpc = collected
        .trailers()
        .and_then(|trailers| trailers.get("grpc-status"));
    let well = order.kind != Kind::GrpcRead || grpc.is_some_and(|code| code == "0");
    let answer = collected.to_bytes();
    ensure!(
        status.is_success() && well && !answer.is_empty(),
        "{status}: {}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

/// An `ApplicationQuery` with field 1 (`name`), framed.
fn query(name: &str) -> anyhow::Result<Vec<u8>> {
    let mut message = vec![0, 0, 0, 0, u8::try_from(name.len() + 2)?];
    message.extend([0x0a, u8::try_from(name.len())?]);
    message.extend(name.as_bytes());
    Ok(message)
}
