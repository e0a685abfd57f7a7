//! The gateway's lease: without one nothing is permitted, and nothing goes on.

mod alarm;
pub(crate) mod late;
mod renew;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aims_lease::{Ask, Granted, Held, Holder, Ignored, NotHeld, Terms};
use aims_links::Telling;
use aims_types::{BootTime, Clock, Revision, Timestamp};
use tokio::sync::{Notify, watch};

pub(crate) use renew::{renew, watch};

/// The lease as every part of the gateway looks at it. No lock is held across I/O.
pub(crate) struct Lease {
    clock: Arc<dyn Clock>,
    holder: Mutex<Holder>,
    /// Everything that this revision cuts off has ended here.
    in_force: AtomicU64,
    /// Whether a lease was ever granted to this process.
    begun: watch::Sender<bool>,
    /// There is something to look at for who watches the lease's end.
    look: Notify,
    /// A renewal is wanted before its time.
    wanted: Notify,
    /// Held while the server is told where the log ends.
    telling: tokio::sync::Mutex<()>,
    /// Whether a telling was sent and not answered.
    in_doubt: watch::Sender<bool>,
    /// The number of the first request, drawn at random.
    first: u64,
    /// What came after the lease's end.
    lates: late::Lates,
}

impl Lease {
    /// A lease that was not granted yet. `first` is random, see [`Holder::new`].
    pub(crate) fn new(terms: Terms, first: u64, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            holder: Mutex::new(Holder::new(terms, first)),
            in_force: AtomicU64::new(0),
            begun: watch::Sender::new(false),
            look: Notify::new(),
            wanted: Notify::new(),
            telling: tokio::sync::Mutex::new(()),
            in_doubt: watch::Sender::new(false),
            first,
            lates: late::Lates::default(),
        }
    }

    /// Whether the lease is held at this instant. Asked when a request begins, and for each piece
    /// of what is delivered. Who finds that it is not held also makes everything end.
    pub(crate) fn holds(&self) -> Result<Held, NotHeld> {
        let held = self.look();
        if held.is_err() {
            self.look.notify_one();
        }
        held
    }

    /// Whether something may start at this instant: the lease is held, and enough of it is left.
    pub(crate) fn clears(&self) -> Result<Held, NotHeld> {
        let cleared = self.holder().clears(self.clock.boot(), self.in_force());
        if cleared.is_err() {
            self.look.notify_one();
        }
        cleared
    }

    /// The server's wall time, if it was ever told: expiry and deadlines count on it.
    pub(crate) fn wall(&self) -> Option<Timestamp> {
        self.holder().wall(self.clock.boot())
    }

    /// The revision that is in force: everything that it cuts off has ended.
    pub(crate) fn in_force(&self) -> Revision {
        Revision::new(self.in_force.load(Ordering::Acquire))
    }

    /// Everything that `revision` cuts off has ended. If the lease waited for this, it counts now.
    pub(crate) fn took_over(&self, revision: Revision) {
        self.in_force.fetch_max(revision.number(), Ordering::AcqRel);
        self.look.notify_one();
        if self.look().is_err() {
            self.wanted.notify_one();
        }
    }

    /// Resolves when this process was granted a lease for the first time: from then on the server
    /// knows the gateway.
    pub(crate) async fn begun(&self) {
        let mut begun = self.begun.subscribe();
        // The sender lives as long as this.
        let _ = begun.wait_for(|begun| *begun).await;
    }

    /// Resolves when the server is not being told where the log ends, and has heard what it was
    /// told last: if it got later records before that, the log would seem to have gone back.
    pub(crate) async fn telling(&self) -> tokio::sync::MutexGuard<'_, ()> {
        let mut in_doubt = self.in_doubt.subscribe();
        loop {
            // The sender lives as long as this.
            let _ = in_doubt.wait_for(|in_doubt| !in_doubt).await;
            let telling = self.telling.lock().await;
            if !*self.in_doubt.borrow() {
                return telling;
            }
        }
    }

    /// One telling at a time.
    async fn tell(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.telling.lock().await
    }

    /// Whether a telling may still be on its way.
    fn is_in_doubt(&self, in_doubt: bool) {
        self.in_doubt.send_replace(in_doubt);
    }

    /// The place of a request among those of this process.
    const fn telling_of(&self, ask: Ask) -> Telling {
        Telling {
            process: self.first,
            number: ask.number.wrapping_sub(self.first),
        }
    }

    fn look(&self) -> Result<Held, NotHeld> {
        self.holder().holds(self.clock.boot(), self.in_force())
    }

    fn ask(&self) -> Ask {
        self.holder().ask(self.clock.boot())
    }

    fn granted(&self, ask: Ask, granted: Granted) -> Result<BootTime, Ignored> {
        let until = self
            .holder()
            .granted(ask.number, granted, self.clock.boot())?;
        self.begun.send_replace(true);
        self.look.notify_one();
        Ok(until)
    }

    fn terms(&self) -> Terms {
        self.holder().terms()
    }

    fn holder(&self) -> MutexGuard<'_, Holder> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::FakeClock;

    fn granted(lease: &Lease, ask: Ask, revision: u64) -> Result<BootTime, Ignored> {
        let granted = Granted {
            length: Terms::default().length(),
            revision: Revision::new(revision),
            server_time: Timestamp::from_unix_secs(1_900_000_000),
        };
        lease.granted(ask, granted)
    }

    #[test]
    fn a_lease_counts_from_the_question_on_and_only_at_the_revision_that_it_names() {
        let clock = Arc::new(FakeClock::default());
        let lease = Lease::new(Terms::default(), 7, clock.clone());
        assert_eq!(lease.holds(), Err(NotHeld::NeverGranted));
        let ask = lease.ask();
        clock.advance(Duration::from_secs(1));
        granted(&lease, ask, 5).unwrap();
        let needs = Revision::new(5);
        assert_eq!(lease.holds(), Err(NotHeld::Behind { needs }));
        lease.took_over(Revision::new(4));
        assert!(lease.holds().is_err());
        lease.took_over(Revision::new(5));
        assert!(lease.holds().is_ok() && lease.clears().is_ok());
        clock.advance(Duration::from_millis(3_200));
        assert!(lease.holds().is_ok() && lease.clears().is_err());
        clock.advance(Duration::from_millis(300));
        assert!(matches!(lease.holds(), Err(NotHeld::RanOut { .. })));
    }

    #[test]
    fn an_answer_that_a_later_one_overtook_counts_for_nothing() {
        let clock = Arc::new(FakeClock::default());
        let lease = Lease::new(Terms::default(), 7, clock.clone());
        lease.took_over(Revision::new(5));
        let (first, second) = (lease.ask(), lease.ask());
        granted(&lease, second, 5).unwrap();
        assert_eq!(granted(&lease, first, 1), Err(Ignored::Unknown));
        assert_eq!(granted(&lease, second, 1), Err(Ignored::Unknown));
        clock.advance(Terms::default().length());
        let late = lease.ask();
        clock.advance(Terms::default().length());
        assert_eq!(granted(&lease, late, 5), Err(Ignored::TooLate));
    }

    #[test]
    fn wall_time_is_the_servers_and_goes_on_with_boot_time() {
        let clock = Arc::new(FakeClock::default());
        let lease = Lease::new(Terms::default(), 7, clock.clone());
        assert_eq!(lease.wall(), None);
        let ask = lease.ask();
        granted(&lease, ask, 5).unwrap();
        clock.advance(Duration::from_secs(9));
        assert_eq!(lease.wall(), Some(Timestamp::from_unix_secs(1_900_000_009)));
    }
}
