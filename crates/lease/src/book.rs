//! The leases as the server sees them that grants them, and what a kill waits for.

use std::collections::BTreeMap;

use aims_model::{LeaseRow, Point};
use aims_types::{BootTime, Revision};

use crate::Terms;

/// What the server knows of leases, besides their rows: its terms, its boot, and its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    terms: Terms,
    boot: String,
    started: BootTime,
}

/// How it stands with a point that may act against a cut-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It said that the revision is in force there.
    Acknowledged {
        /// When the server learned it.
        at: BootTime,
    },
    /// Its lease has certainly ended.
    Lapsed {
        /// When.
        at: BootTime,
    },
    /// It may act until then.
    Waiting {
        /// The certain end of its lease.
        until: BootTime,
    },
}

/// What a kill waits for: every point that may act on a state older than its cut-off.
///
/// The set of points and the ends of their leases are those of the transaction that committed the
/// cut-off. Leases granted later do not prolong the wait, because they name the cut-off's revision
/// or a later one and count only where it is in force: a point that renews its lease but does not
/// get around to the new state cannot hold up a kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    revision: Revision,
    points: BTreeMap<Point, Wait>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    until: BootTime,
    acknowledged: Option<BootTime>,
}

impl Book {
    /// The book of a server that started at `started` in the boot `boot` of its host
    /// (`/proc/sys/kernel/random/boot_id`).
    pub fn new(terms: Terms, boot: impl Into<String>, started: BootTime) -> Self {
        Self {
            terms,
            boot: boot.into(),
            started,
        }
    }

    /// The row of a lease that is granted at `now`, where `earlier` is the point's row so far.
    ///
    /// The row is durable before the point is told of the lease. The revision that it is told is
    /// read in the transaction that writes the row, or later, never before: a kill that commits in
    /// between would otherwise neither see this lease nor be named by it.
    pub fn grant(
        &self,
        point: Point,
        now: BootTime,
        acknowledged: Revision,
        earlier: Option<&LeaseRow>,
    ) -> LeaseRow {
        // An earlier lease may have been longer, and goes on counting.
        let least = earlier.map_or(now, |row| self.end(row));
        LeaseRow {
            point,
            boot: self.boot.clone(),
            until: now.plus(self.terms.span()).max(least).nanos(),
            // What was in force once is in force for ever, as a lease never names an older state.
            acknowledged: earlier.map_or(acknowledged, |row| row.acknowledged.max(acknowledged)),
            address: earlier.and_then(|row| row.address.clone()),
        }
    }

    /// When the lease of a row has certainly ended, on this server's boot time.
    ///
    /// The instants of another boot can't be compared with ours: its leases were granted before
    /// this process started, so the longest of them ends a whole lease after that. This holds as
    /// long as leases were not longer then, see the crate's limits.
    pub fn end(&self, row: &LeaseRow) -> BootTime {
        if row.boot == self.boot {
            BootTime::from_nanos(row.until)
        } else {
            self.started.plus(self.terms.span())
        }
    }

    /// Whether the lease of a row has certainly ended. Then nothing waits for its point any more,
    /// what it owns may be taken over, and its row may be forgotten.
    pub fn has_ended(&self, row: &LeaseRow, now: BootTime) -> bool {
        now >= self.end(row)
    }

    /// How it stands with one point at `now`.
    pub fn standing(&self, row: &LeaseRow, revision: Revision, now: BootTime) -> Standing {
        let until = self.end(row);
        match row.acknowledged >= revision {
            true => Standing::Acknowledged { at: now },
            false if now >= until => Standing::Lapsed { at: until },
            false => Standing::Waiting { until },
        }
    }

    /// How it stands with every point at `now`. A [`Barrier`] does not let later grants prolong
    /// the wait; this is for one look at the rows as they are.
    pub fn pending<'a>(
        &self,
        rows: impl IntoIterator<Item = &'a LeaseRow>,
        revision: Revision,
        now: BootTime,
    ) -> BTreeMap<Point, Standing> {
        let rows = rows.into_iter();
        rows.map(|row| (row.point, self.standing(row, revision, now)))
            .collect()
    }
}

impl Barrier {
    /// What the cut-off of `revision` waits for. `rows` are all rows there are, read at `now` in
    /// the transaction that commits it, or later.
    pub fn new<'a>(
        book: &Book,
        rows: impl IntoIterator<Item = &'a LeaseRow>,
        revision: Revision,
        now: BootTime,
    ) -> Self {
        let wait = |row: &LeaseRow| Wait {
            until: book.end(row),
            acknowledged: (row.acknowledged >= revision).then_some(now),
        };
        let points = rows.into_iter().map(|row| (row.point, wait(row))).collect();
        Self { revision, points }
    }

    /// The revision of the cut-off.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// A point said that `in_force` is in force there: nothing that it cuts off starts or goes on.
    pub fn acknowledged(&mut self, point: Point, in_force: Revision, now: BootTime) {
        if in_force < self.revision {
            return;
        }
        if let Some(wait) = self.points.get_mut(&point) {
            wait.acknowledged.get_or_insert(now);
        }
    }

    /// How it stands with every point at `now`.
    pub fn standings(&self, now: BootTime) -> impl Iterator<Item = (Point, Standing)> {
        let points = self.points.iter();
        points.map(move |(point, wait)| (*point, wait.standing(now)))
    }

    /// Whether nothing is waited for any more.
    pub fn is_over(&self, now: BootTime) -> bool {
        self.wakes_at(now).is_none()
    }

    /// When the next lease ends that is waited for; `None` if nothing is waited for any more.
    pub fn wakes_at(&self, now: BootTime) -> Option<BootTime> {
        let waiting = |(_, standing)| match standing {
            Standing::Waiting { until } => Some(until),
            Standing::Acknowledged { .. } | Standing::Lapsed { .. } => None,
        };
        self.standings(now).filter_map(waiting).min()
    }
}

impl Wait {
    fn standing(self, now: BootTime) -> Standing {
        match self.acknowledged {
            Some(at) if at < self.until => Standing::Acknowledged { at },
            // The end of the lease came first, whatever was said afterwards.
            _ if now >= self.until => Standing::Lapsed { at: self.until },
            Some(at) => Standing::Acknowledged { at },
            None => Standing::Waiting { until: self.until },
        }
    }
}

#[cfg(test)]
mod tests;
