//! Test runs: opened once per key, finished once, listed newest first.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params_from_iter};

use super::codec::{
    application, from_json, from_text, json, maybe_from_text, maybe_json, maybe_text, plain, seq,
    unsigned,
};
use super::fault::{Error, Fault};
use super::log::collect;
use super::rows::{
    Counting, CountingState, EndedBy, FinishOutcome, FinishRow, HookState, InsertOutcome,
    RunFilter, RunId, RunRow, Seq, StoredRun,
};
use super::{MAX_ROWS, Store, attestations, capped, codec};
use crate::evidence::verdict::ReasonCode;
use crate::names::{Commit, Component, EnvironmentName, Suite};

const READ: &str = "read runs";
/// The number that the next thing said takes.
pub(super) const NEXT_WORD: &str = "(SELECT coalesce(max(spoke), 0) + 1 FROM run)";
pub(super) const UNFINISHED: &str =
    "SELECT * FROM run WHERE finish IS NULL ORDER BY heard_at LIMIT ?1";

impl Store {
    /// Stores a run. When its reporter has opened one under the same idempotency key before, that
    /// one is given back and nothing is stored.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or [`Error::Failed`]; nothing was
    /// stored then.
    pub async fn insert_run(&self, run: &RunRow) -> Result<InsertOutcome, Error> {
        let run = run.clone();
        self.write("store a run", move |db| insert(db, &run)).await
    }

    /// Stores how `run` ended, and by whom. It stays with the first end; and a verdict that was
    /// computed from fewer batches than there are, or before the same attempts were taken in with
    /// another run, is not stored.
    ///
    /// # Errors
    /// [`Error::NoSuchRun`], [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or
    /// [`Error::Failed`]; nothing was stored then.
    pub async fn finish_run(
        &self,
        run: RunId,
        finish: &FinishRow,
        by: EndedBy,
    ) -> Result<FinishOutcome, Error> {
        let finish = finish.clone();
        self.write("finish a run", move |db| self::finish(db, run, &finish, by))
            .await
    }

    /// As [`finish_run`](Self::finish_run), by its reporter and with the `envelope` that `finish` tells
    /// the signers of. One payload finishes one run.
    ///
    /// # Errors
    /// As [`finish_run`](Self::finish_run).
    pub async fn finish_attested_run(
        &self,
        run: RunId,
        finish: &FinishRow,
        envelope: String,
    ) -> Result<FinishOutcome, Error> {
        let finish = finish.clone();
        self.write("finish a run", move |db| {
            attestations::finish(db, run, &finish, &envelope)
        })
        .await
    }

    /// Stores whether `run`, of which that was not known yet, counts from now on, and why. Gives
    /// whether it was not known.
    ///
    /// # Errors
    /// As [`finish_run`](Self::finish_run).
    pub async fn settle_run(&self, run: RunId, counting: Counting) -> Result<bool, Error> {
        self.write("store whether a run counts", move |db| {
            let waits = |found: &StoredRun| found.run.counting.state == CountingState::Pending;
            if !find(db, run)?.as_ref().is_some_and(waits) {
                return Ok(false);
            }
            set_counting(db, run, &counting)?;
            Ok(true)
        })
        .await
    }

    /// The run `id`, if there is one.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn run(&self, id: RunId) -> Result<Option<StoredRun>, Error> {
        self.read(READ, move |db| find(db, id)).await
    }

    /// The run that `reporter` has opened under the idempotency key `key`, if there is one.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_by_key(&self, reporter: &str, key: &str) -> Result<Option<StoredRun>, Error> {
        let (reporter, key) = (reporter.to_owned(), key.to_owned());
        self.read(READ, move |db| find_by_key(db, &reporter, &key))
            .await
    }

    /// The first finished run but `other` whose attempts have this digest, if there is one.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_with_attempts(
        &self,
        digest: &str,
        other: RunId,
    ) -> Result<Option<RunId>, Error> {
        let digest = digest.to_owned();
        self.read(READ, move |db| with_attempts(db, &digest, other))
            .await
    }

    /// The runs that `filter` asks for, newest first.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn runs(&self, filter: RunFilter) -> Result<Vec<StoredRun>, Error> {
        self.read(READ, move |db| {
            let (sql, values) = runs_sql(&filter);
            let mut query = db.prepare_cached(&sql)?;
            collect(query.query(params_from_iter(values))?, run_of)
        })
        .await
    }

    /// The newest `limit` runs of `suite` for `component` in `environment`, newest first.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn runs_for(
        &self,
        component: &Component,
        environment: &EnvironmentName,
        suite: &Suite,
        limit: u32,
    ) -> Result<Vec<StoredRun>, Error> {
        self.runs(RunFilter {
            component: Some(component.clone()),
            environment: Some(environment.clone()),
            suite: Some(suite.clone()),
            limit,
            ..RunFilter::default()
        })
        .await
    }

    /// Runs of which it is not known yet whether they count, oldest first, at most [`MAX_ROWS`].
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn pending_runs(&self) -> Result<Vec<StoredRun>, Error> {
        self.read(READ, |db| {
            let sql = "SELECT * FROM run WHERE counting = 'pending' ORDER BY seq LIMIT ?1";
            let mut query = db.prepare_cached(sql)?;
            collect(query.query([MAX_ROWS])?, run_of)
        })
        .await
    }

    /// Runs without an end, those first that were not heard from for longest, at most [`MAX_ROWS`].
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn unfinished_runs(&self) -> Result<Vec<StoredRun>, Error> {
        self.read(READ, |db| {
            let mut query = db.prepare_cached(UNFINISHED)?;
            collect(query.query([MAX_ROWS])?, run_of)
        })
        .await
    }
}

fn with_attempts(db: &Connection, digest: &str, other: RunId) -> Result<Option<RunId>, Fault> {
    db.prepare_cached(
        "SELECT id FROM run WHERE attempts_digest = ?1 AND id <> ?2 ORDER BY seq LIMIT 1",
    )?
    .query_row((digest, other.to_string()), |row| Ok(from_text(row, "id")))
    .optional()?
    .transpose()
}

fn insert(db: &Connection, run: &RunRow) -> Result<InsertOutcome, Fault> {
    if let Some(key) = &run.idempotency_key
        && let Some(existing) = find_by_key(db, &run.reporter, key)?
    {
        return Ok(InsertOutcome::Existing(Box::new(existing)));
    }
    let seq = insert_row(db, run)?;
    let mut commit =
        db.prepare_cached("INSERT OR IGNORE INTO run_commit (commit_id, run) VALUES (?1, ?2)")?;
    for tested in &run.commits {
        commit.execute((tested.as_str(), seq))?;
    }
    let seq = u64::try_from(seq).map_err(|error| codec::unreadable("seq", error))?;
    Ok(InsertOutcome::Inserted(Seq(seq)))
}

fn insert_row(db: &Connection, run: &RunRow) -> Result<i64, Fault> {
    let mut insert = db.prepare_cached(&format!(
        "INSERT INTO run (id, idempotency_key, reporter, decision, application,
             application_namespace, environment, component, suite, commits, source_digest,
             promotion_digest, dirty, collected, tool, options, operation, since, started_at,
             received_at, heard_at, counting, counting_reason, hook_state, spoke)
         VALUES (:id, :idempotency_key, :reporter, :decision, :application,
             :application_namespace, :environment, :component, :suite, :commits, :source_digest,
             :promotion_digest, :dirty, :collected, :tool, :options, :operation, :since, :started_at,
             :received_at, :received_at, :counting, :counting_reason, :hook_state, {NEXT_WORD})
         RETURNING seq"
    ))?;
    let operation = run
        .operation
        .as_ref()
        .map(|operation| json("operation", operation))
        .transpose()?;
    let since = run
        .since
        .as_ref()
        .map(|since| json("since", since))
        .transpose()?;
    let seq = insert.query_row(
        named_params! {
            ":id": run.id.to_string(),
            ":idempotency_key": run.idempotency_key,
            ":reporter": run.reporter,
            ":decision": run.decision.to_string(),
            ":application": run.application.name,
            ":application_namespace": run.application.namespace.as_deref().unwrap_or_default(),
            ":environment": run.environment.as_str(),
            ":component": run.component.as_str(),
            ":suite": run.suite.as_str(),
            ":commits": json("commits", &run.commits)?,
            ":source_digest": maybe_text("source_digest", run.source_digest.as_ref())?,
            ":promotion_digest": maybe_text("promotion_digest", run.promotion_digest.as_ref())?,
            ":dirty": run.dirty,
            ":collected": json("collected", &run.collected)?,
            ":tool": json("tool", &run.tool)?,
            ":options": json("options", &run.options)?,
            ":operation": operation,
            ":since": since,
            ":started_at": run.started_at.to_string(),
            ":received_at": run.received_at.to_string(),
            ":counting": codec::text("counting", &run.counting.state)?,
            ":counting_reason": run.counting.reason,
            ":hook_state": codec::text("hook_state", &HookState::at_first(run))?,
        },
        |row| row.get(0),
    )?;
    Ok(seq)
}

pub(super) fn finish(
    db: &Connection,
    id: RunId,
    finish: &FinishRow,
    by: EndedBy,
) -> Result<FinishOutcome, Fault> {
    let before = find(db, id)?.ok_or(Error::NoSuchRun { run: id })?;
    if before.finish.is_some() {
        return Ok(FinishOutcome::AlreadyFinished(Box::new(before)));
    }
    if before.batches != finish.judged_batches {
        return Ok(FinishOutcome::Moved {
            batches: before.batches,
        });
    }
    let replayed = || {
        finish
            .reasons
            .iter()
            .any(|it| it.code == ReasonCode::Replayed)
    };
    if let Some(digest) = &finish.attempts_digest
        && with_attempts(db, digest, id)?.is_some()
        && !replayed()
    {
        return Ok(FinishOutcome::Moved {
            batches: before.batches,
        });
    }
    db.prepare_cached("UPDATE run SET finish = ?2, attempts_digest = ?3 WHERE id = ?1")?
        .execute((
            id.to_string(),
            json("finish", finish)?,
            &finish.attempts_digest,
        ))?;
    if by == EndedBy::Reporter {
        db.prepare_cached(&format!("UPDATE run SET spoke = {NEXT_WORD} WHERE id = ?1"))?
            .execute([id.to_string()])?;
    }
    set_counting(db, id, &finish.counting)?;
    let after = find(db, id)?.ok_or(Error::NoSuchRun { run: id })?;
    Ok(FinishOutcome::Finished(Box::new(after)))
}

pub(super) fn set_counting(db: &Connection, id: RunId, counting: &Counting) -> Result<(), Fault> {
    let state = codec::text("counting", &counting.state)?;
    db.prepare_cached("UPDATE run SET counting = ?2, counting_reason = ?3 WHERE id = ?1")?
        .execute((id.to_string(), state, &counting.reason))?;
    Ok(())
}

pub(super) fn find(db: &Connection, id: RunId) -> Result<Option<StoredRun>, Fault> {
    db.prepare_cached("SELECT * FROM run WHERE id = ?1")?
        .query_row([id.to_string()], |row| Ok(run_of(row)))
        .optional()?
        .transpose()
}

fn find_by_key(db: &Connection, reporter: &str, key: &str) -> Result<Option<StoredRun>, Fault> {
    db.prepare_cached("SELECT * FROM run WHERE reporter = ?1 AND idempotency_key = ?2")?
        .query_row((reporter, key), |row| Ok(run_of(row)))
        .optional()?
        .transpose()
}

/// The query for `filter` and its parameters. The index of commits leads where it can: one commit
/// has few runs.
pub(super) fn runs_sql(filter: &RunFilter) -> (String, Vec<Value>) {
    let mut wanted = String::from("1");
    let mut values: Vec<Value> = Vec::new();
    let mut want = |condition: &str, value: Option<&str>| {
        if let Some(value) = value {
            wanted.push_str(" AND ");
            wanted.push_str(condition);
            values.push(value.to_owned().into());
        }
    };
    want(
        "tested.commit_id = ?",
        filter.commit.as_ref().map(Commit::as_str),
    );
    want(
        "run.component = ?",
        filter.component.as_ref().map(Component::as_str),
    );
    want(
        "run.environment = ?",
        filter.environment.as_ref().map(EnvironmentName::as_str),
    );
    want("run.suite = ?", filter.suite.as_ref().map(Suite::as_str));
    want("run.application = ?", filter.application.as_deref());
    if filter.application.is_some() {
        want(
            "run.application_namespace = ?",
            filter.application_namespace.as_deref(),
        );
    }
    let (from, place) = match &filter.commit {
        Some(_) => (
            "run_commit tested CROSS JOIN run ON run.seq = tested.run",
            "tested.run",
        ),
        None => ("run", "run.seq"),
    };
    values.push(i64::from(capped(filter.limit)).into());
    let sql = format!("SELECT run.* FROM {from} WHERE {wanted} ORDER BY {place} DESC LIMIT ?");
    (sql, values)
}

pub(super) fn run_of(row: &Row<'_>) -> Result<StoredRun, Fault> {
    Ok(StoredRun {
        seq: seq(row, "seq")?,
        batches: unsigned(row, "batches")?,
        heard_at: from_text(row, "heard_at")?,
        spoke: unsigned(row, "spoke")?,
        run: RunRow {
            id: from_text(row, "id")?,
            idempotency_key: plain(row, "idempotency_key")?,
            reporter: plain(row, "reporter")?,
            decision: from_text(row, "decision")?,
            application: application(row)?,
            environment: from_text(row, "environment")?,
            component: from_text(row, "component")?,
            suite: from_text(row, "suite")?,
            commits: from_json(row, "commits")?,
            source_digest: maybe_from_text(row, "source_digest")?,
            promotion_digest: maybe_from_text(row, "promotion_digest")?,
            dirty: plain(row, "dirty")?,
            collected: from_json(row, "collected")?,
            tool: from_json(row, "tool")?,
            options: from_json(row, "options")?,
            operation: maybe_json(row, "operation")?,
            since: maybe_json(row, "since")?,
            started_at: from_text(row, "started_at")?,
            received_at: from_text(row, "received_at")?,
            counting: Counting {
                state: from_text(row, "counting")?,
                reason: plain(row, "counting_reason")?,
            },
        },
        finish: maybe_json(row, "finish")?,
        withdrawal: maybe_json(row, "withdrawal")?,
        hook_state: from_text(row, "hook_state")?,
        hook: maybe_json(row, "hook")?,
        disagreement: maybe_json(row, "disagreement")?,
    })
}
