//! Long answers come in pages.

use std::sync::Arc;

use super::log::{entries, head};
use super::outcome::{Outcome, same};
use super::sample;
use crate::Store;

pub(super) async fn the_outbox_is_read_in_pages(store: Arc<dyn Store>) -> Outcome {
    store
        .begin()
        .await?
        .commit((1..8).map(sample::event).collect())
        .await?;
    let mut reader = store.read().await?;
    for (after, limit, wanted) in [
        (0, 3, vec![1, 2, 3]),
        (3, 3, vec![4, 5, 6]),
        (6, 3, vec![7]),
        (7, 3, vec![]),
        (u64::MAX, 3, vec![]),
        (0, 0, vec![]),
        (5, u32::MAX, vec![6, 7]),
    ] {
        let page = reader.outbox_after(after, limit).await?;
        let seen: Vec<_> = page.into_iter().map(|(seq, _)| seq).collect();
        same!((after, limit, seen), (after, limit, wanted));
    }
    Ok(())
}

pub(super) async fn the_log_is_read_in_pages(store: Arc<dyn Store>) -> Outcome {
    let mut txn = store.begin().await?;
    txn.log_append(None, &entries(7)?, &head(7)).await?;
    for (from, limit, wanted) in [
        (0, 3, vec![0, 1, 2]),
        (3, 3, vec![3, 4, 5]),
        (6, 3, vec![6]),
        (7, 3, vec![]),
        (u64::MAX, 3, vec![]),
        (0, 0, vec![]),
        (5, u32::MAX, vec![5, 6]),
    ] {
        let page = txn.log_entries(from, limit).await?;
        let seen: Vec<_> = page.into_iter().map(|entry| entry.index).collect();
        same!((from, limit, seen), (from, limit, wanted));
    }
    Ok(())
}

pub(super) async fn tasks_come_newest_first(store: Arc<dyn Store>) -> Outcome {
    sample::populate(&store).await?;
    let mut txn = store.begin().await?;
    for n in [3, 2, 4] {
        txn.task_insert(&sample::task(n)?).await?;
    }
    for (limit, wanted) in [(0, vec![]), (2, vec![4, 3]), (u32::MAX, vec![4, 3, 2, 1])] {
        let seen: Vec<_> = txn
            .tasks(limit)
            .await?
            .iter()
            .map(|task| task.id.as_u128())
            .collect();
        same!((limit, seen), (limit, wanted));
    }
    Ok(())
}
