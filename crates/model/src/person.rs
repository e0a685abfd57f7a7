//! Human principals.

use aims_types::{Id, Name, Timestamp};
use serde::{Deserialize, Serialize};

/// What a person may do besides running tasks of their own agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Registers agents, servers, policies and people.
    Operator,
    /// Starts tasks for agents that they own.
    Member,
    /// Answers requests for approval that others made.
    Approver,
    /// Reads everything, changes nothing.
    Auditor,
}

impl Role {
    /// The role's name as people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Member => "member",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
        }
    }
}

/// A human principal with an enrolled key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Identity; what policies and records refer to.
    pub id: Id<aims_types::Person>,
    /// Name, unique for ever.
    pub name: Name,
    /// What they may do.
    pub role: Role,
    /// When they were enrolled.
    pub enrolled_at: Timestamp,
    /// When they were removed; they can do nothing since.
    pub removed_at: Option<Timestamp>,
}
