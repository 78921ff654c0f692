//! What Argo CD's watch says about applications, for reads.
//!
//! One watch of the upstream fills a map; a read that finds its application there asks nobody.
//! A deploy reads its applications afresh, and asks here only where others are. While the watch is down the map answers nothing, so that a read is
//! decided on what the upstream says then.
//!
//! Who follows operations ([`crate::unexplained`]) is told of every application whose operation
//! changed. Its queue is bounded; what found no place is told as a whole, by [`Index::take_missed`]. Who waits for ends
//! of operations ([`crate::settle`]) is told of each, also of one that the next takes the place of at once; what
//! finds no place there is left to its own round.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::app::App;
use crate::argocd::client::{Error, Event};
use crate::json;
use crate::names::AppRef;

/// Between two attempts to watch.
const PAUSE: Duration = Duration::from_secs(2);

/// How long a watch may say nothing.
const QUIET: Duration = Duration::from_mins(5);

/// How many changed applications wait for who follows operations.
const TOLD: usize = 1024;

/// An application whose operation changed.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The application, as it is now.
    pub application: Arc<Value>,
    /// Whether something may have passed unseen before: the first news in a watch.
    pub after_gap: bool,
}

/// What an index tells.
pub struct Told {
    /// Applications whose operation changed.
    pub changed: mpsc::Receiver<Changed>,
    /// Applications of which an operation, or a try of one, has ended, as they were then.
    pub ended: mpsc::Receiver<Arc<Value>>,
}

/// Applications by namespace and name.
pub struct Index {
    home_namespace: String,
    changed: mpsc::Sender<Changed>,
    ended: mpsc::Sender<Arc<Value>>,
    /// Whether a change found no place in the queue.
    missed: AtomicBool,
    applications: DashMap<(String, String), Arc<Value>>,
    /// Names that requests use without a namespace: those in Argo CD's own.
    home: DashMap<String, Arc<Value>>,
    up: AtomicBool,
}

impl Index {
    /// An index that knows nothing yet, of an Argo CD in `namespace`; and the queues of what it tells.
    #[must_use]
    pub fn new(namespace: impl Into<String>) -> (Self, Told) {
        let (changed, told_changed) = mpsc::channel(TOLD);
        let (ended, told_ended) = mpsc::channel(TOLD);
        let told = Told {
            changed: told_changed,
            ended: told_ended,
        };
        let index = Self {
            home_namespace: namespace.into(),
            changed,
            ended,
            missed: AtomicBool::new(false),
            applications: DashMap::new(),
            home: DashMap::new(),
            up: AtomicBool::new(false),
        };
        (index, told)
    }

    /// All applications, if the queue of changes was full since this was last asked.
    #[must_use]
    pub fn take_missed(&self) -> Option<Vec<Changed>> {
        self.missed.swap(false, Ordering::AcqRel).then(|| {
            let all = self.applications.iter();
            all.map(|entry| Changed {
                application: Arc::clone(entry.value()),
                after_gap: true,
            })
            .collect()
        })
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

    /// The namespaces in which there are applications, with `home`, in which there may always be.
    #[must_use]
    pub fn namespaces(&self, home: &str) -> std::collections::BTreeSet<String> {
        let known = self.applications.iter().map(|entry| entry.key().0.clone());
        known.chain([home.to_owned()]).collect()
    }

    /// The applications that are deployed to `namespace` of `cluster`, by its server or name. A name may be that
    /// of any server.
    #[must_use]
    pub fn deployed_to(&self, cluster: &str, namespace: &str) -> Vec<Arc<Value>> {
        let is_server = |text: &str| text.contains("://");
        let found = self.applications.iter().filter(|entry| {
            let to = |pointer| crate::json::text(entry.value(), pointer);
            let other = match to("/spec/destination/server") {
                "" => to("/spec/destination/name"),
                server => server,
            };
            to("/spec/destination/namespace") == namespace
                && (other == cluster || is_server(other) != is_server(cluster))
        });
        found.map(|entry| Arc::clone(entry.value())).collect()
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
            let before = self
                .applications
                .insert((namespace, name.clone()), Arc::clone(&application));
            self.tell(before.as_deref(), &application);
            if is_home {
                self.home.insert(name, application);
            }
        }
    }

    /// Tells who follows operations, unless the operation is as it was.
    fn tell(&self, before: Option<&Value>, now: &Arc<Value>) {
        let as_before = |places: &[&str]| {
            let same = |before: &Value, place| json::at(before, place) == json::at(now, place);
            before.is_some_and(|before| places.iter().all(|place| same(before, place)))
        };
        if !json::at(now, FINISHED).is_null() && !as_before(&[FINISHED, OPERATION[0]]) {
            // Without a place it is left to who waits for it, who also looks by himself.
            let _ = self.ended.try_send(Arc::clone(now));
        }
        if as_before(&OPERATION) {
            return;
        }
        let changed = Changed {
            application: Arc::clone(now),
            after_gap: before.is_none(),
        };
        // Closed, nobody follows any more: the gate is stopping.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.changed.try_send(changed) {
            self.missed.store(true, Ordering::Release);
        }
    }
}

/// What tells that an operation began, went on or ended.
const OPERATION: [&str; 4] = [
    "/status/operationState/startedAt",
    "/status/operationState/phase",
    "/status/operationState/syncResult/revision",
    "/status/history",
];

/// Set when an operation has ended, or a try of one.
const FINISHED: &str = "/status/operationState/finishedAt";

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
        let (index, _told) = Index::new("argocd");
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

    fn operating(name: &str, phase: &str) -> Event {
        let mut event = event("MODIFIED", "argocd", name);
        event.application["status"]["operationState"] = json!({"phase": phase});
        event
    }

    #[test]
    fn a_change_of_an_operation_is_told_once_and_none_is_lost() {
        let (index, mut told) = Index::new("argocd");
        index.reset(true);
        for event in [
            operating("shop", "Running"),
            operating("shop", "Running"),
            operating("shop", "Succeeded"),
        ] {
            index.take(event);
        }
        assert!(told.changed.try_recv().unwrap().after_gap);
        let ended = told.changed.try_recv().unwrap();
        assert!(!ended.after_gap);
        assert_eq!(
            ended.application["status"]["operationState"]["phase"],
            "Succeeded"
        );
        assert!(told.changed.try_recv().is_err());
        assert!(index.take_missed().is_none());
        for n in 0..=TOLD {
            index.take(operating(&n.to_string(), "Running"));
        }
        assert_eq!(index.take_missed().unwrap().len(), TOLD + 2);
        assert!(index.take_missed().is_none());
    }

    #[test]
    fn each_end_of_an_operation_or_a_try_is_told_as_it_was() {
        let (index, mut told) = Index::new("argocd");
        index.reset(true);
        let event = |phase: &str, started: u8, finished: Option<u8>| {
            let mut event = operating("shop", phase);
            event.application["status"]["operationState"]["startedAt"] = json!(started);
            event.application["status"]["operationState"]["finishedAt"] = json!(finished);
            event
        };
        for event in [
            event("Running", 1, None),
            event("Running", 1, Some(2)),
            event("Running", 1, None),
            event("Failed", 1, Some(3)),
            event("Failed", 1, Some(3)),
            event("Running", 4, None),
        ] {
            index.take(event);
        }
        let mut finished = Vec::new();
        while let Ok(application) = told.ended.try_recv() {
            finished.push(json::at(&application, FINISHED).clone());
        }
        assert_eq!(finished, [2, 3]);
    }

    #[test]
    fn while_the_watch_is_down_nothing_is_known() {
        let (index, _told) = Index::new("argocd");
        index.reset(true);
        index.take(event("ADDED", "argocd", "shop"));
        index.reset(false);
        assert!(index.get(&named(Some("argocd"), "shop")).is_none());
    }
}
