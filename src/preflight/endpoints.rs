//! Whether each endpoint that the tests will use lets the caller in, and answers.
//!
//! In: names of endpoints. Out: one check for each, all asked at once, none waited for longer than
//! until a given time. [`ask`] is the one place that knows what an endpoint is.

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::interface::{Check, Subject};
use crate::app::App;
use crate::endpoint::{self, Unreachable};
use crate::identity::Caller;

/// What to do about an endpoint that does not answer as it should.
const MEND: &str = "see whether it is up, and whether the gate reaches it";

/// What is wrong with an endpoint, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What was found.
    pub(super) detail: String,
    /// What to do.
    pub(super) mend: String,
}

/// One check for each of `names`, by `ask`, which tells what it found.
pub(super) async fn check<'a, F>(
    names: &'a [String],
    until: Instant,
    ask: impl Fn(&'a str) -> F,
) -> Vec<Check>
where
    F: Future<Output = Result<String, Fault>>,
{
    let one = |name: &'a String| {
        let asked = timeout_at(until, ask(name));
        async move {
            let mut check = match asked.await {
                Ok(Ok(detail)) => Check::good(Subject::Endpoint, detail),
                Ok(Err(fault)) => Check::bad(Subject::Endpoint, fault.detail, fault.mend),
                Err(_) => Check::bad(Subject::Endpoint, "it did not answer in time", MEND),
            };
            check.about = Some(name.clone());
            check
        }
    };
    join_all(names.iter().map(one)).await
}

/// Whether `caller` may read the endpoint `name`, and whether that answers before `until`. Who may not
/// does not make the gate look.
pub(super) async fn ask(
    app: &App,
    caller: &Caller,
    name: &str,
    until: Instant,
) -> Result<String, Fault> {
    let permit =
        endpoint::may_reach(app, caller, name).map_err(|why| refused(caller, name, why))?;
    let left = until.saturating_duration_since(Instant::now());
    endpoint::probe(app, &permit, left)
        .await
        .map_err(|detail| Fault {
            detail,
            mend: MEND.to_owned(),
        })?;
    Ok(format!(
        "may be read in {}, and answers",
        permit.call().environment
    ))
}

fn refused(caller: &Caller, name: &str, why: Unreachable) -> Fault {
    match why {
        Unreachable::Denied(denial) => {
            let advice = denial.advice().join(", or ");
            Fault {
                detail: format!("the policies do not let {} read it", caller.display()),
                mend: if advice.is_empty() {
                    "ask whoever keeps the gate's policies".to_owned()
                } else {
                    advice
                },
            }
        }
        Unreachable::Unknown => Fault {
            detail: "this gate has no endpoint of that name".to_owned(),
            mend: format!(
                "have `[[endpoint]]` with name = \"{name}\" put into the gate's configuration"
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn endpoints_are_asked_at_once_and_one_that_never_answers_is_not_waited_for() {
        let names = ["good", "late", "away", "silent", "mute"].map(str::to_owned);
        let (limit, pause) = (Duration::from_millis(300), Duration::from_millis(150));
        let ask = |name: &str| {
            let name = name.to_owned();
            async move {
                match name.as_str() {
                    "good" | "late" => {
                        tokio::time::sleep(pause).await;
                        Ok("it answers".to_owned())
                    }
                    "away" => Err(Fault {
                        detail: "it refuses connections".into(),
                        mend: "start it".into(),
                    }),
                    _ => std::future::pending().await,
                }
            }
        };
        let begin = Instant::now();
        let checks = check(&names, begin + limit, ask).await;
        let took = begin.elapsed();
        assert!(took >= limit && took < limit + pause, "{took:?}");
        let told = checks
            .iter()
            .map(|check| (check.title(), check.detail.as_str()));
        let told: Vec<_> = told.collect();
        let expected = [
            ("endpoint good", "it answers"),
            ("endpoint late", "it answers"),
            ("endpoint away", "it refuses connections"),
            ("endpoint silent", "it did not answer in time"),
            ("endpoint mute", "it did not answer in time"),
        ];
        assert_eq!(
            told,
            expected.map(|(title, detail)| (title.to_owned(), detail))
        );
        for (check, ok) in checks.iter().zip([true, true, false, false, false]) {
            assert_eq!((check.ok, check.mend.is_none()), (ok, ok), "{check:?}");
        }
    }
}
