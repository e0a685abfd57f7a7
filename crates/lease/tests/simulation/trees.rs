//! Which trees a gateway owns, and what was used of them.

use aims_lease::Held;
use aims_types::{Gateway, Id};

use crate::sim::Variant;
use crate::sim::world::{APPROVALS, Call, Message, Process, TREES, World};

/// What a gateway knows of a tree.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Local {
    active: Option<Active>,
    /// Who owns it, as far as the gateway knows.
    elsewhere: Option<usize>,
    /// Number and term of the claim that waits for an answer.
    claim: Option<(u64, u64)>,
    next_claim: u64,
    /// The epoch in which it gives the tree back.
    returning: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Active {
    term: u64,
    epoch: u64,
    window: u32,
    uses: u32,
    used: u64,
}

/// A claim of a tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) number: u64,
    pub(crate) tree: usize,
}

/// What the server says to a claim.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// What it knows of the tree's use, with what it charges for lost owners, and how much of the
    /// asking gateway's log that contains.
    Granted {
        epoch: u64,
        window: u32,
        uses: u32,
        used: u64,
        void: usize,
        shipped: usize,
    },
    Owner(usize),
    Unavailable,
}

impl Local {
    /// The process starts again: it owns nothing.
    pub(crate) fn start(&mut self, first_claim: u64) {
        *self = Self {
            next_claim: first_claim,
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

    /// Takes a use, and an approval where one is needed, if there is one left and the server has
    /// got enough of what was used before.
    pub(crate) fn charge(&mut self, point: usize, call: Call) -> bool {
        let tree = call.credential.tree();
        let spec = self.trees[tree];
        let state = &mut self.points[point];
        let ahead = state.log().iter().skip(state.taken);
        let ahead = ahead.filter(|intent| intent.tree == tree).count();
        let Some(active) = &mut state.trees[tree].active else {
            return false;
        };
        let bit = call.approval.map_or(0, |approval| 1_u64 << approval);
        let is_over = spec.budget.is_some_and(|budget| active.uses >= budget);
        if is_over || active.used & bit != 0 {
            return false;
        }
        let waits = spec.budget.is_some() && ahead >= active.window as usize;
        if waits && self.variant != Variant::WindowNotEnforced {
            self.oracle.stats.behind += 1;
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
            let message = Message::Claim(Asked { number, tree });
            self.send(Process::Point(point), Process::Server, message);
        }
    }

    /// Drops a tree that was owned before a gap in the lease.
    fn let_go(&mut self, point: usize, tree: usize, held: Held) {
        if !self.owns(point, tree, held) {
            self.points[point].trees[tree].active = None;
        }
    }

    pub(crate) fn claimed(&mut self, point: usize, asked: Asked, answer: Answer) {
        let now = self.point_clock(point);
        let held = self.points[point].holder.holds(now, self.in_force(point));
        let across_gap = self.variant == Variant::OwnsAcrossGap;
        let local = &mut self.points[point].trees[asked.tree];
        let Some((_, term)) = local.claim.filter(|(number, _)| *number == asked.number) else {
            return;
        };
        local.claim = None;
        match answer {
            Answer::Granted { .. } => {
                local.elsewhere = None;
                if held.is_ok_and(|held| across_gap || held.term() == term) {
                    local.returning = None;
                    self.take(point, asked.tree, (term, answer));
                } else {
                    local.active = None;
                }
            }
            Answer::Owner(gateway) => local.elsewhere = Some(gateway),
            Answer::Unavailable => {}
        }
    }

    /// Starts to own a tree: what the server knows of it, and what the own log has besides.
    fn take(&mut self, point: usize, tree: usize, (term, granted): (u64, Answer)) {
        let Answer::Granted {
            epoch,
            window,
            uses,
            used,
            void,
            shipped,
        } = granted
        else {
            return;
        };
        let state = &mut self.points[point];
        let owned = state.trees[tree].active;
        if owned.is_some_and(|active| active.term == term) {
            return;
        }
        let own = state.log().iter().skip(shipped);
        let own = own.filter(|intent| intent.tree == tree);
        let before = (uses, used);
        let (uses, approved) = own.fold(before, |(count, bits), intent| {
            (count + 1, bits | intent.approval_bit())
        });
        let void = match void {
            APPROVALS.. => u64::MAX,
            void => (1 << void) - 1,
        };
        state.trees[tree].active = Some(Active {
            term,
            epoch,
            window,
            uses,
            used: approved | void,
        });
    }

    /// Ships the log as far as it is on disk.
    pub(crate) fn ship(&mut self, point: usize) {
        let upto = self.points[point].synced().len();
        let message = Message::Shipped { upto };
        self.send(Process::Point(point), Process::Server, message);
    }

    /// Ships the log, and gives trees back.
    pub(crate) fn housekeeping(&mut self, point: usize) {
        self.ship(point);
        let upto = self.points[point].synced().len();
        let all_synced = upto == self.points[point].log().len();
        let now = self.point_clock(point);
        let held = self.points[point].holder.holds(now, self.in_force(point));
        for tree in 0..TREES {
            if let Ok(held) = held {
                self.let_go(point, tree, held);
            }
            let gives_back = all_synced && self.random.chance(80);
            let local = &mut self.points[point].trees[tree];
            if gives_back && let Some(active) = local.active.take() {
                local.returning = Some(active.epoch);
            }
            let Some(epoch) = local.returning.filter(|_| all_synced) else {
                continue;
            };
            if self.random.chance(300) {
                self.points[point].trees[tree].returning = None;
            }
            let message = Message::Release { tree, epoch, upto };
            self.send(Process::Point(point), Process::Server, message);
        }
    }
}

/// The number of a gateway.
pub(crate) fn number_of(gateway: Id<Gateway>) -> usize {
    usize::try_from(gateway.as_u128()).unwrap_or(0)
}
