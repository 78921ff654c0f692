//! The finding itself: requirements against runs.
//!
//! For each requirement, the runs of the same component in the required environment and suite are
//! looked through for those about the same commits with the same digest; the one that spoke last
//! decides. A run speaks when the server takes in its end, and the server counts; no clock has a part in
//! it. Only a pass meets a requirement; a failure or a refused run that comes later closes the gate
//! again.
//!
//! A run that was withdrawn keeps its place, and is no pass. So to withdraw the last word closes the
//! gate for its commits, whatever passed before it, until a run passes anew; to withdraw an older one
//! changes nothing, since that had nothing to say any more. To withdraw can only close: a failure that
//! is withdrawn does not give its place to the pass before it.
//!
//! Where a requirement names signers, a pass that none of them has signed is passed over: it neither
//! meets the requirement nor takes the word from another run. A failure speaks whoever reports it.

use jiff::{SignedDuration, Timestamp, Unit};
use serde::{Deserialize, Serialize};

use super::{ApplicationPlan, Finding, Gap, GapKind, Worth};
use crate::evidence::verdict::{LeastShare, Reason, ReasonCode, Tests, Verdict, number_of_tests};
use crate::names::{Commit, Component, EnvironmentName, SignerName, SourceDigest, Suite};

/// Characters of the reason of a withdrawal in a refusal, at most; all of it is with the run.
const MAX_REASON: usize = 100;
/// Characters of what is said of a hook Job in a refusal, at most.
const MAX_HOOK: usize = 160;

/// One thing that an environment demands before something is rolled out in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The suite that must have passed.
    pub suite: Suite,
    /// Where it must have run.
    pub environment: EnvironmentName,
    /// How long a pass is good for; for ever if absent.
    pub max_age: Option<SignedDuration>,
    /// How much of the suite must run again, for a run to pass at all.
    pub least_share: LeastShare,
    /// What must be the same.
    pub match_by: MatchBy,
    /// Who must have signed the run, one of these; empty asks for no signature.
    pub signed_by: Vec<SignerName>,
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
    /// Its place among all that reporters said, as the server counted; runs are in the order of these.
    /// The order of opening is not it: a run that began earlier and failed later has the last word.
    pub spoke: u64,
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
    /// Who withdrew it since, if somebody has.
    pub withdrawn: Option<Withdrawn>,
    /// Whose signatures it carries, as the server has verified them when it took in its end.
    pub signed_by: Vec<SignerName>,
    /// When the server took in its end.
    pub finished_at: Timestamp,
}

/// That a run was withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// By whom, for people.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
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

    /// Whether it is a pass that nobody whom the requirement names has signed.
    pub(super) fn lacks_signature(&self, requirement: &Requirement) -> bool {
        let wanted = &requirement.signed_by;
        self.verdict == Verdict::Passed
            && self.withdrawn.is_none()
            && !wanted.is_empty()
            && !self.signed_by.iter().any(|name| wanted.contains(name))
    }

    /// Whether it is a word on what the plan rolls out, commits aside.
    fn speaks(&self, plan: &ApplicationPlan, requirement: &Requirement) -> bool {
        self.standing == Standing::Counts
            && self.has_sources_of(plan)
            && !self.lacks_signature(requirement)
    }

    /// Whether the run, being the last word, meets the requirement.
    fn meets(&self, requirement: &Requirement, now: Timestamp) -> bool {
        matches!(self.worth(requirement, now), Worth::Meets { .. })
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
        .filter(|run| run.speaks(plan, requirement))
        .max_by_key(|run| run.spoke);
    let (kind, bears) = match last {
        Some(run) if run.meets(requirement, now) => return Ok(run),
        Some(run) => (kind_of(run), Some(run)),
        None => {
            let bears = about().max_by_key(|run| run.spoke);
            let kind = match bears.filter(|run| run.standing == Standing::Counts) {
                None => GapKind::Missing,
                Some(run) if run.has_sources_of(plan) => GapKind::Unsigned,
                Some(_) => GapKind::WrongSource,
            };
            (kind, bears)
        }
    };
    Err(Box::new(Gap {
        kind,
        suite: Some(requirement.suite.clone()),
        environment: Some(requirement.environment.clone()),
        last: bears.map(|run| in_words(run, kind, requirement, now)),
        run: bears.map(|run| run.id.clone()),
        would_pass: newest_that_would_pass(plan, requirement, &relevant, now),
        detail: String::new(),
    }))
}

/// Why a run that is the last word does not meet the requirement.
fn kind_of(run: &RunFacts) -> GapKind {
    let has = |code: ReasonCode| run.reasons.iter().any(|reason| reason.code == code);
    match run.verdict {
        _ if run.withdrawn.is_some() => GapKind::Withdrawn,
        Verdict::Passed => GapKind::Stale,
        Verdict::Failed => GapKind::Failed,
        Verdict::Refused if has(ReasonCode::HiddenFailure) || has(ReasonCode::TurnedXfail) => {
            GapKind::Failed
        }
        Verdict::Refused if has(ReasonCode::NoTests) => GapKind::Empty,
        Verdict::Refused if has(ReasonCode::Narrowed) || has(ReasonCode::Shrunk) => GapKind::Shrunk,
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
        .filter(|run| run.speaks(plan, requirement))
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
fn in_words(run: &RunFacts, kind: GapKind, requirement: &Requirement, now: Timestamp) -> String {
    let when = clock_time(run.finished_at, now);
    let verdict = run.verdict.word();
    if let Some(withdrawn) = &run.withdrawn {
        let Withdrawn { by, reason } = withdrawn;
        let reason: String = reason.chars().take(MAX_REASON).collect();
        let id = &run.id;
        return format!("{verdict} {when} in run {id}, which was withdrawn by {by}: {reason}");
    }
    let of = |code: ReasonCode| run.reasons.iter().find(|reason| reason.code == code);
    let all_the_same = match of(ReasonCode::HookSucceeded) {
        Some(_) => "; its Job succeeded all the same",
        None => "",
    };
    match (run.standing, kind) {
        (Standing::Waits, _) => format!("{verdict} {when}, its operation has not ended"),
        (Standing::Void, _) if run.verdict != Verdict::Refused => {
            format!("{verdict} {when}, its operation did not end well")
        }
        (_, GapKind::Unsigned) => format!(
            "{verdict} {when}, not signed by {}; run it again and send its attestation with it \
             (syncgate evidence submit --attestation)",
            one_of(&requirement.signed_by)
        ),
        (_, GapKind::WrongSource) => format!("{verdict} {when}, with other source parameters"),
        (_, GapKind::Stale) => match run.worth(requirement, now) {
            Worth::Stale { since } => {
                format!("{verdict} {when}, too old since {}", clock_time(since, now))
            }
            _ => format!("{verdict} {when}, too long ago"),
        },
        _ if run.verdict == Verdict::Failed => {
            let otherwise = of(ReasonCode::HookFailed);
            let why = otherwise.map_or_else(
                || number_of_tests(run.tests.bad()),
                |reason| reason.detail.chars().take(MAX_HOOK).collect(),
            );
            format!("{verdict} {when}, {why}{all_the_same}")
        }
        _ => {
            let why = run.reasons.iter().find(|reason| !reason.code.only_tells());
            let why = why.map_or("no reason", |reason| reason.code.word());
            format!("{verdict} {when}, {why}{all_the_same}")
        }
    }
}

/// `ci`, or `ci or qa`.
fn one_of(signers: &[SignerName]) -> String {
    let names: Vec<&str> = signers.iter().map(SignerName::as_str).collect();
    names.join(" or ")
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
pub(crate) mod tests;
