//! `/syncgate/v1/rollouts`: what was rolled out together, and how it is taken back.
//!
//! In: a rollout, and what to do about it. Out: how far it is. To take it back is decided on for each of its
//! applications, as the operations are that follow; who may not see one of its environments is told nothing of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::json;

use super::{
    answer, ask, internal, invalid, limit, may, query, recorded, sync_call, unknown_parameter,
};
use crate::app::App;
use crate::argocd::classify::Wire;
use crate::argocd::request::Call;
use crate::body::Body;
use crate::draft::Draft;
use crate::evidence::run;
use crate::freeze;
use crate::identity::Caller;
use crate::names::{AppRef, DecisionId};
use crate::pipeline;
use crate::planner;
use crate::policy::Resource;
use crate::respond::Rejection;
use crate::rollout::interface::{Open, RolloutView, Rollouts, TakeBack};
use crate::rollout::{self, Rollout};

/// How many a list gives unless asked for fewer.
const LIST: u32 = 20;

/// The newest rollouts that `caller` may see.
pub(super) async fn list(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    head: &Parts,
) -> Result<Response<Body>, Rejection> {
    draft.policies(&app.policies.current());
    let (mut name, mut namespace, mut most) = (None, None, LIST);
    for (key, value) in query(head) {
        match key.as_str() {
            "application" => name = Some(value),
            "application_namespace" => namespace = Some(value),
            "limit" => most = limit(&key, &value)?,
            _ => return Err(unknown_parameter(&key)),
        }
    }
    let found = match name {
        Some(name) => {
            app.store
                .rollouts_of(&AppRef { namespace, name }, most)
                .await
        }
        None => app.store.rollouts(most).await,
    };
    let mut rollouts = Vec::new();
    for rollout in found.map_err(|error| internal(&error))? {
        if may_see(app, caller, &rollout) {
            rollouts.push(view(app, rollout).await?);
        }
    }
    answer(app, draft, StatusCode::OK, &Rollouts { rollouts }).await
}

/// One of them.
pub(super) async fn show(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    decision: &str,
) -> Result<Response<Body>, Rejection> {
    draft.policies(&app.policies.current());
    let rollout = seen(app, caller, decision).await?;
    let view = view(app, rollout).await?;
    answer(app, draft, StatusCode::OK, &view).await
}

/// Keeps that `caller` is about to sync a parent and its children, each of which says that it belongs to this.
pub(super) async fn open(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    body: &Bytes,
) -> Result<Response<Body>, Rejection> {
    let asked: Open = run::read(body).map_err(|error| invalid(&error))?;
    let call = call(&asked)?;
    draft.call(&call);
    let plan = planner::plan(app, caller, &call).await?;
    pipeline::ask(app, draft, caller, &plan, Wire::Rest, ()).await?;
    let rollout = rollout::opened(app, draft.decision(), caller, &plan)?;
    let work = async {
        let stored = app.store.add_rollout(rollout.clone()).await;
        stored.map_err(|error| internal(&error))?;
        Ok(RolloutView::of(rollout, &BTreeMap::new()))
    };
    recorded(app, draft, StatusCode::CREATED, work).await
}

/// The sync of the parent, as the API would take it.
fn call(asked: &Open) -> Result<Call, Rejection> {
    let body = json!({
        "appNamespace": asked.application_namespace,
        "prune": asked.prune,
        "revision": asked.revision,
    });
    sync_call(
        &asked.application,
        asked.application_namespace.as_ref(),
        body,
    )
}

/// Starts a rollback for `caller`.
pub(super) async fn take_back(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    decision: &str,
    body: &Bytes,
) -> Result<Response<Body>, Rejection> {
    let TakeBack { reason } = run::read(body).map_err(|error| invalid(&error))?;
    let reason = reason.as_deref().map(freeze::reason).transpose();
    let reason = reason.map_err(|error| Rejection::BadRequest {
        sentence: format!("`reason` {error}"),
    })?;
    let rollout = about(app, draft, caller, decision, reason.as_deref()).await?;
    let decision = rollout.decision;
    let reason = reason.unwrap_or_else(|| format!("{} asked for it", caller.display()));
    let rollback = rollout::asked(app, draft, caller, &rollout, &reason).await?;
    let work = async {
        rollout::start(app, rollout, rollback).await?;
        again(app, decision).await
    };
    recorded(app, draft, StatusCode::ACCEPTED, work).await
}

/// Lets a rollback that is stuck go on for `caller`.
pub(super) async fn resume(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    decision: &str,
) -> Result<Response<Body>, Rejection> {
    let rollout = about(app, draft, caller, decision, None).await?;
    rollout::may_resume(app, draft, caller, &rollout).await?;
    let work = async {
        rollout::resume(app, caller, rollout.decision).await?;
        again(app, rollout.decision).await
    };
    recorded(app, draft, StatusCode::ACCEPTED, work).await
}

/// Ends a rollback where it is for `caller`.
pub(super) async fn abandon(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    decision: &str,
) -> Result<Response<Body>, Rejection> {
    const ACTION: &str = "Rollout.abandon";
    let rollout = about(app, draft, caller, decision, None).await?;
    for member in &rollout.members {
        let known = planner::known(app, caller, ACTION, &member.application).await;
        let known = known.unwrap_or_else(|_| {
            // What is gone is judged by where it was.
            planner::gone(
                ACTION,
                &member.application,
                &member.environment,
                &member.component,
            )
        });
        ask(app, draft, caller, ACTION, super::about(&known))?;
    }
    let work = async {
        rollout::abandon(app, caller, rollout.decision).await?;
        again(app, rollout.decision).await
    };
    recorded(app, draft, StatusCode::OK, work).await
}

/// The rollout that something is to be done about.
async fn about(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    decision: &str,
    reason: Option<&str>,
) -> Result<Rollout, Rejection> {
    let rollout = seen(app, caller, decision).await?;
    let members = rollout.members.iter();
    draft.facts(
        members.map(|member| member.application.clone()).collect(),
        json!({ "rollout": rollout.decision, "reason": reason }),
    );
    Ok(rollout)
}

async fn again(app: &App, decision: DecisionId) -> Result<RolloutView, super::Failed> {
    let found = app.store.rollout(decision).await;
    let found = found.map_err(|error| internal(&error))?;
    Ok(view(app, found.ok_or(Rejection::Internal)?).await?)
}

async fn seen(app: &App, caller: &Caller, decision: &str) -> Result<Rollout, Rejection> {
    let missing = || Rejection::NotFound {
        sentence: "there is no such rollout, or you may not see it".to_owned(),
    };
    let id = ulid::Ulid::from_string(decision).map_err(|_| missing())?;
    let found = app.store.rollout(DecisionId(id)).await;
    let found = found.map_err(|error| internal(&error))?;
    found
        .filter(|rollout| may_see(app, caller, rollout))
        .ok_or_else(missing)
}

/// Whoever may see all the environments that it is in.
fn may_see(app: &App, caller: &Caller, rollout: &Rollout) -> bool {
    let environments = rollout.environments();
    environments.iter().all(|environment| {
        let resource = Resource::Environment(environment.as_str());
        may(app, caller, "Rollout.read", resource)
    })
}

async fn view(app: &App, rollout: Rollout) -> Result<RolloutView, Rejection> {
    let mut states = BTreeMap::new();
    for member in &rollout.members {
        let (Some(begun), Some(uid)) = (member.begun, &member.uid) else {
            continue;
        };
        let row = app.store.deployment(begun, uid).await;
        if let Some(row) = row.map_err(|error| internal(&error))? {
            states.insert(member.application.clone(), row.state);
        }
    }
    Ok(RolloutView::of(rollout, &states))
}
