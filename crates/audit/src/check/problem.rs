//! What can be wrong with one entry.

use aims_jose::{ParseJwsError, VerifyError};
use aims_model::{EventKind, GrantError, RecordError, Source};
use aims_types::Digest;

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not a record.
    #[error("it is not a record: {0}")]
    Record(#[source] RecordError),
    /// A source's records have a gap, or do not chain.
    #[error(
        "record {seq} of {origin} does not follow its record {last}; a record was lost, reordered \
         or rewritten"
    )]
    Chain {
        /// Whose chain.
        origin: Source,
        /// The record's number.
        seq: u64,
        /// The number before it in the tree.
        last: u64,
    },
    /// A source says what is not for it to say.
    #[error("`{origin}` may not write a `{kind}`")]
    Source {
        /// Who.
        origin: Source,
        /// What it says it is.
        kind: EventKind,
    },
    /// A member that has to be there is missing or malformed.
    #[error("the member `{member}` of a `{kind}` is missing or malformed")]
    Member {
        /// The kind of record.
        kind: EventKind,
        /// Its member.
        member: &'static str,
    },
    /// A key's enrolment or retirement is wrong.
    #[error("key `{kid}` {problem}")]
    Key {
        /// The key.
        kid: String,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// A person was enrolled twice.
    #[error("person `{0}` was enrolled before")]
    PersonTwice(String),
    /// A task's grant does not hold.
    #[error("the grant {digest}: {problem}")]
    Grant {
        /// The grant.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        problem: GrantProblem,
    },
    /// An instance was attested for two tasks.
    #[error("instance `{0}` was attested for another task before")]
    InstanceTwice(String),
    /// A token's id was issued twice.
    #[error("token `{0}` was issued before")]
    TokenTwice(String),
    /// A permitted action rests on something that was not recorded.
    #[error("the permit `{decision}`: {problem}")]
    Permit {
        /// The decision.
        decision: String,
        /// What is wrong with it.
        #[source]
        problem: PermitProblem,
    },
    /// An outcome belongs to no permitted action of its source and task, or to one that has its
    /// outcome.
    #[error("an outcome of `{decision}`, which was never permitted or has its outcome already")]
    OutcomeWithoutIntent {
        /// The decision it names.
        decision: String,
    },
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// Its JWK can't be read.
    #[error("has no readable JWK")]
    Unreadable,
    /// It is not named by its thumbprint (RFC 7638).
    #[error("is not the thumbprint of its JWK")]
    NotItsThumbprint,
    /// It was enrolled before, perhaps for something else.
    #[error("was enrolled before")]
    Twice,
    /// It was not enrolled, or retired before.
    #[error("is retired without being enrolled")]
    NotEnrolled,
}

/// What is wrong with a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantProblem {
    /// It was recorded before.
    #[error("it was recorded before")]
    Twice,
    /// The record names another digest than that of the grant in it.
    #[error("it is not the one that its digest names")]
    Digest,
    /// A signature is not readable.
    #[error("the {part} is not readable: {reason}")]
    Unreadable {
        /// `grant` or `consent`.
        part: &'static str,
        /// What is wrong.
        #[source]
        reason: ParseJwsError,
    },
    /// It was not signed with an enrolled key of the right purpose and owner that was in force.
    #[error("the {part} is signed by `{kid}`, which is not enrolled for that or was retired")]
    ForeignKey {
        /// `grant` or `consent`.
        part: &'static str,
        /// The key it names.
        kid: String,
    },
    /// A signature does not verify.
    #[error("the {part}: {reason}")]
    Signature {
        /// `grant` or `consent`.
        part: &'static str,
        /// What is wrong.
        #[source]
        reason: VerifyError,
    },
    /// The claims are not those of a grant or a consent.
    #[error("the {part}: {reason}")]
    Claims {
        /// `grant` or `consent`.
        part: &'static str,
        /// What is wrong.
        #[source]
        reason: GrantError,
    },
    /// The record and the grant in it disagree.
    #[error("the record and the grant differ in `{0}`")]
    Record(&'static str),
    /// The grant goes beyond or beside what the person consented to.
    #[error("the consent and the grant differ in `{0}`")]
    Consent(&'static str),
    /// A consent was used for two tasks.
    #[error("its consent was used before")]
    ConsentTwice,
    /// The person was not enrolled under this name, or removed.
    #[error("the person `{0}` was not enrolled under that name, or was removed")]
    Person(String),
}

/// What a permit lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PermitProblem {
    /// The decision was recorded before.
    #[error("it was recorded before")]
    Twice,
    /// A grant of its chain was not recorded before it.
    #[error("its chain names the grant {0}, which was not recorded before it")]
    UnknownGrant(Digest),
    /// A grant of its chain is of another task.
    #[error("its chain names the grant {0}, which is of another task")]
    OtherTask(Digest),
    /// A grant of its chain does not name the tool or host.
    #[error("the grant {0} does not name what it was done to")]
    NotGranted(Digest),
    /// The agent is not the one the leaf grant is for.
    #[error("the agent `{0}` is not the one its grant is for")]
    OtherAgent(String),
    /// The person is not the one the root grant is from.
    #[error("the person `{0}` is not the one its grant is from")]
    OtherPerson(String),
    /// The instance was not attested for the task.
    #[error("the instance `{0}` was not attested for its task")]
    UnknownInstance(String),
    /// The token was not issued to the instance.
    #[error("the token `{0}` was not issued to its instance")]
    UnknownToken(String),
}
