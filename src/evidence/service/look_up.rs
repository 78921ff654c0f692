//! From stored runs to what the gate compares with a plan.

use super::NEWEST;
use crate::gate::{ApplicationPlan, EvidenceFor, Requirement, RunFacts, Standing, Withdrawn};
use crate::names::{Commit, is_full_sha};
use crate::store::{self, CountingState, RunFilter, Store, StoredRun};

/// The runs in `store` that bear on `plan`: for each requirement, the newest about its commits and the
/// newest of the component.
///
/// # Errors
/// [`store::Error`].
pub async fn evidence_for(
    store: &Store,
    plan: &ApplicationPlan,
    requirements: &[Requirement],
) -> Result<EvidenceFor, store::Error> {
    let mut evidence = EvidenceFor::default();
    for requirement in requirements {
        let newest = RunFilter {
            component: Some(plan.component.clone()),
            environment: Some(requirement.environment.clone()),
            suite: Some(requirement.suite.clone()),
            limit: NEWEST,
            ..RunFilter::default()
        };
        let about = RunFilter {
            commit: leading_commit(&plan.commits()).cloned(),
            ..newest.clone()
        };
        for filter in [about, newest] {
            let stored = store.runs(filter).await?;
            evidence.runs.extend(stored.iter().filter_map(facts_of));
        }
    }
    evidence
        .runs
        .sort_by(|a, b| (a.spoke, &a.id).cmp(&(b.spoke, &b.id)));
    evidence.runs.dedup_by(|a, b| a.id == b.id);
    Ok(evidence)
}

/// The commit by which runs about several sources are looked for: the one from Git is the one that moves.
#[must_use]
pub fn leading_commit(commits: &[Commit]) -> Option<&Commit> {
    let mut from_git = commits.iter();
    let from_git = from_git.find(|commit| is_full_sha(commit.as_str()));
    from_git.or_else(|| commits.first())
}

/// What the gate has to know about a run; nothing for one that has not ended, or that is bound to
/// nothing.
pub(super) fn facts_of(stored: &StoredRun) -> Option<RunFacts> {
    let run = &stored.run;
    let end = stored.finish.as_ref()?;
    Some(RunFacts {
        id: run.id.to_string(),
        spoke: stored.spoke,
        component: run.component.clone(),
        environment: run.environment.clone(),
        suite: run.suite.clone(),
        commits: run.commits.clone(),
        source_digest: run.source_digest.clone()?,
        promotion_digest: run.promotion_digest.clone()?,
        verdict: end.verdict,
        reasons: end.reasons.clone(),
        tests: end.tests,
        standing: match run.counting.state {
            CountingState::Counts => Standing::Counts,
            CountingState::Pending => Standing::Waits,
            CountingState::Void => Standing::Void,
        },
        withdrawn: stored.withdrawal.as_ref().map(|withdrawal| Withdrawn {
            by: withdrawal.by.clone(),
            reason: withdrawal.reason.clone(),
        }),
        signed_by: end
            .attestation
            .as_ref()
            .map(|it| it.signed_by.clone())
            .unwrap_or_default(),
        // By the gate's clock; the reporter's own is no measure of age.
        finished_at: end.decision.made_at()?,
    })
}
