//! Runs for those who ask about them, with what each is worth now.
//!
//! In: a filter or an identifier. Out: views. What a run is worth is told by the rules of the gate
//! itself, so a list never says of a run that it counts where a sync would be refused for it.

use std::collections::HashMap;

use jiff::Timestamp;

use super::look_up::facts_of;
use super::{Error, NEWEST, Runs};
use crate::evidence::view::{Bearing, RunSummary, RunView, SnapshotLink};
use crate::gate::{Requirement, RunFacts};
use crate::names::{Commit, Component, EnvironmentName, Suite};
use crate::store::{RunFilter, RunId, SnapshotOf, StoredRun};

/// What an environment requires.
#[derive(Clone, Debug)]
pub struct Required {
    /// Which environment requires it.
    pub by: EnvironmentName,
    /// What.
    pub requirement: Requirement,
}

/// Runs that speak about the same.
type Target = (Component, EnvironmentName, Suite, Commit);

impl Runs {
    /// The runs that `filter` asks for, newest first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, filter: RunFilter) -> Result<Vec<RunSummary>, Error> {
        let stored = self.store.runs(filter).await?;
        let now = self.clock.now();
        let mut known = HashMap::new();
        let mut list = Vec::with_capacity(stored.len());
        for run in &stored {
            list.push(self.summary(run, now, &mut known).await?);
        }
        Ok(list)
    }

    /// The run `id` with its attempts, whoever reported it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn show(&self, id: RunId) -> Result<Option<RunView>, Error> {
        let Some(stored) = self.store.run(id).await? else {
            return Ok(None);
        };
        let attempts = self.store.attempts(id).await?;
        let now = self.clock.now();
        let summary = self.summary(&stored, now, &mut HashMap::new()).await?;
        let snapshot = self.store.snapshot(SnapshotOf::Run(id)).await?;
        let snapshot = snapshot.map(|snapshot| SnapshotLink {
            taken_at: snapshot.taken_at,
            url: self.snapshot_url(id),
            summary: snapshot.summary(),
        });
        Ok(Some(RunView::of(&stored, summary, snapshot, attempts)))
    }

    /// The envelope that the run `id` was finished with, as it was sent, if it was with one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn attestation(&self, id: RunId) -> Result<Option<String>, Error> {
        Ok(self.store.attestation(id).await?)
    }

    async fn summary(
        &self,
        stored: &StoredRun,
        now: Timestamp,
        known: &mut HashMap<Target, Vec<RunFacts>>,
    ) -> Result<RunSummary, Error> {
        let mut summary = RunSummary::of(stored);
        let run = &stored.run;
        let required: Vec<&Required> = self.required_of(&run.environment, &run.suite).collect();
        let (Some(facts), Some(commit)) = (facts_of(stored), run.commits.first()) else {
            return Ok(summary);
        };
        if required.is_empty() {
            return Ok(summary);
        }
        let target = (
            run.component.clone(),
            run.environment.clone(),
            run.suite.clone(),
            commit.clone(),
        );
        if !known.contains_key(&target) {
            let about = self.about(&target).await?;
            known.insert(target.clone(), about);
        }
        let others = known.get(&target).map(Vec::as_slice).unwrap_or_default();
        summary.bears_on = required
            .into_iter()
            .map(|required| Bearing {
                required_by: required.by.clone(),
                worth: facts.worth_among(others, &required.requirement, &required.by, now),
            })
            .collect();
        Ok(summary)
    }

    async fn about(&self, target: &Target) -> Result<Vec<RunFacts>, Error> {
        let (component, environment, suite, commit) = target.clone();
        let stored = self
            .store
            .runs(RunFilter {
                component: Some(component),
                environment: Some(environment),
                suite: Some(suite),
                commit: Some(commit),
                limit: NEWEST,
                ..RunFilter::default()
            })
            .await?;
        Ok(stored.iter().filter_map(facts_of).collect())
    }

    /// The requirements that runs of `suite` in `environment` can meet.
    pub(super) fn required_of(
        &self,
        environment: &EnvironmentName,
        suite: &Suite,
    ) -> impl Iterator<Item = &Required> {
        self.required.iter().filter(move |required| {
            let requirement = &required.requirement;
            requirement.environment == *environment && requirement.suite == *suite
        })
    }
}
