//! Handing the log over to the server.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aims_links::{Control, LinkError};
use aims_types::{self as types, Clock, Id, Timestamp};
use aims_wal::Wal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::journal::{Journal, ReadFault};
use crate::lease::Lease;

/// Most bytes in one batch, unless one record is longer.
const BATCH_BYTES: usize = 1 << 20;
/// First and longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How long shipped records are kept: no delegation lives longer than a day, so older ones can't
/// matter to any budget.
const KEEP: Duration = Duration::from_hours(25);
/// How often a place is noted up to which records may be removed later.
const MARK_EVERY: Duration = Duration::from_mins(10);

/// What hands records over.
pub(crate) struct Shipping {
    pub(crate) id: Id<types::Gateway>,
    pub(crate) wal: Arc<Wal>,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) clock: Arc<dyn Clock>,
    /// No more records come: hand over what is there and end.
    pub(crate) finish: CancellationToken,
    /// Set when the server knows more of this log than this log itself.
    pub(crate) lost: Arc<AtomicBool>,
    /// Where it is told up to which record the server has everything.
    pub(crate) shipped: watch::Sender<u64>,
    pub(crate) lease: Arc<Lease>,
}

/// Why handing over stops for a while.
#[derive(Debug, thiserror::Error)]
enum ShipError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Read(#[from] ReadFault),
    #[error("the reader was ended")]
    Ended,
}

impl Shipping {
    /// Hands over until told to finish.
    pub(crate) async fn run(self) {
        let mut pause = BACKOFF.0;
        let mut marks = VecDeque::new();
        loop {
            match self.follow(&mut marks, &mut pause).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "records could not be handed over; trying on"),
            }
            metrics::counter!("aims_gateway_ship_failures_total").increment(1);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.finish.cancelled() => tokio::time::sleep(BACKOFF.0).await,
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// From what the server has to the end, and on as the log grows.
    async fn follow(
        &self,
        marks: &mut VecDeque<(u64, Timestamp)>,
        pause: &mut Duration,
    ) -> Result<(), ShipError> {
        let mut head = self.wal.watch_head();
        let mut shipped = self.control.records_head(self.id).await?;
        if shipped > self.wal.head().seq {
            tracing::error!(
                shipped,
                "the server knows later records than this log: it lost some"
            );
            self.lost.store(true, Ordering::Release);
            return Ok(());
        }
        loop {
            self.shipped.send_replace(shipped);
            let last = head.borrow_and_update().seq;
            if last > shipped {
                shipped = self.ship(shipped).await?;
                *pause = BACKOFF.0;
                self.remove(marks, shipped);
                continue;
            }
            tokio::select! {
                biased;
                changed = head.changed() => if changed.is_err() { return Ok(()) },
                () = self.finish.cancelled() => return Ok(()),
            }
        }
    }

    async fn ship(&self, shipped: u64) -> Result<u64, ShipError> {
        // The server must not get records before it was told that they are there.
        drop(self.lease.telling().await);
        let wal = Arc::clone(&self.wal);
        let read = move || Journal::read(&wal, shipped.saturating_add(1), BATCH_BYTES);
        let records = tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| ShipError::Ended)??;
        let count = records.len();
        let taken = self.control.records_ship(self.id, records).await?;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        metrics::counter!("aims_gateway_records_shipped_total").increment(count);
        Ok(taken)
    }

    /// Removes what was shipped so long ago that nothing can depend on it.
    fn remove(&self, marks: &mut VecDeque<(u64, Timestamp)>, shipped: u64) {
        let now = self.clock.now();
        if marks
            .back()
            .is_none_or(|(_, at)| now.since(*at) >= MARK_EVERY)
        {
            marks.push_back((shipped, now));
        }
        let Some((seq, _)) = marks
            .front()
            .filter(|(_, at)| now.since(*at) >= KEEP)
            .copied()
        else {
            return;
        };
        marks.pop_front();
        if let Err(error) = self.wal.remove_before(seq) {
            tracing::warn!(%error, "old records could not be removed");
        }
    }
}
