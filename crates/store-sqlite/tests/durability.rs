//! What was acknowledged survives `kill -9` at any moment.
//!
//! The test runs itself as a child that commits without end and says each number after its commit
//! returned. The parent kills it after some lines, opens the file and looks for everything said.
//! A harness of its own, because the child must be a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use aims_crypto::sha256;
use aims_json::{Object, Value};
use aims_model::record::FIRST_PREV;
use aims_model::{Event, EventKind, Person, Record, person};
use aims_store::Store;
use aims_store_sqlite::SqliteStore;
use aims_types::{Id, Revision, Timestamp};
use anyhow::{Context, Result, ensure};

/// The argument that makes this program the child.
const CHILD: &str = "commit-without-end";
/// After how many acknowledgements the child is killed, round by round, on the same file.
const KILLED_AFTER: [usize; 8] = [1, 2, 3, 5, 8, 40, 1, 120];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [_, CHILD, path] => runtime.block_on(commit_without_end(Path::new(path))),
        // A test runner that asks for the list of tests gets none.
        [_, .., "--list"] | [_, "--list", ..] => Ok(()),
        _ => runtime.block_on(survive()),
    }
}

async fn survive() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store.db");
    let mut last = 0;
    for lines in KILLED_AFTER {
        let said = kill_after(&path, lines)?;
        let (first, newest) = (said.first().copied(), said.last().copied());
        // The child goes on with the next number: one commit more than said may have happened.
        ensure!(
            first.is_some_and(|first| first > last),
            "{first:?} after {last}"
        );
        last = newest.context("nothing was said")?;
        let found = check(&path)
            .await
            .with_context(|| format!("after {last} was said"))?;
        ensure!(
            found == last || found == last + 1,
            "{last} was said, {found} is there"
        );
        last = found;
    }
    writeln!(
        std::io::stdout(),
        "durability: {last} commits, {} kills",
        KILLED_AFTER.len()
    )?;
    Ok(())
}

/// Everything that the child said before it died.
fn kill_after(path: &Path, lines: usize) -> Result<Vec<u64>> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(CHILD)
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(child.stdout.take().context("no pipe")?);
    let mut said = Vec::new();
    for line in output.lines() {
        said.push(line?.parse()?);
        if said.len() == lines {
            child.kill()?;
        }
    }
    child.wait()?;
    ensure!(
        said.len() >= lines,
        "the child died by itself after {said:?}"
    );
    Ok(said)
}

/// Opens the store as it was left and checks that nothing is missing, half there or out of order;
/// returns the newest revision.
async fn check(path: &Path) -> Result<u64> {
    let store = SqliteStore::open(path).await?;
    store.check().await?;
    let mut reader = store.read().await?;
    let revision = reader.revision().await?;
    let mut prev = FIRST_PREV;
    let mut wanted = 0;
    for (seq, bytes) in reader.outbox_after(0, u32::MAX).await? {
        wanted += 1;
        let record = Record::decode(&bytes)?;
        let said = record.event.body.get("n").and_then(Value::as_u64);
        ensure!(
            (seq, said, record.prev) == (wanted, Some(wanted), prev),
            "record {seq}: {record:?}"
        );
        prev = sha256(&bytes);
        let person = reader.person(Id::from_u128(u128::from(seq))).await?;
        ensure!(
            person.is_some(),
            "record {seq} is there, but not what it is about"
        );
    }
    ensure!(
        revision == Revision::new(wanted),
        "revision {revision}, record {wanted}"
    );
    ensure!(
        u64::try_from(reader.people().await?.len())? == wanted,
        "a change without record"
    );
    drop(reader);
    store.close().await;
    Ok(wanted)
}

async fn commit_without_end(path: &Path) -> Result<()> {
    let store = SqliteStore::open(path).await?;
    let mut out = std::io::stdout().lock();
    loop {
        let mut txn = store.begin().await?;
        let number = txn.revision_next().await?.number();
        txn.person_insert(&person(number)?).await?;
        let body = Object::new().with("n", number);
        let at = Timestamp::from_unix_secs(number);
        txn.commit(vec![Event::new(EventKind::PersonEnrolled, at, body)])
            .await?;
        writeln!(out, "{number}")?;
        out.flush()?;
    }
}

fn person(number: u64) -> Result<Person> {
    Ok(Person {
        id: Id::from_u128(u128::from(number)),
        name: format!("person-{number}").parse()?,
        role: person::Role::Member,
        enrolled_at: Timestamp::from_unix_secs(number),
        removed_at: None,
    })
}
