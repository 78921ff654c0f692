//! An Application as the gate sees it: what decisions are made from, and nothing else.
//!
//! In: the JSON of `ApplicationService.Get`. Out: [`Application`]. Where Argo CD has a field for one
//! thing and another for several (`source`/`sources`, `revision`/`revisions`), here is one list, in
//! the order of the spec. Fields of another type than they should have are an error, never a default.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::argocd::proto::RetryStrategy;
use crate::names::AppRef;

/// An Application, read from the upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// Its namespace; the upstream always gives one.
    pub namespace: String,
    /// Its uid; a re-created application has another.
    pub uid: String,
    /// The version of the object that was read.
    pub resource_version: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its project.
    pub project: String,
    /// Where it is deployed.
    pub destination: Destination,
    /// Its sources as written in the spec (JSON of `ApplicationSource`); with a hydrator the one that
    /// is synced.
    pub sources: Vec<Value>,
    /// Which field of the spec they are from.
    pub source_kind: SourceKind,
    /// Whether Argo CD syncs it by itself.
    pub automated: bool,
    /// `spec.syncPolicy.retry`, which counts for a sync that brings none.
    pub retry: Option<RetryStrategy>,
    /// The last comparison.
    pub sync: SyncStatus,
    /// What Argo CD says is wrong.
    pub conditions: Vec<Condition>,
    /// The operation that waits to be started.
    pub operation: Option<Operation>,
    /// The last operation that was started.
    pub operation_state: Option<OperationState>,
}

impl Application {
    /// Its full name.
    #[must_use]
    pub fn app_ref(&self) -> AppRef {
        AppRef {
            namespace: Some(self.namespace.clone()),
            name: self.name.clone(),
        }
    }

    /// Whether Argo CD takes `spec.sources`, and so revisions by position.
    #[must_use]
    pub fn is_multi_source(&self) -> bool {
        self.source_kind == SourceKind::Several
    }

    /// Whether the source is hydrated: the commit that counts is on the branch that is synced.
    #[must_use]
    pub fn is_hydrated(&self) -> bool {
        self.source_kind == SourceKind::Hydrated
    }
}

/// Which field of the spec Argo CD takes the sources from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// `spec.sourceHydrator`, whatever else is there.
    Hydrated,
    /// `spec.sources`.
    Several,
    /// `spec.source`.
    Single,
}

/// Where an application is deployed: a cluster by address or name, and a namespace in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// The address of the cluster, or empty.
    pub server: String,
    /// The name of the cluster, or empty.
    pub name: String,
    /// The namespace.
    pub namespace: String,
}

/// The result of comparing Git with the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncStatus {
    /// `Synced`, `OutOfSync`, `Unknown`, or empty before the first comparison.
    pub status: String,
    /// What the spec's revisions are, one per source.
    pub revisions: Vec<String>,
    /// The sources that were compared.
    pub compared_sources: Vec<Value>,
    /// The destination that was compared.
    pub compared_destination: Destination,
}

/// Something that Argo CD says is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Condition {
    /// Such as `ComparisonError`.
    #[serde(rename = "type")]
    pub kind: String,
    /// In words.
    #[serde(default)]
    pub message: String,
}

/// What Argo CD was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The sync, if it is one.
    pub sync: Option<SyncOperation>,
    /// Remarks (name, value), in their order.
    pub info: Vec<(String, String)>,
    /// Who asked, as Argo CD was told.
    pub initiated_by: String,
    /// Whether Argo CD itself asked.
    pub automated: bool,
}

/// A sync that Argo CD was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncOperation {
    /// What is deployed, one per source.
    pub revisions: Vec<String>,
    /// The sources, as they were when it was asked for.
    pub sources: Vec<Value>,
    /// The resources of a partial sync.
    pub resources: Vec<Value>,
    /// The manifests of a local sync.
    pub manifests: Vec<String>,
    /// Nothing is changed, and hooks only seem to run.
    pub dry_run: bool,
    /// By apply alone, without hooks.
    pub apply_only: bool,
}

/// How an operation went.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationState {
    /// `Running`, `Succeeded`, `Failed`, `Error` or `Terminating`.
    pub phase: String,
    /// In words.
    pub message: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended; set between retries too.
    pub finished_at: Option<Timestamp>,
    /// What was asked.
    pub operation: Operation,
    /// What was deployed, once known.
    pub result: Option<SyncResult>,
}

/// What a sync deployed.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncResult {
    /// The commits, one per source.
    pub revisions: Vec<String>,
    /// The sources.
    pub sources: Vec<Value>,
}

impl<'de> Deserialize<'de> for Application {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RawApplication::deserialize(deserializer).map(Into::into)
    }
}

// ---- The JSON of Argo CD, which leaves out what is empty or writes `null` ----

/// A value that may be absent or `null`.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[derive(Deserialize)]
struct RawApplication {
    metadata: RawMetadata,
    spec: RawSpec,
    #[serde(default, deserialize_with = "nullable")]
    status: RawStatus,
    operation: Option<RawOperation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMetadata {
    name: String,
    namespace: String,
    uid: String,
    #[serde(default)]
    resource_version: String,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    project: String,
    destination: Destination,
    source: Option<Value>,
    #[serde(default, deserialize_with = "nullable")]
    sources: Vec<Value>,
    source_hydrator: Option<RawHydrator>,
    #[serde(default, deserialize_with = "nullable")]
    sync_policy: RawSyncPolicy,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHydrator {
    dry_source: RawDrySource,
    sync_source: RawSyncSource,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDrySource {
    #[serde(rename = "repoURL")]
    repo_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSyncSource {
    #[serde(rename = "repoURL", default)]
    repo_url: String,
    path: String,
    target_branch: String,
}

#[derive(Default, Deserialize)]
struct RawSyncPolicy {
    automated: Option<RawAutomated>,
    retry: Option<RetryStrategy>,
}

#[derive(Deserialize)]
struct RawAutomated {
    enabled: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawStatus {
    #[serde(deserialize_with = "nullable")]
    sync: RawSyncStatus,
    #[serde(deserialize_with = "nullable")]
    conditions: Vec<Condition>,
    operation_state: Option<RawOperationState>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawSyncStatus {
    status: String,
    revision: String,
    #[serde(deserialize_with = "nullable")]
    revisions: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    compared_to: RawComparedTo,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawComparedTo {
    source: Option<Value>,
    #[serde(deserialize_with = "nullable")]
    sources: Vec<Value>,
    #[serde(deserialize_with = "nullable")]
    destination: Destination,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawOperation {
    sync: Option<RawSyncOperation>,
    #[serde(deserialize_with = "nullable")]
    info: Vec<RawInfo>,
    #[serde(deserialize_with = "nullable")]
    initiated_by: RawInitiator,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawInfo {
    name: String,
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawInitiator {
    username: String,
    automated: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawSyncOperation {
    revision: String,
    #[serde(deserialize_with = "nullable")]
    revisions: Vec<String>,
    source: Option<Value>,
    #[serde(deserialize_with = "nullable")]
    sources: Vec<Value>,
    #[serde(deserialize_with = "nullable")]
    resources: Vec<Value>,
    #[serde(deserialize_with = "nullable")]
    manifests: Vec<String>,
    dry_run: bool,
    #[serde(deserialize_with = "nullable")]
    sync_strategy: RawStrategy,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawStrategy {
    apply: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawOperationState {
    phase: String,
    #[serde(default)]
    message: String,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
    operation: RawOperation,
    sync_result: Option<RawSyncResult>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawSyncResult {
    revision: String,
    #[serde(deserialize_with = "nullable")]
    revisions: Vec<String>,
    source: Option<Value>,
    #[serde(deserialize_with = "nullable")]
    sources: Vec<Value>,
}

/// Several, or the one. Argo CD writes an empty `source` beside `sources`.
fn all_sources(one: Option<Value>, several: Vec<Value>) -> Vec<Value> {
    if several.is_empty() {
        let names_repository = |s: &Value| s.get("repoURL").and_then(Value::as_str) != Some("");
        one.filter(names_repository).into_iter().collect()
    } else {
        several
    }
}

fn all_revisions(one: String, several: Vec<String>) -> Vec<String> {
    if several.is_empty() && !one.is_empty() {
        vec![one]
    } else {
        several
    }
}

impl RawSpec {
    /// The sources that are synced, as `ApplicationSpec.GetSources` of Argo CD gives them.
    fn sources(&mut self) -> (Vec<Value>, SourceKind) {
        if let Some(hydrator) = &self.source_hydrator {
            let sync = &hydrator.sync_source;
            let repository = if sync.repo_url.is_empty() {
                &hydrator.dry_source.repo_url
            } else {
                &sync.repo_url
            };
            let source = json!({
                "repoURL": repository,
                "path": sync.path,
                "targetRevision": sync.target_branch,
            });
            return (vec![source], SourceKind::Hydrated);
        }
        let several = std::mem::take(&mut self.sources);
        let kind = if several.is_empty() {
            SourceKind::Single
        } else {
            SourceKind::Several
        };
        (all_sources(self.source.take(), several), kind)
    }
}

impl From<RawApplication> for Application {
    fn from(mut raw: RawApplication) -> Self {
        let (sources, source_kind) = raw.spec.sources();
        let automated = raw.spec.sync_policy.automated;
        Self {
            name: raw.metadata.name,
            namespace: raw.metadata.namespace,
            uid: raw.metadata.uid,
            resource_version: raw.metadata.resource_version,
            created: raw.metadata.creation_timestamp,
            deleting: raw.metadata.deletion_timestamp.is_some(),
            labels: raw.metadata.labels,
            annotations: raw.metadata.annotations,
            project: raw.spec.project,
            destination: raw.spec.destination,
            sources,
            source_kind,
            // Absent `enabled` means enabled.
            automated: automated.is_some_and(|a| a.enabled.unwrap_or(true)),
            retry: raw.spec.sync_policy.retry,
            sync: raw.status.sync.into(),
            conditions: raw.status.conditions,
            operation: raw.operation.map(Into::into),
            operation_state: raw.status.operation_state.map(Into::into),
        }
    }
}

impl From<RawSyncStatus> for SyncStatus {
    fn from(raw: RawSyncStatus) -> Self {
        Self {
            status: raw.status,
            revisions: all_revisions(raw.revision, raw.revisions),
            compared_sources: all_sources(raw.compared_to.source, raw.compared_to.sources),
            compared_destination: raw.compared_to.destination,
        }
    }
}

impl From<RawOperation> for Operation {
    fn from(raw: RawOperation) -> Self {
        Self {
            sync: raw.sync.map(Into::into),
            info: raw.info.into_iter().map(|i| (i.name, i.value)).collect(),
            initiated_by: raw.initiated_by.username,
            automated: raw.initiated_by.automated,
        }
    }
}

impl From<RawSyncOperation> for SyncOperation {
    fn from(raw: RawSyncOperation) -> Self {
        Self {
            revisions: all_revisions(raw.revision, raw.revisions),
            sources: all_sources(raw.source, raw.sources),
            resources: raw.resources,
            manifests: raw.manifests,
            dry_run: raw.dry_run,
            apply_only: raw.sync_strategy.apply.is_some(),
        }
    }
}

impl From<RawOperationState> for OperationState {
    fn from(raw: RawOperationState) -> Self {
        Self {
            phase: raw.phase,
            message: raw.message,
            started_at: raw.started_at,
            finished_at: raw.finished_at,
            operation: raw.operation.into(),
            result: raw.sync_result.map(|result| SyncResult {
                revisions: all_revisions(result.revision, result.revisions),
                sources: all_sources(result.source, result.sources),
            }),
        }
    }
}
