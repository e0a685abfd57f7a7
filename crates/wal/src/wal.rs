//! The log as its users see it, and the thread that writes it.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::{Builder, JoinHandle};

use aims_types::Digest;
use tokio::sync::{oneshot, watch};

use crate::disk::{Disk, FsDisk};
use crate::journal::{AppendError, Class, Job, Journal, Limits, Poisoned, answer};
use crate::read::{ReadError, Recovered};
use crate::recover::{OpenError, recover};
use crate::shared::{Head, Shared};

/// A log that is open. Dropping it closes it.
pub struct Wal {
    inner: Arc<Inner>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// The answer to an append, once it is durable: the record's sequence number.
///
/// Giving up waiting does not take the record back.
#[must_use = "a record counts only once it is acknowledged"]
pub struct AppendTicket(oneshot::Receiver<Result<u64, AppendError>>);

struct Inner {
    shared: Arc<Shared>,
    limits: Limits,
    queue: Mutex<Queue>,
    /// Tells the writer that the queue changed.
    wake: Condvar,
    poisoned: watch::Sender<Option<Poisoned>>,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    closing: bool,
}

/// Poisons the log if the writer's thread ends by a panic.
struct Watchdog(Arc<Inner>);

impl Wal {
    /// Opens the log in `dir`, which is made if it does not exist, and takes it for this process.
    ///
    /// Reads all of it; blocks meanwhile. The directory is free again when the log and what was
    /// [`Recovered`] are dropped.
    pub fn open(dir: &Path, limits: Limits) -> Result<(Self, Recovered), OpenError> {
        Self::open_on(Arc::new(FsDisk::lock(dir)?), limits)
    }

    /// Opens the log on `disk`.
    pub fn open_on(disk: Arc<dyn Disk>, limits: Limits) -> Result<(Self, Recovered), OpenError> {
        let opened = recover(disk, &limits)?;
        let (first, torn_bytes) = (opened.first, opened.torn_bytes);
        let (journal, shared) = Journal::new(opened, limits);
        let head = *shared.head.borrow();
        let recovered = Recovered::new(Arc::clone(&shared), first, head, torn_bytes);
        let inner = Arc::new(Inner {
            shared,
            limits,
            queue: Mutex::default(),
            wake: Condvar::new(),
            poisoned: watch::Sender::new(None),
        });
        let watchdog = Watchdog(Arc::clone(&inner));
        let writer = Builder::new()
            .name("aims-wal".to_owned())
            .spawn(move || watchdog.0.write(journal))
            .map_err(|source| OpenError::Io {
                name: "the writer's thread".to_owned(),
                source,
            })?;
        Ok((
            Self {
                inner,
                writer: Mutex::new(Some(writer)),
            },
            recovered,
        ))
    }

    /// Appends the record that `make` makes, after everything appended before; the ticket answers
    /// when it is durable.
    ///
    /// `make` gets the record's number and the digest of the record before it. It runs on the
    /// writer's thread: it must be quick and must not panic. The record may still be refused after
    /// it was made.
    pub fn append<M>(&self, class: Class, make: M) -> AppendTicket
    where
        M: FnOnce(u64, Digest) -> Vec<u8> + Send + 'static,
    {
        let (reply, ticket) = oneshot::channel();
        self.inner.enqueue(Job {
            class,
            make: Box::new(make),
            reply,
        });
        AppendTicket(ticket)
    }

    /// The last durable record.
    pub fn head(&self) -> Head {
        *self.inner.shared.head.borrow()
    }

    /// Follows the last durable record.
    pub fn watch_head(&self) -> watch::Receiver<Head> {
        self.inner.shared.head.subscribe()
    }

    /// Tells when the log has stopped: the process must then stop too.
    pub fn poisoned(&self) -> watch::Receiver<Option<Poisoned>> {
        self.inner.poisoned.subscribe()
    }

    /// Durable records from `seq` on with about `bytes_max` bytes of payload, at least one if there
    /// is one. Blocks on the disk.
    pub fn read_from(&self, seq: u64, bytes_max: usize) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
        self.inner.shared.read_from(seq, bytes_max)
    }

    /// Removes the segments all of whose records come before `seq`; never the one being written.
    /// Blocks on the disk.
    pub fn remove_before(&self, seq: u64) -> Result<(), ReadError> {
        self.inner.shared.remove_before(seq)
    }

    /// Writes what waits, and ends. Blocks until it is durable.
    pub fn close(&self) -> Result<(), Poisoned> {
        self.inner.queue().closing = true;
        self.inner.wake.notify_one();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // A panic of the writer has been reported through `poisoned`.
        let _ = writer.map(JoinHandle::join);
        self.inner.poisoned.borrow().clone().map_or(Ok(()), Err)
    }
}

impl AppendTicket {
    /// Waits, blocking the thread; not for use in asynchronous code.
    pub fn wait(self) -> Result<u64, AppendError> {
        self.0
            .blocking_recv()
            .unwrap_or_else(|_| Err(writer_ended()))
    }
}

impl Future for AppendTicket {
    type Output = Result<u64, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.0).poll(cx);
        answer.map(|answer| answer.unwrap_or_else(|_| Err(writer_ended())))
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        // What went wrong was told to whoever waited, and through `poisoned`.
        let _ = self.close();
    }
}

impl Inner {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, job: Job) {
        let mut queue = self.queue();
        if let Some(refusal) = self.refusal(&queue, job.class) {
            drop(queue);
            answer(job.reply, Err(refusal));
            return;
        }
        queue.jobs.push(job);
        drop(queue);
        self.wake.notify_one();
    }

    /// Why nothing can be added to the queue, if so.
    fn refusal(&self, queue: &Queue, class: Class) -> Option<AppendError> {
        let room = match class {
            Class::Outcome => self.limits.queue_len.saturating_mul(2),
            Class::Intent | Class::Denial => self.limits.queue_len,
        };
        if let Some(poisoned) = &*self.poisoned.borrow() {
            return Some(poisoned.clone().into());
        }
        if queue.closing {
            return Some(AppendError::Closed);
        }
        (queue.jobs.len() >= room).then_some(AppendError::Busy)
    }

    /// The writer's thread.
    fn write(&self, mut journal: Journal) {
        while let Some(jobs) = self.wait_for_jobs() {
            if let Err(poisoned) = journal.run(jobs) {
                self.stop(&poisoned);
                return;
            }
        }
    }

    /// Everything that waits, as soon as anything does; `None` when the log is closed.
    fn wait_for_jobs(&self) -> Option<Vec<Job>> {
        let mut queue = self
            .wake
            .wait_while(self.queue(), |queue| {
                queue.jobs.is_empty() && !queue.closing
            })
            .unwrap_or_else(PoisonError::into_inner);
        let jobs = std::mem::take(&mut queue.jobs);
        (!jobs.is_empty()).then_some(jobs)
    }

    /// Ends the log: under the queue's lock, so that nothing is added that nobody answers.
    fn stop(&self, poisoned: &Poisoned) {
        let mut queue = self.queue();
        self.poisoned.send_replace(Some(poisoned.clone()));
        for job in queue.jobs.drain(..) {
            answer(job.reply, Err(poisoned.clone().into()));
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop(&Poisoned::new("its writer panicked"));
        }
    }
}

fn writer_ended() -> AppendError {
    AppendError::Poisoned(Poisoned::new("its writer panicked"))
}

#[cfg(test)]
mod tests;
