//! Ending a task: everything issued for it is cut off.

use aims_model::Task;
use aims_types::{self as types, Cx, Id};

use super::ended;
use super::party::{ChangeTaskError, of_party};
use crate::recording::Attempt;
use crate::{Committed, ControlPlane, approvals};

impl ControlPlane {
    /// Ends a task and cuts off everything issued for it: its initiator, the owner of its agent,
    /// and operators may.
    pub async fn task_end(
        &self,
        cx: &Cx,
        id: Id<types::Task>,
    ) -> Result<Committed<Task>, ChangeTaskError> {
        let cx = cx.clone();
        self.to_the_end(move |plane| async move {
            let attempt = Attempt::new("task_end", &id.to_string()).of_task(id);
            let done = end(&plane, &cx, id).await;
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }
}

async fn end(
    plane: &ControlPlane,
    cx: &Cx,
    id: Id<types::Task>,
) -> Result<Committed<Task>, ChangeTaskError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let (mut task, _) = of_party(txn.as_mut(), cx, id).await?;
    let done = ended(txn.as_mut(), cx, &mut task, (revision, "asked for")).await?;
    let mut events = vec![done.map_err(|why| ChangeTaskError::Stage { task: id, why })?];
    events.extend(approvals::withdrawn(txn.as_mut(), cx).await?);
    txn.commit(events).await?;
    Ok(plane.published(task, revision).await)
}
