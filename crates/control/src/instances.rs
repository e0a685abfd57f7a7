//! Instances: attested, renewed, ended.

mod attest;
mod checks;
mod credential;
mod end;
mod renew;

pub(crate) use attest::attest;
pub use credential::WIT_TTL_SECS;
pub(crate) use end::end;
pub(crate) use renew::{RenewError, renew};

use aims_json::Object;
use aims_model::{CutOff, Event, EventKind, Instance, InvalidTransition, Subject};
use aims_store::Txn;
use aims_types::{Cx, Revision};

use crate::recording::{event, shown};

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
    for subject in [
        Subject::Instance(instance.id),
        Subject::Key(instance.jkt.clone()),
    ] {
        txn.cutoff_insert(&CutOff {
            subject,
            at_or_before: revision,
        })
        .await?;
    }
    let body = Object::new()
        .with("instance", instance.id.to_string())
        .with("node", instance.node.to_string())
        .with("how", how)
        .with("cut_off", revision.number());
    Ok(Ok(
        event(cx, EventKind::InstanceEnded, body).of_task(instance.task)
    ))
}
