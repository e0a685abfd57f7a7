//! Asking to own a tree, and finding out what is used of it.

use std::sync::Arc;
use std::time::Duration;

use aims_lease::EPOCH_FIRST;
use aims_links::{LinkError, OwnedTree, TreeClaim, TreeGrant};
use aims_model::Record;
use aims_types::{Id, Task};
use tokio::time::timeout;

use super::release::{give_back, handed_over};
use super::{Entry, NoOwner, Owner, Standing, Tree};
use crate::core::Core;
use crate::recover::Past;

/// How long the server may take to say who owns a tree, and for each page of what is recorded.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(10);
/// Records on one page: each has at most 64 KiB.
const PAGE: u32 = 32;
/// Most records about one task that are counted.
const RECORDS_MAX: u64 = 1 << 20;

/// Who answers requests about a task. Asks the server the first time, when the lease was
/// interrupted, and when another gateway was the owner a while ago.
pub(crate) async fn own(core: &Core, task: Id<Task>) -> Result<Owner, NoOwner> {
    let held = core.lease.holds()?;
    let now = core.clock.boot();
    let entry = core.trees.entry(task, now)?;
    if let Some(owner) = entry.known(held.term(), now) {
        return Ok(owner);
    }
    let _claiming = entry.claiming.lock().await;
    // Whoever asked meanwhile asked for all. The lease is looked at before the question: what the
    // server then says holds as long as the lease has no gap.
    let held = core.lease.holds()?;
    if let Some(owner) = entry.known(held.term(), core.clock.boot()) {
        return Ok(owner);
    }
    let returning = match *entry.standing() {
        Standing::Returning { epoch } => Some(OwnedTree { task, epoch }),
        _ => None,
    };
    if let Some(tree) = returning
        && !give_back(core, vec![tree]).await
    {
        return Err(NoOwner::Returning);
    }
    let standing = claim(core, &entry, task, held.term()).await?;
    *entry.standing() = standing;
    if core.lease.holds()?.term() != held.term() {
        return Err(NoOwner::Interrupted);
    }
    let owner = entry.known(held.term(), core.clock.boot());
    owner.ok_or(NoOwner::Interrupted)
}

async fn claim(core: &Core, entry: &Entry, task: Id<Task>, term: u64) -> Result<Standing, NoOwner> {
    metrics::counter!("aims_gateway_tree_claims_total").increment(1);
    let me = core.config.id;
    let claimed = within(core.control.tree_claim(me, task)).await?;
    match claimed {
        TreeClaim::Owned(grant) => {
            let epoch = grant.epoch;
            // Only if its own last claim is the one before this, nobody used anything since.
            let known = match &*entry.standing() {
                Standing::Mine {
                    tree, epoch: last, ..
                } if grant.before && last.checked_add(1) == Some(epoch) => Some(Arc::clone(tree)),
                _ => None,
            };
            let tree = match known {
                Some(tree) => {
                    // What it recorded before goes on counting.
                    tree.ahead().resize(grant.window);
                    tree
                }
                None => Arc::new(rebuild(core, task, &grant).await?),
            };
            Ok(Standing::Mine { tree, epoch, term })
        }
        TreeClaim::Elsewhere { gateway, .. } if gateway == me => {
            let why = "the server takes this gateway for another one".to_owned();
            Err(NoOwner::Unavailable(why))
        }
        TreeClaim::Elsewhere { gateway, address } => Ok(Standing::Elsewhere {
            at: core.clock.boot(),
            gateway,
            address,
        }),
        TreeClaim::Unavailable { why } => {
            // Whoever owns it, it is not this gateway any more.
            *entry.standing() = Standing::Unknown;
            Err(NoOwner::Unavailable(why))
        }
    }
}

/// What was used of a tree: what all gateways handed over about it, and what is unaccounted for.
/// What this one recorded in the time before, perhaps as an earlier process, is handed over first.
async fn rebuild(core: &Core, task: Id<Task>, grant: &TreeGrant) -> Result<Tree, NoOwner> {
    let unreadable = |error: &dyn std::error::Error| NoOwner::Unreadable(error.to_string());
    let mut past = Past::default();
    if !grant.before && grant.epoch == EPOCH_FIRST {
        let tree = past.into_tree(grant, core.now());
        return tree.map_err(|error| unreadable(&error));
    }
    if grant.before && !handed_over(core).await {
        return Err(NoOwner::NotHandedOver);
    }
    let (me, mut skip) = (core.config.id, 0_u64);
    loop {
        let page = within(core.control.task_records(me, task, skip, PAGE)).await?;
        let count = u64::try_from(page.len()).unwrap_or(u64::MAX);
        for record in &page {
            let record = Record::decode(record).map_err(|error| unreadable(&error))?;
            if record.event.task != Some(task) {
                return Err(NoOwner::Unreadable(
                    "a record is of another task".to_owned(),
                ));
            }
            past.add(&record.event)
                .map_err(|error| unreadable(&error))?;
        }
        skip = skip.saturating_add(count);
        if count < u64::from(PAGE) {
            break;
        }
        if skip >= RECORDS_MAX {
            return Err(NoOwner::Unreadable("there are too many records".to_owned()));
        }
    }
    // Remembered from now on: the clock of the gateway that used them may be wrong.
    let now = core.now();
    core.approvals
        .restore(past.approvals().map(|(id, at)| (id, at.max(now))));
    past.into_tree(grant, now)
        .map_err(|error| unreadable(&error))
}

async fn within<T>(asked: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    let answer = timeout(CLAIM_TIMEOUT, asked).await;
    answer.unwrap_or_else(|_| {
        Err(LinkError {
            peer: "server",
            reason: "no answer in time".to_owned(),
        })
    })
}
