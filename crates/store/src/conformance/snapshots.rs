//! A look-up sees one state.

use std::sync::Arc;

use aims_types::Revision;

use super::outcome::{Outcome, same};
use super::sample;
use crate::Store;

pub(super) async fn a_look_up_does_not_move(store: Arc<dyn Store>) -> Outcome {
    // One that looked already, and one that has not looked at anything yet.
    let (mut looked, mut fresh) = (store.read().await?, store.read().await?);
    same!(looked.revision().await?, Revision::ZERO);
    let mut txn = store.begin().await?;
    txn.revision_next().await?;
    txn.person_insert(&sample::person(1)?).await?;
    txn.commit(vec![sample::event(1)]).await?;
    for reader in [&mut looked, &mut fresh] {
        same!(reader.revision().await?, Revision::ZERO);
        same!(reader.people().await?, []);
        same!(reader.outbox_after(0, 9).await?, []);
    }
    let mut newer = store.read().await?;
    same!(newer.revision().await?, Revision::new(1));
    same!(newer.people().await?, [sample::person(1)?]);
    same!(newer.outbox_after(0, 9).await?.len(), 1);
    Ok(())
}

pub(super) async fn an_uncommitted_change_is_seen_by_itself_only(store: Arc<dyn Store>) -> Outcome {
    let mut txn = store.begin().await?;
    txn.revision_next().await?;
    txn.person_insert(&sample::person(1)?).await?;
    same!(txn.people().await?, [sample::person(1)?]);
    same!(txn.revision().await?, Revision::new(1));
    let mut reader = store.read().await?;
    same!(reader.people().await?, []);
    same!(reader.revision().await?, Revision::ZERO);
    Ok(())
}
