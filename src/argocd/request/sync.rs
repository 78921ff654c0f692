//! A sync, read strictly and written anew: what was checked is what is sent.

use std::collections::BTreeSet;
use std::fmt;

use prost::Message as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Error, is_object_name, shown};
use crate::argocd::proto::{
    self, ApplicationSyncRequest, Info, SyncStrategyApply, SyncStrategyHook,
};
use crate::gate::PinnedSource;
use crate::intent::PartOf;
use crate::names::{AppRef, DecisionId};

/// The remark on an operation that holds the decision's identifier.
pub const INFO_DECISION: &str = "syncgate-decision";
/// The remark on an operation that holds the caller's name.
pub const INFO_CALLER: &str = "syncgate-caller";
/// The remark of an operation by which the gate takes a rollout back: why.
pub const INFO_ROLLBACK: &str = "syncgate-rollback";

/// How often and when Argo CD tries a failed sync again.
pub use crate::argocd::proto::RetryStrategy as Retry;

/// A request to sync an application: every field of it is known, its positions and revisions pair
/// up, and its names are names.
#[derive(Clone, PartialEq)]
pub struct SyncRequest(ApplicationSyncRequest);

impl SyncRequest {
    /// Reads the message of a gRPC call.
    ///
    /// # Errors
    /// [`Error`], by place and number for a field that is not known.
    pub fn from_grpc_message(message: &[u8]) -> Result<Self, Error> {
        Self::check(proto::decode_strict("ApplicationSyncRequest", message)?)
    }

    /// Reads the body of a REST call whose path names the application `name`.
    ///
    /// # Errors
    /// [`Error`], by name for a key that is not known, comes twice, or is spelt otherwise.
    pub fn from_json(name: &str, body: Option<Value>) -> Result<Self, Error> {
        let body = body.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        // A list would be read as the fields in their order, which Argo CD does not do.
        if !body.is_object() {
            return Err(super::json::Error::no_object().into());
        }
        let mut request: ApplicationSyncRequest =
            serde_path_to_error::deserialize(body).map_err(|e| super::json::Error::at(&e))?;
        if !request.name.is_empty() && request.name != name {
            return Err(Error::Disagree {
                field: "name",
                path: shown(name),
                body: shown(&request.name),
            });
        }
        name.clone_into(&mut request.name);
        Self::check(request)
    }

    fn check(request: ApplicationSyncRequest) -> Result<Self, Error> {
        for (field, value) in [
            ("name", Some(&request.name)),
            ("appNamespace", request.app_namespace.as_ref()),
            ("project", request.project.as_ref()),
        ] {
            match value {
                Some(text) if text.is_empty() && field == "name" => {
                    return Err(Error::Missing(field));
                }
                Some(text) if !text.is_empty() && !is_object_name(text) => {
                    return Err(Error::Name {
                        field,
                        value: shown(text),
                    });
                }
                _ => {}
            }
        }
        // Argo CD walks the positions and takes the revision beside each.
        let positions: BTreeSet<_> = request.source_positions.iter().collect();
        if request.source_positions.len() != request.revisions.len() {
            return Err(Error::Sources("they have different lengths"));
        }
        if positions.len() != request.source_positions.len() {
            return Err(Error::Sources("a position comes twice"));
        }
        if positions.first().is_some_and(|first| **first < 1) {
            return Err(Error::Sources("positions count from 1"));
        }
        match request
            .revision
            .iter()
            .chain(&request.revisions)
            .find(|text| !is_revision(text))
        {
            Some(text) => Err(Error::Revision(shown(text))),
            None => Ok(Self(request)),
        }
    }

    /// The application to sync.
    #[must_use]
    pub fn app(&self) -> AppRef {
        let namespace = self.0.app_namespace.clone();
        AppRef {
            namespace: namespace.filter(|n| !n.is_empty()),
            name: self.0.name.clone(),
        }
    }

    /// The revision that is asked for, which counts for a single source; empty is none.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.0.revision.as_deref().filter(|r| !r.is_empty())
    }

    /// The revisions that are asked for by position (from 1), which count for several sources.
    pub fn revisions(&self) -> impl Iterator<Item = (i64, &str)> {
        let revisions = self.0.revisions.iter().map(String::as_str);
        self.0.source_positions.iter().copied().zip(revisions)
    }

    /// The value of the first remark named `name` that the caller sends.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<&str> {
        let mut infos = self.0.infos.iter();
        infos
            .find(|info| info.name.as_deref() == Some(name))
            .and_then(|info| info.value.as_deref())
    }

    /// Only some resources: hooks are skipped then.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.0.resources.is_empty()
    }

    /// Manifests of the caller's own instead of what is in Git.
    #[must_use]
    pub fn is_local(&self) -> bool {
        !self.0.manifests.is_empty()
    }

    /// Nothing is changed, and no hook runs.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.0.dry_run == Some(true)
    }

    /// Resources that cannot be changed are deleted and made again.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        let strategy = self.0.strategy.as_ref();
        let apply = strategy.and_then(|s| s.apply.as_ref());
        let hook = strategy.and_then(|s| s.hook.as_ref());
        let of_hook = hook.and_then(|h| h.sync_strategy_apply.as_ref());
        [apply, of_hook]
            .into_iter()
            .flatten()
            .any(|apply| apply.force == Some(true))
            || self.has_option("Force=true")
    }

    /// Resources are replaced instead of changed.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.has_option("Replace=true")
    }

    /// Resources that are no longer in Git are deleted.
    #[must_use]
    pub fn prunes(&self) -> bool {
        self.0.prune == Some(true)
    }

    /// No hook runs, so no test that is one.
    #[must_use]
    pub fn skips_hooks(&self) -> bool {
        let apply = self.0.strategy.as_ref().and_then(|s| s.apply.as_ref());
        apply.is_some() || self.is_partial() || self.is_dry_run()
    }

    /// Whether the request names sync options, which then replace the spec's.
    #[must_use]
    pub fn names_options(&self) -> bool {
        self.0.sync_options.is_some()
    }

    /// The resources that it is confined to; none for a whole sync.
    pub fn resources(&self) -> impl Iterator<Item = PartOf> + '_ {
        self.0.resources.iter().map(|resource| PartOf {
            group: resource.group.clone().unwrap_or_default(),
            kind: resource.kind.clone().unwrap_or_default(),
            namespace: resource.namespace.clone().unwrap_or_default(),
            name: resource.name.clone().unwrap_or_default(),
        })
    }

    /// Leaves the revisions to Argo CD, which takes no others while automated sync is on.
    pub fn unpin(&mut self, spec_retry: Option<Retry>, decision: &DecisionId, caller: &str) {
        self.0.revision = None;
        self.0.source_positions.clear();
        self.0.revisions.clear();
        self.hold_retries(spec_retry);
        self.stamp(decision, caller);
    }

    fn has_option(&self, option: &str) -> bool {
        let options = self.0.sync_options.iter().flat_map(|o| &o.items);
        options
            .into_iter()
            .any(|item| item.trim().eq_ignore_ascii_case(option))
    }

    /// Writes into the request what it was decided on: every source at its commit, the retry
    /// strategy (its own, or else the spec's) without the refresh by which a retry would take a newer
    /// commit, and the remarks of [`Self::stamp`]. All else stays as it is.
    ///
    /// # Errors
    /// [`Error::Pin`] when a single source is not exactly one, or several are none.
    pub fn pin(
        &mut self,
        sources: &[PinnedSource],
        multi_source: bool,
        spec_retry: Option<Retry>,
        decision: &DecisionId,
        caller: &str,
    ) -> Result<(), Error> {
        let commits: Vec<String> = sources.iter().map(|s| s.commit.to_string()).collect();
        // The fields that do not count for the kind of application are emptied: they would tell
        // readers of the request something else than what is deployed.
        if multi_source {
            if commits.is_empty() {
                return Err(Error::Pin {
                    sources: 0,
                    kind: "several sources",
                });
            }
            self.0.revision = None;
            self.0.source_positions = (1..).take(commits.len()).collect();
            self.0.revisions = commits;
        } else {
            let [commit] = <[String; 1]>::try_from(commits).map_err(|commits| Error::Pin {
                sources: commits.len(),
                kind: "one source",
            })?;
            self.0.revision = Some(commit);
            self.0.source_positions.clear();
            self.0.revisions.clear();
        }
        self.hold_retries(spec_retry);
        self.stamp(decision, caller);
        Ok(())
    }

    /// Sets the retry strategy (the request's own, or else the spec's, or else none at all) to one that
    /// keeps the commit. It is always sent: without one Argo CD would take the spec's at that moment.
    pub fn hold_retries(&mut self, spec_retry: Option<Retry>) {
        let own = self.0.retry_strategy.take();
        let retry = own.or(spec_retry).unwrap_or_else(|| Retry {
            limit: Some(0),
            ..Retry::default()
        });
        self.0.retry_strategy = Some(Retry {
            refresh: Some(false),
            ..retry
        });
    }

    /// Leaves the decision and the caller's name on the operation; remarks by which a caller claims
    /// to be the gate are removed.
    pub fn stamp(&mut self, decision: &DecisionId, caller: &str) {
        self.0.infos.retain(|info| {
            let name = info.name.as_deref().unwrap_or_default().trim();
            ![INFO_DECISION, INFO_CALLER, INFO_ROLLBACK]
                .iter()
                .any(|ours| name.eq_ignore_ascii_case(ours))
        });
        for (name, value) in [
            (INFO_DECISION, decision.to_string()),
            (INFO_CALLER, caller.to_owned()),
        ] {
            self.0.infos.push(Info {
                name: Some(name.to_owned()),
                value: Some(value),
            });
        }
    }

    /// The request as the message of a gRPC call, not framed.
    #[must_use]
    pub fn to_grpc_message(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }

    /// The request as the body of a REST call. Absent fields are left out.
    ///
    /// # Errors
    /// [`Error::Json`], which texts, numbers and lists never meet; sending less than was decided on
    /// would be worse.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        let mut value = serde_json::to_value(&self.0).map_err(|e| super::json::Error::new(&e))?;
        leave_out_absent(&mut value);
        Ok(value.to_string().into_bytes())
    }

    /// The request itself, to be shown or recorded.
    #[must_use]
    pub fn message(&self) -> &ApplicationSyncRequest {
        &self.0
    }
}

/// By hand: manifests of a local sync may hold secrets.
impl fmt::Debug for SyncRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncRequest")
            .field("app", &self.app())
            .field("revision", &self.revision())
            .field("revisions", &self.revisions().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Removes `null` and empty lists, as Go does.
fn leave_out_absent(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, v| !v.is_null() && v.as_array().is_none_or(|items| !items.is_empty()));
        fields.values_mut().for_each(leave_out_absent);
    } else if let Value::Array(items) = value {
        items.iter_mut().for_each(leave_out_absent);
    }
}

/// Whether Git, Helm and OCI clients can be handed `text`: none of them may take it for an option.
fn is_revision(text: &str) -> bool {
    text.len() <= 1024 && !text.starts_with('-') && !text.chars().any(char::is_control)
}

/// The JSON form of a hook: the fields of its inner message stand in it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HookJson {
    #[serde(default)]
    force: Option<bool>,
}

impl From<HookJson> for SyncStrategyHook {
    fn from(hook: HookJson) -> Self {
        Self {
            sync_strategy_apply: hook
                .force
                .map(|force| SyncStrategyApply { force: Some(force) }),
        }
    }
}

impl From<SyncStrategyHook> for HookJson {
    fn from(hook: SyncStrategyHook) -> Self {
        Self {
            force: hook.sync_strategy_apply.and_then(|apply| apply.force),
        }
    }
}

/// A list that may be written as `null`.
pub(crate) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}
