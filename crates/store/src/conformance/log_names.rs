//! The log: an entry is found by what its record says, without reading the others.

use std::sync::Arc;

use aims_crypto::sha256;
use aims_json::Object;
use aims_model::record::FIRST_PREV;
use aims_model::{Event, EventKind, Record, RecordName, Source};
use aims_types::{Id, Task};

use super::log::head;
use super::outcome::{Outcome, same};
use super::sample;
use crate::{LogEntry, Store};

/// How many times each kind of record is in the log.
const ROUNDS: u64 = 2;

/// A record of a kind that has every member by which any is found; `n` is in all of them.
fn event(kind: EventKind, n: u64, task: Option<Id<Task>>) -> Event {
    let members = EventKind::ALL
        .iter()
        .flat_map(|kind| RecordName::members(*kind));
    let mut body = Object::new();
    for name in members.copied().chain(["task"]) {
        body = body.with(name, format!("{name}-{n} {}", sample::LETTERS));
    }
    let body = body.with("epoch", n);
    let mut event = Event::new(kind, sample::at(n), body);
    event.task = task;
    event
}

fn entries(events: &[Event]) -> Outcome<Vec<LogEntry>> {
    let (mut prev, mut entries) = (FIRST_PREV, Vec::new());
    for (index, event) in (0..).zip(events) {
        let (source, seq) = (Source::Server, index + 1);
        let record = event.encode(source, seq, prev)?;
        prev = sha256(&record);
        entries.push(LogEntry {
            index,
            source,
            seq,
            task: event.task,
            record,
        });
    }
    Ok(entries)
}

/// Every kind, again and again: the same for no task and for two, then others.
fn log() -> Outcome<Vec<LogEntry>> {
    let tasks = [None, Some(Id::from_u128(1)), Some(Id::from_u128(2))];
    let of_kind = |kind: &EventKind| {
        let kind = *kind;
        let numbers = (0..ROUNDS).chain([0]);
        numbers.flat_map(move |n| tasks.map(|task| event(kind, n, task)))
    };
    let events: Vec<Event> = EventKind::ALL.iter().flat_map(of_kind).collect();
    entries(&events)
}

/// The first entry with a name, found by reading all of them.
fn first<'a>(
    all: &'a [LogEntry],
    name: &RecordName,
    task: Option<Id<Task>>,
) -> Outcome<Option<&'a LogEntry>> {
    for entry in all {
        let record = Record::decode(&entry.record)?;
        if name.is_of(&record.event) && (task.is_none() || entry.task == task) {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

pub(super) async fn an_entry_is_found_by_each_of_its_names(store: Arc<dyn Store>) -> Outcome {
    let all = log()?;
    let (size, middle) = (u64::try_from(all.len())?, all.len() / 2);
    let (before, after) = all.split_at(middle);
    let early = head(u64::try_from(middle)?);
    let mut txn = store.begin().await?;
    txn.log_append(None, before, &early).await?;
    txn.commit(Vec::new()).await?;
    let mut txn = store.begin().await?;
    txn.log_append(Some(&early), after, &head(size)).await?;
    // Also by the transaction itself.
    let (one, other) = (Some(Id::from_u128(1)), Some(Id::from_u128(2)));
    for entry in &all {
        let record = Record::decode(&entry.record)?;
        for name in RecordName::all_of(&record.event) {
            for task in [None, one, other] {
                let found = txn.log_entry_named(&name, task).await?;
                same!(found.as_ref(), first(&all, &name, task)?);
            }
        }
    }
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    let name = RecordName::domain();
    let found = reader.log_entry_named(&name, other).await?;
    same!(found.as_ref(), first(&all, &name, other)?);
    Ok(())
}

pub(super) async fn what_was_not_appended_is_not_found(store: Arc<dyn Store>) -> Outcome {
    let intent = event(EventKind::CallIntent, 1, Some(Id::from_u128(1)));
    let all = entries(std::slice::from_ref(&intent))?;
    let named = || RecordName::all_of(&intent).into_iter();
    let mut dropped = store.begin().await?;
    dropped.log_append(None, &all, &head(1)).await?;
    drop(dropped);
    for name in named() {
        let mut reader = store.read().await?;
        same!(reader.log_entry_named(&name, None).await?, None);
    }
    let mut txn = store.begin().await?;
    txn.log_append(None, &all, &head(1)).await?;
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    let others = [
        RecordName::all_of(&event(EventKind::CallIntent, 2, None)),
        RecordName::all_of(&event(EventKind::CallOutcome, 1, None)),
        vec![RecordName::new(EventKind::CallIntent, "decision_id", "%")],
    ];
    for name in others.concat() {
        same!(reader.log_entry_named(&name, None).await?, None);
    }
    for name in named() {
        let of_other = reader.log_entry_named(&name, Some(Id::from_u128(2)));
        same!(of_other.await?, None);
        let found = reader.log_entry_named(&name, None).await?;
        same!(found.as_ref(), all.first());
    }
    Ok(())
}
