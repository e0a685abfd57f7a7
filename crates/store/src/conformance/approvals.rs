//! Requests for approval: one open question at a time, answered and used once.

use std::sync::Arc;

use aims_model::Approval;
use aims_model::approval::Stage;
use aims_types::Id;
use tokio::task::JoinSet;

use super::outcome::{Outcome, refused, same};
use super::sample;
use crate::{Error, Store};

/// Transactions of a race.
const RACERS: u128 = 8;

pub(super) async fn approvals_round_trip(store: Arc<dyn Store>) -> Outcome {
    sample::populate(&store).await?;
    let (mut first, second) = (sample::approval(1)?, sample::approval(2)?);
    let mut txn = store.begin().await?;
    txn.approval_insert(&second).await?;
    txn.approval_insert(&first).await?;
    same!(txn.approvals_open().await?, [first.clone(), second.clone()]);
    first.stage = approved();
    txn.approval_update(&first).await?;
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(reader.approval(first.id).await?, Some(first.clone()));
    same!(
        reader.approvals_open().await?,
        [first.clone(), second.clone()]
    );
    same!(
        reader.approvals(1).await?.as_slice(),
        std::slice::from_ref(&second)
    );
    same!(reader.approvals(0).await?, []);
    same!(reader.approvals(9).await?, [second, first]);
    Ok(())
}

pub(super) async fn every_way_to_be_over_closes_the_question_for_ever(
    store: Arc<dyn Store>,
) -> Outcome {
    sample::populate(&store).await?;
    for (n, stage) in (1..).zip(overs()) {
        let mut approval = sample::approval(n)?;
        let mut txn = store.begin().await?;
        txn.approval_insert(&approval).await?;
        approval.stage = stage;
        txn.approval_update(&approval).await?;
        txn.commit(Vec::new()).await?;
        let mut txn = store.begin().await?;
        same!(txn.approvals_open().await?, []);
        same!(txn.approval(approval.id).await?.as_ref(), Some(&approval));
        for again in [approved(), Stage::Pending {}, approval.stage.clone()] {
            let again = Approval {
                stage: again,
                ..approval.clone()
            };
            refused!(txn.approval_update(&again).await, Error::Raced);
        }
    }
    same!(store.read().await?.approvals(9).await?.len(), overs().len());
    Ok(())
}

pub(super) async fn the_same_question_is_open_once(store: Arc<dyn Store>) -> Outcome {
    sample::populate(&store).await?;
    let mut first = sample::approval(1)?;
    let again = Approval {
        id: Id::from_u128(2),
        ..first.clone()
    };
    let mut txn = store.begin().await?;
    txn.approval_insert(&first).await?;
    for stage in [Stage::Pending {}, approved()] {
        first.stage = stage;
        txn.approval_update(&first).await?;
        refused!(
            txn.approval_insert(&again).await,
            Error::Duplicate { what: "approval" }
        );
    }
    first.stage = used();
    txn.approval_update(&first).await?;
    txn.approval_insert(&again).await?;
    let same_id = Approval {
        id: again.id,
        ..sample::approval(3)?
    };
    refused!(
        txn.approval_insert(&same_id).await,
        Error::Duplicate { what: "approval" }
    );
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(
        reader.approvals_open().await?.as_slice(),
        std::slice::from_ref(&again)
    );
    same!(reader.approvals(9).await?, [again, first]);
    Ok(())
}

pub(super) async fn what_is_asked_never_changes(store: Arc<dyn Store>) -> Outcome {
    sample::populate(&store).await?;
    let approval = sample::approval(1)?;
    let mut txn = store.begin().await?;
    refused!(txn.approval_update(&approval).await, Error::Raced);
    txn.approval_insert(&approval).await?;
    let other = Approval {
        id: approval.id,
        ..sample::approval(2)?
    };
    refused!(txn.approval_update(&other).await, Error::Raced);
    let mut by_another = approval.clone();
    by_another.asked.instance = Id::from_u128(2);
    refused!(txn.approval_update(&by_another).await, Error::Raced);
    txn.commit(Vec::new()).await?;
    let mut forged = approval.clone();
    forged.asked.arguments.push(' ');
    for insert in [true, false] {
        let mut txn = store.begin().await?;
        let result = if insert {
            forged.id = Id::from_u128(5);
            txn.approval_insert(&forged).await
        } else {
            forged.id = approval.id;
            txn.approval_update(&forged).await
        };
        refused!(
            result,
            Error::Unstorable {
                what: "approval",
                ..
            }
        );
    }
    same!(store.read().await?.approvals(9).await?, [approval]);
    Ok(())
}

pub(super) async fn of_racing_questions_and_uses_exactly_one_wins(
    store: Arc<dyn Store>,
) -> Outcome {
    sample::populate(&store).await?;
    let mut racers = JoinSet::new();
    for n in 1..=RACERS {
        let (store, mut approval) = (Arc::clone(&store), sample::approval(1)?);
        approval.id = Id::from_u128(n);
        racers.spawn(async move {
            let mut txn = store.begin().await?;
            txn.approval_insert(&approval).await?;
            txn.commit(Vec::new()).await
        });
    }
    same!(winners(racers).await?, 1);
    let open = store.read().await?.approvals_open().await?;
    let mut racers = JoinSet::new();
    for mut approval in std::iter::repeat_n(open, 8).flatten() {
        let store = Arc::clone(&store);
        approval.stage = used();
        racers.spawn(async move {
            let mut txn = store.begin().await?;
            txn.approval_update(&approval).await?;
            txn.commit(Vec::new()).await
        });
    }
    same!(winners(racers).await?, 1);
    Ok(())
}

/// How many of a race won; the others lost as they should.
pub(super) async fn winners(mut racers: JoinSet<Result<(), Error>>) -> Outcome<usize> {
    let mut winners = 0;
    while let Some(done) = racers.join_next().await {
        match done? {
            Ok(()) => winners += 1,
            Err(Error::Duplicate { .. } | Error::Raced) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(winners)
}

fn approved() -> Stage {
    Stage::Approved {
        at: sample::at(7),
        by: Id::from_u128(2),
        answer: "e30.e30.x".to_owned(),
    }
}

const fn used() -> Stage {
    Stage::Used {
        at: sample::at(8),
        decision: Id::from_u128(9),
    }
}

fn overs() -> [Stage; 4] {
    [
        Stage::Denied {
            at: sample::at(7),
            by: Id::from_u128(2),
            answer: "e30.e30.x".to_owned(),
            reason: sample::LETTERS.to_owned(),
        },
        Stage::TimedOut { at: sample::at(7) },
        Stage::Withdrawn {
            at: sample::at(7),
            why: sample::LETTERS.to_owned(),
        },
        used(),
    ]
}
