//! Whether something may still be issued for a task: every fact that has to hold, looked at anew.

use aims_model::{Agent, CutOff, Grant, Instance, Person, Subject, Task, agent};
use aims_store::{Reader, StoredGrant};
use aims_types::{self as types, Id, Revision, Timestamp};

use crate::Fault;
use crate::chain::read_grant;
use crate::fault::{INTERNAL, Refused, internal_arm};

/// Why nothing may be issued.
#[derive(Debug, thiserror::Error)]
pub enum NotLive {
    /// There is no such task.
    #[error("there is no such task")]
    UnknownTask,
    /// The task was ended or its deadline passed.
    #[error("the task has ended; start another one")]
    TaskEnded,
    /// The agent is not active.
    #[error("agent `{name}` is {stage}; an operator can activate it unless it is retired")]
    AgentNotActive {
        /// The agent.
        name: String,
        /// Where it stands.
        stage: &'static str,
    },
    /// The person on whose behalf, or at whose wish, was removed.
    #[error("the person on whose behalf the task runs, or who asked for it, was removed")]
    PersonRemoved,
    /// Something that it rests on was cut off.
    #[error("{what} was cut off at revision {at}; start another task")]
    CutOff {
        /// What was cut off.
        what: String,
        /// When.
        at: Revision,
    },
    /// There is no such instance.
    #[error("there is no such instance")]
    UnknownInstance,
    /// The instance ended.
    #[error("the instance has ended; start another one")]
    InstanceEnded,
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(NotLive);

impl Refused for NotLive {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownTask => "unknown_task",
            Self::TaskEnded => "task_ended",
            Self::AgentNotActive { .. } => "agent_not_active",
            Self::PersonRemoved => "person_removed",
            Self::CutOff { .. } => "cut_off",
            Self::UnknownInstance => "unknown_instance",
            Self::InstanceEnded => "instance_ended",
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// A task for which things may be issued at this instant, with everything it rests on.
#[derive(Debug, Clone)]
pub(crate) struct LiveTask {
    pub(crate) task: Task,
    pub(crate) agent: Agent,
    pub(crate) person: Person,
    pub(crate) stored: StoredGrant,
    pub(crate) grant: Grant,
}

/// A live instance of a live task.
#[derive(Debug, Clone)]
pub(crate) struct LiveInstance {
    pub(crate) instance: Instance,
    pub(crate) of: LiveTask,
}

impl LiveTask {
    /// Looks at the task, its agent, its person and every cut-off under its grant.
    pub(crate) async fn find(
        reader: &mut dyn Reader,
        id: Id<types::Task>,
        now: Timestamp,
    ) -> Result<Self, NotLive> {
        let task = reader.task(id).await?.ok_or(NotLive::UnknownTask)?;
        // Credentials count whole seconds: in the last part of one nothing can be issued.
        let last = Timestamp::from_unix_secs(task.deadline.unix_secs());
        if !task.is_open(now) || last <= now {
            return Err(NotLive::TaskEnded);
        }
        let agent = reader
            .agent(task.agent)
            .await?
            .ok_or_else(|| missing("agent"))?;
        if !matches!(agent.stage, agent::Stage::Active { .. }) {
            let (name, stage) = (agent.name.to_string(), agent.stage.as_str());
            return Err(NotLive::AgentNotActive { name, stage });
        }
        let person = reader
            .person(task.initiator)
            .await?
            .ok_or_else(|| missing("person"))?;
        if person.removed_at.is_some() {
            return Err(NotLive::PersonRemoved);
        }
        let stored = reader
            .grant_by_id(task.root)
            .await?
            .ok_or_else(|| missing("grant"))?;
        let grant = read_grant(&stored.jws)?;
        let live = Self {
            task,
            agent,
            person,
            stored,
            grant,
        };
        live.check_cutoffs(&reader.cutoffs().await?)?;
        Ok(live)
    }

    fn check_cutoffs(&self, cutoffs: &[CutOff]) -> Result<(), NotLive> {
        let mut subjects = vec![
            Subject::Person(self.person.id),
            Subject::Agent(self.agent.id),
            Subject::Task(self.task.id),
            Subject::Delegation(self.grant.id),
        ];
        subjects.extend(
            self.grant
                .ancestors
                .iter()
                .map(|id| Subject::Delegation(*id)),
        );
        uncut(&subjects, self.grant.revision, cutoffs)
    }
}

impl LiveInstance {
    /// Looks at the instance and at everything under its task.
    pub(crate) async fn find(
        reader: &mut dyn Reader,
        id: Id<types::Instance>,
        now: Timestamp,
    ) -> Result<Self, NotLive> {
        let instance = reader.instance(id).await?.ok_or(NotLive::UnknownInstance)?;
        if !instance.stage.is_live() {
            return Err(NotLive::InstanceEnded);
        }
        let of = LiveTask::find(reader, instance.task, now).await?;
        let subjects = [Subject::Instance(id), Subject::Key(instance.jkt.clone())];
        // An instance is younger than its grant; what is cut off about it is cut off for ever.
        uncut(&subjects, of.grant.revision, &reader.cutoffs().await?)?;
        Ok(Self { instance, of })
    }
}

/// Refuses what was minted at `minted` if a cut-off about one of `subjects` covers it.
fn uncut(subjects: &[Subject], minted: Revision, cutoffs: &[CutOff]) -> Result<(), NotLive> {
    let covers = |cut: &&CutOff| subjects.iter().any(|subject| cut.covers(subject, minted));
    match cutoffs.iter().find(covers) {
        None => Ok(()),
        Some(cut) => Err(NotLive::CutOff {
            what: describe(&cut.subject),
            at: cut.at_or_before,
        }),
    }
}

/// The subject of a cut-off in words.
pub(crate) fn describe(subject: &Subject) -> String {
    match subject {
        Subject::Person(id) => format!("person {id}"),
        Subject::Agent(id) => format!("agent {id}"),
        Subject::Instance(id) => format!("instance {id}"),
        Subject::Task(id) => format!("task {id}"),
        Subject::Delegation(id) => format!("delegation {id}"),
        Subject::Key(kid) => format!("key {kid}"),
        Subject::Policy(id) => format!("policy {id}"),
    }
}

fn missing(what: &str) -> NotLive {
    NotLive::Internal(Fault::Inconsistent(format!(
        "a task's {what} is not stored"
    )))
}
