//! Applications as Argo CD's API writes them, for tests.

use serde_json::{Value, json};

use crate::gate::AppFacts;

/// A commit.
pub(crate) const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Another one.
pub(crate) const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// When the operation of [`operation`] started.
pub(crate) const STARTED: &str = "2026-11-23T14:00:00Z";

/// A source at `main`, with its overlay in `path`.
pub(crate) fn source(path: &str) -> Value {
    json!({"repoURL": "https://git.example/shop.git", "path": path, "targetRevision": "main"})
}

/// `checkout-staging` with one source, in sync at commit `A`, never synced through an operation that
/// is still known.
pub(crate) fn single() -> Value {
    let source = source("checkout/staging");
    json!({
        "metadata": {"name": "checkout-staging", "namespace": "argocd", "uid": "u-1"},
        "spec": {"project": "default", "source": source, "destination": {"namespace": "shop"}},
        "status": {
            "sync": {"status": "Synced", "revision": A, "comparedTo": {"source": source, "destination": {}}},
            "history": [{"id": 0, "revision": A, "source": source}],
        },
    })
}

/// An application on a chart and a repository, in sync.
pub(crate) fn multi() -> Value {
    let chart =
        json!({"repoURL": "https://charts.example", "chart": "web", "targetRevision": "1.x"});
    let sources = json!([chart, source("checkout/staging")]);
    let mut app = single();
    app["spec"] = json!({"project": "default", "sources": sources});
    app["status"]["sync"] = json!({
        "status": "Synced", "revisions": ["1.4.2", A],
        "comparedTo": {"source": {"repoURL": ""}, "sources": sources},
    });
    app["status"]["history"] = json!([{"id": 0, "source": {"repoURL": ""}, "sources": sources, "revisions": ["1.4.2", A]}]);
    app
}

/// Gives `app`, which has one source, an operation in `phase` that has rolled out `commit` and come to a hook
/// after it, which is no Job.
pub(crate) fn operation(app: &mut Value, phase: &str, commit: &str) {
    let source = app["spec"]["source"].clone();
    app["status"]["operationState"] = json!({
        "phase": phase, "startedAt": STARTED,
        "operation": {"sync": {"revision": commit, "source": source}},
        "syncResult": {"revision": commit, "source": source, "resources": [
            {"group": "argoproj.io", "kind": "Workflow", "namespace": "shop", "name": "tell", "hookType": "PostSync"},
        ]},
    });
}

/// Reads `app`.
pub(crate) fn facts(app: &Value) -> AppFacts {
    AppFacts::from_json(app).unwrap()
}
