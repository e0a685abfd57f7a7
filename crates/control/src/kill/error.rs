//! Why nothing was killed.

use aims_model::{InvalidTransition, TextError};
use aims_types::{self as types, Delegation, Id, Policy};

use crate::Fault;
use crate::access::AccessError;
use crate::fault::{INTERNAL, Refused, internal_arm};

/// Why nothing was killed.
#[derive(Debug, thiserror::Error)]
pub enum KillError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The reason can't be recorded.
    #[error("the reason: {0}")]
    Reason(#[from] TextError),
    /// There is no such task, or it is not theirs.
    #[error("there is no task `{0}`")]
    UnknownTask(Id<types::Task>),
    /// There is no such instance, or it is not theirs.
    #[error("there is no instance `{0}`")]
    UnknownInstance(Id<types::Instance>),
    /// There is no such delegation, or it is not theirs.
    #[error("there is no delegation `{0}`")]
    UnknownDelegation(Id<Delegation>),
    /// There is no such agent.
    #[error("there is no agent `{0}`")]
    UnknownAgent(String),
    /// There is no such person.
    #[error("there is no person `{0}`")]
    UnknownPerson(String),
    /// The key is neither enrolled nor a live instance's.
    #[error("no key `{0}` is enrolled, and no live instance has it")]
    UnknownKey(String),
    /// There is no such policy version.
    #[error("there is no policy version `{0}`")]
    UnknownPolicy(Id<Policy>),
    /// The server would have nothing to sign with.
    #[error(
        "`{kid}` is the {purpose} key that the server signs with: without it nothing could be \
         issued or recorded; restore the server with new keys instead"
    )]
    ServerKey {
        /// The key.
        kid: String,
        /// What it signs.
        purpose: &'static str,
    },
    /// Nobody would be left who can administer.
    #[error("`{0}` is the last key of the last operator; enrol another operator first")]
    LastOperator(String),
    /// It can't become what it should.
    #[error("it can't be killed: {0}")]
    Stage(#[from] InvalidTransition),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(KillError);

impl Refused for KillError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Reason(_) => "bad_reason",
            Self::UnknownTask(_) => "unknown_task",
            Self::UnknownInstance(_) => "unknown_instance",
            Self::UnknownDelegation(_) => "unknown_delegation",
            Self::UnknownAgent(_) => "unknown_agent",
            Self::UnknownPerson(_) => "unknown_person",
            Self::UnknownKey(_) => "unknown_key",
            Self::UnknownPolicy(_) => "unknown_policy",
            Self::ServerKey { .. } => "server_key_in_use",
            Self::LastOperator(_) => "last_operator",
            Self::Stage(_) => "invalid_transition",
            Self::Internal(_) => INTERNAL,
        }
    }
}
