//! What stands in the way of a test run, told before it begins: `POST /syncgate/v1/preflight`.
//!
//! In: what a test job is about to do (an application, a suite, endpoints) and what its clock says. Out:
//! one [`Check`] for each thing that could fail an hour later, each with what to do about it, within
//! [`BUDGET`] also when Argo CD or an endpoint does not answer. Whoever has signed in may ask, about
//! themselves: `Preflight.check` is an action like any other, on record as a read. It refuses a body out
//! of bounds, and more askers at a time than [`AT_A_TIME`]. Never: a word about an application that a
//! refused report would not say; a permission (the run is decided on when it is opened).
//!
//! | module | says |
//! |---|---|
//! | [`interface`] | what is asked and answered |
//! | `checks` | credential, lifetime and clock: pure |
//! | `report` | whether the caller may report, which commits that would be about, how long the suite takes |
//! | `endpoints` | whether each endpoint lets the caller in, and answers |
//! | [`cli`] | the other side, `syncgate preflight` |

mod checks;
pub mod cli;
mod endpoints;
pub mod interface;
mod report;

use std::time::Duration;

use http::{Response, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::body::Body;
use crate::draft::Draft;
use crate::evidence::run;
use crate::identity::Caller;
use crate::own;
use crate::policy::Resource;
use crate::respond::{Credential, Rejection};
use interface::{Answer, Asked, Check};

/// The action that policies know.
pub(crate) const ACTION: &str = "Preflight.check";
/// How long everything may take; the rest of two seconds is for the way.
pub const BUDGET: Duration = Duration::from_millis(1_600);
/// How long Argo CD, or one endpoint, may take. They are asked at once.
const PATIENCE: Duration = Duration::from_millis(1_200);
/// What is left at the least, of a caller who took long to send the question.
const LEAST: Duration = Duration::from_millis(400);
/// How long a caller waits for another to be done, when too many ask at once.
const QUEUE: Duration = Duration::from_millis(300);
/// Callers that are answered at a time: each of them makes the gate ask others.
const AT_A_TIME: usize = 32;
/// Bytes of a question, at most.
const MAX_BODY_BYTES: usize = 64 << 10;

/// What all preflights share.
pub(crate) struct Shared {
    under_way: Semaphore,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            under_way: Semaphore::new(AT_A_TIME),
        }
    }
}

/// What authentication gives, but not later than the others who are asked.
pub(crate) async fn soon<T>(
    authenticated: impl Future<Output = Result<T, Rejection>>,
) -> Result<T, Rejection> {
    let until = Instant::now() + PATIENCE;
    timeout_at(until, authenticated).await.unwrap_or_else(|_| {
        Err(Rejection::Unauthenticated {
            credential: Credential::Invalid("keys-unavailable"),
            sentence: "the keys of the token's issuer cannot be read now: try again in a minute"
                .to_owned(),
        })
    })
}

/// Answers one preflight.
pub(crate) async fn answer(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    body: &[u8],
) -> Result<Response<Body>, Rejection> {
    let deadline = Instant::now() + BUDGET.saturating_sub(draft.elapsed()).max(LEAST);
    if body.len() > MAX_BODY_BYTES {
        return Err(Rejection::TooLarge {
            limit: MAX_BODY_BYTES,
        });
    }
    let asked: Asked = run::read(body).map_err(|error| own::invalid(&error))?;
    asked.check().map_err(|error| own::invalid(&error))?;
    draft.facts(vec![asked.application_ref()], about(&asked, &[]));
    own::ask(app, draft, caller, ACTION, Resource::Gate)?;
    let place = app.preflight.under_way.acquire();
    let Ok(Ok(_place)) = timeout_at(Instant::now() + QUEUE, place).await else {
        return Err(Rejection::Overloaded);
    };
    let answer = checked(app, draft, caller, &asked, deadline).await;
    let failed: Vec<&Check> = answer.checks.iter().filter(|check| !check.ok).collect();
    draft.facts(vec![asked.application_ref()], about(&asked, &failed));
    own::answer(app, draft, StatusCode::OK, &answer).await
}

/// All checks, the slow ones at once, done by `deadline`.
async fn checked(
    app: &App,
    draft: &Draft,
    caller: &Caller,
    asked: &Asked,
    deadline: Instant,
) -> Answer {
    let now = app.clock.now();
    let until = deadline.min(Instant::now() + PATIENCE);
    let (report, endpoints) = tokio::join!(
        report::check(app, caller, asked, until, deadline),
        endpoints::check(&asked.endpoints, until, |name| endpoints::ask(
            app, caller, name, until
        )),
    );
    let expected = asked.expected_seconds.or(report.takes);
    let mut checks = vec![
        checks::credential(caller, now),
        checks::lifetime(caller, expected, now),
        checks::clock(asked.now, now),
        report.check,
    ];
    checks.extend(endpoints);
    Answer {
        ok: checks.iter().all(|check| check.ok),
        gate: app.config.url.as_str().trim_end_matches('/').to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now,
        caller: caller.display(),
        expires_at: caller.expires_at,
        expected_seconds: expected,
        checks,
        decision: draft.decision().to_string(),
    }
}

/// What the record keeps of the question and what came of it.
fn about(asked: &Asked, failed: &[&Check]) -> serde_json::Value {
    let failed: Vec<_> = failed.iter().map(|check| check.title()).collect();
    json!({ "suite": asked.suite, "endpoints": asked.endpoints, "failed": failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_that_never_come_are_not_waited_for() {
        let begin = Instant::now();
        let never = std::future::pending::<Result<(), Rejection>>();
        let refused = soon(never).await.unwrap_err();
        assert!(begin.elapsed() < PATIENCE + LEAST);
        assert_eq!(refused.word(), "unauthenticated");
        assert!(refused.sentence().contains("try again"));
        assert!(
            PATIENCE + LEAST <= BUDGET,
            "what waiting for keys leaves is enough"
        );
    }
}
