//! What Argo CD says about the hook Job that a run came from, beside what its reporter said.
//!
//! In: what a run is bound to, and readings of its application. Out: how its Job ended ([`hear`]), and
//! whether that agrees with the report ([`weigh`]). Pure. A Job has ended with its try of the operation: before
//! that, what Argo CD shows may be of an earlier try. Of the two the worse counts: a run whose tests passed and
//! whose Job failed is a failure; one whose tests did not pass stays so, whatever its Job says. Never: a result
//! that was not seen taken for a good one.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::evidence::binding::{BoundOperation, CREATED_AGAIN, hooks_of};
use crate::evidence::verdict::{Reason, ReasonCode, Verdict, verdict_of};
use crate::gate::{AppFacts, HookJob, OperationFacts, Phase};
use crate::names::DecisionId;

const REPLACED: &str = "the operation was replaced before its end was seen";
const REPLACED_TRY: &str = "the operation was tried again before the end of the try was seen";
const UNTOLD: &str = "argo cd did not say how the job ended";

/// How the hook Job that a run came from ended, as far as that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookResult {
    /// When Argo CD runs the Job: `hookType` (`PostSync`). Absent where it was never seen.
    pub kind: Option<String>,
    /// The Job, as `namespace/name`. Absent where it was never seen.
    pub job: Option<String>,
    /// How it ended.
    pub phase: HookPhase,
    /// What Argo CD says about that, or why it is not known.
    pub message: String,
    /// When the gate saw it.
    pub seen_at: Timestamp,
}

/// `hookPhase` of Argo CD, or that it was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HookPhase {
    /// The Job could not be run.
    Error,
    /// The Job failed.
    Failed,
    /// Its end was not seen, and nobody knows it any more.
    #[serde(rename = "lost")]
    Lost,
    /// It has not ended.
    Running,
    /// The Job was completed.
    Succeeded,
}

impl HookPhase {
    /// The word of the interface.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::Failed => "Failed",
            Self::Lost => "lost",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
        }
    }

    /// What counts of several hooks that one Job is.
    fn badness(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::Running => 1,
            Self::Lost => 2,
            Self::Failed => 3,
            Self::Error => 4,
        }
    }
}

impl HookResult {
    /// That the end of a Job will not be seen any more, and `why`. `known` is what was seen of it before.
    #[must_use]
    pub fn lost(known: Option<&Self>, why: &str, at: Timestamp) -> Self {
        Self {
            kind: known.and_then(|known| known.kind.clone()),
            job: known.and_then(|known| known.job.clone()),
            phase: HookPhase::Lost,
            message: why.to_owned(),
            seen_at: at,
        }
    }

    fn of(hook: &HookJob, phase: HookPhase, at: Timestamp) -> Self {
        let message = match phase {
            HookPhase::Lost => UNTOLD,
            // What Argo CD says meanwhile may be of an earlier try.
            HookPhase::Running => "",
            HookPhase::Error | HookPhase::Failed | HookPhase::Succeeded => &hook.message,
        };
        Self {
            kind: Some(hook.kind.clone()),
            job: Some(format!("{}/{}", hook.namespace, hook.name)),
            phase,
            message: message.to_owned(),
            seen_at: at,
        }
    }

    /// The Job and how it ended: `shop/tests ended Failed: Job was active longer than specified deadline`.
    fn in_words(&self) -> String {
        let job = self.job.as_deref().unwrap_or("unknown");
        let mut words = format!("{job} ended {}", self.phase.word());
        if !self.message.is_empty() {
            words.push_str(": ");
            words.push_str(&self.message);
        }
        words
    }
}

/// What one reading of an application tells about the hook Job of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// How it ended, or that this will never be known.
    Ended(HookResult),
    /// It has not ended; what is known of it by now.
    GoesOn(Option<HookResult>),
    /// The run comes from no hook Job.
    NoHook,
}

/// What `now`, read at `at`, tells about the hook Job of a run that was bound by `bound`. `known` is what was seen of it
/// before.
#[must_use]
pub fn hear(
    bound: &BoundOperation,
    known: Option<&HookResult>,
    now: &AppFacts,
    at: Timestamp,
) -> Heard {
    let lost = |why| Heard::Ended(HookResult::lost(known, why, at));
    if now.uid != bound.uid {
        return lost(CREATED_AGAIN);
    }
    let Some(operation) = &now.operation else {
        return lost(REPLACED);
    };
    // A reading from before the run was bound may arrive late.
    let order = (operation.started_at.cmp(&bound.started_at))
        .then(tries_shown(operation).cmp(&bound.retry));
    match order {
        Ordering::Less => return Heard::GoesOn(None),
        Ordering::Equal => {}
        Ordering::Greater if operation.started_at == bound.started_at => return lost(REPLACED_TRY),
        Ordering::Greater => return lost(REPLACED),
    }
    let mut hooks = hooks_of(bound, operation);
    if operation.goes_on() && operation.finished_at.is_none() {
        let goes_on = |hook| HookResult::of(hook, HookPhase::Running, at);
        return Heard::GoesOn(hooks.next().map(goes_on));
    }
    hooks
        .map(|hook| HookResult::of(hook, ended(hook.phase), at))
        .max_by_key(|hook| hook.phase.badness())
        .map_or(Heard::NoHook, Heard::Ended)
}

/// Which try the results that `operation` shows are of. While it waits for the next one, it counts that already.
fn tries_shown(operation: &OperationFacts) -> u64 {
    let waits = operation.goes_on() && operation.finished_at.is_some();
    operation.retry.saturating_sub(u64::from(waits))
}

/// How a hook ended, of a try that has.
fn ended(phase: Option<Phase>) -> HookPhase {
    match phase {
        Some(Phase::Error) => HookPhase::Error,
        Some(Phase::Failed) => HookPhase::Failed,
        Some(Phase::Succeeded) => HookPhase::Succeeded,
        Some(Phase::Running | Phase::Terminating) | None => HookPhase::Lost,
    }
}

/// That a reporter and the Job that it ran in say different things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// Which of the two is the worse: [`ReasonCode::HookFailed`] or [`ReasonCode::HookSucceeded`].
    pub reason: ReasonCode,
    /// What the report alone was worth.
    pub reported: Verdict,
    /// What the run counts as.
    pub counts_as: Verdict,
    /// The entry of the log about it.
    pub decision: DecisionId,
}

/// What a report is worth once its Job has been heard, where that changes or remarks anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// What the run counts as.
    pub verdict: Verdict,
    /// What is to be said of it beside what was found before.
    pub reason: Reason,
}

/// Holds a report, judged as `reasons`, against `hook`. `passed_since` says that a later run of the same tests in the
/// same Job passed: a Job that has tried again ends as its last try does, and contradicts nobody. None if the two
/// agree.
#[must_use]
pub fn weigh(reasons: &[Reason], hook: &HookResult, passed_since: bool) -> Option<Weighed> {
    let complains = complains(reasons);
    let words = hook.in_words();
    let reason = match hook.phase {
        HookPhase::Error | HookPhase::Failed if !complains => Reason {
            code: ReasonCode::HookFailed,
            detail: format!("the Job says otherwise: {words}"),
        },
        HookPhase::Succeeded if complains && !passed_since => Reason {
            code: ReasonCode::HookSucceeded,
            detail: format!("the Job succeeded all the same: {words}"),
        },
        _ => return None,
    };
    let all: Vec<Reason> = reasons.iter().chain([&reason]).cloned().collect();
    Some(Weighed {
        verdict: verdict_of(&all),
        reason,
    })
}

/// Whether a report speaks against what was tested. That a run is not about its commits does not.
#[must_use]
pub fn complains(reasons: &[Reason]) -> bool {
    let speaks = |reason: &Reason| !reason.code.disowns_commits() && !reason.code.only_tells();
    reasons.iter().any(speaks)
}

#[cfg(test)]
mod tests;
