//! How a request for approval stands, in words.

use aims_model::Approval;
use aims_model::approval::Stage;
use aims_types::{self as types, Id};

use aims_decision::short;

/// How a request for approval stands, as the agent is told.
pub(super) enum Standing {
    /// Nobody has answered yet.
    Waits(Box<Approval>),
    /// It ended without an approval: the stage says how.
    Ended(Box<Approval>),
    /// Another identical call used its approval.
    Used(Id<types::Approval>),
    /// An approval was given that does not count.
    Invalid(Id<types::Approval>, String),
    /// What would be asked is not the same any more.
    Changed,
    /// Nobody could be asked.
    Failed(String),
}

impl Standing {
    pub(super) fn approval(&self) -> Option<Id<types::Approval>> {
        match self {
            Self::Waits(approval) | Self::Ended(approval) => Some(approval.id),
            Self::Used(id) | Self::Invalid(id, _) => Some(*id),
            Self::Changed | Self::Failed(_) => None,
        }
    }

    /// A word for programs, and what happened and what to do in words.
    pub(super) fn words(&self) -> (&'static str, String) {
        match self {
            Self::Waits(approval) => (
                "pending",
                format!(
                    "this call waits for a person's approval, `{}`: nobody has answered yet, and \
                     it can be answered until {}; make the identical call again: it joins the \
                     same request, and goes on when it is approved",
                    approval.id, approval.deadline
                ),
            ),
            Self::Ended(approval) => (approval.stage.as_str(), ended_words(approval)),
            Self::Used(id) => (
                "used",
                format!(
                    "the approval `{id}` of this call was used by another identical call, so this \
                     one was not made; to make it once more, repeat it: a person is asked again"
                ),
            ),
            Self::Invalid(id, why) => (
                "invalid",
                format!(
                    "the approval `{id}` of this call does not count: {why}; ask somebody else \
                     who may approve, or an operator"
                ),
            ),
            Self::Changed => (
                "changed",
                "what a person was asked to approve has changed meanwhile, so the call was not \
                 made; repeat it: it is decided again, and a person asked if that is needed"
                    .to_owned(),
            ),
            Self::Failed(why) => (
                "not_asked",
                format!(
                    "this call needs a person's approval, and nobody could be asked: {}; repeat \
                     it later",
                    short(why)
                ),
            ),
        }
    }
}

fn ended_words(approval: &Approval) -> String {
    let id = approval.id;
    match &approval.stage {
        Stage::Denied { by, reason, .. } => {
            let why = if reason.is_empty() {
                "no reason was given".to_owned()
            } else {
                format!("`{}`", short(reason))
            };
            format!(
                "the person `{by}` denied this call (approval `{id}`): {why}; it was not made; do \
                 something else, or ask the person who started the task"
            )
        }
        Stage::TimedOut { at } => format!(
            "nobody answered the request for approval `{id}` until {at}, so the call was not \
             made; repeat it to ask again"
        ),
        Stage::Withdrawn { why, .. } => format!(
            "the request for approval `{id}` was withdrawn, so the call was not made: {}",
            short(why)
        ),
        Stage::Pending {} | Stage::Approved { .. } | Stage::Used { .. } => {
            format!(
                "the request for approval `{id}` is {}",
                approval.stage.as_str()
            )
        }
    }
}

/// Whether it ended without ever being used.
pub(super) const fn is_refused(stage: &Stage) -> bool {
    matches!(
        stage,
        Stage::Denied { .. } | Stage::TimedOut { .. } | Stage::Withdrawn { .. }
    )
}
