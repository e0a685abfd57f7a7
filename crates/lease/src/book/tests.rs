use std::time::Duration;

use aims_types::Id;

use super::*;

const POINT: Point = Point::Gateway(Id::from_u128(1));
const OTHER: Point = Point::Node(Id::from_u128(1));

fn at(millis: u64) -> BootTime {
    BootTime::from_nanos(millis * 1_000_000)
}

fn rev(number: u64) -> Revision {
    Revision::new(number)
}

fn book(boot: &str, started: u64) -> Book {
    Book::new(Terms::default(), boot, at(started))
}

#[test]
fn a_row_ends_a_whole_lease_and_the_margin_after_the_grant() {
    let book = book("a", 0);
    let row = book.grant(POINT, at(1_000), rev(2), None);
    assert_eq!(book.end(&row), at(6_500));
    assert!(!book.has_ended(&row, at(6_499)) && book.has_ended(&row, at(6_500)));
}

#[test]
fn a_server_that_starts_again_uses_the_row_and_after_a_reboot_waits_a_whole_lease() {
    let row = book("a", 0).grant(POINT, at(1_000), rev(2), None);
    assert_eq!(book("a", 4_000).end(&row), at(6_500));
    assert_eq!(book("b", 40).end(&row), at(5_540));
}

#[test]
fn a_shorter_lease_does_not_hide_a_longer_one_that_still_counts() {
    let long = Terms::new(Duration::from_mins(1), Duration::from_secs(1)).unwrap();
    let earlier = Book::new(long, "a", at(0)).grant(POINT, at(0), rev(7), None);
    let row = book("a", 500).grant(POINT, at(1_000), rev(2), Some(&earlier));
    assert_eq!(row.until, at(61_000).nanos());
    assert_eq!(
        row.acknowledged,
        rev(7),
        "an acknowledgement is not taken back"
    );
}

#[test]
fn each_point_is_acknowledged_lapsed_or_waited_for() {
    let book = book("a", 0);
    let rows = [
        book.grant(POINT, at(0), rev(3), None),
        book.grant(OTHER, at(1_000), rev(2), None),
    ];
    let cases = [
        (
            3,
            100,
            Standing::Acknowledged { at: at(100) },
            Standing::Waiting { until: at(6_500) },
        ),
        (
            4,
            5_499,
            Standing::Waiting { until: at(5_500) },
            Standing::Waiting { until: at(6_500) },
        ),
        (
            4,
            6_500,
            Standing::Lapsed { at: at(5_500) },
            Standing::Lapsed { at: at(6_500) },
        ),
    ];
    for (revision, now, first, second) in cases {
        let pending = book.pending(&rows, rev(revision), at(now));
        assert_eq!(pending[&POINT], first);
        assert_eq!(pending[&OTHER], second);
        let barrier = Barrier::new(&book, &rows, rev(revision), at(now));
        assert_eq!(
            barrier.standings(at(now)).collect::<BTreeMap<_, _>>(),
            pending
        );
    }
}

#[test]
fn a_kill_is_over_when_each_point_has_acknowledged_or_lapsed() {
    let book = book("a", 0);
    let rows = [
        book.grant(POINT, at(0), rev(3), None),
        book.grant(OTHER, at(1_000), rev(2), None),
    ];
    let mut barrier = Barrier::new(&book, &rows, rev(4), at(1_100));
    assert_eq!(barrier.wakes_at(at(1_100)), Some(at(5_500)));
    barrier.acknowledged(POINT, rev(3), at(1_200));
    assert!(!barrier.is_over(at(1_200)));
    barrier.acknowledged(POINT, rev(4), at(1_300));
    barrier.acknowledged(Point::Gateway(Id::from_u128(9)), rev(4), at(1_300));
    assert_eq!(barrier.wakes_at(at(1_300)), Some(at(6_500)));
    assert!(!barrier.is_over(at(6_499)) && barrier.is_over(at(6_500)));
    barrier.acknowledged(OTHER, rev(9), at(7_000));
    let standings: BTreeMap<_, _> = barrier.standings(at(7_000)).collect();
    assert_eq!(standings[&POINT], Standing::Acknowledged { at: at(1_300) });
    assert_eq!(standings[&OTHER], Standing::Lapsed { at: at(6_500) });
}

#[test]
fn a_lease_granted_after_the_cut_off_does_not_prolong_the_wait() {
    let book = book("a", 0);
    let row = book.grant(POINT, at(0), rev(3), None);
    let barrier = Barrier::new(&book, [&row], rev(4), at(100));
    let _renewed = book.grant(POINT, at(4_000), rev(3), Some(&row));
    assert!(barrier.is_over(at(5_500)));
}
