//! The closed list of what Argo CD's API can be asked for, and the effect of each.
//!
//! One variant per gRPC method (109 of them), named service and method, in alphabetical order. What
//! is known of each stands in [`super::table`]; an operation that is not here cannot be asked for.

use serde::{Serialize, Serializer};

use super::table::{self, Row};

/// One method of Argo CD's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `/account.AccountService/CanI`
    AccountCanI,
    /// `/account.AccountService/CreateToken`
    AccountCreateToken,
    /// `/account.AccountService/DeleteToken`
    AccountDeleteToken,
    /// `/account.AccountService/GetAccount`
    AccountGetAccount,
    /// `/account.AccountService/ListAccounts`
    AccountListAccounts,
    /// `/account.AccountService/UpdatePassword`
    AccountUpdatePassword,
    /// `/application.ApplicationService/Create`
    ApplicationCreate,
    /// `/application.ApplicationService/Delete`
    ApplicationDelete,
    /// `/application.ApplicationService/DeleteResource`
    ApplicationDeleteResource,
    /// `/application.ApplicationService/Get`
    ApplicationGet,
    /// `/application.ApplicationService/GetApplicationSyncWindows`
    ApplicationGetApplicationSyncWindows,
    /// `/application.ApplicationService/GetManifests`
    ApplicationGetManifests,
    /// `/application.ApplicationService/GetManifestsWithFiles`
    ApplicationGetManifestsWithFiles,
    /// `/application.ApplicationService/GetOCIMetadata`
    ApplicationGetOciMetadata,
    /// `/application.ApplicationService/GetResource`
    ApplicationGetResource,
    /// `/application.ApplicationService/List`
    ApplicationList,
    /// `/application.ApplicationService/ListLinks`
    ApplicationListLinks,
    /// `/application.ApplicationService/ListResourceActions`
    ApplicationListResourceActions,
    /// `/application.ApplicationService/ListResourceEvents`
    ApplicationListResourceEvents,
    /// `/application.ApplicationService/ListResourceLinks`
    ApplicationListResourceLinks,
    /// `/application.ApplicationService/ManagedResources`
    ApplicationManagedResources,
    /// `/application.ApplicationService/Patch`
    ApplicationPatch,
    /// `/application.ApplicationService/PatchResource`
    ApplicationPatchResource,
    /// `/application.ApplicationService/PodLogs`
    ApplicationPodLogs,
    /// `/application.ApplicationService/ResourceTree`
    ApplicationResourceTree,
    /// `/application.ApplicationService/RevisionChartDetails`
    ApplicationRevisionChartDetails,
    /// `/application.ApplicationService/RevisionMetadata`
    ApplicationRevisionMetadata,
    /// `/application.ApplicationService/Rollback`
    ApplicationRollback,
    /// `/application.ApplicationService/RunResourceAction`
    ApplicationRunResourceAction,
    /// `/application.ApplicationService/RunResourceActionV2`
    ApplicationRunResourceActionV2,
    /// `/application.ApplicationService/ServerSideDiff`
    ApplicationServerSideDiff,
    /// `/applicationset.ApplicationSetService/Create`
    ApplicationSetCreate,
    /// `/applicationset.ApplicationSetService/Delete`
    ApplicationSetDelete,
    /// `/applicationset.ApplicationSetService/Generate`
    ApplicationSetGenerate,
    /// `/applicationset.ApplicationSetService/Get`
    ApplicationSetGet,
    /// `/applicationset.ApplicationSetService/List`
    ApplicationSetList,
    /// `/applicationset.ApplicationSetService/ListResourceEvents`
    ApplicationSetListResourceEvents,
    /// `/applicationset.ApplicationSetService/ResourceTree`
    ApplicationSetResourceTree,
    /// `/applicationset.ApplicationSetService/Watch`
    ApplicationSetWatch,
    /// `/application.ApplicationService/Sync`
    ApplicationSync,
    /// `/application.ApplicationService/TerminateOperation`
    ApplicationTerminateOperation,
    /// `/application.ApplicationService/Update`
    ApplicationUpdate,
    /// `/application.ApplicationService/UpdateSpec`
    ApplicationUpdateSpec,
    /// `/application.ApplicationService/Watch`
    ApplicationWatch,
    /// `/application.ApplicationService/WatchResourceTree`
    ApplicationWatchResourceTree,
    /// `/certificate.CertificateService/CreateCertificate`
    CertificateCreateCertificate,
    /// `/certificate.CertificateService/DeleteCertificate`
    CertificateDeleteCertificate,
    /// `/certificate.CertificateService/ListCertificates`
    CertificateListCertificates,
    /// `/cluster.ClusterService/Create`
    ClusterCreate,
    /// `/cluster.ClusterService/Delete`
    ClusterDelete,
    /// `/cluster.ClusterService/Get`
    ClusterGet,
    /// `/cluster.ClusterService/InvalidateCache`
    ClusterInvalidateCache,
    /// `/cluster.ClusterService/List`
    ClusterList,
    /// `/cluster.ClusterService/RotateAuth`
    ClusterRotateAuth,
    /// `/cluster.ClusterService/Update`
    ClusterUpdate,
    /// `/gpgkey.GPGKeyService/Create`
    GpgKeyCreate,
    /// `/gpgkey.GPGKeyService/Delete`
    GpgKeyDelete,
    /// `/gpgkey.GPGKeyService/Get`
    GpgKeyGet,
    /// `/gpgkey.GPGKeyService/List`
    GpgKeyList,
    /// `/notification.NotificationService/ListServices`
    NotificationListServices,
    /// `/notification.NotificationService/ListTemplates`
    NotificationListTemplates,
    /// `/notification.NotificationService/ListTriggers`
    NotificationListTriggers,
    /// `/project.ProjectService/Create`
    ProjectCreate,
    /// `/project.ProjectService/CreateToken`
    ProjectCreateToken,
    /// `/project.ProjectService/Delete`
    ProjectDelete,
    /// `/project.ProjectService/DeleteToken`
    ProjectDeleteToken,
    /// `/project.ProjectService/Get`
    ProjectGet,
    /// `/project.ProjectService/GetDetailedProject`
    ProjectGetDetailedProject,
    /// `/project.ProjectService/GetGlobalProjects`
    ProjectGetGlobalProjects,
    /// `/project.ProjectService/GetSyncWindowsState`
    ProjectGetSyncWindowsState,
    /// `/project.ProjectService/List`
    ProjectList,
    /// `/project.ProjectService/ListEvents`
    ProjectListEvents,
    /// `/project.ProjectService/ListLinks`
    ProjectListLinks,
    /// `/project.ProjectService/Update`
    ProjectUpdate,
    /// `/repocreds.RepoCredsService/CreateRepositoryCredentials`
    RepoCredsCreateRepositoryCredentials,
    /// `/repocreds.RepoCredsService/CreateWriteRepositoryCredentials`
    RepoCredsCreateWriteRepositoryCredentials,
    /// `/repocreds.RepoCredsService/DeleteRepositoryCredentials`
    RepoCredsDeleteRepositoryCredentials,
    /// `/repocreds.RepoCredsService/DeleteWriteRepositoryCredentials`
    RepoCredsDeleteWriteRepositoryCredentials,
    /// `/repocreds.RepoCredsService/ListRepositoryCredentials`
    RepoCredsListRepositoryCredentials,
    /// `/repocreds.RepoCredsService/ListWriteRepositoryCredentials`
    RepoCredsListWriteRepositoryCredentials,
    /// `/repocreds.RepoCredsService/UpdateRepositoryCredentials`
    RepoCredsUpdateRepositoryCredentials,
    /// `/repocreds.RepoCredsService/UpdateWriteRepositoryCredentials`
    RepoCredsUpdateWriteRepositoryCredentials,
    /// `/repository.RepositoryService/Create`
    RepositoryCreate,
    /// `/repository.RepositoryService/CreateRepository`
    RepositoryCreateRepository,
    /// `/repository.RepositoryService/CreateWriteRepository`
    RepositoryCreateWriteRepository,
    /// `/repository.RepositoryService/Delete`
    RepositoryDelete,
    /// `/repository.RepositoryService/DeleteRepository`
    RepositoryDeleteRepository,
    /// `/repository.RepositoryService/DeleteWriteRepository`
    RepositoryDeleteWriteRepository,
    /// `/repository.RepositoryService/Get`
    RepositoryGet,
    /// `/repository.RepositoryService/GetAppDetails`
    RepositoryGetAppDetails,
    /// `/repository.RepositoryService/GetHelmCharts`
    RepositoryGetHelmCharts,
    /// `/repository.RepositoryService/GetWrite`
    RepositoryGetWrite,
    /// `/repository.RepositoryService/List`
    RepositoryList,
    /// `/repository.RepositoryService/ListApps`
    RepositoryListApps,
    /// `/repository.RepositoryService/ListOCITags`
    RepositoryListOciTags,
    /// `/repository.RepositoryService/ListRefs`
    RepositoryListRefs,
    /// `/repository.RepositoryService/ListRepositories`
    RepositoryListRepositories,
    /// `/repository.RepositoryService/ListWriteRepositories`
    RepositoryListWriteRepositories,
    /// `/repository.RepositoryService/Update`
    RepositoryUpdate,
    /// `/repository.RepositoryService/UpdateRepository`
    RepositoryUpdateRepository,
    /// `/repository.RepositoryService/UpdateWriteRepository`
    RepositoryUpdateWriteRepository,
    /// `/repository.RepositoryService/ValidateAccess`
    RepositoryValidateAccess,
    /// `/repository.RepositoryService/ValidateWriteAccess`
    RepositoryValidateWriteAccess,
    /// `/session.SessionService/Create`
    SessionCreate,
    /// `/session.SessionService/Delete`
    SessionDelete,
    /// `/session.SessionService/GetUserInfo`
    SessionGetUserInfo,
    /// `/cluster.SettingsService/Get`
    SettingsGet,
    /// `/cluster.SettingsService/GetPlugins`
    SettingsGetPlugins,
    /// `/version.VersionService/Version`
    VersionVersion,
}

/// What a call does to the world; each operation has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Changes where, how or by whom things may be deployed: projects, clusters, repositories,
    /// application sets, trust, accounts.
    Administer,
    /// Changes what runs, or what will.
    Deploy,
    /// Changes nothing.
    Read,
    /// Reports what tests found. No operation of Argo CD has it; the gate's own do.
    Report,
    /// Makes Argo CD work with what the caller supplies, or refresh, and rolls nothing out itself.
    Write,
}

impl Effect {
    /// The word of policies, records and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Administer => "administer",
            Self::Deploy => "deploy",
            Self::Read => "read",
            Self::Report => "report",
            Self::Write => "write",
        }
    }
}

impl Operation {
    /// What the table says about it.
    #[must_use]
    pub fn row(self) -> &'static Row {
        table::row(self)
    }

    /// Its name as policies and records call it: `ApplicationService.Sync`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it does to the world.
    #[must_use]
    pub fn effect(self) -> Effect {
        self.row().effect
    }

    /// The operation behind a gRPC path. Only the exact path counts: no other letter case, no
    /// missing or doubled slash, no blank, no percent-encoding.
    #[must_use]
    pub fn from_grpc_path(path: &str) -> Option<Self> {
        table::by_grpc_path(path)
    }

    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        table::ROWS.iter().map(|row| row.operation)
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
