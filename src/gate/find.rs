//! The finding itself: requirements against runs.
//!
//! For each requirement, the runs of the same component in the required environment and suite are
//! looked through for those about the same commits with the same digest; the one that spoke last
//! decides. A run speaks when the server takes in its end. Only a pass meets a requirement; a failure,
//! a refused run or a withdrawal that comes later closes the gate again.

use jiff::{SignedDuration, Timestamp, Unit};
use serde::{Deserialize, Serialize};

use super::{ApplicationPlan, Finding, Gap, GapKind};
use crate::evidence::verdict::{Reason, ReasonCode, Tests, Verdict, number_of_tests};
use crate::names::{Commit, Component, DecisionId, EnvironmentName, SourceDigest, Suite};

/// One thing that an environment demands before something is rolled out in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The suite that must have passed.
    pub suite: Suite,
    /// Where it must have run.
    pub environment: EnvironmentName,
    /// How long a pass is good for; for ever if absent.
    pub max_age: Option<SignedDuration>,
    /// What must be the same.
    pub match_by: MatchBy,
}

/// What a run and a plan must have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MatchBy {
    /// Every source of the same repository at the same commit.
    #[default]
    Commit,
}

/// The runs that bear on a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvidenceFor {
    /// In any order.
    pub runs: Vec<RunFacts>,
}

/// What the gate has to know about one finished run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFacts {
    /// Its identifier.
    pub id: String,
    /// The decision that took in its end; runs are in the order of these. The order of opening is
    /// not it: a run that began earlier and failed later has the last word.
    pub spoke: DecisionId,
    /// What was tested.
    pub component: Component,
    /// Where.
    pub environment: EnvironmentName,
    /// By which suite.
    pub suite: Suite,
    /// At which commits, one per source.
    pub commits: Vec<Commit>,
    /// The digest of the sources in that environment. Repositories are part of it.
    pub source_digest: SourceDigest,
    /// The same without what may vary between environments.
    pub promotion_digest: SourceDigest,
    /// What the run is worth.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<Reason>,
    /// How many tests ended how.
    pub tests: Tests,
    /// Whether it is a word on its commits.
    pub standing: Standing,
    /// Whether it was withdrawn since.
    pub withdrawn: bool,
    /// When the server took in its end.
    pub finished_at: Timestamp,
}

/// Whether a finished run is a word on its commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Counts,
    /// It never will be.
    Void,
    /// It will be, if the operation it belongs to ends well.
    Waits,
}

impl RunFacts {
    /// Whether the run is about what the plan rolls out, commits aside. Inside one environment every
    /// parameter must be the same; for promotion, those that may vary are left out.
    fn has_sources_of(&self, plan: &ApplicationPlan) -> bool {
        if self.environment == plan.environment {
            self.source_digest == plan.source_digest
        } else {
            self.promotion_digest == plan.promotion_digest
        }
    }

    fn has_commits_of(&self, plan: &ApplicationPlan) -> bool {
        self.commits
            .iter()
            .eq(plan.sources.iter().map(|s| &s.commit))
    }

    fn is_fresh(&self, requirement: &Requirement, now: Timestamp) -> bool {
        requirement
            .max_age
            .is_none_or(|age| now.duration_since(self.finished_at) <= age)
    }

    /// Whether the run, being the last word, meets the requirement.
    fn meets(&self, requirement: &Requirement, now: Timestamp) -> bool {
        self.verdict == Verdict::Passed && !self.withdrawn && self.is_fresh(requirement, now)
    }
}

/// Finds out whether the evidence suffices. `incumbent` says that these very commits and parameters
/// were permitted and ran in the environment before: they may come back although their evidence is
/// gone or old, but not once it has failed or was withdrawn.
#[must_use]
pub fn find(
    plan: &ApplicationPlan,
    requirements: &[Requirement],
    evidence: &EvidenceFor,
    incumbent: bool,
    now: Timestamp,
) -> Finding {
    if requirements.is_empty() {
        return Finding::Exempt;
    }
    let mut runs = Vec::new();
    let mut gaps = Vec::new();
    for requirement in requirements {
        match look_at(plan, requirement, evidence, now) {
            Ok(run) => runs.push(run.id.clone()),
            Err(gap) => gaps.push(*gap),
        }
    }
    let spoken_against = |gap: &Gap| matches!(gap.kind, GapKind::Failed | GapKind::Withdrawn);
    if gaps.is_empty() {
        Finding::Satisfied { runs }
    } else if incumbent && !gaps.iter().any(spoken_against) {
        Finding::Incumbent
    } else {
        Finding::Blocked { gaps }
    }
}

/// The run that meets one requirement, or the gap.
fn look_at<'a>(
    plan: &ApplicationPlan,
    requirement: &Requirement,
    evidence: &'a EvidenceFor,
    now: Timestamp,
) -> Result<&'a RunFacts, Box<Gap>> {
    let MatchBy::Commit = requirement.match_by;
    let relevant: Vec<&RunFacts> = evidence
        .runs
        .iter()
        .filter(|run| {
            run.component == plan.component
                && run.environment == requirement.environment
                && run.suite == requirement.suite
        })
        .collect();
    let about = || relevant.iter().filter(|run| run.has_commits_of(plan));
    let last = about()
        .filter(|run| run.standing == Standing::Counts && run.has_sources_of(plan))
        .max_by_key(|run| run.spoke);
    let (kind, bears) = match last {
        Some(run) if run.meets(requirement, now) => return Ok(run),
        Some(run) => (kind_of(run), Some(run)),
        None => {
            let bears = about().max_by_key(|run| run.spoke);
            let other = bears
                .is_some_and(|run| run.standing == Standing::Counts && !run.has_sources_of(plan));
            let kind = if other {
                GapKind::WrongSource
            } else {
                GapKind::Missing
            };
            (kind, bears)
        }
    };
    Err(Box::new(Gap {
        kind,
        suite: Some(requirement.suite.clone()),
        environment: Some(requirement.environment.clone()),
        last: bears.map(|run| in_words(run, kind, now)),
        would_pass: newest_that_would_pass(plan, requirement, &relevant, now),
        detail: String::new(),
    }))
}

/// Why a run that is the last word does not meet the requirement.
fn kind_of(run: &RunFacts) -> GapKind {
    let has = |code: ReasonCode| run.reasons.iter().any(|reason| reason.code == code);
    match run.verdict {
        _ if run.withdrawn => GapKind::Withdrawn,
        Verdict::Passed => GapKind::Stale,
        Verdict::Failed => GapKind::Failed,
        Verdict::Refused if has(ReasonCode::HiddenFailure) => GapKind::Failed,
        Verdict::Refused if has(ReasonCode::NoTests) => GapKind::Empty,
        Verdict::Refused if has(ReasonCode::Shrunk) => GapKind::Shrunk,
        Verdict::Refused => GapKind::Missing,
    }
}

/// The newest commits of the component that would meet the requirement with the parameters of this
/// plan: those of the newest run that is itself the last word on its commits.
fn newest_that_would_pass(
    plan: &ApplicationPlan,
    requirement: &Requirement,
    relevant: &[&RunFacts],
    now: Timestamp,
) -> Option<Vec<Commit>> {
    let mut words: Vec<&RunFacts> = relevant
        .iter()
        .copied()
        .filter(|run| run.standing == Standing::Counts && run.has_sources_of(plan))
        .collect();
    words.sort_by_key(|run| std::cmp::Reverse(run.spoke));
    let is_last_word = |run: &RunFacts| {
        let first = words.iter().find(|other| other.commits == run.commits);
        first.is_some_and(|other| other.id == run.id)
    };
    words
        .iter()
        .find(|run| run.meets(requirement, now) && is_last_word(run))
        .map(|run| run.commits.clone())
}

/// A run in a few words: `failed 14:02, 2 tests`.
fn in_words(run: &RunFacts, kind: GapKind, now: Timestamp) -> String {
    let when = clock_time(run.finished_at, now);
    let verdict = run.verdict.word();
    match (run.standing, kind) {
        (Standing::Waits, _) => format!("{verdict} {when}, its operation has not ended"),
        (Standing::Void, _) if run.verdict != Verdict::Refused => {
            format!("{verdict} {when}, its operation did not end well")
        }
        (_, GapKind::Withdrawn) => format!("{verdict} {when}, withdrawn"),
        (_, GapKind::WrongSource) => format!("{verdict} {when}, with other source parameters"),
        (_, GapKind::Stale) => format!("{verdict} {when}, too long ago"),
        _ if run.verdict == Verdict::Failed => {
            format!("{verdict} {when}, {}", number_of_tests(run.tests.bad()))
        }
        _ => {
            let why = run.reasons.first().map_or("no reason", |r| r.code.word());
            format!("{verdict} {when}, {why}")
        }
    }
}

/// `14:02`, with the date before it unless that is today's; UTC.
fn clock_time(at: Timestamp, now: Timestamp) -> String {
    let day = |t: Timestamp| t.strftime("%Y-%m-%d").to_string();
    let at = at.round(Unit::Second).unwrap_or(at);
    if day(at) == day(now) {
        at.strftime("%H:%M").to_string()
    } else {
        at.strftime("%Y-%m-%d %H:%M").to_string()
    }
}

#[cfg(test)]
mod tests;
