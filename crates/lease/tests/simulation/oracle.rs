//! What has to be true in every step, from the outside: nothing of this can be seen by a process.

use crate::sim::world::{APPROVALS, POINTS_MAX, SUBJECTS, TREES};

/// A claim that did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A byte went out under a kill that had returned, and nothing can excuse it.
    ByteAfterKill,
    /// A point had acknowledged a kill, and a byte went out under it.
    ByteAfterAcknowledgement,
    /// An effect overran its lease although it was not held up for longer than the margin.
    LateWithinMargin,
    /// A tree's budget was exceeded.
    BudgetExceeded,
    /// An approval was used twice.
    ApprovalUsedTwice,
    /// A gateway decided for a tree that another one owned.
    TwoOwners,
    /// A lost owner was taken to be accounted for, and the server had not got all of its uses.
    AccountedEarly,
    /// The record of an effect, or of a kill that had returned, is gone after a restart.
    RecordLost,
    /// The revision or a cut-off of a point went back.
    WentBack,
    /// The state of a point does not hold the cut-offs of its revision.
    CutOffMissing,
    /// A point's idea of the server's time went back.
    TimeWentBack,
    /// A kill waited for longer than a lease lasts.
    KillTooSlow,
}

/// What happened, so that a run in which nothing happens is not taken for a good one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stats {
    /// Events.
    pub(crate) steps: u64,
    /// First bytes that went out upstream, and steps of instances.
    pub(crate) effects: u64,
    /// Further bytes.
    pub(crate) chunks: u64,
    /// Calls and looks that were refused.
    pub(crate) refused: u64,
    /// Kills that returned.
    pub(crate) kills: u64,
    /// Points that had acknowledged by then.
    pub(crate) acknowledged: u64,
    /// Points whose lease had ended by then.
    pub(crate) lapsed: u64,
    /// Bytes after a kill returned that the holder found out itself, after a pause longer than the
    /// margin.
    pub(crate) late: u64,
    /// Effects that overran their lease and were under no kill.
    pub(crate) overrun: u64,
    /// Trees that a gateway gave to another.
    pub(crate) handed_over: u64,
    /// Trees that were taken over because their owner's lease had ended.
    pub(crate) taken_over: u64,
    /// Lost owners whose log turned out to be whole.
    pub(crate) accounted: u64,
    /// Calls that were refused because the server had not got enough of the log.
    pub(crate) behind: u64,
    /// Claims of trees that nobody can own.
    pub(crate) unavailable: u64,
    /// Processes that were killed.
    pub(crate) crashes: u64,
}

impl Stats {
    pub(crate) const fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.effects += other.effects;
        self.chunks += other.chunks;
        self.refused += other.refused;
        self.kills += other.kills;
        self.acknowledged += other.acknowledged;
        self.lapsed += other.lapsed;
        self.late += other.late;
        self.overrun += other.overrun;
        self.handed_over += other.handed_over;
        self.taken_over += other.taken_over;
        self.accounted += other.accounted;
        self.behind += other.behind;
        self.unavailable += other.unavailable;
        self.crashes += other.crashes;
    }
}

/// Revisions by subject.
pub(crate) type Cuts = [u64; SUBJECTS];

#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    pub(crate) stats: Stats,
    pub(crate) finding: Option<Finding>,
    /// The newest kill of each subject that returned.
    pub(crate) returned: Cuts,
    /// The newest kill of each subject that a point had acknowledged when it returned.
    pub(crate) acknowledged: [Cuts; POINTS_MAX],
    uses: [u32; TREES],
    approvals: [[u8; APPROVALS]; TREES],
    /// How long the log of each gateway was when a tree was last taken from it.
    pub(crate) lost: [[usize; POINTS_MAX]; TREES],
    /// What each process was last seen with: incarnation, revision, cut-offs, server time.
    last: [(u32, u64, Cuts, u64); POINTS_MAX],
}

/// A byte that goes out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Byte {
    pub(crate) point: usize,
    pub(crate) subjects: [usize; 3],
    pub(crate) minted: u64,
    /// Whether the holder found out that the effect overran its lease.
    pub(crate) overrun: bool,
    /// Whether it was held up for longer than the margin, on its own clock.
    pub(crate) long_pause: bool,
}

/// The tree and approval that an effect uses, and the most uses that the tree allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    pub(crate) tree: usize,
    pub(crate) budget: Option<u32>,
    pub(crate) approval: Option<u8>,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        Self {
            stats: Stats::default(),
            finding: None,
            returned: [0; SUBJECTS],
            acknowledged: [[0; SUBJECTS]; POINTS_MAX],
            uses: [0; TREES],
            approvals: [[0; APPROVALS]; TREES],
            lost: [[0; POINTS_MAX]; TREES],
            last: [(0, 0, [0; SUBJECTS], 0); POINTS_MAX],
        }
    }

    pub(crate) const fn finds(&mut self, finding: Finding) {
        if self.finding.is_none() {
            self.finding = Some(finding);
        }
    }

    /// A kill returned.
    pub(crate) fn kill_returned(&mut self, subject: usize, revision: u64) {
        self.stats.kills += 1;
        self.returned[subject] = self.returned[subject].max(revision);
    }

    /// A kill returned for which a point had acknowledged.
    pub(crate) fn kill_acknowledged(&mut self, point: usize, subject: usize, revision: u64) {
        self.stats.acknowledged += 1;
        let newest = &mut self.acknowledged[point][subject];
        *newest = (*newest).max(revision);
    }

    /// A byte went out.
    pub(crate) fn byte(&mut self, byte: Byte) {
        let dead = |cuts: &Cuts| byte.subjects.iter().any(|s| byte.minted <= cuts[*s]);
        if dead(&self.acknowledged[byte.point]) {
            self.finds(Finding::ByteAfterAcknowledgement);
        }
        if byte.overrun && !byte.long_pause {
            self.finds(Finding::LateWithinMargin);
        }
        match (dead(&self.returned), byte.overrun) {
            (true, false) => self.finds(Finding::ByteAfterKill),
            (true, true) => self.stats.late += 1,
            (false, true) => self.stats.overrun += 1,
            (false, false) => {}
        }
    }

    /// The first byte of a call went out.
    pub(crate) fn started(&mut self, used: Use) {
        let count = &mut self.uses[used.tree];
        *count += 1;
        if used.budget.is_some_and(|budget| *count > budget) {
            self.finds(Finding::BudgetExceeded);
        }
        if let Some(approval) = used.approval {
            let times = &mut self.approvals[used.tree][usize::from(approval)];
            *times = times.saturating_add(1);
            if *times > 1 {
                self.finds(Finding::ApprovalUsedTwice);
            }
        }
    }

    /// A point's process after a step: its incarnation, revision, cut-offs and server time.
    pub(crate) fn point(&mut self, point: usize, seen: (u32, u64, &Cuts, u64)) {
        let (incarnation, revision, cuts, time) = seen;
        let last = &mut self.last[point];
        let same = last.0 == incarnation;
        let back = revision < last.1 || cuts.iter().zip(&last.2).any(|(new, old)| new < old);
        let time_back = time < last.3;
        *last = (incarnation, revision, *cuts, time);
        if same && back {
            self.finds(Finding::WentBack);
        }
        if same && time_back {
            self.finds(Finding::TimeWentBack);
        }
    }
}
