//! Tells the receivers of the configuration what has happened.
//!
//! In: what there is to tell ([`News`]; [`tell`] finds it), which becomes messages in the store. Out: for
//! each message an HTTP POST of a `CloudEvents` event (structured mode, JSON), or of what Slack takes
//! ([`Template`]), repeated with growing pauses until the receiver answers with a status of success, or
//! for about a day. A message is sent at least once: a crash
//! between the answer and its removal sends it again, with the same `id`. Refused: redirects, answers
//! that do not come in time. Never: an address in a log beyond its host, since some hold a secret.

mod news;
mod slack;
pub(crate) mod tell;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::SignedDuration;
use url::Url;

use crate::app::App;
use crate::config::{Receiver, Secret};
use crate::digest;
use crate::outbound;
use crate::rollout;
use crate::store::{self, Notice};
use crate::telemetry::chain;

pub use self::news::{Kind, News};
pub use self::slack::Template;

/// The content type of an event in structured mode.
const STRUCTURED: &str = "application/cloudevents+json";
/// The content type of a message to Slack.
const JSON: &str = "application/json";
/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How many messages are sent at a time.
const AT_ONCE: usize = 8;
/// How many messages are looked at together.
const ROUND: u32 = 64;
/// The pause after the first attempt; it doubles with each.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(1);
/// After how many attempts a message is given up: about a day.
const ATTEMPTS: u64 = 36;
/// Between two attempts to use the store.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Why a receiver has not taken a message.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("it answered with status {0}")]
    Answer(StatusCode),
    #[error("no request can be made to it")]
    BadRequest(#[source] http::Error),
    #[error("its token cannot be used: {0}")]
    BadToken(String),
    #[error("it did not answer in time")]
    Timeout,
    #[error("it cannot be reached")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
}

/// Under what messages to the receiver at `url` wait. Not the address, which may hold a secret.
#[must_use]
pub fn receiver_id(url: &Url) -> String {
    digest::sha256_hex(url.as_str().as_bytes())
}

/// Sends what waits.
pub struct Sender {
    targets: BTreeMap<String, Target>,
}

/// A receiver, ready to be sent to.
struct Target {
    url: Url,
    token: Option<Secret>,
    content_type: &'static str,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Sender {
    /// A sender to `receivers`.
    ///
    /// # Errors
    /// [`outbound::Error`] when the authorities to trust for one cannot be read.
    pub fn new(receivers: &[Receiver]) -> Result<Self, outbound::Error> {
        let target = |receiver: &Receiver| {
            let tls = outbound::client_config(&receiver.url, receiver.ca.as_deref())?;
            let target = Target {
                url: receiver.url.clone(),
                token: receiver.token.clone(),
                content_type: if receiver.slack.is_some() {
                    JSON
                } else {
                    STRUCTURED
                },
                http: Client::builder(TokioExecutor::new()).build(outbound::http1(tls)),
            };
            Ok((receiver_id(&receiver.url), target))
        };
        let targets = receivers.iter().map(target).collect::<Result<_, _>>()?;
        Ok(Self { targets })
    }

    /// Sends until the gate stops. What is not sent by then is sent after the next start.
    pub async fn run(self, app: Arc<App>) {
        let stop = app.stop.soft.clone();
        let sending = async {
            loop {
                let pause = match self.round(&app).await {
                    Ok(pause) => pause,
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "messages cannot be sent yet");
                        Some(STORE_PAUSE)
                    }
                };
                let next = async {
                    match pause {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = next => {}
                    () = app.notices.notified() => {}
                }
            }
        };
        stop.run_until_cancelled_owned(Box::pin(sending)).await;
    }

    /// Sends what is due; gives how long nothing else is, or nothing when nothing waits.
    async fn round(&self, app: &App) -> Result<Option<Duration>, rollout::Error> {
        tell::runs(app).await?;
        let due = app.store.due_notices(app.clock.now(), ROUND).await?;
        let sent: Vec<Result<(), store::Error>> = stream::iter(due)
            .map(|notice| self.send(app, notice))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        sent.into_iter().collect::<Result<(), _>>()?;
        let next = app.store.next_notice().await?;
        Ok(next.map(|next| {
            let wait = next.duration_since(app.clock.now());
            // A time in the past is no duration: it is due now.
            Duration::try_from(wait).unwrap_or(Duration::ZERO)
        }))
    }

    async fn send(&self, app: &App, notice: Notice) -> Result<(), store::Error> {
        let event = &notice.event;
        let Some(target) = self.targets.get(&notice.receiver) else {
            tracing::warn!(
                event,
                "a message to a receiver that is not configured any more"
            );
            return app.store.remove_notice(notice.seq).await;
        };
        let host = target.url.host_str().unwrap_or_default();
        let error = match target.post(notice.body).await {
            Ok(()) => {
                count("taken");
                return app.store.remove_notice(notice.seq).await;
            }
            Err(error) => chain(&error),
        };
        let attempts = notice.attempts + 1;
        if attempts >= ATTEMPTS {
            count("given-up");
            tracing::error!(event, host, attempts, error, "a message is given up");
            return app.store.remove_notice(notice.seq).await;
        }
        count("failed");
        tracing::warn!(event, host, attempts, error, "a message was not taken");
        let due_at = app.clock.now() + pause(notice.attempts);
        app.store.postpone_notice(notice.seq, due_at).await
    }
}

impl Target {
    async fn post(&self, body: String) -> Result<(), Error> {
        let mut request = Request::post(self.url.as_str()).header(CONTENT_TYPE, self.content_type);
        if let Some(token) = &self.token {
            let token = token.read().map_err(Error::BadToken)?;
            let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Error::BadToken("it is not printable ASCII".to_owned()))?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(Error::BadRequest)?;
        let answer = tokio::time::timeout(TIMEOUT, self.http.request(request)).await;
        let answer = answer.map_err(|_| Error::Timeout)?;
        match answer.map_err(Error::Unreachable)?.status() {
            status if status.is_success() => Ok(()),
            status => Err(Error::Answer(status)),
        }
    }
}

/// How long to wait after an attempt that followed `attempts` others.
fn pause(attempts: u64) -> SignedDuration {
    let doubled = u32::try_from(attempts)
        .ok()
        .and_then(|attempts| 2_i32.checked_pow(attempts))
        .and_then(|factor| FIRST_PAUSE.checked_mul(factor));
    doubled.map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

fn count(result: &'static str) {
    metrics::counter!("syncgate_notices_total", "result" => result).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_all_together_last_about_a_day() {
        let pauses: Vec<i64> = (0..ATTEMPTS - 1).map(|n| pause(n).as_secs()).collect();
        assert_eq!(pauses[..4], [1, 2, 4, 8]);
        assert_eq!(pause(ATTEMPTS), LONGEST_PAUSE);
        assert_eq!(pause(u64::MAX), LONGEST_PAUSE);
        let hours = pauses.iter().sum::<i64>() / 3600;
        assert!((22..26).contains(&hours), "{hours}");
    }
}
