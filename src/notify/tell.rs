//! Finds out what there is to tell, and puts the messages into the store.
//!
//! In: refusals as they happen; runs that have ended. Out: messages that wait for the sender. A run is
//! told about together with the note that it was, so that a crash neither loses nor repeats it. The same
//! refusal is told once an hour: Argo CD tries an automated sync again and again.

use jiff::SignedDuration;
use serde_json::json;

use super::news::{Kind, News};
use crate::app::App;
use crate::break_glass::BreakGlass;
use crate::digest;
use crate::evidence::run::Counts;
use crate::evidence::verdict::Verdict;
use crate::record::Opening;
use crate::rollout::{self, Rollback, Rollout, State};
use crate::store::{NewNotice, StoredRun};
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
    let notices = notices(app, &news);
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

/// What is to be told of `glass`, which is being opened.
#[must_use]
pub(crate) fn break_glass_opened(app: &App, glass: &BreakGlass) -> Vec<NewNotice> {
    let text = format!(
        "{} broke the glass for {} until {}: {}",
        glass.by,
        applications(glass),
        glass.expires_at.strftime("%Y-%m-%d %H:%M:%SZ"),
        glass.justification
    );
    let news = of_break_glass(app, glass, Kind::BreakGlassOpened, text);
    news.map_or(Vec::new(), |news| notices(app, &news))
}

/// What is to be told of `glass`, whose tests are overdue, for the `nth` time.
#[must_use]
pub(crate) fn break_glass_overdue(app: &App, glass: &BreakGlass, nth: u32) -> Vec<NewNotice> {
    let owing: Vec<String> = glass.owing().map(|s| s.application.to_string()).collect();
    let text = format!(
        "the tests of {} are missing, which {} rolled out by break-glass ({}); they were due at {}",
        owing.join(", "),
        glass.by,
        glass.justification,
        glass.due_at.strftime("%Y-%m-%d %H:%M:%SZ"),
    );
    let news = of_break_glass(app, glass, Kind::BreakGlassOverdue, text);
    news.map_or(Vec::new(), |news| {
        let news = News {
            id: format!("{}-overdue-{nth}", glass.decision),
            at: app.clock.now(),
            ..news
        };
        notices(app, &news)
    })
}

/// What is to be told of `rollback`, of `rollout`, which has just begun, or ended, or is proposed.
#[must_use]
pub(crate) fn rollback(app: &App, rollout: &Rollout, rollback: &Rollback) -> Vec<NewNotice> {
    let Some((kind, text)) = told_of(rollout, rollback) else {
        return Vec::new();
    };
    let environments = rollout.environments();
    let commits = rollout
        .members
        .iter()
        .filter_map(|member| member.to.as_ref());
    let commits = commits.flat_map(|to| to.commits.iter().map(ToString::to_string));
    let now = app.clock.now();
    let news = News {
        kind,
        // The same rollback may be stuck, resumed and stuck again.
        id: format!(
            "{}-{}-{}",
            rollout.decision,
            kind.word(),
            now.as_millisecond()
        ),
        at: now,
        application: rollout.application.clone(),
        environments: environments.iter().map(ToString::to_string).collect(),
        commits: commits.collect(),
        text,
        see: app.rollout_link(rollout.decision),
        facts: json!({
            "rollout": rollout.decision,
            "state": rollback.state,
            "because": rollback.because,
            "by": rollback.by.as_ref().map(crate::identity::Caller::display),
            "steps": rollback.steps.iter().map(|step| json!({
                "application": step.application.to_string(),
                "state": step.state,
                "commits": step.target.as_ref().map(|target| &target.pinned.commits),
                "note": step.note,
            })).collect::<Vec<_>>(),
        }),
    };
    notices(app, &news)
}

/// What people read of a rollback; nothing of one that somebody has ended.
fn told_of(rollout: &Rollout, rollback: &Rollback) -> Option<(Kind, String)> {
    let failing = &rollback.because.application;
    let what = format!("the rollout of {} at {}", rollout.application, rollout.at);
    let because = format!("{failing}: {}", rollback.because.text);
    let way_out = format!("syncgate rollout show {}", rollout.decision);
    Some(match rollback.state {
        State::Abandoned => return None,
        State::Proposed => (
            Kind::RollbackProposed,
            format!(
                "{what} should be taken back ({because}), and is not by itself: {}; {way_out}",
                rollback.why
            ),
        ),
        State::Running => (
            Kind::RollbackStarted,
            format!("{what} is being taken back ({because})"),
        ),
        State::Stuck => (
            Kind::RollbackStuck,
            format!(
                "{what} could not be taken back ({because}): {}; {way_out}",
                rollback.why
            ),
        ),
        State::Superseded => (
            Kind::RollbackEnded,
            format!(
                "{what} was taken back ({because}), but for what was synced meanwhile: {}",
                rollback.why
            ),
        ),
        State::Verified => (
            Kind::RollbackEnded,
            format!("{what} was taken back ({because}); what runs again has passed"),
        ),
    })
}

/// The messages to the receivers that want to know of `news`.
fn notices(app: &App, news: &News) -> Vec<NewNotice> {
    news.notices(app.config.url.as_str(), &app.config.receivers)
}

fn applications(glass: &BreakGlass) -> String {
    let names: Vec<String> = glass
        .scope
        .iter()
        .map(|s| s.application.to_string())
        .collect();
    names.join(", ")
}

fn of_break_glass(app: &App, glass: &BreakGlass, kind: Kind, text: String) -> Option<News> {
    let plans = || glass.scope.iter().map(|scope| &scope.plan);
    let mut environments: Vec<String> = plans().map(|plan| plan.environment.to_string()).collect();
    environments.sort_unstable();
    environments.dedup();
    let commits = plans().flat_map(|plan| plan.sources.iter().map(|s| s.commit.to_string()));
    Some(News {
        kind,
        id: glass.decision.to_string(),
        at: glass.at,
        application: glass.scope.first()?.application.clone(),
        environments,
        commits: commits.collect(),
        text,
        see: app.link(glass.decision),
        facts: json!({
            "by": glass.by,
            "justification": glass.justification,
            "expires_at": glass.expires_at,
            "due_at": glass.due_at,
            "applications": glass.scope.iter().map(|s| s.application.to_string()).collect::<Vec<_>>(),
        }),
    })
}

/// Tells of the runs that have ended badly since this was last asked.
///
/// # Errors
/// [`store::Error`]; the rest is told the next time.
pub(super) async fn runs(app: &App) -> Result<(), rollout::Error> {
    loop {
        let ended = app.store.untold_runs(ROUND).await?;
        for stored in &ended {
            // What a failure calls for is begun before it counts as told, so that a crash does not lose it.
            rollout::run_failed(app, stored).await?;
            let news = failed(app, stored);
            let notices = news.map_or(Vec::new(), |news| notices(app, &news));
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
