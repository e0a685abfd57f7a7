//! What a refused request is told (RFC 9457).

use aims_control::Refused;
use aims_model::text::misleads;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};

/// A refused request.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl Problem {
    /// The request itself is malformed.
    pub(crate) fn invalid(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    /// The body is over the limit.
    pub(crate) fn too_long() -> Self {
        let detail = "the body is longer than 1 MiB, or it broke off";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_long", detail)
    }

    /// The body does not come.
    pub(crate) fn too_slow() -> Self {
        let detail = "the body did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail)
    }

    /// There is no such thing.
    pub(crate) fn not_found(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Who asks did not prove who they are.
    pub(crate) fn unauthenticated(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// The server can't answer now.
    pub(crate) fn unavailable(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    fn new(status: StatusCode, code: &'static str, detail: &str) -> Self {
        Self {
            status,
            code,
            detail: plain(detail),
        }
    }

    /// What an operation says. The server's own faults are told to the log, not to the caller.
    pub(crate) fn of(error: &dyn Refused) -> Self {
        if error.is_internal() {
            tracing::error!(%error, "an operation failed");
            let detail = "the server could not decide; nothing changed; try again later";
            return Self::unavailable(detail);
        }
        Self::new(status(error.code()), error.code(), &error.to_string())
    }
}

impl<E: Refused> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

/// The status of each code with which an operation of a person is refused.
const STATUSES: &[(&str, StatusCode)] = &[
    // Who asks is not who they say (RFC 9449 §7.1).
    ("bad_target", StatusCode::BAD_REQUEST),
    ("invalid_dpop_proof", StatusCode::UNAUTHORIZED),
    ("invalid_token", StatusCode::UNAUTHORIZED),
    // Who asks may not.
    ("not_a_person", StatusCode::FORBIDDEN),
    ("not_enrolled", StatusCode::FORBIDDEN),
    ("not_owner", StatusCode::FORBIDDEN),
    ("own_request", StatusCode::FORBIDDEN),
    ("not_the_server", StatusCode::FORBIDDEN),
    ("policy_denied", StatusCode::FORBIDDEN),
    ("role_not_allowed", StatusCode::FORBIDDEN),
    // What the path or the body is about is not there, or not for this person to see.
    ("unknown_agent", StatusCode::NOT_FOUND),
    ("unknown_approval", StatusCode::NOT_FOUND),
    ("unknown_decision", StatusCode::NOT_FOUND),
    ("unknown_delegation", StatusCode::NOT_FOUND),
    ("unknown_instance", StatusCode::NOT_FOUND),
    ("unknown_key", StatusCode::NOT_FOUND),
    ("unknown_person", StatusCode::NOT_FOUND),
    ("unknown_policy", StatusCode::NOT_FOUND),
    ("unknown_service", StatusCode::NOT_FOUND),
    ("unknown_task", StatusCode::NOT_FOUND),
    ("unknown_upstream", StatusCode::NOT_FOUND),
    // The state of things stands against it.
    ("agent_not_active", StatusCode::CONFLICT),
    ("already_removed", StatusCode::CONFLICT),
    ("approval_timed_out", StatusCode::CONFLICT),
    ("borrowed_identity", StatusCode::CONFLICT),
    ("consent_replayed", StatusCode::CONFLICT),
    ("cut_off", StatusCode::CONFLICT),
    ("delegation_ended", StatusCode::CONFLICT),
    ("delegator_ended", StatusCode::CONFLICT),
    ("instance_ended", StatusCode::CONFLICT),
    ("invalid_transition", StatusCode::CONFLICT),
    ("key_taken", StatusCode::CONFLICT),
    ("last_operator", StatusCode::CONFLICT),
    ("name_taken", StatusCode::CONFLICT),
    ("no_owner", StatusCode::CONFLICT),
    ("other_agent", StatusCode::CONFLICT),
    ("person_removed", StatusCode::CONFLICT),
    ("policy_conflict", StatusCode::CONFLICT),
    ("process_ended", StatusCode::CONFLICT),
    ("proof_does_not_hold", StatusCode::CONFLICT),
    ("proof_incomplete", StatusCode::CONFLICT),
    ("runs_elsewhere", StatusCode::CONFLICT),
    ("server_key_in_use", StatusCode::CONFLICT),
    ("task_ended", StatusCode::CONFLICT),
    ("task_frozen", StatusCode::CONFLICT),
    ("task_not_ended", StatusCode::CONFLICT),
    ("upstream_retired", StatusCode::CONFLICT),
    // What is asked for can't be done as it is written.
    ("answer_foreign_key", StatusCode::UNPROCESSABLE_ENTITY),
    ("answer_from_future", StatusCode::UNPROCESSABLE_ENTITY),
    ("answer_signature", StatusCode::UNPROCESSABLE_ENTITY),
    ("answer_to_other", StatusCode::UNPROCESSABLE_ENTITY),
    ("answer_too_old", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_answer", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_assurance", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_checkpoint", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_consent", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_credential", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_deadline", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_environment", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_evidence", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_key", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_name", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_node", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_owner", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_purpose", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_reason", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_service", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_spec", StatusCode::UNPROCESSABLE_ENTITY),
    ("bad_tools", StatusCode::UNPROCESSABLE_ENTITY),
    ("consent_audience", StatusCode::UNPROCESSABLE_ENTITY),
    ("consent_foreign_key", StatusCode::UNPROCESSABLE_ENTITY),
    ("consent_foreign_person", StatusCode::UNPROCESSABLE_ENTITY),
    ("consent_from_future", StatusCode::UNPROCESSABLE_ENTITY),
    ("consent_signature", StatusCode::UNPROCESSABLE_ENTITY),
    ("consent_too_old", StatusCode::UNPROCESSABLE_ENTITY),
    ("empty_authority", StatusCode::UNPROCESSABLE_ENTITY),
    ("inspection_failed", StatusCode::UNPROCESSABLE_ENTITY),
    ("invalid_policy", StatusCode::UNPROCESSABLE_ENTITY),
    ("key_count", StatusCode::UNPROCESSABLE_ENTITY),
    ("missing_environment", StatusCode::UNPROCESSABLE_ENTITY),
    ("missing_evidence", StatusCode::UNPROCESSABLE_ENTITY),
    ("missing_key_export", StatusCode::UNPROCESSABLE_ENTITY),
    ("missing_owner", StatusCode::UNPROCESSABLE_ENTITY),
    ("missing_purpose", StatusCode::UNPROCESSABLE_ENTITY),
    ("unknown_server", StatusCode::UNPROCESSABLE_ENTITY),
    ("unknown_tool", StatusCode::UNPROCESSABLE_ENTITY),
    // It can be done once something else is there.
    ("no_gateway", StatusCode::SERVICE_UNAVAILABLE),
    ("no_log", StatusCode::SERVICE_UNAVAILABLE),
];

/// The status of a refusal by its full code. A code that the table lacks is our mistake.
fn status(code: &str) -> StatusCode {
    let found = STATUSES.iter().find(|(known, _)| *known == code);
    found.map_or(StatusCode::INTERNAL_SERVER_ERROR, |(_, status)| *status)
}

/// What people may be shown of a text that can hold a caller's own.
fn plain(text: &str) -> String {
    let plain = |c: char| {
        if misleads(c) && c != '\n' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(plain).collect()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "code": self.code,
            "detail": self.detail,
            "status": self.status.as_u16(),
        });
        let mut response = (self.status, body.to_string()).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9449 §7.1: how to authenticate.
            let challenge = HeaderValue::from_static("DPoP algs=\"ES256 EdDSA\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests;
