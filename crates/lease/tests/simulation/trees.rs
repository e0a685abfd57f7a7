//! Which trees a gateway owns, and what was used of them.

use aims_lease::{HandedOver, Held, Verdict};
use aims_types::{Gateway, Id};

use crate::sim::Variant;
use crate::sim::world::{Call, Message, Process, TREES, TreeState, World};

/// What a gateway knows of a tree.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Local {
    active: Option<Active>,
    /// Who owns it, as far as the gateway knows.
    elsewhere: Option<usize>,
    /// Number and term of the claim that waits for an answer.
    claim: Option<(u64, u64)>,
    next_claim: u64,
    /// The newest epoch in which it was the owner; on disk.
    epoch: u64,
    /// What it is going to hand over.
    owes: Option<(u64, HandedOver)>,
}

#[derive(Debug, Clone, Copy)]
struct Active {
    term: u64,
    uses: u32,
    used: u64,
}

impl Local {
    /// The process starts again: it owns nothing, and can say so of what it owned.
    pub(crate) fn start(&mut self, first_claim: u64) {
        let owes = (self.epoch > 0).then_some((self.epoch, HandedOver::Log));
        *self = Self {
            epoch: self.epoch,
            next_claim: first_claim,
            owes,
            ..Self::default()
        };
    }
}

impl World {
    /// Whether the gateway owns the tree: since before its lease last began to be held.
    pub(crate) fn owns(&self, point: usize, tree: usize, held: Held) -> bool {
        let across_gap = self.variant == Variant::OwnsAcrossGap;
        let active = self.points[point].trees[tree].active;
        active.is_some_and(|active| across_gap || active.term == held.term())
    }

    /// Takes a use, and an approval where one is needed, if there is one left.
    pub(crate) fn charge(&mut self, point: usize, call: Call) -> bool {
        let tree = call.credential.tree();
        let budget = self.trees[tree].budget;
        let Some(active) = &mut self.points[point].trees[tree].active else {
            return false;
        };
        let bit = call.approval.map_or(0, |approval| 1_u64 << approval);
        if budget.is_some_and(|budget| active.uses >= budget) || active.used & bit != 0 {
            return false;
        }
        active.uses += 1;
        active.used |= bit;
        true
    }

    /// A call for a tree that the gateway does not own: it is forwarded, or the tree claimed.
    pub(crate) fn elsewhere(&mut self, point: usize, call: Call, held: Held) {
        let tree = call.credential.tree();
        self.let_go(point, tree, held);
        let local = self.points[point].trees[tree];
        let forwards = !call.forwarded && self.random.chance(700);
        if let Some(owner) = local.elsewhere.filter(|_| forwards) {
            let message = Message::Call(Call {
                forwarded: true,
                ..call
            });
            return self.send(Process::Point(point), Process::Point(owner), message);
        }
        self.oracle.stats.refused += 1;
        if local.claim.is_none() || self.random.chance(300) {
            let local = &mut self.points[point].trees[tree];
            let number = local.next_claim;
            local.next_claim = number.wrapping_add(1);
            local.claim = Some((number, held.term()));
            let message = Message::Claim { number, tree };
            self.send(Process::Point(point), Process::Server, message);
        }
    }

    /// Drops a tree that was owned before a gap in the lease.
    fn let_go(&mut self, point: usize, tree: usize, held: Held) {
        if self.owns(point, tree, held) {
            return;
        }
        let local = &mut self.points[point].trees[tree];
        if local.active.take().is_some() {
            local.owes = Some((local.epoch, HandedOver::Log));
        }
    }

    pub(crate) fn claimed(
        &mut self,
        point: usize,
        tree: usize,
        number: u64,
        answer: (Verdict, TreeState),
    ) {
        let now = self.point_clock(point);
        let held = self.points[point].holder.holds(now, self.in_force(point));
        let local = &mut self.points[point].trees[tree];
        let Some((_, term)) = local.claim.filter(|(asked, _)| *asked == number) else {
            return;
        };
        local.claim = None;
        match answer.0 {
            Verdict::Granted { epoch, .. } => {
                local.epoch = local.epoch.max(epoch);
                local.elsewhere = None;
                let across_gap = self.variant == Variant::OwnsAcrossGap;
                if held.is_ok_and(|held| across_gap || held.term() == term) {
                    local.owes = None;
                    self.take(point, tree, term, answer.1);
                } else {
                    local.active = None;
                    local.owes = Some((epoch, HandedOver::Log));
                }
            }
            Verdict::Owner { gateway, .. } => local.elsewhere = Some(number_of(gateway)),
            Verdict::Unavailable { .. } => {}
        }
    }

    /// Starts to own a tree: what the server knows of it, and what the own log has besides.
    fn take(&mut self, point: usize, tree: usize, term: u64, known: TreeState) {
        let state = &self.points[point];
        if state.trees[tree]
            .active
            .is_some_and(|active| active.term == term)
        {
            return;
        }
        let own = state.log().iter().skip(known.shipped);
        let own = own.filter(|intent| intent.tree == tree);
        let active = own.fold(
            Active {
                term,
                uses: known.uses,
                used: known.used,
            },
            |active, intent| Active {
                uses: active.uses + 1,
                used: active.used | intent.approval_bit(),
                ..active
            },
        );
        self.points[point].trees[tree].active = Some(active);
    }

    /// Ships the log, and hands over trees.
    pub(crate) fn housekeeping(&mut self, point: usize) {
        let server = Process::Server;
        let upto = self.points[point].synced().len();
        self.send(Process::Point(point), server, Message::Shipped { upto });
        let all_synced = upto == self.points[point].log().len();
        let now = self.point_clock(point);
        let held = self.points[point].holder.holds(now, self.in_force(point));
        for tree in 0..TREES {
            if let Ok(held) = held {
                self.let_go(point, tree, held);
            }
            let gives_back = all_synced && self.random.chance(80);
            let local = &mut self.points[point].trees[tree];
            if gives_back && local.active.take().is_some() {
                local.owes = Some((local.epoch, HandedOver::Tree));
            }
            let Some((epoch, what)) = local.owes.filter(|_| all_synced) else {
                continue;
            };
            if self.random.chance(300) {
                self.points[point].trees[tree].owes = None;
            }
            let message = Message::HandOver {
                tree,
                epoch,
                upto,
                what,
            };
            self.send(Process::Point(point), server, message);
        }
    }
}

fn number_of(gateway: Id<Gateway>) -> usize {
    usize::try_from(gateway.as_u128()).unwrap_or(0)
}
