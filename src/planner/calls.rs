//! Which writes and rollouts a call of Argo CD's API is.

use serde_json::{Value, json};

use super::about::{about, reference, requires_tests};
use super::contents::{in_place_of, refused_set, resources};
use super::pin::Commits;
use super::rollout::{At, How, Planning, Rollout};
use super::write::Write;
use super::{Plan, Planned, ask, unchecked};
use crate::app::App;
use crate::argocd::change::{Change as Kind, Needs, is_armed, of_action, toggled};
use crate::argocd::client::Refresh;
use crate::argocd::operation::Operation;
use crate::argocd::request::{
    self, AppTarget, ApplicationPatch, Body, Call, Patch, ResourceCall, ResourceChange,
    ResourcePatch, Rollback, SetWritten, SyncRequest, Written,
};
use crate::gate::Finding;
use crate::identity::Caller;
use crate::intent::{PartOf, has_option};
use crate::json;
use crate::names::AppRef;
use crate::policy::SyncOptions;
use crate::respond::Rejection;

/// Plans `call`, which deploys or writes an `ApplicationSet`.
///
/// # Errors
/// [`Rejection`]: no such application, Argo CD cannot be asked, an operation is under way, the change cannot
/// be read.
pub(super) async fn plan(app: &App, caller: &Caller, call: &Call) -> Result<Plan, Rejection> {
    let mut planning = Planning::new(app, caller, At::Api);
    let applications = match (&call.body, &call.app) {
        (Body::ApplicationSet(written), _) => planning.set_written(call, written).await?,
        (Body::ApplicationSetDelete(set), _) => {
            let namespace = set.namespace.as_deref().unwrap_or_default();
            planning.set_gone(namespace, &set.name).await?
        }
        (_, None) => Vec::new(),
        (Body::Sync(request), Some(target)) => planning.sync(target, request).await?,
        (Body::Rollback(request), Some(target)) => planning.rollback(target, request).await?,
        (Body::Application(written), Some(target)) => {
            planning.written(call, target, written).await?
        }
        (Body::Patch(patch), Some(target)) => planning.patched(target, patch).await?,
        (Body::Resource(resource), Some(target)) => {
            planning.resource(call, target, resource).await?
        }
        (_, Some(target)) => {
            let live = ask(app, target, Refresh::None).await?;
            if call.operation == Operation::ApplicationDelete {
                planning.deletion(&reference(app, &live)).await?
            } else {
                let mut planned = about(app, caller, call.operation.name(), &live)?;
                planned.changes = vec![Kind::Terminate];
                vec![planned]
            }
        }
    };
    Ok(Plan {
        action: call.operation.name(),
        applications,
        administers: planning.administers.into_iter().collect(),
        listed: planning.listed,
        ..Plan::default()
    })
}

/// How `request` on `application` is carried out: options that it does not name are the spec's.
pub(super) fn how(request: &SyncRequest, application: &Value) -> How {
    let own = json::at(application, "/spec/syncPolicy/syncOptions");
    let of_spec = |option| !request.names_options() && has_option(own, option);
    How {
        options: SyncOptions {
            dry_run: request.is_dry_run(),
            partial: request.is_partial(),
            prune: request.prunes(),
            force: request.is_forced() || of_spec("Force=true"),
            replace: request.replaces() || of_spec("Replace=true"),
            local: request.is_local(),
            apply: request.skips_hooks(),
        },
        only: request.resources().collect(),
        // The retry strategy is sent without a refresh.
        retries_newer: false,
    }
}

impl Planning<'_> {
    async fn sync(
        &mut self,
        target: &AppTarget,
        request: &SyncRequest,
    ) -> Result<Vec<Planned>, Rejection> {
        let application = ask(self.app, target, Refresh::Normal).await?;
        let how = how(request, &application);
        let start = (how.options, how.only.clone());
        let mut planned = self
            .rollout(Rollout {
                action: Operation::ApplicationSync.name(),
                application: &application,
                live: Some(&application),
                commits: Commits::Asked(request),
                how,
            })
            .await?;
        let kind = if start.0.dry_run {
            Kind::DrySync
        } else {
            Kind::Sync
        };
        intend(&mut planned, kind, start, !request.skips_hooks());
        Ok(planned)
    }

    /// A rollback runs what an entry of the history holds, parameters included, with the spec's options and
    /// without hooks.
    async fn rollback(
        &mut self,
        target: &AppTarget,
        request: &Rollback,
    ) -> Result<Vec<Planned>, Rejection> {
        let application = ask(self.app, target, Refresh::None).await?;
        let history = json::at(&application, "/status/history").as_array();
        let entry = history
            .into_iter()
            .flatten()
            .find(|entry| json::at(entry, "/id").as_i64().unwrap_or(0) == request.id);
        let entry = entry.ok_or_else(|| Rejection::BadRequest {
            sentence: format!(
                "{} has no entry {} in its history",
                target.app.name, request.id
            ),
        })?;
        let own = json::at(&application, "/spec/syncPolicy/syncOptions");
        let how = How {
            options: SyncOptions {
                dry_run: request.dry_run,
                prune: request.prune,
                force: has_option(own, "Force=true"),
                replace: has_option(own, "Replace=true"),
                apply: true,
                ..SyncOptions::default()
            },
            ..How::default()
        };
        let start = (how.options, Vec::new());
        let mut planned = self
            .rollout(Rollout {
                action: Operation::ApplicationRollback.name(),
                application: &application,
                live: Some(&application),
                commits: Commits::Recorded(entry),
                how,
            })
            .await?;
        let kind = if start.0.dry_run {
            Kind::DryRollback
        } else {
            Kind::Rollback
        };
        intend(&mut planned, kind, start, false);
        Ok(planned)
    }

    /// `Create`, `Update` and `UpdateSpec`.
    async fn written(
        &mut self,
        call: &Call,
        target: &AppTarget,
        written: &Written,
    ) -> Result<Vec<Planned>, Rejection> {
        let creates = call.operation == Operation::ApplicationCreate;
        let live = match self.read(&target.app).await? {
            Some(live) => Some(live),
            None if creates => None,
            None => return Err(super::unseen(&target.app)),
        };
        // Named with a project, Argo CD answers only where it agrees.
        if !creates && target.project.is_some() {
            ask(self.app, target, Refresh::None).await?;
        }
        let action = call.operation.name();
        let Some(live) = live else {
            let mut after = written.application.clone();
            if json::text(&after, "/metadata/namespace").is_empty() {
                let own = json!(self.app.config.upstream.namespace);
                json::set(&mut after, "/metadata/namespace", own);
            }
            return self.write(Write::by_call(action, None, &after)).await;
        };
        let live = self.refreshed(live, &written.application).await?;
        let mut after = live.clone();
        json::set(
            &mut after,
            "/spec",
            json::at(&written.application, "/spec").clone(),
        );
        if call.operation != Operation::ApplicationUpdateSpec {
            let labels = json::at(&written.application, "/metadata/labels");
            // `Create` of what is there adds labels; `Update` replaces them.
            let labels = if creates {
                joined(json::at(&live, "/metadata/labels"), labels)
            } else {
                labels.clone()
            };
            json::set(&mut after, "/metadata/labels", labels);
        }
        self.write(Write::by_call(action, Some(&live), &after))
            .await
    }

    async fn patched(
        &mut self,
        target: &AppTarget,
        patch: &ApplicationPatch,
    ) -> Result<Vec<Planned>, Rejection> {
        let live = ask(self.app, target, Refresh::None).await?;
        let whole = apply(&patch.patch, &live)?;
        if [
            "/status",
            "/operation",
            "/metadata/name",
            "/metadata/namespace",
        ]
        .into_iter()
        .any(|pointer| json::at(&live, pointer) != json::at(&whole, pointer))
        {
            return Err(Rejection::BadRequest {
                sentence: "a patch may change the spec, labels, annotations and finalizers only"
                    .to_owned(),
            });
        }
        let live = self.refreshed(live, &whole).await?;
        let patched = patch.apply(&live).map_err(|error| bad_patch(&error))?;
        let after = in_place_of(&live, &patched);
        let action = Operation::ApplicationPatch.name();
        self.write(Write::by_call(action, Some(&live), &after))
            .await
    }

    /// `live`, compared with Git anew where automated sync would take up what is written now.
    async fn refreshed(&self, live: Value, written: &Value) -> Result<Value, Rejection> {
        if !is_armed(written) {
            return Ok(live);
        }
        let target = AppTarget {
            app: reference(self.app, &live),
            project: None,
        };
        ask(self.app, &target, Refresh::Normal).await
    }

    /// `PatchResource`, `DeleteResource` and `RunResourceAction`. Objects of Argo CD are treated as what they
    /// are, not as resources of the application that holds them.
    async fn resource(
        &mut self,
        call: &Call,
        target: &AppTarget,
        resource: &ResourceCall,
    ) -> Result<Vec<Planned>, Rejection> {
        let live = ask(self.app, target, Refresh::None).await?;
        let mut planned = about(self.app, self.caller, call.operation.name(), &live)?;
        let is_argo = resource.group.eq_ignore_ascii_case("argoproj.io");
        let behind = match resource.kind.as_str() {
            "Application" if is_argo => self.child_changed(resource).await?,
            "ApplicationSet" if is_argo => self.set_changed(resource).await?,
            "AppProject" if is_argo => {
                self.administers.insert(match resource.change {
                    ResourceChange::Delete => "ProjectService.Delete",
                    _ => "ProjectService.Update",
                });
                Vec::new()
            }
            _ => {
                self.workload_changed(&live, &mut planned, resource).await?;
                Vec::new()
            }
        };
        let mut all = vec![planned];
        all.extend(behind);
        Ok(all)
    }

    /// What a change of a workload moves. An action that carries on with what was rolled out needs the evidence
    /// of just that; what brings something of its own, there can be no evidence of.
    async fn workload_changed(
        &mut self,
        live: &Value,
        planned: &mut Planned,
        resource: &ResourceCall,
    ) -> Result<(), Rejection> {
        let required = requires_tests(self.app, &planned.facts);
        let own = |why: &str| {
            Some(if required {
                unchecked(why)
            } else {
                Finding::Exempt
            })
        };
        let action = match &resource.change {
            ResourceChange::Delete => {
                planned.changes = vec![Kind::DeleteResource];
                return Ok(());
            }
            ResourceChange::Patch(_) => {
                planned.changes = vec![Kind::PatchResource];
                planned.finding = own(
                    "a patch of a resource rolls out what is in no commit; change it in Git and sync",
                );
                return Ok(());
            }
            ResourceChange::Action { name, .. } => name,
        };
        let deployed = json::at(live, "/status/history").as_array();
        let deployed = deployed.and_then(|entries| entries.last());
        let kind = of_action(&resource.group, &resource.kind, action, live);
        planned.changes = vec![kind];
        planned.finding = match (kind, deployed) {
            (change, _) if change.needs() != Needs::Evidence => None,
            (Kind::ForeignRollout | Kind::MergePullRequest | Kind::UnknownAction, _) => {
                own("what this action rolls out is in no commit that was tested")
            }
            (_, None) => own("nothing is known of what was rolled out before"),
            // It carries on with what was rolled out last.
            (_, Some(deployed)) => {
                let rolled_out = Rollout {
                    action: planned.action,
                    application: live,
                    live: Some(live),
                    commits: Commits::Recorded(deployed),
                    how: How::default(),
                };
                let mut rolled_out = self.rollout(rolled_out).await?.into_iter();
                if let Some(itself) = rolled_out.next() {
                    planned.plan = itself.plan;
                    itself.finding
                } else {
                    None
                }
            }
        };
        Ok(())
    }

    async fn child_changed(&mut self, resource: &ResourceCall) -> Result<Vec<Planned>, Rejection> {
        let child = AppRef {
            namespace: Some(resource.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: resource.name.clone(),
        };
        let Some(live) = self.read(&child).await? else {
            return Err(super::unseen(&child));
        };
        if resource.change == ResourceChange::Delete {
            return self.deletion(&reference(self.app, &live)).await;
        }
        let live = self
            .refreshed(live.clone(), &child_after(&live, &resource.change)?)
            .await?;
        let after = child_after(&live, &resource.change)?;
        if json::at(&live, "/status") != json::at(&after, "/status") {
            return Err(Rejection::BadRequest {
                sentence: "`status` is set by Argo CD alone".to_owned(),
            });
        }
        let action = Operation::ApplicationUpdate.name();
        self.write(Write::by_call(action, Some(&live), &after))
            .await
    }

    async fn set_changed(&mut self, resource: &ResourceCall) -> Result<Vec<Planned>, Rejection> {
        match &resource.change {
            ResourceChange::Delete => self.set_gone(&resource.namespace, &resource.name).await,
            ResourceChange::Patch(patch) => {
                let live = self.live_set(&resource.namespace, &resource.name).await?;
                self.set(&known(patch, &live)?).await
            }
            ResourceChange::Action { name, .. } => Err(Rejection::Policy {
                sentence: format!("the action {name} of an ApplicationSet is not known"),
            }),
        }
    }

    /// `ApplicationSetService.Create` and `Generate`.
    async fn set_written(
        &mut self,
        call: &Call,
        written: &SetWritten,
    ) -> Result<Vec<Planned>, Rejection> {
        self.administers.insert(call.operation.name());
        if call.operation != Operation::ApplicationSetCreate || written.dry_run {
            return Ok(Vec::new());
        }
        let mut set = written.set.clone();
        if json::text(&set, "/metadata/namespace").is_empty() {
            let own = json!(self.app.config.upstream.namespace);
            json::set(&mut set, "/metadata/namespace", own);
        }
        self.set(&set).await
    }

    /// The applications of a set go with it.
    pub(super) async fn set_gone(
        &mut self,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<Planned>, Rejection> {
        self.administers.insert("ApplicationSetService.Delete");
        let live = self.live_set(namespace, name).await?;
        let mut planned = Vec::new();
        for application in resources(&live, "Application") {
            planned.extend(self.deletion(&reference(self.app, &application)).await?);
        }
        Ok(planned)
    }

    /// The applications that the set which `manifest` names has made.
    pub(super) async fn made_by(&self, manifest: &Value) -> Result<Vec<AppRef>, Rejection> {
        let text = |pointer| json::text(manifest, pointer);
        let live = self
            .live_set(text("/metadata/namespace"), text("/metadata/name"))
            .await?;
        let made = resources(&live, "Application");
        Ok(made.iter().map(|one| reference(self.app, one)).collect())
    }

    async fn live_set(&self, namespace: &str, name: &str) -> Result<Value, Rejection> {
        let namespace = if namespace.is_empty() {
            &self.app.config.upstream.namespace
        } else {
            namespace
        };
        let live = self.app.argocd.application_set(namespace, name).await;
        let live = live.map_err(|error| refused_set(name, &error))?;
        live.ok_or_else(|| Rejection::Policy {
            sentence: format!("application set {name} does not exist, or you may not see it"),
        })
    }
}

/// Says of the application that is called of which kind that is, and what operation Argo CD is about to write.
fn intend(
    planned: &mut [Planned],
    kind: Kind,
    (options, only): (SyncOptions, Vec<PartOf>),
    hooks: bool,
) {
    let Some(first) = planned.first_mut() else {
        return;
    };
    first.changes = vec![kind];
    let Some(plan) = &first.plan else { return };
    let start = crate::intent::Start {
        commits: plan
            .sources
            .iter()
            .map(|source| source.commit.to_string())
            .collect(),
        source_digest: plan.source_digest.clone(),
        dry_run: options.dry_run,
        partial: only,
        prune: options.prune,
        force: options.force,
        replace: options.replace,
        hooks,
        local: options.local,
        retry_refresh: false,
    };
    first.writes.push(crate::intent::start_digest(&start));
}

fn apply(patch: &Patch, to: &Value) -> Result<Value, Rejection> {
    patch.apply(to).map_err(|error| bad_patch(&error))
}

fn bad_patch(error: &request::Error) -> Rejection {
    Rejection::BadRequest {
        sentence: crate::telemetry::chain(error),
    }
}

/// An application as a change of it as a resource leaves it.
fn child_after(live: &Value, change: &ResourceChange) -> Result<Value, Rejection> {
    match change {
        ResourceChange::Patch(patch) => known(patch, live),
        ResourceChange::Action { name, .. } if name == "toggle-auto-sync" => Ok(toggled(live)),
        ResourceChange::Action { name, .. } => Err(Rejection::Policy {
            sentence: format!("the action {name} of an Application is not known"),
        }),
        ResourceChange::Delete => Ok(live.clone()),
    }
}

/// A patch of an object of Argo CD, whose outcome must be known.
fn known(patch: &ResourcePatch, to: &Value) -> Result<Value, Rejection> {
    match patch {
        ResourcePatch::Known(patch) => apply(patch, to),
        ResourcePatch::Other(mime) => Err(Rejection::BadRequest {
            sentence: format!(
                "a patch of type `{mime}` is not taken; use application/merge-patch+json or \
                 application/json-patch+json"
            ),
        }),
    }
}

fn joined(below: &Value, above: &Value) -> Value {
    let mut all = below.as_object().cloned().unwrap_or_default();
    all.extend(above.as_object().cloned().unwrap_or_default());
    Value::Object(all)
}
