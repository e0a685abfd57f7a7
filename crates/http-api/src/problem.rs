//! What a refused request is told (RFC 9457).

use aims_control::Refused;
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
            detail: detail.to_owned(),
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

/// The status of a refusal, from what its code says happened.
fn status(code: &str) -> StatusCode {
    let is = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if is(&[
        "role_not_allowed",
        "not_owner",
        "not_enrolled",
        "not_a_person",
        "not_the_server",
    ]) {
        StatusCode::FORBIDDEN
    } else if is(&["policy_denied", "denied"]) {
        StatusCode::FORBIDDEN
    } else if is(&["unknown_", "not_found"]) {
        StatusCode::NOT_FOUND
    } else if is(&[
        "taken",
        "replay",
        "used",
        "not_active",
        "ended",
        "transition",
        "stage",
    ]) {
        StatusCode::CONFLICT
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    }
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
