//! Approvals: an action waits for a person, who answers with a signature of their own.

mod answer;
mod ask;
mod list;
mod over;
mod used;

use aims_json::Object;
use aims_model::{Approval, Event, EventKind};
use aims_types::Cx;

pub use answer::{ANSWER_AGE_SECS_MAX, ANSWER_LEN_MAX, AnswerApprovalError};
pub(crate) use ask::ask;
pub use ask::{APPROVALS_OPEN_MAX, REQUIREMENTS_MAX};
pub use list::{APPROVALS_LISTED_MAX, ApprovalError, ListApprovalsError};
pub(crate) use over::{is_any_over, timed_out, voided, withdrawn};
pub(crate) use used::{Uses, use_up};

use crate::recording::event;

/// The record of a request's end: its answer did not come, came to nothing, or was used.
fn ended_event(cx: &Cx, approval: &Approval, body: Object) -> Event {
    let body = body
        .with("approval", approval.id.to_string())
        .with("digest", approval.digest.to_string());
    event(cx, EventKind::ApprovalEnded, body).of_task(approval.asked.task)
}
