//! What a run is compared with: the newest passing run of its suite, and every report before it.
//!
//! A tool writes down when each test began and how long it took. Two runs do not agree in that to the
//! last digit; a report that was handed in before does, also where somebody has edited its outcomes.
//! Tools that write whole seconds only may agree by chance, so their reports are known again among those
//! of the same component and suite alone.

use std::fmt::Write as _;

use super::{Error, NEWEST, Runs};
use crate::digest::sha256_hex;
use crate::evidence::run::Attempt;
use crate::evidence::verdict::{Before, LeastShare, Verdict};
use crate::store::{CountingState, RunRow};

impl Runs {
    /// The newest passing run of the same component, environment and suite. One that was withdrawn is
    /// no measure.
    pub(super) async fn before(&self, run: &RunRow) -> Result<Option<Before>, Error> {
        let newest = self
            .store
            .runs_for(&run.component, &run.environment, &run.suite, NEWEST)
            .await?;
        let passing = newest.iter().find_map(|stored| {
            let end = stored.finish.as_ref()?;
            let counts =
                stored.run.counting.state == CountingState::Counts && stored.withdrawal.is_none();
            (counts && end.verdict == Verdict::Passed).then_some((&stored.run, end.tests))
        });
        let Some((passing, tests)) = passing else {
            return Ok(None);
        };
        let attempts = self.store.attempts(passing.id).await?;
        Ok(Some(Before {
            tests,
            options: passing.options.clone(),
            tally: attempts.iter().collect(),
        }))
    }

    /// The share that the strictest environment demands of this suite.
    pub(super) fn least_share(&self, run: &RunRow) -> LeastShare {
        self.required_of(&run.environment, &run.suite)
            .map(|required| required.requirement.least_share)
            .max()
            .unwrap_or_default()
    }
}

/// The SHA-256 of which attempts there were, when and for how long, in hexadecimal, whatever their order
/// and outcomes; none without attempts.
pub(super) fn times_digest(run: &RunRow, attempts: &[Attempt]) -> Option<String> {
    if attempts.is_empty() {
        return None;
    }
    let mut attempts: Vec<&Attempt> = attempts.iter().collect();
    attempts.sort_by(|a, b| {
        (&a.test, a.attempt, a.started_at).cmp(&(&b.test, b.attempt, b.started_at))
    });
    let mut text = String::new();
    let coarse = |attempt: &Attempt| attempt.started_at.subsec_nanosecond() == 0;
    if attempts.iter().all(|it| coarse(it)) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{} {}", run.component, run.suite);
    }
    for attempt in attempts {
        let Attempt {
            test,
            attempt: number,
            started_at,
            duration_ms,
            ..
        } = attempt;
        // There is no line end in the name of a test.
        let _ = writeln!(text, "{number} {started_at} {duration_ms} {test}");
    }
    Some(sha256_hex(text.as_bytes()))
}
