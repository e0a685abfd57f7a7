//! Keeping what decisions used, with the records that commit to it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use aims_store::Txn;
use aims_types::{Id, Task};

use super::shipped::Taken;
use super::{FoldError, TakeError};
use crate::vault::{TaskKey, Vault};

/// Keeps what was shipped, after checking that it is what its record commits to. What belongs to an
/// erased task is dropped: a gateway that was away brings it back to nobody. So is what no key is
/// left for.
pub(super) async fn keep(
    vault: &Vault,
    txn: &mut dyn Txn,
    shipped: &[Taken],
) -> Result<(), TakeError> {
    let mut keys: HashMap<Id<Task>, TaskKey> = HashMap::new();
    for one in shipped {
        let Some(material) = &one.material else {
            continue;
        };
        let task = material.task;
        let key = match keys.entry(task) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(vault.key(txn, task).await.map_err(FoldError::from)?),
        };
        // Without a key, for example because an old backup was restored, nobody can ever read it;
        // that is no reason to lose the record.
        let TaskKey::Kept(key) = key else { continue };
        key.open(task, &material.commitment, &material.sealed)
            .map_err(|_| one.wrong_material())?;
        let kept = txn.material_insert(material).await;
        kept.map_err(FoldError::from)?;
    }
    Ok(())
}
