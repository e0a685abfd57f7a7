//! The protocol, and ways to break it.

/// The protocol as it is, or with one rule left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// As it is.
    Correct,
    /// A lease is counted from the arrival of its answer.
    CountsFromArrival,
    /// An answer is sent before the row of its lease is written.
    RowAfterAnswer,
    /// A renewal names the revision from before its row was written.
    RevisionReadEarly,
    /// A renewal counts whatever state is in force.
    RenewalCountsAtOnce,
    /// A state is acknowledged while effects that it cuts off are between look and write.
    AcknowledgesEarly,
    /// Lease and cut-offs are looked at when deciding, and not again.
    NoLookAgain,
    /// An effect may start as long as anything of the lease is left.
    MarginIgnored,
    /// Leases are counted on the wall clock.
    WallClock,
    /// Leases are counted on a clock that stands still while the machine sleeps.
    MonotonicClock,
    /// Each process numbers its requests from zero.
    NumbersFromZero,
    /// After a reboot of its host the server compares instants of different boots.
    RebootNotSeen,
    /// A kill waits for the rows as they are, however often they are renewed.
    BarrierFollowsRows,
    /// A tree is given away while its owner's lease may still run.
    TakesOverEarly,
    /// An owner records as much ahead of the server as it likes.
    WindowNotEnforced,
    /// What a lost owner may have recorded is not charged by those after it.
    UnaccountedNotCharged,
    /// An owner is accounted for by whatever end of its log it told last.
    HeadToldBefore,
    /// Approvals stay good when a tree is taken over.
    ApprovalsKept,
    /// A gateway counts a tree as its own after a gap in its lease.
    OwnsAcrossGap,
    /// What an owner hands over does not name the epoch.
    HandOverUnbound,
    /// An effect starts before its intent is on disk.
    IntentNotSynced,
    /// The server acts on commits that are not on disk.
    CommitNotSynced,
    /// An older state replaces a newer one.
    OlderStateReplaces,
}

impl Variant {
    /// The broken ones.
    pub(crate) const BROKEN: [Self; 22] = [
        Self::CountsFromArrival,
        Self::RowAfterAnswer,
        Self::RevisionReadEarly,
        Self::RenewalCountsAtOnce,
        Self::AcknowledgesEarly,
        Self::NoLookAgain,
        Self::MarginIgnored,
        Self::WallClock,
        Self::MonotonicClock,
        Self::NumbersFromZero,
        Self::RebootNotSeen,
        Self::BarrierFollowsRows,
        Self::TakesOverEarly,
        Self::WindowNotEnforced,
        Self::UnaccountedNotCharged,
        Self::HeadToldBefore,
        Self::ApprovalsKept,
        Self::OwnsAcrossGap,
        Self::HandOverUnbound,
        Self::IntentNotSynced,
        Self::CommitNotSynced,
        Self::OlderStateReplaces,
    ];
}
