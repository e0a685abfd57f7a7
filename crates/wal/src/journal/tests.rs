use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::disk::sim::SimDisk;
use crate::frame::GENESIS;
use crate::recover::{OpenError, recover};

const RESERVE: u64 = FRAME_LEN_MAX;
const SMALL: Limits = Limits {
    segment_bytes: 400,
    quota_bytes: u64::MAX,
    reserve_bytes: RESERVE,
    queue_len: 8,
};

type Made = Arc<Mutex<BTreeMap<u64, Vec<u8>>>>;

/// A log on a simulated disk, and what is known about it.
struct Bench {
    disk: SimDisk,
    limits: Limits,
    open: Option<(Journal, Arc<Shared>)>,
    made: Made,
    acknowledged: u64,
    /// Everything before may be gone.
    removed_before: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Batch(Vec<(Class, usize)>),
    /// Removes what comes before this many percent of the head.
    Remove(u64),
    Reopen,
}

impl Bench {
    fn new(disk: SimDisk, limits: Limits) -> Self {
        let made = Made::default();
        Self {
            disk,
            limits,
            open: None,
            made,
            acknowledged: 0,
            removed_before: 0,
        }
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        let opened = recover(Arc::new(self.disk.clone()), &self.limits)?;
        self.open = Some(Journal::new(opened, self.limits));
        Ok(())
    }

    /// Appends a batch; the answers, and whether the log still runs.
    fn append(&mut self, records: &[(Class, usize)]) -> (Vec<Result<u64, AppendError>>, bool) {
        let (journal, _) = self.open.as_mut().unwrap();
        let mut answers = Vec::new();
        let jobs: Vec<_> = records
            .iter()
            .map(|(class, len)| {
                let (reply, answer) = oneshot::channel();
                answers.push(answer);
                Job {
                    class: *class,
                    make: make(Arc::clone(&self.made), *len),
                    reply,
                }
            })
            .collect();
        let runs = journal.run(jobs).is_ok();
        let answers: Vec<_> = answers
            .into_iter()
            .map(|mut answer| answer.try_recv().unwrap())
            .collect();
        for seq in answers.iter().flatten() {
            assert!(*seq > self.acknowledged, "numbers rise");
            self.acknowledged = *seq;
        }
        (answers, runs)
    }

    /// Runs the plan until it ends or the disk fails.
    fn run(&mut self, plan: &[Step]) {
        if self.reopen().is_err() {
            return;
        }
        for step in plan {
            let goes_on = match step {
                Step::Batch(records) => self.append(records).1,
                Step::Remove(percent) => {
                    let before = self.acknowledged * percent / 100;
                    self.removed_before = self.removed_before.max(before);
                    let (_, shared) = self.open.as_ref().unwrap();
                    shared.remove_before(before).is_ok()
                }
                Step::Reopen => self.reopen().is_ok(),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Opens what is left on `disk` and compares it with what was promised; then goes on writing.
    fn check(&self, disk: SimDisk) -> Self {
        let mut after = Self::new(disk, self.limits);
        after.reopen().unwrap();
        let (_, shared) = after.open.as_ref().unwrap();
        let head = *shared.head.borrow();
        assert!(
            head.seq >= self.acknowledged,
            "an acknowledged record is missing"
        );
        let first = shared.segments().front().unwrap().first;
        assert!(
            first <= self.removed_before.max(1),
            "a record is missing at the front"
        );
        let records = shared.read_from(first, usize::MAX / 2).unwrap();
        let mut last = Head {
            seq: first - 1,
            digest: GENESIS,
        };
        for (seq, payload) in &records {
            assert_eq!(*seq, last.seq + 1, "no gap");
            assert_eq!(payload[..8], seq.to_be_bytes());
            if *seq > first {
                assert_eq!(payload[8..40], *last.digest.as_bytes(), "the chain holds");
            }
            assert_eq!(
                Some(payload),
                self.made.lock().unwrap().get(seq),
                "nothing is changed"
            );
            last = Head {
                seq: *seq,
                digest: sha256(payload),
            };
        }
        if !records.is_empty() {
            assert_eq!(last, head);
        }
        *after.made.lock().unwrap() = self.made.lock().unwrap().clone();
        after.removed_before = self.removed_before;
        after.acknowledged = head.seq;
        let (answers, _) = after.append(&[(Class::Intent, 50), (Class::Outcome, 0)]);
        assert_eq!(answers, [Ok(head.seq + 1), Ok(head.seq + 2)]);
        after
    }
}

/// A payload with its number, the digest before it and filling.
fn make(made: Made, len: usize) -> Make {
    Box::new(move |seq, prev| {
        let mut payload = seq.to_be_bytes().to_vec();
        payload.extend_from_slice(prev.as_bytes());
        payload.extend((0..len).map(|at| at.to_le_bytes()[0] ^ seq.to_le_bytes()[0]));
        made.lock().unwrap().insert(seq, payload.clone());
        payload
    })
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        Just(Class::Intent),
        Just(Class::Outcome),
        Just(Class::Denial)
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec((class(), 0..150_usize), 0..5).prop_map(Step::Batch),
        1 => (0..=110_u64).prop_map(Step::Remove),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_was_acknowledged_survives_a_crash_at_any_operation(
        plan in prop::collection::vec(step(), 1..12),
        seed in any::<u64>(),
    ) {
        let mut bench = Bench::new(SimDisk::default(), SMALL);
        bench.run(&plan);
        let operations = bench.disk.done();
        for at in 0..=operations {
            let mut bench = Bench::new(SimDisk::default(), SMALL);
            bench.disk.crash_after(at);
            bench.run(&plan);
            for luck in 0..3 {
                let again = bench.check(bench.disk.after_power_loss(seed.wrapping_add(luck)));
                again.check(again.disk.after_power_loss(seed ^ luck));
            }
            // A killed process leaves its unsynced writes in the system's memory: whatever the next
            // one found there must survive a power loss that follows.
            let next = bench.check(bench.disk.after_kill());
            next.check(next.disk.after_power_loss(seed));
        }
    }

    #[test]
    fn damage_to_what_a_later_batch_follows_is_refused(
        sizes in prop::collection::vec(0..150_usize, 3..12),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let mut bench = Bench::new(SimDisk::default(), SMALL);
        bench.reopen().unwrap();
        for size in sizes {
            bench.append(&[(Class::Intent, size)]);
        }
        let files = bench.disk.files();
        let (last, _) = files.last_key_value().unwrap();
        let segment = bench.open.as_ref().unwrap().1.segments().back().unwrap().clone();
        // Everything but the last frame, which could be torn.
        let start = last_frame(&files[last], &segment);
        let places: Vec<_> = files
            .iter()
            .flat_map(|(name, bytes)| {
                let end = if name == last { start } else { bytes.len() };
                (0..end).map(move |at| (name.clone(), at))
            })
            .collect();
        let (name, at) = &places[at.index(places.len())];
        bench.disk.edit(name, |bytes| bytes[*at] ^= flip);
        let found = recover(Arc::new(bench.disk.clone()), &SMALL).err();
        let refused = matches!(found, Some(OpenError::Corrupt { .. } | OpenError::Gap { .. }));
        prop_assert!(refused, "{name} {at}: {found:?}");
    }
}

/// Where the last frame of a segment begins.
fn last_frame(bytes: &[u8], segment: &crate::shared::Segment) -> usize {
    let (mut at, mut seq, mut last) = (HEADER_LEN, segment.first, HEADER_LEN);
    while let Some(frame) = Frame::decode(&bytes[at..], segment.salt, seq) {
        last = at;
        at += frame.len();
        seq += 1;
    }
    last
}

#[test]
fn a_missing_segment_is_refused() {
    let mut bench = Bench::new(SimDisk::default(), SMALL);
    bench.reopen().unwrap();
    for _ in 0..20 {
        bench.append(&[(Class::Intent, 100)]);
    }
    let names: Vec<_> = bench.disk.files().into_keys().collect();
    assert!(names.len() > 3);
    crate::disk::Disk::remove(&bench.disk, &names[1]).unwrap();
    let found = recover(Arc::new(bench.disk.clone()), &SMALL).err();
    assert!(matches!(found, Some(OpenError::Gap { .. })), "{found:?}");
}

#[test]
fn a_torn_last_frame_is_cut_and_reported() {
    let mut bench = Bench::new(SimDisk::default(), SMALL);
    bench.reopen().unwrap();
    bench.append(&[(Class::Intent, 10), (Class::Intent, 10)]);
    let name = bench.disk.files().into_keys().next().unwrap();
    bench
        .disk
        .edit(&name, |bytes| bytes.truncate(bytes.len() - 3));
    let opened = recover(Arc::new(bench.disk.clone()), &SMALL).unwrap();
    assert_eq!(opened.torn_bytes, 20 + 50 - 3);
    assert_eq!(opened.shared.head.borrow().seq, 1);
}

#[test]
fn a_failed_sync_poisons_and_what_it_left_is_not_believed() {
    let mut bench = Bench::new(SimDisk::default(), SMALL);
    bench.reopen().unwrap();
    bench.append(&[(Class::Intent, 10)]);
    bench.disk.fail_sync(true);
    let (answers, runs) = bench.append(&[(Class::Intent, 10), (Class::Outcome, 10)]);
    assert!(!runs);
    let poisoned =
        |answer: &Result<u64, AppendError>| matches!(answer, Err(AppendError::Poisoned(_)));
    assert!(answers.iter().all(poisoned), "{answers:?}");
    let opened = recover(Arc::new(bench.disk.after_kill()), &SMALL).unwrap();
    assert_eq!(opened.shared.head.borrow().seq, 1);
}

#[test]
fn a_full_disk_refuses_intents_and_denials_but_takes_outcomes() {
    let mut bench = Bench::new(SimDisk::default(), SMALL);
    bench.reopen().unwrap();
    bench.append(&[(Class::Intent, 10)]);
    bench.disk.set_capacity(Some(bench.disk.used()));
    let mut last = Ok(0);
    while last.is_ok() {
        last = bench.append(&[(Class::Intent, 200_000)]).0[0].clone();
    }
    assert_eq!(last, Err(AppendError::Full));
    let head = bench.acknowledged;
    let mixed = [
        (Class::Denial, 200_000),
        (Class::Outcome, 300_000),
        (Class::Intent, 200_000),
    ];
    let (answers, runs) = bench.append(&mixed);
    assert!(runs);
    assert_eq!(
        answers,
        [Err(AppendError::Full), Ok(head + 1), Err(AppendError::Full)]
    );
    // Even a process that starts on the full disk can write outcomes.
    bench.reopen().unwrap();
    assert_eq!(bench.append(&[(Class::Outcome, 300_000)]).0, [Ok(head + 2)]);
    // The reserve ends, too, without a write that fails.
    let (answers, runs) = bench.append(&[(Class::Outcome, 900_000)]);
    assert!(runs);
    assert_eq!(answers, [Err(AppendError::Full)]);
    bench.disk.set_capacity(None);
    assert_eq!(bench.append(&[(Class::Intent, 10)]).0, [Ok(head + 3)]);
}

#[test]
fn the_quota_keeps_its_reserve_for_outcomes_and_removal_frees_it() {
    let limits = Limits {
        quota_bytes: 400 + 2 * RESERVE,
        ..SMALL
    };
    let mut bench = Bench::new(SimDisk::default(), limits);
    bench.reopen().unwrap();
    let mut last = Ok(0);
    while last.is_ok() {
        last = bench.append(&[(Class::Intent, 100_000)]).0[0].clone();
    }
    assert_eq!(last, Err(AppendError::Full));
    let head = bench.acknowledged;
    assert_eq!(head, 10);
    assert_eq!(bench.append(&[(Class::Outcome, 100_000)]).0, [Ok(head + 1)]);
    bench.open.as_ref().unwrap().1.remove_before(head).unwrap();
    assert_eq!(bench.append(&[(Class::Intent, 100_000)]).0, [Ok(head + 2)]);
}

#[test]
fn a_log_on_the_smallest_quota_is_never_full_for_ever() {
    let limits = Limits {
        segment_bytes: 500_000,
        quota_bytes: 500_000 + 2 * RESERVE,
        ..SMALL
    };
    let mut bench = Bench::new(SimDisk::default(), limits);
    bench.reopen().unwrap();
    for _ in 0..40 {
        let answers = bench.append(&[(Class::Intent, 300_000)]).0;
        if answers == [Err(AppendError::Full)] {
            // What was shipped is removed, the segment being written excepted.
            bench
                .open
                .as_ref()
                .unwrap()
                .1
                .remove_before(u64::MAX)
                .unwrap();
            assert!(bench.append(&[(Class::Intent, 300_000)]).0[0].is_ok());
        }
    }
    assert!(bench.acknowledged >= 40);
}

#[test]
fn a_record_that_is_too_long_is_refused_alone() {
    let mut bench = Bench::new(SimDisk::default(), SMALL);
    bench.reopen().unwrap();
    let long = PAYLOAD_LEN_MAX + 1;
    let (answers, _) = bench.append(&[
        (Class::Intent, long - 40),
        (Class::Intent, long - 41),
        (Class::Intent, 1),
    ]);
    assert_eq!(
        answers,
        [Err(AppendError::TooLong { len: long }), Ok(1), Ok(2)]
    );
}

#[test]
fn reading_begins_anywhere_and_ends_with_the_durable_part() {
    let mut bench = Bench::new(
        SimDisk::default(),
        Limits {
            segment_bytes: 200_000,
            ..SMALL
        },
    );
    bench.reopen().unwrap();
    for _ in 0..40 {
        bench.append(&[(Class::Intent, 5_000), (Class::Intent, 9_000)]);
    }
    let shared = Arc::clone(&bench.open.as_ref().unwrap().1);
    let made = bench.made.lock().unwrap().clone();
    for seq in 0..=80 {
        for max in [0, 5_100, 100_000] {
            let found = shared.read_from(seq, max).unwrap();
            let expected: Vec<_> = made
                .range(seq.max(1)..)
                .take(found.len())
                .map(|(seq, payload)| (*seq, payload.clone()))
                .collect();
            assert!(!found.is_empty(), "{seq} {max}");
            assert_eq!(found, expected);
            let bytes: usize = found.iter().map(|(_, payload)| payload.len()).sum();
            assert!(found.len() == 1 || bytes <= max, "{seq} {max}");
            let next = made
                .get(&(found.last().unwrap().0 + 1))
                .map_or(max, Vec::len);
            assert!(bytes + next >= max, "{seq} {max}: more would fit");
        }
    }
    assert!(shared.read_from(81, 1000).unwrap().is_empty());
    shared.remove_before(60).unwrap();
    let first = shared.segments().front().unwrap().first;
    assert!(first > 1 && first <= 60);
    assert!(matches!(
        shared.read_from(first - 1, 1),
        Err(crate::ReadError::Removed { first: found, .. }) if found == first
    ));
    assert_eq!(shared.read_from(first, 1).unwrap()[0].0, first);
    shared.remove_before(u64::MAX).unwrap();
    assert_eq!(shared.segments().len(), 1);
}

#[test]
fn limits_without_room_are_refused() {
    for limits in [
        Limits {
            quota_bytes: RESERVE,
            ..SMALL
        },
        Limits {
            reserve_bytes: RESERVE - 1,
            ..SMALL
        },
        Limits {
            queue_len: 0,
            ..SMALL
        },
    ] {
        let found = recover(Arc::new(SimDisk::default()), &limits).err();
        assert!(matches!(found, Some(OpenError::Limits)), "{limits:?}");
    }
}
