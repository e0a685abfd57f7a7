//! Why nothing was delegated.

use aims_authority::Wider;
use aims_jose::{ParseJwsError, VerifyError};
use aims_model::GrantError;
use aims_model::grant::CHAIN_LEN_MAX;
use aims_oauth::WorkloadIdentityError;
use aims_types::{Id, Name, Node, Timestamp, TrustDomain};

use super::request::{DELEGATION_AGE_SECS_MAX, JTI_LEN_MAX};
use crate::Fault;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::joins::unknown_node;
use crate::keyring::BadKey;
use crate::liveness::NotLive;

/// Why nothing was delegated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DelegateError {
    /// The node is not enrolled.
    #[error("{}", unknown_node(.0))]
    UnknownNode(Id<Node>),
    /// Another node vouches for the instance.
    #[error("another node vouches for this instance")]
    ForeignNode,
    /// Nothing may be issued under the chain that the instance acts under.
    #[error(transparent)]
    NotLive(#[from] NotLive),
    /// The request is no signed token.
    #[error("the request is not readable: {0}")]
    Form(#[from] ParseJwsError),
    /// The request is not signed with the instance's key.
    #[error("the request: {0}")]
    Signature(#[from] VerifyError),
    /// The claims are no request.
    #[error("the request: {0}")]
    Claims(#[from] GrantError),
    /// It is another instance's.
    #[error("the request is another instance's")]
    ForeignInstance,
    /// It is for another trust domain.
    #[error("the request is for another trust domain than `{0}`")]
    Audience(TrustDomain),
    /// Its `jti` is empty or too long.
    #[error("the request's `jti` has 1 to {JTI_LEN_MAX} visible ASCII characters")]
    Jti,
    /// Made too long ago.
    #[error("the request is older than {DELEGATION_AGE_SECS_MAX} seconds; make a new one")]
    TooOld,
    /// Made in the future.
    #[error("the request is from the future; check the clocks")]
    FromFuture,
    /// It was used before.
    #[error("the request was used before; make a new one for each sub-agent")]
    Replayed,
    /// The workload identity token does not count.
    #[error("{0}")]
    Identity(#[from] WorkloadIdentityError),
    /// The workload identity token binds another key, instance or agent.
    #[error("the workload identity token's {0} is not the instance's")]
    IdentityDiffers(&'static str),
    /// The request names another grant than the one that the instance acts under.
    #[error("the request hands on another grant than the one that the instance acts under")]
    ForeignParent,
    /// There is no such agent.
    #[error("there is no agent `{0}`; an operator can register it")]
    UnknownAgent(Name),
    /// The agent may not run.
    #[error("agent `{name}` is {stage}; an operator can activate it unless it is retired")]
    AgentNotActive {
        /// The agent.
        name: Name,
        /// Where it stands.
        stage: &'static str,
    },
    /// The agent is not started here.
    #[error("agent `{0}` runs elsewhere with a key of its own; nothing is handed on to it")]
    RunsElsewhere(Name),
    /// Nobody answers for the agent.
    #[error("the owner of agent `{0}` was removed; name another agent")]
    NoOwner(Name),
    /// The authority allows nothing.
    #[error("the authority allows nothing; name at least one tool or host")]
    EmptyAuthority,
    /// The authority is not proven narrower; the constraint that failed, and what is allowed.
    #[error(transparent)]
    Wider(#[from] Wider),
    /// The chain would be too long.
    #[error("asked for: a chain of {} hops; allowed: at most {CHAIN_LEN_MAX}", CHAIN_LEN_MAX + 1)]
    ChainTooLong,
    /// The end is past, or later than that of the authority above.
    #[error("the deadline: asked for: {asked}; allowed: later than now and at most {latest}")]
    Deadline {
        /// What was asked for.
        asked: Timestamp,
        /// The end of the authority above.
        latest: Timestamp,
    },
    /// The organisation's policies do not permit this delegation.
    #[error("the policy in force does not permit `{resource}` to {principal}: {reason}")]
    Policy {
        /// For whom.
        principal: String,
        /// Which tool or host.
        resource: String,
        /// Why.
        reason: String,
    },
    /// The grant would be too long to be read as a token.
    #[error("the delegation is too large; name fewer tools, or shorter values")]
    TooLarge,
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(DelegateError);

impl From<BadKey> for DelegateError {
    fn from(error: BadKey) -> Self {
        Self::Internal(Fault::Inconsistent(error.to_string()))
    }
}

impl Refused for DelegateError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownNode(_) => "unknown_node",
            Self::ForeignNode => "foreign_node",
            Self::NotLive(error) => error.code(),
            Self::Form(_) | Self::Claims(_) | Self::Jti => "bad_delegation",
            Self::Signature(_) => "delegation_signature",
            Self::ForeignInstance => "delegation_foreign_instance",
            Self::Audience(_) => "delegation_audience",
            Self::TooOld => "delegation_too_old",
            Self::FromFuture => "delegation_from_future",
            Self::Replayed => "delegation_replayed",
            Self::Identity(_) => "delegation_identity",
            Self::IdentityDiffers(_) => "delegation_identity_differs",
            Self::ForeignParent => "delegation_foreign_parent",
            Self::UnknownAgent(_) => "unknown_agent",
            Self::AgentNotActive { .. } => "agent_not_active",
            Self::RunsElsewhere(_) => "runs_elsewhere",
            Self::NoOwner(_) => "no_owner",
            Self::EmptyAuthority => "empty_authority",
            Self::Wider(wider) => wider.rule().code(),
            Self::ChainTooLong => "chain_too_long",
            Self::Deadline { .. } => "wider_deadline",
            Self::Policy { .. } => "policy_denied",
            Self::TooLarge => "delegation_too_large",
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// A constraint of the hop above that a request does not keep, in words.
pub(super) struct Constraint {
    /// Which: `argument `repo_path` of `git/git_log``.
    pub(super) which: String,
    /// What was asked for.
    pub(super) asked: String,
    /// What would be allowed.
    pub(super) allowed: String,
}

impl DelegateError {
    /// The constraint that failed, where one did.
    pub(super) fn constraint(&self) -> Option<Constraint> {
        let (which, asked, allowed) = match self {
            Self::Wider(wider) => (
                which(wider),
                wider.asked().to_owned(),
                wider.allowed().to_owned(),
            ),
            Self::ChainTooLong => (
                "the length of the chain".to_owned(),
                format!("{} hops", CHAIN_LEN_MAX + 1),
                format!("{CHAIN_LEN_MAX} hops"),
            ),
            Self::Deadline { asked, latest } => (
                "the deadline".to_owned(),
                asked.to_string(),
                format!("later than now and at most {latest}"),
            ),
            _ => return None,
        };
        Some(Constraint {
            which,
            asked,
            allowed,
        })
    }
}

fn which(wider: &Wider) -> String {
    match (wider.argument(), wider.resource()) {
        (Some(argument), Some(resource)) => format!("argument `{argument}` of `{resource}`"),
        (Some(argument), None) => format!("{}: argument `{argument}`", wider.rule()),
        (None, Some(resource)) => format!("`{resource}`"),
        (None, None) => wider.rule().to_string(),
    }
}
