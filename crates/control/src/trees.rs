//! Who owns a task's delegation tree: its budgets and single-use approvals.

use aims_json::{Object, Value};
use aims_lease::{Claim, Owner, Ownership, Told, Unavailable, Verdict, window};
use aims_links::{OwnedTree, TreeClaim, TreeGrant};
use aims_model::{Event, EventKind, Point, TreeOwner, Unaccounted};
use aims_store::{Reader, Txn};
use aims_types::{Actor, Cx, Gateway, Id, Task};

use crate::chain::read_grant;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::leases::shipped;
use crate::recording::event;
use crate::{ControlPlane, Fault, approvals};

/// Most records of a task that are given at once.
pub const TASK_RECORDS_MAX: u32 = 1024;

/// Most trees in which one renewal of a lease accounts for its gateway; the next one goes on.
const ACCOUNTED_AT_ONCE: u32 = 64;

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
    let limits = TreeLimits::of(txn.as_mut(), task).await?;
    let owner = match &before {
        Some(row) => Some(Owner {
            row,
            lease_ended: Lease::of(plane, txn.as_mut(), row.gateway).await?.ended,
            summed: limits.summed,
        }),
        None => None,
    };
    let claim = Claim {
        claimant: gateway,
        task,
        window: window(limits.least),
        next: txn.revision().await?.next(),
        owner,
    };
    match claim.decide() {
        Verdict::Granted(ownership) => grant(plane, &cx, txn, ownership).await,
        Verdict::Owner { gateway, .. } => elsewhere(plane, txn.as_mut(), gateway).await,
        Verdict::Unavailable { why } => Ok(unavailable(why)),
    }
}

/// Stores the new owner. When the tree is taken over, what the last owner may have used up without
/// saying so is used up: the approvals that were given, here and in one transaction; the counts,
/// by whoever owns the tree from now on.
async fn grant(
    plane: &ControlPlane,
    cx: &Cx,
    mut txn: Box<dyn Txn>,
    ownership: Ownership,
) -> Result<TreeClaim, Fault> {
    let Ownership {
        row,
        before,
        taken_from,
    } = ownership;
    let mut events = Vec::new();
    if let Some(lost) = taken_from {
        txn.revision_next().await?;
        events = approvals::voided(txn.as_mut(), cx, (row.task, lost)).await?;
    }
    let revision = txn.revision().await?;
    txn.tree_owner_put(&row).await?;
    events.push(owned(cx, &row, taken_from));
    txn.commit(events).await?;
    if let Some(lost) = taken_from {
        tracing::warn!(task = %row.task, %lost, to = %row.gateway, "a task was taken over");
        plane.publish_soon(revision);
    }
    Ok(TreeClaim::Owned(TreeGrant {
        epoch: row.epoch,
        before,
        window: row.window,
        revision,
        unaccounted: row.unaccounted,
    }))
}

/// Forgets that a gateway is unaccounted for, where an end of its log that it told shows that
/// everything is here. Gives the records.
pub(crate) async fn account(
    txn: &mut dyn Txn,
    cx: &Cx,
    gateway: Id<Gateway>,
    (told, shipped): (&[Told], u64),
) -> Result<Vec<Event>, Fault> {
    let mut events = Vec::new();
    for tree in txn.tree_owners_without(gateway, ACCOUNTED_AT_ONCE).await? {
        let lost = tree.unaccounted.iter().find(|one| one.gateway == gateway);
        let whole = |lost| told.iter().find(|told| told.accounts_for(lost, shipped));
        if let Some(told) = lost.and_then(whole) {
            txn.tree_accounted(tree.task, gateway).await?;
            let body = Object::new()
                .with("task", tree.task.to_string())
                .with("gateway", gateway.to_string())
                .with("head", told.head);
            events.push(event(cx, EventKind::TreeAccounted, body).of_task(tree.task));
        }
    }
    Ok(events)
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
        events.push(owned(&cx, &row, None));
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
    let limit = limit.min(TASK_RECORDS_MAX);
    let entries = reader.log_entries_of_gateways(task, skip, limit).await?;
    Ok(entries.into_iter().map(|entry| entry.record).collect())
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

/// What a tree limits.
#[derive(Default)]
struct TreeLimits {
    /// The least number of uses, or of calls in a period.
    least: Option<u64>,
    /// Whether the sum of an argument is limited.
    summed: bool,
}

impl TreeLimits {
    async fn of(reader: &mut dyn Reader, task: Id<Task>) -> Result<Self, Fault> {
        let mut all = Self::default();
        for stored in reader.grants_of_task(task).await? {
            let grant = read_grant(&stored.jws)?;
            let limits = grant.authority.limits();
            let rate = limits.rate().map(|rate| rate.count().into());
            let counts = [all.least, limits.uses(), rate];
            all.least = counts.into_iter().flatten().min();
            all.summed |= !limits.sums().is_empty();
        }
        Ok(all)
    }
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

fn owned(cx: &Cx, row: &TreeOwner, taken_from: Option<Id<Gateway>>) -> Event {
    let lost = |lost: &Unaccounted| {
        let lost = Object::new()
            .with("gateway", lost.gateway.to_string())
            .with("uses", u64::from(lost.uses))
            .with("since", lost.since.number());
        Value::from(lost)
    };
    let unaccounted: Vec<Value> = row.unaccounted.iter().map(lost).collect();
    let body = Object::new()
        .with("task", row.task.to_string())
        .with("gateway", row.gateway.to_string())
        .with("epoch", row.epoch)
        .with("released", row.released)
        .with("window", u64::from(row.window))
        .with("unaccounted", unaccounted);
    let body = match taken_from {
        Some(lost) => body.with("taken_from", lost.to_string()),
        None => body,
    };
    event(cx, EventKind::TreeOwned, body).of_task(row.task)
}
