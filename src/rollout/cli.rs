//! What `syncgate rollout` prints.
//!
//! In: answers of the gate. Out: text; what somebody must look at stands out, also in colour where that is wanted.

use std::fmt::Write as _;

use super::interface::{MemberView, RollbackView, RolloutView, StepView};
use super::{State, StepState};
use crate::names::Commit;
use crate::record::cli::{printable, time};
use crate::store::DeploymentState;

const RED: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";

/// Rollouts, one line for each, and one more for its rollback.
#[must_use]
pub fn render(rollouts: &[RolloutView], colour: bool) -> String {
    if rollouts.is_empty() {
        return "no rollout, as far as you may see\n".to_owned();
    }
    rollouts.iter().map(|it| head(it, colour)).collect()
}

/// One rollout with all that is in it.
#[must_use]
pub fn one(rollout: &RolloutView, colour: bool) -> String {
    let mut text = head(rollout, colour);
    for member in &rollout.members {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "    {}", self::member(member));
    }
    if let Some(rollback) = &rollout.rollback {
        let _ = writeln!(text, "  taken back, in this order:");
        for step in &rollback.steps {
            let _ = writeln!(text, "    {}", self::step(step));
        }
    }
    text
}

fn head(rollout: &RolloutView, colour: bool) -> String {
    let mut text = String::new();
    let what = printable(&format!(
        "{} of {} by {} at {}",
        rollout.decision,
        rollout.application,
        rollout.by,
        time(rollout.at)
    ));
    let _ = writeln!(text, "{what}");
    if let Some(rollback) = &rollout.rollback {
        let _ = writeln!(text, "  {}", self::rollback(rollback, colour));
    }
    text
}

/// How far a rollback is, since when and why.
#[must_use]
pub fn rollback(rollback: &RollbackView, colour: bool) -> String {
    let needs_somebody = matches!(rollback.state, State::Proposed | State::Stuck);
    let state = match rollback.state {
        State::Proposed => "ROLLBACK PROPOSED".to_owned(),
        State::Stuck => "ROLLBACK STUCK".to_owned(),
        state => format!("rollback {}", state.word()),
    };
    let (red, plain) = if colour && needs_somebody {
        (RED, PLAIN)
    } else {
        ("", "")
    };
    let by = rollback.by.as_ref();
    let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
    let why = if rollback.why.is_empty() {
        String::new()
    } else {
        format!(": {}", rollback.why)
    };
    let because = format!(
        "{}: {}",
        rollback.because.application, rollback.because.text
    );
    let at = time(rollback.ended_at.unwrap_or(rollback.at));
    let rest = printable(&format!("{by} at {at} ({because}){why}"));
    format!("{red}{state}{plain}{rest}")
}

fn member(member: &MemberView) -> String {
    let state = match member.state {
        None => "not begun",
        Some(DeploymentState::Failed) => "failed",
        Some(DeploymentState::Lost) => "lost",
        Some(DeploymentState::Permitted) => "permitted",
        Some(DeploymentState::Running) => "running",
        Some(DeploymentState::Succeeded) => "succeeded",
    };
    printable(&format!(
        "{} in {}{}: {state}",
        member.application,
        member.environment,
        at(&member.commits)
    ))
}

/// How far one application is.
#[must_use]
pub fn step(step: &StepView) -> String {
    let to = match step.state {
        StepState::Left | StepState::Overtaken => String::new(),
        _ => at(&step.commits).replacen(" at ", " to ", 1),
    };
    let note = if step.note.is_empty() {
        String::new()
    } else {
        format!(" ({})", step.note)
    };
    let state = step.state.word();
    printable(&format!("{}{to}: {state}{note}", step.application))
}

fn at(commits: &[Commit]) -> String {
    if commits.is_empty() {
        return String::new();
    }
    let short: Vec<&str> = commits.iter().map(Commit::short).collect();
    format!(" at {}", short.join("+"))
}
