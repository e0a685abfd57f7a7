//! Tasks: started by a person's consent, ended by people or by their deadline.

mod consent;
mod end;
mod expire;
mod list;
mod start;

pub use consent::{CONSENT_AGE_SECS_MAX, CONSENT_LEN_MAX, ConsentError};
pub use end::EndTaskError;
pub use expire::ExpireError;
pub(crate) use list::visible;
pub use list::{ListTasksError, TASKS_LISTED_MAX, TaskError, TaskView};
pub use start::{StartTaskError, StartedTask};

use aims_json::Object;
use aims_model::{CutOff, Event, EventKind, InvalidTransition, Subject, Task};
use aims_store::Txn;
use aims_types::{Cx, Revision};

use crate::recording::event;

/// Ends an open task and cuts off everything issued for it; gives the record.
async fn ended(
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
    let cutoff = CutOff {
        subject: Subject::Task(task.id),
        at_or_before: revision,
    };
    txn.cutoff_insert(&cutoff).await?;
    let body = Object::new()
        .with("task", task.id.to_string())
        .with("why", why)
        .with("cut_off", revision.number());
    Ok(Ok(event(cx, EventKind::TaskEnded, body).of_task(task.id)))
}
