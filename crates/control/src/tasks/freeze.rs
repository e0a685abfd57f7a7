//! Freezing a task: its instances are dead for ever, its grant waits for new ones.

use aims_json::Object;
use aims_model::{Event, EventKind, Task};
use aims_types::{self as types, Cx, Id, Revision};

use super::party::{ChangeTaskError, of_party};
use crate::instances::all_ended;
use crate::recording::{Attempt, event};
use crate::{Committed, ControlPlane, approvals};

/// How an instance of a frozen task ends.
const FROZEN: &str = "the task was frozen";

impl ControlPlane {
    /// Freezes an open task: every instance of it ends, nothing is issued for it until it is
    /// resumed. Its grant stays, with what is left of its budget. Its initiator, the owner of its
    /// agent, and operators may.
    pub async fn task_freeze(
        &self,
        cx: &Cx,
        id: Id<types::Task>,
    ) -> Result<Committed<Task>, ChangeTaskError> {
        let cx = cx.clone();
        self.to_the_end(move |plane| async move {
            let attempt = Attempt::new("task_freeze", &id.to_string()).of_task(id);
            let done = freeze(&plane, &cx, id).await;
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }

    /// Opens a frozen task again, for new instances: the old ones and their tokens stay dead. Its
    /// initiator, the owner of its agent, and operators may.
    pub async fn task_resume(
        &self,
        cx: &Cx,
        id: Id<types::Task>,
    ) -> Result<Committed<Task>, ChangeTaskError> {
        let cx = cx.clone();
        self.to_the_end(move |plane| async move {
            let attempt = Attempt::new("task_resume", &id.to_string()).of_task(id);
            let done = resume(&plane, &cx, id).await;
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }
}

async fn freeze(
    plane: &ControlPlane,
    cx: &Cx,
    id: Id<types::Task>,
) -> Result<Committed<Task>, ChangeTaskError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let (mut task, _) = of_party(txn.as_mut(), cx, id).await?;
    let not_so = |why| ChangeTaskError::Stage { task: id, why };
    task.stage = task.stage.clone().freeze(cx.now).map_err(not_so)?;
    txn.task_update(&task).await?;
    let mut live = txn.instances_of_task(id).await?;
    live.retain(|instance| instance.stage.is_live());
    let mut events = vec![stage_event(cx, EventKind::TaskFrozen, id, revision)];
    events.extend(all_ended(txn.as_mut(), cx, live, (revision, FROZEN)).await?);
    events.extend(approvals::withdrawn(txn.as_mut(), cx).await?);
    txn.commit(events).await?;
    Ok(plane.published(task, revision).await)
}

async fn resume(
    plane: &ControlPlane,
    cx: &Cx,
    id: Id<types::Task>,
) -> Result<Committed<Task>, ChangeTaskError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let (mut task, _) = of_party(txn.as_mut(), cx, id).await?;
    let not_so = |why| ChangeTaskError::Stage { task: id, why };
    task.stage = task.stage.clone().resume().map_err(not_so)?;
    txn.task_update(&task).await?;
    let event = stage_event(cx, EventKind::TaskResumed, id, revision);
    txn.commit(vec![event]).await?;
    Ok(plane.published(task, revision).await)
}

fn stage_event(cx: &Cx, kind: EventKind, id: Id<types::Task>, revision: Revision) -> Event {
    let body = Object::new()
        .with("task", id.to_string())
        .with("revision", revision.number());
    event(cx, kind, body).of_task(id)
}
