//! Linking a point: from then on it gets every state.

use aims_links::EnforceError;
use aims_model::{Point, PointKind};
use aims_types::{Cx, Revision};

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
    NotReady(EnforceError),
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
    let told = told(plane, cx, point).await?;
    Ok(plane.attach(point, link, told).await?)
}

/// What a point was told of before. A node whose lease has ended has ended all that it vouched for,
/// or was started again: nothing of it lives. One whose lease runs goes on where it was.
async fn told(plane: &ControlPlane, cx: &Cx, point: Point) -> Result<Revision, LinkPointError> {
    let Point::Node(node) = point else {
        return Ok(Revision::ZERO);
    };
    let mut txn = plane.store().begin().await?;
    let now = plane.parts().clock.boot();
    let row = txn.lease(point).await?;
    let row = row.filter(|row| !plane.leases().book.has_ended(row, now));
    if let Some(row) = row {
        return Ok(row.acknowledged);
    }
    let how = "the node was away";
    let (events, revision) = end_instances_of(txn.as_mut(), cx, node, how).await?;
    let newest = txn.revision().await?;
    if let Some(revision) = revision {
        txn.commit(events).await?;
        plane.publish_to_gateways(revision).await;
    }
    Ok(revision.unwrap_or(newest))
}
