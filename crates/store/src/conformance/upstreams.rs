//! Upstreams and their sealed credentials.

use std::sync::Arc;

use aims_types::Id;

use super::outcome::{Outcome, refused, same};
use super::sample;
use crate::{Error, Store, StoredCredential};

fn credential(version: u32) -> StoredCredential {
    StoredCredential {
        upstream: Id::from_u128(1),
        version,
        wrapped_key: vec![0, 255, 1],
        sealed: vec![7; 300],
    }
}

pub(super) async fn upstreams_round_trip(store: Arc<dyn Store>) -> Outcome {
    let (mut first, second) = (sample::upstream(1)?, sample::upstream(2)?);
    let mut txn = store.begin().await?;
    txn.upstream_insert(&second).await?;
    txn.upstream_insert(&first).await?;
    let mut same_name = first.clone();
    same_name.id = Id::from_u128(3);
    refused!(
        txn.upstream_insert(&same_name).await,
        Error::Duplicate { what: "upstream" }
    );
    first.version = 2;
    first.rotated_at = Some(sample::at(5));
    first.retired_at = Some(sample::at(6));
    txn.upstream_update(&first).await?;
    same_name.id = second.id;
    refused!(txn.upstream_update(&same_name).await, Error::Raced);
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(
        reader.upstream_by_name(&first.name).await?.as_ref(),
        Some(&first)
    );
    same!(reader.upstream(second.id).await?.as_ref(), Some(&second));
    same!(reader.upstreams().await?, [first, second]);
    Ok(())
}

pub(super) async fn a_credential_is_replaced_and_forgotten(store: Arc<dyn Store>) -> Outcome {
    let mut txn = store.begin().await?;
    txn.upstream_insert(&sample::upstream(1)?).await?;
    txn.credential_put(&credential(1)).await?;
    txn.commit(Vec::new()).await?;
    let mut txn = store.begin().await?;
    same!(txn.credential(Id::from_u128(1)).await?, Some(credential(1)));
    txn.credential_put(&credential(2)).await?;
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(
        reader.credential(Id::from_u128(1)).await?,
        Some(credential(2))
    );
    drop(reader);
    let mut txn = store.begin().await?;
    txn.credential_remove(Id::from_u128(1)).await?;
    txn.credential_remove(Id::from_u128(1)).await?;
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(reader.credential(Id::from_u128(1)).await?, None);
    Ok(())
}

pub(super) async fn a_credential_belongs_to_an_upstream(store: Arc<dyn Store>) -> Outcome {
    let mut txn = store.begin().await?;
    refused!(
        txn.credential_put(&credential(1)).await,
        Error::Dangling { what: "credential" }
    );
    Ok(())
}
