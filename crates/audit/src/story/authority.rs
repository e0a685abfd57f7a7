//! Hops of authority below the root, and what people were asked.

use aims_types::{Digest, Timestamp};
use serde::Serialize;

use super::{Allowance, Place};

/// A hop of authority that an agent handed on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Delegation {
    /// Where it is recorded.
    pub place: Place,
    /// The hop.
    pub delegation: Option<String>,
    /// Digest of its signed grant.
    pub grant: Option<Digest>,
    /// Digest of the grant that it is a part of.
    pub parent: Option<Digest>,
    /// The hop above, if its record is here too.
    pub parent_delegation: Option<String>,
    /// The instance that handed it on, with its own key.
    pub by: Option<String>,
    /// The name of the agent that received it.
    pub agent: Option<String>,
    /// Its identifier.
    pub agent_id: Option<String>,
    /// What for.
    pub purpose: Option<String>,
    /// Until when.
    pub deadline: Option<Timestamp>,
    /// The policy version that authorised the hop.
    pub policy: Option<String>,
    /// What it allows, in words; `None` if the grant can't be read.
    pub authority: Option<Vec<Allowance>>,
}

/// A delegation that was refused.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DelegationRefusal {
    /// Where it is recorded.
    pub place: Place,
    /// The instance that wanted to delegate.
    pub by: Option<String>,
    /// To which agent.
    pub agent: Option<String>,
    /// The code.
    pub code: Option<String>,
    /// Why, in words.
    pub reason: Option<String>,
    /// The constraint that failed.
    pub constraint: Option<String>,
}

/// An action that a person was asked about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Approval {
    /// The first record of it.
    pub place: Place,
    /// Its id.
    pub approval: Option<String>,
    /// What it is about: `server/tool`.
    pub resource: Option<String>,
    /// Which agent wanted to act.
    pub agent: Option<String>,
    /// Which instance.
    pub instance: Option<String>,
    /// The requirements, by name.
    pub requirements: Vec<String>,
    /// Until when it waited.
    pub deadline: Option<Timestamp>,
    /// What a person said.
    pub answer: Option<Answer>,
    /// What came of it.
    pub end: Option<ApprovalEnd>,
}

/// What a person said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// Where it is recorded.
    pub place: Place,
    /// `approve` or `deny`.
    pub answer: Option<String>,
    /// The person's id.
    pub by: Option<String>,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// How a request for approval ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ApprovalEnd {
    /// Where it is recorded.
    pub place: Place,
    /// `used`, `timed_out` or `withdrawn`.
    pub how: Option<String>,
    /// The decision that used it.
    pub decision: Option<String>,
    /// Why it was withdrawn.
    pub why: Option<String>,
}

/// The approval that a permit used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsedApproval {
    /// Which.
    pub approval: String,
    /// Who gave it: a person's id.
    pub by: Option<String>,
}
