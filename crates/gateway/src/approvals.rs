//! Approvals: what exactly is asked of a person, and that each answer is used once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aims_decision::{ApprovalError, Approved, CLOCK_SKEW_MAX, Question, verify_approval};
use aims_json::Object;
use aims_model::approval::{APPROVAL_ARGUMENTS_MAX, APPROVAL_LIFE_SECS, AnswerError, Asked};
use aims_model::{Approval, Subject};
use aims_types::{self as types, Digest, Id, Name, Revision, Timestamp, TrustDomain};

use crate::authn::Caller;
use crate::records::{Action, Resource};
use crate::state::State;

/// The longest that an approval may wait for its answer and its use, whatever a server says.
const LIFE: Duration = Duration::from_secs(APPROVAL_LIFE_SECS);
/// How long a used approval is remembered: until it could not be valid any more for certain.
const REMEMBERED: Duration = Duration::from_secs(2 * APPROVAL_LIFE_SECS);
/// Most questions remembered that wait for an answer; with more, a late refusal is not told.
const PARKED_MAX: usize = 4096;

/// Which approvals were used here, and which questions wait.
#[derive(Debug, Default)]
pub(crate) struct Approvals {
    used: Arc<Used>,
    /// By what was asked: the request, and until when it may be answered.
    parked: Mutex<HashMap<Digest, (Id<types::Approval>, Timestamp)>>,
}

/// Approvals that were used or are set aside, and since when. An approval in here is worth nothing
/// to anybody else.
#[derive(Debug, Default)]
struct Used(Mutex<HashMap<Id<types::Approval>, Timestamp>>);

/// A question that a person can be asked, with its digest.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) asked: Asked,
    pub(crate) digest: Digest,
}

/// A verified approval that is set aside for one action. Dropping it gives it back, unless the
/// action's intent is durable.
#[derive(Debug)]
pub(crate) struct Taken {
    approved: Approved,
    used: Arc<Used>,
    kept: AtomicBool,
}

/// What there is for a question.
#[derive(Debug)]
pub(crate) enum Found {
    /// An approval, set aside.
    Taken(Box<Taken>),
    /// None that could be used.
    Nothing,
    /// One that does not count, and why.
    Invalid(Id<types::Approval>, Invalid),
}

/// Why an approval does not count here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    /// The answer does not hold.
    #[error(transparent)]
    Answer(#[from] ApprovalError),
    /// Whoever answered, or their key, is cut off.
    #[error("who approved it is cut off: {}", aims_decision::describe(.0))]
    CutOff(Subject),
    /// It is valid for longer than any may be.
    #[error("it is valid for longer than an approval may be")]
    Life,
}

/// Why nobody can be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unaskable {
    /// Only calls of pinned tools are approved.
    #[error("only calls of registered tools can be approved")]
    Resource,
    /// A person has to be able to read what they approve.
    #[error(
        "its arguments are longer than the {APPROVAL_ARGUMENTS_MAX} bytes that a person is asked \
         about; send less at once"
    )]
    TooLong,
    /// The question has no form.
    #[error("it can't be put as a question: {0}")]
    Form(#[from] AnswerError),
}

impl Approvals {
    /// What a log says was used, and when.
    pub(crate) fn new(used: impl IntoIterator<Item = (Id<types::Approval>, Timestamp)>) -> Self {
        let approvals = Self::default();
        approvals.restore(used);
        approvals
    }

    /// Adds what another log says was used.
    pub(crate) fn restore(&self, used: impl IntoIterator<Item = (Id<types::Approval>, Timestamp)>) {
        self.used.entries().extend(used);
    }

    /// An approval of exactly this question, verified and set aside, if there is one.
    pub(crate) fn find(
        &self,
        asking: &Asking,
        state: &State,
        trust_domain: &TrustDomain,
        now: Timestamp,
    ) -> Found {
        let mut found = Found::Nothing;
        for approval in state.approvals(&asking.digest) {
            if now >= approval.deadline || self.used.contains(approval.id) {
                continue;
            }
            match check(approval, asking, state, trust_domain, now) {
                Err(why) => found = Found::Invalid(approval.id, why),
                // Without it another identical call was faster.
                Ok(approved) => {
                    if let Some(taken) = self.take(approved, now) {
                        return Found::Taken(Box::new(taken));
                    }
                }
            }
        }
        found
    }

    /// Whether the state says that this request was approved, and it was not used here.
    pub(crate) fn is_answered(&self, to: &Approval, state: &State, now: Timestamp) -> bool {
        let mut approvals = state.approvals(&to.digest).iter();
        let answered = approvals.any(|one| one.id == to.id && now < one.deadline);
        answered && !self.used.contains(to.id)
    }

    /// Whether an approval was used here, or is set aside.
    pub(crate) fn is_used(&self, id: Id<types::Approval>) -> bool {
        self.used.contains(id)
    }

    /// Remembers that a question waits.
    pub(crate) fn park(&self, approval: &Approval, now: Timestamp) {
        let mut parked = self.parked();
        parked.retain(|_, (_, deadline)| now < *deadline);
        if parked.len() < PARKED_MAX {
            parked.insert(approval.digest, (approval.id, approval.deadline));
        }
    }

    /// The request under which a question waits.
    pub(crate) fn parked_as(&self, digest: &Digest) -> Option<Id<types::Approval>> {
        self.parked().get(digest).map(|(id, _)| *id)
    }

    /// The question does not wait any more.
    pub(crate) fn unpark(&self, digest: &Digest) {
        self.parked().remove(digest);
    }

    fn take(&self, approved: Approved, now: Timestamp) -> Option<Taken> {
        let mut entries = self.used.entries();
        entries.retain(|_, at| now.since(*at) < REMEMBERED);
        let id = approved.approval();
        if entries.contains_key(&id) {
            return None;
        }
        entries.insert(id, now);
        drop(entries);
        Some(Taken {
            approved,
            used: Arc::clone(&self.used),
            kept: AtomicBool::new(false),
        })
    }

    fn parked(&self) -> MutexGuard<'_, HashMap<Digest, (Id<types::Approval>, Timestamp)>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn contains(&self, id: Id<types::Approval>) -> bool {
        self.entries().contains_key(&id)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Id<types::Approval>, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking {
    /// What is asked about a call: everything that it is now.
    pub(crate) fn new(
        caller: &Caller,
        state: &State,
        (action, arguments): (&Action, &[u8]),
        requirements: Vec<Name>,
    ) -> Result<Self, Unaskable> {
        let Resource::Tool {
            server,
            tool,
            pin: Some(pin),
        } = &action.resource
        else {
            return Err(Unaskable::Resource);
        };
        let leaf = caller.chain.verified.leaf().ok_or(Unaskable::Resource)?;
        if arguments.len() > APPROVAL_ARGUMENTS_MAX {
            return Err(Unaskable::TooLong);
        }
        let arguments = std::str::from_utf8(arguments).map_err(|_| Unaskable::Resource)?;
        let asked = Asked {
            task: caller.token.task,
            initiator: caller.person,
            agent: leaf.grant().delegate_spiffe_id.clone(),
            instance: caller.token.instance,
            delegation: leaf.grant().id,
            leaf: leaf.digest(),
            server: server.clone(),
            tool: tool.clone(),
            pin: *pin,
            arguments: arguments.to_owned(),
            policy: state.policy.id,
            requirements,
        };
        let digest = asked.digest()?;
        Ok(Self { asked, digest })
    }
}

impl Taken {
    /// What was approved.
    pub(crate) const fn approved(&self) -> &Approved {
        &self.approved
    }

    /// The action's intent is durable: the approval is used for good.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::SeqCst);
    }

    /// What the record of the intent says of it.
    pub(crate) fn describe(&self) -> Object {
        Object::new()
            .with("id", self.approved.approval().to_string())
            .with("digest", self.approved.digest().to_string())
            .with("by", self.approved.approver().to_string())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::SeqCst) {
            self.used.entries().remove(&self.approved.approval());
        }
    }
}

/// Verifies the person's answer, and that neither they nor their key is cut off.
fn check(
    approval: &Approval,
    asking: &Asking,
    state: &State,
    trust_domain: &TrustDomain,
    now: Timestamp,
) -> Result<Approved, Invalid> {
    // The answer is not bound to the instance that asked: the next one of the same delegation asks
    // the same question.
    let asked = Asked {
        instance: approval.asked.instance,
        ..asking.asked.clone()
    };
    let question = Question {
        asked: &asked,
        trust_domain,
    };
    let approved = verify_approval(approval, &question, state.keys(), now)?;
    // With this, what the person signed bounds how long the approval is worth anything.
    if approval.deadline.since(approval.asked_at) > LIFE.saturating_add(CLOCK_SKEW_MAX) {
        return Err(Invalid::Life);
    }
    // An answer has no revision, so a cut-off of who gave it covers it whenever it was given.
    let subjects = approved.subjects();
    match state.cutoffs.find(&subjects, Revision::ZERO) {
        Some(subject) => Err(Invalid::CutOff(subject.clone())),
        None => Ok(approved),
    }
}
