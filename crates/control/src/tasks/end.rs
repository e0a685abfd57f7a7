//! Ending a task: everything issued for it is cut off.

use aims_model::{InvalidTransition, Task};
use aims_types::{self as types, Cx, Id};

use super::ended;
use crate::access::{AccessError, Principal};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::recording::Attempt;
use crate::{Committed, ControlPlane, Fault};

/// Why a task was not ended.
#[derive(Debug, thiserror::Error)]
pub enum EndTaskError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no such task.
    #[error("there is no task `{0}`")]
    Unknown(Id<types::Task>),
    /// It was ended before.
    #[error("task `{task}`: {why}")]
    Stage {
        /// The task.
        task: Id<types::Task>,
        /// From where to where.
        why: InvalidTransition,
    },
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(EndTaskError);

impl Refused for EndTaskError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_task",
            Self::Stage { .. } => "invalid_transition",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Ends a task and cuts off everything issued for it: its initiator, the owner of its agent,
    /// and operators may.
    pub async fn task_end(
        &self,
        cx: &Cx,
        id: Id<types::Task>,
    ) -> Result<Committed<Task>, EndTaskError> {
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
) -> Result<Committed<Task>, EndTaskError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let principal = Principal::admit(cx, txn.as_mut()).await?;
    let mut task = txn.task(id).await?.ok_or(EndTaskError::Unknown(id))?;
    let agent = txn.agent(task.agent).await?;
    let agent = agent.ok_or_else(|| Fault::Inconsistent(format!("task `{id}` has no agent")))?;
    principal
        .party_to(&task, &agent)
        .map_err(|error| match error {
            // A task that they may not see is not told from one that does not exist.
            AccessError::NotOwner { .. } => EndTaskError::Unknown(id),
            error => error.into(),
        })?;
    let done = ended(txn.as_mut(), cx, &mut task, (revision, "asked for")).await?;
    let event = done.map_err(|why| EndTaskError::Stage { task: id, why })?;
    txn.commit(vec![event]).await?;
    Ok(plane.published(task, revision).await)
}
