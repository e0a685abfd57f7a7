//! Tasks: started by a person's consent, ended by people or by their deadline.

mod consent;
mod end;
mod erase;
mod expire;
mod freeze;
mod list;
mod party;
mod start;

pub use consent::{CONSENT_AGE_SECS_MAX, CONSENT_LEN_MAX, ConsentError};
pub use erase::EraseTaskError;
pub use expire::ExpireError;
pub(crate) use list::visible;
pub use list::{ListTasksError, TASKS_LISTED_MAX, TaskError, TaskView};
pub use party::ChangeTaskError;
pub use start::{StartTaskError, StartedTask};

use aims_json::Object;
use aims_model::{Event, EventKind, InvalidTransition, Subject, Task};
use aims_store::Txn;
use aims_types::{Cx, Revision};

use crate::kill::cut_off;
use crate::recording::event;

/// Ends a task that has not ended and cuts off everything issued for it; gives the record.
pub(crate) async fn ended(
    txn: &mut dyn Txn,
    cx: &Cx,
    task: &mut Task,
    (revision, why): (Revision, &'static str),
) -> Result<Result<Event, InvalidTransition>, aims_store::Error> {
    task.stage = match task.stage.clone().end(cx.now) {
        Ok(stage) => stage,
        Err(why) => return Ok(Err(why)),
    };
    txn.task_update(task).await?;
    cut_off(txn, Subject::Task(task.id), revision).await?;
    let body = Object::new()
        .with("task", task.id.to_string())
        .with("why", why)
        .with("cut_off", revision.number());
    Ok(Ok(event(cx, EventKind::TaskEnded, body).of_task(task.id)))
}
