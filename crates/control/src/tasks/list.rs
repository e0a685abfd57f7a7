//! Listing tasks, and one task with everything under it.

use aims_model::{Agent, Instance, Person, Task};
use aims_store::{Reader, StoredGrant};
use aims_types::{self as types, Cx, Id};

use crate::access::{AccessError, Enrolled};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::{ControlPlane, Fault};

/// Most tasks in one listing.
pub const TASKS_LISTED_MAX: u32 = 1000;

/// One task with everything under it.
#[derive(Debug, Clone)]
pub struct TaskView {
    /// The task.
    pub task: Task,
    /// The agent that does it.
    pub agent: Agent,
    /// The person on whose behalf.
    pub initiator: Person,
    /// The root grant: its authority.
    pub grant: StoredGrant,
    /// Its instances, oldest first.
    pub instances: Vec<Instance>,
}

/// Why tasks are not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListTasksError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

/// Why a task is not shown.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no such task, or it is not for this person to see.
    #[error("there is no task `{0}` that you may see")]
    Unknown(Id<types::Task>),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ListTasksError, TaskError);

impl Refused for ListTasksError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl Refused for TaskError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_task",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// The newest tasks that the person may see, newest first: all for operators and auditors,
    /// for members those that they started or whose agent they own.
    pub async fn tasks(&self, cx: &Cx) -> Result<Vec<Task>, ListTasksError> {
        let mut reader = self.store().read().await?;
        let person = Enrolled::admit(cx, reader.as_mut()).await?;
        let tasks = reader.tasks(TASKS_LISTED_MAX).await?;
        let agents = reader.agents().await?;
        let seen = |task: &Task| {
            let mut agents = agents.iter();
            let agent = agents.find(|agent| agent.id == task.agent);
            agent.is_some_and(|agent| person.sees_task(task, agent))
        };
        Ok(tasks.into_iter().filter(seen).collect())
    }

    /// One task with everything under it, if the person may see it.
    pub async fn task(&self, cx: &Cx, id: Id<types::Task>) -> Result<TaskView, TaskError> {
        let mut reader = self.store().read().await?;
        let (task, agent) = visible(reader.as_mut(), cx, id).await?;
        let missing = |what: &str| Fault::Inconsistent(format!("task `{id}` has no {what}"));
        let initiator = reader.person(task.initiator).await?;
        let grant = reader.grant_by_id(task.root).await?;
        Ok(TaskView {
            initiator: initiator.ok_or_else(|| missing("initiator"))?,
            grant: grant.ok_or_else(|| missing("grant"))?,
            instances: reader.instances_of_task(id).await?,
            task,
            agent,
        })
    }
}

/// The task and its agent, if the person may see it. A task that they may not see is not told
/// from one that does not exist.
pub(crate) async fn visible(
    reader: &mut dyn Reader,
    cx: &Cx,
    id: Id<types::Task>,
) -> Result<(Task, Agent), TaskError> {
    let person = Enrolled::admit(cx, reader).await?;
    let task = reader.task(id).await?.ok_or(TaskError::Unknown(id))?;
    let agent = reader.agent(task.agent).await?;
    let agent = agent.ok_or_else(|| Fault::Inconsistent(format!("task `{id}` has no agent")))?;
    if person.sees_task(&task, &agent) {
        Ok((task, agent))
    } else {
        Err(TaskError::Unknown(id))
    }
}
