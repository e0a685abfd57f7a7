//! What is erased is in none of the engine's files.

use std::fs;
use std::path::Path;

use aims_crypto::sha256;
use aims_store::{SEALED_KEY_LEN, SealedMaterial, Store};
use aims_types::{Agent, Id, Person, Task};
use sqlx::{AssertSqlSafe, query, raw_sql};

use crate::SqliteStore;

/// More tasks than one page of the file has room for.
const TASKS: u128 = 300;

fn key(n: u128) -> [u8; SEALED_KEY_LEN] {
    let (first, second) = (sha256(&n.to_be_bytes()), sha256(&n.to_le_bytes()));
    let bytes = [*first.as_bytes(), *second.as_bytes()].concat();
    bytes[..SEALED_KEY_LEN].try_into().unwrap()
}

fn sealed(n: u128) -> Vec<u8> {
    format!("cipher text {n:04} ").repeat(40).into_bytes()
}

fn id(n: u128) -> Id<Task> {
    Id::from_u128(n)
}

/// Whether the bytes are anywhere in the file or beside it.
fn holds(directory: &Path, bytes: &[u8]) -> bool {
    let mut files = fs::read_dir(directory).unwrap();
    files.any(|file| {
        let file = fs::read(file.unwrap().path()).unwrap();
        file.windows(bytes.len()).any(|window| window == bytes)
    })
}

async fn populate(store: &SqliteStore) {
    for n in 0..TASKS {
        let mut txn = store.begin().await.unwrap();
        txn.material_key_insert(id(n), &key(n)).await.unwrap();
        let material = SealedMaterial {
            task: id(n),
            commitment: sha256(&n.to_be_bytes()),
            sealed: sealed(n),
        };
        txn.material_insert(&material).await.unwrap();
        txn.commit(Vec::new()).await.unwrap();
    }
}

async fn erase(store: &SqliteStore, n: u128) {
    let mut txn = store.begin().await.unwrap();
    assert_eq!(txn.task_erase(id(n)).await.unwrap(), Some(1));
    txn.commit(Vec::new()).await.unwrap();
}

#[tokio::test]
async fn an_erased_key_is_in_no_file() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state");
    let store = SqliteStore::open(directory.join("store.db")).await.unwrap();
    populate(&store).await;
    // In the file and in the journal.
    assert!(store.scrub().await.unwrap());
    let erased = [0, 1, 7, 150, 151, TASKS - 1];
    assert!(erased.iter().all(|n| holds(&directory, &key(*n))));
    for n in erased {
        erase(&store, n).await;
    }
    assert!(
        holds(&directory, &key(150)),
        "it waits in the file for the journal to be folded in"
    );
    assert!(store.scrub().await.unwrap());
    for n in 0..TASKS {
        let gone = erased.contains(&n);
        assert_eq!(holds(&directory, &key(n)), !gone, "key {n}");
        assert!(gone || holds(&directory, &sealed(n)), "cipher text {n}");
    }
    store.close().await;
    assert!(erased.iter().all(|n| !holds(&directory, &key(*n))));
}

#[tokio::test]
async fn a_look_up_under_way_is_said_to_be_in_the_way() {
    let store = SqliteStore::open_in_memory().await.unwrap();
    let mut txn = store.begin().await.unwrap();
    txn.material_key_insert(id(1), &key(1)).await.unwrap();
    txn.commit(Vec::new()).await.unwrap();
    let reader = store.read().await.unwrap();
    let mut txn = store.begin().await.unwrap();
    txn.task_erase(id(1)).await.unwrap();
    txn.commit(Vec::new()).await.unwrap();
    assert!(!store.scrub().await.unwrap(), "an old snapshot needs it");
    drop(reader);
    assert!(store.scrub().await.unwrap());
}

#[tokio::test]
async fn what_was_asked_goes_with_the_rest_and_only_then() {
    const MARKER: &[u8] = b"marker-in-an-argument";
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state");
    let store = SqliteStore::open(directory.join("store.db")).await.unwrap();
    let (person, agent): (Id<Person>, Id<Agent>) = (Id::from_u128(1), Id::from_u128(1));
    let rows = format!(
        "INSERT INTO people VALUES ('{person}', 'p', '{{}}');
        INSERT INTO agents VALUES ('{agent}', 'a', 's', '{person}', '{{}}');
        INSERT INTO tasks VALUES ('{task}', '{agent}', '{person}', 'r', '{{}}');
        INSERT INTO approvals VALUES ('one', zeroblob(32), '{task}', '{person}', 'i', 'over',
            '{{\"arguments\":\"marker-in-an-argument\"}}')",
        task = id(1),
    );
    raw_sql(AssertSqlSafe(rows))
        .execute(&store.writer)
        .await
        .unwrap();
    let mut txn = store.begin().await.unwrap();
    txn.material_key_insert(id(1), &key(1)).await.unwrap();
    txn.commit(Vec::new()).await.unwrap();
    for refused in [
        "DELETE FROM approvals",
        "DELETE FROM material_keys",
        "UPDATE material_keys SET erased = 1",
        "UPDATE material_keys SET sealed = zeroblob(60)",
    ] {
        let done = query(refused).execute(&store.writer).await;
        assert!(done.is_err(), "{refused}");
    }
    assert!(holds(&directory, MARKER));
    let mut txn = store.begin().await.unwrap();
    assert_eq!(txn.task_erase(id(1)).await.unwrap(), Some(0));
    txn.commit(Vec::new()).await.unwrap();
    assert!(store.scrub().await.unwrap());
    assert!(!holds(&directory, MARKER));
    let back = "UPDATE material_keys SET erased = 0";
    assert!(query(back).execute(&store.writer).await.is_err());
}
