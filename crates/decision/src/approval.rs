//! A person's answer that meets a requirement of approval, for exactly one call.

use std::collections::BTreeSet;

use aims_authority::Call;
use aims_jose::{Jws, JwsLimits, ParseJwsError, VerifyError};
use aims_json::{Limits, Object, Value, parse};
use aims_model::approval::{APPROVAL_TYP, Answer, AnswerError, Asked, Stage};
use aims_model::{Approval, Subject};
use aims_types::{Digest, Id, Name, Person, Timestamp, TrustDomain};

use crate::chain::{CLOCK_SKEW_MAX, ChainKeys, KeysAt, payload};
use crate::decide::Case;

/// Proof that a person approved exactly one call. Only [`verify_approval`] makes one.
///
/// It says who approved what, not that it is unused: whoever acts on it consumes it by
/// [`Self::digest`], once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    approval: Id<aims_types::Approval>,
    digest: Digest,
    approver: Id<Person>,
    key: String,
    asked: Asked,
    arguments: Object,
    requirements: BTreeSet<Name>,
}

/// What a call that waits for an answer has to fit.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Everything that an answer is bound to, taken from the call as it is made now.
    pub asked: &'a Asked,
    /// The trust domain whose answers count.
    pub trust_domain: &'a TrustDomain,
}

/// Why an approval does not count for a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// Nobody has approved it, or it was used, refused or withdrawn.
    #[error("the request is {0}, not approved")]
    Stage(&'static str),
    /// It was given for something else.
    #[error("the approval was given for another request")]
    Digest,
    /// The arguments that were asked about are not an object.
    #[error("the arguments that were approved can't be read")]
    Arguments,
    /// The answer is not readable.
    #[error("the answer is not readable: {0}")]
    Form(#[from] ParseJwsError),
    /// The claims are not an answer.
    #[error("the answer is not readable: {0}")]
    Claims(#[from] AnswerError),
    /// The answer is not signed by an enrolled key of the person.
    #[error("the answer is not signed by the person's enrolled key: {0}")]
    Signature(#[from] VerifyError),
    /// The key was retired since, as it is when its person is removed.
    #[error("the key that signed the answer is retired")]
    KeyRetired,
    /// The answer says something else than what is recorded of it.
    #[error("the answer does not fit the request: `{0}` differs")]
    Scope(&'static str),
    /// Nobody approves what they asked for themselves.
    #[error("the person on whose behalf the call is made can't approve it")]
    OwnRequest,
    /// It was answered too late or too early, or is used too late.
    #[error("the approval is not valid now: {0}")]
    Time(&'static str),
}

/// Checks that `approval` holds a person's signed answer that lets exactly the call of `question`
/// happen at `now`. Whether that person may approve is checked where they answer, and their
/// removal retires their key.
pub fn verify_approval(
    approval: &Approval,
    question: &Question<'_>,
    keys: &dyn ChainKeys,
    now: Timestamp,
) -> Result<Approved, ApprovalError> {
    let Stage::Approved { by, answer, .. } = &approval.stage else {
        return Err(ApprovalError::Stage(approval.stage.as_str()));
    };
    let digest = question.asked.digest()?;
    if approval.digest != digest || approval.asked != *question.asked {
        return Err(ApprovalError::Digest);
    }
    let (claims, key) = signed_answer(answer, *by, keys, now)?;
    check_scope(&claims, approval, *by, question)?;
    if *by == question.asked.initiator {
        return Err(ApprovalError::OwnRequest);
    }
    check_time(&claims, approval, now)?;
    let arguments = parse(question.asked.arguments.as_bytes(), &Limits::MESSAGE);
    let Ok(Value::Object(arguments)) = arguments else {
        return Err(ApprovalError::Arguments);
    };
    Ok(Approved {
        approval: approval.id,
        digest,
        approver: *by,
        key,
        asked: question.asked.clone(),
        arguments,
        requirements: question.asked.requirements.iter().cloned().collect(),
    })
}

impl Approved {
    /// The request that was approved.
    pub const fn approval(&self) -> Id<aims_types::Approval> {
        self.approval
    }

    /// What was approved, by its digest: what is consumed, once.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Who approved.
    pub const fn approver(&self) -> Id<Person> {
        self.approver
    }

    /// What the approval stands on and falls with: its person and the key they signed with.
    pub fn subjects(&self) -> [Subject; 2] {
        [
            Subject::Person(self.approver),
            Subject::Key(self.key.clone()),
        ]
    }

    /// Whether it was given for this very call, and meets the requirement of this policy.
    pub(crate) fn meets(&self, policy: &Name, case: &Case<'_>) -> bool {
        self.requirements.contains(policy) && self.fits(case)
    }

    fn fits(&self, case: &Case<'_>) -> bool {
        let Call::Tool {
            server,
            tool,
            arguments,
        } = case.call
        else {
            return false;
        };
        let asked = &self.asked;
        let same_call = asked.server == *server && asked.tool == tool;
        let same_chain = case.chain.leaf().is_some_and(|leaf| {
            leaf.digest() == asked.leaf
                && leaf.grant().id == asked.delegation
                && leaf.grant().task == asked.task
                && leaf.grant().delegate_spiffe_id == asked.agent
        });
        same_call
            && same_chain
            && self.arguments == *arguments
            && case.chain.person() == asked.initiator
    }
}

/// The verified claims of an answer and the thumbprint of the key that signed it.
fn signed_answer(
    text: &str,
    by: Id<Person>,
    keys: &dyn ChainKeys,
    now: Timestamp,
) -> Result<(Answer, String), ApprovalError> {
    let parsed = Jws::parse(text, &JwsLimits::TOKEN)?;
    let answer = Answer::from_claims(&payload(text))?;
    let key = |kid: &str| keys.person_key(by, kid, answer.issued_at);
    let verified = parsed.verify_by_kid(&KeysAt(key), APPROVAL_TYP)?;
    let kid = verified.header().kid.clone();
    let kid = kid.filter(|kid| keys.person_key(by, kid, now).is_some());
    Ok((answer, kid.ok_or(ApprovalError::KeyRetired)?))
}

fn check_scope(
    answer: &Answer,
    approval: &Approval,
    by: Id<Person>,
    question: &Question<'_>,
) -> Result<(), ApprovalError> {
    let checks = [
        (answer.approve, "answer"),
        (answer.person == by, "iss"),
        (answer.audience == *question.trust_domain, "aud"),
        (answer.approval == approval.id, "approval"),
        (answer.digest == approval.digest, "digest"),
    ];
    match checks.iter().find(|(holds, _)| !holds) {
        Some((_, claim)) => Err(ApprovalError::Scope(claim)),
        None => Ok(()),
    }
}

fn check_time(answer: &Answer, approval: &Approval, now: Timestamp) -> Result<(), ApprovalError> {
    if answer.issued_at.plus(CLOCK_SKEW_MAX) < approval.asked_at {
        return Err(ApprovalError::Time("it was answered before it was asked"));
    }
    if answer.issued_at > now.plus(CLOCK_SKEW_MAX) {
        return Err(ApprovalError::Time("it was answered in the future"));
    }
    if now >= approval.deadline || answer.issued_at >= approval.deadline {
        return Err(ApprovalError::Time("its deadline has passed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
