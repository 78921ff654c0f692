//! An Argo CD that plays what the stories need, on all three wires, and remembers what reached it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Version};
use prost::Message as _;
use serde_json::{Value, json};
use syncgate::argocd::framing;
use syncgate::argocd::proto::{ApplicationSyncRequest, DexConfig, OidcConfig, Settings};
use syncgate::body::{self, Body};
use syncgate::clock::Clock;
use tokio::sync::broadcast;

use super::answer::{self, Answer};

/// The token by which the gate signs in here. Nobody else may ever see it.
pub(crate) const GATE_TOKEN: &str = "eyJhbGciOi.CANARY-OF-THE-UPSTREAM-c4f1.c2lnbmF0dXJl";
/// What `main` is at the beginning.
pub(crate) const FIRST: &str = "3f2c1a9d4b5e6f708192a3b4c5d6e7f8091a2b3c";
/// What it is after a push.
pub(crate) const SECOND: &str = "9ab12cd3e4f5061728394a5b6c7d8e9f0a1b2c3d";
/// What the second source of `multi-staging` is.
pub(crate) const CHART: &str = "0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60718293a";

/// What is called with each request of a caller before it is answered.
type Hook = Arc<dyn Fn(Seen) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;
/// A change of one application.
type Change = Box<dyn FnOnce(&mut Value) + Send>;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    /// Whether a caller's request was sent on; else it is a question of the gate's own.
    fn is_forwarded(&self) -> bool {
        self.headers.contains_key("x-forwarded-for")
    }

    /// The content type.
    pub(crate) fn kind(&self) -> &str {
        let kind = self.headers.get("content-type");
        kind.map_or("", |kind| kind.to_str().unwrap())
    }

    /// What it wants.
    fn accepts(&self) -> &str {
        let accepts = self.headers.get("accept");
        accepts.map_or("", |accepts| accepts.to_str().unwrap())
    }

    fn is_framed(&self) -> bool {
        self.kind().starts_with("application/grpc")
    }

    /// The sync that it asks for, read as Argo CD would on its wire.
    pub(crate) fn sync(&self) -> Option<ApplicationSyncRequest> {
        if self.path == "/application.ApplicationService/Sync" {
            let message = framing::read_message(&self.body, framing::MAX_MESSAGE_BYTES).unwrap();
            return Some(ApplicationSyncRequest::decode(message).unwrap());
        }
        let name = self.path.strip_prefix("/api/v1/applications/")?;
        let name = name.strip_suffix("/sync")?;
        let mut sync: ApplicationSyncRequest = serde_json::from_slice(&self.body).unwrap();
        name.clone_into(&mut sync.name);
        Some(sync)
    }
}

/// Which requests are offences.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Untouchable {
    /// Those that callers cause to be sent on.
    ByCallers,
    /// All but the gate's own watch.
    Wholly,
    #[default]
    No,
}

#[derive(Default)]
struct State {
    applications: BTreeMap<String, Value>,
    manifests: BTreeMap<String, Vec<Value>>,
    generated: Vec<Value>,
    sets: BTreeMap<String, Value>,
    /// The one project, if any.
    project: Option<Value>,
    /// Kubernetes' events, by application.
    events: BTreeMap<String, Value>,
    /// Bodies that tests gave, by path and content type.
    bodies: BTreeMap<(String, String), Vec<u8>>,
    seen: Vec<Seen>,
    offences: Vec<String>,
    untouchable: Untouchable,
    at_forward: Option<Hook>,
    /// How long the gate's own questions wait for their answers.
    delay: Duration,
    after_refresh: Option<Change>,
    before_sync: Option<Change>,
    denied: bool,
}

/// The stand-in.
pub(crate) struct ArgoCd {
    state: Mutex<State>,
    events: broadcast::Sender<Value>,
}

impl ArgoCd {
    /// All applications of the stories, out of sync at [`FIRST`].
    pub(crate) fn new() -> Self {
        let names = [
            "auto-prod",
            "auto-staging",
            "both-ways",
            "cart-prod",
            "cart-staging",
            "checkout-observed",
            "checkout-prod",
            "checkout-staging",
            "multi-staging",
            "stray",
        ];
        let applications = names.map(|name| (name.to_owned(), application(name)));
        let state = State {
            applications: applications.into(),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            events: broadcast::channel(64).0,
        }
    }

    // What tests arrange

    /// From now on any request but the gate's own watch is an offence, which fails the test.
    pub(crate) fn must_not_be_touched(&self) {
        self.state().untouchable = Untouchable::Wholly;
    }

    /// From now on a caller's request that is sent on is an offence, which fails the test; the gate
    /// may ask about applications.
    pub(crate) fn must_not_be_touched_by_callers(&self) {
        self.state().untouchable = Untouchable::ByCallers;
    }

    /// There is this application too, which holds `manifests`.
    pub(crate) fn put(&self, application: Value, manifests: Vec<Value>) {
        let name = application["metadata"]["name"].as_str().unwrap().to_owned();
        let mut state = self.state();
        // Nobody may be watching.
        let _ = self.events.send(event("ADDED", &application));
        state.applications.insert(name.clone(), application);
        state.manifests.insert(name, manifests);
    }

    /// There is this application no more.
    pub(crate) fn remove(&self, name: &str) {
        let gone = self.state().applications.remove(name).unwrap();
        // Nobody may be watching.
        let _ = self.events.send(event("DELETED", &gone));
    }

    /// There is this application set too.
    pub(crate) fn put_set(&self, set: Value) {
        let name = set["metadata"]["name"].as_str().unwrap().to_owned();
        self.state().sets.insert(name, set);
    }

    /// Every project is this one.
    pub(crate) fn project(&self, project: Value) {
        self.state().project = Some(project);
    }

    /// What application sets make from now on.
    pub(crate) fn generates(&self, applications: Vec<Value>) {
        self.state().generated = applications;
    }

    /// `main` moves to `commit`.
    pub(crate) fn push(&self, commit: &str) {
        let names: Vec<String> = self.state().applications.keys().cloned().collect();
        for name in names {
            self.change(&name, |application| push(application, commit));
        }
    }

    /// Changes an application, and tells the watchers.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        let application = state.applications.get_mut(name).unwrap();
        change(application);
        // Nobody may be watching.
        let _ = self.events.send(event("MODIFIED", application));
    }

    /// What Kubernetes keeps as the events of `name`.
    pub(crate) fn has_events(&self, name: &str, events: Value) {
        self.state().events.insert(name.to_owned(), events);
    }

    /// What a request to `path` gets, as `kind`.
    pub(crate) fn says(&self, path: &str, kind: &str, body: impl Into<Vec<u8>>) {
        let key = (path.to_owned(), kind.to_owned());
        self.state().bodies.insert(key, body.into());
    }

    /// The operation of `name` ends.
    pub(crate) fn finish(&self, name: &str, phase: &str) {
        self.change(name, |application| {
            let state = &mut application["status"]["operationState"];
            let sync = state["operation"]["sync"].clone();
            state["phase"] = json!(phase);
            state["finishedAt"] = json!(now());
            state["syncResult"] = sync;
            // It stays requested until its end.
            application["operation"] = Value::Null;
            if phase == "Succeeded" {
                application["status"]["sync"]["status"] = json!("Synced");
            }
        });
    }

    /// The operation of `name` ends, since a test Job of it has failed.
    pub(crate) fn fail(&self, name: &str) {
        self.change(name, |application| {
            let state = &mut application["status"]["operationState"];
            let mut result = state["operation"]["sync"].clone();
            result["resources"] = json!([{
                "group": "batch", "version": "v1", "kind": "Job", "name": "tests", "namespace": "shop",
                "hookType": "PostSync", "hookPhase": "Failed", "message": "Job has reached the limit",
            }]);
            state["phase"] = json!("Failed");
            state["finishedAt"] = json!(now());
            state["syncResult"] = result;
            application["operation"] = Value::Null;
        });
    }

    /// The operations that were written by the Kubernetes API: application, revision, and all of it.
    pub(crate) fn written(&self) -> Vec<(String, String, Value)> {
        let state = self.state();
        let patches = state
            .seen
            .iter()
            .filter(|seen| seen.method == Method::PATCH);
        let patches = patches.filter(|seen| seen.path.starts_with("/apis/argoproj.io/"));
        let told = patches.map(|seen| {
            let path = seen.path.split('?').next().unwrap();
            let name = path.rsplit('/').next().unwrap().to_owned();
            let body: Value = serde_json::from_slice(&seen.body).unwrap();
            let operation = body["operation"].clone();
            let revision = operation["sync"]["revision"].as_str().unwrap_or_default();
            (name, revision.to_owned(), operation)
        });
        told.collect()
    }

    /// What happens to an application right after the gate has read it afresh, once.
    pub(crate) fn after_refresh(&self, change: impl FnOnce(&mut Value) + Send + 'static) {
        self.state().after_refresh = Some(Box::new(change));
    }

    /// What happens to an application right before a sync of it is taken, once.
    pub(crate) fn before_sync(&self, change: impl FnOnce(&mut Value) + Send + 'static) {
        self.state().before_sync = Some(Box::new(change));
    }

    /// How long the gate's own questions wait for their answers from now on.
    pub(crate) fn answer_own_after(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// The webhook denies the next write of an operation.
    pub(crate) fn deny_next(&self) {
        self.state().denied = true;
    }

    /// What to await with each request of a caller before it is answered.
    pub(crate) fn at_forward<F>(&self, hook: impl Fn(Seen) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.state().at_forward = Some(Arc::new(move |seen| Box::pin(hook(seen))));
    }

    // What tests look at

    /// The requests of callers that reached it.
    pub(crate) fn forwarded(&self) -> Vec<Seen> {
        let state = self.state();
        let forwarded = state.seen.iter().filter(|seen| seen.is_forwarded());
        forwarded.cloned().collect()
    }

    /// The questions of the gate's own.
    pub(crate) fn own(&self) -> Vec<Seen> {
        let state = self.state();
        let own = state.seen.iter().filter(|seen| !seen.is_forwarded());
        own.cloned().collect()
    }

    /// Method and path of those.
    pub(crate) fn own_questions(&self) -> Vec<String> {
        let own = self.own();
        own.iter()
            .map(|seen| format!("{} {}", seen.method, seen.path))
            .collect()
    }

    /// The one sync that reached it since the last [`Self::forget`].
    pub(crate) fn only_sync(&self) -> ApplicationSyncRequest {
        let syncs: Vec<_> = self.forwarded().iter().filter_map(Seen::sync).collect();
        let [sync] = syncs.try_into().expect("exactly one sync");
        sync
    }

    /// An application as it is.
    pub(crate) fn application(&self, name: &str) -> Value {
        self.state().applications[name].clone()
    }

    /// Forgets what reached it.
    pub(crate) fn forget(&self) {
        self.state().seen.clear();
    }

    /// Fails if something did that must not have happened.
    pub(crate) fn assert_no_offence(&self) {
        let offences = self.state().offences.clone();
        assert!(
            offences.is_empty(),
            "the upstream was touched: {offences:?}"
        );
    }

    // What it does

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Body>) -> http::Response<Body> {
        let (head, body) = request.into_parts();
        let seen = Seen {
            method: head.method,
            path: head.uri.path_and_query().unwrap().to_string(),
            version: head.version,
            headers: head.headers,
            body: body::collect(body, 1 << 20).await.unwrap(),
        };
        let is_watch = !seen.is_forwarded() && seen.path == "/api/v1/stream/applications";
        let hook = {
            let mut state = self.state();
            let is_offence = match state.untouchable {
                Untouchable::ByCallers => seen.is_forwarded(),
                Untouchable::No => false,
                Untouchable::Wholly => !is_watch,
            };
            if is_offence {
                let offence = format!("{} {}", seen.method, seen.path);
                state.offences.push(offence.clone());
                drop(state);
                panic!("touched: {offence}");
            }
            state.seen.push(seen.clone());
            state.at_forward.clone().filter(|_| seen.is_forwarded())
        };
        if let Some(hook) = hook {
            hook(seen.clone()).await;
        }
        if !is_watch && !seen.is_forwarded() {
            let delay = self.state().delay;
            tokio::time::sleep(delay).await;
        }
        let path = seen.path.split('?').next().unwrap_or_default();
        let kinds = [seen.kind(), seen.accepts(), "application/json"];
        let body = kinds.iter().find_map(|kind| {
            let key = (path.to_owned(), (*kind).to_owned());
            Some((*kind, self.state().bodies.get(&key).cloned()?))
        });
        if let Some((kind, body)) = body {
            return answer::given(kind, body);
        }
        if seen.is_framed() {
            answer::framed(&seen, self.call(&seen))
        } else {
            answer::rest(&seen, self.rest(&seen), self.events.subscribe())
        }
    }

    fn call(&self, seen: &Seen) -> Answer {
        let name = || answer::name_in(&seen.body);
        match seen.path.rsplit('/').next().unwrap() {
            "Sync" => self.sync(seen.sync().unwrap()),
            "List" if seen.path.contains("ApplicationService") => Answer::List(self.all()),
            "Watch" if seen.path.contains("ApplicationService") => Answer::Watch(self.all()),
            "Get" if seen.path.contains("ApplicationService") => self.get(&name()),
            "Get" if seen.path.contains("SettingsService") => Answer::Message(settings()),
            _ => Answer::Other(json!({})),
        }
    }

    fn rest(&self, seen: &Seen) -> Answer {
        let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (seen.method.as_str(), segments.as_slice()) {
            ("GET", ["api", "version"]) => Answer::Other(json!({"Version": "v3.6.1+test"})),
            ("GET", ["api", "v1", "settings"]) => Answer::Other(json!({
                "url": "https://argocd.internal", "statusBadgeEnabled": true,
                "dexConfig": {"connectors": [{"name": "upstream dex"}]},
                "oidcConfig": {"name": "upstream", "issuer": "https://login.internal"},
            })),
            ("GET", ["api", "v1", "applications"]) => Answer::List(self.all()),
            ("GET", ["api", "v1", "stream", "applications"]) => Answer::Watch(self.all()),
            ("GET", ["api", "v1", "applications", name]) => {
                let answer = match self.get(name) {
                    Answer::One(found) if !is_in_named_namespace(&found, query) => Answer::Denied,
                    answer => answer,
                };
                if query.contains("refresh=") && !seen.is_forwarded() {
                    let change = self.state().after_refresh.take();
                    if let Some(change) = change {
                        self.change(name, change);
                    }
                }
                answer
            }
            ("GET", ["api", "v1", "applications", name, "manifests"]) => {
                let state = self.state();
                let manifests = state.manifests.get(*name);
                let texts = manifests.into_iter().flatten().map(Value::to_string);
                Answer::Other(json!({"manifests": texts.collect::<Vec<_>>()}))
            }
            ("POST", ["api", "v1", "applicationsets", "generate"]) => {
                Answer::Other(json!({"applications": self.state().generated}))
            }
            ("GET", ["api", "v1", "applicationsets", name]) => {
                let set = self.state().sets.get(*name).cloned();
                set.map_or(Answer::Denied, Answer::Other)
            }
            ("GET", ["api", "v1", "projects", _, "detailed"]) => {
                let project = self.state().project.clone();
                project.map_or(Answer::Denied, |project| {
                    Answer::Other(json!({ "project": project }))
                })
            }
            ("GET", ["api", "v1", "projects", _]) => Answer::Denied,
            ("GET", ["api", "v1", "applications", name, "events"]) => {
                let events = self.state().events.get(*name).cloned();
                Answer::Other(json!({"metadata": {}, "items": events}))
            }
            ("POST", ["api", "v1", "applications", _, "sync"]) => self.sync(seen.sync().unwrap()),
            ("DELETE", ["api", "v1", "applications", name, "operation"]) => {
                self.finish(name, "Failed");
                Answer::Other(json!({}))
            }
            _ => self.kubernetes(seen, &segments),
        }
    }

    fn kubernetes(&self, seen: &Seen, segments: &[&str]) -> Answer {
        match segments {
            [
                "apis",
                "argoproj.io",
                "v1alpha1",
                "namespaces",
                _,
                "applications",
                name,
            ] if seen.method == Method::PATCH => {
                self.patch(name, &serde_json::from_slice(&seen.body).unwrap())
            }
            _ => Answer::Other(json!({})),
        }
    }

    /// Kubernetes takes an operation, and the controller begins it.
    fn patch(&self, name: &str, patch: &Value) -> Answer {
        let change = self.state().before_sync.take();
        if let Some(change) = change {
            self.change(name, change);
        }
        let same = {
            let state = self.state();
            let metadata = &state.applications[name]["metadata"];
            let named = ["uid", "resourceVersion"];
            named
                .iter()
                .all(|key| patch["metadata"][key] == metadata[key])
        };
        if !same {
            return Answer::Conflict;
        }
        if std::mem::take(&mut self.state().denied) {
            return Answer::Denied;
        }
        self.change(name, |application| {
            let operation = patch["operation"].clone();
            let mut result = operation["sync"].clone();
            result["resources"] = json!([{
                "group": "batch", "version": "v1", "kind": "Job", "name": "tests",
                "namespace": application["spec"]["destination"]["namespace"],
                "hookType": "PostSync", "hookPhase": "Running",
            }]);
            application["status"]["operationState"] = json!({
                "phase": "Running", "startedAt": now(), "operation": operation, "syncResult": result,
            });
            application["operation"] = operation;
        });
        Answer::Other(self.application(name))
    }

    fn get(&self, name: &str) -> Answer {
        match self.state().applications.get(name) {
            Some(application) => Answer::One(application.clone()),
            None => Answer::Denied,
        }
    }

    fn all(&self) -> Vec<Value> {
        self.state().applications.values().cloned().collect()
    }

    /// Begins an operation, as Argo CD does: a revision that is not named is the newest.
    fn sync(&self, request: ApplicationSyncRequest) -> Answer {
        let name = request.name.clone();
        if !self.state().applications.contains_key(&name) {
            return Answer::Denied;
        }
        // Not in one expression: the lock would be held for the change.
        let change = self.state().before_sync.take();
        if let Some(change) = change {
            self.change(&name, change);
        }
        if std::mem::take(&mut self.state().denied) {
            return Answer::Denied;
        }
        let infos: Vec<Value> = request
            .infos
            .iter()
            .map(|info| json!({"name": info.name, "value": info.value}))
            .collect();
        self.change(&name, |application| {
            let spec = &application["spec"];
            let revision = request.revision.filter(|text| !text.is_empty());
            let newest = &application["status"]["sync"];
            let sync = if spec["sources"].is_array() {
                json!({"sources": spec["sources"], "revisions": request.revisions})
            } else {
                let revision = revision.map_or(newest["revision"].clone(), Value::from);
                json!({"source": spec["source"], "revision": revision})
            };
            let mut result = sync.clone();
            // It comes at once to the hook that tests.
            result["resources"] = json!([{
                "group": "batch", "version": "v1", "kind": "Job", "namespace": spec["destination"]["namespace"],
                "name": "tests", "hookType": "PostSync", "hookPhase": "Running",
            }]);
            let operation = json!({"sync": sync, "info": infos});
            application["status"]["operationState"] = json!({
                "phase": "Running", "startedAt": now(), "operation": operation, "syncResult": result,
            });
            application["operation"] = operation;
        });
        Answer::One(self.application(&name))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an application is in the namespace that the query names, if it names one.
fn is_in_named_namespace(application: &Value, query: &str) -> bool {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let named = pairs.find(|(key, _)| *key == "appNamespace");
    named.is_none_or(|(_, name)| application["metadata"]["namespace"] == *name)
}

/// Settings with a sign-in that is not the gate's.
fn settings() -> Vec<u8> {
    let settings = Settings {
        url: Some("https://argocd.internal".to_owned()),
        dex_config: Some(DexConfig {}),
        oidc_config: Some(OidcConfig {
            name: Some("upstream".to_owned()),
            issuer: Some("https://login.internal".to_owned()),
            ..OidcConfig::default()
        }),
        user_logins_disabled: Some(false),
    };
    settings.encode_to_vec()
}

/// One event of a watch.
pub(crate) fn event(kind: &str, application: &Value) -> Value {
    json!({"result": {"type": kind, "application": application}})
}

/// Argo CD has compared `application` with `commit`.
pub(crate) fn push(application: &mut Value, commit: &str) {
    let sync = &mut application["status"]["sync"];
    sync["status"] = json!("OutOfSync");
    if sync["revisions"].is_array() {
        sync["revisions"] = json!([commit, CHART]);
    } else {
        sync["revision"] = json!(commit);
    }
}

fn application(name: &str) -> Value {
    let (component, environment) = name.rsplit_once('-').unwrap_or((name, "none"));
    let source = |path: &str| {
        json!({
            "repoURL": "https://git.shop.example/shop.git", "path": path, "targetRevision": "main",
        })
    };
    let path = format!("components/{component}/overlays/{environment}");
    let destination = json!({
        "server": "https://kubernetes.default.svc", "namespace": format!("shop-{environment}"),
    });
    let mut spec = json!({"project": "shop", "destination": destination});
    let mut sync = json!({"status": "OutOfSync"});
    let mut compared = json!({"destination": destination});
    if component == "multi" {
        let mut chart = source("charts/multi");
        chart["repoURL"] = json!("https://git.shop.example/charts.git");
        spec["sources"] = json!([source(&path), chart]);
        compared["sources"] = spec["sources"].clone();
        sync["revisions"] = json!([FIRST, CHART]);
    } else {
        spec["source"] = source(&path);
        compared["source"] = spec["source"].clone();
        sync["revision"] = json!(FIRST);
    }
    if component == "auto" {
        spec["syncPolicy"] = json!({"automated": {"prune": true}});
    }
    sync["comparedTo"] = compared;
    json!({
        "metadata": {
            "name": name, "namespace": "argocd", "labels": {"component": component},
            "uid": syncgate::digest::sha256_hex(name.as_bytes()), "resourceVersion": "1",
        },
        "spec": spec,
        "status": {
            "sync": sync, "health": {"status": "Missing"}, "controllerNamespace": "argocd",
        },
    })
}

/// Argo CD tells whole seconds, and the gate cannot tell two operations of one second apart: here
/// each event has a second of its own, an hour ago.
fn now() -> String {
    static SECOND: AtomicI64 = AtomicI64::new(0);
    let passed = SECOND.fetch_add(1, Ordering::Relaxed);
    let second = Clock::system().now().as_second() - 3600 + passed;
    jiff::Timestamp::from_second(second).unwrap().to_string()
}
