//! Nodes and gateways: how they join, their leases, and which trees a gateway owns.

use std::sync::Arc;

use aims_model::{JoinToken, LeaseRow, Point, PointKind, TreeOwner, Unaccounted};
use aims_types::{Id, Revision, Task};
use tokio::task::JoinSet;

use super::approvals::winners;
use super::outcome::{Outcome, refused, same};
use super::sample;
use crate::{Error, Store};

/// Transactions of a race.
const RACERS: u128 = 8;

pub(super) async fn a_join_token_is_used_once(store: Arc<dyn Store>) -> Outcome {
    sample::populate(&store).await?;
    let mut txn = store.begin().await?;
    let tokens = [
        sample::join_token(1, PointKind::Node),
        sample::join_token(2, PointKind::Gateway),
    ];
    for token in &tokens {
        refused!(txn.join_token_update(token).await, Error::Raced);
        txn.join_token_insert(token).await?;
        refused!(
            txn.join_token_insert(token).await,
            Error::Duplicate { what: "join token" }
        );
    }
    txn.commit(Vec::new()).await?;
    for token in tokens {
        same!(
            store.read().await?.join_token(&token.digest).await?,
            Some(token.clone())
        );
        let used = JoinToken {
            used_by: Some(Point::Gateway(Id::from_u128(u128::MAX))),
            ..token.clone()
        };
        let longer = JoinToken {
            expires_at: sample::at(999),
            ..used.clone()
        };
        let mut txn = store.begin().await?;
        refused!(txn.join_token_update(&longer).await, Error::Raced);
        txn.join_token_update(&used).await?;
        for again in [&used, &token] {
            refused!(txn.join_token_update(again).await, Error::Raced);
        }
        txn.commit(Vec::new()).await?;
        let mut reader = store.read().await?;
        same!(reader.join_token(&token.digest).await?, Some(used));
    }
    Ok(())
}

pub(super) async fn of_racing_joins_exactly_one_wins(store: Arc<dyn Store>) -> Outcome {
    sample::populate(&store).await?;
    let token = sample::join_token(1, PointKind::Node);
    let mut txn = store.begin().await?;
    txn.join_token_insert(&token).await?;
    txn.commit(Vec::new()).await?;
    let mut racers = JoinSet::new();
    for n in 0..RACERS {
        let (store, mut token) = (Arc::clone(&store), token.clone());
        token.used_by = Some(Point::Node(Id::from_u128(n)));
        racers.spawn(async move {
            let mut txn = store.begin().await?;
            txn.join_token_update(&token).await?;
            txn.commit(Vec::new()).await
        });
    }
    same!(winners(racers).await?, 1);
    Ok(())
}

pub(super) async fn leases_are_replaced_and_forgotten(store: Arc<dyn Store>) -> Outcome {
    let points = [
        Point::Gateway(Id::from_u128(1)),
        Point::Gateway(Id::from_u128(2)),
        Point::Node(Id::from_u128(1)),
        Point::Node(Id::from_u128(u128::MAX)),
    ];
    let leases = points.map(|point| sample::lease(point, 1));
    let mut txn = store.begin().await?;
    for lease in leases.iter().rev() {
        txn.lease_put(lease).await?;
    }
    txn.commit(Vec::new()).await?;
    same!(store.read().await?.leases().await?, leases);
    // Another boot: everything about it may change, also backwards.
    let [first, second, ..] = leases;
    let later = LeaseRow {
        boot: "another".to_owned(),
        until: 0,
        acknowledged: Revision::new(9),
        address: None,
        ..first.clone()
    };
    let mut txn = store.begin().await?;
    txn.lease_put(&later).await?;
    for _ in 0..2 {
        txn.lease_remove(second.point).await?;
    }
    same!(txn.lease(first.point).await?.as_ref(), Some(&later));
    same!(
        store.read().await?.lease(first.point).await?.as_ref(),
        Some(&first)
    );
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(reader.lease(first.point).await?, Some(later));
    same!(reader.lease(second.point).await?, None);
    same!(reader.leases().await?.len(), 3);
    Ok(())
}

pub(super) async fn a_lease_that_is_rolled_back_is_none(store: Arc<dyn Store>) -> Outcome {
    let lease = sample::lease(Point::Node(Id::from_u128(1)), 1);
    let mut txn = store.begin().await?;
    txn.lease_put(&lease).await?;
    drop(txn);
    same!(store.read().await?.leases().await?, []);
    let beyond = LeaseRow {
        until: u64::MAX,
        ..lease
    };
    refused!(
        store.begin().await?.lease_put(&beyond).await,
        Error::Unstorable { what: "lease", .. }
    );
    Ok(())
}

pub(super) async fn a_tree_has_one_owner_after_the_other(store: Arc<dyn Store>) -> Outcome {
    let (task, _) = sample::populate(&store).await?;
    let owner = |gateway, epoch, released| owner(task.id, (gateway, epoch), released);
    let mut txn = store.begin().await?;
    same!(txn.tree_owner(task.id).await?, None);
    let steps = [
        (owner(1, 0, false), false),
        (owner(1, 2, false), false),
        (owner(1, 1, false), true),
        // Nobody else at the same epoch, whether released or not.
        (owner(2, 1, false), false),
        (owner(2, 1, true), false),
        (owner(1, 1, true), true),
        (owner(1, 1, true), true),
        // What was given back is taken again with the next epoch only.
        (owner(1, 1, false), false),
        (owner(2, 3, false), false),
        (owner(2, 2, false), true),
        (owner(1, 2, true), false),
        (owner(1, 1, true), false),
        // An owner whose lease ended is followed by another.
        (owner(1, 3, false), true),
        (owner(1, 4, false), true),
    ];
    let mut stored = None;
    for (step, taken) in steps {
        match txn.tree_owner_put(&step).await {
            Ok(()) if taken => stored = Some(step),
            Err(Error::Raced) if !taken => {}
            other => same!(
                (step, other.map_err(|error| error.to_string())),
                (owner(0, 0, taken), Ok(()))
            ),
        }
        same!(txn.tree_owner(task.id).await?, stored);
    }
    txn.commit(Vec::new()).await?;
    same!(store.read().await?.tree_owner(task.id).await?, stored);
    Ok(())
}

/// An owner, with one that is unaccounted for since the epoch before.
fn owner(task: Id<Task>, (gateway, epoch): (u128, u64), released: bool) -> TreeOwner {
    let lost = |gateway: u128| Unaccounted {
        gateway: Id::from_u128(gateway),
        uses: 3,
        since: Revision::new(epoch),
    };
    TreeOwner {
        task,
        gateway: Id::from_u128(gateway),
        epoch,
        released,
        window: u32::MAX,
        unaccounted: (epoch > 1).then(|| lost(gateway + 1)).into_iter().collect(),
    }
}

pub(super) async fn who_is_unaccounted_for_stays_until_it_is_not(store: Arc<dyn Store>) -> Outcome {
    let (task, _) = sample::populate(&store).await?;
    let lost = |gateway: u128, since| Unaccounted {
        gateway: Id::from_u128(gateway),
        uses: u32::MAX,
        since: Revision::new(since),
    };
    let first = TreeOwner {
        unaccounted: vec![lost(1, 3), lost(2, 4)],
        ..owner(task.id, (3, 1), false)
    };
    let mut txn = store.begin().await?;
    txn.tree_owner_put(&first).await?;
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(reader.tree_owner(task.id).await?.as_ref(), Some(&first));
    let one = Id::from_u128(1);
    same!(
        reader.tree_owners_without(one, 9).await?,
        std::slice::from_ref(&first)
    );
    same!(reader.tree_owners_without(one, 0).await?, []);
    same!(reader.tree_owners_without(Id::from_u128(3), 9).await?, []);
    let mut txn = store.begin().await?;
    txn.tree_accounted(task.id, one).await?;
    refused!(txn.tree_accounted(task.id, one).await, Error::Raced);
    same!(txn.tree_owners_without(one, 9).await?, []);
    // Who loses a race changes nothing of it, and who wins replaces all of it.
    let late = TreeOwner {
        unaccounted: vec![lost(1, 3)],
        ..owner(task.id, (4, 1), false)
    };
    refused!(txn.tree_owner_put(&late).await, Error::Raced);
    let rest = TreeOwner {
        unaccounted: vec![lost(2, 4)],
        ..first.clone()
    };
    same!(txn.tree_owner(task.id).await?, Some(rest));
    let next = TreeOwner {
        unaccounted: vec![lost(2, 5), lost(3, 6)],
        ..owner(task.id, (4, 2), false)
    };
    txn.tree_owner_put(&next).await?;
    same!(txn.tree_owner(task.id).await?, Some(next));
    drop(txn);
    same!(
        store.read().await?.tree_owners_without(one, 9).await?,
        [first]
    );
    Ok(())
}

pub(super) async fn of_racing_claims_on_a_tree_exactly_one_wins(store: Arc<dyn Store>) -> Outcome {
    let (task, _) = sample::populate(&store).await?;
    for epoch in 1..=4 {
        let mut racers = JoinSet::new();
        for n in 0..RACERS {
            let store = Arc::clone(&store);
            let owner = owner(task.id, (n, epoch), false);
            racers.spawn(async move {
                let mut txn = store.begin().await?;
                txn.tree_owner_put(&owner).await?;
                txn.commit(Vec::new()).await
            });
        }
        same!(winners(racers).await?, 1);
    }
    Ok(())
}
