//! Why no token is issued, and what the caller is told of it.

use aims_oauth::dpop::DpopError;
use aims_oauth::{
    ActError, AssertionError, ChainError, CreateAccessTokenError, ErrorCode, ErrorResponse,
    SvidAssertionError, TokenRequestError, WorkloadIdentityError,
};
use aims_types::Id;

use super::REMOTE_INSTANCES_MAX;
use crate::Fault;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::keyring::BadKey;
use crate::liveness::NotLive;

/// Why no token is issued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The form is not a request that we read (RFC 6749 §5.2).
    #[error(transparent)]
    Request(#[from] TokenRequestError),
    /// The client does not authenticate.
    #[error("there is no client assertion")]
    NoClient,
    /// A grant that needs no client came with one.
    #[error("a person's assertion comes without a client assertion")]
    UnexpectedClient,
    /// The client is none of ours, or the key is not its own.
    #[error("the client assertion is not by an enrolled key of the client: `{0}`")]
    ForeignClient(String),
    /// `client_id` names somebody else than the assertion.
    #[error("`client_id` differs from the assertion's subject")]
    ClientDiffers,
    /// The client assertion is refused (RFC 7523 §3).
    #[error("client: {0}")]
    Client(AssertionError),
    /// The client's JWT-SVID is refused (draft-ietf-oauth-spiffe-client-auth).
    #[error("client: {0}")]
    Svid(SvidAssertionError),
    /// The process that the client shows itself as is not attested any more.
    #[error("the process of the service that the client was has ended, or was cut off")]
    ProcessEnded,
    /// The person's assertion is refused (RFC 7523 §3).
    #[error("grant: {0}")]
    Assertion(AssertionError),
    /// The person is not enrolled, or the key is not theirs.
    #[error("the assertion is not by an enrolled key of the person")]
    ForeignPerson,
    /// An assertion came a second time (RFC 7523 §3, item 7).
    #[error("the assertion was used before")]
    AssertionReplayed,
    /// The proof is refused (RFC 9449 §4.3).
    #[error(transparent)]
    Proof(#[from] DpopError),
    /// The proof came a second time (RFC 9449 §11.1).
    #[error("the proof was used before")]
    ProofReplayed,
    /// There is no actor token: an agent always acts for somebody (RFC 8693 §2.1).
    #[error("there is no actor token")]
    NoActor,
    /// A token of another type than the exchange takes.
    #[error("`{0}` is of another type than is exchanged here")]
    TokenType(&'static str),
    /// The actor token is refused.
    #[error("actor: {0}")]
    Actor(#[from] WorkloadIdentityError),
    /// The proof is by another key than the actor token's.
    #[error("the proof is not by the key of the actor token")]
    ActorKey,
    /// The actor token says something else than the instance is.
    #[error("the actor token's {0} is not the instance's")]
    ActorDiffers(&'static str),
    /// Another node vouches for the instance.
    #[error("another node vouches for instance `{0}`")]
    ForeignInstance(Id<aims_types::Instance>),
    /// The subject token is no grant of ours.
    #[error("the subject token is not a grant of ours")]
    UnknownGrant,
    /// The grant is not the one that the instance acts under.
    #[error("the subject token is not the grant that the instance acts under")]
    ForeignGrant,
    /// Something that it rests on does not hold any more.
    #[error(transparent)]
    NotLive(NotLive),
    /// The resource is not one that we issue for (RFC 8707 §2).
    #[error("the resource or audience is not `{0}`")]
    Target(String),
    /// A scope that is not issued by this grant.
    #[error("the scope is not issued by this grant")]
    Scope,
    /// Another authority than the grant's was asked for.
    #[error("`authorization_details` differ from the grant's")]
    Details,
    /// The token can't have the form it needs.
    #[error(transparent)]
    NotIssuable(CreateAccessTokenError),
    /// The token was issued to another client (RFC 7009 §2.1).
    #[error("the token was issued to another client")]
    ForeignToken,
    /// The token that is to be exchanged does not count now.
    #[error("the subject token does not count any more")]
    SubjectDead,
    /// A grant that this endpoint does not take.
    #[error("this grant is not taken at this endpoint")]
    OtherDoor,
    /// The client says no task that it works on.
    #[error("the parameter `aims_task` is missing or no id of a task")]
    NoTask,
    /// The task is not the client's, or there is none.
    #[error("the task is not one of this agent's: `{0}`")]
    ForeignTask(String),
    /// Nothing may be issued for the task.
    #[error(transparent)]
    TaskNotLive(NotLive),
    /// An instance of the task was killed.
    #[error("an instance of the task was killed; a person has to start another task")]
    Killed,
    /// The task has had too many instances.
    #[error("the task has had {REMOTE_INSTANCES_MAX} instances; start another one")]
    TooManyInstances,
    /// The key of the proof is or was used for something else.
    #[error("the key of the proof is or was another one's; make a new one for each run")]
    KeyTaken,
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(TokenError);

impl From<NotLive> for TokenError {
    fn from(error: NotLive) -> Self {
        match error {
            NotLive::Internal(fault) => Self::Internal(fault),
            error => Self::NotLive(error),
        }
    }
}

impl From<BadKey> for TokenError {
    fn from(error: BadKey) -> Self {
        Self::Internal(Fault::Inconsistent(error.to_string()))
    }
}

impl From<ActError> for TokenError {
    fn from(error: ActError) -> Self {
        Self::Internal(Fault::Inconsistent(error.to_string()))
    }
}

impl From<ChainError> for TokenError {
    fn from(error: ChainError) -> Self {
        Self::Internal(Fault::Inconsistent(error.to_string()))
    }
}

impl Refused for TokenError {
    fn code(&self) -> &'static str {
        match self {
            Self::Request(_) => "bad_token_request",
            Self::NoClient => "no_client",
            Self::UnexpectedClient => "unexpected_client",
            Self::ForeignClient(_) => "foreign_client",
            Self::ClientDiffers => "client_differs",
            Self::Client(_) => "client_assertion_refused",
            Self::Svid(_) => "client_svid_refused",
            Self::ProcessEnded => "process_ended",
            Self::Assertion(_) => "assertion_refused",
            Self::ForeignPerson => "foreign_person",
            Self::AssertionReplayed => "assertion_replayed",
            Self::Proof(_) => "proof_refused",
            Self::ProofReplayed => "proof_replayed",
            Self::NoActor => "no_actor",
            Self::TokenType(_) => "token_type",
            Self::Actor(_) => "actor_refused",
            Self::ActorKey => "actor_key",
            Self::ActorDiffers(_) => "actor_differs",
            Self::ForeignInstance(_) => "foreign_instance",
            Self::UnknownGrant => "unknown_grant",
            Self::ForeignGrant => "foreign_grant",
            Self::NotLive(error) | Self::TaskNotLive(error) => error.code(),
            Self::Target(_) => "wrong_target",
            Self::Scope => "wrong_scope",
            Self::Details => "wrong_details",
            Self::ForeignToken => "foreign_token",
            Self::SubjectDead => "subject_dead",
            Self::OtherDoor => "other_endpoint",
            Self::NoTask => "no_task",
            Self::ForeignTask(_) => "foreign_task",
            Self::Killed => "instance_killed",
            Self::TooManyInstances => "too_many_instances",
            Self::KeyTaken => "key_taken",
            Self::NotIssuable(_) => "not_issuable",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl TokenError {
    /// What the caller is told: the kind of thing that was wrong, without detail about who exists
    /// or what state it is in. Only the caller's own form is explained.
    pub(crate) fn to_response(&self) -> ErrorResponse {
        use ErrorCode as Code;
        let (code, description) = match self {
            Self::Request(error) => return error.to_response(),
            Self::NoClient
            | Self::UnexpectedClient
            | Self::ForeignClient(_)
            | Self::ClientDiffers
            | Self::Client(_)
            | Self::Svid(_)
            | Self::ProcessEnded => (Code::InvalidClient, "the client is not authenticated"),
            // RFC 7521 §4.1.1.
            Self::Assertion(_) | Self::ForeignPerson | Self::AssertionReplayed => {
                (Code::InvalidGrant, "the assertion is not valid")
            }
            Self::ForeignToken => (
                Code::UnauthorizedClient,
                "the token was issued to another client",
            ),
            Self::OtherDoor => (
                Code::UnauthorizedClient,
                "this grant is not taken at this endpoint",
            ),
            Self::NoTask => (
                Code::InvalidRequest,
                "say the id of the task as the parameter `aims_task`",
            ),
            Self::ForeignTask(_) | Self::TaskNotLive(_) | Self::Killed | Self::TooManyInstances => {
                (
                    Code::InvalidGrant,
                    "nothing is issued to this client for this task",
                )
            }
            Self::KeyTaken => (
                Code::InvalidDpopProof,
                "the key of the proof is or was another one's: make a new one for each run",
            ),
            Self::Proof(_) | Self::ProofReplayed | Self::ActorKey => (
                Code::InvalidDpopProof,
                "the proof of possession is not valid",
            ),
            // RFC 8693 §2.2.2: whatever is wrong with subject or actor is `invalid_request`.
            Self::NoActor
            | Self::TokenType(_)
            | Self::Actor(_)
            | Self::ActorDiffers(_)
            | Self::ForeignInstance(_)
            | Self::UnknownGrant
            | Self::ForeignGrant
            | Self::SubjectDead
            | Self::NotLive(_)
            | Self::NotIssuable(_)
            | Self::Internal(_) => (
                Code::InvalidRequest,
                "the subject or actor token is not acceptable",
            ),
            Self::Target(_) => (Code::InvalidTarget, "the resource is not known"),
            Self::Scope => (Code::InvalidScope, "the scope is not issued by this grant"),
            Self::Details => (
                Code::InvalidAuthorizationDetails,
                "only authority within what is held is issued",
            ),
        };
        ErrorResponse::new(code, description)
    }
}
