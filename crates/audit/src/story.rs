//! The story of a task: its records as a typed tree, and that tree as text.
//!
//! What records say is told, not checked: [`crate::check_log`] checks. Texts in records come from
//! programs and people, so every control and direction character in them is shown escaped.

mod authority;
mod body;
mod call;
mod kill;
mod read;
mod render;
#[cfg(test)]
mod tests;
mod words;

use aims_model::RecordError;
use aims_types::{Digest, Id, Task, Timestamp};
use serde::Serialize;

pub use authority::{Answer, Approval, ApprovalEnd, Delegation, DelegationRefusal, UsedApproval};
pub use call::{
    Call, Flood, Hop, LateEffect, Outcome, Principal, Requirement, Verdict, WouldAllow,
};
pub use kill::{Erasure, Freeze, Kill, KillReceipt, KilledPoint, Owner, UnknownEffect};
pub use render::{Style, WIDTH_MIN, render};
pub use words::Allowance;

/// Most records in one story.
pub const STORY_RECORDS_MAX: usize = 65_536;
/// Longest text that a story repeats from a record, in characters.
pub const STORY_TEXT_LEN_MAX: usize = 1024;

/// Why records can't be told as a story.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoryError {
    /// There is nothing to tell.
    #[error("there are no records of this task")]
    Empty,
    /// More than [`STORY_RECORDS_MAX`].
    #[error("there are more than {STORY_RECORDS_MAX} records; tell a part of them")]
    TooMany,
    /// Bytes are not a record.
    #[error("record {place} can't be read: {reason}")]
    Record {
        /// Which of those given, from 0.
        place: usize,
        /// What is wrong.
        #[source]
        reason: RecordError,
    },
    /// A record belongs to no task and is of no kill, or belongs to another task than the others.
    #[error("record {place} does not belong to the same task as the others")]
    OtherTask {
        /// Which of those given, from 0.
        place: usize,
    },
}

/// Everything recorded of one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Story {
    /// The task.
    pub task: Id<Task>,
    /// Who started it, for what, with which authority.
    pub start: Option<Start>,
    /// What agents handed on, in time order.
    pub delegations: Vec<Delegation>,
    /// What agents wanted to hand on and could not, in time order.
    pub delegation_refusals: Vec<DelegationRefusal>,
    /// The launches that were asked for, in time order.
    pub launches: Vec<Launch>,
    /// The runs that were attested, in time order.
    pub instances: Vec<Instance>,
    /// Sessions with tool servers, in time order.
    pub sessions: Vec<Session>,
    /// What people were asked, in time order.
    pub approvals: Vec<Approval>,
    /// Every decision, in time order.
    pub calls: Vec<Call>,
    /// Denials that were counted together.
    pub floods: Vec<Flood>,
    /// Requests that were refused, in time order.
    pub refusals: Vec<RequestRefusal>,
    /// Kills that concern the task, in time order.
    pub kills: Vec<Kill>,
    /// When the task was frozen and opened again, in time order.
    pub freezes: Vec<Freeze>,
    /// Which gateways owned the delegation tree, in time order.
    pub owners: Vec<Owner>,
    /// How the task ended.
    pub end: Option<End>,
    /// When what its decisions used was erased.
    pub erasures: Vec<Erasure>,
    /// Everything else, in time order.
    pub other: Vec<Other>,
    /// How many records there are.
    pub records: u64,
}

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// `server`, or a gateway's id.
    pub source: String,
    /// Its number within its source.
    pub seq: u64,
    /// When it was written, by its source's clock.
    pub at: Timestamp,
}

/// The start of the task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Start {
    /// Where it is recorded.
    pub place: Place,
    /// The person's name.
    pub person: Option<String>,
    /// The person's id.
    pub person_id: Option<String>,
    /// The agent's name.
    pub agent: Option<String>,
    /// The agent's identifier.
    pub agent_id: Option<String>,
    /// What for.
    pub purpose: Option<String>,
    /// Until when.
    pub deadline: Option<Timestamp>,
    /// The root hop of authority.
    pub delegation: Option<String>,
    /// Digest of its signed grant.
    pub grant: Option<Digest>,
    /// The policy version that authorised it.
    pub policy: Option<String>,
    /// What it allows, in words; `None` if the grant can't be read.
    pub authority: Option<Vec<Allowance>>,
}

/// A launch that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Launch {
    /// The first record of it.
    pub place: Place,
    /// Its id.
    pub run: Option<String>,
    /// Who asked.
    pub requested_by: Option<String>,
    /// When a node took it up.
    pub redeemed_at: Option<Timestamp>,
    /// Which node.
    pub node: Option<String>,
    /// Each time something was refused to it.
    pub refusals: Vec<LaunchRefusal>,
}

/// Why an instance got no credential.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaunchRefusal {
    /// Where it is recorded.
    pub place: Place,
    /// The code.
    pub code: Option<String>,
    /// In words.
    pub reason: Option<String>,
    /// What was not as registered.
    pub gaps: Vec<Gap>,
    /// How many gaps there were; the record may show fewer.
    pub gap_count: u64,
}

/// One thing that was not as registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Which part of the evidence.
    pub part: String,
    /// What the registration says.
    pub expected: String,
    /// What was there.
    pub seen: String,
}

/// An attested run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Instance {
    /// Where its attestation is recorded.
    pub place: Place,
    /// Its id.
    pub instance: Option<String>,
    /// Its agent's name.
    pub agent: Option<String>,
    /// The delegation that it acts under, if the record says so; the root of the task otherwise.
    pub delegation: Option<String>,
    /// The launch.
    pub run: Option<String>,
    /// The node that vouches for it.
    pub node: Option<String>,
    /// The node's host name.
    pub host: Option<String>,
    /// The uid it runs under on the host.
    pub host_uid: Option<u64>,
    /// How strongly the evidence binds.
    pub assurance: Option<String>,
    /// The entry program.
    pub program: Option<Measured>,
    /// The interpreter.
    pub interpreter: Option<Measured>,
    /// How many single files were measured.
    pub files: u64,
    /// How many trees were measured.
    pub trees: u64,
    /// The arguments.
    pub arguments: Vec<String>,
    /// When its credential was renewed.
    pub renewed_at: Vec<Timestamp>,
    /// Tokens issued to it.
    pub tokens: Vec<Token>,
    /// What was refused to it after it was attested.
    pub refusals: Vec<LaunchRefusal>,
    /// When and how it ended.
    pub ended: Option<Ended>,
}

/// A measured file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// Its path.
    pub path: String,
    /// Its digest.
    pub digest: Option<Digest>,
}

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Token {
    /// Where it is recorded.
    pub place: Place,
    /// Its `jti`.
    pub jti: Option<String>,
    /// Its audience.
    pub audience: Option<String>,
    /// Its end.
    pub expires_at: Option<Timestamp>,
    /// Digest of its text.
    pub sha256: Option<Digest>,
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ended {
    /// Where it is recorded.
    pub place: Place,
    /// How.
    pub how: Option<String>,
}

/// Something about a tool server's session.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Session {
    /// Where it is recorded.
    pub place: Place,
    /// The session.
    pub session: Option<String>,
    /// The tool server.
    pub server: Option<String>,
    /// What happened: `started`, `refused`, `not_as_pinned`, `ended`.
    pub what: Option<String>,
    /// Why and how, in the record's words.
    pub details: Vec<String>,
}

/// A request that was refused.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestRefusal {
    /// Where it is recorded.
    pub place: Place,
    /// Who asked.
    pub by: Option<String>,
    /// What for.
    pub operation: Option<String>,
    /// With what.
    pub subject: Option<String>,
    /// The code.
    pub code: Option<String>,
    /// Why, in words.
    pub reasons: Vec<String>,
}

/// The end of the task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct End {
    /// Where it is recorded.
    pub place: Place,
    /// Who or what ended it.
    pub by: Option<String>,
    /// Why.
    pub why: Option<String>,
}

/// A record that the story has no place of its own for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Other {
    /// Where it is recorded.
    pub place: Place,
    /// Its kind.
    pub kind: String,
    /// Its members: name and short text.
    pub members: Vec<(String, String)>,
}

impl Story {
    /// Tells the story of the task that all of `records` belong to. Records of kills that belong to
    /// no task may be among them.
    pub fn read<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, StoryError> {
        read::read(records)
    }
}
