//! Who owns a task's delegation tree: its budgets and single-use approvals.

use aims_json::Object;
use aims_lease::{Claim, HandedOver, Owner, Unavailable, Verdict};
use aims_links::{OwnedTree, TreeClaim};
use aims_model::{EventKind, Point, Source, TreeOwner};
use aims_store::Reader;
use aims_types::{Actor, Cx, Gateway, Id, Task};

use crate::chain::read_grant;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::leases::shipped;
use crate::recording::event;
use crate::{ControlPlane, Fault};

/// Most records of a task that are given at once.
pub const TASK_RECORDS_MAX: u32 = 1024;

/// Why a tree was not given back, or its records are not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    #[error("gateway `{gateway}` does not own the tree of task `{task}`; claim it first")]
    NotOwner {
        gateway: Id<Gateway>,
        task: Id<Task>,
    },
    #[error(
        "the log of gateway `{gateway}` goes to record {head} and the server has {shipped}; hand \
         over the rest first"
    )]
    NotShipped {
        gateway: Id<Gateway>,
        head: u64,
        shipped: u64,
    },
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(TreeError);

impl Refused for TreeError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotOwner { .. } => "not_owner",
            Self::NotShipped { .. } => "not_shipped",
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// Decides on a claim; the new owner is durable before it is told.
pub(crate) async fn claim(
    plane: &ControlPlane,
    gateway: Id<Gateway>,
    task: Id<Task>,
) -> Result<TreeClaim, Fault> {
    let cx = plane.cx(Actor::Gateway(gateway))?;
    let mut txn = plane.store().begin().await?;
    if txn.task(task).await?.is_none() {
        let why = format!("there is no task `{task}`");
        return Ok(TreeClaim::Unavailable { why });
    }
    let lease = Lease::of(plane, txn.as_mut(), gateway).await?;
    if lease.ended {
        let why = format!("gateway `{gateway}` holds no lease; let it renew its lease, then retry");
        return Ok(TreeClaim::Unavailable { why });
    }
    let before = txn.tree_owner(task).await?;
    let owner = match &before {
        Some(row) => Some(owner(plane, txn.as_mut(), row).await?),
        None => None,
    };
    let claim = Claim {
        claimant: gateway,
        owner,
    };
    let (epoch, before) = match claim.decide() {
        Verdict::Granted { epoch, before } => (epoch, before),
        Verdict::Owner { gateway, .. } => return elsewhere(plane, txn.as_mut(), gateway).await,
        Verdict::Unavailable { why } => return Ok(unavailable(why)),
    };
    let row = TreeOwner {
        task,
        gateway,
        epoch,
        released: false,
    };
    txn.tree_owner_put(&row).await?;
    txn.commit(vec![owned(&cx, &row)]).await?;
    Ok(TreeClaim::Owned { epoch, before })
}

/// Takes trees back. Everything that the gateway recorded has to be here.
pub(crate) async fn release(
    plane: &ControlPlane,
    gateway: Id<Gateway>,
    trees: &[OwnedTree],
) -> Result<(), TreeError> {
    let cx = plane.cx(Actor::Gateway(gateway))?;
    let mut txn = plane.store().begin().await?;
    let head = plane.leases().head_told(gateway);
    let (shipped, _) = shipped(txn.as_mut(), gateway).await?;
    if shipped < head {
        return Err(TreeError::NotShipped {
            gateway,
            head,
            shipped,
        });
    }
    let mut events = Vec::new();
    for tree in trees {
        let owner = txn.tree_owner(tree.task).await?;
        // Given back already, or claimed since: nothing is left to give back.
        let ours =
            |row: &TreeOwner| row.gateway == gateway && row.epoch == tree.epoch && !row.released;
        let Some(mut row) = owner.filter(ours) else {
            continue;
        };
        row.released = true;
        txn.tree_owner_put(&row).await?;
        events.push(owned(&cx, &row));
    }
    if !events.is_empty() {
        txn.commit(events).await?;
    }
    Ok(())
}

/// What gateways recorded about a task, for the one that owns its tree.
pub(crate) async fn records(
    plane: &ControlPlane,
    gateway: Id<Gateway>,
    task: Id<Task>,
    (skip, limit): (u64, u32),
) -> Result<Vec<Vec<u8>>, TreeError> {
    let mut reader = plane.store().read().await?;
    let owner = reader.tree_owner(task).await?;
    if owner.is_none_or(|row| row.gateway != gateway || row.released) {
        return Err(TreeError::NotOwner { gateway, task });
    }
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let limit = usize::try_from(limit.min(TASK_RECORDS_MAX)).unwrap_or(usize::MAX);
    let entries = reader.log_entries_of_task(task).await?.into_iter();
    let entries = entries.filter(|entry| matches!(entry.source, Source::Gateway(_)));
    let records = entries.skip(skip).take(limit);
    Ok(records.map(|entry| entry.record).collect())
}

/// A gateway's lease as far as it matters here.
struct Lease {
    ended: bool,
    address: Option<String>,
}

impl Lease {
    async fn of(
        plane: &ControlPlane,
        reader: &mut dyn Reader,
        gateway: Id<Gateway>,
    ) -> Result<Self, Fault> {
        let row = reader.lease(Point::Gateway(gateway)).await?;
        let now = plane.parts().clock.boot();
        let book = &plane.leases().book;
        Ok(Self {
            ended: row.as_ref().is_none_or(|row| book.has_ended(row, now)),
            address: row.and_then(|row| row.address),
        })
    }
}

async fn owner(
    plane: &ControlPlane,
    reader: &mut dyn Reader,
    row: &TreeOwner,
) -> Result<Owner, Fault> {
    let lease = Lease::of(plane, reader, row.gateway).await?;
    Ok(Owner {
        gateway: row.gateway,
        epoch: row.epoch,
        // The one way in which an owner hands anything over is to give the tree back.
        handed_over: if row.released {
            HandedOver::Tree
        } else {
            HandedOver::Nothing
        },
        lease_ended: lease.ended,
        counted: is_counted(reader, row.task).await?,
    })
}

/// Whether anything in the tree of a task is counted or works once.
async fn is_counted(reader: &mut dyn Reader, task: Id<Task>) -> Result<bool, Fault> {
    for stored in reader.grants_of_task(task).await? {
        let grant = read_grant(&stored.jws)?;
        let limits = grant.authority.limits();
        if limits.uses().is_some() || limits.rate().is_some() || !limits.sums().is_empty() {
            return Ok(true);
        }
    }
    let open = reader.approvals_open().await?;
    Ok(open.iter().any(|approval| approval.asked.task == task))
}

async fn elsewhere(
    plane: &ControlPlane,
    reader: &mut dyn Reader,
    gateway: Id<Gateway>,
) -> Result<TreeClaim, Fault> {
    let lease = Lease::of(plane, reader, gateway).await?;
    Ok(match lease.address {
        Some(address) => TreeClaim::Elsewhere { gateway, address },
        None => TreeClaim::Unavailable {
            why: format!(
                "gateway `{gateway}` serves this task and told no address at which others reach \
                 it; configure one there"
            ),
        },
    })
}

fn unavailable(why: Unavailable) -> TreeClaim {
    TreeClaim::Unavailable {
        why: why.to_string(),
    }
}

fn owned(cx: &Cx, row: &TreeOwner) -> aims_model::Event {
    let body = Object::new()
        .with("task", row.task.to_string())
        .with("gateway", row.gateway.to_string())
        .with("epoch", row.epoch)
        .with("released", row.released);
    event(cx, EventKind::TreeOwned, body).of_task(row.task)
}
