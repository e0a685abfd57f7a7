//! What records claim, and whether each fits the ones before it.

mod approvals;
mod budgets;
mod calls;
pub(crate) mod claims;
mod cuts;
pub(crate) mod grants;
mod keys;
mod people;
mod permit;
mod problem;
mod trees;

pub use claims::Claims;
pub use problem::{ApprovalProblem, GrantProblem, KeyProblem, PermitProblem, Problem};

use std::collections::{BTreeMap, BTreeSet};

/// What the records that were noted hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// How many records of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Keys enrolled and not retired: thumbprint and purpose.
    pub keys: BTreeMap<String, String>,
    /// Grants whose signature by the server and consent by the person, or request by an instance,
    /// were verified.
    pub grants_verified: u64,
    /// Permitted actions that were traced to grant, person, instance and token.
    pub permits_verified: u64,
    /// Permitted actions whose outcome is not recorded (yet): decision ids.
    pub open_intents: BTreeSet<String>,
    /// Answers to requests for approval whose signature by a person who may was verified.
    pub answers_verified: u64,
    /// Kills whose receipt is not recorded (yet), in words.
    pub open_kills: BTreeSet<String>,
}
