//! How much is stored, where a limit depends on it.

use super::Store;
use super::codec::unsigned;
use super::fault::Error;
use super::rows::RunId;

impl Store {
    /// How many attempts of `run` are stored; 0 for a run that does not exist. Counts in the index,
    /// without reading the attempts.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn attempt_count(&self, run: RunId) -> Result<u64, Error> {
        self.read("count attempts", move |db| {
            db.prepare_cached(
                "SELECT count(*) AS attempts FROM attempt
                 WHERE run = (SELECT seq FROM run WHERE id = ?1)",
            )?
            .query_row([run.to_string()], |row| Ok(unsigned(row, "attempts")))?
        })
        .await
    }
}
