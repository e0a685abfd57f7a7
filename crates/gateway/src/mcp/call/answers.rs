//! What is answered to a call that is not sent on.

use aims_authority::Rule;
use aims_decision::{Findings, Reason};
use aims_json::Value;
use aims_mcp::{RequestId, build, code};
use http::StatusCode;

use super::{Setting, Stop, Wanted};
use crate::core::{NotIntended, Refusal};
use crate::journal::JournalError;
use crate::mcp::session::CallRefused;
use crate::records;
use crate::respond::{self, Lesson};

impl Setting {
    pub(super) async fn not_entered(&self, wanted: &Wanted, why: CallRefused) -> Stop {
        let (reason, text) = match why {
            CallRefused::IdInUse => ("id_in_use", "another request of this session has this id"),
            CallRefused::TooMany => (
                "too_many_calls",
                "too many calls are in flight; wait for one",
            ),
        };
        if self.note(wanted, reason).await.is_err() {
            return unrecorded(&wanted.id);
        }
        let error = build::ErrorAnswer {
            code: code::INVALID_REQUEST,
            message: text.to_owned(),
            data: None,
        };
        Stop::Answer(StatusCode::OK, build::error(Some(&wanted.id), &error))
    }

    /// The answer for a tool that is not there for the caller.
    pub(super) async fn hidden(&self, wanted: &Wanted, why: &str) -> Stop {
        if self.note(wanted, why).await.is_err() {
            return unrecorded(&wanted.id);
        }
        let decision = wanted.action.decision;
        let body = respond::unknown_tool(&wanted.id, &wanted.tool, decision);
        Stop::Answer(StatusCode::OK, body)
    }

    /// Records a denial that no rule of authority or policy made.
    pub(in crate::mcp) async fn note(
        &self,
        wanted: &Wanted,
        why: &str,
    ) -> Result<(), JournalError> {
        let (caller, nothing) = (&self.caller, Findings::default());
        let body = records::decision(caller, &self.state, &wanted.action, "deny", &nothing);
        let body = body.with("reasons", vec![Value::from(why)]);
        self.core.deny(caller, body).await
    }

    pub(super) async fn refused(&self, wanted: &Wanted, refusal: &Refusal) -> Stop {
        let (core, caller) = (&self.core, &self.caller);
        let recorded = core.refuse(caller, &self.state, &wanted.action, refusal);
        if recorded.await.is_err() {
            return unrecorded(&wanted.id);
        }
        let (decision, task) = (wanted.action.decision, caller.token.task);
        let lesson = match refusal {
            Refusal::Denied(denied) => match denied.reasons.first() {
                Some(Reason::Authority { refusal, .. })
                    if refusal.rule() == Rule::ToolNotAllowed =>
                {
                    let body = respond::unknown_tool(&wanted.id, &wanted.tool, decision);
                    return Stop::Answer(StatusCode::OK, body);
                }
                _ => Lesson::denied(denied),
            },
            Refusal::Needed(needed) => Lesson::needed(needed),
            Refusal::Unaskable(needed, why) => Lesson::unaskable(needed, why),
        };
        Stop::Answer(StatusCode::OK, lesson.answer(&wanted.id, decision, task))
    }

    /// The answer when the intent is not durable: the log failed, this one call is too long for
    /// it, or the server is too far behind.
    pub(super) async fn not_intended(
        &self,
        wanted: &Wanted,
        why: &NotIntended,
    ) -> (StatusCode, Vec<u8>) {
        let error = match why {
            NotIntended::Journal(error) => error,
            NotIntended::Behind(why) if self.note(wanted, &why.to_string()).await.is_err() => {
                return unrecorded_bytes(&wanted.id);
            }
            NotIntended::Behind(why) => {
                let body = failed(&wanted.id, &why.to_string());
                return (StatusCode::SERVICE_UNAVAILABLE, body);
            }
        };
        if !error.is_too_long() || self.note(wanted, "too_long_to_record").await.is_err() {
            return unrecorded_bytes(&wanted.id);
        }
        let error = build::ErrorAnswer {
            code: code::DENIED,
            message: "the call is too long to be recorded, so it is not made; send less at once"
                .to_owned(),
            data: None,
        };
        (StatusCode::OK, build::error(Some(&wanted.id), &error))
    }
}

pub(crate) fn failed(id: &RequestId, text: &str) -> Vec<u8> {
    let error = build::ErrorAnswer {
        code: code::UPSTREAM_FAILED,
        message: aims_decision::short(text),
        data: None,
    };
    build::error(Some(id), &error)
}

pub(crate) fn unrecorded_bytes(id: &RequestId) -> (StatusCode, Vec<u8>) {
    let error = build::ErrorAnswer {
        code: code::INTERNAL_ERROR,
        message: "the log can't be written, so nothing is allowed; an operator has to look"
            .to_owned(),
        data: None,
    };
    (
        StatusCode::SERVICE_UNAVAILABLE,
        build::error(Some(id), &error),
    )
}

fn unrecorded(id: &RequestId) -> Stop {
    let (status, body) = unrecorded_bytes(id);
    Stop::Answer(status, body)
}
