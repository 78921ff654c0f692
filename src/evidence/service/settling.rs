//! What becomes of runs after the last word of their reporter.
//!
//! In: readings of the applications that runs wait for. Out: runs that passed inside an operation, now
//! settled one way or the other; and an end, made by the gate, for runs whose reporter has fallen
//! silent: a Job that is killed after it reported a failure must not leave an older pass in force.

use jiff::{SignedDuration, Timestamp};

use super::{Error, Runs, binding_of};
use crate::evidence::binding::{Settled, is_hook};
use crate::evidence::run::{Counts, Finish};
use crate::evidence::verdict::BEFORE_SYNC;
use crate::gate::AppFacts;
use crate::names::{AppRef, DecisionId};
use crate::store::{Counting, CountingState, EndedBy, FinishOutcome, RunId, StoredRun};

/// A reporter that was silent for so long will not come back.
const SILENCE: SignedDuration = SignedDuration::from_mins(15);
/// How long an application may be missing before what waits for it is given up.
pub(super) const MISSING: SignedDuration = SignedDuration::from_mins(5);
/// What stands for the exit status of a tool that was not seen to end; no tool ends with it.
const NO_EXIT_STATUS: i32 = -1;

pub(super) const GONE: &str = "the application is gone";

impl Runs {
    /// The applications on whose state it depends what becomes of a run: it passed, and waits for its
    /// operation to end; or its end was not reported, and its operation may have ended or its
    /// reporter has been silent for long; or it comes from a hook Job that has not been seen to end. Each
    /// should be read and given to [`hear`](Self::hear) and [`settle`](Self::settle), or to [`give_up`](Self::give_up) where there is no such application.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn waiting_for(&self) -> Result<Vec<AppRef>, Error> {
        let now = self.clock.now();
        let mut waiting = self.store.pending_runs().await?;
        let unfinished = self.store.unfinished_runs().await?.into_iter();
        waiting.extend(self.store.awaiting_hooks().await?);
        waiting.extend(unfinished.filter(|it| it.run.operation.is_some() || is_silent(it, now)));
        let mut applications: Vec<AppRef> =
            waiting.into_iter().map(|it| it.run.application).collect();
        applications.sort_unstable();
        applications.dedup();
        Ok(applications)
    }

    /// Finds out for the waiting runs of `application` whether they count, now that it reads `now`,
    /// and ends those that their reporters will not end. Gives those that are settled.
    ///
    /// # Errors
    /// [`Error::Store`]; what was settled before stays so.
    pub async fn settle(
        &self,
        application: &AppRef,
        now: &AppFacts,
    ) -> Result<Vec<(RunId, Counts)>, Error> {
        let mut settled = Vec::new();
        for stored in self.store.pending_runs().await? {
            let run = &stored.run;
            if run.application != *application {
                continue;
            }
            let counting = match self.settled_of(&stored, now) {
                Settled::Wait => continue,
                Settled::Counts => Counting {
                    state: CountingState::Counts,
                    reason: String::new(),
                },
                Settled::Void(why) => void(why),
                Settled::BeforeSync => void(BEFORE_SYNC.to_owned()),
            };
            settled.extend(self.settled_as(&stored, counting).await?);
        }
        for stored in self.store.unfinished_runs().await? {
            if stored.run.application != *application {
                continue;
            }
            let outlook = self.settled_of(&stored, now);
            if self.is_over(&stored, &outlook, now) {
                settled.extend(self.interrupted(&stored, outlook).await?);
            }
        }
        Ok(settled)
    }

    /// Gives up what waits for `application`, of which Argo CD says that there is none: runs that
    /// passed more than five minutes ago, runs whose reporter has fallen silent, and hook Jobs. Gives the
    /// runs that are settled by that.
    ///
    /// # Errors
    /// [`Error::Store`]; what was given up before stays so.
    pub async fn give_up(&self, application: &AppRef) -> Result<Vec<(RunId, Counts)>, Error> {
        let now = self.clock.now();
        let mut settled = Vec::new();
        for stored in self.store.pending_runs().await? {
            let ended = stored
                .finish
                .as_ref()
                .and_then(|end| end.decision.made_at());
            let long_ago = ended.is_none_or(|ended| now.duration_since(ended) > MISSING);
            if stored.run.application == *application && long_ago {
                settled.extend(self.settled_as(&stored, void(GONE.to_owned())).await?);
            }
        }
        self.give_up_hooks(application, now).await?;
        for stored in self.store.unfinished_runs().await? {
            if stored.run.application == *application && is_silent(&stored, now) {
                let outlook = Settled::Void(GONE.to_owned());
                settled.extend(self.interrupted(&stored, outlook).await?);
            }
        }
        Ok(settled)
    }

    /// Whether a run without an end will get none from its reporter. An operation that did not end
    /// well has taken its hooks with it. One that did may have been overtaken by tests that somebody
    /// else runs; those may go on.
    fn is_over(&self, stored: &StoredRun, outlook: &Settled, now: &AppFacts) -> bool {
        let bound = binding_of(&stored.run).and_then(|binding| binding.operation);
        let silent = is_silent(stored, self.clock.now());
        match (outlook, bound) {
            (Settled::Wait, _) => false,
            (Settled::Void(_), Some(_)) => true,
            (Settled::Counts, Some(bound)) => silent || is_hook(&bound, now),
            (Settled::BeforeSync, _) | (_, None) => silent,
        }
    }

    /// Ends `stored` in the place of its reporter. It speaks as of when it was last heard: the word of
    /// a pod that was evicted must not outlive the pass of the one that took its place.
    async fn interrupted(
        &self,
        stored: &StoredRun,
        outlook: Settled,
    ) -> Result<Option<(RunId, Counts)>, Error> {
        let id = stored.run.id;
        let finish = Finish {
            exit_status: NO_EXIT_STATUS,
            finished_at: stored.heard_at,
            batches: stored.batches,
            attempts: self.store.attempt_count(id).await?,
            interrupted: true,
            attestation: None,
        };
        let decision = DecisionId::new(stored.heard_at);
        let end = self.judge(stored, decision, &finish, outlook, None).await?;
        Ok(
            match self.store.finish_run(id, &end, EndedBy::Gate).await? {
                FinishOutcome::Finished(after) => Some((id, Counts::of(&after))),
                // The reporter came back in this very moment.
                FinishOutcome::AlreadyAttested { .. }
                | FinishOutcome::AlreadyFinished(_)
                | FinishOutcome::Moved { .. } => None,
            },
        )
    }

    async fn settled_as(
        &self,
        stored: &StoredRun,
        counting: Counting,
    ) -> Result<Option<(RunId, Counts)>, Error> {
        let mut after = stored.clone();
        after.run.counting = counting.clone();
        // Somebody may have withdrawn it in this very moment.
        let settled = self.store.settle_run(stored.run.id, counting).await?;
        Ok(settled.then(|| (stored.run.id, Counts::of(&after))))
    }
}

fn is_silent(stored: &StoredRun, now: Timestamp) -> bool {
    now.duration_since(stored.heard_at) >= SILENCE
}

fn void(reason: String) -> Counting {
    Counting {
        state: CountingState::Void,
        reason,
    }
}
