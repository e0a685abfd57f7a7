//! Damage is noticed, and trouble with the disk leaves neither half a change nor a stuck store.

use std::task::{Context, Waker};

use aims_json::Object;
use aims_model::record::FIRST_PREV;
use aims_model::{CutOff, Event, EventKind, PolicyVersion, Source, Subject};
use aims_store::chain::{self, Placed};
use aims_store::{Error, LogEntry, LogHead, ReplayKind, Store};
use aims_types::{Digest, Id, Revision, Timestamp};
use sqlx::{AssertSqlSafe, query, raw_sql};

use crate::check::CheckError;
use crate::{OpenError, SqliteStore};

const AT: Timestamp = Timestamp::from_unix_secs(1);

async fn execute(store: &SqliteStore, sql: &str) {
    query(AssertSqlSafe(sql))
        .execute(&store.writer)
        .await
        .unwrap();
}

fn policy(n: u128, text: String) -> PolicyVersion {
    let digest = Digest::from_bytes([0; 32]);
    PolicyVersion {
        id: Id::from_u128(n),
        text,
        digest,
        author: None,
        activated_at: AT,
    }
}

fn events(count: u64) -> Vec<Event> {
    let event = |n| Event::new(EventKind::TaskStarted, AT, Object::new().with("n", n));
    (0..count).map(event).collect()
}

/// A store with a policy, a cut-off and three records.
async fn populated() -> SqliteStore {
    let store = SqliteStore::open_in_memory().await.unwrap();
    let mut txn = store.begin().await.unwrap();
    txn.policy_insert(&policy(1, "permit();".to_owned()))
        .await
        .unwrap();
    let subject = Subject::Task(Id::from_u128(1));
    let cutoff = CutOff {
        subject,
        at_or_before: Revision::new(1),
    };
    txn.cutoff_insert(&cutoff).await.unwrap();
    let value = Digest::from_bytes([1; 32]);
    assert!(
        txn.replay_insert(ReplayKind::Consent, &value, AT, AT)
            .await
            .unwrap()
    );
    txn.commit(events(3)).await.unwrap();
    store.check().await.unwrap();
    store
}

#[tokio::test]
async fn a_body_that_cannot_be_read_back_is_named() {
    let id = Id::<aims_types::Policy>::from_u128(1);
    for (change, why) in [
        ("body = '{'", "end"),
        ("body = replace(body, '{', '{\"x\":1,')", "unknown field"),
        ("body = replace(body, '{', '{\"text\":\"\",')", "text"),
        ("body = replace(body, '\"text\"', '\"tixt\"')", "tixt"),
        ("body = CAST(x'ff' AS TEXT)", "utf-8"),
        ("body = replace(body, '01\",', '02\",')", "another row"),
    ] {
        let store = populated().await;
        execute(&store, &format!("UPDATE policies SET {change}")).await;
        let error = store.read().await.unwrap().policy(id).await.unwrap_err();
        let text = error.to_string();
        let wanted = format!("table `policies`, column `body`, row `{id}`");
        assert!(matches!(error, Error::Corrupt { .. }), "{change}: {text}");
        assert!(
            text.starts_with(&wanted) && text.contains(why),
            "{change}: {text}"
        );
    }
}

#[tokio::test]
async fn rows_that_contradict_each_other_are_noticed() {
    for change in [
        "UPDATE outbox_head SET seq = 2",
        "UPDATE outbox_head SET seq = 4",
        "UPDATE outbox_head SET digest = zeroblob(32)",
        "DELETE FROM outbox_head",
        "DELETE FROM outbox WHERE seq = 3",
        "DELETE FROM outbox WHERE seq = 1",
        "INSERT INTO log_head (only_row, size, root, checkpoint) VALUES (1, 1, zeroblob(32), '')",
        "INSERT INTO log_entries (leaf, source, seq, record) VALUES (0, 'server', 1, x'00')",
        "INSERT INTO log_sources (source, seq, digest) VALUES ('server', 1, zeroblob(32))",
    ] {
        let store = populated().await;
        execute(&store, change).await;
        let error = store.check().await.unwrap_err();
        assert!(
            matches!(error, CheckError::Inconsistent(_)),
            "{change}: {error}"
        );
    }
}

#[tokio::test]
async fn a_damaged_file_is_noticed() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    store
        .begin()
        .await
        .unwrap()
        .commit(events(500))
        .await
        .unwrap();
    store.close().await;
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    let middle = whole.len() / 2;
    damaged[middle..].fill(0xa5);
    std::fs::write(&path, &damaged).unwrap();
    let noticed = match SqliteStore::open(&path).await {
        Ok(store) => store.check().await.is_err(),
        Err(_) => true,
    };
    assert!(noticed);
    std::fs::write(&path, "SQLite format 4, or so\n".repeat(100)).unwrap();
    let error = SqliteStore::open(&path).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(error, OpenError::Store(Error::Corrupt { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn what_stays_for_ever_cannot_be_removed_or_rewritten() {
    let store = populated().await;
    let rows = "INSERT INTO people VALUES ('p', 'p', '');
        INSERT INTO agents VALUES ('a', 'a', 's', 'p', '');
        INSERT INTO tasks VALUES ('t', 'a', 'p', 'r', '');
        INSERT INTO approvals VALUES ('1', zeroblob(32), 't', 'p', 'i', 'open', '');
        INSERT INTO approvals VALUES ('2', zeroblob(32), 't', 'p', 'i', 'over', '');
        INSERT INTO join_tokens VALUES (zeroblob(32), 'node', 'p', 1, 'used');
        INSERT INTO tree_owners VALUES ('t', 'g', 2, 0, 1)";
    raw_sql(rows).execute(&store.writer).await.unwrap();
    for sql in [
        "DELETE FROM approvals",
        "UPDATE approvals SET digest = x'00' || zeroblob(31) WHERE id = '1'",
        "UPDATE approvals SET id = '3' WHERE id = '1'",
        "UPDATE approvals SET stage = 'open' WHERE id = '2'",
        "UPDATE approvals SET body = 'x' WHERE id = '2'",
        "DELETE FROM join_tokens",
        "UPDATE join_tokens SET used_by = NULL",
        "DELETE FROM tree_owners",
        "UPDATE tree_owners SET epoch = 1",
        "DELETE FROM cutoffs",
        "UPDATE cutoffs SET at_or_before = 0",
        "UPDATE outbox SET record = x'00'",
    ] {
        assert!(query(sql).execute(&store.writer).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn a_full_disk_undoes_the_change_and_the_store_goes_on_when_there_is_room() {
    let store = populated().await;
    for _ in 0..3 {
        // Each time anew: a connection on which SQLite rolled back by itself is not used again.
        execute(&store, "PRAGMA max_page_count = 80").await;
        let mut txn = store.begin().await.unwrap();
        txn.policy_insert(&policy(2, "x".to_owned())).await.unwrap();
        let large = policy(3, "y".repeat(1 << 20));
        let error = txn.policy_insert(&large).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        let error = txn
            .policy_insert(&policy(4, "z".to_owned()))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        let error = txn.commit(events(1)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        let mut reader = store.read().await.unwrap();
        assert_eq!(
            reader.policy_current().await.unwrap().unwrap().id,
            Id::from_u128(1)
        );
        assert_eq!(reader.outbox_after(0, 9).await.unwrap().len(), 3);
    }
    let mut txn = store.begin().await.unwrap();
    txn.policy_insert(&policy(5, "x".to_owned())).await.unwrap();
    txn.commit(events(1)).await.unwrap();
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_value_beyond_a_limit_is_refused_before_it_is_written() {
    let store = populated().await;
    let mut txn = store.begin().await.unwrap();
    let long = policy(2, "x".repeat(aims_json::Limits::DOCUMENT.bytes));
    let error = txn.policy_insert(&long).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Unstorable {
                what: "policy version",
                ..
            }
        ),
        "{error}"
    );
    drop(txn);
    let mut txn = store.begin().await.unwrap();
    let subject = Subject::Task(Id::from_u128(1));
    let beyond = CutOff {
        subject,
        at_or_before: Revision::new(u64::MAX),
    };
    let error = txn.cutoff_insert(&beyond).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Unstorable {
                what: "cut-off",
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_look_up_cannot_write() {
    let store = populated().await;
    let result = query("DELETE FROM outbox").execute(&store.readers).await;
    assert!(result.is_err());
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_ends_the_transaction() {
    let store = populated().await;
    let entry = |placed: Placed| LogEntry {
        index: placed.seq - 1,
        source: Source::Server,
        seq: placed.seq,
        task: None,
        record: placed.record,
    };
    let placed = chain::place(0, FIRST_PREV, &events(100)).unwrap();
    let entries: Vec<_> = placed.into_iter().map(entry).collect();
    let root = Digest::from_bytes([3; 32]);
    let head = LogHead {
        size: 100,
        root,
        checkpoint: String::new(),
    };
    let mut context = Context::from_waker(Waker::noop());
    // The connection works in another thread: now and then it is done before we look.
    let txn = loop {
        let mut txn = store.begin().await.unwrap();
        let mut call = txn.log_append(None, &entries, &head);
        let dropped = call.as_mut().poll(&mut context).is_pending();
        drop(call);
        if dropped {
            break txn;
        }
    };
    let error = txn.commit(events(1)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let mut reader = store.read().await.unwrap();
    assert_eq!(reader.log_head().await.unwrap(), None);
    assert_eq!(reader.log_entries(0, 99).await.unwrap(), []);
    assert_eq!(reader.outbox_after(0, 9).await.unwrap().len(), 3);
}
