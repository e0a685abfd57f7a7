use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> BootTime {
    BootTime::from_nanos(millis * 1_000_000)
}

fn granted(revision: u64) -> Granted {
    timed(revision, 1_000_000)
}

fn timed(revision: u64, millis: u64) -> Granted {
    Granted {
        length: Duration::from_secs(5),
        revision: Revision::new(revision),
        server_time: Timestamp::from_unix_millis(millis),
    }
}

fn holder() -> Holder {
    Holder::new(Terms::default(), 100)
}

fn rev(number: u64) -> Revision {
    Revision::new(number)
}

#[test]
fn a_lease_counts_from_before_the_request_less_the_margin() {
    let mut h = holder();
    assert_eq!(h.holds(at(0), rev(9)), Err(NotHeld::NeverGranted));
    let ask = h.ask(at(1_000));
    assert_eq!(h.granted(ask.number, granted(3), at(4_000)), Ok(at(5_500)));
    assert!(h.holds(at(5_499), rev(3)).is_ok());
    let ago = Duration::from_millis(7);
    assert_eq!(h.holds(at(5_507), rev(3)), Err(NotHeld::RanOut { ago }));
}

#[test]
fn an_answer_that_arrives_after_the_end_of_its_lease_counts_for_nothing() {
    let mut h = holder();
    let ask = h.ask(at(0));
    assert_eq!(
        h.granted(ask.number, granted(3), at(4_500)),
        Err(Ignored::TooLate)
    );
    assert_eq!((h.until(), h.wall(at(4_500))), (None, None));
}

#[test]
fn an_answer_counts_once_for_its_own_request_and_not_after_a_later_one() {
    let mut h = holder();
    let (a, b) = (h.ask(at(0)), h.ask(at(100)));
    assert_eq!(h.granted(7, granted(1), at(200)), Err(Ignored::Unknown));
    assert!(h.granted(b.number, granted(1), at(200)).is_ok());
    for late in [a.number, b.number] {
        assert_eq!(h.granted(late, granted(1), at(201)), Err(Ignored::Unknown));
    }
    assert_eq!(h.until(), Some(at(4_600)));
}

#[test]
fn an_answer_to_an_earlier_process_counts_for_nothing() {
    let mut old = Holder::new(Terms::default(), 100);
    let mut new = Holder::new(Terms::default(), 7_000);
    let ask = old.ask(at(0));
    let _asked = new.ask(at(50));
    assert_eq!(
        new.granted(ask.number, granted(1), at(60)),
        Err(Ignored::Unknown)
    );
}

#[test]
fn a_renewal_counts_when_its_revision_is_in_force_and_the_earlier_lease_meanwhile() {
    let mut h = holder();
    let first = h.ask(at(0));
    h.granted(first.number, granted(3), at(10)).unwrap();
    let second = h.ask(at(1_000));
    h.granted(second.number, granted(5), at(1_010)).unwrap();
    assert_eq!(h.holds(at(4_000), rev(4)).unwrap().until(), at(4_500));
    assert_eq!(
        h.holds(at(4_500), rev(4)),
        Err(NotHeld::Behind { needs: rev(5) })
    );
    assert_eq!(h.holds(at(4_500), rev(5)).unwrap().until(), at(5_500));
    assert_eq!(
        h.holds(at(4_000), rev(2)),
        Err(NotHeld::Behind { needs: rev(3) })
    );
}

#[test]
fn what_starts_needs_the_margin_left_and_an_overrun_is_seen() {
    let mut h = holder();
    let ask = h.ask(at(0));
    h.granted(ask.number, granted(1), at(1)).unwrap();
    let held = h.clears(at(4_000), rev(1)).unwrap();
    let overrun = |h: &Holder, after| h.overrun(held, at(after), rev(1));
    assert_eq!(overrun(&h, 4_499), None);
    assert_eq!(overrun(&h, 4_510), Some(Duration::from_millis(10)));
    let left = Duration::from_millis(499);
    assert_eq!(h.clears(at(4_001), rev(1)), Err(NotHeld::TooShort { left }));
    let renewed = h.ask(at(4_400));
    h.granted(renewed.number, granted(1), at(4_450)).unwrap();
    assert_eq!(
        overrun(&h, 4_510),
        None,
        "the lease was renewed without a gap"
    );
    let anew = h.ask(at(9_000));
    h.granted(anew.number, granted(1), at(9_001)).unwrap();
    assert!(overrun(&h, 9_002).is_some(), "there was a gap");
}

#[test]
fn a_gap_starts_a_new_term_and_a_renewal_in_time_does_not() {
    let mut h = holder();
    let mut terms = Vec::new();
    for sent in [0, 3_000, 7_000, 12_000, 12_100] {
        let ask = h.ask(at(sent));
        h.granted(ask.number, granted(1), at(sent + 5)).unwrap();
        terms.push(h.holds(at(sent + 5), rev(1)).unwrap().term());
    }
    assert_eq!(terms, [1, 1, 1, 2, 2]);
}

#[test]
fn server_time_goes_on_with_boot_time_and_never_back() {
    let mut h = holder();
    assert_eq!(h.wall(at(0)), None);
    let a = h.ask(at(0));
    h.granted(a.number, timed(1, 50_000), at(900)).unwrap();
    assert_eq!(h.wall(at(1_000)).unwrap().unix_millis(), 51_000);
    // The server's clock was set back: time stands still here until the server has caught up.
    let b = h.ask(at(1_000));
    h.granted(b.number, timed(1, 40_000), at(1_000)).unwrap();
    assert_eq!(h.wall(at(5_000)).unwrap().unix_millis(), 51_000);
    assert_eq!(h.wall(at(12_500)).unwrap().unix_millis(), 51_500);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut h = holder();
    let first = h.ask(at(0));
    for n in 0..100 {
        let ask = h.ask(at(n));
        h.granted(ask.number, granted(n), at(n)).unwrap();
        let _unanswered = h.ask(at(n));
    }
    assert!(h.asked.len() <= ASKS_MAX && h.leases.len() <= LEASES_MAX);
    assert!(h.granted(first.number, granted(0), at(100)).is_err());
}

#[derive(Debug, Clone)]
enum Step {
    Ask,
    Answer {
        back: usize,
        revision: u64,
        length: u64,
    },
    Pass {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Ask),
        (0..6_usize, 0..5_u64, 1_000..6_000_u64).prop_map(|(back, revision, length)| {
            Step::Answer {
                back,
                revision,
                length,
            }
        }),
        (0..2_000_u64).prop_map(|millis| Step::Pass { millis }),
    ]
}

proptest! {
    /// Against the plain statement: a lease is held if some answer to some request, counted when
    /// it arrived, needs no more than what is in force and has not ended.
    #[test]
    fn held_is_what_the_counted_answers_say(steps in prop::collection::vec(step(), 0..60)) {
        let mut h = holder();
        let mut now = 0;
        let mut sent: Vec<(u64, u64)> = Vec::new();
        let mut counted: Vec<(BootTime, Revision)> = Vec::new();
        for step in steps {
            match step {
                Step::Ask => sent.push((h.ask(at(now)).number, now)),
                Step::Pass { millis } => now += millis,
                Step::Answer { back, revision, length } => {
                    let Some((number, when)) = sent.iter().rev().nth(back).copied() else { continue };
                    let answer = Granted {
                        length: Duration::from_millis(length),
                        ..granted(revision)
                    };
                    if let Ok(until) = h.granted(number, answer, at(now)) {
                        prop_assert_eq!(until, at(when + length - 500));
                        counted.push((until, rev(revision)));
                    }
                }
            }
            for in_force in (0..5).map(rev) {
                let best = counted.iter().filter(|(until, needs)| *until > at(now) && *needs <= in_force);
                let best = best.map(|(until, _)| *until).max();
                prop_assert_eq!(h.holds(at(now), in_force).ok().map(|held| held.until()), best);
            }
        }
    }
}
