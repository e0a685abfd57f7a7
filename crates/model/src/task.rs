//! Tasks, and the launches that serve them.

use aims_types::{Delegation, Digest, Id, Node, Person, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{InvalidTransition, Text};

/// One piece of work: a purpose, the authority it needs, an initiator, a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Identity.
    pub id: Id<aims_types::Task>,
    /// What is to be done, in words.
    pub purpose: Text,
    /// The agent that does it.
    pub agent: Id<aims_types::Agent>,
    /// The person on whose behalf.
    pub initiator: Id<Person>,
    /// The root delegation: where its authority is.
    pub root: Id<Delegation>,
    /// When it ends by itself.
    pub deadline: Timestamp,
    /// Where it stands in its life.
    pub stage: Stage,
}

/// The life of a task: `open ⇄ frozen`, `open | frozen → ended`. A deadline that passed ends it
/// without a transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stage")]
pub enum Stage {
    /// Instances may be started for it.
    Open {
        /// Since when.
        since: Timestamp,
    },
    /// Nothing is issued for it, and what was issued to its instances is dead for ever. Its grant
    /// stays, so that it can be resumed with new instances on the same budget.
    Frozen {
        /// When it started.
        since: Timestamp,
        /// When it was frozen.
        at: Timestamp,
    },
    /// Nothing issued for it is valid.
    Ended {
        /// When it started.
        since: Timestamp,
        /// When it ended.
        at: Timestamp,
    },
}

impl Stage {
    /// The stage as people and records write it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Frozen { .. } => "frozen",
            Self::Ended { .. } => "ended",
        }
    }

    /// Ends a task that has not ended.
    pub fn end(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Open { since } | Self::Frozen { since, .. } => Ok(Self::Ended { since, at }),
            Self::Ended { .. } => Err(self.cannot_become("ended")),
        }
    }

    /// Freezes an open task.
    pub fn freeze(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Open { since } => Ok(Self::Frozen { since, at }),
            Self::Frozen { .. } | Self::Ended { .. } => Err(self.cannot_become("frozen")),
        }
    }

    /// Opens a frozen task again.
    pub fn resume(self) -> Result<Self, InvalidTransition> {
        match self {
            Self::Frozen { since, .. } => Ok(Self::Open { since }),
            Self::Open { .. } | Self::Ended { .. } => Err(self.cannot_become("open")),
        }
    }

    const fn cannot_become(&self, to: &'static str) -> InvalidTransition {
        InvalidTransition {
            from: self.as_str(),
            to,
        }
    }
}

impl Task {
    /// Whether something may still be done for it at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        matches!(self.stage, Stage::Open { .. }) && now < self.deadline
    }
}

/// One launch: asked for by a person with a single-use ticket for one node, or by an instance that
/// delegated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Identity.
    pub id: Id<aims_types::Run>,
    /// The task it serves.
    pub task: Id<aims_types::Task>,
    /// The agent that is to run.
    pub agent: Id<aims_types::Agent>,
    /// The delegation that its instance acts under: the task's root, or one below it.
    pub delegation: Id<Delegation>,
    /// Who asked for it, or on whose behalf the task runs that an instance delegated in.
    pub requested_by: Id<Person>,
    /// The instance that delegated; absent for a launch that a person asked for.
    #[serde(default)]
    pub parent: Option<Id<aims_types::Instance>>,
    /// SHA-256 of the ticket, which itself is kept nowhere; of the signed request where an instance
    /// delegated.
    pub ticket: Digest,
    /// After this the ticket is worthless.
    pub expires_at: Timestamp,
    /// When a node took it up.
    pub redeemed_at: Option<Timestamp>,
    /// The node that took it up; only that one may vouch for its instance.
    #[serde(default)]
    pub redeemed_by: Option<Id<Node>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended_of(stage: &Stage, at: Timestamp) -> Stage {
        stage.clone().end(at).unwrap()
    }

    #[test]
    fn a_task_ends_once_and_is_closed_by_its_deadline() {
        let (since, at) = (Timestamp::from_unix_secs(1), Timestamp::from_unix_secs(2));
        let ended = Stage::Open { since }.end(at).unwrap();
        assert!(ended.end(at).is_err());
        let frozen = Stage::Open { since }.freeze(at).unwrap();
        assert!(frozen.clone().freeze(at).is_err() && ended_of(&frozen, at).freeze(at).is_err());
        assert_eq!(frozen.resume(), Ok(Stage::Open { since }));
        assert!(Stage::Open { since }.resume().is_err());
        let task = Task {
            id: Id::from_u128(1),
            purpose: "work".parse().unwrap(),
            agent: Id::from_u128(2),
            initiator: Id::from_u128(3),
            root: Id::from_u128(4),
            deadline: Timestamp::from_unix_secs(10),
            stage: Stage::Open { since },
        };
        assert!(task.is_open(Timestamp::from_unix_millis(9_999)));
        assert!(!task.is_open(Timestamp::from_unix_secs(10)));
    }
}
