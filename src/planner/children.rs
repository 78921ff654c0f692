//! Objects of Argo CD among what a sync applies: an app-of-apps.
//!
//! A parent's sync writes its children with Argo CD's own rights, past this gate. Until children are
//! planned one by one, a parent is let through only where its children are plain: each is rolled out
//! by a sync of its own, which is gated. A child that would start by itself (`operation`, automated
//! sync), brings a forged `status`, or generates others is an objection.

use serde_json::Value;

use super::{refused, tests_anywhere};
use crate::app::App;
use crate::gate::ApplicationPlan;
use crate::json;
use crate::names::AppRef;
use crate::respond::Rejection;

/// Why the sync of `plan` cannot be let through for what it would apply; `None` if nothing in it
/// rolls out something else.
///
/// # Errors
/// [`Rejection`] when Argo CD cannot render the manifests.
pub(super) async fn objection(
    app: &App,
    application: &Value,
    plan: &ApplicationPlan,
) -> Result<Option<String>, Rejection> {
    if !tests_anywhere(app) || (is_compared(application, plan) && !is_parent(application)) {
        return Ok(None);
    }
    let manifests = app
        .argocd
        .manifests(plan)
        .await
        .map_err(|error| refused(&plan.application, &error))?;
    Ok(manifests
        .iter()
        .find_map(|manifest| objection_to(app, application, manifest)))
}

/// Whether the pinned commits are those that Argo CD has compared, so that its list of resources is
/// of what the sync applies.
fn is_compared(application: &Value, plan: &ApplicationPlan) -> bool {
    let sync = json::at(application, "/status/sync");
    let compared: Vec<&str> = match json::at(sync, "/revisions").as_array() {
        Some(revisions) if plan.multi_source => {
            revisions.iter().filter_map(Value::as_str).collect()
        }
        _ => vec![json::text(sync, "/revision")],
    };
    let pinned: Vec<&str> = plan
        .sources
        .iter()
        .map(|source| source.commit.as_str())
        .collect();
    compared == pinned
}

fn is_parent(application: &Value) -> bool {
    let resources = json::at(application, "/status/resources").as_array();
    resources
        .into_iter()
        .flatten()
        .any(|resource| json::text(resource, "/group") == "argoproj.io")
}

fn objection_to(app: &App, parent: &Value, manifest: &Value) -> Option<String> {
    if !json::text(manifest, "/apiVersion").starts_with("argoproj.io/") {
        return None;
    }
    let name = json::text(manifest, "/metadata/name");
    let automated = |object: &Value| {
        let automated = json::at(object, "/spec/syncPolicy/automated");
        automated.is_object() && automated["enabled"] != Value::Bool(false)
    };
    match json::text(manifest, "/kind") {
        "ApplicationSet" | "AppProject" => Some(format!(
            "it brings {name}, which changes what is deployed elsewhere"
        )),
        "Application" => {
            let namespace = match json::text(manifest, "/metadata/namespace") {
                "" => json::text(parent, "/spec/destination/namespace"),
                namespace => namespace,
            };
            let child = AppRef {
                namespace: Some(namespace.to_owned()),
                name: name.to_owned(),
            };
            let live = app.index.get(&child);
            let starts = automated(manifest) || live.is_some_and(|live| automated(&live));
            let carries = ["operation", "status"]
                .into_iter()
                .any(|key| manifest.get(key).is_some_and(|value| !value.is_null()));
            (starts || carries).then(|| {
                format!(
                    "its child {name} would be rolled out by itself, without a check of its tests"
                )
            })
        }
        _ => None,
    }
}
