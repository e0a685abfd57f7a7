//! The log: compare-and-swap, and nothing that does not continue it.

use std::sync::Arc;

use aims_crypto::sha256;
use aims_model::Source;
use aims_model::record::FIRST_PREV;
use aims_types::{Digest, Id};
use tokio::task::JoinSet;

use super::outcome::{Outcome, Seen, refused, same};
use super::sample;
use crate::{Error, LogEntry, LogHead, Store};

/// Tasks that append at the same time.
const RACERS: u8 = 4;
/// Rounds of the race.
const ROUNDS: u64 = 8;

type Change = fn(&mut Vec<LogEntry>);

/// Three in four entries are the server's, the others a gateway's; every second one has task 1.
pub(super) fn entries(count: u64) -> Outcome<Vec<LogEntry>> {
    let gateway = Source::Gateway(Id::from_u128(1));
    let (mut server, mut other) = ((0, FIRST_PREV), (0, FIRST_PREV));
    (0..count)
        .map(|index| {
            let (source, last) = match index % 4 {
                3 => (gateway, &mut other),
                _ => (Source::Server, &mut server),
            };
            let entry = entry(index, source, last.0 + 1, last.1)?;
            *last = (entry.seq, sha256(&entry.record));
            Ok(entry)
        })
        .collect()
}

pub(super) fn head(size: u64) -> LogHead {
    let root = sample::digest("root", u128::from(size));
    LogHead {
        size,
        root,
        checkpoint: format!("aims.local/log\n{size}\nAA==\n\n\u{2014} k AA==\n"),
    }
}

fn entry(index: u64, source: Source, seq: u64, prev: Digest) -> Outcome<LogEntry> {
    let task = (index % 2 == 1).then(|| Id::from_u128(1));
    let mut event = sample::event(index);
    event.task = task;
    Ok(LogEntry {
        index,
        source,
        seq,
        task,
        record: event.encode(source, seq, prev)?,
    })
}

pub(super) async fn a_log_grows_and_is_read_back(store: Arc<dyn Store>) -> Outcome {
    let all = entries(9)?;
    let mut expected: Option<LogHead> = None;
    for (from, to) in [(0_u64, 0_u64), (0, 1), (1, 6), (6, 9)] {
        let (skip, take) = (usize::try_from(from)?, usize::try_from(to - from)?);
        let part: Vec<_> = all.iter().skip(skip).take(take).cloned().collect();
        let mut txn = store.begin().await?;
        txn.log_append(expected.as_ref(), &part, &head(to)).await?;
        txn.commit(Vec::new()).await?;
        expected = Some(head(to));
        same!(store.read().await?.log_head().await?, expected);
    }
    let mut reader = store.read().await?;
    same!(reader.log_entries(0, 99).await?, all);
    let of_task: Vec<_> = all
        .iter()
        .filter(|entry| entry.task.is_some())
        .cloned()
        .collect();
    let (first, second) = (Id::from_u128(1), Id::from_u128(2));
    for (from, limit) in [
        (0, 99),
        (0, 2),
        (1, 2),
        (2, 2),
        (7, 9),
        (8, 9),
        (0, 0),
        (u64::MAX, 1),
    ] {
        let page = of_task.iter().filter(|entry| entry.index >= from);
        let page: Vec<_> = page.take(usize::try_from(limit)?).cloned().collect();
        same!(reader.log_entries_of_task(first, from, limit).await?, page);
    }
    same!(reader.log_entries_of_task(second, 0, 99).await?, []);
    let mut of_gateways = of_task;
    of_gateways.retain(|entry| entry.source != Source::Server);
    for (skip, limit) in [(0, 9), (0, 1), (1, 9), (2, 9), (u64::MAX, 1)] {
        let page = of_gateways.iter().skip(usize::try_from(skip)?);
        let page: Vec<_> = page.take(usize::try_from(limit)?).cloned().collect();
        same!(
            reader.log_entries_of_gateways(first, skip, limit).await?,
            page
        );
    }
    same!(reader.log_entries_of_gateways(second, 0, 9).await?, []);
    let mut heads: Vec<_> = reader
        .log_sources()
        .await?
        .iter()
        .map(|head| (head.source, head.seq))
        .collect();
    heads.sort_unstable();
    same!(
        heads,
        [(Source::Server, 7), (Source::Gateway(Id::from_u128(1)), 2)]
    );
    for source in reader.log_sources().await? {
        let last = all.iter().rfind(|entry| entry.source == source.source);
        same!(last.map(|entry| sha256(&entry.record)), Some(source.digest));
    }
    Ok(())
}

pub(super) async fn what_does_not_continue_the_log_is_refused(store: Arc<dyn Store>) -> Outcome {
    let (all, old) = (entries(9)?, head(5));
    let mut txn = store.begin().await?;
    txn.log_append(None, all.get(..5).unwrap_or_default(), &old)
        .await?;
    txn.commit(Vec::new()).await?;
    let rest = all.get(5..).unwrap_or_default();
    let changes: [(&str, Change); 10] = [
        ("an index is skipped", |part| shift(part)),
        ("the first is missing", |part| drop(part.remove(0))),
        ("one in the middle is missing", |part| drop(part.remove(1))),
        ("the last is missing", |part| drop(part.pop())),
        ("two are swapped", |part| part.swap(0, 1)),
        ("one is there twice", |part| part.extend_from_within(..1)),
        ("a record is no record", |part| {
            first(part, |entry| entry.record.clear());
        }),
        ("another task", |part| {
            first(part, |entry| entry.task = None);
        }),
        ("another number", |part| first(part, |entry| entry.seq += 1)),
        ("another predecessor", |part| {
            first(part, |entry| entry.record = rewritten(entry));
        }),
    ];
    let mut txn = store.begin().await?;
    for (what, change) in changes {
        let mut part = rest.to_vec();
        change(&mut part);
        match txn.log_append(Some(&old), &part, &head(9)).await {
            Err(Error::Broken { .. }) => {}
            other => return Err(Seen::new(format!("{what}: saw {other:?}"))),
        }
    }
    refused!(
        txn.log_append(Some(&old), rest, &head(8)).await,
        Error::Broken { .. }
    );
    let other_root = LogHead {
        root: sample::digest("other", 1),
        ..head(5)
    };
    refused!(
        txn.log_append(Some(&old), &[], &other_root).await,
        Error::Broken { .. }
    );
    same!(txn.log_head().await?, Some(old.clone()));
    same!(txn.log_entries(0, 99).await?.len(), 5);
    txn.log_append(Some(&old), rest, &head(9)).await?;
    txn.commit(Vec::new()).await?;
    same!(store.read().await?.log_entries(0, 99).await?, all);
    Ok(())
}

pub(super) async fn another_head_than_expected_loses(store: Arc<dyn Store>) -> Outcome {
    let all = entries(2)?;
    let (first, second) = (
        all.get(..1).unwrap_or_default(),
        all.get(1..).unwrap_or_default(),
    );
    let mut txn = store.begin().await?;
    refused!(
        txn.log_append(Some(&head(0)), first, &head(1)).await,
        Error::Raced
    );
    txn.log_append(None, first, &head(1)).await?;
    refused!(txn.log_append(None, first, &head(1)).await, Error::Raced);
    for wrong in [
        head(0),
        LogHead {
            root: sample::digest("other", 1),
            ..head(1)
        },
        LogHead {
            checkpoint: String::new(),
            ..head(1)
        },
        LogHead { size: 2, ..head(1) },
    ] {
        refused!(
            txn.log_append(Some(&wrong), second, &head(2)).await,
            Error::Raced
        );
    }
    // The same tree with more signatures.
    let witnessed = LogHead {
        checkpoint: format!("{}+", head(1).checkpoint),
        ..head(1)
    };
    txn.log_append(Some(&head(1)), &[], &witnessed).await?;
    txn.log_append(Some(&witnessed), second, &head(2)).await?;
    txn.commit(Vec::new()).await?;
    same!(store.read().await?.log_head().await?, Some(head(2)));
    Ok(())
}

pub(super) async fn of_racing_appends_exactly_one_wins(store: Arc<dyn Store>) -> Outcome {
    let all = entries(ROUNDS)?;
    let mut expected: Option<LogHead> = None;
    for next in all {
        let mut racers = JoinSet::new();
        for racer in 0..RACERS {
            let (store, expected, entry) = (Arc::clone(&store), expected.clone(), next.clone());
            let root = Digest::from_bytes([racer; 32]);
            let head = LogHead {
                root,
                ..head(next.index + 1)
            };
            racers.spawn(async move {
                let mut txn = store.begin().await?;
                txn.log_append(expected.as_ref(), &[entry], &head).await?;
                txn.commit(Vec::new()).await.map(|()| head)
            });
        }
        let mut winners = Vec::new();
        while let Some(done) = racers.join_next().await {
            match done? {
                Ok(head) => winners.push(head),
                Err(Error::Raced) => {}
                Err(error) => return Err(error.into()),
            }
        }
        same!(winners.len(), 1);
        expected = winners.pop();
        same!(store.read().await?.log_head().await?, expected);
    }
    Ok(())
}

fn first(part: &mut [LogEntry], change: impl Fn(&mut LogEntry)) {
    if let Some(entry) = part.first_mut() {
        change(entry);
    }
}

fn shift(part: &mut [LogEntry]) {
    for entry in part {
        entry.index += 1;
    }
}

/// The same record after another one.
fn rewritten(entry: &LogEntry) -> Vec<u8> {
    let prev = sample::digest("other", 1);
    let event = aims_model::Record::decode(&entry.record).map(|record| record.event);
    let bytes = event.and_then(|event| event.encode(entry.source, entry.seq, prev));
    bytes.unwrap_or_default()
}
