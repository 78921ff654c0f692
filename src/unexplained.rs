//! Operations of Argo CD that no decision explains.
//!
//! In: every application whose operation changed, from the index's watch. Out: for each operation one
//! judgement in the store; for one that no decision permitted ([`explain`]) an alarm in the record, a
//! count, and a message to each receiver. What began before the first look is the *baseline* and no
//! alarm. What passed while the gate was away, or the watch was down, is rebuilt from what Argo CD and
//! Kubernetes still keep ([`rebuild`]) and marked so. Never: an operation that is passed over since the
//! store or the log could not be read; it is judged again until that works.
//!
//! An operation is named by the uid of its object and by when it began. A dry run changes nothing and
//! is noted without an alarm. One that Argo CD could not carry out alarms all the same: somebody got
//! past the gate.

mod alarm;
mod explain;
mod ran;
mod rebuild;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;

use self::ran::{Object, Ran};
use crate::app::App;
use crate::deployed;
use crate::index::Changed;
use crate::names::DecisionId;
use crate::planner;
use crate::record;
use crate::store::{self, Judgement, Look, NewNotice, OperationRow};
use crate::telemetry::chain;

/// How many changes are looked at together.
const AT_ONCE: usize = 256;
/// Between two attempts when the store cannot be used.
const PAUSE: Duration = Duration::from_secs(1);

/// Why operations could not be judged.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the log cannot be used")]
    Record(#[from] record::Error),
    #[error("judged operations cannot be kept")]
    Store(#[from] store::Error),
}

/// Judges what `told` tells, until the gate stops.
pub async fn follow(app: Arc<App>, mut told: mpsc::Receiver<Changed>) {
    let since = loop {
        match app.store.operations_since(app.clock.now()).await {
            Ok(since) => break since,
            Err(error) if is_stopped(&app, &error).await => return,
            Err(_) => {}
        }
    };
    let mut watcher = Watcher {
        app: Arc::clone(&app),
        since,
        judged: HashMap::new(),
        unresolved: HashMap::new(),
    };
    let mut changes = Vec::with_capacity(AT_ONCE);
    loop {
        let count = tokio::select! {
            () = app.stop.soft.cancelled() => return,
            count = told.recv_many(&mut changes, AT_ONCE) => count,
        };
        if count == 0 {
            return;
        }
        if let Some(all) = app.index.take_missed() {
            changes.extend(all);
        }
        // What was judged before an error is known, and not judged again.
        while let Err(error) = watcher.look(&changes).await {
            if is_stopped(&app, &error).await {
                return;
            }
        }
        changes.clear();
    }
}

/// Waits after `error`; whether the gate is stopped meanwhile.
async fn is_stopped(app: &App, error: &(dyn std::error::Error + Sync)) -> bool {
    tracing::warn!(error = chain(error), "operations cannot be judged yet");
    let pause = tokio::time::sleep(PAUSE);
    app.stop.soft.run_until_cancelled(pause).await.is_none()
}

struct Watcher {
    app: Arc<App>,
    /// When this store first followed operations.
    since: Timestamp,
    /// By uid, the begin of the newest operation that was judged. Absent: never looked at.
    judged: HashMap<String, Option<Timestamp>>,
    /// Operations of which it is not known yet what they roll out, by uid.
    unresolved: HashMap<String, Ran>,
}

impl Watcher {
    async fn look(&mut self, changes: &[Changed]) -> Result<(), Error> {
        let home = self.app.config.upstream.namespace.clone();
        let read = changes.iter().filter_map(|change| {
            let object = Object::read(&change.application, &home);
            if object.is_none() {
                tracing::error!("argo cd told of an application without a name or uid");
            }
            Some((object?, change))
        });
        let read: Vec<(Object, &Changed)> = read.collect();
        self.learn(&read).await?;
        let mut first_looks = Vec::new();
        for (object, change) in read {
            match self.judged.get(&object.uid).copied() {
                None if self.was_there(&change.application) => {
                    self.judged.insert(object.uid.clone(), None);
                    first_looks.push((object, change));
                }
                last => self.judge_new(&object, change, last.flatten()).await?,
            }
        }
        if let Err(error) = self.keep_baseline(&first_looks).await {
            for (object, _) in first_looks {
                self.judged.remove(&object.uid);
            }
            return Err(error);
        }
        Ok(())
    }

    /// Reads from the store what was judged of applications that this process has not seen yet.
    async fn learn(&mut self, read: &[(Object, &Changed)]) -> Result<(), Error> {
        let uids = read.iter().map(|(object, _)| object.uid.clone());
        let unknown: BTreeSet<String> = uids.filter(|u| !self.judged.contains_key(u)).collect();
        if !unknown.is_empty() {
            let known = self
                .app
                .store
                .watched(unknown.into_iter().collect())
                .await?;
            self.judged.extend(known);
        }
        Ok(())
    }

    /// Whether the object was there before the first look at all. One that does not say when it was
    /// made was not.
    fn was_there(&self, application: &Value) -> bool {
        rebuild::created(application).is_some_and(|created| created < self.since)
    }

    /// Stores the last operations of applications that nobody looked at before, without an alarm.
    async fn keep_baseline(&mut self, looks: &[(Object, &Changed)]) -> Result<(), Error> {
        let mut found = Vec::new();
        let mut rows = Vec::new();
        for (object, change) in looks {
            let newest = rebuild::since(object, &change.application, None).pop();
            let operations = newest.iter().map(|ran| self.row(ran, Judgement::Baseline));
            rows.push(Look {
                uid: object.uid.clone(),
                operations: operations.collect(),
                notices: Vec::new(),
            });
            found.extend(newest);
        }
        if !found.is_empty() {
            alarm::record_baseline(&self.app, &found).await?;
        }
        for (_, change) in looks {
            deployed::baseline(&self.app, &change.application).await?;
        }
        if !rows.is_empty() {
            self.app.store.add_looks(rows).await?;
        }
        for ran in found {
            self.judged.insert(ran.object.uid, Some(ran.started_at));
        }
        Ok(())
    }

    /// Judges the operations of one application that are new.
    async fn judge_new(
        &mut self,
        object: &Object,
        change: &Changed,
        last: Option<Timestamp>,
    ) -> Result<(), Error> {
        let new = self.new_operations(object, change, last).await;
        let environment = planner::facts(&self.app, &change.application).0.environment;
        let mut look = Look {
            uid: object.uid.clone(),
            operations: Vec::new(),
            notices: Vec::new(),
        };
        let mut unresolved = None;
        let count = new.len();
        for (place, ran) in (1..).zip(new) {
            if self
                .app
                .store
                .is_judged(&object.uid, ran.started_at)
                .await?
            {
                continue;
            }
            if place == count && ran.is_unresolved() {
                unresolved = Some(ran);
                break;
            }
            // One decision explains one operation, also among these.
            let taken = look.operations.iter().filter_map(|row| row.explained_by);
            let taken: Vec<DecisionId> = taken.collect();
            let (row, notices) = self.judge(&ran, &environment, &taken).await?;
            look.operations.push(row);
            look.notices.extend(notices);
        }
        let newest = look.operations.iter().map(|row| row.started_at).max();
        let is_first = !self.judged.contains_key(&object.uid);
        let has_notices = !look.notices.is_empty();
        if is_first || newest.is_some() {
            self.app.store.add_looks(vec![look]).await?;
            self.judged.insert(object.uid.clone(), newest.or(last));
        }
        if has_notices {
            self.app.notices.notify_one();
        }
        match unresolved {
            Some(ran) => self.unresolved.insert(object.uid.clone(), ran),
            None => self.unresolved.remove(&object.uid),
        };
        Ok(())
    }

    /// The operations of one application that may not have been judged, oldest first.
    async fn new_operations(
        &self,
        object: &Object,
        change: &Changed,
        last: Option<Timestamp>,
    ) -> Vec<Ran> {
        let mut new = rebuild::since(object, &change.application, last);
        if change.after_gap && !new.is_empty() {
            self.add_events(object, &mut new, last).await;
            for ran in &mut new {
                ran.reconstructed = true;
            }
        }
        // The next operation has taken its place before it was known what it rolls out.
        let replaced = self.unresolved.get(&object.uid).filter(|old| {
            Some(old.started_at) != last && new.iter().all(|ran| ran.started_at != old.started_at)
        });
        if let Some(replaced) = replaced {
            new.insert(0, replaced.clone());
        }
        new
    }

    /// Events tell who and what; without them what is known is judged all the same.
    async fn add_events(&self, object: &Object, new: &mut Vec<Ran>, last: Option<Timestamp>) {
        match self.app.argocd.events(&object.application).await {
            Ok(events) => rebuild::with_events(object, new, &events, last),
            Err(error) => {
                let application = &object.application;
                tracing::warn!(%application, error = chain(&error), "its events cannot be read");
            }
        }
    }

    async fn judge(
        &self,
        ran: &Ran,
        environment: &str,
        taken: &[DecisionId],
    ) -> Result<(OperationRow, Vec<NewNotice>), Error> {
        let (store, home) = (&self.app.store, &self.app.config.upstream.namespace);
        let (application, started_at) = (&ran.object.application, ran.started_at);
        let why = match explain::explain(store, ran, home, taken).await? {
            Ok(decision) => {
                tracing::debug!(%application, %started_at, %decision, "operation explained");
                let mut row = self.row(ran, Judgement::Explained);
                row.explained_by = Some(decision);
                return Ok((row, Vec::new()));
            }
            Err(why) => why,
        };
        if ran.dry_run {
            tracing::info!(%application, %started_at, why, "dry run past the gate");
            return Ok((self.row(ran, Judgement::DryRun), Vec::new()));
        }
        let alarm = alarm::raise(&self.app, ran, environment, &why).await?;
        let mut row = self.row(ran, Judgement::Unexplained);
        row.alarm = Some(alarm.decision);
        Ok((row, alarm.notices))
    }

    fn row(&self, ran: &Ran, judgement: Judgement) -> OperationRow {
        OperationRow {
            uid: ran.object.uid.clone(),
            started_at: ran.started_at,
            application: ran.object.application.clone(),
            commits: ran.commits(),
            initiated_by: ran.initiated_by.clone(),
            judgement,
            explained_by: None,
            alarm: None,
            reconstructed: ran.reconstructed,
            judged_at: self.app.clock.now(),
        }
    }
}

#[cfg(test)]
mod tests;
