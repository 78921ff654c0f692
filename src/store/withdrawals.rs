//! Runs that are taken back.

use rusqlite::Connection;

use super::Store;
use super::codec::json;
use super::fault::{Error, Fault};
use super::rows::{Counting, CountingState, RunId, WithdrawOutcome, Withdrawal};
use super::runs::{find, set_counting};

impl Store {
    /// Takes `run` back. It stays with the first withdrawal. A run of which it is not known yet
    /// whether it counts is a word from now on: to wait could only hide what was said about it.
    ///
    /// # Errors
    /// [`Error::NoSuchRun`], [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or
    /// [`Error::Failed`]; nothing was stored then.
    pub async fn withdraw_run(
        &self,
        run: RunId,
        withdrawal: Withdrawal,
    ) -> Result<WithdrawOutcome, Error> {
        self.write("withdraw a run", move |db| withdraw(db, run, &withdrawal))
            .await
    }
}

fn withdraw(db: &Connection, id: RunId, withdrawal: &Withdrawal) -> Result<WithdrawOutcome, Fault> {
    let before = find(db, id)?.ok_or(Error::NoSuchRun { run: id })?;
    if before.withdrawal.is_some() {
        return Ok(WithdrawOutcome::AlreadyWithdrawn(Box::new(before)));
    }
    if before.finish.is_none() {
        return Ok(WithdrawOutcome::NotFinished);
    }
    db.prepare_cached("UPDATE run SET withdrawal = ?2 WHERE id = ?1")?
        .execute((id.to_string(), json("withdrawal", withdrawal)?))?;
    if before.run.counting.state == CountingState::Pending {
        let word = Counting {
            state: CountingState::Counts,
            reason: String::new(),
        };
        set_counting(db, id, &word)?;
    }
    let after = find(db, id)?.ok_or(Error::NoSuchRun { run: id })?;
    Ok(WithdrawOutcome::Withdrawn(Box::new(after)))
}
