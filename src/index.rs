//! What Argo CD's watch says about applications, for reads.
//!
//! One watch of the upstream fills a map; a read that finds its application there asks nobody.
//! Deploys never look here. While the watch is down the map answers nothing, so that a read is
//! decided on what the upstream says then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use serde_json::Value;

use crate::app::App;
use crate::argocd::client::{Error, Event};
use crate::names::AppRef;

/// Between two attempts to watch.
const PAUSE: Duration = Duration::from_secs(2);

/// How long a watch may say nothing.
const QUIET: Duration = Duration::from_mins(5);

/// Applications by namespace and name.
pub struct Index {
    home_namespace: String,
    applications: DashMap<(String, String), Arc<Value>>,
    /// Names that requests use without a namespace: those in Argo CD's own.
    home: DashMap<String, Arc<Value>>,
    up: AtomicBool,
}

impl Index {
    /// An index that knows nothing yet, of an Argo CD in `namespace`.
    #[must_use]
    pub fn new(namespace: impl Into<String>) -> Self {
        Self {
            home_namespace: namespace.into(),
            applications: DashMap::new(),
            home: DashMap::new(),
            up: AtomicBool::new(false),
        }
    }

    /// The JSON of `application`, if the watch is up and has told of it.
    #[must_use]
    pub fn get(&self, application: &AppRef) -> Option<Arc<Value>> {
        if !self.is_up() {
            return None;
        }
        match &application.namespace {
            Some(namespace) => {
                let key = (namespace.clone(), application.name.clone());
                self.applications
                    .get(&key)
                    .map(|entry| Arc::clone(entry.value()))
            }
            None => self
                .home
                .get(&application.name)
                .map(|entry| Arc::clone(entry.value())),
        }
    }

    /// Whether the watch is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    fn reset(&self, up: bool) {
        self.up.store(false, Ordering::Release);
        self.applications.clear();
        self.home.clear();
        self.up.store(up, Ordering::Release);
    }

    fn take(&self, event: Event) {
        let text = |pointer: &str| {
            event
                .application
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
        let gone = event.kind == "DELETED";
        let is_home = namespace == self.home_namespace;
        let application = Arc::new(event.application);
        if gone {
            self.applications.remove(&(namespace, name.clone()));
            self.home.remove_if(&name, |_, _| is_home);
        } else {
            self.applications
                .insert((namespace, name.clone()), Arc::clone(&application));
            if is_home {
                self.home.insert(name, application);
            }
        }
    }
}

/// Follows the watch until the gate stops.
pub async fn follow(app: Arc<App>) {
    loop {
        let watched = tokio::select! {
            () = app.stop.soft.cancelled() => return,
            watched = watch(&app) => watched,
        };
        app.index.reset(false);
        match watched {
            Ok(()) => tracing::debug!("the watch of applications ended"),
            Err(error) => tracing::warn!(
                error = crate::telemetry::chain(&error),
                "applications cannot be watched"
            ),
        }
        tokio::select! {
            () = app.stop.soft.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn watch(app: &App) -> Result<(), Error> {
    let mut watch = app.argocd.watch().await?;
    app.index.reset(true);
    // A watch that says nothing may be a connection that died unnoticed: it is begun anew, which
    // also lists everything afresh.
    while let Ok(event) = tokio::time::timeout(QUIET, watch.next()).await {
        match event? {
            Some(event) => app.index.take(event),
            None => break,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, namespace: &str, name: &str) -> Event {
        Event {
            kind: kind.to_owned(),
            application: json!({
                "metadata": {"name": name, "namespace": namespace},
                "status": {"controllerNamespace": "argocd"},
            }),
        }
    }

    fn named(namespace: Option<&str>, name: &str) -> AppRef {
        AppRef {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_name_without_a_namespace_is_in_argo_cds_own() {
        let index = Index::new("argocd");
        index.reset(true);
        index.take(event("ADDED", "team-a", "shop"));
        assert!(index.get(&named(None, "shop")).is_none());
        assert!(index.get(&named(Some("team-a"), "shop")).is_some());
        index.take(event("ADDED", "argocd", "shop"));
        assert!(index.get(&named(None, "shop")).is_some());
        index.take(event("DELETED", "team-a", "shop"));
        assert!(index.get(&named(None, "shop")).is_some());
        index.take(event("DELETED", "argocd", "shop"));
        assert!(index.get(&named(None, "shop")).is_none());
    }

    #[test]
    fn while_the_watch_is_down_nothing_is_known() {
        let index = Index::new("argocd");
        index.reset(true);
        index.take(event("ADDED", "argocd", "shop"));
        index.reset(false);
        assert!(index.get(&named(Some("argocd"), "shop")).is_none());
    }
}
