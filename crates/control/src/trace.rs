//! The records of a task.

use aims_model::{Record, Source};
use aims_store::{PAGE_LEN_MAX, Reader};
use aims_types::{Cx, Id, Task};

use crate::access::AccessError;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::tasks::{TaskError, visible};
use crate::{ControlPlane, Fault};

/// Why a task is not traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Who asks may not.
    #[error(transparent)]
    Access(AccessError),
    /// There is no such task, or it is not for this person to see.
    #[error("there is no task `{0}` that you may see")]
    Unknown(Id<Task>),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(TraceError);

impl From<TaskError> for TraceError {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Access(error) => Self::Access(error),
            TaskError::Unknown(id) => Self::Unknown(id),
            TaskError::Internal(fault) => Self::Internal(fault),
        }
    }
}

impl Refused for TraceError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_task",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// The canonical records of a task: those in the log in its order, then those of the server
    /// that are not in it yet.
    pub async fn trace(&self, cx: &Cx, task: Id<Task>) -> Result<Vec<Vec<u8>>, TraceError> {
        let mut reader = self.store().read().await?;
        visible(reader.as_mut(), cx, task).await?;
        Ok(records_of(reader.as_mut(), task).await?)
    }
}

/// The records of a task, in one consistent view: none twice, none missing in between.
pub(crate) async fn records_of(
    reader: &mut dyn Reader,
    task: Id<Task>,
) -> Result<Vec<Vec<u8>>, Fault> {
    let logged = reader.log_entries_of_task(task).await?;
    let mut records: Vec<Vec<u8>> = logged.into_iter().map(|entry| entry.record).collect();
    records.extend(not_logged_yet(reader, task).await?);
    Ok(records)
}

async fn not_logged_yet(reader: &mut dyn Reader, task: Id<Task>) -> Result<Vec<Vec<u8>>, Fault> {
    let sources = reader.log_sources().await?;
    let server = sources.iter().find(|head| head.source == Source::Server);
    let mut after = server.map_or(0, |head| head.seq);
    let mut records = Vec::new();
    loop {
        let page = reader.outbox_after(after, PAGE_LEN_MAX).await?;
        let Some((last, _)) = page.last() else {
            return Ok(records);
        };
        after = *last;
        for (_, bytes) in page {
            let record = Record::decode(&bytes);
            let record = record.map_err(|error| Fault::Inconsistent(error.to_string()))?;
            if record.event.task == Some(task) {
                records.push(bytes);
            }
        }
    }
}
