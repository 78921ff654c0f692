//! Argo CD's built-in resource actions, by group, kind and name.
//!
//! Data, not code. Source: `resource_customizations/*/*/actions` of the Argo CD module. An operator may
//! add or replace actions with scripts of his own: what is not in the table is
//! [`Change::UnknownAction`].

use serde_json::Value;

use super::{Change, is_armed};

use Change::{
    Abort, CreateJob, DeleteResource, DeploymentResume, ForeignRollout, MergePullRequest, Pause,
    Promote, Refresh, Restart, RolloutPromoteFull, RolloutResume, RolloutRetry, RolloutSkipStep,
    Scale, Start, Terminate,
};

/// Group, kind, action, and what it does. Sorted.
#[rustfmt::skip]
pub(super) const ACTIONS: [(&str, &str, &str, Change); 102] = [
    ("apps", "DaemonSet", "restart", Restart),
    ("apps", "Deployment", "pause", Pause),
    ("apps", "Deployment", "restart", Restart),
    ("apps", "Deployment", "resume", DeploymentResume),
    ("apps", "Deployment", "scale", Scale),
    ("apps", "StatefulSet", "restart", Restart),
    ("apps", "StatefulSet", "scale", Scale),
    ("argoproj.io", "AnalysisRun", "terminate", Promote),
    ("argoproj.io", "CronWorkflow", "create-workflow", CreateJob),
    ("argoproj.io", "Rollout", "abort", Abort),
    ("argoproj.io", "Rollout", "pause", Pause),
    ("argoproj.io", "Rollout", "promote-full", RolloutPromoteFull),
    ("argoproj.io", "Rollout", "restart", Restart),
    ("argoproj.io", "Rollout", "resume", RolloutResume),
    ("argoproj.io", "Rollout", "retry", RolloutRetry),
    ("argoproj.io", "Rollout", "skip-current-step", RolloutSkipStep),
    ("argoproj.io", "WorkflowTemplate", "create-workflow", CreateJob),
    ("batch", "CronJob", "create-job", CreateJob),
    ("batch", "CronJob", "resume", Start),
    ("batch", "CronJob", "suspend", Pause),
    ("batch", "Job", "resume", Start),
    ("batch", "Job", "suspend", Pause),
    ("batch", "Job", "terminate", Terminate),
    ("capsule.clastix.io", "GlobalTenantResource", "cordon", Pause),
    ("capsule.clastix.io", "GlobalTenantResource", "reconcile", ForeignRollout),
    ("capsule.clastix.io", "GlobalTenantResource", "uncordon", ForeignRollout),
    ("capsule.clastix.io", "Tenant", "cordon", Pause),
    ("capsule.clastix.io", "Tenant", "uncordon", Start),
    ("capsule.clastix.io", "TenantResource", "cordon", Pause),
    ("capsule.clastix.io", "TenantResource", "reconcile", ForeignRollout),
    ("capsule.clastix.io", "TenantResource", "uncordon", ForeignRollout),
    ("core.strimzi.io", "StrimziPodSet", "rolling-update", Restart),
    ("external-secrets.io", "ExternalSecret", "refresh", Refresh),
    ("external-secrets.io", "PushSecret", "push", Refresh),
    ("helm.toolkit.fluxcd.io", "HelmRelease", "reconcile", ForeignRollout),
    ("helm.toolkit.fluxcd.io", "HelmRelease", "resume", ForeignRollout),
    ("helm.toolkit.fluxcd.io", "HelmRelease", "suspend", Pause),
    ("image.toolkit.fluxcd.io", "ImageRepository", "reconcile", ForeignRollout),
    ("image.toolkit.fluxcd.io", "ImageRepository", "resume", ForeignRollout),
    ("image.toolkit.fluxcd.io", "ImageRepository", "suspend", Pause),
    ("image.toolkit.fluxcd.io", "ImageUpdateAutomation", "reconcile", ForeignRollout),
    ("image.toolkit.fluxcd.io", "ImageUpdateAutomation", "resume", ForeignRollout),
    ("image.toolkit.fluxcd.io", "ImageUpdateAutomation", "suspend", Pause),
    ("k8s.mariadb.com", "MariaDB", "resume", ForeignRollout),
    ("k8s.mariadb.com", "MariaDB", "suspend", Pause),
    ("keda.sh", "ScaledJob", "pause", Scale),
    ("keda.sh", "ScaledJob", "resume", Scale),
    ("keda.sh", "ScaledObject", "pause", Scale),
    ("keda.sh", "ScaledObject", "paused-replicas", Scale),
    ("keda.sh", "ScaledObject", "resume", Scale),
    ("kustomize.toolkit.fluxcd.io", "Kustomization", "reconcile", ForeignRollout),
    ("kustomize.toolkit.fluxcd.io", "Kustomization", "resume", ForeignRollout),
    ("kustomize.toolkit.fluxcd.io", "Kustomization", "suspend", Pause),
    ("notification.toolkit.fluxcd.io", "Alert", "resume", Start),
    ("notification.toolkit.fluxcd.io", "Alert", "suspend", Pause),
    ("notification.toolkit.fluxcd.io", "Provider", "resume", Start),
    ("notification.toolkit.fluxcd.io", "Provider", "suspend", Pause),
    ("notification.toolkit.fluxcd.io", "Receiver", "reconcile", Refresh),
    ("notification.toolkit.fluxcd.io", "Receiver", "resume", Start),
    ("notification.toolkit.fluxcd.io", "Receiver", "suspend", Pause),
    ("numaflow.numaproj.io", "InterStepBufferService", "force-promote", Promote),
    ("numaflow.numaproj.io", "MonoVertex", "force-promote", Promote),
    ("numaflow.numaproj.io", "MonoVertex", "pause", Pause),
    ("numaflow.numaproj.io", "MonoVertex", "unpause-fast", Start),
    ("numaflow.numaproj.io", "MonoVertex", "unpause-gradual", Start),
    ("numaflow.numaproj.io", "Pipeline", "delete", DeleteResource),
    ("numaflow.numaproj.io", "Pipeline", "force-promote", Promote),
    ("numaflow.numaproj.io", "Pipeline", "pause", Pause),
    ("numaflow.numaproj.io", "Pipeline", "unpause-fast", Start),
    ("numaflow.numaproj.io", "Pipeline", "unpause-gradual", Start),
    ("numaplane.numaproj.io", "MonoVertexRollout", "pause", Pause),
    ("numaplane.numaproj.io", "MonoVertexRollout", "unpause-fast", Promote),
    ("numaplane.numaproj.io", "MonoVertexRollout", "unpause-gradual", Promote),
    ("numaplane.numaproj.io", "PipelineRollout", "allow-data-loss", Promote),
    ("numaplane.numaproj.io", "PipelineRollout", "disallow-data-loss", Pause),
    ("numaplane.numaproj.io", "PipelineRollout", "pause", Pause),
    ("numaplane.numaproj.io", "PipelineRollout", "unpause-fast", Promote),
    ("numaplane.numaproj.io", "PipelineRollout", "unpause-gradual", Promote),
    ("postgresql.cnpg.io", "Cluster", "hibernate", Pause),
    ("postgresql.cnpg.io", "Cluster", "promote", Restart),
    ("postgresql.cnpg.io", "Cluster", "rehydrate", Start),
    ("postgresql.cnpg.io", "Cluster", "reload", Restart),
    ("postgresql.cnpg.io", "Cluster", "restart", Restart),
    ("postgresql.cnpg.io", "Cluster", "resume", ForeignRollout),
    ("postgresql.cnpg.io", "Cluster", "suspend", Pause),
    ("promoter.argoproj.io", "PullRequest", "merge", MergePullRequest),
    ("psmdb.percona.com", "PerconaServerMongoDB", "unpause", Start),
    ("source.toolkit.fluxcd.io", "Bucket", "reconcile", ForeignRollout),
    ("source.toolkit.fluxcd.io", "Bucket", "resume", ForeignRollout),
    ("source.toolkit.fluxcd.io", "Bucket", "suspend", Pause),
    ("source.toolkit.fluxcd.io", "GitRepository", "reconcile", ForeignRollout),
    ("source.toolkit.fluxcd.io", "GitRepository", "resume", ForeignRollout),
    ("source.toolkit.fluxcd.io", "GitRepository", "suspend", Pause),
    ("source.toolkit.fluxcd.io", "HelmChart", "reconcile", ForeignRollout),
    ("source.toolkit.fluxcd.io", "HelmChart", "resume", ForeignRollout),
    ("source.toolkit.fluxcd.io", "HelmChart", "suspend", Pause),
    ("source.toolkit.fluxcd.io", "HelmRepository", "reconcile", ForeignRollout),
    ("source.toolkit.fluxcd.io", "HelmRepository", "resume", ForeignRollout),
    ("source.toolkit.fluxcd.io", "HelmRepository", "suspend", Pause),
    ("source.toolkit.fluxcd.io", "OCIRepository", "reconcile", ForeignRollout),
    ("source.toolkit.fluxcd.io", "OCIRepository", "resume", ForeignRollout),
    ("source.toolkit.fluxcd.io", "OCIRepository", "suspend", Pause),
];

/// The built-in actions by `GROUP/KIND/ACTION`, the toggle of automated sync among them.
pub fn built_in() -> impl Iterator<Item = String> {
    ACTIONS
        .iter()
        .map(|(group, kind, action, _)| (*group, *kind, *action))
        .chain([TOGGLE])
        .map(|(group, kind, action)| format!("{group}/{kind}/{action}"))
}

/// The one action whose effect depends on the object.
const TOGGLE: (&str, &str, &str) = ("argoproj.io", "Application", "toggle-auto-sync");

/// Which kind of change the action `action` is on `live`, an object of `group` and `kind`.
///
/// An ended `AnalysisRun` counts as passed where nothing has failed yet, so that its Rollout goes on.
/// Resuming another delivery tool lets it fetch and roll out what no commit here says.
#[must_use]
pub fn of_action(group: &str, kind: &str, action: &str, live: &Value) -> Change {
    if (group, kind, action) == TOGGLE {
        return if is_armed(live) {
            Change::ToggleAutoSyncOff
        } else {
            Change::ToggleAutoSyncOn
        };
    }
    let wanted = (group, kind, action);
    ACTIONS
        .binary_search_by_key(&wanted, |(group, kind, action, _)| (*group, *kind, *action))
        .ok()
        .and_then(|place| ACTIONS.get(place))
        .map_or(Change::UnknownAction, |(.., change)| *change)
}
