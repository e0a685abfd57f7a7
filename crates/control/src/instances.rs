//! Instances: attested, renewed, ended.

mod attest;
mod checks;
mod credential;
mod elsewhere;
mod end;
mod renew;

pub(crate) use attest::{attest, made_event};
pub use credential::WIT_TTL_SECS;
pub(crate) use end::end;
pub(crate) use renew::{RenewError, renew};

use std::collections::{BTreeMap, BTreeSet};

use aims_json::Object;
use aims_model::{Event, EventKind, Instance, InvalidTransition, Subject};
use aims_store::{Reader, Txn};
use aims_types::{self as types, Cx, Id, Revision};

use crate::kill::cut_off;
use crate::recording::{event, shown};

/// How an instance ends whose authority came from another instance.
const WITH_ITS_DELEGATOR: &str = "the instance that delegated to it ended";

/// Ends live instances together with every instance that they delegated to, directly or further
/// down; gives the records. What had ended before stays as it is.
pub(crate) async fn all_ended(
    txn: &mut dyn Txn,
    cx: &Cx,
    instances: Vec<Instance>,
    (revision, how): (Revision, &str),
) -> Result<Vec<Event>, aims_store::Error> {
    let tasks: BTreeSet<_> = instances.iter().map(|instance| instance.task).collect();
    let (mut events, mut gone) = (Vec::new(), Vec::new());
    for mut instance in instances {
        if let Ok(event) = ended(txn, cx, &mut instance, (revision, how)).await? {
            events.push(event);
            gone.push(instance.id);
        }
    }
    let mut below = BTreeMap::new();
    for task in tasks {
        below.extend(live_by_delegator(txn, task).await?);
    }
    while let Some(id) = gone.pop() {
        for mut child in below.remove(&id).unwrap_or_default() {
            let end = ended(txn, cx, &mut child, (revision, WITH_ITS_DELEGATOR)).await?;
            events.extend(end.ok());
            gone.push(child.id);
        }
    }
    Ok(events)
}

/// The live instances of a task that were delegated to, by the instance that did.
async fn live_by_delegator(
    reader: &mut dyn Reader,
    task: Id<types::Task>,
) -> Result<BTreeMap<Id<types::Instance>, Vec<Instance>>, aims_store::Error> {
    let mut below: BTreeMap<_, Vec<Instance>> = BTreeMap::new();
    for instance in reader.instances_of_task(task).await? {
        if !instance.stage.is_live() {
            continue;
        }
        let run = reader.run(instance.run).await?;
        if let Some(parent) = run.and_then(|run| run.parent) {
            below.entry(parent).or_default().push(instance);
        }
    }
    Ok(below)
}

/// Ends a live instance and cuts off everything of it; gives the record.
pub(crate) async fn ended(
    txn: &mut dyn Txn,
    cx: &Cx,
    instance: &mut Instance,
    (revision, how): (Revision, &str),
) -> Result<Result<Event, InvalidTransition>, aims_store::Error> {
    let how = shown(how);
    instance.stage = match instance.stage.clone().end(cx.now, &how) {
        Ok(stage) => stage,
        Err(why) => return Ok(Err(why)),
    };
    txn.instance_update(instance).await?;
    cut_off(txn, Subject::Instance(instance.id), revision).await?;
    cut_off(txn, Subject::Key(instance.jkt.clone()), revision).await?;
    let mut body = Object::new().with("instance", instance.id.to_string());
    if let Some(node) = instance.node {
        body = body.with("node", node.to_string());
    }
    let body = body.with("how", how).with("cut_off", revision.number());
    Ok(Ok(
        event(cx, EventKind::InstanceEnded, body).of_task(instance.task)
    ))
}
