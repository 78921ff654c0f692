//! `/terminal`: a shell in a pod, over a websocket.
//!
//! Argo CD takes any `Origin` there and reads its credential from a cookie; here the origin must be
//! the gate's own, the caller's credential is verified like any other, and the application of the
//! query is what the policies are asked about. It needs no evidence: it rolls nothing out.

use std::sync::Arc;

use http::{Request, Response};

use crate::app::App;
use crate::argocd::classify::Wire;
use crate::argocd::operation::Effect;
use crate::argocd::path::Query;
use crate::argocd::request::AppTarget;
use crate::body::Body;
use crate::draft::Draft;
use crate::forward::{Channel, Detach, Outbound, Shape};
use crate::issuer::{self, Lifetime};
use crate::lease;
use crate::names::AppRef;
use crate::pipeline::{ask, authenticate, sign_in};
use crate::planner::{self, Plan};
use crate::record::{Durability, Word};
use crate::respond::Rejection;

const ACTION: &str = "Application.Terminal";

/// Opens a terminal for a caller who may.
///
/// # Errors
/// [`Rejection`]: no credential, no such application, not permitted, no websocket handshake.
pub(crate) async fn open(
    app: &Arc<App>,
    draft: &mut Draft,
    query: &Query,
    forward_path: &str,
    request: Request<Body>,
) -> Result<Response<Body>, Rejection> {
    draft.effect(Effect::Deploy);
    let (mut head, body) = request.into_parts();
    let caller = authenticate(app, draft, &head.headers)
        .await?
        .ok_or_else(sign_in)?;
    let target = target(query)?;
    let pod = query
        .one("pod")
        .ok()
        .flatten()
        .unwrap_or_default()
        .to_owned();
    draft.facts(vec![target.app.clone()], serde_json::json!({ "pod": pod }));
    let planned = planner::fresh(app, &caller, ACTION, &target).await?;
    let plan = Plan {
        action: ACTION,
        applications: vec![planned],
        ..Plan::default()
    };
    let permitted = ask(app, draft, &caller, &plan, Wire::Rest, ()).await?;
    head.uri = forward_path.parse().map_err(|_| Rejection::Internal)?;
    let send_as = issuer::send_as(app, &caller, draft.decision(), Lifetime::Terminal)?;
    let record = draft
        .open(app, Word::Permit, Durability::BeforeProceeding)
        .await?;
    let outbound = Outbound {
        channel: Channel::Cookie,
        send_as,
        decision: draft.decision(),
        detach: Detach::No,
        shape: Shape::Stream,
        until: Some(lease::of(app, &caller, draft.noted())),
        on_end: Some(draft.on_end(app, record)),
    };
    let origin = app.config.url.origin().ascii_serialization();
    let request = Request::from_parts(head, body);
    app.upstream
        .tunnel(&permitted, outbound, request, &[origin])
        .await
        .map_err(|error| {
            tracing::warn!(error = crate::telemetry::chain(&error), "no terminal");
            Rejection::from(&error)
        })
}

/// The application that the query names, by the parameters that argocd-server reads.
fn target(query: &Query) -> Result<AppTarget, Rejection> {
    let one = |name: &str| match query.one(name) {
        Ok(value) => Ok(value.filter(|text| !text.is_empty()).map(str::to_owned)),
        Err(error) => Err(Rejection::BadRequest {
            sentence: error.to_string(),
        }),
    };
    let name = one("appName")?.ok_or_else(|| Rejection::BadRequest {
        sentence: "`appName` is missing".to_owned(),
    })?;
    let app = AppRef {
        namespace: one("appNamespace")?,
        name,
    };
    Ok(AppTarget {
        app,
        project: one("projectName")?,
    })
}
