//! Leases: durable before they are told, extended only to points whose log is whole.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aims_crypto::sha256;
use aims_lease::{Book, Told};
use aims_links::{LeaseAsk, LeaseGrant, ShippedRecord, Telling};
use aims_model::record::FIRST_PREV;
use aims_model::{LeaseRow, Point, Source};
use aims_store::Reader;
use aims_types::{Actor, BootTime, Digest, Gateway, Id, Revision};

use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::joins::end_instances_of;
use crate::joins::is_enrolled_point;
use crate::recording::{Attempt, shown};
use crate::{ControlPlane, Fault, Parts, trees};

/// What the server knows of leases besides their rows.
pub(crate) struct Leases {
    pub(crate) book: Book,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest end of its log that each gateway told.
    heads: BTreeMap<Id<Gateway>, Head>,
    /// In which of its requests it told that.
    tellings: BTreeMap<Id<Gateway>, Telling>,
    /// The first end of its log that each gateway told and that its records had not reached then.
    awaited: BTreeMap<Id<Gateway>, Told>,
    /// With which code each point was refused last: the same refusal is recorded once.
    refused: BTreeMap<Point, &'static str>,
    /// When rows are next looked at whose leases have ended.
    sweep_at: Option<BootTime>,
}

/// The end of a gateway's log: its last record's number and digest.
type Head = (u64, Digest);

/// What a renewal says of a gateway's log.
struct LogEnd {
    gateway: Id<Gateway>,
    head: Head,
    telling: Option<Telling>,
    /// The ends that it told and that may show that everything is here: this one, and the first
    /// that its records had not reached. Those of a busy gateway never reach the end that it tells
    /// at that moment.
    told: [Told; 2],
    /// The last record that is here.
    shipped: u64,
}

/// Why a lease was not extended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    #[error("`{0}` is not enrolled, or its key was retired; it has to join again")]
    NotEnrolled(Point),
    #[error(
        "the log of gateway `{gateway}` went back or was rewritten: it ends at record {told}, and \
         the server knows record {known} of it; restore the log, or let the gateway join as a new \
         one"
    )]
    LogWentBack {
        gateway: Id<Gateway>,
        told: u64,
        known: u64,
    },
    #[error("a later request of gateway `{0}` was answered before this one arrived")]
    Overtaken(Id<Gateway>),
    #[error(
        "`{point}` has revision {told} in force and the server is at {known}; the server's store \
         was replaced by an older one"
    )]
    Future {
        point: Point,
        told: Revision,
        known: Revision,
    },
    #[error(
        "`{point}` lapsed: it has revision {told} in force and must take over {needed} first; if \
         it does not by itself, start it again"
    )]
    Lapsed {
        point: Point,
        told: Revision,
        needed: Revision,
    },
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(LeaseError);

impl Refused for LeaseError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotEnrolled(_) => "not_enrolled",
            Self::LogWentBack { .. } => "log_went_back",
            Self::Overtaken(_) => "overtaken",
            Self::Future { .. } => "unknown_revision",
            Self::Lapsed { .. } => "lapsed",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl Leases {
    /// No lease is granted yet in this process; rows of earlier ones count on.
    pub(crate) fn new(parts: &Parts) -> Self {
        let (terms, boot) = (parts.config.lease, parts.boot.clone());
        Self {
            book: Book::new(terms, boot, parts.clock.boot()),
            state: Mutex::default(),
        }
    }

    /// Refuses a log that ends before what is known of it, or elsewhere.
    fn check_head(
        &self,
        gateway: Id<Gateway>,
        told: Head,
        shipped: Head,
    ) -> Result<(), LeaseError> {
        let seen = self.state().heads.get(&gateway).copied();
        let continues = |known: &Head| told.0 > known.0 || told == *known;
        let known = [Some(shipped), seen];
        match known.into_iter().flatten().find(|known| !continues(known)) {
            None => Ok(()),
            Some((known, _)) => Err(LeaseError::LogWentBack {
                gateway,
                told: told.0,
                known,
            }),
        }
    }

    /// Whether records that a gateway ships are those of the log whose end it told.
    pub(crate) fn continues(&self, gateway: Id<Gateway>, records: &[ShippedRecord]) -> bool {
        let Some((seq, digest)) = self.state().heads.get(&gateway).copied() else {
            return true;
        };
        let mut at_head = records.iter().filter(|one| one.seq == seq);
        at_head.all(|one| sha256(&one.record) == digest)
    }

    /// The number of the last record that a gateway told of.
    pub(crate) fn head_told(&self, gateway: Id<Gateway>) -> u64 {
        self.state().heads.get(&gateway).map_or(0, |head| head.0)
    }

    /// What a renewal says of a gateway's log: it continues what is known, of which the server has
    /// what was `shipped`.
    fn log_end(
        &self,
        gateway: Id<Gateway>,
        ask: &LeaseAsk,
        shipped: Head,
    ) -> Result<LogEnd, LeaseError> {
        if let (Some(telling), Some(before)) = (ask.telling, self.telling(gateway))
            && telling.process == before.process
            && telling.number < before.number
        {
            // What it told before it told more is no news.
            return Err(LeaseError::Overtaken(gateway));
        }
        let head = ask.head.unwrap_or((0, FIRST_PREV));
        self.check_head(gateway, head, shipped)?;
        let told = Told {
            in_force: ask.in_force,
            head: head.0,
        };
        let awaited = self.state().awaited.get(&gateway).copied();
        Ok(LogEnd {
            gateway,
            head,
            telling: ask.telling,
            told: [awaited.unwrap_or(told), told],
            shipped: shipped.0,
        })
    }

    fn telling(&self, gateway: Id<Gateway>) -> Option<Telling> {
        self.state().tellings.get(&gateway).copied()
    }

    fn renewed(&self, point: Point, log: Option<LogEnd>) {
        let mut state = self.state();
        state.refused.remove(&point);
        if let Some(log) = log {
            state.heads.insert(log.gateway, log.head);
            if let Some(telling) = log.telling {
                state.tellings.insert(log.gateway, telling);
            }
            let [first, last] = log.told;
            let is_reached = first.head <= log.shipped;
            let awaited = if is_reached { last } else { first };
            state.awaited.insert(log.gateway, awaited);
        }
    }

    /// Whether this refusal is another one than the point's last.
    fn is_news(&self, point: Point, code: &'static str) -> bool {
        self.state().refused.insert(point, code) != Some(code)
    }

    /// Whether it is time to look for leases that have ended; once per renewal interval.
    fn is_time_to_sweep(&self, parts: &Parts) -> bool {
        let now = parts.clock.boot();
        let mut state = self.state();
        if state.sweep_at.is_some_and(|at| now < at) {
            return false;
        }
        state.sweep_at = Some(now.plus(parts.config.lease.renew_every()));
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Extends a lease, and records a refusal.
pub(crate) async fn renew(plane: &ControlPlane, ask: LeaseAsk) -> Result<LeaseGrant, LeaseError> {
    let point = ask.point;
    match extend(plane, ask).await {
        Ok(grant) => {
            if plane.leases().is_time_to_sweep(plane.parts())
                && let Err(fault) = plane.end_silent().await
            {
                tracing::error!(%fault, "leases that have ended can't be looked at");
            }
            Ok(grant)
        }
        Err(error) if error.is_internal() => Err(error),
        // Nobody waits for the answer, and nothing is wrong.
        Err(error @ LeaseError::Overtaken(_)) => Err(error),
        Err(error) => {
            if !plane.leases().is_news(point, error.code()) {
                return Err(error);
            }
            let cx = plane.cx(actor_of(point))?;
            let attempt = Attempt::new("lease_renew", &point.to_string());
            plane.recorded(&cx, attempt, Err(error)).await
        }
    }
}

async fn extend(plane: &ControlPlane, ask: LeaseAsk) -> Result<LeaseGrant, LeaseError> {
    let (leases, parts, point) = (plane.leases(), plane.parts(), ask.point);
    // A point that does not get around to new states would hold up every change while it renews.
    let (told, needed) = (ask.in_force, plane.needed_by(point));
    if told < needed {
        plane.push_to_all();
        return Err(LeaseError::Lapsed {
            point,
            told,
            needed,
        });
    }
    let mut txn = plane.store().begin().await?;
    if !is_enrolled_point(txn.as_mut(), point).await? {
        return Err(LeaseError::NotEnrolled(point));
    }
    let log = match point {
        Point::Gateway(gateway) => {
            let shipped = shipped(txn.as_mut(), gateway).await?;
            Some(leases.log_end(gateway, &ask, shipped)?)
        }
        Point::Node(_) => None,
    };
    // The transaction excludes every other writer: a cut-off is either part of this revision, or
    // is committed after this row and waits for it.
    let revision = txn.revision().await?;
    if ask.in_force > revision {
        return Err(LeaseError::Future {
            point,
            told: ask.in_force,
            known: revision,
        });
    }
    let earlier = txn.lease(point).await?;
    let now = parts.clock.boot();
    let mut row = leases
        .book
        .grant(point, now, ask.in_force, earlier.as_ref());
    if let Some(address) = ask.address {
        row.address = Some(shown(&address));
    }
    txn.lease_put(&row).await?;
    let events = match &log {
        Some(log) => {
            let cx = plane.cx(actor_of(point))?;
            let known = (log.told.as_slice(), log.shipped);
            trees::account(txn.as_mut(), &cx, log.gateway, known).await?
        }
        None => Vec::new(),
    };
    txn.commit(events).await?;
    leases.renewed(point, log);
    plane.heard_of(point, ask.in_force);
    Ok(LeaseGrant {
        length: parts.config.lease.length(),
        revision,
        server_time: parts.clock.now(),
    })
}

/// The end of a gateway's log as far as the server has it.
pub(crate) async fn shipped(
    reader: &mut dyn Reader,
    gateway: Id<Gateway>,
) -> Result<Head, aims_store::Error> {
    let sources = reader.log_sources().await?;
    let mut sources = sources.iter();
    let found = sources.find(|head| head.source == Source::Gateway(gateway));
    Ok(found.map_or((0, FIRST_PREV), |head| (head.seq, head.digest)))
}

/// The actor that a point is.
pub(crate) const fn actor_of(point: Point) -> Actor {
    match point {
        Point::Gateway(id) => Actor::Gateway(id),
        Point::Node(id) => Actor::Node(id),
    }
}

impl ControlPlane {
    /// Ends what silent nodes vouched for, and forgets the leases that have certainly ended.
    ///
    /// Looked at with every renewal of another point; whoever wants it sooner may call it.
    pub async fn end_silent(&self) -> Result<(), Fault> {
        let rows = self.store().read().await?.leases().await?;
        let now = self.parts().clock.boot();
        for row in rows {
            if self.leases().book.has_ended(&row, now) {
                self.forget(row.point).await?;
            }
        }
        Ok(())
    }

    /// Forgets a lease that has certainly ended. What a node vouched for ends with its lease.
    pub(crate) async fn forget(&self, point: Point) -> Result<(), Fault> {
        let mut txn = self.store().begin().await?;
        let now = self.parts().clock.boot();
        let ended = |row: &LeaseRow| self.leases().book.has_ended(row, now);
        if !txn.lease(point).await?.as_ref().is_some_and(ended) {
            return Ok(());
        }
        txn.lease_remove(point).await?;
        let (mut events, mut revision) = (Vec::new(), None);
        if let Point::Node(node) = point {
            let cx = self.cx(Actor::Server)?;
            let how = ("its node fell silent", |_| true);
            (events, revision) = end_instances_of(txn.as_mut(), &cx, node, how).await?;
        }
        txn.commit(events).await?;
        tracing::warn!(%point, "a lease ended");
        if let Some(revision) = revision {
            self.publish_soon(revision);
        }
        Ok(())
    }
}
