//! Who owns a delegation tree: its budgets and its single-use approvals.

use aims_model::{TreeOwner, Unaccounted};
use aims_types::{Gateway, Id, Revision, Task};

/// The first owner's epoch.
pub const EPOCH_FIRST: u64 = 1;
/// The widest window, and that of a tree in which no uses are limited when it is claimed.
pub const WINDOW_MAX: u32 = 16;
/// The part of the least limit that a window has: so much at most is lost when an owner is.
pub const WINDOW_SHARE: u64 = 8;
/// Most gateways whose uses of one tree are unaccounted for at a time. Each costs the tree a
/// window; with more of them gone, something other than the tree needs looking after.
pub const UNACCOUNTED_MAX: usize = 8;

/// A gateway's claim to own a tree, with everything that decides about it, read in one transaction.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Who claims.
    pub claimant: Id<Gateway>,
    /// The task whose tree it is.
    pub task: Id<Task>,
    /// The window that the tree's limits allow now ([`window`]).
    pub window: u32,
    /// The revision that this transaction takes if it takes the tree over.
    pub next: Revision,
    /// Who owns the tree; nobody did ever, if absent.
    pub owner: Option<Owner<'a>>,
}

/// The owner of a tree so far.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// What is stored of it.
    pub row: &'a TreeOwner,
    /// Whether its lease has certainly ended ([`crate::Book::has_ended`]; also true if it has no
    /// row).
    pub lease_ended: bool,
    /// Whether the sum of an argument is limited anywhere in the tree.
    pub summed: bool,
}

/// The decision on a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The claimant owns the tree. It counts it only while its lease has no gap from before it
    /// asked ([`crate::Held::term`]).
    Granted(Ownership),
    /// Another gateway does.
    Owner {
        /// Which.
        gateway: Id<Gateway>,
        /// Its epoch.
        epoch: u64,
    },
    /// Nobody can own it now.
    Unavailable {
        /// Why.
        why: Unavailable,
    },
}

/// A tree as its new owner has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// What is stored before the claimant is told. Each grant starts a new epoch, even for the same
    /// gateway, so that what was said before it is told apart from what is said after.
    pub row: TreeOwner,
    /// Whether the claimant owned the tree up to now: what it has recorded, and not shipped yet,
    /// belongs to the state of the tree.
    pub before: bool,
    /// From whom the tree was taken, as its lease had ended. The grant takes the claim's next
    /// revision, and approvals that were given before it are void: they may have been used.
    pub taken_from: Option<Id<Gateway>>,
}

/// The end of its log that a gateway told with a renewal of its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The revision in force there, read *before* the end of the log.
    pub in_force: Revision,
    /// The number of the log's last record.
    pub head: u64,
}

/// Why nobody can own a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// What the last owner has used is not bounded by a number of calls.
    #[error(
        "gateway {gateway} may have used sums of this task that it has not reported, and how much \
         one call uses is not bounded; it has to come back and hand over its log"
    )]
    SumUnknown {
        /// The last owner.
        gateway: Id<Gateway>,
    },
    /// The last owner was never told a window.
    #[error(
        "gateway {gateway} owns this task since before it was told how much it may record ahead; \
         it has to come back and hand over its log"
    )]
    NoWindow {
        /// The last owner.
        gateway: Id<Gateway>,
    },
    /// Too many owners were lost.
    #[error(
        "{UNACCOUNTED_MAX} gateways that owned this task have not come back; one of them has to \
         come back and hand over its log"
    )]
    TooManyLost,
}

/// How many uses an owner may have recorded that the server has not got, if the least limit of
/// uses, or of calls in a period, anywhere in the tree is this: an eighth of it, and 1 to 16.
pub fn window(least: Option<u64>) -> u32 {
    let share = least.map_or(u64::MAX, |least| least / WINDOW_SHARE);
    u32::try_from(share)
        .unwrap_or(WINDOW_MAX)
        .clamp(1, WINDOW_MAX)
}

impl Claim<'_> {
    /// Decides. The new owner and its epoch are durable before the claimant is told.
    pub fn decide(&self) -> Verdict {
        let Some(owner) = self.owner else {
            return self.grant(EPOCH_FIRST, Vec::new());
        };
        let row = owner.row;
        let next = row.epoch.saturating_add(1);
        if row.released {
            return self.grant(next, row.unaccounted.clone());
        }
        if row.gateway == self.claimant {
            return self.grant_again(row, next);
        }
        if !owner.lease_ended {
            let (gateway, epoch) = (row.gateway, row.epoch);
            return Verdict::Owner { gateway, epoch };
        }
        match lose(&owner, self.next) {
            Ok(unaccounted) => match self.grant(next, unaccounted) {
                Verdict::Granted(ownership) => Verdict::Granted(Ownership {
                    taken_from: Some(row.gateway),
                    ..ownership
                }),
                other => other,
            },
            Err(why) => Verdict::Unavailable { why },
        }
    }

    fn grant(&self, epoch: u64, unaccounted: Vec<Unaccounted>) -> Verdict {
        Verdict::Granted(Ownership {
            row: TreeOwner {
                task: self.task,
                gateway: self.claimant,
                epoch,
                released: false,
                window: self.window,
                unaccounted,
            },
            before: false,
            taken_from: None,
        })
    }

    /// The same owner. What it recorded in its last epoch may still be on its way, so its window
    /// does not get narrower.
    fn grant_again(&self, row: &TreeOwner, epoch: u64) -> Verdict {
        Verdict::Granted(Ownership {
            row: TreeOwner {
                epoch,
                window: self.window.max(row.window),
                ..row.clone()
            },
            before: true,
            taken_from: None,
        })
    }
}

/// Who is unaccounted for when the tree is taken from its owner: those before it, and itself.
fn lose(owner: &Owner<'_>, since: Revision) -> Result<Vec<Unaccounted>, Unavailable> {
    let gateway = owner.row.gateway;
    if owner.summed {
        return Err(Unavailable::SumUnknown { gateway });
    }
    let uses = owner.row.window;
    if uses == 0 {
        return Err(Unavailable::NoWindow { gateway });
    }
    let mut unaccounted = owner.row.unaccounted.clone();
    if let Some(entry) = unaccounted.iter_mut().find(|one| one.gateway == gateway) {
        entry.uses = entry.uses.saturating_add(uses);
        entry.since = since;
    } else if unaccounted.len() < UNACCOUNTED_MAX {
        unaccounted.push(Unaccounted {
            gateway,
            uses,
            since,
        });
    } else {
        return Err(Unavailable::TooManyLost);
    }
    Ok(unaccounted)
}

impl Told {
    /// Whether everything that the gateway recorded about the tree is among the records that the
    /// server has, which go up to `shipped`. It may record for a tree only under a lease that ended
    /// before the take-over, so the end of a log that was read after the take-over comes after all
    /// of it. When the request arrived says nothing of that: it may have been under way for long.
    pub fn accounts_for(&self, lost: &Unaccounted, shipped: u64) -> bool {
        self.in_force >= lost.since && self.head <= shipped
    }
}

#[cfg(test)]
mod tests;
