//! Error answers of the token endpoint (RFC 6749 §5.2).

use std::fmt;

use aims_json::{Limits, Object, ParseError, Value, parse};

/// Longest description that is written or read.
const DESCRIPTION_LEN_MAX: usize = 1024;
/// Bounds on an answer that is read.
const LIMITS: Limits = Limits {
    bytes: 16 << 10,
    depth: 8,
    nodes: 256,
};

/// The `error` of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is malformed (RFC 6749 §5.2).
    InvalidRequest,
    /// The client did not prove who it is (RFC 6749 §5.2).
    InvalidClient,
    /// The grant or assertion is not valid (RFC 6749 §5.2).
    InvalidGrant,
    /// The client may not use this grant (RFC 6749 §5.2).
    UnauthorizedClient,
    /// The grant type is not supported (RFC 6749 §5.2).
    UnsupportedGrantType,
    /// The scope is not valid (RFC 6749 §5.2).
    InvalidScope,
    /// The resource is not one we know (RFC 8707 §2).
    InvalidTarget,
    /// The authority asked for is malformed or too much (RFC 9396 §5).
    InvalidAuthorizationDetails,
    /// The proof of possession is not valid (RFC 9449 §5).
    InvalidDpopProof,
    /// The proof has no nonce of ours, or an old one (RFC 9449 §8).
    UseDpopNonce,
    /// The actor may not act for the subject (draft-mcguinness-oauth-actor-profile).
    ActorUnauthorized,
}

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    code: ErrorCode,
    description: String,
}

/// Why an answer is not an error that we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorResponseError {
    /// Not acceptable JSON.
    #[error(transparent)]
    Json(#[from] ParseError),
    /// There is no `error` that we know.
    #[error("the answer has no known `error`")]
    Code,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 11] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::InvalidAuthorizationDetails,
        Self::InvalidDpopProof,
        Self::UseDpopNonce,
        Self::ActorUnauthorized,
    ];

    /// The text of the code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::ActorUnauthorized => "actor_unauthorized",
        }
    }

    /// The HTTP status of the answer: 401 for a client that is not authenticated, else 400.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidClient => 401,
            _ => 400,
        }
    }
}

impl ErrorResponse {
    /// An answer with a description for the client's developer. Characters that RFC 6749 §5.2
    /// does not allow are replaced.
    pub fn new(code: ErrorCode, description: &str) -> Self {
        let description = printable(description, DESCRIPTION_LEN_MAX);
        Self { code, description }
    }

    /// The code.
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// The description.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The body.
    pub fn to_value(&self) -> Value {
        Object::new()
            .with("error", self.code.as_str())
            .with("error_description", self.description.as_str())
            .into()
    }

    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, ParseErrorResponseError> {
        let value = parse(body, &LIMITS)?;
        let text = value.get("error").and_then(Value::as_str);
        let code = ErrorCode::ALL
            .into_iter()
            .find(|code| text == Some(code.as_str()));
        let description = value.get("error_description").and_then(Value::as_str);
        Ok(Self::new(
            code.ok_or(ParseErrorResponseError::Code)?,
            description.unwrap_or_default(),
        ))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.description)
    }
}

/// The text with everything but `%x20-21 / %x23-5B / %x5D-7E` replaced, cut at `max` characters.
pub(crate) fn printable(text: &str, max: usize) -> String {
    let allowed = |c: char| matches!(c, ' '..='!' | '#'..='[' | ']'..='~');
    text.chars()
        .take(max)
        .map(|c| if allowed(c) { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_round_trip_and_have_their_status() {
        for code in ErrorCode::ALL {
            let answer = ErrorResponse::new(code, "`x` is missing");
            let body = answer.to_value().to_string();
            assert_eq!(ErrorResponse::parse(body.as_bytes()), Ok(answer));
            assert_eq!(
                code.status(),
                if code == ErrorCode::InvalidClient {
                    401
                } else {
                    400
                }
            );
        }
    }

    #[test]
    fn descriptions_hold_allowed_characters_only() {
        let answer = ErrorResponse::new(ErrorCode::InvalidRequest, "a\"b\\c\nd\u{e4}");
        assert_eq!(answer.description(), "a?b?c?d?");
    }

    #[test]
    fn answers_without_a_known_error_are_refused() {
        for bad in ["{}", r#"{"error":7}"#, r#"{"error":"nope"}"#, "[]"] {
            let parsed = ErrorResponse::parse(bad.as_bytes());
            assert_eq!(parsed, Err(ParseErrorResponseError::Code), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reading_any_body_never_panics(body: Vec<u8>) {
            let _ = ErrorResponse::parse(&body);
        }
    }
}
