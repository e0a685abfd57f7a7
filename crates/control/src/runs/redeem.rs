//! Taking up a launch: a ticket works once.

use aims_crypto::sha256;
use aims_json::Object;
use aims_links::{LaunchOrder, RequestedRun};
use aims_model::{EventKind, Run};
use aims_store::Reader;
use aims_types::{Cx, Id, Node, Revision};

use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::joins::{is_enrolled_node, unknown_node};
use crate::liveness::{LiveChain, NotLive};
use crate::recording::event;
use crate::{ControlPlane, Fault};

/// Why a launch was not taken up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedeemError {
    /// The node is not enrolled.
    #[error("{}", unknown_node(.0))]
    UnknownNode(Id<Node>),
    /// There is no such ticket.
    #[error("the ticket is not known; ask for a new launch")]
    UnknownTicket,
    /// The ticket was used.
    #[error("the ticket was used before; ask for a new launch")]
    TicketUsed,
    /// The ticket is too old.
    #[error("the ticket has expired; ask for a new launch")]
    TicketExpired,
    /// Who asked for it was removed.
    #[error("the person who asked for the launch was removed")]
    RequesterRemoved,
    /// Nothing may be started for the task.
    #[error(transparent)]
    NotLive(#[from] NotLive),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(RedeemError);

impl Refused for RedeemError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownNode(_) => "unknown_node",
            Self::UnknownTicket => "unknown_ticket",
            Self::TicketUsed => "ticket_used",
            Self::TicketExpired => "ticket_expired",
            Self::RequesterRemoved => "person_removed",
            Self::NotLive(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// Takes up the launch of a ticket, once, if everything it rests on still holds.
pub(crate) async fn redeem(
    plane: &ControlPlane,
    cx: &Cx,
    requested: &RequestedRun,
) -> Result<(LaunchOrder, Revision), RedeemError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    if !is_enrolled_node(txn.as_mut(), requested.node).await? {
        return Err(RedeemError::UnknownNode(requested.node));
    }
    let mut run = usable(txn.as_mut(), cx, requested).await?;
    let live = LiveChain::find(txn.as_mut(), (run.task, run.delegation), cx.now).await?;
    run.redeemed_at = Some(cx.now);
    run.redeemed_by = Some(requested.node);
    txn.run_update(&run).await?;
    let body = Object::new()
        .with("run", run.id.to_string())
        .with("node", requested.node.to_string())
        .with("agent", live.leaf.agent.spiffe_id.as_str())
        .with("requested_by", run.requested_by.to_string());
    txn.commit(vec![
        event(cx, EventKind::RunRedeemed, body).of_task(run.task),
    ])
    .await?;
    Ok((
        LaunchOrder {
            run: run.id,
            agent: live.leaf.agent,
            task: live.task,
            delegation: run.delegation,
        },
        revision,
    ))
}

async fn usable(
    reader: &mut dyn Reader,
    cx: &Cx,
    requested: &RequestedRun,
) -> Result<Run, RedeemError> {
    let digest = sha256(requested.ticket.expose().as_bytes());
    let run = reader
        .run_by_ticket(&digest)
        .await?
        .ok_or(RedeemError::UnknownTicket)?;
    if run.redeemed_at.is_some() {
        return Err(RedeemError::TicketUsed);
    }
    if cx.now >= run.expires_at {
        return Err(RedeemError::TicketExpired);
    }
    let asked = reader.person(run.requested_by).await?;
    match asked.filter(|person| person.removed_at.is_none()) {
        Some(_) => Ok(run),
        None => Err(RedeemError::RequesterRemoved),
    }
}
