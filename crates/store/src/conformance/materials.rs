//! What decisions used.

use std::sync::Arc;

use aims_model::approval::Stage;
use aims_types::{Id, Task};
use tokio::task::JoinSet;

use super::outcome::{Outcome, refused, same};
use super::sample;
use crate::{Error, MaterialKeyRow, SEALED_KEY_LEN, SealedMaterial, Store};

const KEY: [u8; SEALED_KEY_LEN] = [0xfe; SEALED_KEY_LEN];

// The tasks are not there: materials may outlive what they speak of.
fn task(n: u128) -> Id<Task> {
    Id::from_u128(n)
}

fn material(of: Id<Task>, n: u128) -> SealedMaterial {
    SealedMaterial {
        task: of,
        commitment: sample::digest("material", n),
        sealed: vec![0, 255, 0],
    }
}

pub(super) async fn material_is_kept_once(store: Arc<dyn Store>) -> Outcome {
    let first = material(task(1), 1);
    let again = SealedMaterial {
        task: task(2),
        sealed: Vec::new(),
        ..first.clone()
    };
    let empty = SealedMaterial {
        commitment: sample::digest("material", 2),
        ..again.clone()
    };
    let mut txn = store.begin().await?;
    refused!(txn.material_insert(&first).await, Error::Raced);
    txn.material_key_insert(task(1), &KEY).await?;
    txn.material_key_insert(task(2), &KEY).await?;
    for material in [&first, &again, &empty] {
        txn.material_insert(material).await?;
    }
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(reader.material(&first.commitment).await?, Some(first));
    same!(reader.material(&empty.commitment).await?, Some(empty));
    Ok(())
}

pub(super) async fn a_key_is_kept_once(store: Arc<dyn Store>) -> Outcome {
    let mut txn = store.begin().await?;
    same!(txn.material_key(task(1)).await?, None);
    txn.material_key_insert(task(1), &KEY).await?;
    let other = [1; SEALED_KEY_LEN];
    refused!(
        txn.material_key_insert(task(1), &other).await,
        Error::Duplicate { .. }
    );
    txn.material_key_insert(task(2), &other).await?;
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    let kept = MaterialKeyRow::Kept;
    same!(reader.material_key(task(1)).await?, Some(kept(KEY)));
    same!(reader.material_key(task(2)).await?, Some(kept(other)));
    Ok(())
}

pub(super) async fn what_is_erased_stays_erased(store: Arc<dyn Store>) -> Outcome {
    sample::populate(&store).await?;
    let mut asked = sample::approval(1)?;
    let (mut spared, second_task) = (sample::approval(2)?, sample::task(2)?);
    spared.asked.task = second_task.id;
    spared.digest = spared.asked.digest()?;
    let gone = asked.asked.task;
    let (first, second) = (material(gone, 1), material(gone, 2));
    let other = material(spared.asked.task, 3);
    let mut txn = store.begin().await?;
    txn.task_insert(&second_task).await?;
    for approval in [&asked, &spared] {
        txn.approval_insert(approval).await?;
        txn.material_key_insert(approval.asked.task, &KEY).await?;
    }
    asked.stage = Stage::TimedOut { at: sample::at(9) };
    txn.approval_update(&asked).await?;
    for material in [&first, &second, &other] {
        txn.material_insert(material).await?;
    }
    txn.commit(Vec::new()).await?;
    let mut txn = store.begin().await?;
    same!(txn.task_erase(gone).await?, Some(2));
    same!(txn.task_erase(gone).await?, None);
    same!(txn.task_erase(task(77)).await?, Some(0));
    txn.commit(Vec::new()).await?;
    same!(store.scrub().await?, true);
    let mut txn = store.begin().await?;
    for erased in [gone, task(77)] {
        let erased_key = Some(MaterialKeyRow::Erased);
        same!(txn.material_key(erased).await?, erased_key);
        refused!(
            txn.material_key_insert(erased, &KEY).await,
            Error::Duplicate { .. }
        );
        let late = material(erased, 4);
        refused!(txn.material_insert(&late).await, Error::Raced);
    }
    same!(txn.material(&first.commitment).await?, None);
    same!(txn.material(&second.commitment).await?, None);
    same!(txn.approval(asked.id).await?, None);
    same!(txn.material(&other.commitment).await?, Some(other.clone()));
    same!(txn.approval(spared.id).await?, Some(spared.clone()));
    Ok(())
}

pub(super) async fn an_erasure_that_is_rolled_back_is_none(store: Arc<dyn Store>) -> Outcome {
    let one = material(task(1), 1);
    let mut txn = store.begin().await?;
    txn.material_key_insert(task(1), &KEY).await?;
    txn.material_insert(&one).await?;
    txn.commit(Vec::new()).await?;
    let mut txn = store.begin().await?;
    same!(txn.task_erase(task(1)).await?, Some(1));
    drop(txn);
    let mut reader = store.read().await?;
    same!(reader.material(&one.commitment).await?, Some(one));
    let kept = Some(MaterialKeyRow::Kept(KEY));
    same!(reader.material_key(task(1)).await?, kept);
    Ok(())
}

pub(super) async fn of_racing_erasures_exactly_one_is_the_first(store: Arc<dyn Store>) -> Outcome {
    let mut races = JoinSet::new();
    for _ in 0..4 {
        let store = Arc::clone(&store);
        races.spawn(async move {
            let mut txn = store.begin().await?;
            let erased = txn.task_erase(task(1)).await?;
            txn.commit(Vec::new()).await?;
            Ok::<_, Error>(erased)
        });
    }
    let mut first = 0;
    while let Some(done) = races.join_next().await {
        first += u32::from(done??.is_some());
    }
    same!(first, 1);
    Ok(())
}
