//! What argocd-server serves beside its API for machines: back ends of the web UI's extensions, and the
//! endpoint that Git hosts tell of pushes.
//!
//! In: a request to `/extensions/NAME/…` that names its application by headers, or to `/api/webhook`. Out:
//! the upstream's answer, with our credential, once the policies have said yes. Refused: a request without a
//! credential of the gate (a Git host that has none is given a way to Argo CD of its own), or without exactly
//! one application. Never: an identity header of the caller's.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Request, Response};

use crate::app::App;
use crate::argocd::classify::Wire;
use crate::argocd::operation::Effect;
use crate::argocd::request::AppTarget;
use crate::body::Body;
use crate::draft::Draft;
use crate::forward::{Channel, Detach, Outbound, Shape};
use crate::identity::Caller;
use crate::issuer::{self, Lifetime};
use crate::lease;
use crate::names::AppRef;
use crate::pipeline::{ask, authenticate, sign_in};
use crate::planner::{self, Plan};
use crate::policy::Permitted;
use crate::record::{Durability, Word};
use crate::respond::Rejection;

const EXTENSION: &str = "Application.Extension";
const WEBHOOK: &str = "ArgoCd.Webhook";
/// How argocd-server is told the application: `NAMESPACE:NAME`.
const APPLICATION: HeaderName = HeaderName::from_static("argocd-application-name");
/// And its project.
const PROJECT: HeaderName = HeaderName::from_static("argocd-project-name");

/// Forwards a request to an extension's back end for a caller who may.
///
/// # Errors
/// [`Rejection`]: no credential, no such application, not permitted, not forwarded.
pub(crate) async fn call(
    app: &Arc<App>,
    draft: &mut Draft,
    forward_path: &str,
    mut request: Request<Body>,
) -> Result<Response<Body>, Rejection> {
    draft.effect(Effect::Deploy);
    let caller = signed_in(app, draft, request.headers()).await?;
    let target = target(request.headers())?;
    let path = forward_path.split('?').next().unwrap_or_default();
    draft.facts(
        vec![target.app.clone()],
        serde_json::json!({ "path": path }),
    );
    let planned = planner::fresh(app, &caller, EXTENSION, &target).await?;
    let namespace = planned.facts.app.namespace.as_ref();
    let namespace = namespace.unwrap_or(&app.config.upstream.namespace);
    let named = format!("{namespace}:{}", planned.facts.app.name);
    let project = planned.facts.project.clone();
    let headers = request.headers_mut();
    strip(headers);
    for (name, value) in [(APPLICATION, named), (PROJECT, project)] {
        headers.insert(name, value.parse().map_err(|_| Rejection::Internal)?);
    }
    let plan = Plan {
        action: EXTENSION,
        applications: vec![planned],
        ..Plan::default()
    };
    let permitted = ask(app, draft, &caller, &plan, Wire::Rest, ()).await?;
    send(
        app,
        draft,
        (&caller, &permitted),
        Channel::Cookie,
        forward_path,
        request,
    )
    .await
}

/// Forwards what a caller who may tells of a push.
///
/// # Errors
/// As for [`call`].
pub(crate) async fn webhook(
    app: &Arc<App>,
    draft: &mut Draft,
    forward_path: &str,
    request: Request<Body>,
) -> Result<Response<Body>, Rejection> {
    draft.effect(Effect::Write);
    let caller = signed_in(app, draft, request.headers()).await?;
    let plan = planner::administers(WEBHOOK);
    let permitted = ask(app, draft, &caller, &plan, Wire::Rest, ()).await?;
    let permitted = (&caller, &permitted);
    send(app, draft, permitted, Channel::Rest, forward_path, request).await
}

async fn signed_in(
    app: &App,
    draft: &mut Draft,
    headers: &HeaderMap,
) -> Result<Arc<Caller>, Rejection> {
    authenticate(app, draft, headers).await?.ok_or_else(sign_in)
}

async fn send(
    app: &Arc<App>,
    draft: &mut Draft,
    (caller, permitted): (&Arc<Caller>, &Permitted<()>),
    channel: Channel,
    forward_path: &str,
    mut request: Request<Body>,
) -> Result<Response<Body>, Rejection> {
    *request.uri_mut() = forward_path.parse().map_err(|_| Rejection::Internal)?;
    let send_as = issuer::send_as(app, caller, draft.decision(), Lifetime::Call)?;
    let record = draft
        .open(app, Word::Permit, Durability::BeforeProceeding)
        .await?;
    let outbound = Outbound {
        channel,
        send_as,
        decision: draft.decision(),
        detach: Detach::Yes,
        shape: Shape::Message,
        until: Some(lease::of(app, caller, draft.noted())),
        on_end: Some(draft.on_end(app, record)),
    };
    let sent = app.upstream.send(permitted, outbound, request).await;
    sent.map_err(|error| {
        tracing::warn!(error = crate::telemetry::chain(&error), "not forwarded");
        Rejection::from(&error)
    })
}

/// Removes every header by which argocd-server or an extension is told an identity or an application.
fn strip(headers: &mut HeaderMap) {
    let doomed = |name: &&HeaderName| name.as_str().replace('_', "-").starts_with("argocd-");
    let names: Vec<HeaderName> = headers.keys().filter(doomed).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// The application that the headers name.
fn target(headers: &HeaderMap) -> Result<AppTarget, Rejection> {
    let bad = |sentence: &str| Rejection::BadRequest {
        sentence: sentence.to_owned(),
    };
    let one = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    };
    let named = one(&APPLICATION)
        .and_then(|text| text.split_once(':'))
        .ok_or_else(|| {
            bad("an extension is called with `Argocd-Application-Name: NAMESPACE:NAME`")
        })?;
    let project = one(&PROJECT)
        .ok_or_else(|| bad("an extension is called with `Argocd-Project-Name: PROJECT`"))?;
    Ok(AppTarget {
        app: AppRef {
            namespace: Some(named.0.to_owned()),
            name: named.1.to_owned(),
        },
        project: Some(project.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, value.parse().unwrap())
        });
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn the_application_is_named_once_and_in_its_namespace() {
        let named = headers(&[
            ("Argocd-Application-Name", "argocd:shop"),
            ("Argocd-Project-Name", "default"),
        ]);
        let found = target(&named).unwrap();
        assert_eq!(found.app.to_string(), "argocd/shop");
        assert_eq!(found.project.as_deref(), Some("default"));
        for odd in [
            &[("Argocd-Project-Name", "default")][..],
            &[
                ("Argocd-Application-Name", "shop"),
                ("Argocd-Project-Name", "default"),
            ],
            &[("Argocd-Application-Name", "argocd:shop")],
            &[
                ("Argocd-Application-Name", "argocd:shop"),
                ("Argocd-Application-Name", "argocd:other"),
                ("Argocd-Project-Name", "default"),
            ],
        ] {
            assert!(target(&headers(odd)).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn no_header_of_argo_cds_crosses() {
        let mut sent = headers(&[
            ("Argocd-Username", "root"),
            ("argocd_user_groups", "admins"),
            ("Argocd-Application-Name", "argocd:shop"),
            ("X-Extension", "kept"),
        ]);
        strip(&mut sent);
        assert_eq!(sent.len(), 1);
        assert!(sent.contains_key("x-extension"));
    }
}
