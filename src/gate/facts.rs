//! What the gate has to know about an Application, read from its JSON.
//!
//! In: one Application as Argo CD's REST API answers it. Out: [`AppFacts`], the few fields that decide
//! which commits a sync would roll out and which commits run. It refuses an object without a name, a
//! uid or a source. Never: a default where a field that matters has another type than it should.

use jiff::Timestamp;
use serde_json::Value;

use crate::digest;
use crate::evidence::run::cut;
use crate::gate::PinnedSource;
use crate::names::{AppRef, Commit, is_full_sha};

/// Bytes of the message of a hook that are kept.
const MAX_HOOK_MESSAGE_BYTES: usize = 512;

/// What decides about one Application, as of one reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppFacts {
    /// Which Application.
    pub application: AppRef,
    /// The uid of the object.
    pub uid: String,
    /// `spec.sources`, or `spec.source` as the only one.
    pub sources: Sources,
    /// Whether `spec.sourceHydrator` is set: what runs then comes from a branch that Argo CD writes.
    pub hydrated: bool,
    /// Whether automated sync is on.
    pub automated: bool,
    /// `status.sync.status`.
    pub sync: SyncStatus,
    /// `status.sync.comparedTo` with `status.sync.revision(s)`: the last comparison.
    pub compared: Resolved,
    /// The messages of the conditions that say that the last comparison failed.
    pub errors: Vec<String>,
    /// The newest entry of `status.history`: what was rolled out last, completely and with success.
    pub deployed: Option<Resolved>,
    /// SHA-256 of that entry as it is written: it tells one roll-out from the next, also where both
    /// are of the same commits.
    pub entry: Option<String>,
    /// `status.reconciledAt`: when the last comparison was made, in whole seconds.
    pub reconciled_at: Option<Timestamp>,
    /// `status.operationState`: the operation that runs, or the last one that ran.
    pub operation: Option<OperationFacts>,
    /// Whether `operation` is set: one was asked for and has not ended.
    pub operation_requested: bool,
}

/// `status.sync.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncStatus {
    /// What is live differs from what was compared.
    OutOfSync,
    /// What is live is what was compared.
    Synced,
    /// There was no comparison, or it failed.
    Unknown,
}

/// The sources of an Application, or of an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Whether they come from the plural field.
    pub multi: bool,
    /// Each as the JSON of one `ApplicationSource`.
    pub list: Vec<Value>,
}

/// Sources with what Argo CD resolved their revisions to, in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The sources.
    pub sources: Sources,
    /// The revisions.
    pub revisions: Vec<String>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each a word of Argo CD's"
)]
pub struct OperationFacts {
    /// When it started; stays the same over its retries.
    pub started_at: Timestamp,
    /// When it ended, or when its last try did while it goes on.
    pub finished_at: Option<Timestamp>,
    /// How often it has been, or is about to be, tried again: `retryCount`. It counts up when a try ends, while
    /// what that try found still stands; the next try begins with nothing.
    pub retry: u64,
    /// How far it is.
    pub phase: Phase,
    /// Whether it changes nothing. Argo CD calls the hooks of such an operation `Succeeded` without
    /// running them.
    pub dry_run: bool,
    /// Whether it names resources: the rest of the application stays as it was, and no hook runs.
    pub partial: bool,
    /// Whether it carries manifests of its caller instead of a commit.
    pub local: bool,
    /// `operation.sync`: what was asked for. Its sources may be absent, and its revisions moving.
    pub asked: Resolved,
    /// `syncResult`: what Argo CD works with.
    pub result: Option<Resolved>,
    /// The Jobs among its hooks, as far as they have begun.
    pub hooks: Vec<HookJob>,
    /// Whether a hook of whatever kind has begun that waits until all else is applied and healthy: `PostSync`.
    pub post_sync: bool,
}

/// A Job that an operation runs as a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookJob {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When it runs: `hookType` (`PreSync`).
    pub kind: String,
    /// How far it is: `hookPhase`. None where Argo CD says nothing that is known.
    pub phase: Option<Phase>,
    /// What Argo CD says about that, cut: for a Job that failed, the message of its condition.
    pub message: String,
}

/// `phase` of an operation, or `hookPhase` of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Ended; could not be carried out.
    Error,
    /// Ended; hooks or resources failed.
    Failed,
    /// Goes on (between two retries, too).
    Running,
    /// Ended well.
    Succeeded,
    /// Is being stopped.
    Terminating,
}

impl Phase {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "Error" => Some(Self::Error),
            "Failed" => Some(Self::Failed),
            "Running" => Some(Self::Running),
            "Succeeded" => Some(Self::Succeeded),
            "Terminating" => Some(Self::Terminating),
            _ => None,
        }
    }
}

/// An Application that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{0}` of the application is missing or not what argo cd writes there")]
pub struct Unreadable(&'static str);

impl AppFacts {
    /// Reads the JSON of an Application.
    ///
    /// # Errors
    /// [`Unreadable`] with the first field that is missing or of another type.
    pub fn from_json(app: &Value) -> Result<Self, Unreadable> {
        let at = |pointer| at(app, pointer);
        let sync = at("/status/sync");
        let operation = match at("/status/operationState") {
            Value::Null => None,
            state => Some(OperationFacts::from_json(state)?),
        };
        let automated = at("/spec/syncPolicy/automated");
        // Entries are appended, so the newest is the last.
        let entry = at("/status/history")
            .as_array()
            .and_then(|list| list.last());
        Ok(Self {
            application: AppRef {
                namespace: optional_text(at("/metadata/namespace"), "metadata.namespace")?,
                name: text(at("/metadata/name"), "metadata.name")?,
            },
            uid: text(at("/metadata/uid"), "metadata.uid")?,
            sources: Sources::from_json(at("/spec"))?,
            hydrated: !at("/spec/sourceHydrator").is_null(),
            automated: automated.is_object() && automated["enabled"] != Value::Bool(false),
            sync: match sync["status"].as_str() {
                Some("Synced") => SyncStatus::Synced,
                Some("OutOfSync") => SyncStatus::OutOfSync,
                _ => SyncStatus::Unknown,
            },
            compared: Resolved {
                sources: Sources::from_json(at("/status/sync/comparedTo"))?,
                revisions: revisions(sync, "status.sync.revisions")?,
            },
            errors: comparison_errors(at("/status/conditions")),
            deployed: entry.map(rolled_out).transpose()?,
            entry: entry.map(|entry| digest::sha256_hex(&digest::canonical_json(entry))),
            reconciled_at: optional_time(at("/status/reconciledAt"), "status.reconciledAt")?,
            operation,
            operation_requested: !at("/operation").is_null(),
        })
    }
}

impl AppFacts {
    /// Whether a target revision is not a commit, so that what it is can change.
    #[must_use]
    pub fn moving_targets(&self) -> bool {
        self.hydrated
            || self
                .sources
                .list
                .iter()
                .any(|source| commit_of(source, target_revision(source)).is_none())
    }
}

impl Sources {
    /// One source, or several, from an object that holds them as a spec does: `sources` if it has
    /// any, else `source`. Argo CD writes an empty `source` beside `sources`, and ignores it.
    fn from_json(holder: &Value) -> Result<Self, Unreadable> {
        match &holder["sources"] {
            Value::Null => {}
            Value::Array(list) if list.is_empty() => {}
            Value::Array(list) if list.iter().all(Value::is_object) => {
                return Ok(Self {
                    multi: true,
                    list: list.clone(),
                });
            }
            _ => return Err(Unreadable("sources")),
        }
        match &holder["source"] {
            Value::Null => Ok(Self::default()),
            source @ Value::Object(_) => Ok(Self {
                multi: false,
                list: vec![source.clone()],
            }),
            _ => Err(Unreadable("source")),
        }
    }
}

impl Resolved {
    /// Reads what an operation (its `sync`) or an entry of the history says; an operation without sources is
    /// of the application's, `own`.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn from_json(holder: &Value, own: &Sources) -> Result<Self, Unreadable> {
        let sources = Sources::from_json(holder)?;
        let blank = sources
            .list
            .iter()
            .all(|source| text_of(source, "repoURL").is_empty());
        Ok(Self {
            sources: if blank { own.clone() } else { sources },
            revisions: revisions(holder, "revisions")?,
        })
    }

    /// Every source with the commit that its revision is.
    ///
    /// # Errors
    /// One line for people, when revisions are missing, or one is no full commit of its source.
    pub fn pinned(&self) -> Result<Vec<PinnedSource>, String> {
        let (sources, revisions) = (self.sources.list.len(), self.revisions.len());
        if sources == 0 {
            return Err("the application has no source".to_owned());
        }
        if sources != revisions {
            return Err(format!("argo cd resolved {revisions} of {sources} sources"));
        }
        let pairs = self.sources.list.iter().zip(&self.revisions);
        pairs
            .map(|(source, revision)| pinned_source(source, revision))
            .collect()
    }
}

/// Pins `source` to `revision`.
pub(crate) fn pinned_source(source: &Value, revision: &str) -> Result<PinnedSource, String> {
    let repository = source["repoURL"].as_str().unwrap_or_default().to_owned();
    let commit = commit_of(source, revision)
        .ok_or_else(|| format!("`{revision}` of {repository} is not {}", wanted(source)))?;
    Ok(PinnedSource {
        repository,
        asked: target_revision(source).to_owned(),
        commit,
    })
}

/// The revision that the source itself names; `HEAD` where it names none, as Argo CD takes it.
pub(crate) fn target_revision(source: &Value) -> &str {
    match source["targetRevision"].as_str() {
        None | Some("") => "HEAD",
        Some(revision) => revision,
    }
}

/// `revision` as a commit, if it is what pins a source of this kind: an exact version for a chart, a
/// digest for an OCI artefact, a full SHA for Git. A Git tag that looks like a version moves.
pub(crate) fn commit_of(source: &Value, revision: &str) -> Option<Commit> {
    let commit = Commit::parse(revision).ok()?;
    let is_digest = revision.starts_with("sha256:");
    let fits = match kind_of(source) {
        Kind::Chart => !is_full_sha(revision),
        Kind::Git => is_full_sha(revision),
        Kind::Oci => is_digest,
    };
    fits.then_some(commit)
}

enum Kind {
    Chart,
    Git,
    Oci,
}

fn kind_of(source: &Value) -> Kind {
    if source["chart"]
        .as_str()
        .is_some_and(|chart| !chart.is_empty())
    {
        Kind::Chart
    } else if source["repoURL"]
        .as_str()
        .is_some_and(|url| url.starts_with("oci://"))
    {
        Kind::Oci
    } else {
        Kind::Git
    }
}

fn wanted(source: &Value) -> &'static str {
    match kind_of(source) {
        Kind::Chart => "an exact chart version",
        Kind::Git => "a full commit SHA",
        Kind::Oci => "a digest",
    }
}

impl OperationFacts {
    fn from_json(state: &Value) -> Result<Self, Unreadable> {
        let sync = at(state, "/operation/sync");
        let started_at = state["startedAt"].as_str().and_then(|t| t.parse().ok());
        let resources = at(state, "/syncResult/resources");
        let result = match &state["syncResult"] {
            Value::Null => None,
            result => Some(Resolved {
                sources: Sources::from_json(result)?,
                revisions: revisions(result, "status.operationState.syncResult.revisions")?,
            }),
        };
        Ok(Self {
            started_at: started_at.ok_or(Unreadable("status.operationState.startedAt"))?,
            finished_at: optional_time(&state["finishedAt"], "status.operationState.finishedAt")?,
            retry: match &state["retryCount"] {
                Value::Null => 0,
                count => {
                    let unreadable = Unreadable("status.operationState.retryCount");
                    count.as_u64().ok_or(unreadable)?
                }
            },
            phase: Phase::parse(text_of(state, "phase"))
                .ok_or(Unreadable("status.operationState.phase"))?,
            dry_run: flag(&sync["dryRun"], "operation.sync.dryRun")?,
            partial: is_given(&sync["resources"]),
            local: is_given(&sync["manifests"]),
            asked: Resolved {
                sources: Sources::from_json(sync)?,
                revisions: revisions(sync, "operation.sync.revisions")?,
            },
            result,
            hooks: hook_jobs(resources),
            post_sync: list_of(resources)
                .iter()
                .any(|resource| text_of(resource, "hookType") == "PostSync"),
        })
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Terminating)
    }
}

fn list_of(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The value at `pointer`; `null` where there is none.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// Any list but an empty one, and anything that is no list, counts as given.
fn is_given(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        _ => true,
    }
}

/// `revisions` if there are any, else `revision` as the only one, else none.
fn revisions(holder: &Value, path: &'static str) -> Result<Vec<String>, Unreadable> {
    match &holder["revisions"] {
        Value::Array(list) if !list.is_empty() => list.iter().map(|r| text(r, path)).collect(),
        Value::Null | Value::Array(_) => {
            let one = optional_text(&holder["revision"], path)?;
            Ok(one.into_iter().filter(|r| !r.is_empty()).collect())
        }
        _ => Err(Unreadable(path)),
    }
}

fn comparison_errors(conditions: &Value) -> Vec<String> {
    list_of(conditions)
        .iter()
        .filter(|c| {
            matches!(
                c["type"].as_str(),
                Some("ComparisonError" | "InvalidSpecError")
            )
        })
        .map(|c| c["message"].as_str().unwrap_or("no message").to_owned())
        .collect()
}

/// What one entry of `status.history` says was rolled out.
fn rolled_out(entry: &Value) -> Result<Resolved, Unreadable> {
    Ok(Resolved {
        sources: Sources::from_json(entry)?,
        revisions: revisions(entry, "status.history.revisions")?,
    })
}

fn text(value: &Value, path: &'static str) -> Result<String, Unreadable> {
    optional_text(value, path)?.ok_or(Unreadable(path))
}

fn optional_text(value: &Value, path: &'static str) -> Result<Option<String>, Unreadable> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(Unreadable(path)),
    }
}

/// The Jobs among `resources` (`syncResult.resources`) that are hooks. What is no Job or no hook is passed over, and so
/// is what is incomplete.
#[must_use]
pub fn hook_jobs(resources: &Value) -> Vec<HookJob> {
    let hook = |resource: &Value| {
        let of = |key: &str| resource[key].as_str().filter(|text| !text.is_empty());
        let is_job = of("group") == Some("batch") && of("kind") == Some("Job");
        Some(HookJob {
            namespace: of("namespace")?.to_owned(),
            name: of("name").filter(|_| is_job)?.to_owned(),
            kind: of("hookType")?.to_owned(),
            phase: of("hookPhase").and_then(Phase::parse),
            message: {
                let mut message = of("message").unwrap_or_default().to_owned();
                cut(&mut message, MAX_HOOK_MESSAGE_BYTES);
                message
            },
        })
    };
    list_of(resources).iter().filter_map(hook).collect()
}

fn optional_time(value: &Value, path: &'static str) -> Result<Option<Timestamp>, Unreadable> {
    let text = optional_text(value, path)?;
    text.map(|text| text.parse().map_err(|_| Unreadable(path)))
        .transpose()
}

fn flag(value: &Value, path: &'static str) -> Result<bool, Unreadable> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(*flag),
        _ => Err(Unreadable(path)),
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
