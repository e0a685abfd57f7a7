//! By what entries of the log are found: without looking at the others, and in a file of an earlier
//! release too.

use std::collections::BTreeSet;

use aims_crypto::sha256;
use aims_json::Object;
use aims_model::record::FIRST_PREV;
use aims_model::record_name::RECORD_NAME_LEN_MAX;
use aims_model::{Event, EventKind, RecordName, Source};
use aims_store::{LogEntry, LogHead, Store};
use aims_types::{Digest, Timestamp};
use sqlx::{Row, query, raw_sql};

use crate::SqliteStore;
use crate::tables::log::NAMED;

/// Records of every kind whose members are what finds them, and others that nobody finds.
fn events() -> Vec<Event> {
    let texts = EventKind::ALL
        .iter()
        .flat_map(|kind| RecordName::members(*kind));
    let texts: BTreeSet<&str> = texts.copied().chain(["task"]).collect();
    let bodies = |value: &dyn Fn(&str) -> String| {
        let fold = |body: Object, name: &&'static str| body.with(*name, value(name));
        let body = texts.iter().fold(Object::new(), fold);
        body.with("epoch", 7_u64)
    };
    let no_texts = texts
        .iter()
        .fold(Object::new(), |body, name| body.with(*name, 7_u64));
    let bodies = [
        bodies(&|name| format!("{name} \u{e9} \u{1f692} '\"\\ \n%")),
        bodies(&|_| String::new()),
        bodies(&|_| "\u{e9}".repeat(RECORD_NAME_LEN_MAX / 2)),
        bodies(&|_| "\u{e9}".repeat(RECORD_NAME_LEN_MAX / 2 + 1)),
        no_texts.with("epoch", "7"),
        Object::new(),
    ];
    let at = Timestamp::from_unix_secs(1);
    let event = |kind: &EventKind| bodies.clone().map(|body| Event::new(*kind, at, body));
    EventKind::ALL.iter().flat_map(event).collect()
}

async fn append(store: &SqliteStore, events: &[Event]) {
    let (mut prev, mut entries) = (FIRST_PREV, Vec::new());
    for (index, event) in (0..).zip(events) {
        let record = event.encode(Source::Server, index + 1, prev).unwrap();
        prev = sha256(&record);
        entries.push(LogEntry {
            index,
            source: Source::Server,
            seq: index + 1,
            task: None,
            record,
        });
    }
    let head = LogHead {
        size: entries.len() as u64,
        root: Digest::from_bytes([1; 32]),
        checkpoint: String::new(),
    };
    let mut txn = store.begin().await.unwrap();
    txn.log_append(None, &entries, &head).await.unwrap();
    txn.commit(Vec::new()).await.unwrap();
}

async fn names(store: &SqliteStore) -> Vec<(String, i64)> {
    let sql = "SELECT name, leaf FROM log_names ORDER BY name, leaf";
    let rows = query(sql).fetch_all(&store.writer).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn the_entries_of_an_earlier_release_are_found_as_those_of_this_one() {
    let store = SqliteStore::open_in_memory().await.unwrap();
    append(&store, &events()).await;
    let wanted = names(&store).await;
    assert!(wanted.len() > EventKind::ALL.len());
    // The file as it was before, and the migration once more.
    for sql in [
        "DROP TABLE log_names",
        include_str!("../../migrations/0008_log_names.sql"),
    ] {
        raw_sql(sql).execute(&store.writer).await.unwrap();
    }
    assert_eq!(names(&store).await, wanted);
}

#[tokio::test]
async fn an_entry_is_found_without_looking_at_others() {
    let store = SqliteStore::open_in_memory().await.unwrap();
    append(&store, &events()).await;
    for analysed in [false, true] {
        if analysed {
            query("ANALYZE").execute(&store.writer).await.unwrap();
        }
        let plan = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {NAMED}"));
        let plan = query(plan).bind("a name").bind("a task");
        let rows = plan.fetch_all(&store.writer).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        assert_eq!(
            steps,
            [
                "SEARCH log_names USING PRIMARY KEY (name=?)",
                "SEARCH log_entries USING INTEGER PRIMARY KEY (rowid=?)",
            ]
        );
    }
}

#[tokio::test]
async fn names_are_never_changed() {
    let store = SqliteStore::open_in_memory().await.unwrap();
    append(&store, &events()).await;
    for change in [
        "UPDATE log_names SET leaf = 0",
        "UPDATE log_names SET name = 'other'",
        "DELETE FROM log_names",
        "INSERT INTO log_names (name, leaf) VALUES ('of nothing', 1000000)",
    ] {
        let error = raw_sql(change).execute(&store.writer).await.unwrap_err();
        assert!(error.as_database_error().is_some(), "{change}: {error}");
    }
    store.check().await.unwrap();
}
