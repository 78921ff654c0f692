//! The demo's stand-in of Argo CD: the REST calls of the story and nothing else.
//!
//! It keeps four applications (two components in two environments), resolves `main` to the commit
//! that the story last pushed, and runs an operation as Argo CD does as far as the gate can see:
//! the resolved commit in `operation`, then `operationState` Running with the test Job as its hook, then
//! its end. It takes a patch of `operation` as the Kubernetes API does. Everything else is 501.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::json::{self, set};

/// The repository that every application names.
const REPOSITORY: &str = "https://git.shop.example/shop.git";

/// What the stand-in answers.
pub(super) enum Answer {
    /// One JSON document.
    Json(StatusCode, Value),
    /// The stream of watch events: what is there now, then what changes.
    Watch(Vec<Value>, broadcast::Receiver<Value>),
}

/// The state of the stand-in.
pub(super) struct StandIn {
    applications: Mutex<BTreeMap<String, Value>>,
    events: broadcast::Sender<Value>,
    clock: Clock,
}

impl StandIn {
    /// The applications of the story, all `OutOfSync` at `commit`.
    pub(super) fn new(commit: &str, clock: Clock) -> Self {
        let mut applications = BTreeMap::new();
        for component in ["cart", "checkout"] {
            for environment in ["staging", "prod"] {
                let application = application(component, environment, commit, &clock);
                applications.insert(format!("{component}-{environment}"), application);
            }
        }
        let (events, _) = broadcast::channel(64);
        Self {
            applications: Mutex::new(applications),
            events,
            clock,
        }
    }

    /// The branch `main` moves to `commit`: every application is compared with it.
    pub(super) fn push(&self, commit: &str) {
        self.change_all(|application| {
            set(application, "/status/sync/revision", json!(commit));
            set(application, "/status/sync/status", json!("OutOfSync"));
        });
    }

    /// The Job of the running operation of `name` has ended in this phase: `Succeeded` or `Failed`.
    pub(super) fn finish_operation(&self, name: &str, phase: &str) {
        let now = self.clock.now().to_string();
        self.change(name, |application| {
            // It stays requested until its end.
            set(application, "/operation", Value::Null);
            set(application, "/status/operationState/phase", json!(phase));
            set(application, "/status/operationState/finishedAt", json!(now));
            let hooks = hooks(application, phase);
            set(
                application,
                "/status/operationState/syncResult/resources",
                hooks,
            );
            set(application, "/status/sync/status", json!("Synced"));
            set(application, "/status/health/status", json!("Healthy"));
        });
    }

    /// Answers one call.
    pub(super) fn answer(&self, method: &Method, path: &str, body: &[u8]) -> Answer {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method, segments.as_slice()) {
            (&Method::GET, ["api", "version"]) => {
                Answer::Json(StatusCode::OK, json!({"Version": "v3.6.1+stand-in"}))
            }
            (&Method::GET, ["api", "v1", "applications"]) => {
                let items: Vec<Value> = self.snapshot();
                Answer::Json(
                    StatusCode::OK,
                    json!({"metadata": {"resourceVersion": "1"}, "items": items}),
                )
            }
            (&Method::GET, ["api", "v1", "stream", "applications"]) => {
                let events = self.events.subscribe();
                let now = self
                    .snapshot()
                    .into_iter()
                    .map(|a| event("ADDED", &a))
                    .collect();
                Answer::Watch(now, events)
            }
            (&Method::GET, ["api", "v1", "applications", name]) => match self.get(name) {
                Some(application) => Answer::Json(StatusCode::OK, application),
                None => no_such_application(),
            },
            (&Method::GET, ["api", "v1", "applications", name, "manifests"]) => {
                let settings = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                });
                Answer::Json(StatusCode::OK, json!({"manifests": [settings.to_string()]}))
            }
            (&Method::POST, ["api", "v1", "applications", name, "sync"]) => self.sync(name, body),
            (
                &Method::PATCH,
                [
                    "apis",
                    "argoproj.io",
                    "v1alpha1",
                    "namespaces",
                    "argocd",
                    "applications",
                    name,
                ],
            ) => self.patch(name, body),
            _ => Answer::Json(
                StatusCode::NOT_IMPLEMENTED,
                error(12, "the stand-in plays the story only"),
            ),
        }
    }

    /// The names of the applications whose operation is running, with its commit.
    pub(super) fn running(&self) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for application in self.snapshot() {
            let text = |pointer| json::text(&application, pointer).to_owned();
            if text("/status/operationState/phase") == "Running" {
                let commit = text("/status/operationState/operation/sync/revision");
                out.push((text("/metadata/name"), commit));
            }
        }
        out
    }

    fn sync(&self, name: &str, body: &[u8]) -> Answer {
        let Ok(request) = serde_json::from_slice::<Value>(body) else {
            return Answer::Json(StatusCode::BAD_REQUEST, error(3, "the body is not JSON"));
        };
        let now = self.clock.now().to_string();
        let changed = self.change(name, |application| {
            let resolved = match json::text(&request, "/revision") {
                sha if crate::names::is_full_sha(sha) => sha.to_owned(),
                _ => json::text(application, "/status/sync/revision").to_owned(),
            };
            let operation = json!({
                "sync": {"revision": resolved, "source": json::at(application, "/spec/source")},
                "info": json::at(&request, "/infos"),
                "initiatedBy": {"username": "syncgate"},
            });
            begin(application, operation, &now);
        });
        match changed {
            Some(application) => Answer::Json(StatusCode::OK, application),
            None => no_such_application(),
        }
    }

    /// A patch of the `operation` through the Kubernetes API.
    fn patch(&self, name: &str, body: &[u8]) -> Answer {
        let Ok(patch) = serde_json::from_slice::<Value>(body) else {
            return Answer::Json(StatusCode::BAD_REQUEST, error(3, "the body is not JSON"));
        };
        let now = self.clock.now().to_string();
        let changed = self.change(name, |application| {
            begin(application, json::at(&patch, "/operation").clone(), &now);
        });
        match changed {
            Some(application) => Answer::Json(StatusCode::OK, application),
            None => no_such_application(),
        }
    }

    fn get(&self, name: &str) -> Option<Value> {
        self.lock().get(name).cloned()
    }

    fn snapshot(&self) -> Vec<Value> {
        self.lock().values().cloned().collect()
    }

    fn change_all(&self, change: impl Fn(&mut Value)) {
        let names: Vec<String> = self.lock().keys().cloned().collect();
        for name in names {
            self.change(&name, &change);
        }
    }

    /// Changes one application and tells the watchers. Gives it as it is then.
    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) -> Option<Value> {
        let mut applications = self.lock();
        let application = applications.get_mut(name)?;
        change(application);
        // Nobody may be watching.
        let _ = self.events.send(event("MODIFIED", application));
        Some(application.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Value>> {
        self.applications
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The controller takes `operation` over at once, and comes to its test Job.
fn begin(application: &mut Value, operation: Value, now: &str) {
    let mut result = json::at(&operation, "/sync").clone();
    let hooks = hooks(application, "Running");
    set(&mut result, "/resources", hooks);
    let state = json!({
        "phase": "Running", "startedAt": now, "operation": operation, "syncResult": result,
    });
    set(application, "/status/operationState", state);
    set(application, "/operation", operation);
}

fn application(component: &str, environment: &str, commit: &str, clock: &Clock) -> Value {
    let name = format!("{component}-{environment}");
    let source = json!({
        "repoURL": REPOSITORY,
        "path": format!("components/{component}/overlays/{environment}"),
        "targetRevision": "main",
    });
    let destination = json!({"server": "https://kubernetes.default.svc", "namespace": format!("shop-{environment}")});
    let uid = crate::digest::sha256_hex(name.as_bytes());
    json!({
        "metadata": {
            "name": name, "namespace": "argocd", "uid": uid, "resourceVersion": "1",
            "creationTimestamp": clock.now().to_string(), "labels": {"component": component},
        },
        "spec": {"project": "shop", "source": source, "destination": destination},
        "status": {
            "sync": {
                "status": "OutOfSync", "revision": commit,
                "comparedTo": {"source": source, "destination": destination},
            },
            "health": {"status": "Missing"},
            "controllerNamespace": "argocd",
        },
    })
}

fn event(kind: &str, application: &Value) -> Value {
    json!({"result": {"type": kind, "application": application}})
}

fn error(code: u16, message: &str) -> Value {
    json!({"error": message, "code": code, "message": message})
}

/// The test Job of `application` as a result of its operation.
fn hooks(application: &Value, phase: &str) -> Value {
    json!([{
        "group": "batch", "version": "v1", "kind": "Job", "name": "integration",
        "namespace": json::at(application, "/spec/destination/namespace"),
        "hookType": "PostSync", "hookPhase": phase,
    }])
}

/// As Argo CD answers for an application that is not there.
fn no_such_application() -> Answer {
    Answer::Json(StatusCode::FORBIDDEN, error(7, "permission denied"))
}
