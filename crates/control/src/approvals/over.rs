//! Requests that nothing can come of any more.

use std::time::Duration;

use aims_json::Object;
use aims_model::approval::Stage;
use aims_model::{Approval, Event};
use aims_store::{Reader, Txn};
use aims_types::{Cx, Decision, Gateway, Id, Task, Timestamp};

use super::ended_event;
use super::used::intent_of;
use crate::Fault;
use crate::liveness::{LiveInstance, NotLive};
use crate::trace::Pages;

/// How long after its deadline an approval is kept as given: the record that it was used in time
/// may still be on its way.
const USE_RECORD_GRACE: Duration = Duration::from_mins(1);

/// Whether the request has passed its deadline and nothing of it is on its way.
pub(super) fn is_over(approval: &Approval, now: Timestamp) -> bool {
    match approval.stage {
        Stage::Pending {} => approval.deadline <= now,
        Stage::Approved { .. } => approval.deadline.plus(USE_RECORD_GRACE) <= now,
        _ => false,
    }
}

/// Whether there is a request that housekeeping has to end.
pub(crate) async fn is_any_over(reader: &mut dyn Reader, now: Timestamp) -> Result<bool, Fault> {
    for approval in reader.approvals_open().await? {
        if is_over(&approval, now) || why_dead(reader, &approval, now).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Ends the requests whose deadline passed; gives the records.
pub(crate) async fn timed_out(txn: &mut dyn Txn, cx: &Cx) -> Result<Vec<Event>, Fault> {
    let mut events = Vec::new();
    for approval in txn.approvals_open().await? {
        if is_over(&approval, cx.now) {
            events.push(time_out(txn, cx, approval).await?);
        }
    }
    Ok(events)
}

/// Ends one request whose deadline passed. What the log says was used was used.
pub(super) async fn time_out(
    txn: &mut dyn Txn,
    cx: &Cx,
    approval: Approval,
) -> Result<Event, Fault> {
    if let (Stage::Approved { .. }, Some((at, decision))) =
        (&approval.stage, use_in_log(txn, &approval).await?)
    {
        return super::used::used(txn, cx, approval, (at, decision)).await;
    }
    let body = Object::new().with("how", "timed_out");
    end(txn, cx, approval, (Stage::TimedOut { at: cx.now }, body)).await
}

/// Withdraws every open request whose instance may not act any more; called by whatever ends
/// something, after it did. Gives the records.
pub(crate) async fn withdrawn(txn: &mut dyn Txn, cx: &Cx) -> Result<Vec<Event>, Fault> {
    let mut events = Vec::new();
    for approval in txn.approvals_open().await? {
        let Some(why) = why_dead(txn, &approval, cx.now).await? else {
            continue;
        };
        let body = Object::new()
            .with("how", "withdrawn")
            .with("why", why.as_str());
        let stage = Stage::Withdrawn { at: cx.now, why };
        events.push(end(txn, cx, approval, (stage, body)).await?);
    }
    Ok(events)
}

/// Ends the approvals of a task that were given while a gateway owned its tree from which the tree
/// is taken over: each may have been used up in a record that is not here. A question that waits is
/// left alone, since what is answered from now on can't have been used there. Gives the records.
pub(crate) async fn voided(
    txn: &mut dyn Txn,
    cx: &Cx,
    (task, lost): (Id<Task>, Id<Gateway>),
) -> Result<Vec<Event>, Fault> {
    let mut events = Vec::new();
    for approval in txn.approvals_open().await? {
        if approval.asked.task != task || !matches!(approval.stage, Stage::Approved { .. }) {
            continue;
        }
        if let Some(how) = use_in_log(txn, &approval).await? {
            events.push(super::used::used(txn, cx, approval, how).await?);
            continue;
        }
        let why = format!("gateway `{lost}` may have used it before the task was taken over");
        let body = Object::new()
            .with("how", "withdrawn")
            .with("why", why.as_str());
        let stage = Stage::Withdrawn { at: cx.now, why };
        events.push(end(txn, cx, approval, (stage, body)).await?);
    }
    Ok(events)
}

/// Why an action that is asked about can't happen any more.
async fn why_dead(
    reader: &mut dyn Reader,
    approval: &Approval,
    now: Timestamp,
) -> Result<Option<String>, Fault> {
    match LiveInstance::find(reader, approval.asked.instance, now).await {
        Ok(_) => {}
        Err(NotLive::Internal(fault)) => return Err(fault),
        Err(error) => return Ok(Some(error.to_string())),
    }
    let Stage::Approved { by, .. } = approval.stage else {
        return Ok(None);
    };
    let approver = reader.person(by).await?;
    let removed = approver.is_none_or(|person| person.removed_at.is_some());
    Ok(removed.then(|| "the person who approved it was removed".to_owned()))
}

/// When and by which decision the log says that an approval was used.
async fn use_in_log(
    reader: &mut dyn Reader,
    approval: &Approval,
) -> Result<Option<(Timestamp, Id<Decision>)>, Fault> {
    let mut pages = Pages::of(approval.asked.task);
    while let Some(page) = pages.next(reader).await? {
        for entry in page {
            let Some(intent) = intent_of(&entry.record) else {
                continue;
            };
            if intent.approval == approval.id && intent.digest == approval.digest {
                return Ok(Some((intent.at, intent.decision)));
            }
        }
    }
    Ok(None)
}

/// Writes the end of an open request.
pub(super) async fn end(
    txn: &mut dyn Txn,
    cx: &Cx,
    mut approval: Approval,
    (stage, body): (Stage, Object),
) -> Result<Event, Fault> {
    let next = approval.stage.clone().become_stage(stage);
    approval.stage = next.map_err(|why| Fault::Inconsistent(why.to_string()))?;
    txn.approval_update(&approval).await?;
    Ok(ended_event(cx, &approval, body))
}
