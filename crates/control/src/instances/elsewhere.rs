//! The end of instances that run elsewhere: no node says that they are gone.

use aims_model::Instance;
use aims_store::Reader;
use aims_types::Actor;

use super::all_ended;
use crate::liveness::{LiveInstance, NotLive};
use crate::{ControlPlane, Fault, approvals};

/// How such an instance ends.
const OVER: &str = "nothing is issued to it any more";

impl ControlPlane {
    /// Ends the instances that run elsewhere and to which nothing may be issued any more: their
    /// task ended, something that they rest on was cut off, or their agent is not active. What they
    /// hold is refused already; this keeps the records, and the number of live ones, true.
    pub async fn end_elsewhere(&self) -> Result<(), Fault> {
        let mut reader = self.store().read().await?;
        let cx = self.cx(Actor::Server)?;
        if over(reader.as_mut(), cx.now).await?.is_empty() {
            return Ok(());
        }
        drop(reader);
        let mut txn = self.store().begin().await?;
        let revision = txn.revision_next().await?;
        let over = over(txn.as_mut(), cx.now).await?;
        let mut events = all_ended(txn.as_mut(), &cx, over, (revision, OVER)).await?;
        events.extend(approvals::withdrawn(txn.as_mut(), &cx).await?);
        txn.commit(events).await?;
        self.publish_soon(revision);
        Ok(())
    }
}

async fn over(reader: &mut dyn Reader, now: aims_types::Timestamp) -> Result<Vec<Instance>, Fault> {
    let mut over = Vec::new();
    for instance in reader.instances_live().await? {
        if instance.node.is_some() {
            continue;
        }
        match LiveInstance::find(reader, instance.id, now).await {
            Ok(_) => {}
            // A frozen task may be resumed, with new instances only.
            Err(NotLive::Internal(fault)) => return Err(fault),
            Err(_) => over.push(instance),
        }
    }
    Ok(over)
}
