//! What can be wrong with one entry.

use aims_authority::Wider;
use aims_jose::{ParseJwsError, VerifyError};
use aims_model::approval::AnswerError;
use aims_model::{EventKind, GrantError, RecordError, Source};
use aims_oauth::WorkloadIdentityError;
use aims_types::{Digest, Revision};

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
    /// A request for approval, or its answer, does not hold.
    #[error("the approval `{approval}` {problem}")]
    Approval {
        /// The request.
        approval: String,
        /// What is wrong with it.
        #[source]
        problem: ApprovalProblem,
    },
    /// A task was erased while decisions could still be made for it.
    #[error("the task was erased before it had ended")]
    ErasedBeforeEnd,
    /// A task was erased twice.
    #[error("the task was erased before")]
    ErasedTwice,
    /// The same kill was recorded twice.
    #[error("the kill was recorded before")]
    KillTwice,
    /// A receipt is of no kill, or of one that has its receipt.
    #[error("a receipt of a kill that was never recorded or has its receipt already")]
    ReceiptWithoutKill,
    /// A delegation tree has two owners at once, or an earlier one again.
    #[error("the owner of the tree of task `{0}` does not follow the one before it")]
    Tree(String),
    /// A gateway is taken to have handed over everything about a tree, and it is not so.
    #[error(
        "gateway `{gateway}` is said to be accounted for in the tree of task `{task}`, and it was \
         not lost, or its records do not go so far"
    )]
    Accounted {
        /// The task.
        task: String,
        /// The gateway.
        gateway: String,
    },
    /// Two certificates have the same serial number.
    #[error("the certificate `{0}` was issued before")]
    SerialTwice(String),
    /// A join token was made twice.
    #[error("the join token {0} was made before")]
    JoinTwice(String),
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
    /// A late effect belongs to no permitted action of its source and task.
    #[error("a late effect of `{decision}`, which was never permitted")]
    LateWithoutIntent {
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
    /// Keys of its purpose don't belong to such an owner, or there is no such purpose.
    #[error("does not belong to who may have such a key")]
    Owner,
    /// The certificate that came with it is not that of the trust domain's authority.
    #[error("has no certificate of its own as the authority of the trust domain")]
    Certificate,
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
        /// `grant`, `consent` or `request`.
        part: &'static str,
        /// What is wrong.
        #[source]
        reason: ParseJwsError,
    },
    /// It was not signed with an enrolled key of the right purpose and owner that was in force.
    #[error("the {part} is signed by `{kid}`, which is not enrolled for that or was retired")]
    ForeignKey {
        /// `grant`, `consent` or `request`.
        part: &'static str,
        /// The key it names.
        kid: String,
    },
    /// A signature does not verify.
    #[error("the {part}: {reason}")]
    Signature {
        /// `grant`, `consent` or `request`.
        part: &'static str,
        /// What is wrong.
        #[source]
        reason: VerifyError,
    },
    /// The claims are not those of such a part.
    #[error("the {part}: {reason}")]
    Claims {
        /// `grant`, `consent` or `request`.
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
    /// Its parent was not recorded before it for the same task.
    #[error("its parent was not recorded before it for the same task")]
    Parent,
    /// It does not continue its parent.
    #[error("it does not continue its parent: `{0}` does not fit")]
    Link(&'static str),
    /// It is not within its parent.
    #[error("it is wider than its parent: {0}")]
    Wider(#[source] Box<Wider>),
    /// The identity of the instance that asked does not hold.
    #[error("the identity of who asked: {0}")]
    Identity(#[source] Box<WorkloadIdentityError>),
    /// The identity is somebody else's.
    #[error("the identity of who asked is of another `{0}`")]
    IdentityOf(&'static str),
    /// The instance was not attested to act under the parent.
    #[error("the instance `{0}` was not attested, with that key, to act under its parent")]
    Instance(String),
    /// Who asked was cut off before.
    #[error("the {0} was cut off before it was granted")]
    Dead(String),
    /// The grant goes beyond or beside what the instance asked for.
    #[error("the request and the grant differ in `{0}`")]
    Request(&'static str),
    /// A request was used for two grants.
    #[error("its request was used before")]
    RequestTwice,
}

/// What is wrong with a request for approval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalProblem {
    /// It was recorded before.
    #[error("was asked before")]
    Twice,
    /// It was not recorded before.
    #[error("was never asked")]
    Unknown,
    /// It was given while a gateway owned the task's tree that may have used it.
    #[error("was left standing when the tree of its task was taken over")]
    Kept,
    /// It has its answer, or ended.
    #[error("was answered before, or had ended")]
    Over,
    /// The answer is not readable.
    #[error("has an answer that is not readable: {0}")]
    Unreadable(#[source] ParseJwsError),
    /// The answer was not signed with a key of the person that was in force.
    #[error("has an answer signed by `{0}`, which is not a key of that person")]
    ForeignKey(String),
    /// The answer's signature does not verify.
    #[error("has an answer that does not hold: {0}")]
    Signature(#[source] VerifyError),
    /// The claims are not those of an answer.
    #[error("has an answer that is none: {0}")]
    Claims(#[source] AnswerError),
    /// The record and the answer, or the answer and the question, disagree.
    #[error("differs from its answer in `{0}`")]
    Differs(&'static str),
    /// Whoever answered is not enrolled, or may not answer.
    #[error("was answered by `{0}`, who may not")]
    Person(String),
    /// The person for whom the task runs answered themselves.
    #[error("was answered by the person for whom the task runs")]
    Initiator,
    /// It ended as used, but nobody had approved.
    #[error("ended as used without having been approved")]
    NotApproved,
    /// Two permits used it.
    #[error("was used for two actions")]
    UsedTwice,
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
    /// A grant of its chain was not handed on by the one named before it.
    #[error("its chain names the grant {0}, which does not continue the one before it")]
    NotLinked(Digest),
    /// The instance acts under another delegation.
    #[error("the instance `{0}` acts under another delegation")]
    OtherDelegation(String),
    /// Something that it stands under had been cut off, and the gateway knew.
    #[error("{subject} was cut off at revision {at}, which its gateway had taken over")]
    Dead {
        /// What was cut off.
        subject: String,
        /// At which revision.
        at: Revision,
    },
    /// The task had been frozen, and the gateway knew.
    #[error("its task was frozen at revision {at}, which its gateway had taken over")]
    Frozen {
        /// At which revision.
        at: Revision,
    },
    /// The gateway never owned the delegation tree.
    #[error("the delegation tree of its task was never owned by `{0}`")]
    NotOwner(Source),
    /// A hop was used more often than it allows, over all gateways.
    #[error("the delegation `{delegation}` allows {max} uses, and all were taken before it")]
    OverUses {
        /// The hop.
        delegation: String,
        /// How many it allows.
        max: u64,
    },
    /// More than a hop allows was taken of a sum, over all gateways.
    #[error("it takes the sum of `{argument}` beyond what delegation `{delegation}` allows")]
    OverSum {
        /// The hop.
        delegation: String,
        /// The summed argument.
        argument: String,
    },
    /// An approval is required, and none is named.
    #[error("it needed an approval, and names none")]
    ApprovalMissing,
    /// The approval was not given by a person who may, as far as was recorded before it.
    #[error("it rests on the approval `{0}`, which was not recorded as given by that person")]
    NotApproved(String),
    /// The approval was given for something else.
    #[error("it rests on the approval `{approval}`, which is for another `{member}`")]
    OtherQuestion {
        /// The approval.
        approval: String,
        /// What differs.
        member: &'static str,
    },
    /// The approval was used for another action before.
    #[error("it rests on the approval `{0}`, which was used before")]
    ApprovalTwice(String),
    /// The approval was given before the tree of the task was taken over.
    #[error("it rests on the approval `{0}`, which the owner before may have used")]
    ApprovalVoid(String),
}
