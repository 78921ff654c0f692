//! The envelopes that runs were finished with: each once, and for good.

use rusqlite::{Connection, OptionalExtension as _};

use super::codec::from_text;
use super::fault::{Error, Fault};
use super::rows::{EndedBy, FinishOutcome, FinishRow, RunId};
use super::{Store, runs};

impl Store {
    /// The envelope that `run` was finished with, as it was sent, if it was with one.
    ///
    /// # Errors
    /// [`Error::Failed`] or [`Error::Closed`].
    pub async fn attestation(&self, run: RunId) -> Result<Option<String>, Error> {
        self.read("read an attestation", move |db| {
            let sql = "SELECT envelope FROM attestation JOIN run ON run.seq = attestation.run
                       WHERE run.id = ?1";
            let mut query = db.prepare_cached(sql)?;
            Ok(query
                .query_row([run.to_string()], |row| row.get(0))
                .optional()?)
        })
        .await
    }
}

/// Finishes `id` with `envelope`, unless its payload has finished another run.
pub(super) fn finish(
    db: &Connection,
    id: RunId,
    end: &FinishRow,
    envelope: &str,
) -> Result<FinishOutcome, Fault> {
    let payload = end.attestation.as_ref().map(|it| &it.payload_sha256);
    if let Some(run) = finished_by(db, payload, id)? {
        return Ok(FinishOutcome::AlreadyAttested { run });
    }
    let outcome = runs::finish(db, id, end, EndedBy::Reporter)?;
    if let FinishOutcome::Finished(_) = &outcome {
        db.prepare_cached(
            "INSERT INTO attestation (run, payload_sha256, envelope)
             VALUES ((SELECT seq FROM run WHERE id = ?1), ?2, ?3)",
        )?
        .execute((id.to_string(), payload, envelope))?;
    }
    Ok(outcome)
}

/// The run but `other` that `payload` has finished.
fn finished_by(
    db: &Connection,
    payload: Option<&String>,
    other: RunId,
) -> Result<Option<RunId>, Fault> {
    db.prepare_cached(
        "SELECT run.id FROM run JOIN attestation ON attestation.run = run.seq
         WHERE attestation.payload_sha256 = ?1 AND run.id <> ?2",
    )?
    .query_row((payload, other.to_string()), |row| Ok(from_text(row, "id")))
    .optional()?
    .transpose()
}
