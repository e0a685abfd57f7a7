//! Numbers without gaps, in the order of commits.

use std::sync::Arc;

use aims_json::Value;
use aims_model::record::FIRST_PREV;
use aims_model::{Record, Source};
use aims_types::Revision;
use tokio::task::{JoinSet, yield_now};

use super::outcome::{Outcome, Seen, same};
use super::sample;
use crate::{PAGE_LEN_MAX, Store};

/// Tasks that commit at the same time.
const TASKS: u64 = 8;
/// Transactions of each task; every third is rolled back.
const ROUNDS: u64 = 15;
/// How often others get the chance to do what they must not be able to do.
const CHANCES: usize = 200;

pub(super) async fn a_revision_is_taken_once_per_transaction(store: Arc<dyn Store>) -> Outcome {
    for number in 1..4 {
        let mut txn = store.begin().await?;
        same!(txn.revision().await?, Revision::new(number - 1));
        same!(txn.revision_next().await?, Revision::new(number));
        same!(txn.revision_next().await?, Revision::new(number));
        same!(txn.revision().await?, Revision::new(number));
        txn.commit(Vec::new()).await?;
        same!(store.read().await?.revision().await?, Revision::new(number));
    }
    Ok(())
}

pub(super) async fn records_are_chained_in_the_order_given(store: Arc<dyn Store>) -> Outcome {
    for events in [vec![1, 2, 3], vec![], vec![4], vec![5, 6]] {
        let txn = store.begin().await?;
        txn.commit(events.into_iter().map(sample::event).collect())
            .await?;
    }
    let records = records(&store).await?;
    let events: Vec<_> = records.into_iter().map(|record| record.event).collect();
    same!(events, (1..7).map(sample::event).collect::<Vec<_>>());
    Ok(())
}

pub(super) async fn concurrent_transactions_get_gapless_numbers_in_commit_order(
    store: Arc<dyn Store>,
) -> Outcome {
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&store);
        tasks.spawn(async move { commit_many(&store, task).await.map_err(|e| e.to_string()) });
    }
    while let Some(done) = tasks.join_next().await {
        done?.map_err(Seen::new)?;
    }
    let committed = TASKS * (ROUNDS - ROUNDS / 3);
    let said: Vec<_> = records(&store)
        .await?
        .iter()
        .map(|record| record.event.body.get("n").and_then(Value::as_u64))
        .collect();
    same!(said, (1..=committed).map(Some).collect::<Vec<_>>());
    let mut reader = store.read().await?;
    same!(reader.revision().await?, Revision::new(committed));
    same!(u64::try_from(reader.people().await?.len())?, committed);
    Ok(())
}

/// Each transaction records its own revision. After the commit everybody sees it.
async fn commit_many(store: &Arc<dyn Store>, task: u64) -> Outcome {
    for round in 0..ROUNDS {
        let mut txn = store.begin().await?;
        let revision = txn.revision_next().await?;
        yield_now().await;
        txn.person_insert(&sample::person(u128::from(task * ROUNDS + round))?)
            .await?;
        if round % 3 == 2 {
            continue;
        }
        txn.commit(vec![sample::event(revision.number())]).await?;
        let seen = store.read().await?.revision().await?;
        if seen < revision {
            return Err(Seen::new(format!(
                "revision {revision} was committed, but {seen} is new"
            )));
        }
    }
    Ok(())
}

pub(super) async fn a_revision_is_locked_until_its_transaction_ends(
    store: Arc<dyn Store>,
) -> Outcome {
    let mut first = store.begin().await?;
    let revision = first.revision_next().await?;
    let mut others = JoinSet::new();
    let other = Arc::clone(&store);
    others.spawn(async move {
        let mut second = other.begin().await?;
        let revision = second.revision_next().await?;
        let seen = second.people().await?.len();
        second.commit(vec![sample::event(2)]).await?;
        Ok::<_, crate::Error>((revision, seen))
    });
    for _ in 0..CHANCES {
        yield_now().await;
        if others.try_join_next().is_some() {
            return Err(Seen::new(
                "a transaction did not wait for the one that holds the revision",
            ));
        }
    }
    first.person_insert(&sample::person(1)?).await?;
    first.commit(vec![sample::event(1)]).await?;
    while let Some(second) = others.join_next().await {
        same!(second??, (revision.next(), 1));
    }
    Ok(())
}

/// The whole outbox, after checking that it has no gap and is chained.
async fn records(store: &Arc<dyn Store>) -> Outcome<Vec<Record>> {
    let rows = store.read().await?.outbox_after(0, PAGE_LEN_MAX).await?;
    let mut prev = FIRST_PREV;
    let mut records = Vec::new();
    for (wanted, (seq, bytes)) in (1_u64..).zip(rows) {
        let record = Record::decode(&bytes)?;
        same!((seq, record.seq), (wanted, wanted));
        same!((record.source, record.prev), (Source::Server, prev));
        prev = aims_crypto::sha256(&bytes);
        records.push(record);
    }
    Ok(records)
}
