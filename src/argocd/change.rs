//! Every kind of change that passes a door of the gate, and whether it needs evidence.
//!
//! A closed list: what moves what runs (another commit, another place, automated sync armed to do so
//! later) needs passing tests for exactly that; what only disturbs it (restart, scale, delete, pause)
//! needs a policy that allows it, and a record; a few changes nobody may make. A kind that is not here
//! cannot happen. In: nothing but names; the one thing that is told here is which kind a resource
//! action is, by Argo CD's built-in `resource_customizations`.

mod actions;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

pub use actions::{built_in, of_action};

/// What must be there before a change goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Needs {
    /// The kind of change decides: of a method alone it cannot be told.
    ByChange,
    /// Passing tests for exactly what is rolled out; then a policy and a record.
    Evidence,
    /// A policy that allows it, and a record.
    Policy,
    /// Nothing helps: it is always refused.
    Refused,
}

impl Needs {
    /// The word of the golden file and of records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ByChange => "by-change",
            Self::Evidence => "evidence",
            Self::Policy => "policy",
            Self::Refused => "refused",
        }
    }
}

/// Declares the enum, its list, its words and what each needs, a line a kind.
macro_rules! changes {
    ($($(#[doc = $doc:literal])+ $name:ident $word:literal $needs:ident;)+) => {
        /// A kind of change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Change {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Change {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word of the golden file and of records.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// What must be there before it goes through.
            #[must_use]
            pub fn needs(self) -> Needs {
                match self { $(Self::$name => Needs::$needs,)+ }
            }
        }
    };
}

changes! {
    /// Abort of a Rollout: back to what ran before.
    Abort "abort" Policy;
    /// Certificates and keys by which repositories are trusted.
    AdministerTrust "administer-trust" Policy;
    /// Automated sync is switched on.
    Arm "arm" Evidence;
    /// Clusters: where may be deployed to.
    ClusterWrite "cluster-write" Policy;
    /// An application is created that syncs by itself.
    CreateArmed "create-armed" Evidence;
    /// A Job or Workflow is started from what is rolled out already.
    CreateJob "create-job" Policy;
    /// An application is created that waits for a sync.
    CreatePlain "create-plain" Policy;
    /// An application is deleted, by itself or as a resource of another.
    DeleteApplication "delete-application" Policy;
    /// A live object is deleted.
    DeleteResource "delete-resource" Policy;
    /// A paused Deployment goes on to what it was changed to.
    DeploymentResume "deployment-resume" Evidence;
    /// The destination changes while automated sync is on.
    DestinationArmed "destination-armed" Evidence;
    /// The destination changes; a sync must follow.
    DestinationPlain "destination-plain" Policy;
    /// Automated sync is switched off.
    Disarm "disarm" Policy;
    /// A rollback that changes nothing.
    DryRollback "dry-rollback" Policy;
    /// A sync that changes nothing.
    DrySync "dry-sync" Policy;
    /// A request to the back end of an extension of the web UI.
    Extension "extension" Policy;
    /// Another delivery tool is made to fetch or roll out what the gate knows nothing of.
    ForeignRollout "foreign-rollout" Evidence;
    /// Caches are emptied, credentials rotated.
    Maintain "maintain" Policy;
    /// A pull request is merged: what is deployed next changes in Git.
    MergePullRequest "merge-pull-request" Evidence;
    /// Labels, annotations or finalizers that keep the application in its environment.
    Metadata "metadata" Policy;
    /// Labels move an application to another environment while automated sync is on.
    MoveArmed "move-armed" Evidence;
    /// Labels move an application to another environment.
    MovePlain "move-plain" Policy;
    /// `operation` is written into an application: a sync with whatever sources it says.
    OperationWritten "operation-written" Evidence;
    /// A live application, application set or project is patched in a form that only the cluster
    /// reads.
    PatchArgoOpaque "patch-argo-opaque" Refused;
    /// A live object is patched past Git.
    PatchResource "patch-resource" Evidence;
    /// A rollout or a controller is paused.
    Pause "pause" Policy;
    /// The project changes while automated sync is on.
    ProjectArmed "project-armed" Evidence;
    /// The project changes; a sync must follow.
    ProjectPlain "project-plain" Policy;
    /// Projects: what may be deployed where, and when.
    ProjectWrite "project-write" Policy;
    /// A controller's own rollout is promoted past its checks.
    Promote "promote" Evidence;
    /// Argo CD compares again, and hydrates.
    Refresh "refresh" Policy;
    /// Argo CD renders or tries what the caller supplies, and keeps nothing.
    Render "render" Policy;
    /// Repositories and their credentials: what may be deployed from where.
    RepositoryWrite "repository-write" Policy;
    /// Pods are started again.
    Restart "restart" Policy;
    /// Retries of automated sync take the newest commits.
    RetryNewest "retry-newest" Evidence;
    /// An entry of the history is rolled out again.
    Rollback "rollback" Evidence;
    /// A Rollout goes on to what it was changed to, at once.
    RolloutPromoteFull "rollout-promote-full" Evidence;
    /// A paused Rollout goes on.
    RolloutResume "rollout-resume" Evidence;
    /// An aborted Rollout is tried again.
    RolloutRetry "rollout-retry" Evidence;
    /// A Rollout skips a step, and with it the check there.
    RolloutSkipStep "rollout-skip-step" Evidence;
    /// Another number of pods.
    Scale "scale" Policy;
    /// An application set is created or changed, whose applications sync by themselves.
    SetArmed "set-armed" Evidence;
    /// An application set is deleted, with its applications.
    SetDelete "set-delete" Policy;
    /// An application set is created or changed, whose applications wait for a sync.
    SetPlain "set-plain" Policy;
    /// Source, sources or hydrator change while automated sync is on.
    SourceArmed "source-armed" Evidence;
    /// Source, sources or hydrator change; a sync must follow.
    SourcePlain "source-plain" Policy;
    /// `status` is written from outside: history and results would be what the caller says.
    StatusForged "status-forged" Refused;
    /// Something that stood still is started, as it was rolled out.
    Start "start" Policy;
    /// A sync.
    Sync "sync" Evidence;
    /// Options, retries and the like in the sync policy, automated sync left as it is.
    SyncPolicy "sync-policy" Policy;
    /// A shell in a pod.
    Terminal "terminal" Policy;
    /// An operation or a job is ended.
    Terminate "terminate" Policy;
    /// The built-in action, on an application without automated sync.
    ToggleAutoSyncOn "toggle-auto-sync-on" Evidence;
    /// The built-in action, on an application with automated sync.
    ToggleAutoSyncOff "toggle-auto-sync-off" Policy;
    /// Tokens, passwords and sessions of Argo CD itself.
    Token "token" Refused;
    /// An action that is not built in: nobody here knows what its script does.
    UnknownAction "unknown-action" Evidence;
    /// A Git host tells of a push.
    Webhook "webhook" Policy;
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// Whether Argo CD syncs `application` by itself: absent `enabled` means enabled.
#[must_use]
pub fn is_armed(application: &Value) -> bool {
    match application.pointer("/spec/syncPolicy/automated") {
        None | Some(Value::Null) => false,
        Some(automated) => automated.get("enabled") != Some(&Value::Bool(false)),
    }
}

/// `application` after the built-in action `toggle-auto-sync`, as its script does it.
#[must_use]
pub fn toggled(application: &Value) -> Value {
    let enabled = json!(!is_armed(application));
    let mut after = application.clone();
    let mut here = &mut after;
    for name in ["spec", "syncPolicy", "automated"] {
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        // An object takes any key.
        here = &mut here[name];
    }
    if !here.is_object() {
        *here = Value::Object(Map::new());
    }
    here["enabled"] = enabled;
    after
}

#[cfg(test)]
mod tests;
