//! Single-use values.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::outcome::{Outcome, same};
use super::sample::{self, at};
use crate::{Error, ReplayKind, Store};

/// Rounds of a race.
const ROUNDS: u128 = 20;
/// More values than an engine forgets at once.
const MANY: u128 = 150;

pub(super) async fn a_value_is_used_once(store: Arc<dyn Store>) -> Outcome {
    use ReplayKind::{Assertion, Consent, Delegation, DpopProof};
    for (kind, n, first) in [
        (Assertion, 1, true),
        (Assertion, 1, false),
        (DpopProof, 1, true),
        (Consent, 1, true),
        (Consent, 2, true),
        (Delegation, 2, true),
        (Delegation, 2, false),
        (DpopProof, 1, false),
        (Consent, 2, false),
    ] {
        same!(
            (kind, n, first_use(&store, kind, n).await?),
            (kind, n, first)
        );
    }
    let (value, later) = (sample::digest("value", 3), at(9));
    let mut txn = store.begin().await?;
    for first in [true, false] {
        same!(
            txn.replay_insert(Consent, &value, at(1), later).await?,
            first
        );
    }
    Ok(())
}

pub(super) async fn of_two_racing_uses_exactly_one_is_the_first(store: Arc<dyn Store>) -> Outcome {
    for round in 0..ROUNDS {
        let mut uses = JoinSet::new();
        for _ in 0..2 {
            let store = Arc::clone(&store);
            uses.spawn(async move { first_use(&store, ReplayKind::DpopProof, round).await });
        }
        let mut firsts = 0;
        while let Some(first) = uses.join_next().await {
            firsts += u32::from(first??);
        }
        same!((round, firsts), (round, 1));
    }
    Ok(())
}

pub(super) async fn a_use_that_is_rolled_back_is_none(store: Arc<dyn Store>) -> Outcome {
    let value = sample::digest("value", 1);
    let mut txn = store.begin().await?;
    same!(
        txn.replay_insert(ReplayKind::Consent, &value, at(1), at(9))
            .await?,
        true
    );
    drop(txn);
    same!(first_use(&store, ReplayKind::Consent, 1).await?, true);
    Ok(())
}

pub(super) async fn what_expired_is_forgotten(store: Arc<dyn Store>) -> Outcome {
    let mut txn = store.begin().await?;
    for (now, first) in [(1, true), (20, false), (21, true), (21, false)] {
        for n in 0..MANY {
            let value = sample::digest("value", n);
            let until = at(now.max(20));
            let seen = txn
                .replay_insert(ReplayKind::Assertion, &value, at(now), until)
                .await?;
            same!((now, n, seen), (now, n, first));
        }
    }
    txn.commit(Vec::new()).await?;
    Ok(())
}

async fn first_use(store: &Arc<dyn Store>, kind: ReplayKind, n: u128) -> Result<bool, Error> {
    let mut txn = store.begin().await?;
    let value = sample::digest("value", n);
    let first = txn.replay_insert(kind, &value, at(1), at(9)).await?;
    txn.commit(Vec::new()).await?;
    Ok(first)
}
