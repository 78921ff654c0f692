//! Opens records and sees to it that each is closed.

use std::time::Instant;

use metrics::{counter, histogram};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::entry::{Closing, Entry, Opening, Outcome, Reached};
use super::{Error, sieve};
use crate::clock::Clock;
use crate::names::DecisionId;
use crate::store::{NewEntry, Pending, Seq, Store};

/// Writes the record. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    store: Store,
    clock: Clock,
    tasks: TaskTracker,
}

/// What must be true before a call goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// The opening is on disk: for all that changes something.
    BeforeProceeding,
    /// The opening has its place in the queue: for reads.
    Queued,
}

/// An opening without a closing that a crash has left.
#[derive(Clone, PartialEq, Debug)]
pub struct UnfinishedEntry {
    /// Its place in the log.
    pub seq: Seq,
    /// What it says.
    pub opening: Opening,
}

impl Recorder {
    /// A recorder on `store`. Closings that find the queue full wait on tasks of `tasks`: a stop
    /// waits for these before it closes the store.
    #[must_use]
    pub fn new(store: Store, clock: Clock, tasks: TaskTracker) -> Self {
        Self {
            store,
            clock,
            tasks,
        }
    }

    /// Records what was decided. The call must not go on unless this gives a record.
    ///
    /// A caller that goes away while this waits leaves either nothing, or an opening that is closed
    /// as abandoned.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Encode`], or [`Error::Store`]; [`Error::is_behind`] tells
    /// whether to try again.
    pub async fn open(
        &self,
        opening: Opening,
        durability: Durability,
    ) -> Result<OpenRecord, Error> {
        let started = Instant::now();
        let decision = opening.decision;
        let entry = Entry::Open(Box::new(opening)).encode()?;
        let pending = self.store.append_queued(entry).await?;
        // INVARIANT: an opening that has its place is closed by somebody: from here on by this
        // value, even when the caller goes away during the wait below.
        let mut record = OpenRecord {
            recorder: self.clone(),
            decision,
            durability,
            detail: None,
            open: true,
        };
        if durability == Durability::BeforeProceeding
            && let Err(error) = pending.durable().await
        {
            record.open = false;
            return Err(error.into());
        }
        histogram!("syncgate_record_wait_seconds").record(started.elapsed().as_secs_f64());
        Ok(record)
    }

    /// Puts `opening`, of something that is over when it is told, on record as a whole; durable on return.
    /// Gives whether it is new: what is told again under the same decision is passed over.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn note(&self, opening: Opening) -> Result<bool, Error> {
        match self.open(opening, Durability::BeforeProceeding).await {
            Ok(record) => {
                record.close(Outcome::Answered).await;
                Ok(true)
            }
            Err(Error::Store(crate::store::Error::AlreadyRecorded { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What a crash has left open, oldest first. Records that this process has opened are not among
    /// them.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Decode`] or [`Error::Format`].
    pub async fn unfinished(&self) -> Result<Vec<UnfinishedEntry>, Error> {
        let mut unfinished = Vec::new();
        for stored in self.store.unclosed().await? {
            if let Entry::Open(opening) = Entry::decode(&stored)? {
                unfinished.push(UnfinishedEntry {
                    seq: stored.seq,
                    opening: *opening,
                });
            }
        }
        Ok(unfinished)
    }

    /// Closes one of [`unfinished`](Self::unfinished) as interrupted, with what could be found out
    /// about it: whether it had reached the upstream, and how that is known. Durable on return.
    ///
    /// # Errors
    /// [`Error::Store`], also when it is closed already or was never opened.
    pub async fn close_interrupted(
        &self,
        decision: DecisionId,
        reached: Reached,
        evidence: String,
    ) -> Result<(), Error> {
        let outcome = Outcome::Interrupted { reached, evidence };
        let entry = self.closing(decision, outcome, None)?;
        self.store.append(entry).await?;
        Ok(())
    }

    fn closing(
        &self,
        decision: DecisionId,
        outcome: Outcome,
        detail: Option<String>,
    ) -> Result<NewEntry, Error> {
        Entry::Close(Closing {
            decision,
            at: self.clock.now(),
            outcome,
            detail: detail.map(sieve::cut),
        })
        .encode()
    }

    /// Hands a closing over to the queue, or to a task that waits for a place in it.
    fn deliver(&self, entry: NewEntry) -> Delivery {
        let entry = match self.store.try_append(entry) {
            Ok(pending) => return Delivery::Queued(pending),
            Err(entry) => entry,
        };
        // A record can be dropped after the runtime has gone.
        let Ok(runtime) = Handle::try_current() else {
            return Delivery::Impossible;
        };
        let store = self.store.clone();
        let decision = entry.decision;
        let waits = async move {
            match store.append_patiently(*entry).await {
                Ok(pending) => Some(pending),
                Err(error) => {
                    lost(decision, Some(&error));
                    None
                }
            }
        };
        Delivery::Waiting(self.tasks.spawn_on(waits, &runtime))
    }
}

/// How a closing is on its way.
enum Delivery {
    Impossible,
    Queued(Pending<Seq>),
    Waiting(JoinHandle<Option<Pending<Seq>>>),
}

/// A record that is open: to be closed with what became of the call.
#[derive(Debug)]
#[must_use = "dropped, it closes as abandoned"]
pub struct OpenRecord {
    recorder: Recorder,
    decision: DecisionId,
    durability: Durability,
    detail: Option<String>,
    open: bool,
}

impl OpenRecord {
    /// The decision that it records.
    #[must_use]
    pub fn decision(&self) -> DecisionId {
        self.decision
    }

    /// Notes the cause behind the outcome, for those who may read the log. The last note is kept.
    pub fn note(&mut self, detail: impl Into<String>) {
        self.detail = Some(detail.into());
    }

    /// Closes the record. Waits as the opening did: until it is on disk, or until it has its place.
    ///
    /// It gives no error, since what happened has happened: a closing that cannot be stored is
    /// counted and logged, and the next start finds the record unfinished. A caller that goes away
    /// during the wait changes nothing.
    pub async fn close(mut self, outcome: Outcome) {
        let Some(delivery) = self.send(outcome) else {
            return;
        };
        let pending = match delivery {
            Delivery::Impossible => None,
            Delivery::Queued(pending) => Some(pending),
            // A task that was cut short has dropped its place, and with it the process ends.
            Delivery::Waiting(task) => task.await.ok().flatten(),
        };
        if self.durability == Durability::BeforeProceeding
            && let Some(pending) = pending
            && let Err(error) = pending.durable().await
        {
            lost(self.decision, Some(&error));
        }
    }

    /// Sends the closing on its way, once.
    fn send(&mut self, outcome: Outcome) -> Option<Delivery> {
        if !std::mem::take(&mut self.open) {
            return None;
        }
        let closing = self
            .recorder
            .closing(self.decision, outcome, self.detail.take());
        match closing {
            Ok(entry) => {
                let delivery = self.recorder.deliver(entry);
                if matches!(delivery, Delivery::Impossible) {
                    lost(self.decision, None);
                }
                Some(delivery)
            }
            Err(error) => {
                lost(self.decision, Some(&error));
                None
            }
        }
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        // Where the queue is full a task waits on; where a write fails, the writer says so.
        drop(self.send(Outcome::Abandoned));
    }
}

/// Says that a closing is lost; nobody can be refused for it any more.
fn lost(decision: DecisionId, error: Option<&(dyn std::error::Error + 'static)>) {
    counter!("syncgate_record_lost_total").increment(1);
    tracing::error!(%decision, error, "the closing entry of decision {decision} is lost");
}
