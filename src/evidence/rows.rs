//! Between the words of this room and the rows of the store.
//!
//! Each conversion takes its value apart by name, so that a new field cannot be forgotten. The store
//! keeps words where this room has closed enums; a word that is none of ours could only have been
//! written by a newer version, whose file the store does not open.

use std::collections::BTreeMap;

use crate::evidence::run::{Attempt, Collected, Counts, Outcome, Tool};
use crate::evidence::verdict::{Reason, ReasonCode, Tests, Verdict};
use crate::store::{self, AttemptRow, CountingState, TestOutcome};

pub(super) fn attempt_row(attempt: Attempt) -> AttemptRow {
    let Attempt {
        test,
        attempt,
        outcome,
        duration_ms,
        started_at,
        message,
        worker,
    } = attempt;
    AttemptRow {
        test,
        attempt,
        outcome: match outcome {
            Outcome::Error => TestOutcome::Error,
            Outcome::Failed => TestOutcome::Failed,
            Outcome::Passed => TestOutcome::Passed,
            Outcome::Skipped => TestOutcome::Skipped,
            Outcome::Xfailed => TestOutcome::Xfailed,
            Outcome::Xpassed => TestOutcome::Xpassed,
        },
        // The store's integers are signed; no test takes 292 million years.
        duration_ms: duration_ms.min(i64::MAX as u64),
        started_at,
        message,
        worker,
    }
}

pub(super) fn attempt(row: AttemptRow) -> Attempt {
    let AttemptRow {
        test,
        attempt,
        outcome,
        duration_ms,
        started_at,
        message,
        worker,
    } = row;
    Attempt {
        test,
        attempt,
        outcome: match outcome {
            TestOutcome::Error => Outcome::Error,
            TestOutcome::Failed => Outcome::Failed,
            TestOutcome::Passed => Outcome::Passed,
            TestOutcome::Skipped => Outcome::Skipped,
            TestOutcome::Xfailed => Outcome::Xfailed,
            TestOutcome::Xpassed => Outcome::Xpassed,
        },
        duration_ms,
        started_at,
        message,
        worker,
    }
}

pub(super) fn collected_row(collected: Collected) -> store::Collected {
    let Collected {
        tests,
        digest,
        deselected,
    } = collected;
    store::Collected {
        tests,
        digest: Some(digest),
        deselected,
    }
}

pub(super) fn collected(row: &store::Collected) -> Collected {
    Collected {
        tests: row.tests,
        // Every run that this room stores has one.
        digest: row.digest.clone().unwrap_or_default(),
        deselected: row.deselected,
    }
}

pub(super) fn tool_row(tool: Tool) -> store::Tool {
    let Tool {
        name,
        version,
        plugin,
        python,
        platform,
    } = tool;
    store::Tool {
        name,
        version,
        plugin,
        python,
        platform,
    }
}

pub(super) fn tool(row: &store::Tool) -> Tool {
    let store::Tool {
        name,
        version,
        plugin,
        python,
        platform,
    } = row.clone();
    Tool {
        name,
        version,
        plugin,
        python,
        platform,
    }
}

pub(super) fn verdict_row(verdict: Verdict) -> store::Verdict {
    match verdict {
        Verdict::Failed => store::Verdict::Failed,
        Verdict::Passed => store::Verdict::Passed,
        Verdict::Refused => store::Verdict::Refused,
    }
}

pub(super) fn verdict(row: store::Verdict) -> Verdict {
    match row {
        store::Verdict::Failed => Verdict::Failed,
        store::Verdict::Passed => Verdict::Passed,
        store::Verdict::Refused => Verdict::Refused,
    }
}

pub(super) fn reason_rows(reasons: &[Reason]) -> Vec<store::Reason> {
    let row = |reason: &Reason| store::Reason {
        code: reason.code.word().to_owned(),
        detail: reason.detail.clone(),
    };
    reasons.iter().map(row).collect()
}

pub(super) fn reasons(rows: &[store::Reason]) -> Vec<Reason> {
    let reason = |row: &store::Reason| {
        Some(Reason {
            code: ReasonCode::from_word(&row.code)?,
            detail: row.detail.clone(),
        })
    };
    rows.iter().filter_map(reason).collect()
}

pub(super) fn tests_row(tests: Tests) -> BTreeMap<String, u64> {
    let Tests {
        total,
        passed,
        failed,
        error,
        skipped,
        xfailed,
        xpassed,
        retried,
    } = tests;
    let counts = [
        ("total", total),
        ("passed", passed),
        ("failed", failed),
        ("error", error),
        ("skipped", skipped),
        ("xfailed", xfailed),
        ("xpassed", xpassed),
        ("retried", retried),
    ];
    counts.map(|(name, count)| (name.to_owned(), count)).into()
}

pub(super) fn tests(row: &BTreeMap<String, u64>) -> Tests {
    let count = |name: &str| row.get(name).copied().unwrap_or_default();
    Tests {
        total: count("total"),
        passed: count("passed"),
        failed: count("failed"),
        error: count("error"),
        skipped: count("skipped"),
        xfailed: count("xfailed"),
        xpassed: count("xpassed"),
        retried: count("retried"),
    }
}

/// From when on a run with this verdict and standing can meet a requirement.
pub(super) fn counts(verdict: store::Verdict, standing: CountingState) -> Counts {
    match (verdict, standing) {
        (store::Verdict::Refused, _) | (_, CountingState::Void) => Counts::Never,
        (_, CountingState::Pending) => Counts::WhenOperationSucceeds,
        (_, CountingState::Counts) => Counts::Now,
    }
}
