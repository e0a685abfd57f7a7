//! Effects that came after the end of the lease that was looked at: they can't be prevented, only
//! found, and told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aims_json::{Object, Value};
use aims_lease::Held;
use aims_model::{Event, EventKind};
use aims_types::{self as types, Id, Timestamp};
use aims_wal::Class;
use tokio::sync::Notify;

use super::Lease;
use crate::authn::Caller;
use crate::core::Core;

/// Most late effects that wait to be recorded; more are told in the log of the process alone.
const WAITING_MAX: usize = 1024;

/// For whom something is done, and by which decision if one permits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doing {
    pub(crate) task: Id<types::Task>,
    pub(crate) instance: Id<types::Instance>,
    pub(crate) decision: Option<Id<types::Decision>>,
}

/// What came late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes to a tool or to a host outside.
    Sent,
    /// Bytes of an answer, handed to the connection to the agent.
    Delivered,
}

/// The late effects that are not recorded yet.
#[derive(Debug, Default)]
pub(super) struct Lates {
    waiting: Mutex<Vec<Late>>,
    found: Notify,
}

#[derive(Debug)]
struct Late {
    doing: Doing,
    piece: Piece,
    by: Duration,
    lease_ended_at: Timestamp,
}

impl Doing {
    /// What is done for a caller.
    pub(crate) const fn of(caller: &Caller, decision: Option<Id<types::Decision>>) -> Self {
        Self {
            task: caller.token.task,
            instance: caller.token.instance,
            decision,
        }
    }
}

impl Piece {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
        }
    }
}

impl Lease {
    /// Looks back right after a piece went out: was the lease over by then that was held before?
    /// Then it is told, loudly, and recorded soon.
    pub(crate) fn look_back(&self, held: Held, doing: Doing, piece: Piece) {
        let now = self.clock.boot();
        let overrun = self.holder().overrun(held, now, self.in_force());
        let Some(by) = overrun else {
            return;
        };
        let wall = self.wall().unwrap_or_else(|| self.clock.now());
        self.lates.found(Late {
            doing,
            piece,
            by,
            lease_ended_at: wall.minus(by),
        });
    }
}

impl Lates {
    fn found(&self, late: Late) {
        let what = late.piece.as_str();
        metrics::counter!("aims_gateway_late_effects_total", "what" => what).increment(1);
        let Doing {
            task,
            instance,
            decision,
        } = late.doing;
        tracing::error!(
            %task, %instance, decision = ?decision.map(|id| id.to_string()), what,
            late_millis = millis(late.by),
            "an effect came after the lease had ended: this process was stopped in between"
        );
        let mut waiting = self.waiting();
        if waiting.len() < WAITING_MAX {
            waiting.push(late);
        }
        drop(waiting);
        self.found.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Late>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records late effects as they are found, until the gateway stops.
pub(crate) async fn record(core: Arc<Core>) {
    loop {
        record_found(&core).await;
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            () = core.lease.lates.found.notified() => {}
        }
    }
}

/// Records what was found so far.
pub(crate) async fn record_found(core: &Core) {
    let found = std::mem::take(&mut *core.lease.lates.waiting());
    for late in found {
        let task = late.doing.task;
        let event = Event::new(EventKind::EffectLate, core.clock.now(), late.body());
        // The journal raises the alarm if this can't be written; everything is denied then.
        let _ = core
            .journal
            .append(Class::Outcome, event.of_task(task))
            .await;
    }
}

impl Late {
    fn body(&self) -> Object {
        let decision = self.doing.decision;
        let decision = decision.map_or(Value::Null, |id| Value::from(id.to_string()));
        Object::new()
            .with("instance", self.doing.instance.to_string())
            .with("decision_id", decision)
            .with("what", self.piece.as_str())
            .with("late_millis", millis(self.by))
            .with("lease_ended_at", self.lease_ended_at.unix_millis())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
