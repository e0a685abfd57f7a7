use super::*;

const MINE: Id<Gateway> = Id::from_u128(1);
const OTHER: Id<Gateway> = Id::from_u128(2);
const THIRD: Id<Gateway> = Id::from_u128(3);
const NEXT: Revision = Revision::new(9);

fn lost(gateway: Id<Gateway>, uses: u32, since: u64) -> Unaccounted {
    let since = Revision::new(since);
    Unaccounted {
        gateway,
        uses,
        since,
    }
}

fn row(gateway: Id<Gateway>, epoch: u64, released: bool, window: u32) -> TreeOwner {
    TreeOwner {
        task: Id::from_u128(7),
        gateway,
        epoch,
        released,
        window,
        unaccounted: Vec::new(),
    }
}

fn decide(row: Option<&TreeOwner>, [lease_ended, summed]: [bool; 2]) -> Verdict {
    let owner = row.map(|row| Owner {
        row,
        lease_ended,
        summed,
    });
    let claim = Claim {
        claimant: MINE,
        task: Id::from_u128(7),
        window: 4,
        next: NEXT,
        owner,
    };
    claim.decide()
}

fn granted(epoch: u64, before: bool, window: u32) -> Verdict {
    Verdict::Granted(Ownership {
        row: row(MINE, epoch, false, window),
        before,
        taken_from: None,
    })
}

fn taken(unaccounted: Vec<Unaccounted>) -> Verdict {
    Verdict::Granted(Ownership {
        row: TreeOwner {
            unaccounted,
            ..row(MINE, 5, false, 4)
        },
        before: false,
        taken_from: Some(OTHER),
    })
}

#[test]
fn a_claim_is_decided_by_release_owner_lease_and_limits_in_this_order() {
    let elsewhere = Verdict::Owner {
        gateway: OTHER,
        epoch: 4,
    };
    let none = |why| Verdict::Unavailable { why };
    let gateway = OTHER;
    let (t, f) = (true, false);
    let cases = [
        (None, [f, f], granted(1, false, 4)),
        (Some(row(MINE, 4, f, 2)), [f, t], granted(5, true, 4)),
        (Some(row(MINE, 4, f, 6)), [t, t], granted(5, true, 6)),
        (Some(row(MINE, 4, t, 6)), [f, t], granted(5, false, 4)),
        (Some(row(OTHER, 4, t, 6)), [f, t], granted(5, false, 4)),
        (Some(row(OTHER, 4, f, 6)), [f, f], elsewhere),
        (
            Some(row(OTHER, 4, f, 6)),
            [t, f],
            taken(vec![lost(OTHER, 6, 9)]),
        ),
        (
            Some(row(OTHER, 4, f, 6)),
            [t, t],
            none(Unavailable::SumUnknown { gateway }),
        ),
        (
            Some(row(OTHER, 4, f, 0)),
            [t, f],
            none(Unavailable::NoWindow { gateway }),
        ),
    ];
    for (owner, flags, verdict) in cases {
        assert_eq!(decide(owner.as_ref(), flags), verdict, "{owner:?}");
    }
}

#[test]
fn what_is_unaccounted_for_adds_up_and_stays_through_every_change_of_owner() {
    let with = |mut row: TreeOwner, unaccounted: &[Unaccounted]| {
        row.unaccounted = unaccounted.to_vec();
        row
    };
    let before = [lost(OTHER, 3, 5), lost(THIRD, 2, 6)];
    let taken_again = decide(Some(&with(row(OTHER, 4, false, 6), &before)), [true, false]);
    assert_eq!(
        taken_again,
        taken(vec![lost(OTHER, 9, 9), lost(THIRD, 2, 6)])
    );
    for (gateway, released) in [(MINE, false), (MINE, true), (OTHER, true)] {
        let row = with(row(gateway, 4, released, 6), &before);
        let Verdict::Granted(ownership) = decide(Some(&row), [false, false]) else {
            panic!("{row:?}")
        };
        assert_eq!(ownership.row.unaccounted, before);
    }
    let many: Vec<_> = (0..UNACCOUNTED_MAX)
        .map(|n| lost(Id::from_u128(100 + n as u128), 1, 1))
        .collect();
    let full = decide(Some(&with(row(OTHER, 4, false, 6), &many)), [true, false]);
    let why = Unavailable::TooManyLost;
    assert_eq!(full, Verdict::Unavailable { why });
}

#[test]
fn a_window_is_an_eighth_of_the_least_limit_and_one_to_sixteen() {
    let cases = [
        (None, 16),
        (Some(1), 1),
        (Some(15), 1),
        (Some(16), 2),
        (Some(127), 15),
        (Some(128), 16),
        (Some(u64::MAX), 16),
    ];
    for (least, width) in cases {
        assert_eq!(window(least), width, "{least:?}");
    }
}

#[test]
fn only_a_head_read_after_the_take_over_and_reached_accounts_for_a_gateway() {
    let entry = lost(OTHER, 1, 9);
    let told = |in_force, head| Told {
        in_force: Revision::new(in_force),
        head,
    };
    assert!(told(9, 20).accounts_for(&entry, 20));
    assert!(told(10, 20).accounts_for(&entry, 21));
    assert!(!told(9, 20).accounts_for(&entry, 19));
    assert!(!told(8, 20).accounts_for(&entry, 99));
}
