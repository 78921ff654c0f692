//! The schema: numbered steps, forward only.
//!
//! A file says which schema it has in `user_version` and that it is ours in `application_id`. A
//! new file gets every step, an older one those it lacks, each in a transaction of its own. A file
//! of a newer version, or of another program, is refused: guessing could harm a record.

use std::path::Path;

use rusqlite::Connection;

use super::fault::{Cause, Error};

/// Every step, in order; step `n` (from 1) leads to schema `n`. Steps are never edited once
/// released.
const STEPS: &[&str] = &[
    include_str!("migrations/0001_start.sql"),
    include_str!("migrations/0002_runs.sql"),
    include_str!("migrations/0003_intents.sql"),
    include_str!("migrations/0004_operations.sql"),
    include_str!("migrations/0005_words.sql"),
    include_str!("migrations/0006_hooks.sql"),
    include_str!("migrations/0007_attestations.sql"),
    include_str!("migrations/0008_lines.sql"),
    include_str!("migrations/0009_told.sql"),
    include_str!("migrations/0010_snapshots.sql"),
    include_str!("migrations/0011_break_glass.sql"),
    include_str!("migrations/0012_rollouts.sql"),
    include_str!("migrations/0013_commits.sql"),
    include_str!("migrations/0014_sessions.sql"),
];

/// `SynG`, so that `file` and we can tell a store of ours from another database.
const APPLICATION_ID: i64 = 0x5379_6e47;

/// The schema that this version works with.
pub(super) fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Brings the file to the schema of this version.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let found = schema_of(connection, path)?;
    if found > known() {
        return Err(mismatch(path, found));
    }
    let done = usize::try_from(found).unwrap_or_default();
    for (step, number) in STEPS.iter().zip(1..=known()).skip(done) {
        apply(connection, step, number).map_err(|error| failed(path, error))?;
    }
    Ok(())
}

/// Checks that the file has exactly the schema of this version, for readers that must not write.
pub(super) fn require_known(connection: &Connection, path: &Path) -> Result<(), Error> {
    match schema_of(connection, path)? {
        found if found == known() => Ok(()),
        found => Err(mismatch(path, found)),
    }
}

fn apply(connection: &mut Connection, step: &str, number: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(step)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", number)?;
    transaction.commit()
}

/// The schema of the file: 0 for one with nothing in it.
fn schema_of(connection: &Connection, path: &Path) -> Result<i64, Error> {
    let pragma = |name: &str| -> rusqlite::Result<i64> {
        connection.pragma_query_value(None, name, |row| row.get(0))
    };
    let read = || -> rusqlite::Result<(i64, i64, i64)> {
        let tables =
            connection.query_row("SELECT count(*) FROM sqlite_schema", (), |r| r.get(0))?;
        Ok((pragma("application_id")?, pragma("user_version")?, tables))
    };
    match read().map_err(|error| failed(path, error))? {
        (APPLICATION_ID, version, _) if version > 0 => Ok(version),
        (0, 0, 0) => Ok(0),
        _ => Err(Error::NotOurs {
            path: path.to_owned(),
        }),
    }
}

fn mismatch(path: &Path, found: i64) -> Error {
    Error::Schema {
        path: path.to_owned(),
        found,
        known: known(),
    }
}

fn failed(path: &Path, error: rusqlite::Error) -> Error {
    Error::Open {
        path: path.to_owned(),
        step: "set up the schema of",
        source: Cause::new(error),
    }
}
