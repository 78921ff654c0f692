//! What one run is worth to one requirement.
//!
//! In: a run, a requirement, the time. Out: its [`Worth`], by which [`find`](super::find()) decides and
//! which `evidence list` shows, so that the two cannot differ. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Requirement, RunFacts, Standing};
use crate::evidence::verdict::Verdict;
use crate::names::EnvironmentName;

/// What a run is worth to a requirement that is about its suite and environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Worth {
    /// It meets the requirement.
    Meets {
        /// When it will be too old; absent if never.
        until: Option<Timestamp>,
    },
    /// It did not pass.
    NotPassed,
    /// It passed, too long ago.
    Stale {
        /// Since when it is too old.
        since: Timestamp,
    },
    /// Another run about the same commits and parameters has spoken later.
    Superseded {
        /// That run.
        by: String,
    },
    /// It passed, but nobody who has to has signed it.
    Unsigned,
    /// It is no word on its commits.
    Void,
    /// It passed in an operation that has not ended.
    Waits,
    /// It was withdrawn.
    Withdrawn,
}

impl RunFacts {
    /// What this run is worth by itself, other runs aside.
    #[must_use]
    pub fn worth(&self, requirement: &Requirement, now: Timestamp) -> Worth {
        let until = requirement.max_age.map(|age| {
            self.finished_at
                .saturating_add(age)
                .unwrap_or(Timestamp::MAX)
        });
        match (self.standing, self.verdict, until) {
            _ if self.withdrawn.is_some() => Worth::Withdrawn,
            (Standing::Void, ..) => Worth::Void,
            (_, Verdict::Failed | Verdict::Refused, _) => Worth::NotPassed,
            (Standing::Waits, ..) => Worth::Waits,
            _ if self.lacks_signature(requirement) => Worth::Unsigned,
            (Standing::Counts, _, Some(until)) if now > until => Worth::Stale { since: until },
            (Standing::Counts, _, until) => Worth::Meets { until },
        }
    }

    /// What this run is worth to a requirement of the environment `required_by`, among `others`.
    #[must_use]
    pub fn worth_among(
        &self,
        others: &[Self],
        requirement: &Requirement,
        required_by: &EnvironmentName,
        now: Timestamp,
    ) -> Worth {
        let worth = self.worth(requirement, now);
        if !matches!(
            worth,
            Worth::Meets { .. } | Worth::Stale { .. } | Worth::Unsigned
        ) {
            return worth;
        }
        let later = others.iter().filter(|other| {
            other.standing == Standing::Counts
                && !other.lacks_signature(requirement)
                && other.spoke > self.spoke
                && other.is_about_the_same(self, required_by)
        });
        later
            .max_by_key(|other| other.spoke)
            .map_or(worth, |other| Worth::Superseded {
                by: other.id.clone(),
            })
    }

    fn is_about_the_same(&self, other: &Self, required_by: &EnvironmentName) -> bool {
        let parameters = if self.environment == *required_by {
            self.source_digest == other.source_digest
        } else {
            self.promotion_digest == other.promotion_digest
        };
        parameters
            && (&self.component, &self.environment, &self.suite)
                == (&other.component, &other.environment, &other.suite)
            && self.commits == other.commits
    }
}
