//! Who owns a delegation tree: its budgets and its single-use approvals.

use aims_types::{Gateway, Id};

/// The first owner's epoch.
pub const EPOCH_FIRST: u64 = 1;

/// A gateway's claim to own a tree, with everything that decides about it, read in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Who claims.
    pub claimant: Id<Gateway>,
    /// Who owns the tree; nobody did ever, if absent.
    pub owner: Option<Owner>,
}

/// The owner of a tree so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Which gateway.
    pub gateway: Id<Gateway>,
    /// How often the tree has had a new owner.
    pub epoch: u64,
    /// What it handed over *in this epoch*.
    pub handed_over: HandedOver,
    /// Whether its lease has certainly ended ([`crate::Book::has_ended`]; also true if it has no
    /// row).
    pub lease_ended: bool,
    /// Whether anything in the tree is counted or works once: a limit of uses, rate or sum, or
    /// an approval.
    pub counted: bool,
}

/// What the owner of a tree said about the end of its ownership, and that the server has.
///
/// It names the epoch that it speaks of. What it says about an earlier one is ignored: it may have
/// claimed the tree again meanwhile, as another process. What it shipped without saying so proves
/// nothing, because it may have recorded more since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandedOver {
    /// Nothing.
    Nothing,
    /// Its whole log about the tree, which it no longer uses: said after it had lost its lease, or
    /// by a process that started again. Counts once its lease has certainly ended.
    Log,
    /// The tree itself: it stopped using it and shipped all that it recorded about it.
    Tree,
}

/// The decision on a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The claimant owns the tree, in this epoch. The claimant counts it only while its lease has
    /// no gap from before it asked ([`crate::Held::term`]).
    Granted {
        /// The epoch. Each grant starts a new one, even for the same gateway, so that what was said
        /// before it is told apart from what is said after.
        epoch: u64,
        /// Whether the claimant owned the tree up to now: what it has recorded, and not shipped
        /// yet, belongs to the state of the tree.
        before: bool,
    },
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

/// Why nobody can own a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// What the last owner has used is not known.
    #[error(
        "gateway {gateway} may have used budgets or approvals of this task that it has not \
             reported; it has to come back and hand over its log"
    )]
    LogIncomplete {
        /// The last owner.
        gateway: Id<Gateway>,
    },
}

impl Claim {
    /// Decides. The new owner and its epoch are durable before the claimant is told.
    pub fn decide(&self) -> Verdict {
        let Some(owner) = self.owner else {
            return Verdict::Granted {
                epoch: EPOCH_FIRST,
                before: false,
            };
        };
        let granted = |before| Verdict::Granted {
            epoch: owner.epoch.saturating_add(1),
            before,
        };
        if owner.handed_over == HandedOver::Tree {
            return granted(false);
        }
        if owner.gateway == self.claimant {
            return granted(true);
        }
        if !owner.lease_ended {
            return Verdict::Owner {
                gateway: owner.gateway,
                epoch: owner.epoch,
            };
        }
        if owner.counted && owner.handed_over == HandedOver::Nothing {
            let gateway = owner.gateway;
            return Verdict::Unavailable {
                why: Unavailable::LogIncomplete { gateway },
            };
        }
        granted(false)
    }
}

#[cfg(test)]
mod tests {
    use HandedOver::{Log, Nothing, Tree};

    use super::*;

    const MINE: Id<Gateway> = Id::from_u128(1);
    const OTHER: Id<Gateway> = Id::from_u128(2);

    fn owner(gateway: Id<Gateway>, handed_over: HandedOver, flags: [bool; 2]) -> Owner {
        let [lease_ended, counted] = flags;
        Owner {
            gateway,
            epoch: 4,
            handed_over,
            lease_ended,
            counted,
        }
    }

    #[test]
    fn a_claim_is_decided_by_release_lease_and_log_in_this_order() {
        let granted = |epoch, before| Verdict::Granted { epoch, before };
        let elsewhere = Verdict::Owner {
            gateway: OTHER,
            epoch: 4,
        };
        let unavailable = Verdict::Unavailable {
            why: Unavailable::LogIncomplete { gateway: OTHER },
        };
        let (t, f) = (true, false);
        let cases = [
            (None, granted(1, false)),
            (Some(owner(MINE, Nothing, [f, t])), granted(5, true)),
            (Some(owner(MINE, Log, [t, t])), granted(5, true)),
            (Some(owner(MINE, Tree, [f, t])), granted(5, false)),
            (Some(owner(OTHER, Tree, [f, t])), granted(5, false)),
            (Some(owner(OTHER, Nothing, [f, f])), elsewhere),
            (Some(owner(OTHER, Log, [f, f])), elsewhere),
            (Some(owner(OTHER, Log, [t, t])), granted(5, false)),
            (Some(owner(OTHER, Nothing, [t, f])), granted(5, false)),
            (Some(owner(OTHER, Nothing, [t, t])), unavailable),
        ];
        for (owner, verdict) in cases {
            let claim = Claim {
                claimant: MINE,
                owner,
            };
            assert_eq!(claim.decide(), verdict, "{owner:?}");
        }
    }
}
