//! Who may do what: each right is a value that only a check makes.

use aims_model::{Agent, Person, Role, Task};
use aims_store::Reader;
use aims_types::{self as types, Actor, Cx, Id};

use crate::Fault;
use crate::fault::{INTERNAL, Refused};

/// Why somebody may not do something.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Only an authenticated person may ask.
    #[error("only a person may do this; authenticate with an enrolled key")]
    NotAPerson,
    /// Only the server itself may ask.
    #[error("only the server itself does this")]
    NotTheServer,
    /// The person is not enrolled, or was removed.
    #[error("the person is not enrolled any more; ask an operator")]
    NotEnrolled,
    /// The person's role does not include this.
    #[error("this needs the role {needed}, and `{name}` is {}; ask an operator", .role.as_str())]
    Role {
        /// Who asked.
        name: String,
        /// What they are.
        role: Role,
        /// What it needs.
        needed: &'static str,
    },
    /// The agent or task is somebody else's.
    #[error("`{name}` does not own {what}; ask its owner or an operator")]
    NotOwner {
        /// Who asked.
        name: String,
        /// What is somebody else's.
        what: String,
    },
    /// They would answer what is asked on their own behalf.
    #[error("the action is on behalf of `{name}`; somebody else has to answer")]
    OwnRequest {
        /// Who asked.
        name: String,
    },
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

impl Refused for AccessError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotAPerson => "not_a_person",
            Self::NotTheServer => "not_the_server",
            Self::NotEnrolled => "not_enrolled",
            Self::Role { .. } => "role_not_allowed",
            Self::NotOwner { .. } => "not_owner",
            Self::OwnRequest { .. } => "own_request",
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// A person who may administer.
#[derive(Debug)]
pub(crate) struct Operator(Person);

/// A person who is enrolled, whatever their role.
#[derive(Debug)]
pub(crate) struct Enrolled(Person);

/// A person who may see everything.
#[derive(Debug)]
pub(crate) struct Observer(());

/// A person who may act with an agent, that is, start and run its tasks.
#[derive(Debug)]
pub(crate) struct Principal(Person);

/// A person who may answer requests for approval that others made.
#[derive(Debug)]
pub(crate) struct Approver(Person);

/// The server itself.
#[derive(Debug)]
pub(crate) struct Itself(());

impl Enrolled {
    /// Admits any person who is enrolled now.
    pub(crate) async fn admit(cx: &Cx, reader: &mut dyn Reader) -> Result<Self, AccessError> {
        let Actor::Person(id) = cx.actor else {
            return Err(AccessError::NotAPerson);
        };
        let person = reader.person(id).await.map_err(Fault::from)?;
        match person.filter(|person| person.removed_at.is_none()) {
            Some(person) => Ok(Self(person)),
            None => Err(AccessError::NotEnrolled),
        }
    }

    /// Whether they may administer.
    pub(crate) const fn administers(&self) -> bool {
        matches!(self.0.role, Role::Operator)
    }

    /// Whether they may see everything, or only what is theirs.
    pub(crate) const fn sees_everything(&self) -> bool {
        matches!(self.0.role, Role::Operator | Role::Auditor)
    }

    /// Whether they may see every request for approval, or only what is theirs.
    pub(crate) const fn sees_every_approval(&self) -> bool {
        self.sees_everything() || matches!(self.0.role, Role::Approver)
    }

    /// Whether they may see what this person owns.
    pub(crate) fn sees_of(&self, owner: Id<types::Person>) -> bool {
        self.sees_everything() || owner == self.0.id
    }

    /// Whether they may see this agent.
    pub(crate) fn sees_agent(&self, agent: &Agent) -> bool {
        self.sees_of(agent.owner)
    }

    /// Whether they may see this task of this agent.
    pub(crate) fn sees_task(&self, task: &Task, agent: &Agent) -> bool {
        self.sees_agent(agent) || task.initiator == self.0.id
    }
}

impl Operator {
    /// Admits an operator.
    pub(crate) async fn admit(cx: &Cx, reader: &mut dyn Reader) -> Result<Self, AccessError> {
        let Enrolled(person) = Enrolled::admit(cx, reader).await?;
        match person.role {
            Role::Operator => Ok(Self(person)),
            role => Err(wrong_role(&person, role, "operator")),
        }
    }

    pub(crate) const fn person(&self) -> &Person {
        &self.0
    }
}

impl Observer {
    /// Admits operators and auditors.
    pub(crate) async fn admit(cx: &Cx, reader: &mut dyn Reader) -> Result<Self, AccessError> {
        let Enrolled(person) = Enrolled::admit(cx, reader).await?;
        match person.role {
            Role::Operator | Role::Auditor => Ok(Self(())),
            role @ (Role::Member | Role::Approver) => {
                Err(wrong_role(&person, role, "operator or auditor"))
            }
        }
    }
}

impl Principal {
    /// Admits whoever may start work at all: operators and members.
    pub(crate) async fn admit(cx: &Cx, reader: &mut dyn Reader) -> Result<Self, AccessError> {
        let Enrolled(person) = Enrolled::admit(cx, reader).await?;
        match person.role {
            Role::Operator | Role::Member => Ok(Self(person)),
            role @ (Role::Auditor | Role::Approver) => {
                Err(wrong_role(&person, role, "operator or member"))
            }
        }
    }

    /// Refuses whoever is no operator.
    pub(crate) fn administers(&self) -> Result<(), AccessError> {
        match self.0.role {
            Role::Operator => Ok(()),
            role => Err(wrong_role(&self.0, role, "operator")),
        }
    }

    /// Whether they are an operator, started the task, or own the agent.
    pub(crate) fn is_party_to(&self, task: &Task, agent: &Agent) -> bool {
        let own = task.initiator == self.0.id || agent.owner == self.0.id;
        own || self.0.role == Role::Operator
    }

    /// Whether they are an operator, or this person.
    pub(crate) fn answers_for(&self, owner: Id<types::Person>) -> bool {
        self.0.role == Role::Operator || self.0.id == owner
    }

    /// Refuses members who do not own the agent.
    pub(crate) fn owning(self, agent: &Agent) -> Result<Self, AccessError> {
        if self.0.role == Role::Operator || agent.owner == self.0.id {
            return Ok(self);
        }
        Err(self.not_owner(format!("agent `{}`", agent.name)))
    }

    /// Refuses members who neither started the task nor own its agent.
    pub(crate) fn party_to(self, task: &Task, agent: &Agent) -> Result<Self, AccessError> {
        if self.is_party_to(task, agent) {
            return Ok(self);
        }
        self.owning(agent)
    }

    pub(crate) const fn person(&self) -> &Person {
        &self.0
    }

    fn not_owner(&self, what: String) -> AccessError {
        AccessError::NotOwner {
            name: self.0.name.to_string(),
            what,
        }
    }
}

impl Approver {
    /// Admits operators and approvers.
    pub(crate) async fn admit(cx: &Cx, reader: &mut dyn Reader) -> Result<Self, AccessError> {
        let Enrolled(person) = Enrolled::admit(cx, reader).await?;
        match person.role {
            Role::Operator | Role::Approver => Ok(Self(person)),
            role @ (Role::Member | Role::Auditor) => {
                Err(wrong_role(&person, role, "operator or approver"))
            }
        }
    }

    /// Refuses whoever the action is for: nobody approves their own.
    pub(crate) fn of_other(self, initiator: Id<types::Person>) -> Result<Self, AccessError> {
        if self.0.id == initiator {
            let name = self.0.name.to_string();
            return Err(AccessError::OwnRequest { name });
        }
        Ok(self)
    }

    pub(crate) const fn person(&self) -> &Person {
        &self.0
    }
}

impl Itself {
    /// Admits the server alone.
    pub(crate) const fn admit(cx: &Cx) -> Result<Self, AccessError> {
        match cx.actor {
            Actor::Server => Ok(Self(())),
            _ => Err(AccessError::NotTheServer),
        }
    }
}

fn wrong_role(person: &Person, role: Role, needed: &'static str) -> AccessError {
    AccessError::Role {
        name: person.name.to_string(),
        role,
        needed,
    }
}
