//! What the gate finds: a plan and its evidence become a [`Finding`].
//!
//! In: what would be rolled out ([`ApplicationPlan`]), what the environment requires, and the runs
//! that bear on it. Out: a finding, which Cedar sees and decides about. Pure: no clock, no network,
//! no store. It never allows anything.
//!
//! [`plan()`] makes the plan from what Argo CD says, [`find()`] the finding, [`sentence()`] the line
//! that a refused caller reads. [`Worth`] is what one run is worth to one requirement.

mod facts;
mod find;
#[cfg(test)]
pub(crate) mod model;
mod plan;
mod sentence;
mod worth;

#[cfg(test)]
pub(crate) use facts::testing;
pub use facts::{
    AppFacts, HookJob, OperationFacts, Phase, Resolved, Sources, SyncStatus, Unreadable, hook_jobs,
};
pub(crate) use facts::{commit_of, target_revision};
#[cfg(test)]
pub(crate) use find::tests as finding;
pub use find::{EvidenceFor, MatchBy, Requirement, RunFacts, Standing, Withdrawn, find};
pub use plan::{AskedRevisions, Place, plan, recorded};
pub use sentence::{MAX_LENGTH, Refused, sentence};
pub use worth::Worth;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::{AppRef, Commit, Component, EnvironmentName, SourceDigest, Suite};

/// What a deploy call will roll out on one application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationPlan {
    /// Which application.
    pub application: AppRef,
    /// The uid of the Application object that was read; a re-created application has another.
    pub uid: String,
    /// The environment it belongs to.
    pub environment: EnvironmentName,
    /// What is promoted.
    pub component: Component,
    /// Every source with what it is pinned to, in the order of the spec. One entry for a single
    /// source.
    pub sources: Vec<PinnedSource>,
    /// Whether `spec.sources` (plural) is what Argo CD uses.
    pub multi_source: bool,
    /// Digest of all sources as written in the spec (target revisions left out): what must match
    /// inside one environment.
    pub source_digest: SourceDigest,
    /// The same without the fields that may vary between environments: what must match for
    /// promotion.
    pub promotion_digest: SourceDigest,
}

/// One source and what it is pinned to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedSource {
    /// The repository, as the spec names it.
    pub repository: String,
    /// The revision as the spec or the request named it (`main`), for people.
    pub asked: String,
    /// What it is.
    pub commit: Commit,
}

impl ApplicationPlan {
    /// What it is pinned to, one for each source.
    #[must_use]
    pub fn commits(&self) -> Vec<Commit> {
        let commits = self.sources.iter().map(|source| source.commit.clone());
        commits.collect()
    }

    /// The digests of `sources` (each the JSON of one Argo CD `ApplicationSource`): whole, and with
    /// the fields named in `varies` (dotted JSON paths such as `helm.valueFiles`) left out.
    /// `targetRevision` is in neither: the commits stand for it. Members that are blank are in
    /// neither, as Argo CD leaves them out where it writes the same source.
    #[must_use]
    pub fn digests(sources: &[Value], varies: &[String]) -> (SourceDigest, SourceDigest) {
        let whole: Vec<Value> = sources
            .iter()
            .map(|s| without(&crate::json::without_blanks(s), &["targetRevision".into()]))
            .collect();
        let promoted: Vec<Value> = whole.iter().map(|s| without(s, varies)).collect();
        (digest_of(whole), digest_of(promoted))
    }
}

fn digest_of(sources: Vec<Value>) -> SourceDigest {
    let bytes = crate::digest::canonical_json(&Value::Array(sources));
    #[expect(
        clippy::expect_used,
        reason = "hexadecimal SHA-256 is what a SourceDigest is"
    )]
    SourceDigest::parse(crate::digest::sha256_hex(&bytes)).expect("hexadecimal SHA-256")
}

/// `source` without the fields at `paths`; an object left empty by that is left out too, so that
/// "no kustomize block" and "a block with only a namespace" promote alike.
fn without(source: &Value, paths: &[String]) -> Value {
    let mut copy = source.clone();
    for path in paths {
        remove(&mut copy, path);
    }
    copy
}

fn remove(value: &mut Value, path: &str) {
    let Value::Object(fields) = value else { return };
    match path.split_once('.') {
        None => {
            fields.remove(path);
        }
        Some((first, rest)) => {
            if let Some(inner) = fields.get_mut(first) {
                remove(inner, rest);
                if inner.as_object().is_some_and(serde_json::Map::is_empty) {
                    fields.remove(first);
                }
            }
        }
    }
}

/// What the gate found for one application of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Finding {
    /// Something is missing.
    Blocked {
        /// Why, each reason by itself; never empty.
        gaps: Vec<Gap>,
    },
    /// It holds nothing but other applications, each of which is decided on by itself.
    Composite,
    /// The environment requires nothing.
    Exempt,
    /// These commits were permitted and ran here, and have not failed since.
    Incumbent,
    /// Every requirement is met.
    Satisfied {
        /// The identifiers of the runs that meet them, one per requirement.
        runs: Vec<String>,
    },
}

impl Finding {
    /// The word that policies see in `context.finding`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Blocked { .. } => "blocked",
            Self::Composite => "composite",
            Self::Exempt => "exempt",
            Self::Incumbent => "incumbent",
            Self::Satisfied { .. } => "satisfied",
        }
    }
}

/// One reason why evidence does not suffice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// What kind of reason.
    pub kind: GapKind,
    /// The suite that is required, where the gap is about one.
    pub suite: Option<Suite>,
    /// Where it must have run.
    pub environment: Option<EnvironmentName>,
    /// The last run that bears on it, in words (`failed 14:02, 2 tests`), if there is one.
    pub last: Option<String>,
    /// The identifier of that run.
    #[serde(default)]
    pub run: Option<String>,
    /// The newest commits that would pass, one per source, if there are any.
    pub would_pass: Option<Vec<Commit>>,
    /// More for people, one line; empty where the kind says it all.
    pub detail: String,
}

impl Gap {
    /// It cannot be said what would be rolled out, for the reason in `detail`.
    pub(crate) fn unpinnable(detail: impl Into<String>) -> Self {
        Self {
            kind: GapKind::Unpinnable,
            suite: None,
            environment: None,
            last: None,
            run: None,
            would_pass: None,
            detail: detail.into(),
        }
    }
}

/// The closed list of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapKind {
    /// The run has no tests in it.
    Empty,
    /// The latest run failed.
    Failed,
    /// No run for these commits.
    Missing,
    /// The suite ran fewer tests than it used to.
    Shrunk,
    /// The run is older than the requirement admits.
    Stale,
    /// A way to roll out whose commits are not checked, where tests are required.
    Unchecked,
    /// A source cannot be pinned to a commit.
    Unpinnable,
    /// The run passed, but nobody who has to has signed it.
    Unsigned,
    /// The evidence was withdrawn.
    Withdrawn,
    /// The run was for the same commit but other source parameters.
    WrongSource,
}
