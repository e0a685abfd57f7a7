//! The end of processes of services.

use std::collections::BTreeSet;

use aims_json::Object;
use aims_links::EndedInstance;
use aims_model::{Event, EventKind, ServiceInstance, Subject};
use aims_store::Txn;
use aims_types::{self as types, Cx, Id, Revision};

use crate::kill::cut_off;
use crate::recording::{event, shown};
use crate::{ControlPlane, Fault, approvals, instances};

/// How an instance of an agent ends that is a process of a service.
const WITH_ITS_PROCESS: &str = "the process of the service that it is has ended";

/// Why a process was not ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndProcessError {
    /// There is no such process.
    #[error("there is no such process of a service")]
    Unknown,
    /// Another node vouches for it.
    #[error("another node vouches for this process")]
    ForeignNode,
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

crate::fault::internal_arm!(EndProcessError);

/// Ends processes and cuts each off, so that its node is told, with everything that they do as
/// agents; gives the records. What had ended before stays as it is.
pub(crate) async fn all_ended(
    txn: &mut dyn Txn,
    cx: &Cx,
    instances: Vec<ServiceInstance>,
    (revision, how): (Revision, &str),
) -> Result<Vec<Event>, Fault> {
    let how = shown(how);
    let (mut events, mut gone) = (Vec::new(), BTreeSet::new());
    for mut instance in instances {
        let Ok(stage) = instance.stage.clone().end(cx.now, &how) else {
            continue;
        };
        instance.stage = stage;
        txn.service_instance_update(&instance).await?;
        cut_off(txn, Subject::Instance(instance.id), revision).await?;
        let body = Object::new()
            .with("instance", instance.id.to_string())
            .with("service", instance.service.to_string())
            .with("node", instance.node.to_string())
            .with("how", how.as_str())
            .with("cut_off", revision.number());
        events.push(event(cx, EventKind::ServiceEnded, body));
        gone.insert(instance.id);
    }
    let mut acting = txn.instances_live().await?;
    acting.retain(|one| one.process.is_some_and(|process| gone.contains(&process)));
    if !acting.is_empty() {
        let how = (revision, WITH_ITS_PROCESS);
        events.extend(instances::all_ended(txn, cx, acting, how).await?);
        events.extend(approvals::withdrawn(txn, cx).await?);
    }
    Ok(events)
}

/// Ends a process of a service that is killed as an instance; nothing if it is none.
pub(crate) async fn ended_by_kill(
    txn: &mut dyn Txn,
    cx: &Cx,
    id: Id<types::Instance>,
    (revision, how): (Revision, &str),
) -> Result<Option<Vec<Event>>, Fault> {
    match txn.service_instance(id).await? {
        None => Ok(None),
        Some(instance) => all_ended(txn, cx, vec![instance], (revision, how))
            .await
            .map(Some),
    }
}

/// Ends a process whose node says so; gives the revision, if anything changed.
pub(super) async fn end(
    plane: &ControlPlane,
    cx: &Cx,
    ended: &EndedInstance,
) -> Result<Option<Revision>, EndProcessError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let instance = txn.service_instance(ended.instance).await?;
    let instance = instance.ok_or(EndProcessError::Unknown)?;
    if instance.node != ended.node {
        return Err(EndProcessError::ForeignNode);
    }
    let how = (revision, ended.how.as_str());
    let events = all_ended(txn.as_mut(), cx, vec![instance], how).await?;
    if events.is_empty() {
        return Ok(None);
    }
    txn.commit(events).await?;
    Ok(Some(revision))
}
