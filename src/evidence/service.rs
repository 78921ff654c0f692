//! Runs over the store: what stands behind `/syncgate/v1/runs` once the caller may report.
//!
//! In: checked bodies, the [`Binding`] of the run, what Argo CD says at its end. Out: stored runs and
//! the answers to the reporter; for the gate, the runs that bear on a plan. A run belongs to the caller
//! who opened it, and nobody else may add to it. It refuses batches out of order, runs that are
//! finished, and more than a run may hold. Never: a pass that counts while the operation it belongs
//! to has not ended well.
//!
//! A finished run is in one of three states. *Counts*: it is a word on its commits, a good one
//! (passed) or a bad one (failed, refused). *Pending*: it passed inside an operation that goes on.
//! *Void*: it is no word, because its operation did not end well, or because it was not about these
//! commits after all. A failure counts at once: waiting could only hide it. `settling` looks after
//! those that wait, and ends those whose reporter does not; `hooks` after what Argo CD
//! says of the Jobs that runs come from.

use ulid::Ulid;

use super::attestation::{self, Vouched};
use super::binding::{Binding, Settled};
use super::dsse::Signers;
use super::run::{
    Acknowledged, AttemptBatch, Counts, Finish, Finished, Invalid, MAX_RUN_ATTEMPTS, NewRun,
    Opened, OperationRef,
};
use super::verdict::{BEFORE_SYNC, Material, Ruling, Tally, Verdict, judge};
use crate::clock::Clock;
use crate::gate::AppFacts;
use crate::names::{AppRef, Component, DecisionId, EnvironmentName, Suite};
use crate::store::{
    AppendOutcome, Counting, CountingState, EndedBy, FinishOutcome, FinishRow, InsertOutcome,
    RunId, RunRow, Store, StoredRun,
};

mod error;
mod history;
mod hooks;
mod look_up;
mod settling;
mod shown;
mod withdrawing;

pub use error::Error;
use history::times_digest;
pub use hooks::Disputed;
pub use look_up::{evidence_for, leading_commit};
pub use shown::Required;
pub use withdrawing::Withdrawer;

/// How many of the newest runs of a suite are looked through for the last passing one, and for
/// commits that would pass.
const NEWEST: u32 = 200;
/// Characters of an idempotency key, at most.
const MAX_KEY: usize = 128;
/// How often a verdict is computed again because another batch came in meanwhile.
const JUDGEMENTS: usize = 3;

/// What is tested, as the gate knows it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The Application.
    pub application: AppRef,
    /// The environment it is in.
    pub environment: EnvironmentName,
    /// What it deploys.
    pub component: Component,
}

/// Who reports, and the decision that lets them.
#[derive(Clone, Copy, Debug)]
pub struct Reporter<'a> {
    /// `Caller::unique`.
    pub unique: &'a str,
    /// The decision.
    pub decision: DecisionId,
}

/// The runs of one gate.
#[derive(Clone, Debug)]
pub struct Runs {
    store: Store,
    clock: Clock,
    /// The gate's own address, without a slash at its end.
    gate: String,
    /// What all environments require.
    required: Vec<Required>,
    /// Whose attestations count.
    signers: Signers,
}

impl Runs {
    /// Runs kept in `store`, of the gate that callers reach at `gate` (`https://gate.example`), whose
    /// environments have these requirements.
    #[must_use]
    pub fn new(store: Store, clock: Clock, gate: &str, required: Vec<Required>) -> Self {
        Self {
            store,
            clock,
            gate: gate.trim_end_matches('/').to_owned(),
            required,
            signers: Signers::default(),
        }
    }

    /// The same, where these sign attestations.
    #[must_use]
    pub fn signed_by(mut self, signers: Signers) -> Self {
        self.signers = signers;
        self
    }

    /// The run of `application` and `suite` that this reporter has opened under `key` before, if
    /// there is one. To be asked before anything that could refuse a new run: a reporter who missed
    /// the first answer is given it again, whatever became of the application since.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::KeyReused`] or [`Error::Store`].
    pub async fn opened_before(
        &self,
        reporter: Reporter<'_>,
        key: &str,
        application: &AppRef,
        suite: &Suite,
    ) -> Result<Option<Opened>, Error> {
        check_key(key)?;
        let before = self.store.run_by_key(reporter.unique, key).await?;
        before
            .map(|before| self.opened_again(&before.run, application, suite))
            .transpose()
    }

    /// Opens a run. The same `key` by the same reporter gives the same run again.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::OtherEnvironment`], [`Error::KeyReused`] or [`Error::Store`].
    pub async fn open(
        &self,
        reporter: Reporter<'_>,
        key: Option<&str>,
        new: NewRun,
        subject: &Subject,
        binding: Binding,
    ) -> Result<Opened, Error> {
        new.check()?;
        if let Some(key) = key {
            check_key(key)?;
        }
        if let Some(claimed) = &new.environment
            && *claimed != subject.environment
        {
            return Err(Error::OtherEnvironment {
                application: subject.application.to_string(),
                claimed: claimed.clone(),
                actual: subject.environment.clone(),
            });
        }
        let row = self.row(reporter, key, new, subject, binding);
        match self.store.insert_run(&row).await? {
            InsertOutcome::Inserted(_) => Ok(self.opened(&row)),
            InsertOutcome::Existing(before) => {
                self.opened_again(&before.run, &row.application, &row.suite)
            }
        }
    }

    fn opened_again(
        &self,
        before: &RunRow,
        application: &AppRef,
        suite: &Suite,
    ) -> Result<Opened, Error> {
        if (&before.application, &before.suite) == (application, suite) {
            Ok(self.opened(before))
        } else {
            Err(Error::KeyReused { run: before.id })
        }
    }

    fn row(
        &self,
        reporter: Reporter<'_>,
        key: Option<&str>,
        new: NewRun,
        subject: &Subject,
        binding: Binding,
    ) -> RunRow {
        let now = self.clock.now();
        RunRow {
            id: RunId(DecisionId::new(now).0),
            idempotency_key: key.map(str::to_owned),
            reporter: reporter.unique.to_owned(),
            decision: reporter.decision,
            application: subject.application.clone(),
            environment: subject.environment.clone(),
            component: subject.component.clone(),
            suite: new.suite,
            commits: binding.commits,
            source_digest: Some(binding.source_digest),
            promotion_digest: Some(binding.promotion_digest),
            dirty: new.dirty,
            collected: new.collected,
            tool: new.tool,
            options: new.options,
            operation: binding.operation,
            since: binding.since,
            started_at: new.started_at,
            received_at: now,
            // Not pending: a run that never ends would be asked about for ever.
            counting: Counting {
                state: CountingState::Void,
                reason: "the run has not ended".to_owned(),
            },
        }
    }

    fn opened(&self, run: &RunRow) -> Opened {
        Opened {
            run: run.id.to_string(),
            application: run.application.name.clone(),
            environment: run.environment.clone(),
            component: run.component.clone(),
            suite: run.suite.clone(),
            commits: run.commits.iter().map(ToString::to_string).collect(),
            source_digest: run.source_digest.clone(),
            operation: run.operation.as_ref().map(|operation| OperationRef {
                started_at: operation.started_at,
            }),
            url: self.url(run.id),
            decision: run.decision.to_string(),
        }
    }

    /// Where a run can be read.
    #[must_use]
    pub fn url(&self, run: RunId) -> String {
        format!("{}/syncgate/v1/runs/{run}", self.gate)
    }

    /// Where it can be read what the application was like when a run failed.
    fn snapshot_url(&self, run: RunId) -> String {
        format!("{}/snapshot", self.url(run))
    }

    /// Takes in a batch of attempts. A batch that is there already is acknowledged again.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NoSuchRun`], [`Error::Gap`], [`Error::Over`],
    /// [`Error::TooMany`] or [`Error::Store`].
    pub async fn add(
        &self,
        reporter: Reporter<'_>,
        run: &str,
        mut batch: AttemptBatch,
    ) -> Result<Acknowledged, Error> {
        batch.check()?;
        let stored = self.own(reporter, run).await?;
        let id = stored.run.id;
        let count = batch.attempts.len() as u64;
        let is_new = batch.sequence >= stored.batches;
        if is_new && self.store.attempt_count(id).await? + count > MAX_RUN_ATTEMPTS {
            return Err(Error::TooMany { run: id });
        }
        for attempt in &mut batch.attempts {
            // The store's integers are signed; no test takes 292 million years.
            attempt.duration_ms = attempt.duration_ms.min(i64::MAX as u64);
        }
        let outcome = self
            .store
            .append_attempts(id, batch.sequence, batch.attempts, self.clock.now())
            .await?;
        match outcome {
            AppendOutcome::AlreadyStored { next } | AppendOutcome::Stored { next } => {
                Ok(Acknowledged {
                    run: id.to_string(),
                    next,
                })
            }
            AppendOutcome::Finished => Err(Error::Over { run: id }),
            AppendOutcome::Gap { next } => Err(Error::Gap {
                sent: batch.sequence,
                next,
            }),
        }
    }

    /// The run `id` of this reporter.
    ///
    /// # Errors
    /// [`Error::NoSuchRun`], also for the run of another caller, or [`Error::Store`].
    pub async fn own(&self, reporter: Reporter<'_>, id: &str) -> Result<StoredRun, Error> {
        let missing = || Error::NoSuchRun {
            run: id
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .take(32)
                .collect(),
        };
        let ulid = Ulid::from_string(id).map_err(|_| missing())?;
        let run = self.store.run(RunId(ulid)).await?;
        run.filter(|stored| stored.run.reporter == reporter.unique)
            .ok_or_else(missing)
    }

    /// Ends a run and judges it; `now` is a fresh reading of its application. Ending it again gives
    /// the first judgement. An attestation that does not hold ends nothing.
    ///
    /// # Errors
    /// [`Error::Attestation`], [`Error::NoSuchRun`], [`Error::StillReporting`] or [`Error::Store`].
    pub async fn finish(
        &self,
        reporter: Reporter<'_>,
        run: &str,
        finish: &Finish,
        vouched: Option<Vouched>,
        now: &AppFacts,
    ) -> Result<Finished, Error> {
        let mut stored = self.own(reporter, run).await?;
        let id = stored.run.id;
        // What this reading is judged by may be gone in the next.
        self.hear_of(&stored, now).await?;
        for _ in 0..JUDGEMENTS {
            if let Some(end) = &stored.finish {
                return Ok(self.finished(&stored, end));
            }
            let settled = self.settled_of(&stored, now);
            let end = self
                .judge(
                    &stored,
                    reporter.decision,
                    finish,
                    settled,
                    vouched.as_ref(),
                )
                .await?;
            let outcome = match &vouched {
                None => self.store.finish_run(id, &end, EndedBy::Reporter).await?,
                Some(vouched) => {
                    let envelope = vouched.envelope.as_str().to_owned();
                    self.store.finish_attested_run(id, &end, envelope).await?
                }
            };
            stored = match outcome {
                FinishOutcome::AlreadyAttested { run } => {
                    return Err(attestation::Refused::Replayed { run }.into());
                }
                FinishOutcome::AlreadyFinished(run) | FinishOutcome::Finished(run) => *run,
                FinishOutcome::Moved { .. } => self.own(reporter, run).await?,
            };
        }
        match &stored.finish {
            Some(end) => Ok(self.finished(&stored, end)),
            None => Err(Error::StillReporting { run: id }),
        }
    }

    /// What comes with `finish`, verified; away from the requests that wait for nothing so slow.
    ///
    /// # Errors
    /// [`Error::Attestation`] or [`Error::Verifying`].
    pub async fn vouched(&self, finish: &Finish) -> Result<Option<Vouched>, Error> {
        let Some(envelope) = finish.attestation.clone() else {
            return Ok(None);
        };
        let signers = self.signers.clone();
        let verifying = tokio::task::spawn_blocking(move || Vouched::verify(envelope, &signers));
        let vouched = verifying.await.map_err(|_| Error::Verifying)?;
        Ok(Some(vouched?))
    }

    async fn judge(
        &self,
        stored: &StoredRun,
        decision: DecisionId,
        finish: &Finish,
        settled: Settled,
        vouched: Option<&Vouched>,
    ) -> Result<FinishRow, Error> {
        let run = &stored.run;
        let attempts = self.store.attempts(run.id).await?;
        let tally: Tally = attempts.iter().collect();
        let attempts_digest = times_digest(run, &attempts);
        let replays = match &attempts_digest {
            Some(digest) => self.store.run_with_attempts(digest, run.id).await?,
            None => None,
        };
        let replays = replays.map(|run| run.to_string());
        let least_share = self.least_share(run);
        let before = if least_share.compares() {
            self.before(run).await?
        } else {
            None
        };
        let moved_on = match &settled {
            Settled::Void(why) if run.operation.is_none() => Some(why.as_str()),
            _ => None,
        };
        let ruling = judge(&Material {
            tally: &tally,
            collected: &run.collected,
            options: &run.options,
            finish,
            batches: stored.batches,
            dirty: run.dirty,
            in_operation: run.operation.is_some(),
            other_commit: moved_on,
            before_sync: settled == Settled::BeforeSync,
            replays: replays.as_deref(),
            before: before.as_ref(),
            least_share,
        });
        if let Some(vouched) = vouched {
            let because: Vec<&str> = ruling.reasons.iter().map(|it| it.code.word()).collect();
            vouched.agrees(run, &attempts, ruling.verdict, &because)?;
        }
        Ok(FinishRow {
            decision,
            exit_status: finish.exit_status.into(),
            finished_at: finish.finished_at,
            batches: finish.batches,
            attempts: finish.attempts,
            interrupted: finish.interrupted,
            judged_batches: stored.batches,
            verdict: ruling.verdict,
            reasons: ruling.reasons.clone(),
            tests: ruling.tests,
            counting: counting(&ruling, settled),
            attempts_digest,
            attestation: vouched.map(|it| it.attested.clone()),
        })
    }

    fn finished(&self, stored: &StoredRun, end: &FinishRow) -> Finished {
        let run = &stored.run;
        Finished {
            run: run.id.to_string(),
            verdict: end.verdict,
            reasons: end.reasons.clone(),
            tests: end.tests,
            counts: Counts::of(stored),
            attestation: end.attestation.clone(),
            url: self.url(run.id),
            snapshot: (end.verdict != Verdict::Passed).then(|| self.snapshot_url(run.id)),
            decision: end.decision.to_string(),
        }
    }
}

fn check_key(key: &str) -> Result<(), Invalid> {
    let fits = (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        return Ok(());
    }
    Err(Invalid {
        path: "Idempotency-Key".to_owned(),
        problem: "it is empty, too long or not printable ASCII".to_owned(),
        mend: format!("send a UUID, or at most {MAX_KEY} characters"),
    })
}

/// Whether a run counts from its end on.
fn counting(ruling: &Ruling, settled: Settled) -> Counting {
    let disowned = ruling
        .reasons
        .iter()
        .find(|reason| reason.code.disowns_commits());
    let (state, reason) = match (disowned, ruling.verdict, settled) {
        (Some(reason), _, _) => (CountingState::Void, reason.detail.clone()),
        (None, Verdict::Passed, Settled::Wait) => (
            CountingState::Pending,
            "the operation has not ended".to_owned(),
        ),
        (None, Verdict::Passed, Settled::Void(why)) => (CountingState::Void, why),
        (None, Verdict::Passed, Settled::BeforeSync) => {
            (CountingState::Void, BEFORE_SYNC.to_owned())
        }
        (None, Verdict::Passed, Settled::Counts)
        | (None, Verdict::Failed | Verdict::Refused, _) => (CountingState::Counts, String::new()),
    };
    Counting { state, reason }
}

/// What a stored run is bound to.
fn binding_of(run: &RunRow) -> Option<Binding> {
    Some(Binding {
        commits: run.commits.clone(),
        source_digest: run.source_digest.clone()?,
        promotion_digest: run.promotion_digest.clone()?,
        operation: run.operation.clone(),
        since: run.since.clone(),
    })
}

#[cfg(test)]
mod tests;
