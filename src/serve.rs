//! Runs the gate: binds its listeners, answers until a signal, stops in two steps.

use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::{Admin, Check, State};
use crate::admission;
use crate::app::App;
use crate::body::Body;
use crate::config::ServerTls;
use crate::listener::tls::{self, Tls};
use crate::listener::{self, Connection, Limits, Listener};
use crate::pipeline;
use crate::telemetry;

/// Why the gate cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be bound.
    #[error("an address cannot be used")]
    Listener(#[from] listener::Error),
    /// The certificate cannot be used.
    #[error("the certificate cannot be used")]
    Tls(#[from] tls::Error),
    /// Metrics cannot be collected.
    #[error("metrics cannot be collected")]
    Telemetry(#[from] telemetry::SetupError),
}

/// What was bound, as URLs.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The public listener.
    pub public: String,
    /// The listener for probes and metrics.
    pub admin: Option<String>,
    /// The listener of the admission door.
    pub admission: Option<String>,
}

/// Binds the listeners and begins to answer.
///
/// # Errors
/// [`Error`]; nothing is served then.
pub async fn bind(app: Arc<App>) -> Result<Bound, Error> {
    let config = &app.config.listen;
    let tls = match &config.tls {
        Some(files) => Some(renewed(&app, files, None)?),
        None => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let public = Listener::bind(config.address, tls, Limits::default()).await?;
    let mut bound = Bound {
        public: format!("{scheme}://{}", public.address()),
        admin: None,
        admission: None,
    };
    if let Some(admin) = &app.config.admin {
        let listener = Listener::bind(admin.address, None, Limits::default()).await?;
        bound.admin = Some(format!("http://{}", listener.address()));
        let metrics = telemetry::collect_metrics()?;
        let checked = Arc::clone(&app);
        let admin = Arc::new(Admin::new(move || checks(&checked), metrics));
        let answer = move |request: Request<Body>| ready(admin.answer(&request));
        app.tasks
            .spawn(listener.serve(answer, app.stop.clone(), app.tasks.clone()));
    }
    if let Some(door) = &app.config.admission {
        let tls = renewed(&app, &door.tls, door.client_ca.clone())?;
        let listener = Listener::bind(door.address, Some(tls), Limits::default()).await?;
        bound.admission = Some(format!("https://{}", listener.address()));
        let shared = Arc::clone(&app);
        let answer = move |request: Request<Body>| admission::handle(Arc::clone(&shared), request);
        app.tasks
            .spawn(listener.serve(answer, app.stop.clone(), app.tasks.clone()));
    }
    let shared = Arc::clone(&app);
    let answer = move |request: Request<Body>| answer(Arc::clone(&shared), request);
    app.tasks
        .spawn(public.serve(answer, app.stop.clone(), app.tasks.clone()));
    Ok(bound)
}

/// The certificate in `files`, read again when it changes.
fn renewed(app: &App, files: &ServerTls, client_ca: Option<PathBuf>) -> Result<Tls, tls::Error> {
    let tls = Tls::load(tls::Files {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        client_ca,
    })?;
    app.tasks.spawn(tls.clone().follow(app.stop.soft.clone()));
    Ok(tls)
}

async fn answer(app: Arc<App>, request: Request<Body>) -> http::Response<Body> {
    // The listener puts it there; without it nothing is known of who connects.
    let Some(connection) = request.extensions().get::<Connection>().cloned() else {
        let mut response = http::Response::new(crate::body::empty());
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        return response;
    };
    pipeline::handle(app, connection, request).await
}

/// What `/ready` tells.
fn checks(app: &App) -> Vec<Check> {
    let policies = app.policies.status();
    let policies = match &policies.last_error {
        None => check("policies", State::Ready, policies.digest.clone()),
        Some(error) => check(
            "policies",
            State::Degraded,
            format!("the last edit was not taken: {error}"),
        ),
    };
    let without = app.identity.issuers_without_keys();
    let keys = if without.is_empty() {
        check("issuers", State::Ready, String::new())
    } else {
        check(
            "issuers",
            State::Degraded,
            format!("no keys of {}", without.join(", ")),
        )
    };
    let watch = if app.index.is_up() {
        check("argocd", State::Ready, String::new())
    } else {
        check(
            "argocd",
            State::Degraded,
            "applications cannot be watched".to_owned(),
        )
    };
    let sessions = if app.identity.sessions().is_ready() {
        check("sessions", State::Ready, String::new())
    } else {
        check(
            "sessions",
            State::NotReady,
            "nobody can sign in before the store was read".to_owned(),
        )
    };
    let mut checks = vec![policies, keys, watch, sessions];
    if let Some(kubernetes) = &app.kubernetes {
        checks.push(if kubernetes.is_set_up() {
            check("rollback", State::Ready, String::new())
        } else {
            check(
                "rollback",
                State::Degraded,
                "the Kubernetes API cannot be used: see [rollback], and the log".to_owned(),
            )
        });
    }
    checks
}

fn check(name: &'static str, state: State, detail: String) -> Check {
    Check {
        name,
        state,
        detail,
    }
}

/// Waits for SIGTERM or SIGINT, then lets what runs finish, cuts the rest, and closes the store.
pub async fn until_stopped(app: Arc<App>) {
    wait_for_signal().await;
    tracing::info!("stopping");
    stop(&app).await;
}

/// Stops the gate in two steps and closes the store.
pub async fn stop(app: &App) {
    let grace = Duration::try_from(app.config.listen.drain).unwrap_or(Duration::from_secs(30));
    app.stop.drain(&app.tasks, grace).await;
    app.store.close().await;
}

async fn wait_for_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be waited for");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
