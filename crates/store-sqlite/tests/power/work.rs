//! The child: round after round a change of the real contract, and what must be there afterwards.

use std::io::Write;
use std::path::Path;

use aims_crypto::sha256;
use aims_json::{Object, Value};
use aims_model::record::FIRST_PREV;
use aims_model::{
    CutOff, Event, EventKind, JoinToken, Person, Point, PointKind, PolicyVersion, Record, Source,
    Subject, person,
};
use aims_store::{
    Error, LogEntry, LogHead, MaterialKeyRow, Reader, ReplayKind, SEALED_KEY_LEN, SealedMaterial,
    Store, Txn,
};
use aims_store_sqlite::SqliteStore;
use aims_types::{Digest, Id, Name, Revision, Timestamp};
use anyhow::{Result, bail, ensure};

/// The argument that makes the child say that a round is done before it is.
pub(crate) const TOO_EARLY: &str = "too-early";
pub(crate) const IN_TIME: &str = "in-time";
/// What the child says, with the round: it begins; it is durable; it was refused and changed
/// nothing; it may have happened.
pub(crate) const BEGUN: &str = "begun";
pub(crate) const DONE: &str = "done";
pub(crate) const REFUSED: &str = "refused";
pub(crate) const IN_DOUBT: &str = "in-doubt";
/// And alone: the store could not be opened; it refuses everything; the end.
pub(crate) const CLOSED: &str = "closed";
pub(crate) const STOPPED: &str = "stopped";
pub(crate) const END: &str = "end";

/// In how many rounds the log is folded once, a policy written, a material kept, the journal
/// emptied, a change dropped.
const FOLD: u64 = 3;
const POLICY: u64 = 7;
const MATERIAL: u64 = 5;
const SCRUB: u64 = 19;
const DROP: u64 = 4;
/// How often a round may be refused.
const REFUSALS_MAX: u32 = 3;

pub(crate) async fn work(path: &Path, rounds: u64, too_early: bool) -> Result<()> {
    let store = match SqliteStore::open(path).await {
        Ok(store) => store,
        Err(error) => return say(&format!("{CLOSED} {error}")),
    };
    let (mut n, mut refused) = (1, 0);
    while n <= rounds {
        say(&format!("{BEGUN} {n}"))?;
        if too_early {
            say(&format!("{DONE} {n}"))?;
        }
        match round(&store, n).await {
            Ok(()) if too_early => n += 1,
            Ok(()) => {
                say(&format!("{DONE} {n}"))?;
                n += 1;
            }
            Err(Error::InDoubt(_)) => {
                say(&format!("{IN_DOUBT} {n}"))?;
                return stopped(&store).await;
            }
            Err(error) => {
                say(&format!("{REFUSED} {n} {error}"))?;
                refused += 1;
                if store.read().await.is_err() {
                    return stopped(&store).await;
                }
                // What was refused is not there, not even half.
                found(&store, n - 1).await?;
                ensure!(refused <= REFUSALS_MAX, "refused for ever");
            }
        }
    }
    store.close().await;
    say(END)
}

/// After the disk failed: the store says so and refuses everything.
async fn stopped(store: &SqliteStore) -> Result<()> {
    let reason = store.failure().await;
    ensure!(store.begin().await.is_err(), "a change after {reason}");
    ensure!(store.read().await.is_err(), "a look-up after {reason}");
    say(STOPPED)
}

fn say(what: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what}")?;
    Ok(out.flush()?)
}

/// A change with everything in it, and around it what leaves no trace.
async fn round(store: &SqliteStore, n: u64) -> Result<(), Error> {
    if n.is_multiple_of(DROP) {
        let mut txn = store.begin().await?;
        let revision = txn.revision_next().await?;
        txn.policy_insert(&policy(n + 1000)).await?;
        txn.cutoff_insert(&cutoff(n, revision)).await?;
    }
    let mut txn = store.begin().await?;
    let revision = txn.revision_next().await?;
    change(txn.as_mut(), n, revision).await?;
    txn.commit(vec![event(n)]).await?;
    if n.is_multiple_of(SCRUB) {
        // What it can't empty now stays for the next time.
        let _ = store.scrub().await;
    }
    Ok(())
}

async fn change(txn: &mut dyn Txn, n: u64, revision: Revision) -> Result<(), Error> {
    txn.person_insert(&someone(n)?).await?;
    txn.join_token_insert(&token(n, None)).await?;
    if n > 1 {
        txn.join_token_update(&token(n - 1, Some(n))).await?;
    }
    txn.cutoff_insert(&cutoff(n, revision)).await?;
    txn.replay_insert(ReplayKind::Consent, &digest("use", n), at(n), at(n + 1000))
        .await?;
    if n.is_multiple_of(POLICY) {
        txn.policy_insert(&policy(n)).await?;
    }
    if n.is_multiple_of(MATERIAL) {
        let task = Id::from_u128(u128::from(n));
        txn.material_key_insert(task, &[7; SEALED_KEY_LEN]).await?;
        txn.material_insert(&material(n)).await?;
        if n > MATERIAL {
            txn.task_erase(Id::from_u128(u128::from(n - MATERIAL)))
                .await?;
        }
    }
    if n.is_multiple_of(FOLD) {
        let before = txn.log_head().await?;
        let size = before.as_ref().map_or(0, |head| head.size);
        let entries: Vec<LogEntry> = txn
            .outbox_after(size, u32::MAX)
            .await?
            .into_iter()
            .map(entry)
            .collect();
        let head = head(size + entries.len() as u64);
        txn.log_append(before.as_ref(), &entries, &head).await?;
    }
    Ok(())
}

/// Checks that exactly the rounds up to `last` are in the store, each of them whole.
pub(crate) async fn found(store: &SqliteStore, last: u64) -> Result<()> {
    store.check().await?;
    let mut reader = store.read().await?;
    ensure!(reader.revision().await? == Revision::new(last), "revision");
    let mut prev = FIRST_PREV;
    let records = reader.outbox_after(0, u32::MAX).await?;
    for (wanted, (seq, bytes)) in (1..).zip(&records) {
        let record = Record::decode(bytes)?;
        let said = record.event.body.get("n").and_then(Value::as_u64);
        ensure!(
            (*seq, said, record.prev) == (wanted, Some(wanted), prev),
            "record {seq}: {record:?}"
        );
        prev = sha256(bytes);
    }
    let cutoffs: Vec<CutOff> = (1..=last).map(|n| cutoff(n, Revision::new(n))).collect();
    ensure!(reader.cutoffs().await? == cutoffs, "cut-offs");
    ensure!(
        [reader.people().await?.len(), records.len()] == [usize::try_from(last)?; 2],
        "a change without record, or a record without change"
    );
    let folded = last / FOLD * FOLD;
    let size = folded.saturating_sub(1);
    let log = (folded > 0).then(|| head(size));
    ensure!(reader.log_head().await? == log, "the log's head");
    let entries = reader.log_entries(0, u32::MAX).await?;
    let wanted: Vec<LogEntry> = records.into_iter().map(entry).collect();
    ensure!(
        wanted.get(..usize::try_from(size)?) == Some(entries.as_slice()),
        "the log's entries"
    );
    for n in 1..=last + 1 {
        one(reader.as_mut(), n, last).await?;
    }
    drop(reader);
    used(store, last).await
}

/// What round `n` changed is there, or not, as it should be after round `last`.
async fn one(reader: &mut dyn Reader, n: u64, last: u64) -> Result<()> {
    let there = n <= last;
    let id = u128::from(n);
    let person = reader.person(Id::from_u128(id)).await?;
    let enrolled = there.then(|| someone(n)).transpose()?;
    ensure!(person == enrolled, "person {n}");
    let next = (n < last).then_some(n + 1);
    let made = there.then(|| token(n, next));
    let digest = token(n, None).digest;
    ensure!(reader.join_token(&digest).await? == made, "token {n}");
    let written = (there && n.is_multiple_of(POLICY)).then(|| policy(n));
    let stored = reader.policy(Id::from_u128(id)).await?;
    ensure!(stored == written, "policy {n}");
    let dropped = reader.policy(Id::from_u128(id + 1000)).await?;
    ensure!(dropped.is_none(), "what was dropped in round {n}");
    if n.is_multiple_of(MATERIAL) {
        let erased = n + MATERIAL <= last;
        let kept = (there && !erased).then(|| material(n));
        let stored = reader.material(&material(n).commitment).await?;
        ensure!(stored == kept, "material {n}");
        match reader.material_key(Id::from_u128(id)).await? {
            None if !there => {}
            Some(MaterialKeyRow::Erased) if erased => {}
            Some(MaterialKeyRow::Kept(_)) if there && !erased => {}
            other => bail!("key {n}: {other:?}"),
        }
    }
    Ok(())
}

/// What was used once can't be used again, and the next is unused.
async fn used(store: &SqliteStore, last: u64) -> Result<()> {
    let mut txn = store.begin().await?;
    for n in 1..=last + 1 {
        let value = digest("use", n);
        let first = txn
            .replay_insert(ReplayKind::Consent, &value, at(last), at(last + 1000))
            .await?;
        ensure!(first == (n > last), "use {n}");
    }
    Ok(())
}

/// The store goes on after a crash.
pub(crate) async fn go_on(store: &SqliteStore, n: u64) -> Result<()> {
    round(store, n).await?;
    found(store, n).await
}

const fn at(secs: u64) -> Timestamp {
    Timestamp::from_unix_secs(1_795_000_000 + secs)
}

fn digest(what: &str, n: u64) -> Digest {
    sha256(format!("{what} {n}").as_bytes())
}

/// Records of very different length.
fn event(n: u64) -> Event {
    let filling = "x".repeat(usize::try_from(n * 977 % 9000).unwrap_or(0));
    let body = Object::new().with("filling", filling).with("n", n);
    Event::new(EventKind::PersonEnrolled, at(n), body)
}

fn someone(n: u64) -> Result<Person, Error> {
    let name = format!("person-{n}").parse::<Name>();
    Ok(Person {
        id: Id::from_u128(u128::from(n)),
        name: name.map_err(|error| Error::Unstorable {
            what: "name",
            reason: error.to_string(),
        })?,
        role: person::Role::Member,
        enrolled_at: at(n),
        removed_at: None,
    })
}

fn token(n: u64, used_in: Option<u64>) -> JoinToken {
    JoinToken {
        digest: digest("token", n),
        kind: PointKind::Node,
        made_by: Id::from_u128(u128::from(n)),
        expires_at: at(n + 1000),
        used_by: used_in.map(|n| Point::Node(Id::from_u128(u128::from(n)))),
    }
}

fn cutoff(n: u64, revision: Revision) -> CutOff {
    CutOff {
        subject: Subject::Task(Id::from_u128(u128::from(n))),
        at_or_before: revision,
    }
}

fn policy(n: u64) -> PolicyVersion {
    let text = format!("permit(principal, action, resource); // {n}\n").repeat(300);
    PolicyVersion {
        id: Id::from_u128(u128::from(n)),
        digest: sha256(text.as_bytes()),
        text,
        author: None,
        activated_at: at(n),
    }
}

fn material(n: u64) -> SealedMaterial {
    SealedMaterial {
        task: Id::from_u128(u128::from(n)),
        commitment: digest("material", n),
        sealed: vec![n.to_le_bytes()[0]; 5000],
    }
}

fn entry((seq, record): (u64, Vec<u8>)) -> LogEntry {
    LogEntry {
        index: seq - 1,
        source: Source::Server,
        seq,
        task: None,
        record,
    }
}

fn head(size: u64) -> LogHead {
    LogHead {
        size,
        root: digest("root", size),
        checkpoint: format!("aims.local/log\n{size}\n"),
    }
}
