//! Linking a point: from then on it gets every state.

use std::collections::HashSet;

use aims_links::{EnforceError, LinkError};
use aims_model::{Point, PointKind};
use aims_types::{Cx, Id, Instance, Node, Revision};

use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::joins::{end_instances_of, is_enrolled_point};
use crate::publish::{AttachError, Link};
use crate::{ControlPlane, Fault};

/// Why a point was not linked.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkPointError {
    #[error("`{0}` is not enrolled as what it links as, or its key was retired")]
    NotEnrolled(Point),
    #[error(transparent)]
    NotReady(#[from] EnforceError),
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(LinkPointError);

impl Refused for LinkPointError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotEnrolled(_) => "not_enrolled",
            Self::NotReady(_) => "point_not_ready",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl From<AttachError> for LinkPointError {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Enforce(error) => Self::NotReady(error),
            AttachError::Internal(fault) => Self::Internal(fault),
        }
    }
}

impl From<LinkError> for LinkPointError {
    fn from(error: LinkError) -> Self {
        Self::NotReady(error.into())
    }
}

pub(super) async fn attach(
    plane: &ControlPlane,
    cx: &Cx,
    point: Point,
    link: Link,
) -> Result<Revision, LinkPointError> {
    let kind = match &link {
        Link::Gateway(_) => PointKind::Gateway,
        Link::Node(_) => PointKind::Node,
    };
    let enrolled = is_enrolled_point(plane.store().read().await?.as_mut(), point).await?;
    if !enrolled || point.kind() != kind {
        return Err(LinkPointError::NotEnrolled(point));
    }
    let told = told(plane, cx, point, &link).await?;
    Ok(plane.attach(point, link, told).await?)
}

/// What a point was told of before. A node whose lease has ended has ended all that it vouched for;
/// one whose lease runs goes on where it was, with what it still has: what an earlier process of it
/// had is gone with that process.
async fn told(
    plane: &ControlPlane,
    cx: &Cx,
    point: Point,
    link: &Link,
) -> Result<Revision, LinkPointError> {
    let (Point::Node(node), Link::Node(vouch)) = (point, link) else {
        return Ok(Revision::ZERO);
    };
    // Read before the node is asked: what begins meanwhile is not missed in its answer.
    let before = live_of(plane, node).await?;
    let held: HashSet<_> = vouch.held().await?.into_iter().collect();
    let mut txn = plane.store().begin().await?;
    let now = plane.parts().clock.boot();
    let row = txn.lease(point).await?;
    let row = row.filter(|row| !plane.leases().book.has_ended(row, now));
    let (events, revision) = if row.is_some() {
        let is_gone = |id: Id<Instance>| before.contains(&id) && !held.contains(&id);
        end_instances_of(txn.as_mut(), cx, node, ("the node started again", is_gone)).await?
    } else {
        end_instances_of(txn.as_mut(), cx, node, ("the node was away", |_| true)).await?
    };
    let newest = txn.revision().await?;
    if let Some(revision) = revision {
        txn.commit(events).await?;
        plane.publish_to_gateways(revision).await;
    }
    Ok(row.map_or(revision.unwrap_or(newest), |row| row.acknowledged))
}

/// The instances that a node vouches for.
async fn live_of(plane: &ControlPlane, node: Id<Node>) -> Result<HashSet<Id<Instance>>, Fault> {
    let live = plane.store().read().await?.instances_live().await?;
    let of_node = live
        .into_iter()
        .filter(|instance| instance.node == Some(node));
    Ok(of_node.map(|instance| instance.id).collect())
}
