//! Runs that are taken back.
//!
//! In: the decision that lets somebody. Out: the run with its withdrawal. A withdrawal is kept with who,
//! when, why and by which decision, and cannot be undone: only a new run opens the gate again.

use super::{Error, Runs};
use crate::evidence::run::{Withdraw, WithdrawnRun};
use crate::names::DecisionId;
use crate::store::{RunId, StoredRun, WithdrawOutcome, Withdrawal};

/// Who withdraws, and the decision that lets them.
#[derive(Clone, Copy, Debug)]
pub struct Withdrawer<'a> {
    /// `Caller::unique`.
    pub unique: &'a str,
    /// `Caller::display`.
    pub display: &'a str,
    /// The decision.
    pub decision: DecisionId,
}

impl Runs {
    /// The run `id`, whoever reported it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn stored(&self, id: RunId) -> Result<Option<StoredRun>, Error> {
        Ok(self.store.run(id).await?)
    }

    /// Takes the run `id` back, from now on. Again, it gives the first withdrawal.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotEnded`] or [`Error::Store`].
    pub async fn withdraw(
        &self,
        withdrawer: Withdrawer<'_>,
        id: RunId,
        withdraw: &Withdraw,
    ) -> Result<WithdrawnRun, Error> {
        withdraw.check()?;
        let withdrawal = Withdrawal {
            by: withdrawer.display.to_owned(),
            caller: withdrawer.unique.to_owned(),
            at: self.clock.now(),
            reason: withdraw.reason.trim().to_owned(),
            decision: withdrawer.decision,
        };
        let outcome = self.store.withdraw_run(id, withdrawal.clone()).await?;
        let withdrawn = match outcome {
            WithdrawOutcome::NotFinished => return Err(Error::NotEnded { run: id }),
            WithdrawOutcome::AlreadyWithdrawn(stored) | WithdrawOutcome::Withdrawn(stored) => {
                stored.withdrawal.unwrap_or(withdrawal)
            }
        };
        Ok(WithdrawnRun {
            run: id.to_string(),
            withdrawn,
            url: self.url(id),
        })
    }
}
