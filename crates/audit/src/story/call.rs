//! Decisions on actions, and what became of them.

use aims_types::{Digest, Timestamp};
use serde::Serialize;

use super::{Place, UsedApproval};

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
    /// What it was done to: `server/tool`, `host:port`, or `POST upstream/path`.
    pub resource: String,
    /// `tools/call`, `CONNECT` or `http/request`.
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
    /// The approval that it used.
    pub approval: Option<UsedApproval>,
    /// The policy version.
    pub policy: Option<String>,
    /// The revision of the state.
    pub revision: Option<u64>,
    /// What became of it; for a permit, `None` means that it is under way or unknown.
    pub outcome: Option<Outcome>,
    /// Pieces of it that went out after the lease had ended that allowed them.
    pub late: Vec<LateEffect>,
}

/// A piece of an action that went out late, because its gateway had been stopped.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LateEffect {
    /// Where it is recorded.
    pub place: Place,
    /// `sent` to a tool or a host, or `delivered` to the agent.
    pub what: String,
    /// By how much, at least.
    pub millis: Option<u64>,
    /// When the lease had ended.
    pub lease_ended_at: Option<Timestamp>,
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
    /// `ok`, `tool_error`, `cut`, `timeout`, `cancelled`, `failed`, `unknown_after_restart`.
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
