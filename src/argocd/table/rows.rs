//! The table itself: one row per method of Argo CD 3.6, in the order of [`Operation`](Op).
//!
//! Data, not code. Sources: `server/*/*.proto` and `pkg/apiclient/*/*.pb.gw.go` of the Argo CD
//! module; what differs there must differ here.

use super::{
    Answer, BODY_APPLICATION, Effect, FIRST_CHUNK, LINKS, Row, SELECTED, UPDATED_APPLICATION,
    delete, get, patch, post, put,
};
use crate::argocd::operation::Operation as Op;
use Effect::{Administer, Deploy, Read, Write};

/// Why credentials of Argo CD are not issued or revoked through the gate.
const USE_OWN_IDENTITY: &str = "tokens of Argo CD are not issued or revoked through the gate; \
    sign in as yourself (argocd login --sso) or with the workload identity of the job";
/// Why accounts of Argo CD are not shown or changed through the gate.
const NO_ACCOUNTS: &str = "local accounts of Argo CD are not used behind the gate; \
    argocd account get-user-info tells who you are";
/// What to do instead of a login by password.
const SIGN_IN: &str = "the gate takes no user name and password; sign in with argocd login --sso";
/// What to do instead of ending a session of Argo CD.
const SIGN_OUT: &str = "sessions of Argo CD are not used behind the gate; sign out at /auth/logout";

/// Every operation; the place of a row is the number of its operation. Two lines a row.
#[rustfmt::skip]
pub(crate) static ROWS: [Row; 109] = [
    Row::of(Op::AccountCanI, "AccountService.CanI", "/account.AccountService/CanI", Read)
        .answer(Answer::CanI).rest(&[get("/api/v1/account/can-i/{resource}/{action}/{subresource=**}")]),
    Row::of(Op::AccountCreateToken, "AccountService.CreateToken", "/account.AccountService/CreateToken", Administer)
        .refuse(USE_OWN_IDENTITY).rest(&[post("/api/v1/account/{name}/token").body("*")]),
    Row::of(Op::AccountDeleteToken, "AccountService.DeleteToken", "/account.AccountService/DeleteToken", Administer)
        .refuse(USE_OWN_IDENTITY).rest(&[delete("/api/v1/account/{name}/token/{id}")]),
    Row::of(Op::AccountGetAccount, "AccountService.GetAccount", "/account.AccountService/GetAccount", Read)
        .refuse(NO_ACCOUNTS).rest(&[get("/api/v1/account/{name}")]),
    Row::of(Op::AccountListAccounts, "AccountService.ListAccounts", "/account.AccountService/ListAccounts", Read)
        .refuse(NO_ACCOUNTS).rest(&[get("/api/v1/account")]),
    Row::of(Op::AccountUpdatePassword, "AccountService.UpdatePassword", "/account.AccountService/UpdatePassword", Administer)
        .refuse(NO_ACCOUNTS).rest(&[put("/api/v1/account/password").body("*")]),
    Row::of(Op::ApplicationCreate, "ApplicationService.Create", "/application.ApplicationService/Create", Deploy)
        .by_change().application(BODY_APPLICATION).rest(&[post("/api/v1/applications").body("application")]),
    Row::of(Op::ApplicationDelete, "ApplicationService.Delete", "/application.ApplicationService/Delete", Deploy)
        .app("name", 4, 5).rest(&[delete("/api/v1/applications/{name}")]),
    Row::of(Op::ApplicationDeleteResource, "ApplicationService.DeleteResource", "/application.ApplicationService/DeleteResource", Deploy)
        .app("name", 9, 10).rest(&[delete("/api/v1/applications/{name}/resource")]),
    Row::of(Op::ApplicationGet, "ApplicationService.Get", "/application.ApplicationService/Get", Read)
        .app("name", 7, 8).rest(&[get("/api/v1/applications/{name}")]),
    Row::of(Op::ApplicationGetApplicationSyncWindows, "ApplicationService.GetApplicationSyncWindows", "/application.ApplicationService/GetApplicationSyncWindows", Read)
        .app("name", 2, 3).rest(&[get("/api/v1/applications/{name}/syncwindows")]),
    Row::of(Op::ApplicationGetManifests, "ApplicationService.GetManifests", "/application.ApplicationService/GetManifests", Read)
        .app("name", 3, 4).rest(&[get("/api/v1/applications/{name}/manifests")]),
    Row::of(Op::ApplicationGetManifestsWithFiles, "ApplicationService.GetManifestsWithFiles", "/application.ApplicationService/GetManifestsWithFiles", Write)
        .client_stream().application(FIRST_CHUNK).rest(&[post("/api/v1/applications/manifestsWithFiles").body("*")]),
    Row::of(Op::ApplicationGetOciMetadata, "ApplicationService.GetOCIMetadata", "/application.ApplicationService/GetOCIMetadata", Read)
        .app("name", 3, 4).rest(&[get("/api/v1/applications/{name}/revisions/{revision}/ocimetadata")]),
    Row::of(Op::ApplicationGetResource, "ApplicationService.GetResource", "/application.ApplicationService/GetResource", Read)
        .app("name", 7, 8).rest(&[get("/api/v1/applications/{name}/resource")]),
    Row::of(Op::ApplicationList, "ApplicationService.List", "/application.ApplicationService/List", Read)
        .application(SELECTED).filter().rest(&[get("/api/v1/applications")]),
    Row::of(Op::ApplicationListLinks, "ApplicationService.ListLinks", "/application.ApplicationService/ListLinks", Read)
        .application(LINKS).rest(&[get("/api/v1/applications/{name}/links")]),
    Row::of(Op::ApplicationListResourceActions, "ApplicationService.ListResourceActions", "/application.ApplicationService/ListResourceActions", Read)
        .app("name", 7, 8).rest(&[get("/api/v1/applications/{name}/resource/actions")]),
    Row::of(Op::ApplicationListResourceEvents, "ApplicationService.ListResourceEvents", "/application.ApplicationService/ListResourceEvents", Read)
        .app("name", 5, 6).rest(&[get("/api/v1/applications/{name}/events")]),
    Row::of(Op::ApplicationListResourceLinks, "ApplicationService.ListResourceLinks", "/application.ApplicationService/ListResourceLinks", Read)
        .app("name", 7, 8).rest(&[get("/api/v1/applications/{name}/resource/links")]),
    Row::of(Op::ApplicationManagedResources, "ApplicationService.ManagedResources", "/application.ApplicationService/ManagedResources", Read)
        .app("applicationName", 7, 8).rest(&[get("/api/v1/applications/{applicationName}/managed-resources")]),
    Row::of(Op::ApplicationPatch, "ApplicationService.Patch", "/application.ApplicationService/Patch", Deploy)
        .by_change().app("name", 5, 6).rest(&[patch("/api/v1/applications/{name}").body("*")]),
    Row::of(Op::ApplicationPatchResource, "ApplicationService.PatchResource", "/application.ApplicationService/PatchResource", Deploy)
        .by_change().app("name", 9, 10).rest(&[post("/api/v1/applications/{name}/resource").body("patch")]),
    Row::of(Op::ApplicationPodLogs, "ApplicationService.PodLogs", "/application.ApplicationService/PodLogs", Read)
        .server_stream().app("name", 15, 16).rest(&[get("/api/v1/applications/{name}/pods/{podName}/logs"), get("/api/v1/applications/{name}/logs")]),
    Row::of(Op::ApplicationResourceTree, "ApplicationService.ResourceTree", "/application.ApplicationService/ResourceTree", Read)
        .app("applicationName", 7, 8).rest(&[get("/api/v1/applications/{applicationName}/resource-tree")]),
    Row::of(Op::ApplicationRevisionChartDetails, "ApplicationService.RevisionChartDetails", "/application.ApplicationService/RevisionChartDetails", Read)
        .app("name", 3, 4).rest(&[get("/api/v1/applications/{name}/revisions/{revision}/chartdetails")]),
    Row::of(Op::ApplicationRevisionMetadata, "ApplicationService.RevisionMetadata", "/application.ApplicationService/RevisionMetadata", Read)
        .app("name", 3, 4).rest(&[get("/api/v1/applications/{name}/revisions/{revision}/metadata")]),
    Row::of(Op::ApplicationRollback, "ApplicationService.Rollback", "/application.ApplicationService/Rollback", Deploy)
        .by_change().app("name", 6, 7).rest(&[post("/api/v1/applications/{name}/rollback").body("*")]),
    Row::of(Op::ApplicationRunResourceAction, "ApplicationService.RunResourceAction", "/application.ApplicationService/RunResourceAction", Deploy)
        .by_change().app("name", 8, 9).rest(&[post("/api/v1/applications/{name}/resource/actions").body("action")]),
    Row::of(Op::ApplicationRunResourceActionV2, "ApplicationService.RunResourceActionV2", "/application.ApplicationService/RunResourceActionV2", Deploy)
        .by_change().app("name", 8, 9).rest(&[post("/api/v1/applications/{name}/resource/actions/v2").body("*")]),
    Row::of(Op::ApplicationServerSideDiff, "ApplicationService.ServerSideDiff", "/application.ApplicationService/ServerSideDiff", Write)
        .app("appName", 2, 3).rest(&[get("/api/v1/applications/{appName}/server-side-diff")]),
    Row::of(Op::ApplicationSetCreate, "ApplicationSetService.Create", "/applicationset.ApplicationSetService/Create", Administer)
        .by_change().rest(&[post("/api/v1/applicationsets").body("applicationset")]),
    Row::of(Op::ApplicationSetDelete, "ApplicationSetService.Delete", "/applicationset.ApplicationSetService/Delete", Administer)
        .rest(&[delete("/api/v1/applicationsets/{name}")]),
    Row::of(Op::ApplicationSetGenerate, "ApplicationSetService.Generate", "/applicationset.ApplicationSetService/Generate", Administer)
        .rest(&[post("/api/v1/applicationsets/generate").body("*")]),
    Row::of(Op::ApplicationSetGet, "ApplicationSetService.Get", "/applicationset.ApplicationSetService/Get", Read)
        .rest(&[get("/api/v1/applicationsets/{name}")]),
    Row::of(Op::ApplicationSetList, "ApplicationSetService.List", "/applicationset.ApplicationSetService/List", Read)
        .filter().rest(&[get("/api/v1/applicationsets")]),
    Row::of(Op::ApplicationSetListResourceEvents, "ApplicationSetService.ListResourceEvents", "/applicationset.ApplicationSetService/ListResourceEvents", Read)
        .rest(&[get("/api/v1/applicationsets/{name}/events")]),
    Row::of(Op::ApplicationSetResourceTree, "ApplicationSetService.ResourceTree", "/applicationset.ApplicationSetService/ResourceTree", Read)
        .rest(&[get("/api/v1/applicationsets/{name}/resource-tree")]),
    Row::of(Op::ApplicationSetWatch, "ApplicationSetService.Watch", "/applicationset.ApplicationSetService/Watch", Read)
        .server_stream().filter().rest(&[get("/api/v1/stream/applicationsets")]),
    Row::of(Op::ApplicationSync, "ApplicationService.Sync", "/application.ApplicationService/Sync", Deploy)
        .by_change().app("name", 12, 13).rest(&[post("/api/v1/applications/{name}/sync").body("*")]),
    Row::of(Op::ApplicationTerminateOperation, "ApplicationService.TerminateOperation", "/application.ApplicationService/TerminateOperation", Deploy)
        .app("name", 2, 3).rest(&[delete("/api/v1/applications/{name}/operation")]),
    Row::of(Op::ApplicationUpdate, "ApplicationService.Update", "/application.ApplicationService/Update", Deploy)
        .by_change().application(UPDATED_APPLICATION).rest(&[put("/api/v1/applications/{application.metadata.name}").body("application")]),
    Row::of(Op::ApplicationUpdateSpec, "ApplicationService.UpdateSpec", "/application.ApplicationService/UpdateSpec", Deploy)
        .by_change().app("name", 4, 5).rest(&[put("/api/v1/applications/{name}/spec").body("spec")]),
    Row::of(Op::ApplicationWatch, "ApplicationService.Watch", "/application.ApplicationService/Watch", Read)
        .server_stream().application(SELECTED).filter().rest(&[get("/api/v1/stream/applications")]),
    Row::of(Op::ApplicationWatchResourceTree, "ApplicationService.WatchResourceTree", "/application.ApplicationService/WatchResourceTree", Read)
        .server_stream().app("applicationName", 7, 8).rest(&[get("/api/v1/stream/applications/{applicationName}/resource-tree")]),
    Row::of(Op::CertificateCreateCertificate, "CertificateService.CreateCertificate", "/certificate.CertificateService/CreateCertificate", Administer)
        .rest(&[post("/api/v1/certificates").body("certificates")]),
    Row::of(Op::CertificateDeleteCertificate, "CertificateService.DeleteCertificate", "/certificate.CertificateService/DeleteCertificate", Administer)
        .rest(&[delete("/api/v1/certificates")]),
    Row::of(Op::CertificateListCertificates, "CertificateService.ListCertificates", "/certificate.CertificateService/ListCertificates", Read)
        .rest(&[get("/api/v1/certificates")]),
    Row::of(Op::ClusterCreate, "ClusterService.Create", "/cluster.ClusterService/Create", Administer)
        .rest(&[post("/api/v1/clusters").body("cluster")]),
    Row::of(Op::ClusterDelete, "ClusterService.Delete", "/cluster.ClusterService/Delete", Administer)
        .rest(&[delete("/api/v1/clusters/{id.value}")]),
    Row::of(Op::ClusterGet, "ClusterService.Get", "/cluster.ClusterService/Get", Read)
        .rest(&[get("/api/v1/clusters/{id.value}")]),
    Row::of(Op::ClusterInvalidateCache, "ClusterService.InvalidateCache", "/cluster.ClusterService/InvalidateCache", Administer)
        .rest(&[post("/api/v1/clusters/{id.value}/invalidate-cache")]),
    Row::of(Op::ClusterList, "ClusterService.List", "/cluster.ClusterService/List", Read)
        .filter().rest(&[get("/api/v1/clusters")]),
    Row::of(Op::ClusterRotateAuth, "ClusterService.RotateAuth", "/cluster.ClusterService/RotateAuth", Administer)
        .rest(&[post("/api/v1/clusters/{id.value}/rotate-auth")]),
    Row::of(Op::ClusterUpdate, "ClusterService.Update", "/cluster.ClusterService/Update", Administer)
        .rest(&[put("/api/v1/clusters/{id.value}").body("cluster")]),
    Row::of(Op::GpgKeyCreate, "GPGKeyService.Create", "/gpgkey.GPGKeyService/Create", Administer)
        .rest(&[post("/api/v1/gpgkeys").body("publickey")]),
    Row::of(Op::GpgKeyDelete, "GPGKeyService.Delete", "/gpgkey.GPGKeyService/Delete", Administer)
        .rest(&[delete("/api/v1/gpgkeys")]),
    Row::of(Op::GpgKeyGet, "GPGKeyService.Get", "/gpgkey.GPGKeyService/Get", Read)
        .rest(&[get("/api/v1/gpgkeys/{keyID}")]),
    Row::of(Op::GpgKeyList, "GPGKeyService.List", "/gpgkey.GPGKeyService/List", Read)
        .rest(&[get("/api/v1/gpgkeys")]),
    Row::of(Op::NotificationListServices, "NotificationService.ListServices", "/notification.NotificationService/ListServices", Read)
        .rest(&[get("/api/v1/notifications/services")]),
    Row::of(Op::NotificationListTemplates, "NotificationService.ListTemplates", "/notification.NotificationService/ListTemplates", Read)
        .rest(&[get("/api/v1/notifications/templates")]),
    Row::of(Op::NotificationListTriggers, "NotificationService.ListTriggers", "/notification.NotificationService/ListTriggers", Read)
        .rest(&[get("/api/v1/notifications/triggers")]),
    Row::of(Op::ProjectCreate, "ProjectService.Create", "/project.ProjectService/Create", Administer)
        .rest(&[post("/api/v1/projects").body("*")]),
    Row::of(Op::ProjectCreateToken, "ProjectService.CreateToken", "/project.ProjectService/CreateToken", Administer)
        .refuse(USE_OWN_IDENTITY).rest(&[post("/api/v1/projects/{project}/roles/{role}/token").body("*")]),
    Row::of(Op::ProjectDelete, "ProjectService.Delete", "/project.ProjectService/Delete", Administer)
        .rest(&[delete("/api/v1/projects/{name}")]),
    Row::of(Op::ProjectDeleteToken, "ProjectService.DeleteToken", "/project.ProjectService/DeleteToken", Administer)
        .refuse(USE_OWN_IDENTITY).rest(&[delete("/api/v1/projects/{project}/roles/{role}/token/{iat}")]),
    Row::of(Op::ProjectGet, "ProjectService.Get", "/project.ProjectService/Get", Read)
        .rest(&[get("/api/v1/projects/{name}")]),
    Row::of(Op::ProjectGetDetailedProject, "ProjectService.GetDetailedProject", "/project.ProjectService/GetDetailedProject", Read)
        .rest(&[get("/api/v1/projects/{name}/detailed")]),
    Row::of(Op::ProjectGetGlobalProjects, "ProjectService.GetGlobalProjects", "/project.ProjectService/GetGlobalProjects", Read)
        .rest(&[get("/api/v1/projects/{name}/globalprojects")]),
    Row::of(Op::ProjectGetSyncWindowsState, "ProjectService.GetSyncWindowsState", "/project.ProjectService/GetSyncWindowsState", Read)
        .rest(&[get("/api/v1/projects/{name}/syncwindows")]),
    Row::of(Op::ProjectList, "ProjectService.List", "/project.ProjectService/List", Read)
        .filter().rest(&[get("/api/v1/projects")]),
    Row::of(Op::ProjectListEvents, "ProjectService.ListEvents", "/project.ProjectService/ListEvents", Read)
        .rest(&[get("/api/v1/projects/{name}/events")]),
    Row::of(Op::ProjectListLinks, "ProjectService.ListLinks", "/project.ProjectService/ListLinks", Read)
        .rest(&[get("/api/v1/projects/{name}/links")]),
    Row::of(Op::ProjectUpdate, "ProjectService.Update", "/project.ProjectService/Update", Administer)
        .rest(&[put("/api/v1/projects/{project.metadata.name}").body("*")]),
    Row::of(Op::RepoCredsCreateRepositoryCredentials, "RepoCredsService.CreateRepositoryCredentials", "/repocreds.RepoCredsService/CreateRepositoryCredentials", Administer)
        .rest(&[post("/api/v1/repocreds").body("creds")]),
    Row::of(Op::RepoCredsCreateWriteRepositoryCredentials, "RepoCredsService.CreateWriteRepositoryCredentials", "/repocreds.RepoCredsService/CreateWriteRepositoryCredentials", Administer)
        .rest(&[post("/api/v1/write-repocreds").body("creds")]),
    Row::of(Op::RepoCredsDeleteRepositoryCredentials, "RepoCredsService.DeleteRepositoryCredentials", "/repocreds.RepoCredsService/DeleteRepositoryCredentials", Administer)
        .rest(&[delete("/api/v1/repocreds/{url}")]),
    Row::of(Op::RepoCredsDeleteWriteRepositoryCredentials, "RepoCredsService.DeleteWriteRepositoryCredentials", "/repocreds.RepoCredsService/DeleteWriteRepositoryCredentials", Administer)
        .rest(&[delete("/api/v1/write-repocreds/{url}")]),
    Row::of(Op::RepoCredsListRepositoryCredentials, "RepoCredsService.ListRepositoryCredentials", "/repocreds.RepoCredsService/ListRepositoryCredentials", Read)
        .filter().rest(&[get("/api/v1/repocreds")]),
    Row::of(Op::RepoCredsListWriteRepositoryCredentials, "RepoCredsService.ListWriteRepositoryCredentials", "/repocreds.RepoCredsService/ListWriteRepositoryCredentials", Read)
        .filter().rest(&[get("/api/v1/write-repocreds")]),
    Row::of(Op::RepoCredsUpdateRepositoryCredentials, "RepoCredsService.UpdateRepositoryCredentials", "/repocreds.RepoCredsService/UpdateRepositoryCredentials", Administer)
        .rest(&[put("/api/v1/repocreds/{creds.url}").body("creds")]),
    Row::of(Op::RepoCredsUpdateWriteRepositoryCredentials, "RepoCredsService.UpdateWriteRepositoryCredentials", "/repocreds.RepoCredsService/UpdateWriteRepositoryCredentials", Administer)
        .rest(&[put("/api/v1/write-repocreds/{creds.url}").body("creds")]),
    Row::of(Op::RepositoryCreate, "RepositoryService.Create", "/repository.RepositoryService/Create", Administer)
        .rest(&[post("/api/v1/repositories").body("repo")]),
    Row::of(Op::RepositoryCreateRepository, "RepositoryService.CreateRepository", "/repository.RepositoryService/CreateRepository", Administer)
        .rest(&[post("/api/v1/repositories").body("repo").shadowed()]),
    Row::of(Op::RepositoryCreateWriteRepository, "RepositoryService.CreateWriteRepository", "/repository.RepositoryService/CreateWriteRepository", Administer)
        .rest(&[post("/api/v1/write-repositories").body("repo")]),
    Row::of(Op::RepositoryDelete, "RepositoryService.Delete", "/repository.RepositoryService/Delete", Administer)
        .rest(&[delete("/api/v1/repositories/{repo}")]),
    Row::of(Op::RepositoryDeleteRepository, "RepositoryService.DeleteRepository", "/repository.RepositoryService/DeleteRepository", Administer)
        .rest(&[delete("/api/v1/repositories/{repo}").shadowed()]),
    Row::of(Op::RepositoryDeleteWriteRepository, "RepositoryService.DeleteWriteRepository", "/repository.RepositoryService/DeleteWriteRepository", Administer)
        .rest(&[delete("/api/v1/write-repositories/{repo}")]),
    Row::of(Op::RepositoryGet, "RepositoryService.Get", "/repository.RepositoryService/Get", Read)
        .rest(&[get("/api/v1/repositories/{repo}")]),
    Row::of(Op::RepositoryGetAppDetails, "RepositoryService.GetAppDetails", "/repository.RepositoryService/GetAppDetails", Read)
        .rest(&[post("/api/v1/repositories/{source.repoURL}/appdetails").body("*")]),
    Row::of(Op::RepositoryGetHelmCharts, "RepositoryService.GetHelmCharts", "/repository.RepositoryService/GetHelmCharts", Read)
        .rest(&[get("/api/v1/repositories/{repo}/helmcharts")]),
    Row::of(Op::RepositoryGetWrite, "RepositoryService.GetWrite", "/repository.RepositoryService/GetWrite", Read)
        .rest(&[get("/api/v1/write-repositories/{repo}")]),
    Row::of(Op::RepositoryList, "RepositoryService.List", "/repository.RepositoryService/List", Read)
        .filter().rest(&[get("/api/v1/repositories")]),
    Row::of(Op::RepositoryListApps, "RepositoryService.ListApps", "/repository.RepositoryService/ListApps", Read)
        .rest(&[get("/api/v1/repositories/{repo}/apps")]),
    Row::of(Op::RepositoryListOciTags, "RepositoryService.ListOCITags", "/repository.RepositoryService/ListOCITags", Read)
        .rest(&[get("/api/v1/repositories/{repo}/oci-tags")]),
    Row::of(Op::RepositoryListRefs, "RepositoryService.ListRefs", "/repository.RepositoryService/ListRefs", Read)
        .rest(&[get("/api/v1/repositories/{repo}/refs")]),
    Row::of(Op::RepositoryListRepositories, "RepositoryService.ListRepositories", "/repository.RepositoryService/ListRepositories", Read)
        .filter().rest(&[get("/api/v1/repositories").shadowed()]),
    Row::of(Op::RepositoryListWriteRepositories, "RepositoryService.ListWriteRepositories", "/repository.RepositoryService/ListWriteRepositories", Read)
        .filter().rest(&[get("/api/v1/write-repositories")]),
    Row::of(Op::RepositoryUpdate, "RepositoryService.Update", "/repository.RepositoryService/Update", Administer)
        .rest(&[put("/api/v1/repositories/{repo.repo}").body("repo")]),
    Row::of(Op::RepositoryUpdateRepository, "RepositoryService.UpdateRepository", "/repository.RepositoryService/UpdateRepository", Administer)
        .rest(&[put("/api/v1/repositories/{repo.repo}").body("repo").shadowed()]),
    Row::of(Op::RepositoryUpdateWriteRepository, "RepositoryService.UpdateWriteRepository", "/repository.RepositoryService/UpdateWriteRepository", Administer)
        .rest(&[put("/api/v1/write-repositories/{repo.repo}").body("repo")]),
    Row::of(Op::RepositoryValidateAccess, "RepositoryService.ValidateAccess", "/repository.RepositoryService/ValidateAccess", Administer)
        .rest(&[post("/api/v1/repositories/{repo}/validate").body("repo")]),
    Row::of(Op::RepositoryValidateWriteAccess, "RepositoryService.ValidateWriteAccess", "/repository.RepositoryService/ValidateWriteAccess", Administer)
        .rest(&[post("/api/v1/write-repositories/{repo}/validate").body("repo")]),
    Row::of(Op::SessionCreate, "SessionService.Create", "/session.SessionService/Create", Administer)
        .refuse(SIGN_IN).rest(&[post("/api/v1/session").body("*")]),
    Row::of(Op::SessionDelete, "SessionService.Delete", "/session.SessionService/Delete", Administer)
        .refuse(SIGN_OUT).rest(&[delete("/api/v1/session")]),
    Row::of(Op::SessionGetUserInfo, "SessionService.GetUserInfo", "/session.SessionService/GetUserInfo", Read)
        .answer(Answer::UserInfo).rest(&[get("/api/v1/session/userinfo")]),
    Row::of(Op::SettingsGet, "SettingsService.Get", "/cluster.SettingsService/Get", Read)
        .answer(Answer::Settings).rest(&[get("/api/v1/settings")]),
    Row::of(Op::SettingsGetPlugins, "SettingsService.GetPlugins", "/cluster.SettingsService/GetPlugins", Read)
        .rest(&[get("/api/v1/settings/plugins")]),
    Row::of(Op::VersionVersion, "VersionService.Version", "/version.VersionService/Version", Read)
        .answer(Answer::Version).rest(&[get("/api/version")]),
];
