//! What decisions used.

use std::sync::Arc;

use aims_types::Id;

use super::outcome::{Outcome, same};
use super::sample;
use crate::{Material, Store};

pub(super) async fn material_is_kept_once(store: Arc<dyn Store>) -> Outcome {
    // The task is not there: materials may outlive what they speak of.
    let first = Material {
        task: Id::from_u128(1),
        commitment: sample::digest("material", 1),
        salt: [0xfe; 16],
        bytes: vec![0, 255, 0],
    };
    let again = Material {
        task: Id::from_u128(2),
        bytes: Vec::new(),
        ..first.clone()
    };
    let empty = Material {
        commitment: sample::digest("material", 2),
        ..again.clone()
    };
    let mut txn = store.begin().await?;
    for material in [&first, &again, &empty] {
        txn.material_insert(material).await?;
    }
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(reader.material(&first.commitment).await?, Some(first));
    same!(reader.material(&empty.commitment).await?, Some(empty));
    Ok(())
}
