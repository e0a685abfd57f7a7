//! A person's answer: signed, bound to exactly what was asked, given once.

use std::time::Duration;

use aims_jose::{Jws, JwsLimits, ParseJwsError, VerifyError};
use aims_json::Object;
use aims_model::approval::{APPROVAL_TYP, Answer, AnswerError, Stage};
use aims_model::text::misleads;
use aims_model::{Approval, EventKind, InvalidTransition, Person};
use aims_store::Reader;
use aims_types::{self as types, Cx, Id, TrustDomain};

use crate::access::{AccessError, Approver};
use crate::chain::payload;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::keyring::{BadKey, parse_jwk};
use crate::liveness::{LiveInstance, NotLive};
use crate::recording::{Attempt, event};
use crate::{Committed, ControlPlane, Fault, people};

/// Longest answer.
pub const ANSWER_LEN_MAX: usize = 6 << 10;
/// Oldest answer that counts, in seconds.
pub const ANSWER_AGE_SECS_MAX: u64 = 5 * 60;
/// How far the person's clock may be ahead of the server's.
const CLOCK_SKEW_MAX: Duration = Duration::from_mins(1);
const ANSWER_LIMITS: JwsLimits = JwsLimits {
    text: ANSWER_LEN_MAX,
    ..JwsLimits::TOKEN
};

/// Why an answer does not count.
#[derive(Debug, thiserror::Error)]
pub enum AnswerApprovalError {
    /// Who answers may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no such request.
    #[error("there is no request for approval `{0}`")]
    Unknown(Id<types::Approval>),
    /// It was answered before, or ended.
    #[error("request `{approval}`: {why}")]
    Stage {
        /// The request.
        approval: Id<types::Approval>,
        /// From where to where.
        why: InvalidTransition,
    },
    /// It waited too long.
    #[error("the request was open for too long; the agent has to ask again")]
    TimedOut,
    /// Nothing may be done under the chain any more.
    #[error(transparent)]
    NotLive(#[from] NotLive),
    /// Not a signed token at all.
    #[error("the answer is not readable: {0}")]
    Form(#[from] ParseJwsError),
    /// The claims are not an answer.
    #[error("the answer: {0}")]
    Claims(#[from] AnswerError),
    /// The key that signed it is not an enrolled key of the one who answers.
    #[error("the answer is not signed by an enrolled key of the person who answers")]
    ForeignKey,
    /// The signature does not verify.
    #[error("the answer: {0}")]
    Signature(#[from] VerifyError),
    /// It names another person, trust domain, request or question.
    #[error("the answer is for another {0} than this; sign one for exactly what is asked")]
    Other(&'static str),
    /// The reason would look like something else than it says.
    #[error("the reason has control or invisible characters; write it as one line of words")]
    Reason,
    /// Signed too long ago.
    #[error("the answer is older than {ANSWER_AGE_SECS_MAX} seconds; sign a new one")]
    TooOld,
    /// Signed in the future.
    #[error("the answer is from the future; check the clocks")]
    FromFuture,
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(AnswerApprovalError);

impl From<BadKey> for AnswerApprovalError {
    fn from(error: BadKey) -> Self {
        Self::Internal(Fault::Inconsistent(error.to_string()))
    }
}

impl Refused for AnswerApprovalError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_approval",
            Self::Stage { .. } => "invalid_transition",
            Self::TimedOut => "approval_timed_out",
            Self::NotLive(error) => error.code(),
            Self::Form(_) | Self::Claims(_) | Self::Reason => "bad_answer",
            Self::ForeignKey => "answer_foreign_key",
            Self::Signature(_) => "answer_signature",
            Self::Other(_) => "answer_to_other",
            Self::TooOld => "answer_too_old",
            Self::FromFuture => "answer_from_future",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Answers a request for approval, once, by the signed answer of the person who asks for this:
    /// operators and approvers, never for what is done on their own behalf.
    pub async fn approval_answer(
        &self,
        cx: &Cx,
        id: Id<types::Approval>,
        answer_jws: &str,
    ) -> Result<Committed<Approval>, AnswerApprovalError> {
        let (cx, jws) = (cx.clone(), answer_jws.to_owned());
        self.to_the_end(move |plane| async move {
            let mut attempt = Attempt::new("approval_answer", &id.to_string());
            let known = plane.store().read().await?.approval(id).await?;
            attempt.task = known.map(|approval| approval.asked.task);
            let done = answer(&plane, &cx, id, jws).await;
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }
}

async fn answer(
    plane: &ControlPlane,
    cx: &Cx,
    id: Id<types::Approval>,
    jws: String,
) -> Result<Committed<Approval>, AnswerApprovalError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let approver = Approver::admit(cx, txn.as_mut()).await?;
    let unknown = AnswerApprovalError::Unknown(id);
    let mut approval = txn.approval(id).await?.ok_or(unknown)?;
    let approver = approver.of_other(approval.asked.initiator)?;
    let answer = signed_by(txn.as_mut(), &jws, approver.person()).await?;
    check(
        &answer,
        (approver.person(), plane.trust_domain()),
        &approval,
    )?;
    check_age(&answer, cx)?;
    if answer.reason.chars().any(misleads) {
        return Err(AnswerApprovalError::Reason);
    }
    let stage = stage_after(cx, &answer, &jws);
    let not_so = |why| AnswerApprovalError::Stage { approval: id, why };
    let open = matches!(approval.stage, Stage::Pending {});
    approval.stage = approval.stage.clone().become_stage(stage).map_err(not_so)?;
    if open && approval.deadline <= cx.now {
        return Err(AnswerApprovalError::TimedOut);
    }
    LiveInstance::find(txn.as_mut(), approval.asked.instance, cx.now).await?;
    txn.approval_update(&approval).await?;
    let body = Object::new()
        .with("approval", approval.id.to_string())
        .with("digest", approval.digest.to_string())
        .with("answer", if answer.approve { "approve" } else { "deny" })
        .with("jws", jws)
        .with("reason", answer.reason);
    let event = event(cx, EventKind::ApprovalAnswered, body).of_task(approval.asked.task);
    txn.commit(vec![event]).await?;
    Ok(plane.published(approval, revision).await)
}

/// The answer of a compact JWS that an enrolled key of the person signed.
async fn signed_by(
    reader: &mut dyn Reader,
    jws: &str,
    person: &Person,
) -> Result<Answer, AnswerApprovalError> {
    let foreign = || AnswerApprovalError::ForeignKey;
    let parsed = Jws::parse(jws, &ANSWER_LIMITS)?;
    let kid = parsed.unverified_header().kid.as_deref();
    let key = people::key_of(reader, kid.ok_or_else(foreign)?, person).await?;
    let key = parse_jwk(&key.ok_or_else(foreign)?.jwk)?;
    parsed.verify(&key, APPROVAL_TYP)?;
    Ok(Answer::from_claims(&payload(jws).ok_or_else(foreign)?)?)
}

/// The answer is this person's, here, to this request and to what it asks.
fn check(
    answer: &Answer,
    (person, here): (&Person, &TrustDomain),
    approval: &Approval,
) -> Result<(), AnswerApprovalError> {
    let same = [
        ("person", answer.person == person.id),
        ("trust domain", answer.audience == *here),
        ("request", answer.approval == approval.id),
        ("question", answer.digest == approval.digest),
    ];
    match same.iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((what, _)) => Err(AnswerApprovalError::Other(what)),
    }
}

fn check_age(answer: &Answer, cx: &Cx) -> Result<(), AnswerApprovalError> {
    if answer.issued_at > cx.now.plus(CLOCK_SKEW_MAX) {
        return Err(AnswerApprovalError::FromFuture);
    }
    if cx.now.since(answer.issued_at) > Duration::from_secs(ANSWER_AGE_SECS_MAX) {
        return Err(AnswerApprovalError::TooOld);
    }
    Ok(())
}

fn stage_after(cx: &Cx, answer: &Answer, jws: &str) -> Stage {
    let (at, by, jws) = (cx.now, answer.person, jws.to_owned());
    if answer.approve {
        return Stage::Approved {
            at,
            by,
            answer: jws,
        };
    }
    Stage::Denied {
        at,
        by,
        answer: jws,
        reason: answer.reason.clone(),
    }
}
