//! Runs beside the hook Jobs that they came from.
//!
//! In: readings of applications. Out: how each Job ended, stored with its run; and runs of which their
//! Jobs say something else ([`Disputed`]), which are put on record before what they are worth is
//! changed. It does not matter which comes first, the end of the report or that of the Job. A Job that cannot be
//! seen to end any more is lost, and its run no pass. Never: a run that waits for its Job for ever.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::settling::{GONE, MISSING};
use super::{Error, NEWEST, Runs, binding_of};
use crate::evidence::binding::{BoundOperation, Settled, settle};
use crate::evidence::hook::{
    Disagreement, Heard, HookPhase, HookResult, Weighed, complains, hear, weigh,
};
use crate::evidence::verdict::Verdict;
use crate::gate::AppFacts;
use crate::names::{AppRef, DecisionId};
use crate::store::{FinishRow, HookState, RunFilter, RunId, StoredRun};

/// No Job is awaited for longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);
const TOO_LONG: &str = "the operation has not ended within a week";
const UNKNOWN_END: &str = "it is not known that the hook Job succeeded";

/// A run of which its hook Job says something else than its reporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disputed {
    /// The run, as it was stored until now.
    pub stored: StoredRun,
    /// How its Job ended.
    pub hook: HookResult,
    /// What the report alone is worth.
    pub reported: Verdict,
    /// What both are worth.
    pub weighed: Weighed,
}

impl Disputed {
    /// The particulars, for the record.
    #[must_use]
    pub fn facts(&self) -> Value {
        let run = &self.stored.run;
        json!({
            "run": run.id,
            "component": run.component,
            "environment": run.environment,
            "suite": run.suite,
            "commits": run.commits,
            "operation": run.operation,
            "hook": self.hook,
            "reported": self.reported,
            "counts_as": self.weighed.verdict,
            "reason": self.weighed.reason,
        })
    }
}

impl Runs {
    /// Stores what `now` tells about the hook Jobs of runs of `application`. Gives those that have ended by it.
    ///
    /// # Errors
    /// [`Error::Store`]; what was stored before stays so.
    pub async fn hear(
        &self,
        application: &AppRef,
        now: &AppFacts,
    ) -> Result<Vec<(RunId, HookResult)>, Error> {
        let mut heard = Vec::new();
        for stored in self.store.awaiting_hooks().await? {
            if stored.run.application == *application {
                let hook = self.hear_of(&stored, now).await?;
                heard.extend(hook.map(|hook| (stored.run.id, hook)));
            }
        }
        Ok(heard)
    }

    /// Stores what `now` tells about the hook Job of `stored`. Gives how it ended, if it has by this.
    pub(super) async fn hear_of(
        &self,
        stored: &StoredRun,
        now: &AppFacts,
    ) -> Result<Option<HookResult>, Error> {
        let (run, known, at) = (&stored.run, stored.hook.as_ref(), self.clock.now());
        let Some(bound) = &run.operation else {
            return Ok(None);
        };
        let (state, hook) = match hear(bound, known, now, at) {
            _ if stored.hook_state != HookState::Awaited => return Ok(None),
            Heard::GoesOn(_) if at.duration_since(run.received_at) > LONGEST => {
                let lost = HookResult::lost(known, TOO_LONG, at);
                (HookState::Heard, Some(lost))
            }
            Heard::GoesOn(Some(hook)) if known.is_none() => (HookState::Awaited, Some(hook)),
            Heard::GoesOn(_) => return Ok(None),
            Heard::NoHook => (HookState::None, None),
            Heard::Ended(hook) => (HookState::Heard, Some(hook)),
        };
        let kept = self.store.keep_hook(run.id, state, hook.clone()).await?;
        Ok(hook.filter(|_| kept && state == HookState::Heard))
    }

    /// Whether a run waits for the end of a hook Job of `application`, which is in `home` where it is named without a
    /// namespace; by which name.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn awaiting(&self, application: &AppRef, home: &str) -> Result<Vec<AppRef>, Error> {
        let namespace = |it: &AppRef| it.namespace.clone().unwrap_or_else(|| home.to_owned());
        let awaiting = self.store.awaiting_hooks().await?.into_iter();
        let mut names: Vec<AppRef> = awaiting
            .map(|stored| stored.run.application)
            .filter(|it| it.name == application.name && namespace(it) == namespace(application))
            .collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Gives up the hook Jobs of `application`, which has been missing for some minutes.
    pub(super) async fn give_up_hooks(
        &self,
        application: &AppRef,
        now: Timestamp,
    ) -> Result<(), Error> {
        for stored in self.store.awaiting_hooks().await? {
            let long_ago = now.duration_since(stored.heard_at) > MISSING;
            if stored.run.application == *application && long_ago {
                let lost = HookResult::lost(stored.hook.as_ref(), GONE, now);
                self.store
                    .keep_hook(stored.run.id, HookState::Heard, Some(lost))
                    .await?;
            }
        }
        Ok(())
    }

    /// Holds runs against their hook Jobs, once both have ended. Gives those that disagree; each should be put on
    /// record and given to [`dispute`](Self::dispute).
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn disputed(&self) -> Result<Vec<Disputed>, Error> {
        let mut disputed = Vec::new();
        for stored in self.store.unweighed_hooks().await? {
            let (Some(end), Some(hook)) = (&stored.finish, &stored.hook) else {
                continue;
            };
            let passed_since = self.passed_since(&stored, hook).await?;
            match weigh(&end.reasons, hook, passed_since) {
                None => {
                    self.store.weigh_run(stored.run.id, None).await?;
                }
                Some(weighed) => disputed.push(Disputed {
                    hook: hook.clone(),
                    reported: end.verdict,
                    weighed,
                    stored,
                }),
            }
        }
        Ok(disputed)
    }

    /// Lets a run count as what it is worth beside its hook Job, as the entry `decision` of the log says.
    /// Gives whether that is new.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn dispute(&self, disputed: &Disputed, decision: DecisionId) -> Result<bool, Error> {
        let Weighed { verdict, reason } = disputed.weighed.clone();
        let disagreement = Disagreement {
            reason: reason.code,
            reported: disputed.reported,
            counts_as: verdict,
            decision,
        };
        let run = disputed.stored.run.id;
        let new = self.store.weigh_run(run, Some((disagreement, reason)));
        Ok(new.await?)
    }

    /// Whether a later run of the same suite, from the same Job in the same try of the operation, passed.
    async fn passed_since(&self, stored: &StoredRun, hook: &HookResult) -> Result<bool, Error> {
        let run = &stored.run;
        if hook.phase != HookPhase::Succeeded {
            return Ok(false);
        }
        let of_suite = RunFilter {
            application: Some(run.application.name.clone()),
            suite: Some(run.suite.clone()),
            commit: run.commits.first().cloned(),
            limit: NEWEST,
            ..RunFilter::default()
        };
        let job = |it: &StoredRun| it.hook.as_ref().and_then(|hook| hook.job.clone());
        let later = self.store.runs(of_suite).await?.into_iter();
        Ok(later
            .filter(|later| later.spoke > stored.spoke)
            .filter(|later| try_of(later) == try_of(stored) && job(later) == hook.job)
            .any(|later| passed(later.finish.as_ref())))
    }

    /// Whether `stored` may count, given what Argo CD says now. No run of a hook Job does that is not known to have
    /// succeeded.
    pub(super) fn settled_of(&self, stored: &StoredRun, now: &AppFacts) -> Settled {
        let Some(binding) = binding_of(&stored.run) else {
            return Settled::Void("the run is bound to no commits".to_owned());
        };
        let settled = settle(&binding, now);
        let (Settled::Counts, Some(bound)) = (&settled, &binding.operation) else {
            return settled;
        };
        let heard = match (stored.hook_state, &stored.hook) {
            (HookState::Awaited, known) => hear(bound, known.as_ref(), now, self.clock.now()),
            (_, Some(hook)) => Heard::Ended(hook.clone()),
            (_, None) => Heard::NoHook,
        };
        match heard {
            Heard::GoesOn(_) => Settled::Wait,
            Heard::Ended(hook) if hook.phase != HookPhase::Succeeded => {
                Settled::Void(UNKNOWN_END.to_owned())
            }
            Heard::Ended(_) | Heard::NoHook => Settled::Counts,
        }
    }
}

/// Names the try of the operation that a run belongs to.
fn try_of(stored: &StoredRun) -> Option<(&str, Timestamp, u64)> {
    let BoundOperation {
        uid,
        started_at,
        retry,
        ..
    } = stored.run.operation.as_ref()?;
    Some((uid, *started_at, *retry))
}

fn passed(end: Option<&FinishRow>) -> bool {
    end.is_some_and(|end| !complains(&end.reasons))
}
