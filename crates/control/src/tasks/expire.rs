//! Housekeeping: what is past its deadline is ended, with its cut-offs and records.

use aims_model::Task;
use aims_model::task::Stage;
use aims_store::{PAGE_LEN_MAX, Reader};
use aims_types::Cx;

use super::ended;
use crate::access::{AccessError, Itself};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::{Committed, ControlPlane, Fault, approvals};

/// Why nothing was expired.
#[derive(Debug, thiserror::Error)]
pub enum ExpireError {
    /// Only the server itself does this.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ExpireError);

impl Refused for ExpireError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Ends the tasks whose deadline passed, and the requests for approval that nothing can come
    /// of any more. `None` if there were none. For the server itself.
    pub async fn expire(&self, cx: &Cx) -> Result<Option<Committed<Vec<Task>>>, ExpireError> {
        Itself::admit(cx)?;
        if !is_anything_overdue(self.store().read().await?.as_mut(), cx).await? {
            return Ok(None);
        }
        let cx = cx.clone();
        self.to_the_end(|plane| async move { expire(&plane, &cx).await.map(Some) })
            .await
    }
}

async fn is_anything_overdue(reader: &mut dyn Reader, cx: &Cx) -> Result<bool, Fault> {
    let overdue =
        |task: &Task| !matches!(task.stage, Stage::Ended { .. }) && task.deadline <= cx.now;
    Ok(reader.tasks(PAGE_LEN_MAX).await?.iter().any(overdue)
        || approvals::is_any_over(reader, cx.now).await?)
}

async fn expire(plane: &ControlPlane, cx: &Cx) -> Result<Committed<Vec<Task>>, ExpireError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let (mut expired, mut events) = (Vec::new(), Vec::new());
    for mut task in txn.tasks(PAGE_LEN_MAX).await? {
        if task.deadline > cx.now {
            continue;
        }
        // What was ended before stays as it is.
        if let Ok(event) = ended(txn.as_mut(), cx, &mut task, (revision, "deadline")).await? {
            expired.push(task);
            events.push(event);
        }
    }
    events.extend(approvals::timed_out(txn.as_mut(), cx).await?);
    events.extend(approvals::withdrawn(txn.as_mut(), cx).await?);
    txn.commit(events).await?;
    Ok(plane.published(expired, revision).await)
}
