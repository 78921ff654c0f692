//! The one thread that writes.
//!
//! In: jobs, through a bounded queue. It takes whatever is queued, runs every job inside one
//! transaction, commits, and only then tells each caller what became of its job: a caller that was
//! told "stored" has it on disk (`synchronous=FULL`). No timer: under load batches grow by
//! themselves, without load a job waits for nobody.
//!
//! Each job runs in a savepoint, so one that fails takes nothing of its neighbours with it. A
//! failed commit is told to all of them. It must never tell success before the commit.

use std::thread;
use std::time::Duration;

use metrics::counter;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::fault::{Cause, Error, Fault};

/// How many jobs wait at most, which is also the largest batch. At some kilobytes each this bounds
/// what a slow disk can make us hold.
pub(super) const QUEUE: usize = 1024;

/// How long a caller waits for a place before it is told that storage is behind.
pub(super) const PLACE_TIMEOUT: Duration = Duration::from_secs(5);

/// The queue's sending end.
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    place_timeout: Duration,
    ended: CancellationToken,
}

/// The answer to a job that has its place in the queue; may be awaited or let go.
#[derive(Debug)]
#[must_use = "a write is durable only once this says so"]
pub struct Pending<T>(oneshot::Receiver<Result<T, Error>>);

impl<T> Pending<T> {
    /// Waits until the write is on disk.
    ///
    /// # Errors
    /// What the write failed with; [`Error::Closed`] when the writer has ended.
    pub async fn durable(self) -> Result<T, Error> {
        self.0.await.unwrap_or(Err(Error::Closed))
    }
}

/// A place in the queue, for one job.
pub(super) struct Place<'a>(mpsc::Permit<'a, Message>);

impl Place<'_> {
    /// Queues `work`; what it fails with says that it happened while doing `action`.
    pub(super) fn queue<T, F>(self, action: &'static str, work: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        self.0.send(Message::Work(Box::new(Task {
            action,
            work: Some(work),
            result: None,
            caller,
        })));
        Pending(answer)
    }
}

impl Writer {
    /// Starts the thread on `connection`. `lock` is held until the thread has ended.
    pub(super) fn start(
        connection: Connection,
        lock: std::fs::File,
        queue: usize,
        place_timeout: Duration,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(queue);
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                // Dropped in reverse: the connection is closed, then the file is free for another
                // process, then those who wait for the end are told.
                let _guard = guard;
                let _lock = lock;
                run(connection, receiver, queue);
            })?;
        Ok(Self {
            queue: sender,
            place_timeout,
            ended,
        })
    }

    /// A place as soon as there is one, for at most the allowed time.
    pub(super) async fn place(&self) -> Result<Place<'_>, Error> {
        match tokio::time::timeout(self.place_timeout, self.place_patiently()).await {
            Ok(place) => place,
            Err(_) => Err(Error::Behind {
                waited_ms: self.place_timeout.as_millis(),
            }),
        }
    }

    /// A place as soon as there is one, however long that takes.
    pub(super) async fn place_patiently(&self) -> Result<Place<'_>, Error> {
        self.queue
            .reserve()
            .await
            .map(Place)
            .map_err(|_| Error::Closed)
    }

    /// A place if there is one now.
    pub(super) fn try_place(&self) -> Option<Place<'_>> {
        self.queue.try_reserve().map(Place).ok()
    }

    /// Takes no more jobs, waits until those that are queued have been written and the file is
    /// closed.
    pub(super) async fn close(&self) {
        // Where this fails the writer has ended already.
        let _ = self.queue.send(Message::Stop).await;
        self.ended.cancelled().await;
    }
}

enum Message {
    Stop,
    Work(Box<dyn Job>),
}

/// A job whose result type the writer does not know.
trait Job: Send {
    /// Does the work and keeps its result; whether its savepoint shall be kept.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Tells the caller what became of it, once the transaction has ended.
    fn tell(self: Box<Self>, committed: Result<(), Cause>);
}

struct Task<T, F> {
    action: &'static str,
    work: Option<F>,
    result: Option<Result<T, Error>>,
    caller: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, Fault> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        let Some(work) = self.work.take() else {
            return false;
        };
        let result = work(connection).map_err(|fault| fault.told(self.action));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn tell(self: Box<Self>, committed: Result<(), Cause>) {
        let action = self.action;
        let answer = match (self.result, committed) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(source)) => Err(Error::Failed { action, source }),
            (None, Ok(())) => Err(Error::Closed),
        };
        if let Err(Err(error)) = self.caller.send(answer) {
            // Nobody waits for this write, so nobody else would ever know that it failed.
            counter!("syncgate_store_lost_writes_total", "action" => action).increment(1);
            tracing::error!(
                action,
                error = &error as &dyn std::error::Error,
                "a write that nobody waits for is lost"
            );
        }
    }
}

fn run(mut connection: Connection, mut queue: mpsc::Receiver<Message>, most: usize) {
    let mut messages = Vec::with_capacity(most);
    let mut batch: Vec<Box<dyn Job>> = Vec::with_capacity(most);
    while queue.blocking_recv_many(&mut messages, most) > 0 {
        for message in messages.drain(..) {
            match message {
                // What is queued by now is still received; new senders are turned away.
                Message::Stop => queue.close(),
                Message::Work(job) => batch.push(job),
            }
        }
        if batch.is_empty() {
            continue;
        }
        let committed = commit(&mut connection, &mut batch);
        if let Err(cause) = &committed {
            tracing::error!(
                jobs = batch.len(),
                error = cause as &dyn std::error::Error,
                "a batch of writes was not committed"
            );
        }
        for job in batch.drain(..) {
            job.tell(committed.clone());
        }
    }
}

/// Runs the whole batch in one transaction. An error means that nothing of it is stored.
fn commit(connection: &mut Connection, batch: &mut [Box<dyn Job>]) -> Result<(), Cause> {
    let mut transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(Cause::new)?;
    for job in batch {
        let savepoint = transaction.savepoint().map_err(Cause::new)?;
        let ended = if job.run(&savepoint) {
            savepoint.commit()
        } else {
            savepoint.finish()
        };
        // This also fails when a full disk or an I/O error has ended the whole transaction: the
        // savepoint is gone then. Going on would write the later jobs outside any transaction.
        ended.map_err(Cause::new)?;
    }
    transaction.commit().map_err(Cause::new)
}
