use std::sync::mpsc;

use proptest::prelude::*;

use super::*;
use crate::disk::sim::SimDisk;
use crate::frame::GENESIS;
use crate::journal::Make;

fn chained(text: &str) -> Make {
    let text = text.to_owned();
    Box::new(move |seq, prev| format!("{seq} {} {text}", prev.to_hex()).into_bytes())
}

fn assert_chain(records: impl IntoIterator<Item = (u64, Vec<u8>)>) -> u64 {
    let mut last = (0, GENESIS);
    for (seq, payload) in records {
        let start = format!("{} {} ", last.0 + 1, last.1.to_hex());
        assert!(payload.starts_with(start.as_bytes()), "{seq}");
        last = (seq, aims_crypto::sha256(&payload));
    }
    last.0
}

#[test]
fn records_of_many_threads_form_one_chain_and_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        segment_bytes: 4096,
        ..Limits::default()
    };
    let (wal, recovered) = Wal::open(dir.path(), limits).unwrap();
    assert_eq!((recovered.first(), recovered.head()), (1, Head::EMPTY));
    assert_eq!(recovered.records().count(), 0);
    for n in 0..20 {
        assert_eq!(
            wal.append(Class::Intent, chained(&"x".repeat(500))).wait(),
            Ok(n + 1)
        );
    }
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let wal = &wal;
            scope.spawn(move || {
                let append = |n| wal.append(Class::Intent, chained(&format!("{thread} {n}")));
                let tickets: Vec<_> = (0..50).map(append).collect();
                let mut last = 0;
                for ticket in tickets {
                    let seq = ticket.wait().unwrap();
                    assert!(seq > last && wal.head().seq >= seq);
                    last = seq;
                }
            });
        }
    });
    let head = wal.head();
    assert_eq!(assert_chain(wal.read_from(1, usize::MAX / 2).unwrap()), 220);
    wal.close().unwrap();
    drop((wal, recovered));
    let (wal, recovered) = Wal::open(dir.path(), limits).unwrap();
    assert_eq!(
        (wal.head(), recovered.head(), recovered.torn_bytes()),
        (head, head, 0)
    );
    assert_eq!(assert_chain(recovered.records().map(Result::unwrap)), 220);
    wal.remove_before(18).unwrap();
    drop((wal, recovered));
    let (_, recovered) = Wal::open(dir.path(), limits).unwrap();
    assert!(recovered.first() > 1 && recovered.first() <= 18);
    assert_eq!(recovered.head(), head);
}

#[test]
fn a_directory_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, recovered) = Wal::open(dir.path(), Limits::default()).unwrap();
    let second = Wal::open(dir.path(), Limits::default()).err();
    let locked = crate::DirLocked::InUse {
        dir: dir.path().to_owned(),
    };
    assert_eq!(second.unwrap().to_string(), locked.to_string());
    drop((wal, recovered));
    assert!(Wal::open(dir.path(), Limits::default()).is_ok());
}

#[test]
fn closing_writes_what_waits_and_refuses_what_comes_later() {
    let disk = SimDisk::default();
    let (wal, _) = Wal::open_on(Arc::new(disk.clone()), Limits::default()).unwrap();
    let tickets: Vec<_> = (0..20)
        .map(|_| wal.append(Class::Denial, chained("x")))
        .collect();
    assert_eq!(wal.close(), Ok(()));
    let late = wal.append(Class::Outcome, chained("late")).wait();
    assert_eq!(late, Err(AppendError::Closed));
    let answers: Vec<_> = tickets.into_iter().map(AppendTicket::wait).collect();
    assert_eq!(answers, (1..=20).map(Ok).collect::<Vec<_>>());
    let after = Arc::new(disk.after_power_loss(1));
    let (_, recovered) = Wal::open_on(after, Limits::default()).unwrap();
    assert_eq!(recovered.head().seq, 20);
}

#[test]
fn a_full_queue_refuses_but_outcomes_have_room() {
    let limits = Limits {
        queue_len: 2,
        ..Limits::default()
    };
    let (wal, _) = Wal::open_on(Arc::new(SimDisk::default()), limits).unwrap();
    let (entered, writer_entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let held = wal.append(Class::Intent, move |_, _| {
        entered.send(()).unwrap();
        released.recv().unwrap();
        Vec::new()
    });
    writer_entered.recv().unwrap();
    let append = |class| wal.append(class, |_, _| Vec::new());
    let waiting = [append(Class::Intent), append(Class::Denial)];
    assert_eq!(append(Class::Intent).wait(), Err(AppendError::Busy));
    let outcomes = [append(Class::Outcome), append(Class::Outcome)];
    assert_eq!(append(Class::Outcome).wait(), Err(AppendError::Busy));
    release.send(()).unwrap();
    let answers: Vec<_> = [held]
        .into_iter()
        .chain(waiting)
        .chain(outcomes)
        .map(AppendTicket::wait)
        .collect();
    assert_eq!(answers, [Ok(1), Ok(2), Ok(3), Ok(4), Ok(5)]);
}

#[tokio::test]
async fn a_failed_sync_stops_the_log_for_good_and_tells() {
    let disk = SimDisk::default();
    let (wal, _) = Wal::open_on(Arc::new(disk.clone()), Limits::default()).unwrap();
    let mut heads = wal.watch_head();
    let mut poisoned = wal.poisoned();
    assert_eq!(wal.append(Class::Intent, chained("good")).await, Ok(1));
    assert_eq!(
        heads
            .wait_for(|head| head.seq == 1)
            .await
            .map(|head| *head)
            .unwrap(),
        wal.head()
    );
    disk.fail_sync(true);
    let lost = wal.append(Class::Intent, chained("lost")).await;
    assert!(matches!(lost, Err(AppendError::Poisoned(_))), "{lost:?}");
    let why = poisoned
        .wait_for(Option::is_some)
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert!(
        why.to_string().contains("syncing failed: sync failed"),
        "{why}"
    );
    disk.fail_sync(false);
    let refused = wal.append(Class::Outcome, chained("refused")).await;
    assert_eq!(refused, Err(AppendError::Poisoned(why.clone())));
    assert_eq!(wal.head().seq, 1);
    assert_eq!(wal.close(), Err(why));
}

#[test]
fn a_panic_of_the_writer_poisons_the_log() {
    let (wal, _) = Wal::open_on(Arc::new(SimDisk::default()), Limits::default()).unwrap();
    let lost = wal.append(Class::Intent, |_, _| panic!("a record that cannot be made"));
    assert!(matches!(lost.wait(), Err(AppendError::Poisoned(_))));
    assert!(wal.close().is_err());
    assert!(matches!(
        wal.append(Class::Outcome, chained("late")).wait(),
        Err(AppendError::Poisoned(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_crash_under_concurrent_appends_loses_nothing_acknowledged(
        operations in 0..60_u64,
        seed in any::<u64>(),
    ) {
        let disk = SimDisk::default();
        let limits = Limits { segment_bytes: 500, ..Limits::default() };
        let (wal, _) = Wal::open_on(Arc::new(disk.clone()), limits).unwrap();
        disk.crash_after(operations);
        let acknowledged = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let append = |_| wal.append(Class::Intent, chained("x")).wait();
                        (0..12).map_while(|n| append(n).ok()).last().unwrap_or(0)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).max()
        });
        drop(wal);
        let after = Arc::new(disk.after_power_loss(seed));
        let (_, recovered) = Wal::open_on(after, limits).unwrap();
        prop_assert!(Some(recovered.head().seq) >= acknowledged);
        let last = assert_chain(recovered.records().map(Result::unwrap));
        prop_assert_eq!(last, recovered.head().seq);
    }
}
