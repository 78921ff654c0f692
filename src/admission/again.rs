//! What was denied for want of tests, or since something held its environment, and is tried again when
//! that is over.
//!
//! In: denials, with the components whose tests are missing and with what held; news of tests, and the
//! store and the clock, at which it looks every second while something is held. Out: a refresh of each
//! application that may be permitted now, by which Argo CD tries its automatic sync again. One
//! refresh for one denial: what is denied again is remembered again. Kept in memory only: Argo CD
//! looks by itself every few minutes. It decides nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::app::App;
use crate::argocd::client::Refresh;
use crate::evidence::run::Counts;
use crate::hold::{self, Cause};
use crate::names::{AppRef, Component};
use crate::store::RunId;

/// How many denials are remembered; the oldest goes first.
const MOST: usize = 1024;
/// For how long.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);
/// How many applications are refreshed at a time.
const AT_ONCE: usize = 4;
/// Between two looks at what holds environments, while something waits for it.
const PAUSE: Duration = Duration::from_secs(1);

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
    waits: Waits,
    at: Timestamp,
}

/// What a denied rollout waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    /// Components whose tests are missing.
    pub(super) components: BTreeSet<String>,
    /// What held its environments.
    pub(super) causes: BTreeSet<Cause>,
}

impl Again {
    /// Remembers what a rollout of `application` waits for.
    pub(super) fn denied(&self, application: AppRef, waits: Waits, at: Timestamp) {
        let mut state = self.lock();
        let denied = &mut state.denied;
        denied.retain(|_, denied| at.duration_since(denied.at) < REMEMBERED);
        if denied.len() >= MOST && !denied.contains_key(&application) {
            let oldest = denied.iter().min_by_key(|(_, denied)| denied.at);
            if let Some(oldest) = oldest.map(|(application, _)| application.clone()) {
                denied.remove(&oldest);
            }
        }
        if !waits.causes.is_empty() {
            // From now on there is something to look at.
            self.news.notify_one();
        }
        denied.insert(application, Denied { waits, at });
    }

    /// Has what waits for tests of `component` tried again.
    fn tested(&self, component: &Component) {
        let mut state = self.lock();
        let State { denied, due } = &mut *state;
        denied.retain(|application, denied| {
            let concerned = denied.waits.components.contains(component.as_str());
            if concerned {
                due.insert(application.clone());
            }
            !concerned
        });
        if !due.is_empty() {
            self.news.notify_one();
        }
    }

    /// The environments that something waits for.
    fn held(&self) -> BTreeSet<String> {
        let state = self.lock();
        let causes = state.denied.values().flat_map(|it| &it.waits.causes);
        causes.map(|cause| cause.environment().to_owned()).collect()
    }

    /// Has tried again what was held by something that holds no more.
    fn released(&self, still: &BTreeSet<Cause>) {
        let mut state = self.lock();
        let State { denied, due } = &mut *state;
        denied.retain(|application, denied| {
            let released = !denied.waits.causes.is_subset(still);
            if released {
                due.insert(application.clone());
            }
            !released
        });
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

/// Tells the door that `application` was let through by break-glass: what was denied before is tried again.
pub fn let_through(app: &App, application: &AppRef) {
    if app.config.admission.is_some() {
        app.admission.again.planned(application.clone());
    }
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
        .run_until_cancelled(something(&app))
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

/// Waits until there is something to do; while something is held, that is to look whether it still is.
async fn something(app: &App) {
    let again = &app.admission.again;
    let held = again.held();
    if held.is_empty() {
        return again.news.notified().await;
    }
    tokio::select! {
        () = again.news.notified() => {}
        () = tokio::time::sleep(PAUSE) => {
            // What cannot be told is logged, and looked at again.
            if let Ok(holds) = hold::look_up(app, held).await {
                again.released(&holds.causes());
            }
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

    fn tests_of(components: &[&str]) -> Waits {
        Waits {
            components: components.iter().map(ToString::to_string).collect(),
            causes: BTreeSet::new(),
        }
    }

    fn names(due: BTreeSet<AppRef>) -> Vec<String> {
        due.into_iter().map(|app| app.name).collect()
    }

    #[test]
    fn tests_of_a_component_bring_back_once_what_lacked_them() {
        let again = Again::default();
        again.denied(app("cart-prod"), tests_of(&["cart"]), at(0));
        again.denied(app("root-prod"), tests_of(&["cart", "pay"]), at(1));
        again.denied(app("pay-prod"), tests_of(&["pay"]), at(2));
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
    fn what_was_held_comes_back_once_one_of_its_causes_has_ended() {
        let again = Again::default();
        let [stop, freeze] = [("prod", "stop 01J"), ("staging", "freeze weekend")]
            .map(|(environment, what)| Cause::new(environment, what));
        let held = |causes: &[&Cause]| Waits {
            components: BTreeSet::new(),
            causes: causes.iter().copied().cloned().collect(),
        };
        assert!(again.held().is_empty());
        again.denied(app("cart-prod"), held(&[&stop]), at(0));
        again.denied(app("root"), held(&[&stop, &freeze]), at(1));
        again.denied(app("cart-staging"), held(&[&freeze]), at(2));
        again.denied(app("pay-prod"), tests_of(&["pay"]), at(3));
        let environments = again.held().into_iter().collect::<Vec<_>>();
        assert_eq!(environments, ["prod", "staging"]);
        again.released(&[stop.clone(), freeze.clone()].into());
        assert!(again.due().is_empty());
        again.released(&[stop].into());
        assert_eq!(names(again.due()), ["cart-staging", "root"]);
        // Stopped again by another decision: the first stop has ended all the same.
        again.released(&[Cause::new("prod", "stop 01K")].into());
        assert_eq!(names(again.due()), ["cart-prod"]);
        assert!(again.held().is_empty());
    }

    #[test]
    fn denials_are_forgotten_after_a_day_and_beyond_a_number() {
        let again = Again::default();
        again.denied(app("old"), tests_of(&["cart"]), at(0));
        again.denied(app("new"), tests_of(&["cart"]), at(24 * 3600));
        again.tested(&component("cart"));
        assert_eq!(names(again.due()), ["new"]);
        for n in 0..=MOST {
            let second = i64::try_from(n).unwrap();
            again.denied(app(&format!("{n:05}")), tests_of(&["pay"]), at(second));
        }
        again.tested(&component("pay"));
        let due = names(again.due());
        assert_eq!(due.len(), MOST);
        assert!(!due.contains(&"00000".to_owned()));
    }
}
