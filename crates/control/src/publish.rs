//! Publishing: what gateways decide against and what nodes end, in the order of revisions.
//!
//! A change is complete when each point that may act on an older state has acknowledged it, or its
//! lease has certainly ended ([`aims_lease::Barrier`]).

mod cut;
mod doors;
mod points;
mod settle;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use aims_links::{ControlState, Cut, Enforce, EnforceError, LinkError, Step};
use aims_model::receipt::Ended;
use aims_model::{EnrolledKey, KeyPurpose, Point, Upstream, approval};
use aims_store::Reader;
use aims_types::{Gateway, Id, Revision};
use futures_util::FutureExt;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use crate::leases::Leases;
use crate::{ControlPlane, Fault};

pub(crate) use doors::outlive;
pub(crate) use points::Link;
use points::{Failure, Points, Push};
pub(crate) use settle::AttachError;

/// The purposes of keys whose signatures gateways check.
const PUBLISHED: [KeyPurpose; 7] = [
    KeyPurpose::Ca,
    KeyPurpose::Token,
    KeyPurpose::Grant,
    KeyPurpose::Log,
    KeyPurpose::Node,
    KeyPurpose::Gateway,
    KeyPurpose::Person,
];

/// How long a change waits for a point that is linked and holds no lease. Nothing is allowed there,
/// so this is for the sake of those who look right after a change.
pub const UNLEASED_PATIENCE: Duration = Duration::from_millis(500);

/// A change that is durable, and which gateways have not taken it over.
#[derive(Debug, Clone)]
pub struct Committed<T> {
    /// What came of it.
    pub value: T,
    /// The revision at which it is in force.
    pub revision: Revision,
    /// The gateways that did not acknowledge it; empty when all did.
    pub lapsed: Vec<Lapse>,
}

/// A gateway that did not take over a state. Nothing is allowed there: its lease has ended, or it
/// said that it denies everything until it gets a usable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapse {
    /// Which.
    pub gateway: Id<Gateway>,
    /// Why.
    pub why: String,
}

/// The points, their leases, and the state that is on its way to them.
pub(crate) struct Publisher {
    /// Held while a state is read, so that no older one follows a newer one.
    turn: Mutex<()>,
    points: Points,
    leases: Leases,
    /// How long a point without a lease may take.
    patience: Duration,
    /// Pushes under way, those too that nobody waits for any more.
    pushes: TaskTracker,
}

impl ControlPlane {
    /// What gateways decide against now.
    pub async fn state(&self) -> Result<ControlState, Fault> {
        let mut reader = self.store().read().await?;
        self.read_state(reader.as_mut()).await
    }

    /// Wraps a change that was committed at `revision`, after pushing it to every point.
    pub(crate) async fn published<T>(&self, value: T, revision: Revision) -> Committed<T> {
        Committed {
            value,
            revision,
            lapsed: self.publish(revision).await,
        }
    }

    /// Publishes a change that nobody waits for.
    pub(crate) fn publish_soon(&self, revision: Revision) {
        let plane = self.clone();
        // Boxed, because publishing itself may find more to publish.
        let publish = async move { drop(plane.publish(revision).await) }.boxed();
        self.publisher().pushes.spawn(publish);
    }

    /// A point said what is in force there. One that is behind gets the newest state.
    pub(crate) fn heard_of(&self, point: Point, in_force: Revision) {
        self.publisher().points.heard(point, in_force);
        self.push_to_all();
    }

    /// The revision that a point has to take over before it gets a lease, because it lapsed.
    pub(crate) fn needed_by(&self, point: Point) -> Revision {
        self.publisher().points.needs(point)
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.publisher().leases
    }

    /// Reads the newest state, to be pushed from now on.
    async fn newest_state(&self) -> Result<Arc<ControlState>, Fault> {
        let publisher = self.publisher();
        let _turn = publisher.turn.lock().await;
        let mut reader = self.store().read().await?;
        let before = publisher.points.newest();
        if let Some(newest) = &before
            && newest.revision == reader.revision().await?
        {
            return Ok(Arc::clone(newest));
        }
        let state = self.read_state(reader.as_mut()).await?;
        let state = Arc::new(match &before {
            Some(before) => sharing(state, before),
            None => state,
        });
        publisher.points.offer(Arc::clone(&state));
        Ok(state)
    }

    async fn read_state(&self, reader: &mut dyn Reader) -> Result<ControlState, Fault> {
        let revision = reader.revision().await?;
        let policy = reader.policy_current().await?;
        let policy =
            policy.ok_or_else(|| Fault::Inconsistent("no policy is in force".to_owned()))?;
        let mut keys: Vec<EnrolledKey> = Vec::new();
        for purpose in PUBLISHED {
            keys.extend(reader.keys(purpose).await?);
        }
        let mut upstreams = reader.upstreams().await?;
        upstreams.retain(Upstream::is_active);
        let mut approvals = reader.approvals_open().await?;
        approvals.retain(|one| matches!(one.stage, approval::Stage::Approved { .. }));
        Ok(ControlState {
            revision,
            issuer: self.parts().config.issuer.clone(),
            policy: Arc::new(policy),
            servers: Arc::new(reader.servers().await?),
            upstreams: Arc::new(upstreams),
            keys: Arc::new(keys),
            cutoffs: Arc::new(reader.cutoffs().await?),
            approvals: Arc::new(approvals),
        })
    }

    /// Starts a push to each point that is behind the newest state and has none under way.
    pub(crate) fn push_to_all(&self) {
        for (point, number) in self.publisher().points.take_behind() {
            let push = self.clone().push_to(point, number);
            self.publisher().pushes.spawn(push);
        }
    }

    /// Brings a point to the newest state, and to those that come meanwhile.
    async fn push_to(self, point: Point, number: u64) {
        let points = &self.publisher().points;
        while let Some(push) = points.next_push(point, number) {
            let wanted = push.state.revision;
            let answer = AssertUnwindSafe(self.give(point, push)).catch_unwind();
            let error = match answer.await {
                Ok(Ok(taken)) if taken.0 >= wanted => {
                    let at = self.parts().clock.boot();
                    points.took_over((point, number), taken, at);
                    continue;
                }
                Ok(Ok((revision, ..))) => {
                    no_answer(point, &format!("it stays at revision {revision}"))
                }
                Ok(Err(error)) => error,
                Err(_) => no_answer(point, "it failed while it took over the state"),
            };
            tracing::warn!(%point, revision = %wanted, %error, "a state was not taken over");
            let failure = Failure {
                revision: wanted,
                error,
            };
            return points.failed(point, number, failure);
        }
    }

    async fn give(
        &self,
        point: Point,
        push: Push,
    ) -> Result<(Revision, Ended, Vec<Step>), EnforceError> {
        match (push.link, point) {
            (Link::Node(link), Point::Node(node)) => {
                let revision = push.state.revision;
                let instances = async {
                    let mut reader = self.store().read().await?;
                    cut::instances(reader.as_mut(), node, push.told, &push.state.cutoffs).await
                };
                let instances = instances.await.map_err(|fault| LinkError {
                    peer: "server",
                    reason: fault.to_string(),
                })?;
                let cut = Cut {
                    revision,
                    instances,
                    doors: push.doors,
                    gateways: cut::gateways(&push.state.keys),
                };
                Ok((revision, link.end(cut).await?, Vec::new()))
            }
            (Link::Gateway(link), _) => {
                let applied = link.apply(push.state).await?;
                Ok((applied.revision, applied.ended, applied.earlier))
            }
            (Link::Node(_), Point::Gateway(_)) => Err(no_answer(point, "it is linked as a node")),
        }
    }
}

impl Publisher {
    pub(crate) fn new(patience: Duration, leases: Leases) -> Self {
        Self {
            turn: Mutex::default(),
            points: Points::new(),
            leases,
            patience,
            pushes: TaskTracker::new(),
        }
    }

    /// A gateway to ask about a tool server.
    pub(crate) fn any_gateway(&self) -> Option<Arc<dyn Enforce>> {
        self.points.any_gateway()
    }

    /// The points that are linked, each with the revision that is in force there.
    pub(crate) fn linked(&self) -> Vec<(Point, Revision)> {
        let linked = self.points.attached().into_iter();
        linked
            .map(|point| (point, self.points.view(point).in_force))
            .collect()
    }
}

/// The error of a point that did not answer.
fn no_answer(point: Point, reason: &str) -> EnforceError {
    let reason = reason.to_owned();
    EnforceError::Link(LinkError {
        peer: point.kind().as_str(),
        reason,
    })
}

/// Keeps what did not change as the same value, so that gateways can tell by the pointer.
fn sharing(new: ControlState, before: &ControlState) -> ControlState {
    fn keep<T: PartialEq>(new: Arc<T>, before: &Arc<T>) -> Arc<T> {
        if *new == **before {
            Arc::clone(before)
        } else {
            new
        }
    }
    ControlState {
        policy: keep(new.policy, &before.policy),
        servers: keep(new.servers, &before.servers),
        upstreams: keep(new.upstreams, &before.upstreams),
        keys: keep(new.keys, &before.keys),
        cutoffs: keep(new.cutoffs, &before.cutoffs),
        approvals: keep(new.approvals, &before.approvals),
        ..new
    }
}
