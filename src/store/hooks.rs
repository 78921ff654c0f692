//! How hook Jobs ended, beside the runs that came from them.

use rusqlite::Connection;

use super::codec::{json, text};
use super::fault::{Error, Fault};
use super::log::collect;
use super::rows::{Counting, CountingState, HookState, RunId, StoredRun};
use super::runs::{find, run_of, set_counting};
use super::{MAX_ROWS, Store};
use crate::evidence::hook::{Disagreement, HookResult};
use crate::evidence::verdict::{Reason, Verdict};

const READ: &str = "read hooks of runs";

impl Store {
    /// Runs whose hook Job has not been seen to end, oldest first, at most [`MAX_ROWS`].
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn awaiting_hooks(&self) -> Result<Vec<StoredRun>, Error> {
        self.in_hook_state("SELECT * FROM run WHERE hook_state = 'awaited' ORDER BY seq LIMIT ?1")
            .await
    }

    /// Runs that have ended, and whose hook Job has not been held against them, oldest first, at most
    /// [`MAX_ROWS`].
    ///
    /// # Errors
    /// As [`awaiting_hooks`](Self::awaiting_hooks).
    pub async fn unweighed_hooks(&self) -> Result<Vec<StoredRun>, Error> {
        self.in_hook_state(
            "SELECT * FROM run WHERE hook_state = 'heard' AND finish IS NOT NULL
             ORDER BY seq LIMIT ?1",
        )
        .await
    }

    async fn in_hook_state(&self, sql: &'static str) -> Result<Vec<StoredRun>, Error> {
        self.read(READ, move |db| {
            let mut query = db.prepare_cached(sql)?;
            collect(query.query([MAX_ROWS])?, run_of)
        })
        .await
    }

    /// Stores what is known of the hook Job of `run`, if its end was awaited: how it ended
    /// ([`HookState::Heard`]), that there is none, or only which it is. Gives whether it was awaited.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or [`Error::Failed`]; nothing was
    /// stored then.
    pub async fn keep_hook(
        &self,
        run: RunId,
        state: HookState,
        hook: Option<HookResult>,
    ) -> Result<bool, Error> {
        self.write("store how a hook ended", move |db| {
            let hook = hook.map(|hook| json("hook", &hook)).transpose()?;
            let changed = db
                .prepare_cached(
                    "UPDATE run SET hook_state = ?2, hook = ?3
                     WHERE id = ?1 AND hook_state = 'awaited'",
                )?
                .execute((run.to_string(), text("hook_state", &state)?, hook))?;
            Ok(changed > 0)
        })
        .await
    }

    /// Stores that the hook Job of `run` was held against its report: the two agree, or they do not, and then what
    /// `run` counts as from now on, for the reason that is added. A run that counts as failed is a word on
    /// its commits, whatever it waited for, and keeps its place. Gives whether that was not stored yet.
    ///
    /// # Errors
    /// As [`keep_hook`](Self::keep_hook).
    pub async fn weigh_run(
        &self,
        run: RunId,
        disagreement: Option<(Disagreement, Reason)>,
    ) -> Result<bool, Error> {
        self.write("hold a hook against its run", move |db| {
            weigh(db, run, disagreement.as_ref())
        })
        .await
    }
}

fn weigh(
    db: &Connection,
    id: RunId,
    disagreement: Option<&(Disagreement, Reason)>,
) -> Result<bool, Fault> {
    let found = find(db, id)?.filter(|found| found.hook_state == HookState::Heard);
    let Some((found, mut end)) = found.and_then(|found| Some((found.run, found.finish?))) else {
        return Ok(false);
    };
    let written = disagreement
        .map(|(it, _)| json("disagreement", it))
        .transpose()?;
    if let Some((disagreement, reason)) = disagreement {
        end.verdict = disagreement.counts_as;
        end.reasons.push(reason.clone());
    }
    db.prepare_cached(
        "UPDATE run SET hook_state = 'weighed', disagreement = ?2, finish = ?3 WHERE id = ?1",
    )?
    .execute((id.to_string(), written, json("finish", &end)?))?;
    let speaks = disagreement.is_some_and(|(it, _)| it.counts_as == Verdict::Failed);
    if speaks && found.counting.state != CountingState::Counts {
        let word = Counting {
            state: CountingState::Counts,
            reason: String::new(),
        };
        set_counting(db, id, &word)?;
    }
    Ok(true)
}
