//! Waiting until a change is complete at each point: acknowledged, or its lease has ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aims_lease::{Barrier, Standing};
use aims_links::{ControlState, EnforceError};
use aims_model::receipt::{Ended, How, PointReceipt};
use aims_model::{LeaseRow, Point, PointKind};
use aims_types::{BootTime, Revision};
use tokio::time::{Instant, sleep, timeout};

use super::points::{Link, View};
use super::{Lapse, Publisher, no_answer};
use crate::{ControlPlane, Fault};

/// How long a point may take until it is linked: it takes over the newest state first.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);
/// First and longest pause between two looks. A lease ends on boot time, which may run while this
/// process sleeps, so nothing sleeps until its end.
const LOOK_PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));

/// Why a point was not linked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    #[error(transparent)]
    Enforce(#[from] EnforceError),
    #[error(transparent)]
    Internal(#[from] Fault),
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Everything, until nothing goes on anywhere.
    Complete,
    /// The same; a point that says that it denies everything has said enough.
    Every,
    /// The same as everything, of nodes.
    Nodes,
    /// Every gateway. What a node asks for does not wait for that node.
    Gateways,
}

/// One point of a change.
struct Settled {
    outcome: Outcome,
    at: BootTime,
    /// Whether it held a lease when the change was committed.
    leased: bool,
}

enum Outcome {
    /// With what it ended, if it said so.
    Acknowledged(Option<Ended>),
    Lapsed(String),
}

/// A change on its way, as far as its points have settled.
struct Waiting {
    revision: Revision,
    wanted: Wanted,
    barrier: Barrier,
    /// The ends of the leases of those that have yet to acknowledge.
    ends: BTreeMap<Point, BootTime>,
    /// Points that are linked and held no lease.
    unleased: Vec<Point>,
    patient_until: Instant,
    settled: BTreeMap<Point, Settled>,
}

impl ControlPlane {
    /// Waits until nothing goes on anywhere that the cut-offs of `revision` cover: each point has
    /// acknowledged, or its lease has certainly ended. Says which of the two, for each point that
    /// held a lease or answered.
    pub async fn complete(&self, revision: Revision) -> Vec<PointReceipt> {
        let started = self.parts().clock.boot();
        receipts(self.settle(revision, Wanted::Complete).await, started)
    }

    /// The same of nodes, where it began earlier.
    pub(super) async fn complete_at_nodes(
        &self,
        revision: Revision,
        started: BootTime,
    ) -> Vec<PointReceipt> {
        receipts(self.settle(revision, Wanted::Nodes).await, started)
    }

    /// Brings every point to a state at `revision` or later. Gives the gateways that did not
    /// acknowledge it, where nothing is allowed any more.
    pub(crate) async fn publish(&self, revision: Revision) -> Vec<Lapse> {
        lapses(self.settle(revision, Wanted::Every).await)
    }

    /// The same for what a node asks for: nodes are told and not waited for.
    pub(crate) async fn publish_to_gateways(&self, revision: Revision) -> Vec<Lapse> {
        lapses(self.settle(revision, Wanted::Gateways).await)
    }

    /// Gives a point the newest state, and from then on every later one. A node is told of the
    /// cut-offs after `told`.
    pub(crate) async fn attach(
        &self,
        point: Point,
        link: Link,
        told: Revision,
    ) -> Result<Revision, AttachError> {
        let state = self.newest_state().await?;
        let points = &self.publisher().points;
        let number = points.attach(point, link, told);
        let mut changes = points.watch();
        self.push_to_all();
        let taken = async {
            loop {
                changes.mark_unchanged();
                if let Some(done) = taken_over(&points.view(point), &state) {
                    return done;
                }
                // The sender lives as long as the server.
                let _ = changes.changed().await;
            }
        };
        let taken = timeout(ATTACH_TIMEOUT, taken)
            .await
            .unwrap_or_else(|_| Err(no_answer(point, "it did not answer in time").into()));
        if taken.is_err() {
            points.detach(point, number);
        }
        taken
    }

    async fn settle(&self, revision: Revision, wanted: Wanted) -> BTreeMap<Point, Settled> {
        let (publisher, clock) = (self.publisher(), &self.parts().clock);
        let patient_until = Instant::now() + publisher.patience;
        let mut changes = publisher.points.watch();
        let mut is_read = self.is_newest_at(revision).await;
        let rows = self.lease_rows().await;
        let mut waiting = Waiting::new(publisher, (revision, wanted), &rows, clock.boot());
        waiting.patient_until = patient_until;
        let (mut pause, mut is_due) = (LOOK_PAUSES.0, true);
        loop {
            changes.mark_unchanged();
            // A push that fails at once is news too: what follows on it must not be the next push.
            if is_due {
                self.push_to_all();
            }
            if waiting.look(publisher, clock.boot()) {
                break;
            }
            tokio::select! {
                _ = changes.changed() => is_due = false,
                () = sleep(pause) => {
                    pause = (pause * 2).min(LOOK_PAUSES.1);
                    is_due = true;
                }
            }
            if !is_read {
                is_read = self.is_newest_at(revision).await;
                is_due |= is_read;
            }
        }
        self.forget_lapsed(revision, &waiting.settled).await;
        waiting.settled
    }

    /// Makes sure that a state at `revision` or later is pushed from now on.
    async fn is_newest_at(&self, revision: Revision) -> bool {
        match self.newest_state().await {
            Ok(state) => state.revision >= revision,
            Err(fault) => {
                tracing::error!(%revision, %fault, "the state can't be read for the points");
                false
            }
        }
    }

    /// The leases as they are after a change was committed. If they can't be read, every lease that
    /// was granted before has ended when this returns.
    async fn lease_rows(&self) -> Vec<LeaseRow> {
        let parts = self.parts();
        let ended = parts.clock.boot().plus(parts.config.lease.span());
        loop {
            let read = async { self.store().read().await?.leases().await };
            match read.await {
                Ok(rows) => return rows,
                Err(error) => tracing::error!(%error, "the leases can't be read"),
            }
            if parts.clock.boot() >= ended {
                return Vec::new();
            }
            sleep(LOOK_PAUSES.1).await;
        }
    }

    /// Nobody waits for a point that lapsed until it is heard again. Its lease, which has ended, is
    /// forgotten unless it was renewed meanwhile.
    async fn forget_lapsed(&self, revision: Revision, settled: &BTreeMap<Point, Settled>) {
        for (point, one) in settled {
            let Outcome::Lapsed(why) = &one.outcome else {
                continue;
            };
            tracing::warn!(%point, why, "a point lapsed");
            self.publisher().points.lapsed(*point, revision);
            if one.leased
                && let Err(fault) = self.forget(*point).await
            {
                tracing::error!(%point, %fault, "its lease can't be forgotten");
            }
        }
    }
}

impl Wanted {
    /// The points that are waited for, if not all are.
    const fn kind(self) -> Option<PointKind> {
        match self {
            Self::Complete | Self::Every => None,
            Self::Nodes => Some(PointKind::Node),
            Self::Gateways => Some(PointKind::Gateway),
        }
    }

    /// Whether nothing may go on anywhere.
    const fn is_complete(self) -> bool {
        matches!(self, Self::Complete | Self::Nodes)
    }
}

impl Waiting {
    fn new(
        publisher: &Publisher,
        (revision, wanted): (Revision, Wanted),
        rows: &[LeaseRow],
        now: BootTime,
    ) -> Self {
        let is_wanted = |point: Point| wanted.kind().is_none_or(|kind| point.kind() == kind);
        let rows: Vec<_> = rows.iter().filter(|row| is_wanted(row.point)).collect();
        let book = &publisher.leases.book;
        let behind = rows.iter().filter(|row| row.acknowledged < revision);
        let ends = behind.map(|row| (row.point, book.end(row)));
        let linked = publisher.points.attached().into_iter();
        let unleased = linked.filter(|point| {
            let leased = rows.iter().any(|row| row.point == *point);
            is_wanted(*point) && !leased && publisher.points.view(*point).is_awaited
        });
        Self {
            revision,
            wanted,
            unleased: unleased.collect(),
            ends: ends.collect(),
            barrier: Barrier::new(book, rows, revision, now),
            patient_until: Instant::now(),
            settled: BTreeMap::new(),
        }
    }

    /// Looks at everything that is not settled; says whether all is.
    fn look(&mut self, publisher: &Publisher, now: BootTime) -> bool {
        let leased: Vec<Point> = self
            .barrier
            .standings(now)
            .map(|(point, _)| point)
            .collect();
        for point in &leased {
            if let Some(at) = self.acknowledged_at(publisher, *point, now) {
                self.barrier.acknowledged(*point, self.revision, at);
            }
        }
        let standings: BTreeMap<Point, Standing> = self.barrier.standings(now).collect();
        for (point, standing) in standings {
            self.settle_leased(publisher, point, standing, now);
        }
        for point in self.unleased.clone() {
            self.settle_unleased(publisher, point, now);
        }
        self.settled.len() == leased.len() + self.unleased.len()
    }

    fn settle_leased(
        &mut self,
        publisher: &Publisher,
        point: Point,
        standing: Standing,
        now: BootTime,
    ) {
        let view = publisher.points.view(point);
        let (outcome, at) = match standing {
            Standing::Acknowledged { at } => {
                let said = publisher.points.ended_at(point, self.revision);
                if said.is_none() && self.may_still_say(point, &view, now) {
                    return;
                }
                (Outcome::Acknowledged(said.map(|(_, ended)| ended)), at)
            }
            Standing::Lapsed { at } => {
                let why = Self::why(&view);
                (Outcome::Lapsed(format!("its lease ended: {why}")), at)
            }
            Standing::Waiting { .. } => {
                let Some(why) = self.denies_everything(&view) else {
                    return;
                };
                (Outcome::Lapsed(why), now)
            }
        };
        let one = Settled {
            outcome,
            at,
            leased: true,
        };
        self.settled.entry(point).or_insert(one);
    }

    fn settle_unleased(&mut self, publisher: &Publisher, point: Point, now: BootTime) {
        let view = publisher.points.view(point);
        let (outcome, at) = if view.in_force >= self.revision {
            let said = publisher.points.ended_at(point, self.revision);
            let at = said.as_ref().map_or(now, |(at, _)| *at);
            (Outcome::Acknowledged(said.map(|(_, ended)| ended)), at)
        } else if let Some(why) = self.denies_everything(&view) {
            (Outcome::Lapsed(why), now)
        } else if Instant::now() >= self.patient_until {
            (Outcome::Lapsed(Self::why(&view)), now)
        } else {
            return;
        };
        let one = Settled {
            outcome,
            at,
            leased: false,
        };
        self.settled.entry(point).or_insert(one);
    }

    /// Whether a point that renewed its lease at the revision before it could say what it ended is
    /// given more time to say so. A kill waits for it as long as it would have for the
    /// acknowledgement; of what acknowledged before this began no answer may be on its way.
    fn may_still_say(&self, point: Point, view: &View, now: BootTime) -> bool {
        let is_under_way = view.busy && Instant::now() < self.patient_until;
        let end = self.ends.get(&point);
        let is_in_time = self.wanted.is_complete() && end.is_some_and(|end| now < *end);
        // It took the state over, and that was all that it has to say.
        let has_said = view.given.is_some_and(|given| given >= self.revision);
        !has_said && (is_under_way || is_in_time)
    }

    fn acknowledged_at(
        &self,
        publisher: &Publisher,
        point: Point,
        now: BootTime,
    ) -> Option<BootTime> {
        if let Some((at, _)) = publisher.points.ended_at(point, self.revision) {
            return Some(at);
        }
        let in_force = publisher.points.view(point).in_force;
        (in_force >= self.revision).then_some(now)
    }

    /// What a point said that can't use the state. A kill waits on: what was under way there may
    /// go on until its lease ends.
    fn denies_everything(&self, view: &View) -> Option<String> {
        let failed = view.failed.as_ref();
        let said = |error: &EnforceError| matches!(error, EnforceError::Unusable { .. });
        let failed = failed.filter(|one| said(&one.error) && one.revision >= self.revision)?;
        (!self.wanted.is_complete()).then(|| failed.error.to_string())
    }

    fn why(view: &View) -> String {
        match &view.failed {
            Some(failed) => failed.error.to_string(),
            None if view.attached => "it did not answer in time".to_owned(),
            None => "it is not linked".to_owned(),
        }
    }
}

/// What became of the first push to a point: the revision in force there, when it has taken over
/// the state.
fn taken_over(view: &View, state: &Arc<ControlState>) -> Option<Result<Revision, AttachError>> {
    if let Some(given) = view.given.filter(|given| *given >= state.revision) {
        return Some(Ok(given));
    }
    let failed = view.failed.as_ref().filter(|_| !view.busy)?;
    Some(Err(failed.error.clone().into()))
}

/// What is said of each point that held a lease or answered.
fn receipts(settled: BTreeMap<Point, Settled>, started: BootTime) -> Vec<PointReceipt> {
    let receipt = |(point, one): (Point, Settled)| {
        let (how, ended) = match one.outcome {
            Outcome::Acknowledged(ended) => (How::Acknowledged, ended),
            Outcome::Lapsed(_) if one.leased => (How::Lapsed, None),
            Outcome::Lapsed(_) => return None,
        };
        let millis = one.at.since(started).as_millis();
        Some(PointReceipt {
            point,
            how,
            millis: u64::try_from(millis).unwrap_or(u64::MAX),
            untold: how == How::Acknowledged && ended.is_none(),
            ended: ended.unwrap_or_default(),
        })
    };
    settled.into_iter().filter_map(receipt).collect()
}

fn lapses(settled: BTreeMap<Point, Settled>) -> Vec<Lapse> {
    let lapse = |(point, one): (Point, Settled)| match (point, one.outcome) {
        (Point::Gateway(gateway), Outcome::Lapsed(why)) => Some(Lapse { gateway, why }),
        _ => None,
    };
    settled.into_iter().filter_map(lapse).collect()
}
