//! The lease as the point sees it that holds it.

use std::collections::VecDeque;
use std::time::Duration;

use aims_types::{BootTime, Revision, Timestamp};

use crate::Terms;

/// Most requests that an answer can still be counted for; older ones are given up.
pub const ASKS_MAX: usize = 8;
/// Most leases kept that differ in the revision they need; the ones that end first are given up.
pub const LEASES_MAX: usize = 8;

/// A node's or gateway's lease: a state machine without clock or I/O.
///
/// - A lease counts from the moment *before* its request was sent: the server counts from a later
///   one, so the holder lets go of it first.
/// - An answer is counted once, for the request that it answers, and never for an older one than
///   was answered already.
/// - A renewal that names a revision counts only where this revision is in force. An earlier lease
///   goes on counting until its own end. That is why the server need not wait for grants that it
///   made after a cut-off: they count only where the cut-off is in force.
/// - All of it is in memory. A process that starts again holds nothing.
#[derive(Debug, Clone)]
pub struct Holder {
    terms: Terms,
    next: u64,
    /// Number and instant of the requests that wait for an answer, oldest first.
    asked: VecDeque<(u64, BootTime)>,
    /// By their end, and so by the revision that they need: each ends later and needs a newer one.
    leases: VecDeque<Lease>,
    term: u64,
    wall: Option<Wall>,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    until: BootTime,
    needs: Revision,
}

/// Server time at an instant of boot time, and the least that may be told from then on.
#[derive(Debug, Clone, Copy)]
struct Wall {
    at: BootTime,
    time: Timestamp,
    floor: Timestamp,
}

/// A request that is about to be sent. The answer is counted by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a request that is not sent cannot be answered"]
pub struct Ask {
    /// Its number.
    pub number: u64,
}

/// What the server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// How long the lease is.
    pub length: Duration,
    /// The server's revision, read when or after the row of this lease was written: the lease
    /// counts only where it is in force.
    pub revision: Revision,
    /// The server's wall time.
    pub server_time: Timestamp,
}

/// Why an answer is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It answers no open request: a duplicate, overtaken by a later one, or of another process.
    #[error("the answer belongs to no open request")]
    Unknown,
    /// The lease had ended before its answer arrived.
    #[error("the lease ended before the answer to it arrived")]
    TooLate,
}

/// The proof that a lease was held at the instant it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    until: BootTime,
    term: u64,
}

/// Why no lease is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotHeld {
    /// There was no grant since the process started.
    #[error("no lease was granted yet")]
    NeverGranted,
    /// The last one ended.
    #[error("the lease ended {} ms ago", .ago.as_millis())]
    RanOut {
        /// How long ago.
        ago: Duration,
    },
    /// The lease was renewed for a state that is not in force here yet.
    #[error("the lease counts from revision {needs}, which is not in force here yet")]
    Behind {
        /// The least revision at which a lease counts.
        needs: Revision,
    },
    /// A lease is held, and too little of it is left to start something.
    #[error("only {} ms of the lease are left", .left.as_millis())]
    TooShort {
        /// How much is left.
        left: Duration,
    },
}

impl Holder {
    /// A holder without a lease. `first` is the number of its first request: a random one, so that
    /// an answer to an earlier process of the same point is not taken for one to this process.
    pub const fn new(terms: Terms, first: u64) -> Self {
        Self {
            terms,
            next: first,
            asked: VecDeque::new(),
            leases: VecDeque::new(),
            term: 0,
            wall: None,
        }
    }

    /// Remembers a request. `now` is read before it is sent.
    pub fn ask(&mut self, now: BootTime) -> Ask {
        let number = self.next;
        self.next = number.wrapping_add(1);
        if self.asked.len() == ASKS_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back((number, now));
        Ask { number }
    }

    /// Counts the answer to a request; gives the end of the lease. `now` is read after it arrived.
    pub fn granted(
        &mut self,
        number: u64,
        granted: Granted,
        now: BootTime,
    ) -> Result<BootTime, Ignored> {
        let place = self.asked.iter().position(|(asked, _)| *asked == number);
        let (_, sent) = place
            .and_then(|place| self.asked.drain(..=place).next_back())
            .ok_or(Ignored::Unknown)?;
        let margin = self.terms.drift_margin();
        let until = sent.plus(granted.length.saturating_sub(margin));
        if until <= now {
            return Err(Ignored::TooLate);
        }
        // Nothing that is held reaches until now: others may have acted on its end.
        if self.leases.iter().all(|lease| lease.until <= now) {
            self.term = self.term.saturating_add(1);
        }
        self.keep(until, granted.revision);
        self.set_wall(sent, granted.server_time, now);
        Ok(until)
    }

    /// Whether a lease is held at `now`, where everything up to `in_force` is in force: what it
    /// cuts off neither starts nor goes on.
    pub fn holds(&self, now: BootTime, in_force: Revision) -> Result<Held, NotHeld> {
        let counts = self.leases.iter().rfind(|lease| lease.needs <= in_force);
        if let Some(lease) = counts.filter(|lease| now < lease.until) {
            return Ok(Held {
                until: lease.until,
                term: self.term,
            });
        }
        if let Some(lease) = self.leases.iter().find(|lease| now < lease.until) {
            return Err(NotHeld::Behind { needs: lease.needs });
        }
        match self.until() {
            None => Err(NotHeld::NeverGranted),
            Some(until) => Err(NotHeld::RanOut {
                ago: now.since(until),
            }),
        }
    }

    /// Whether an effect may start at `now`: a lease is held, and at least the margin of it is
    /// left. So a pause of up to the margin between this look and the effect does no harm; after
    /// a longer one [`Holder::overrun`] tells.
    pub fn clears(&self, now: BootTime, in_force: Revision) -> Result<Held, NotHeld> {
        let held = self.holds(now, in_force)?;
        let left = held.until.since(now);
        if left < self.terms.drift_margin() {
            return Err(NotHeld::TooShort { left });
        }
        Ok(held)
    }

    /// By how much an effect overran the lease that was held when it was looked at; `after` is boot
    /// time read *after* the effect. Nothing can keep a process from being stopped between look
    /// and write; this finds out that it was. A lease that was renewed meanwhile covers the effect:
    /// until it has ended, nothing that cuts it off is in force here.
    pub fn overrun(&self, held: Held, after: BootTime, in_force: Revision) -> Option<Duration> {
        match self.holds(after, in_force) {
            Ok(now) if now.term == held.term => None,
            _ => (after >= held.until).then(|| after.since(held.until)),
        }
    }

    /// When the newest lease ends, whether or not it counts yet.
    pub fn until(&self) -> Option<BootTime> {
        self.leases.back().map(|lease| lease.until)
    }

    /// The server's wall time: what it told, plus the boot time since it was asked. Never behind
    /// the server's (it may be ahead by the time that a request takes), and never going back.
    pub fn wall(&self, now: BootTime) -> Option<Timestamp> {
        self.wall.map(|wall| wall.read(now))
    }

    /// The terms.
    pub const fn terms(&self) -> Terms {
        self.terms
    }

    /// Keeps a lease unless one that is kept lasts as long and needs no newer state, and forgets
    /// those of which the same is true in comparison with it.
    fn keep(&mut self, until: BootTime, needs: Revision) {
        let kept = |lease: &Lease| lease.until >= until && lease.needs <= needs;
        if self.leases.iter().any(kept) {
            return;
        }
        self.leases
            .retain(|lease| lease.until > until || lease.needs < needs);
        let place = self.leases.partition_point(|lease| lease.until < until);
        self.leases.insert(place, Lease { until, needs });
        if self.leases.len() > LEASES_MAX {
            self.leases.pop_front();
        }
    }

    fn set_wall(&mut self, at: BootTime, time: Timestamp, now: BootTime) {
        let floor = self.wall(now).unwrap_or(time);
        self.wall = Some(Wall { at, time, floor });
    }
}

impl Wall {
    fn read(&self, now: BootTime) -> Timestamp {
        self.time.plus(now.since(self.at)).max(self.floor)
    }
}

impl Held {
    /// When the lease ends that was held.
    pub const fn until(&self) -> BootTime {
        self.until
    }

    /// How often a lease has started anew since the process started. While it stays the same there
    /// was no gap, so nobody else could take over what the point owns.
    pub const fn term(&self) -> u64 {
        self.term
    }
}

#[cfg(test)]
mod tests;
