//! Which commits a run is about, and whether it may count in the end.
//!
//! In: what Argo CD says about the application ([`AppFacts`]) and what the reporter claims. Out: a
//! [`Binding`] when the run begins, [`Settled`] when it has ended. Pure. While an operation runs, the
//! run belongs to it and counts only once that operation has ended well with the same commits; with
//! none running, the run is about what is deployed. It refuses operations that do not roll out a
//! commit as a whole, and claims that disagree. Never: a commit because the reporter named it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::evidence::run::cut;
use crate::gate::{
    AppFacts, ApplicationPlan, HookJob, OperationFacts, Phase, Resolved, SyncStatus,
};
use crate::names::{Commit, PodRef, SourceDigest};

/// What a run is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The commits, one per source, in the order of the spec. (Their repositories are in the digests.)
    pub commits: Vec<Commit>,
    /// The digest of the sources as they are in this environment.
    pub source_digest: SourceDigest,
    /// The same without what may vary between environments.
    pub promotion_digest: SourceDigest,
    /// The operation that the run belongs to; none if none was running.
    pub operation: Option<BoundOperation>,
    /// What the application had behind it when the run began; none for a run inside an operation.
    pub since: Option<Since>,
}

/// What an application had behind it at one moment. As long as this stays the same, nothing was
/// rolled out: each start of an operation and each roll-out that ended well shows in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// The uid of the Application object.
    pub uid: String,
    /// When its last operation started, if it is known to have had one.
    pub operation: Option<Timestamp>,
    /// The newest entry of its history, as [`AppFacts::entry`].
    pub entry: Option<String>,
}

impl Since {
    fn of(facts: &AppFacts) -> Self {
        Self {
            uid: facts.uid.clone(),
            operation: facts.operation.as_ref().map(|o| o.started_at),
            entry: facts.entry.clone(),
        }
    }
}

/// Names one operation: an application has one at a time, and each start is another second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundOperation {
    /// The uid of the Application object.
    pub uid: String,
    /// When the operation started.
    pub started_at: Timestamp,
    /// Which of its tries was going on, from 0: `retryCount`.
    #[serde(default)]
    pub retry: u64,
    /// The pod that the reporter's credential is bound to, where it is.
    pub pod: Option<PodRef>,
}

/// What a reporter says about commits, and what its credential says about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claims<'a> {
    /// Commits under test, if it believes it knows.
    pub commits: Option<&'a [String]>,
    /// The pod that its credential is bound to.
    pub pod: Option<&'a PodRef>,
}

/// Why a run cannot be taken on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The comparison that would tell the commits is not of the sources in the spec.
    #[error(
        "argo cd has not compared {application} with its present sources yet; refresh it and report again"
    )]
    ComparisonOutdated {
        /// Which application.
        application: String,
    },
    /// The comparison failed.
    #[error("argo cd could not compare {application}: {message}")]
    ComparisonFailed {
        /// Which application.
        application: String,
        /// What Argo CD says.
        message: String,
    },
    /// A dry run is going on.
    #[error(
        "the operation that runs on {application} is a dry run; it rolls out nothing that could be tested"
    )]
    DryRun {
        /// Which application.
        application: String,
    },
    /// What runs comes from a branch that Argo CD writes itself.
    #[error("{application} uses a source hydrator; the commits that it runs cannot be told yet")]
    Hydrated {
        /// Which application.
        application: String,
    },
    /// The operation carries manifests instead of a commit.
    #[error(
        "the operation that runs on {application} carries local manifests, which are of no commit"
    )]
    LocalManifests {
        /// Which application.
        application: String,
    },
    /// The compared commits are not what is deployed.
    #[error("{application} is out of sync: {commit} is not what runs there; sync it, then test")]
    NotDeployed {
        /// Which application.
        application: String,
        /// What it was compared to.
        commit: String,
    },
    /// The reporter claims another commit.
    #[error("the reporter tested `{claimed}`, but {application} is at {actual}")]
    OtherCommit {
        /// Which application.
        application: String,
        /// What the reporter says.
        claimed: String,
        /// What Argo CD says.
        actual: String,
    },
    /// The operation ended in this very second, and another one of the same second could not be told from it.
    #[error("an operation on {application} has only just ended; report again in a second")]
    JustEnded {
        /// Which application.
        application: String,
    },
    /// The operation has not come to where tests see what it rolls out.
    #[error(
        "the operation that runs on {application} has not rolled everything out yet; report from one of its hooks, or again once it has ended"
    )]
    NotRolledOut {
        /// Which application.
        application: String,
    },
    /// The operation names single resources.
    #[error(
        "the operation that runs on {application} syncs single resources; the rest is of other commits"
    )]
    Partial {
        /// Which application.
        application: String,
    },
    /// An operation was asked for and has not begun.
    #[error("an operation on {application} is about to start; report again once it runs")]
    Starting {
        /// Which application.
        application: String,
    },
    /// The operation is being stopped.
    #[error("the operation that runs on {application} is being terminated")]
    Terminating {
        /// Which application.
        application: String,
    },
    /// Commits that are no full commits.
    #[error("the commits of {application} cannot be told: {problem}")]
    Unpinned {
        /// Which application.
        application: String,
        /// Why.
        problem: String,
    },
}

impl Refusal {
    /// The stable code of the refusal, in kebab case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ComparisonFailed { .. } => "comparison-failed",
            Self::ComparisonOutdated { .. } => "comparison-outdated",
            Self::DryRun { .. } => "dry-run",
            Self::Hydrated { .. } => "hydrated",
            Self::LocalManifests { .. } => "local-manifests",
            Self::JustEnded { .. } => "just-ended",
            Self::NotDeployed { .. } => "not-deployed",
            Self::NotRolledOut { .. } => "not-rolled-out",
            Self::OtherCommit { .. } => "other-commit",
            Self::Partial { .. } => "partial",
            Self::Starting { .. } => "starting",
            Self::Terminating { .. } => "terminating",
            Self::Unpinned { .. } => "unpinned",
        }
    }

    /// Whether it passes by itself: the same report may be taken on a little later.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Self::ComparisonOutdated { .. }
                | Self::JustEnded { .. }
                | Self::NotRolledOut { .. }
                | Self::Starting { .. }
                | Self::Terminating { .. }
        )
    }
}

/// Finds out what a run that begins now is about; `facts` were read after `at`, by the gate's clock. `varies` are
/// the fields that the environment leaves out of the promotion digest. While an operation goes on, tests see what it
/// rolls out only from its hooks: another reporter has to wait until those that run after all else have begun, or until
/// its end.
///
/// # Errors
/// [`Refusal`] when the commits cannot be told, or the reporter claims others.
pub fn bind(
    facts: &AppFacts,
    claims: Claims<'_>,
    varies: &[String],
    at: Timestamp,
) -> Result<Binding, Refusal> {
    let application = facts.application.to_string();
    if facts.hydrated {
        return Err(Refusal::Hydrated { application });
    }
    let (resolved, operation) = match &facts.operation {
        Some(operation) if operation.goes_on() => {
            let bound = BoundOperation {
                uid: facts.uid.clone(),
                started_at: operation.started_at,
                retry: operation.retry,
                pod: claims.pod.cloned(),
            };
            let resolved = of_operation(operation, &application)?;
            if !operation.post_sync && hooks_of(&bound, operation).next().is_none() {
                return Err(Refusal::NotRolledOut { application });
            }
            (resolved, Some(bound))
        }
        _ if facts.operation_requested => return Err(Refusal::Starting { application }),
        // Argo CD tells whole seconds: another operation of this one could not be told from it later.
        Some(operation) if operation.started_at.as_second() >= at.as_second() => {
            return Err(Refusal::JustEnded { application });
        }
        _ => (of_status(facts, &application)?, None),
    };
    let sources = resolved.pinned().map_err(|problem| Refusal::Unpinned {
        application: application.clone(),
        problem,
    })?;
    let commits: Vec<Commit> = sources.into_iter().map(|source| source.commit).collect();
    agree(claims, &commits, &application)?;
    let (source_digest, promotion_digest) =
        ApplicationPlan::digests(&resolved.sources.list, varies);
    Ok(Binding {
        commits,
        source_digest,
        promotion_digest,
        since: operation.is_none().then(|| Since::of(facts)),
        operation,
    })
}

/// What the running operation rolls out. What was asked for and what Argo CD resolved must not
/// contradict each other; where the one says nothing firm, the other does.
fn of_operation(operation: &OperationFacts, application: &str) -> Result<Resolved, Refusal> {
    let application = application.to_owned();
    if operation.phase == Phase::Terminating {
        return Err(Refusal::Terminating { application });
    }
    if operation.dry_run {
        return Err(Refusal::DryRun { application });
    }
    if operation.local {
        return Err(Refusal::LocalManifests { application });
    }
    if operation.partial {
        return Err(Refusal::Partial { application });
    }
    let Some(result) = &operation.result else {
        return Err(Refusal::NotRolledOut { application });
    };
    let asked = &operation.asked;
    let contradicts = !asked.sources.list.is_empty() && asked.sources != result.sources
        || asked
            .pinned()
            .is_ok_and(|_| asked.revisions != result.revisions);
    if contradicts {
        let problem = "what was asked for and what argo cd rolls out are not the same".to_owned();
        return Err(Refusal::Unpinned {
            application,
            problem,
        });
    }
    Ok(result.clone())
}

/// What is deployed while no operation runs. A comparison tells what *would* be rolled out; it is
/// what runs only if the application is in sync, or if that very state was the last to be rolled out
/// and live objects have drifted since.
fn of_status(facts: &AppFacts, application: &str) -> Result<Resolved, Refusal> {
    let application = application.to_owned();
    if let Some(message) = facts.errors.first() {
        let message = message.clone();
        return Err(Refusal::ComparisonFailed {
            application,
            message,
        });
    }
    let outdated = facts.sync == SyncStatus::Unknown
        || facts.compared.sources != facts.sources
        || is_older_than_operation(facts);
    if outdated {
        return Err(Refusal::ComparisonOutdated { application });
    }
    if facts.sync == SyncStatus::OutOfSync && facts.deployed.as_ref() != Some(&facts.compared) {
        let commit = facts.compared.revisions.join(", ");
        return Err(Refusal::NotDeployed {
            application,
            commit,
        });
    }
    Ok(facts.compared.clone())
}

/// Whether the last operation ended after the last comparison, which then tells the state before it.
/// Argo CD compares again after each operation, but some time may pass. Both times are its own.
fn is_older_than_operation(facts: &AppFacts) -> bool {
    let ended = facts.operation.as_ref().filter(|o| !o.goes_on());
    let ended = ended.and_then(|operation| operation.finished_at);
    facts
        .reconciled_at
        .zip(ended)
        .is_some_and(|(compared, ended)| compared < ended)
}

/// Every claimed commit must be one of those that run; a test of one source of several need not know
/// the others.
fn agree(claims: Claims<'_>, commits: &[Commit], application: &str) -> Result<(), Refusal> {
    let claimed = claims.commits.unwrap_or_default();
    let stray = claimed
        .iter()
        .find(|claim| !commits.iter().any(|commit| commit.as_str() == *claim));
    match stray {
        None => Ok(()),
        Some(claim) => Err(Refusal::OtherCommit {
            application: application.to_owned(),
            claimed: claim.clone(),
            actual: commits
                .iter()
                .map(Commit::as_str)
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// Whether a run may count, as of one reading of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It never will: the tests ran in a hook that comes before the sync.
    BeforeSync,
    /// It counts.
    Counts,
    /// It never will, and why, in words.
    Void(String),
    /// The operation it belongs to has not ended.
    Wait,
}

/// Finds out whether a run that was bound by `binding` may count, given what Argo CD says now.
#[must_use]
pub fn settle(binding: &Binding, now: &AppFacts) -> Settled {
    match (&binding.operation, &binding.since) {
        (Some(bound), _) => settle_operation(binding, bound, now),
        (None, Some(since)) => settle_status(binding, since, now),
        (None, None) => {
            Settled::Void("it is not known what was deployed when the tests began".to_owned())
        }
    }
}

pub(super) const CREATED_AGAIN: &str = "the application was deleted and created again";

fn settle_operation(binding: &Binding, bound: &BoundOperation, now: &AppFacts) -> Settled {
    if now.uid != bound.uid {
        return Settled::Void(CREATED_AGAIN.to_owned());
    }
    let operation = now
        .operation
        .as_ref()
        .filter(|o| o.started_at == bound.started_at);
    let Some(operation) = operation else {
        let why = "the operation was replaced before its end was seen";
        return Settled::Void(why.to_owned());
    };
    if hooks_of(bound, operation).any(|hook| hook.kind == "PreSync") {
        return Settled::BeforeSync;
    }
    match operation.phase {
        Phase::Running | Phase::Terminating => Settled::Wait,
        Phase::Error | Phase::Failed => Settled::Void("the operation failed".to_owned()),
        Phase::Succeeded => {
            let whole = !operation.dry_run && !operation.partial && !operation.local;
            if whole
                && operation
                    .result
                    .as_ref()
                    .is_some_and(|r| is_bound(binding, r))
            {
                Settled::Counts
            } else {
                let why = "the operation ended with other commits or sources than it began with";
                Settled::Void(why.to_owned())
            }
        }
    }
}

/// Whether the run that was bound by `bound` comes from a Job that the operation runs as a hook: then
/// it cannot go on once the operation has ended.
#[must_use]
pub fn is_hook(bound: &BoundOperation, now: &AppFacts) -> bool {
    let operation = now.operation.as_ref();
    operation
        .filter(|operation| operation.started_at == bound.started_at)
        .is_some_and(|operation| hooks_of(bound, operation).next().is_some())
}

/// The hook whose Job the reporter's pod belongs to; as many as the same Job is hooks of. A Job names
/// its pods after itself. Of several Jobs that fit, the longest name is meant: `test-pre-x7k2p` is of
/// `test-pre`, not of `test`.
pub(super) fn hooks_of<'a>(
    bound: &BoundOperation,
    operation: &'a OperationFacts,
) -> impl Iterator<Item = &'a HookJob> {
    let fitting: Vec<&HookJob> = bound.pod.as_ref().map_or_else(Vec::new, |pod| {
        let hooks = operation.hooks.iter();
        hooks.filter(|hook| is_pod_of(pod, hook)).collect()
    });
    let longest = fitting.iter().map(|hook| hook.name.len()).max();
    fitting
        .into_iter()
        .filter(move |hook| Some(hook.name.len()) == longest)
}

/// Kubernetes cuts a name that it completes itself to 58 bytes and five of its own
/// (`k8s.io/apiserver/pkg/storage/names`).
fn is_pod_of(pod: &PodRef, hook: &HookJob) -> bool {
    let mut begin = format!("{}-", hook.name);
    cut(&mut begin, 58);
    pod.namespace == hook.namespace && pod.name.starts_with(&begin)
}

/// A run outside an operation must end on what it began on, by the rules by which it began. The spec
/// alone does not tell: a rollback and a sync to another revision leave it as it is.
fn settle_status(binding: &Binding, since: &Since, now: &AppFacts) -> Settled {
    if now.uid != since.uid {
        return Settled::Void(CREATED_AGAIN.to_owned());
    }
    let operation = now.operation.as_ref();
    let moved = Settled::Void("the application moved on while the tests ran".to_owned());
    let goes_on = operation.is_some_and(OperationFacts::goes_on);
    if goes_on || now.operation_requested || now.hydrated || Since::of(now) != *since {
        return moved;
    }
    match of_status(now, &now.application.to_string()) {
        Err(refusal) => Settled::Void(refusal.to_string()),
        Ok(resolved) if is_bound(binding, &resolved) => Settled::Counts,
        Ok(_) => moved,
    }
}

/// Whether `resolved` is what the run was bound to: the same commits, and the same source
/// parameters, of which the repositories are some.
fn is_bound(binding: &Binding, resolved: &Resolved) -> bool {
    let (digest, _) = ApplicationPlan::digests(&resolved.sources.list, &[]);
    digest == binding.source_digest
        && resolved
            .pinned()
            .is_ok_and(|now| now.iter().map(|s| &s.commit).eq(&binding.commits))
}

#[cfg(test)]
mod tests;
