//! The file: who can reach it, what is in it, who wrote it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use aims_json::Object;
use aims_model::{Event, EventKind};
use aims_store::Store;
use aims_types::{Agent, Delegation, Digest, Id, Person, Revision, Run, Task, Timestamp};
use sqlx::{AssertSqlSafe, Row, query, raw_sql};
use tokio::task::JoinSet;

use crate::{OpenError, SqliteStore};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn only_the_owner_can_reach_the_file_and_its_companions() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("new/state");
    let path = directory.join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    store
        .begin()
        .await
        .unwrap()
        .commit(Vec::new())
        .await
        .unwrap();
    for made in [&parent.path().join("new"), &directory] {
        assert_eq!(mode(made), 0o700, "{}", made.display());
    }
    let files: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_file_that_others_can_reach_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("store.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let open = || async { SqliteStore::open(&path).await.map(|_| ()) };
    for (place, bad, good) in [(parent.path(), 0o770, 0o755), (&path, 0o604, 0o600)] {
        chmod(place, bad);
        assert!(
            matches!(open().await, Err(OpenError::Refused { .. })),
            "{bad:o}"
        );
        chmod(place, good);
        open().await.unwrap();
    }
    let journal = parent.path().join("store.db-wal");
    fs::write(&journal, "").unwrap();
    chmod(&journal, 0o644);
    assert!(matches!(open().await, Err(OpenError::Refused { .. })));
    fs::remove_file(&journal).unwrap();
    let link = parent.path().join("link.db");
    symlink(&path, &link).unwrap();
    assert!(SqliteStore::open(&link).await.is_err());
    assert!(SqliteStore::open(parent.path()).await.is_err());
}

#[tokio::test]
async fn a_store_that_ends_with_its_value_leaves_nothing_behind() {
    let store = SqliteStore::open_in_memory().await.unwrap();
    let directory = store.directory.as_ref().unwrap().path().to_owned();
    assert!(directory.join("store.db").exists());
    drop(store);
    assert!(!directory.exists());
}

#[tokio::test]
async fn the_schema_is_the_one_that_was_reviewed() {
    let store = SqliteStore::open_in_memory().await.unwrap();
    let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE '\\_sqlx%'
        ESCAPE '\\' ORDER BY tbl_name, instr('table index trigger', type), name";
    let rows = query(sql).fetch_all(&store.writer).await.unwrap();
    let seen: Vec<String> = rows
        .iter()
        .map(|row| row.get::<String, _>(0) + ";\n")
        .collect();
    let seen = seen.join("\n");
    let reviewed = include_str!("../../schema.sql");
    assert!(seen == reviewed, "schema.sql should be:\n{seen}");
}

#[tokio::test]
async fn launches_of_an_earlier_release_act_under_the_root_of_their_task() {
    let store = SqliteStore::open_in_memory().await.unwrap();
    // A launch as the first release wrote it, and the second migration once more.
    let run: Id<Run> = Id::from_u128(3);
    let (person, agent): (Id<Person>, Id<Agent>) = (Id::from_u128(1), Id::from_u128(1));
    let (task, root): (Id<Task>, Id<Delegation>) = (Id::from_u128(1), Id::from_u128(7));
    let digest = Digest::from_bytes([5; 32]);
    let rows = format!(
        r#"INSERT INTO people VALUES ('{person}', 'p', '{{}}');
        INSERT INTO agents VALUES ('{agent}', 'a', 's', '{person}', '{{}}');
        INSERT INTO tasks VALUES ('{task}', '{agent}', '{person}', '{root}', '{{}}');
        INSERT INTO runs VALUES ('{run}', x'{ticket}', '{task}', '{agent}', '{person}',
            '{{"agent":"{agent}","expires_at":9,"id":"{run}","redeemed_at":null,
            "redeemed_by":null,"requested_by":"{person}","task":"{task}","ticket":"{digest}"}}')"#,
        ticket = "05".repeat(32),
    );
    let migration = include_str!("../../migrations/0002_points_and_trees.sql");
    let backfill = migration.split_inclusive(';').next().unwrap().to_owned();
    for sql in [rows, backfill] {
        raw_sql(AssertSqlSafe(sql))
            .execute(&store.writer)
            .await
            .unwrap();
    }
    let run = store.read().await.unwrap().run(run).await.unwrap().unwrap();
    assert_eq!((run.delegation, run.parent), (root, None));
}

#[tokio::test]
async fn a_file_of_a_newer_release_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum,
        execution_time) VALUES (9999, 'newer', TRUE, zeroblob(48), 0)";
    query(newer).execute(&store.writer).await.unwrap();
    store.close().await;
    let error = SqliteStore::open(&path).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Newer(9999)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_on_one_file_number_together() {
    const STORES: u64 = 3;
    const ROUNDS: u64 = 12;
    let parent = tempfile::tempdir().unwrap();
    let path = Arc::new(parent.path().join("store.db"));
    let mut tasks = JoinSet::new();
    for _ in 0..STORES {
        let path = Arc::clone(&path);
        tasks.spawn(async move {
            // All at once: the migrations race too.
            let store = SqliteStore::open(path.as_path()).await.unwrap();
            for _ in 0..ROUNDS {
                let mut txn = store.begin().await.unwrap();
                // What is read first is still true when the number is taken.
                let before = txn.revision().await.unwrap();
                let number = txn.revision_next().await.unwrap().number();
                assert_eq!(before.number() + 1, number);
                let body = Object::new().with("n", number);
                let at = Timestamp::from_unix_secs(1);
                let event = Event::new(EventKind::TaskStarted, at, body);
                txn.commit(vec![event]).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let store = SqliteStore::open(path.as_path()).await.unwrap();
    store.check().await.unwrap();
    let mut reader = store.read().await.unwrap();
    assert_eq!(
        reader.revision().await.unwrap(),
        Revision::new(STORES * ROUNDS)
    );
    let records = reader.outbox_after(0, u32::MAX).await.unwrap();
    let wanted: Vec<_> = (1..=STORES * ROUNDS).collect();
    assert_eq!(
        records.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(),
        wanted
    );
}
