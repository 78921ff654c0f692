//! Finds out what there is to tell, and puts the messages into the store.
//!
//! In: refusals as they happen; runs that have ended. Out: messages that wait for the sender. A run is
//! told about together with the note that it was, so that a crash neither loses nor repeats it. The same
//! refusal is told once an hour: Argo CD tries an automated sync again and again.

use jiff::SignedDuration;
use serde_json::json;

use super::news::{Kind, News};
use crate::app::App;
use crate::digest;
use crate::evidence::run::Counts;
use crate::evidence::verdict::Verdict;
use crate::record::Opening;
use crate::store::{self, StoredRun};
use crate::telemetry::chain;

/// For how long the same refusal is not told again.
const QUIET: SignedDuration = SignedDuration::from_hours(1);
/// How many runs are looked at together.
const ROUND: u32 = 64;
/// How many reasons a message repeats.
const REASONS: usize = 3;

/// Tells that a deploy was refused, and in which `sentence`.
pub(crate) async fn refused(
    app: &App,
    opening: &Opening,
    environments: Vec<String>,
    sentence: String,
) {
    let Some(application) = opening.applications.first() else {
        return;
    };
    let planned = opening.planned.iter().filter_map(|p| p.plan.as_ref());
    let mut commits: Vec<_> = planned
        .flat_map(|plan| plan.sources.iter().map(|source| source.commit.to_string()))
        .collect();
    commits.sort_unstable();
    commits.dedup();
    let caller = opening.caller.as_ref();
    let news = News {
        kind: Kind::DeployRefused,
        id: opening.decision.to_string(),
        at: opening.at,
        application: application.clone(),
        environments,
        commits,
        see: app.link(opening.decision),
        facts: json!({
            "operation": opening.operation,
            "door": opening.door,
            "caller": caller.map(|caller| &caller.display),
        }),
        text: sentence,
    };
    let notices = news.notices(app.config.url.as_str(), &app.config.receivers);
    if notices.is_empty() {
        return;
    }
    let about = json!([news.kind.word(), news.application, news.text]);
    let key = digest::sha256_hex(about.to_string().as_bytes());
    let now = app.clock.now();
    match app.store.tell_once(key, now, now - QUIET, notices).await {
        Ok(true) => app.notices.notify_one(),
        Ok(false) => {}
        Err(error) => {
            let decision = opening.decision;
            tracing::error!(%decision, error = chain(&error), "nobody can be told of a refusal");
        }
    }
}

/// Tells of the runs that have ended badly since this was last asked.
///
/// # Errors
/// [`store::Error`]; the rest is told the next time.
pub(super) async fn runs(app: &App) -> Result<(), store::Error> {
    loop {
        let ended = app.store.untold_runs(ROUND).await?;
        for stored in &ended {
            let news = failed(app, stored);
            let notices = news.map_or(Vec::new(), |news| {
                news.notices(app.config.url.as_str(), &app.config.receivers)
            });
            app.store.tell_run(stored.run.id, notices).await?;
        }
        if ended.len() < ROUND as usize {
            return Ok(());
        }
    }
}

/// What there is to tell of a run; nothing if its tests have passed.
fn failed(app: &App, stored: &StoredRun) -> Option<News> {
    let run = &stored.run;
    let end = stored.finish.as_ref()?;
    if end.verdict == Verdict::Passed {
        return None;
    }
    let reasons: Vec<&str> = end.reasons.iter().map(|r| r.detail.as_str()).collect();
    let commits: Vec<String> = run.commits.iter().map(|c| c.short().to_owned()).collect();
    let text = format!(
        "run of suite {} on {} in {} at {} {}: {}",
        run.suite,
        run.application,
        run.environment,
        commits.join(", "),
        end.verdict.word(),
        reasons.get(..REASONS).unwrap_or(&reasons).join("; "),
    );
    Some(News {
        kind: Kind::RunFailed,
        id: run.id.to_string(),
        at: end.decision.made_at().unwrap_or_else(|| app.clock.now()),
        application: run.application.clone(),
        environments: vec![run.environment.to_string()],
        commits: run.commits.iter().map(ToString::to_string).collect(),
        text,
        see: app.runs.url(run.id),
        facts: json!({
            "run": run.id,
            "suite": run.suite,
            "component": run.component,
            "verdict": end.verdict,
            "tests": end.tests,
            "reporter": run.reporter,
            "counts": Counts::of(stored),
        }),
    })
}
