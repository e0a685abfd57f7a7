//! The protocol holds in a world that fails, and each of its rules is needed.
//!
//! Everything follows from the seed, so what is found once is found again. The example `simulate`
//! runs the same worlds for as long as one likes.

#[path = "sim.rs"]
mod sim;

use sim::{Finding, Report, Stats, Variant, World};

/// How long one world runs.
const STEPS: u64 = 10_000;
/// How many worlds the protocol is run in each time: more than a million steps.
const SEEDS: u64 = 150;
/// In how many worlds a broken protocol has to be found out.
const SEEDS_UNTIL_FOUND: u64 = 300;

/// Seeds in which some broken protocol was found out. The protocol has to hold there.
const TELLING_SEEDS: [u64; 20] = [
    5, 7, 15, 32, 33, 34, 38, 42, 47, 54, 63, 108, 114, 139, 144, 180, 183, 202, 226, 288,
];

/// A rule that is left out, the seed to start from, and what shows it.
const BROKEN: [(Variant, u64, &[Finding]); 22] = [
    (Variant::CountsFromArrival, 60, &[Finding::ByteAfterKill]),
    (
        Variant::RowAfterAnswer,
        0,
        &[Finding::ByteAfterKill, Finding::TwoOwners],
    ),
    (Variant::RevisionReadEarly, 110, &[Finding::ByteAfterKill]),
    (
        Variant::RenewalCountsAtOnce,
        0,
        &[Finding::ByteAfterKill, Finding::ByteAfterAcknowledgement],
    ),
    (
        Variant::AcknowledgesEarly,
        0,
        &[Finding::ByteAfterAcknowledgement],
    ),
    (Variant::NoLookAgain, 0, &[Finding::LateWithinMargin]),
    (Variant::MarginIgnored, 40, &[Finding::LateWithinMargin]),
    (
        Variant::WallClock,
        0,
        &[Finding::ByteAfterKill, Finding::TwoOwners],
    ),
    (
        Variant::MonotonicClock,
        0,
        &[Finding::ByteAfterKill, Finding::TwoOwners],
    ),
    (
        Variant::NumbersFromZero,
        500,
        &[Finding::ByteAfterKill, Finding::TwoOwners],
    ),
    (
        Variant::RebootNotSeen,
        0,
        &[
            Finding::ByteAfterKill,
            Finding::TwoOwners,
            Finding::KillTooSlow,
        ],
    ),
    (Variant::BarrierFollowsRows, 0, &[Finding::KillTooSlow]),
    (Variant::TakesOverEarly, 0, &[Finding::TwoOwners]),
    (Variant::WindowNotEnforced, 0, &[Finding::BudgetExceeded]),
    (
        Variant::UnaccountedNotCharged,
        0,
        &[Finding::BudgetExceeded],
    ),
    (
        Variant::HeadToldBefore,
        0,
        &[Finding::AccountedEarly, Finding::BudgetExceeded],
    ),
    (Variant::ApprovalsKept, 0, &[Finding::ApprovalUsedTwice]),
    (Variant::OwnsAcrossGap, 0, &[Finding::TwoOwners]),
    (
        Variant::HandOverUnbound,
        0,
        &[
            Finding::TwoOwners,
            Finding::BudgetExceeded,
            Finding::ApprovalUsedTwice,
        ],
    ),
    (Variant::IntentNotSynced, 20, &[Finding::RecordLost]),
    (
        Variant::CommitNotSynced,
        0,
        &[Finding::RecordLost, Finding::WentBack],
    ),
    (Variant::OlderStateReplaces, 0, &[Finding::WentBack]),
];

#[test]
fn nothing_is_found_in_the_protocol_and_everything_happens() {
    let mut stats = Stats::default();
    for seed in (0..SEEDS).chain(TELLING_SEEDS) {
        let report = World::run(seed, Variant::Correct, STEPS);
        assert_eq!(
            report.finding, None,
            "seed {}, step {}",
            report.seed, report.stats.steps
        );
        stats.add(&report.stats);
    }
    println!("{stats:?}");
    assert!(stats.steps >= 1_000_000);
    let happened = [
        stats.effects,
        stats.chunks,
        stats.refused,
        stats.kills,
        stats.acknowledged,
        stats.lapsed,
        stats.late,
        stats.overrun,
        stats.handed_over,
        stats.taken_over,
        stats.accounted,
        stats.behind,
        stats.unavailable,
        stats.crashes,
    ];
    assert!(
        happened.iter().all(|count| *count > 10),
        "a world in which nothing happens proves nothing: {stats:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let run = || -> Report { World::run(7, Variant::Correct, STEPS) };
    assert_eq!(format!("{:?}", run()), format!("{:?}", run()));
}

#[test]
fn each_rule_that_is_left_out_is_found() {
    for (variant, from, shows) in BROKEN {
        let mut seeds = from..from + SEEDS_UNTIL_FOUND;
        let found = seeds.find_map(|seed| {
            let report = World::run(seed, variant, STEPS);
            let finding = report.finding.filter(|finding| shows.contains(finding))?;
            Some((seed, report.stats.steps, finding))
        });
        let Some((seed, step, finding)) = found else {
            panic!("{variant:?} was not found in {SEEDS_UNTIL_FOUND} seeds from {from}");
        };
        println!("{variant:?}: {finding:?} with seed {seed} at step {step}");
    }
    let listed: Vec<_> = BROKEN.iter().map(|(variant, ..)| *variant).collect();
    assert_eq!(listed, Variant::BROKEN, "every variant is run");
}
