//! All of a transaction, or nothing.

use std::sync::Arc;

use aims_json::Object;
use aims_model::record::RECORD_LEN_MAX;
use aims_model::{Event, EventKind};
use aims_types::{Id, Revision};

use super::outcome::{Outcome, refused, same};
use super::sample;
use crate::{Error, ReplayKind, Store, Txn};

pub(super) async fn what_is_dropped_leaves_no_trace(store: Arc<dyn Store>) -> Outcome {
    let mut txn = store.begin().await?;
    change_everything(txn.as_mut()).await?;
    drop(txn);
    nothing_happened(&store).await?;
    let mut txn = store.begin().await?;
    change_everything(txn.as_mut()).await?;
    same!(txn.revision_next().await?, Revision::new(1));
    txn.commit(vec![sample::event(1)]).await?;
    same!(store.read().await?.outbox_after(0, 9).await?.len(), 1);
    Ok(())
}

pub(super) async fn what_is_committed_is_there_for_everybody(store: Arc<dyn Store>) -> Outcome {
    let mut txn = store.begin().await?;
    txn.person_insert(&sample::person(1)?).await?;
    txn.commit(Vec::new()).await?;
    let wanted = Some(sample::person(1)?);
    same!(store.read().await?.person(Id::from_u128(1)).await?, wanted);
    same!(store.begin().await?.person(Id::from_u128(1)).await?, wanted);
    Ok(())
}

pub(super) async fn an_event_that_no_record_can_hold_undoes_everything(
    store: Arc<dyn Store>,
) -> Outcome {
    let body = Object::new().with("x", "y".repeat(RECORD_LEN_MAX));
    let long = Event::new(EventKind::RequestRefused, sample::at(1), body);
    let mut txn = store.begin().await?;
    change_everything(txn.as_mut()).await?;
    refused!(
        txn.commit(vec![sample::event(1), long]).await,
        Error::Record(_)
    );
    nothing_happened(&store).await
}

pub(super) async fn a_refused_change_leaves_the_transaction_usable(
    store: Arc<dyn Store>,
) -> Outcome {
    let mut txn = store.begin().await?;
    txn.person_insert(&sample::person(1)?).await?;
    refused!(
        txn.person_insert(&sample::person(1)?).await,
        Error::Duplicate { what: "person" }
    );
    refused!(txn.person_update(&sample::person(2)?).await, Error::Raced);
    txn.person_insert(&sample::person(3)?).await?;
    txn.commit(vec![sample::event(1)]).await?;
    let mut reader = store.read().await?;
    same!(
        reader.people().await?,
        [sample::person(1)?, sample::person(3)?]
    );
    same!(reader.outbox_after(0, 9).await?.len(), 1);
    Ok(())
}

pub(super) async fn a_dangling_reference_ends_the_transaction(store: Arc<dyn Store>) -> Outcome {
    let mut txn = store.begin().await?;
    change_everything(txn.as_mut()).await?;
    let orphan = sample::agent(2, Id::from_u128(7))?;
    refused!(
        txn.agent_insert(&orphan).await,
        Error::Dangling { what: "agent" }
    );
    refused!(
        txn.person_insert(&sample::person(9)?).await,
        Error::Unavailable(_)
    );
    refused!(txn.people().await, Error::Unavailable(_));
    refused!(txn.commit(Vec::new()).await, Error::Unavailable(_));
    nothing_happened(&store).await
}

async fn change_everything(txn: &mut dyn Txn) -> Outcome {
    txn.revision_next().await?;
    txn.person_insert(&sample::person(1)?).await?;
    txn.agent_insert(&sample::agent(1, Id::from_u128(1))?)
        .await?;
    let value = sample::digest("value", 1);
    let (now, later) = (sample::at(1), sample::at(9));
    same!(
        txn.replay_insert(ReplayKind::Consent, &value, now, later)
            .await?,
        true
    );
    Ok(())
}

async fn nothing_happened(store: &Arc<dyn Store>) -> Outcome {
    let mut reader = store.read().await?;
    same!(reader.people().await?, []);
    same!(reader.agents().await?, []);
    same!(reader.outbox_after(0, 9).await?, []);
    same!(reader.revision().await?, Revision::ZERO);
    Ok(())
}
