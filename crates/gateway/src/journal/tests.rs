use aims_json::Object;
use aims_model::{EventKind, Record};
use aims_types::ambient::SystemEntropy;
use aims_types::{Id, Secret, Timestamp};

use super::*;

fn event(n: u64) -> Event {
    let body = Object::new().with("n", n);
    Event::new(EventKind::CallDenied, Timestamp::from_unix_secs(1), body)
}

fn open(dir: &std::path::Path) -> Journal {
    let (wal, recovered) = Wal::open(dir, aims_wal::Limits::default()).unwrap();
    let source = Source::Gateway(Id::from_u128(1));
    Journal::new(wal, &recovered, source, Arc::new(SystemEntropy)).unwrap()
}

#[tokio::test]
async fn records_chain_by_their_own_digests_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let journal = open(dir.path());
        let appends = (0..20).map(|n| journal.append(Class::Denial, event(round * 20 + n)));
        for result in futures_util::future::join_all(appends).await {
            result.unwrap();
        }
        let (task, key) = (Id::from_u128(1), MaterialKey::new(Secret::new([5; 32])));
        let material = journal.seal((task, &key), b"used".to_vec()).unwrap();
        let commitment = material.commitment;
        let with = journal
            .append_with(Class::Intent, event(99), Some(material))
            .await
            .unwrap();
        let read = Journal::read(&journal.wal(), with, 1).unwrap();
        let sealed = read[0].material.clone().unwrap();
        let opened = key.open(task, &commitment, &sealed).unwrap();
        assert_eq!(opened.bytes, b"used");
    }
    let journal = open(dir.path());
    let records = Journal::read(&journal.wal(), 1, 1 << 20).unwrap();
    assert_eq!(records.len(), 42);
    let mut prev = FIRST_PREV;
    for shipped in &records {
        let record = Record::decode(&shipped.record).unwrap();
        assert_eq!((record.seq, record.prev), (shipped.seq, prev));
        prev = sha256(&shipped.record);
    }
}

#[tokio::test]
async fn an_event_that_no_record_can_hold_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let mut long = event(1);
    long.body = Object::new().with("x", "y".repeat(70_000));
    assert!(journal.append(Class::Denial, long).await.is_err());
    assert_eq!(journal.append(Class::Denial, event(2)).await.unwrap(), 1);
}

#[test]
fn bytes_that_are_no_payload_are_refused() {
    for bad in [&b""[..], b"\0\0\0", b"\0\0\0\x05abc"] {
        assert!(unpack(1, bad).is_err(), "{bad:?}");
    }
    let payload = pack(b"record", None);
    assert_eq!(unpack(7, &payload).unwrap().record, b"record");
}
