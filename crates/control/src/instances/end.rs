//! The end of an instance: returns when no gateway honours its credentials any more.

use aims_links::EndedInstance;
use aims_types::{Cx, Revision};

use super::all_ended;
use crate::approvals;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::{ControlPlane, Fault};

/// Why an instance was not ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndError {
    /// There is no such instance.
    #[error("there is no such instance")]
    Unknown,
    /// Another node vouches for it.
    #[error("another node vouches for this instance")]
    ForeignNode,
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(EndError);

impl Refused for EndError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown_instance",
            Self::ForeignNode => "foreign_node",
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// Ends an instance and what it delegated to, once; gives the revision that has to be acknowledged
/// by every gateway.
pub(crate) async fn end(
    plane: &ControlPlane,
    cx: &Cx,
    end: &EndedInstance,
) -> Result<Revision, EndError> {
    let mut txn = plane.store().begin().await?;
    let now = txn.revision().await?;
    let revision = txn.revision_next().await?;
    let instance = txn.instance(end.instance).await?.ok_or(EndError::Unknown)?;
    if instance.node != Some(end.node) {
        return Err(EndError::ForeignNode);
    }
    let how = (revision, end.how.as_str());
    let mut events = all_ended(txn.as_mut(), cx, vec![instance], how).await?;
    if events.is_empty() {
        // It ended before; whoever asks again wants the acknowledgement.
        return Ok(now);
    }
    events.extend(approvals::withdrawn(txn.as_mut(), cx).await?);
    txn.commit(events).await?;
    Ok(revision)
}
