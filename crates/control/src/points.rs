//! Nodes and gateways, as operators see them.

use std::collections::BTreeMap;
use std::time::Duration;

use aims_model::{LeaseRow, Point};
use aims_types::{Cx, Revision};

use crate::access::{AccessError, Observer};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::{ControlPlane, Fault};

/// How it stands with one node or gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointView {
    /// Which.
    pub point: Point,
    /// Whether it is linked with the server now.
    pub is_linked: bool,
    /// How long its lease may still run; absent if it holds none.
    pub lease_left: Option<Duration>,
    /// The newest revision that it acknowledged.
    pub acknowledged: Revision,
    /// Where others reach a gateway (`host:port`).
    pub address: Option<String>,
}

/// Why points are not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListPointsError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ListPointsError);

impl Refused for ListPointsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// The nodes and gateways that are linked or may hold a lease, gateways first; for operators
    /// and auditors.
    pub async fn points(&self, cx: &Cx) -> Result<Vec<PointView>, ListPointsError> {
        let mut reader = self.store().read().await?;
        Observer::admit(cx, reader.as_mut()).await?;
        let rows = reader.leases().await?;
        let now = self.parts().clock.boot();
        let view = |row: LeaseRow| {
            let left = self.leases().book.end(&row).since(now);
            let view = PointView {
                point: row.point,
                is_linked: false,
                lease_left: Some(left).filter(|left| !left.is_zero()),
                acknowledged: row.acknowledged,
                address: row.address,
            };
            (row.point, view)
        };
        let mut points: BTreeMap<Point, PointView> = rows.into_iter().map(view).collect();
        for (point, in_force) in self.publisher().linked() {
            let view = points.entry(point).or_insert(PointView {
                point,
                is_linked: true,
                lease_left: None,
                acknowledged: in_force,
                address: None,
            });
            view.is_linked = true;
            view.acknowledged = view.acknowledged.max(in_force);
        }
        Ok(points.into_values().collect())
    }
}
