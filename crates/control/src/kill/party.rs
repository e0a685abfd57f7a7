//! Who may kill what.

use aims_model::{Agent, Subject, Task};
use aims_store::Reader;
use aims_types::{self as types, Cx, Id};

use super::error::KillError;
use crate::Fault;
use crate::access::{AccessError, Principal};
use crate::chain::read_grant;

/// Somebody who may kill something.
pub(super) struct Rights(Principal);

impl Rights {
    /// Admits operators, and members for what is theirs.
    pub(super) async fn admit(cx: &Cx, reader: &mut dyn Reader) -> Result<Self, AccessError> {
        Principal::admit(cx, reader).await.map(Self)
    }

    /// Refuses who is no operator.
    pub(super) fn administers(&self) -> Result<(), AccessError> {
        self.0.administers()
    }

    /// Whether a task, or an agent in it, is theirs.
    fn are_of(&self, task: &Task, agents: &[Agent]) -> bool {
        let theirs = |agent: &Agent| self.0.is_party_to(task, agent);
        agents.iter().any(theirs)
    }
}

/// Refuses what does not exist, and what is not theirs as if it did not; gives the task that the
/// subject belongs to.
pub(super) async fn may_kill(
    reader: &mut dyn Reader,
    rights: &Rights,
    subject: &Subject,
) -> Result<Option<Id<types::Task>>, KillError> {
    let (task, agents, unknown) = match subject {
        Subject::Task(id) => {
            let unknown = KillError::UnknownTask(*id);
            match reader.task(*id).await? {
                Some(task) => (task, Vec::new(), unknown),
                None => return Err(unknown),
            }
        }
        Subject::Instance(id) => {
            let unknown = KillError::UnknownInstance(*id);
            let Some(instance) = reader.instance(*id).await? else {
                return of_service(reader, rights, *id, unknown).await;
            };
            let task = task_of(reader, instance.task).await?;
            (task, vec![agent_of(reader, instance.agent).await?], unknown)
        }
        Subject::Delegation(id) => {
            let unknown = KillError::UnknownDelegation(*id);
            let Some(stored) = reader.grant_by_id(*id).await? else {
                return Err(unknown);
            };
            let delegate = read_grant(&stored.jws)?.delegate;
            let task = task_of(reader, stored.task).await?;
            (task, vec![agent_of(reader, delegate).await?], unknown)
        }
        Subject::Person(_) | Subject::Agent(_) | Subject::Key(_) | Subject::Policy(_) => {
            rights.administers()?;
            return Ok(None);
        }
    };
    let mut agents = agents;
    agents.push(agent_of(reader, task.agent).await?);
    if rights.are_of(&task, &agents) {
        Ok(Some(task.id))
    } else {
        Err(unknown)
    }
}

/// A process of a service is an operator's to kill, and its owner's; it belongs to no task.
async fn of_service(
    reader: &mut dyn Reader,
    rights: &Rights,
    id: Id<types::Instance>,
    unknown: KillError,
) -> Result<Option<Id<types::Task>>, KillError> {
    let Some(instance) = reader.service_instance(id).await? else {
        return Err(unknown);
    };
    let service = reader.service(instance.service).await?;
    if service.is_some_and(|service| rights.0.answers_for(service.owner)) {
        return Ok(None);
    }
    Err(unknown)
}

async fn task_of(reader: &mut dyn Reader, id: Id<types::Task>) -> Result<Task, Fault> {
    let missing = || Fault::Inconsistent(format!("task `{id}` is not stored"));
    reader.task(id).await?.ok_or_else(missing)
}

async fn agent_of(reader: &mut dyn Reader, id: Id<types::Agent>) -> Result<Agent, Fault> {
    let missing = || Fault::Inconsistent(format!("agent `{id}` is not stored"));
    reader.agent(id).await?.ok_or_else(missing)
}
