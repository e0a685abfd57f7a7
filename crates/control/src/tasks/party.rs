//! Changes of a task by those whose task it is.

use aims_model::{Agent, InvalidTransition, Task};
use aims_store::Reader;
use aims_types::{self as types, Cx, Id};

use crate::Fault;
use crate::access::{AccessError, Principal};
use crate::fault::{INTERNAL, Refused, internal_arm};

/// Why a task was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeTaskError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no such task.
    #[error("there is no task `{0}`")]
    Unknown(Id<types::Task>),
    /// Its stage does not allow it.
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

internal_arm!(ChangeTaskError);

impl Refused for ChangeTaskError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_task",
            Self::Stage { .. } => "invalid_transition",
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// The task and its agent, for its initiator, the owner of its agent, and operators.
pub(super) async fn of_party(
    reader: &mut dyn Reader,
    cx: &Cx,
    id: Id<types::Task>,
) -> Result<(Task, Agent), ChangeTaskError> {
    let principal = Principal::admit(cx, reader).await?;
    let task = reader.task(id).await?.ok_or(ChangeTaskError::Unknown(id))?;
    let agent = reader.agent(task.agent).await?;
    let agent = agent.ok_or_else(|| Fault::Inconsistent(format!("task `{id}` has no agent")))?;
    principal
        .party_to(&task, &agent)
        .map_err(|error| match error {
            // A task that they may not see is not told from one that does not exist.
            AccessError::NotOwner { .. } => ChangeTaskError::Unknown(id),
            error => error.into(),
        })?;
    Ok((task, agent))
}
