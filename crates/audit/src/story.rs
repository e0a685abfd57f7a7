//! The story of a task: its records as a typed tree, and that tree as text.
//!
//! What records say is told, not checked: [`crate::check_log`] checks. Texts in records come from
//! programs and people, so every control and direction character in them is shown escaped.

mod body;
mod read;
mod render;
#[cfg(test)]
mod tests;
mod words;

use aims_model::RecordError;
use aims_types::{Digest, Id, Task, Timestamp};
use serde::Serialize;

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
    /// A record belongs to no task, or not to that of the first.
    #[error("record {place} does not belong to the same task as the first")]
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
    /// The launches that were asked for, in time order.
    pub launches: Vec<Launch>,
    /// The runs that were attested, in time order.
    pub instances: Vec<Instance>,
    /// Sessions with tool servers, in time order.
    pub sessions: Vec<Session>,
    /// Every decision, in time order.
    pub calls: Vec<Call>,
    /// Denials that were counted together.
    pub floods: Vec<Flood>,
    /// Requests that were refused, in time order.
    pub refusals: Vec<RequestRefusal>,
    /// How the task ended.
    pub end: Option<End>,
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

/// What was decided of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was permitted.
    Permit,
    /// It was denied.
    Denied,
    /// It was denied until something else is done.
    StepUp,
}

/// One decision, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// Where it is recorded.
    pub place: Place,
    /// What was decided.
    pub verdict: Verdict,
    /// The decision's id.
    pub decision: Option<String>,
    /// The person on whose behalf.
    pub person: Option<String>,
    /// Which agent.
    pub agent: Option<String>,
    /// Which instance.
    pub instance: Option<String>,
    /// What it was done to: `server/tool`, or `host:port`.
    pub resource: String,
    /// `tools/call` or `CONNECT`.
    pub action: Option<String>,
    /// Digest of the exact arguments.
    pub arguments: Option<Digest>,
    /// Why it was denied.
    pub reasons: Vec<String>,
    /// What would have been allowed.
    pub would_allow: Vec<WouldAllow>,
    /// What the policies say for each principal.
    pub principals: Vec<Principal>,
    /// What each hop of authority says.
    pub hops: Vec<Hop>,
    /// Requirements that matched.
    pub requirements: Vec<Requirement>,
    /// The policy version.
    pub policy: Option<String>,
    /// The revision of the state.
    pub revision: Option<u64>,
    /// What became of it; for a permit, `None` means that it is under way or unknown.
    pub outcome: Option<Outcome>,
}

/// What a hop would have allowed instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WouldAllow {
    /// Of which argument.
    pub argument: Option<String>,
    /// In words.
    pub allowed: String,
}

/// What the policies say for one principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Principal {
    /// Who.
    pub principal: String,
    /// `permit` or `deny`.
    pub decision: String,
    /// The policies that decided.
    pub policies: Vec<String>,
}

/// What one hop of authority says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// The hop.
    pub delegation: String,
    /// The code of the rule that refuses; `None` if it allows.
    pub refused: Option<String>,
}

/// A requirement that matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// The policy that asks for it.
    pub policy: String,
    /// What it asks for.
    pub kind: String,
    /// Whether it was met.
    pub met: bool,
}

/// What became of a permitted action.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Where it is recorded.
    pub place: Place,
    /// `ok`, `tool_error`, `cut`, `timeout`, `cancelled`, `failed`.
    pub outcome: String,
    /// Digest of the result.
    pub result: Option<Digest>,
    /// Length of the result.
    pub bytes: Option<u64>,
    /// How long it took.
    pub millis: Option<u64>,
    /// What went wrong.
    pub fault: Option<String>,
}

/// Denials that were counted together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flood {
    /// Where it is recorded.
    pub place: Place,
    /// Whose.
    pub principal: Option<String>,
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Option<Call>,
    /// The last of them.
    pub last: Option<Call>,
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
    /// Tells the story of the task that all of `records` belong to.
    pub fn read<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, StoryError> {
        read::read(records)
    }
}
