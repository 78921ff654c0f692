//! Plans that take longer than the API server waits.
//!
//! In: the work of planning a write, and until when its result is wanted. Out: the result, or
//! nothing when it is not ready by then; the work goes on. Who asks for the same meanwhile waits for
//! the same work. A result that came too late is kept for the next who asks, once and for seconds:
//! what the evidence says may change; what is withdrawn leaves none. Work under way is bounded; more of it waits for its turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::app::App;
use crate::planner::Plan;
use crate::respond::Rejection;

/// How many writes are planned at a time.
const AT_ONCE: usize = 32;
/// How long a result that came too late is kept.
const KEPT: Duration = Duration::from_secs(10);
/// How long planning may take at all.
const LONGEST: Duration = Duration::from_mins(5);

/// What came of planning.
pub(super) type Planned = Arc<Result<Plan, Rejection>>;

/// Which write is planned, for whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(pub(super) String);

/// The plans of one gate that are under way, or came too late.
pub(super) struct Plans {
    known: Mutex<HashMap<Key, Known>>,
    places: Semaphore,
}

struct Known {
    outcome: watch::Receiver<Option<Planned>>,
    /// When it came too late.
    late: Option<Instant>,
}

impl Default for Plans {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            places: Semaphore::new(AT_ONCE),
        }
    }
}

impl Plans {
    /// The result of `work`, or of the same work begun before; `None` when it is not there at
    /// `deadline`. Whoever was told so is told by `late` that it is there now.
    pub(super) async fn plan<W, L>(
        app: &Arc<App>,
        key: Key,
        deadline: Instant,
        work: W,
        late: L,
    ) -> Option<Planned>
    where
        W: Future<Output = Result<Plan, Rejection>> + Send + 'static,
        L: FnOnce(&Arc<App>) + Send + 'static,
    {
        let mut outcome = app.admission.plans.begun(app, key, work, late);
        let ready = outcome.wait_for(Option::is_some);
        let ready = tokio::time::timeout_at(deadline, ready).await.ok()?;
        // The sender goes only with the gate.
        ready.ok()?.clone()
    }

    fn begun<W, L>(
        &self,
        app: &Arc<App>,
        key: Key,
        work: W,
        late: L,
    ) -> watch::Receiver<Option<Planned>>
    where
        W: Future<Output = Result<Plan, Rejection>> + Send + 'static,
        L: FnOnce(&Arc<App>) + Send + 'static,
    {
        let mut known = self.lock();
        let now = Instant::now();
        known.retain(|_, it| it.late.is_none_or(|at| now.duration_since(at) < KEPT));
        match known.get(&key) {
            Some(it) if it.late.is_none() => return it.outcome.clone(),
            Some(_) => {
                if let Some(it) = known.remove(&key) {
                    return it.outcome;
                }
            }
            None => {}
        }
        let (sender, outcome) = watch::channel(None);
        let begun = Known {
            outcome: outcome.clone(),
            late: None,
        };
        known.insert(key.clone(), begun);
        drop(known);
        let shared = Arc::clone(app);
        let run = async move {
            let plans = &shared.admission.plans;
            let worked = tokio::time::timeout(LONGEST, plans.in_turn(work)).await;
            let planned = worked.unwrap_or(Err(Rejection::UpstreamTimeout));
            if plans.end(&key, &sender, Arc::new(planned)) {
                late(&shared);
            }
        };
        let hard = app.stop.hard.clone();
        app.tasks.spawn(hard.run_until_cancelled_owned(run));
        outcome
    }

    /// Forgets the results that came too late.
    pub(super) fn forget(&self) {
        self.lock().retain(|_, it| it.late.is_none());
    }

    async fn in_turn<W>(&self, work: W) -> Result<Plan, Rejection>
    where
        W: Future<Output = Result<Plan, Rejection>>,
    {
        // Never closed.
        let _place = self.places.acquire().await;
        work.await
    }

    /// Gives the result to those who wait. Whether nobody does any more, and it is kept.
    fn end(&self, key: &Key, sender: &watch::Sender<Option<Planned>>, planned: Planned) -> bool {
        let mut known = self.lock();
        // One is the map's own. Failures are not worth keeping.
        let late = sender.receiver_count() <= 1 && planned.is_ok();
        sender.send_replace(Some(planned));
        if !late {
            known.remove(key);
        } else if let Some(it) = known.get_mut(key) {
            it.late = Some(Instant::now());
        }
        late
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
