//! What was denied for want of tests, and is tried again when they have passed.
//!
//! In: denials, with the components whose tests are missing; news of tests. Out: a refresh of each
//! application that may be permitted now, by which Argo CD tries its automatic sync again. One
//! refresh for one denial: what is denied again is remembered again. Kept in memory only: Argo CD
//! looks by itself every few minutes. It decides nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::app::App;
use crate::argocd::client::Refresh;
use crate::evidence::run::Counts;
use crate::names::{AppRef, Component};
use crate::store::RunId;

/// How many denials are remembered; the oldest goes first.
const MOST: usize = 1024;
/// For how long.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);
/// How many applications are refreshed at a time.
const AT_ONCE: usize = 4;

/// The denials of one gate.
#[derive(Default)]
pub(super) struct Again {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    denied: HashMap<AppRef, Denied>,
    due: BTreeSet<AppRef>,
}

struct Denied {
    components: BTreeSet<String>,
    at: Timestamp,
}

impl Again {
    /// Remembers that a rollout of `application` lacks tests of `components`.
    pub(super) fn denied(&self, application: AppRef, components: BTreeSet<String>, at: Timestamp) {
        let mut state = self.lock();
        let denied = &mut state.denied;
        denied.retain(|_, denied| at.duration_since(denied.at) < REMEMBERED);
        if denied.len() >= MOST && !denied.contains_key(&application) {
            let oldest = denied.iter().min_by_key(|(_, denied)| denied.at);
            if let Some(oldest) = oldest.map(|(application, _)| application.clone()) {
                denied.remove(&oldest);
            }
        }
        denied.insert(application, Denied { components, at });
    }

    /// Has what waits for tests of `component` tried again.
    fn tested(&self, component: &Component) {
        let mut state = self.lock();
        let State { denied, due } = &mut *state;
        denied.retain(|application, denied| {
            let concerned = denied.components.contains(component.as_str());
            if concerned {
                due.insert(application.clone());
            }
            !concerned
        });
        if !due.is_empty() {
            self.news.notify_one();
        }
    }

    /// Has `application` tried again.
    pub(super) fn planned(&self, application: AppRef) {
        self.lock().due.insert(application);
        self.news.notify_one();
    }

    fn due(&self) -> BTreeSet<AppRef> {
        std::mem::take(&mut self.lock().due)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the door that a run was withdrawn: what was planned before that is no use any more.
pub fn withdrawn(app: &App) {
    app.admission.plans.forget();
}

/// Tells the door that `run` is settled. One that counts may turn a denial into a permission.
pub async fn settled(app: &App, run: RunId, counts: Counts) {
    if counts != Counts::Now || app.config.admission.is_none() {
        return;
    }
    match app.store.run(run).await {
        Ok(Some(stored)) => app.admission.again.tested(&stored.run.component),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(%run, error = crate::telemetry::chain(&error), "cannot be read");
        }
    }
}

/// Refreshes what is due, until the gate stops.
pub async fn follow(app: Arc<App>) {
    let again = &app.admission.again;
    while app
        .stop
        .soft
        .run_until_cancelled(again.news.notified())
        .await
        .is_some()
    {
        let each = again.due().into_iter().map(|application| {
            let app = Arc::clone(&app);
            async move { refresh(&app, application).await }
        });
        let refresh = stream::iter(each).buffer_unordered(AT_ONCE).collect::<()>();
        if app.stop.soft.run_until_cancelled(refresh).await.is_none() {
            return;
        }
    }
}

async fn refresh(app: &App, application: AppRef) {
    let refreshed = app
        .argocd
        .application(&application, None, Refresh::Normal)
        .await;
    match refreshed {
        Ok(_) => tracing::info!(%application, "refreshed: a rollout that was denied may go on"),
        Err(error) => {
            let error = crate::telemetry::chain(&error);
            tracing::warn!(%application, error, "not refreshed: Argo CD will look by itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppRef {
        AppRef {
            namespace: None,
            name: name.to_owned(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn component(name: &str) -> Component {
        Component::parse(name).unwrap()
    }

    fn names(due: BTreeSet<AppRef>) -> Vec<String> {
        due.into_iter().map(|app| app.name).collect()
    }

    #[test]
    fn tests_of_a_component_bring_back_once_what_lacked_them() {
        let again = Again::default();
        again.denied(app("cart-prod"), ["cart".to_owned()].into(), at(0));
        let both = ["cart".to_owned(), "pay".to_owned()].into();
        again.denied(app("root-prod"), both, at(1));
        again.denied(app("pay-prod"), ["pay".to_owned()].into(), at(2));
        again.tested(&component("other"));
        assert!(again.due().is_empty());
        again.tested(&component("cart"));
        assert_eq!(names(again.due()), ["cart-prod", "root-prod"]);
        again.tested(&component("cart"));
        assert!(again.due().is_empty());
        again.tested(&component("pay"));
        assert_eq!(names(again.due()), ["pay-prod"]);
    }

    #[test]
    fn denials_are_forgotten_after_a_day_and_beyond_a_number() {
        let again = Again::default();
        again.denied(app("old"), ["cart".to_owned()].into(), at(0));
        again.denied(app("new"), ["cart".to_owned()].into(), at(24 * 3600));
        again.tested(&component("cart"));
        assert_eq!(names(again.due()), ["new"]);
        for n in 0..=MOST {
            let second = i64::try_from(n).unwrap();
            again.denied(
                app(&format!("{n:05}")),
                ["pay".to_owned()].into(),
                at(second),
            );
        }
        again.tested(&component("pay"));
        let due = names(again.due());
        assert_eq!(due.len(), MOST);
        assert!(!due.contains(&"00000".to_owned()));
    }
}
