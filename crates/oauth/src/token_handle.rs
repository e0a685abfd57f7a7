//! Requests about a token: introspection (RFC 7662 §2.1) and revocation (RFC 7009 §2.1).

use aims_types::Secret;

use crate::error_response::{ErrorCode, ErrorResponse};
use crate::form::Form;
use crate::token_request::{ReceivedClient, TokenRequestError, client};

/// A request about a token as it arrived. Which kind of token it is, a hint says; there is one
/// kind, so it is not read.
#[derive(Debug)]
pub struct ReceivedTokenHandle {
    /// The token.
    pub token: Secret<String>,
    /// The client's authentication.
    pub client: Option<ReceivedClient>,
}

impl ReceivedTokenHandle {
    /// Reads the body of a request to the introspection or the revocation endpoint. Unknown
    /// parameters are ignored, repeated ones refused (RFC 6749 §3.2).
    pub fn parse(body: &[u8]) -> Result<Self, TokenRequestError> {
        let form = Form::parse(body)?;
        let token = form
            .get("token")
            .ok_or(TokenRequestError::Missing("token"))?;
        Ok(Self {
            token: Secret::new(token.to_owned()),
            client: client(&form)?,
        })
    }
}

/// The answer to a client that did not authenticate (RFC 7662 §2.3, RFC 7009 §2.2.1).
pub fn invalid_client() -> ErrorResponse {
    ErrorResponse::new(ErrorCode::InvalidClient, "the client is not authenticated")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FormError;

    #[test]
    fn a_request_has_one_token() {
        let read = ReceivedTokenHandle::parse(b"token=a.b.c&token_type_hint=access_token");
        let read = read.unwrap();
        assert_eq!(read.token.expose(), "a.b.c");
        assert!(read.client.is_none());
        for (body, why) in [
            ("", TokenRequestError::Missing("token")),
            ("token=", TokenRequestError::Missing("token")),
            (
                "token=a&token=b",
                FormError::Repeated("token".to_owned()).into(),
            ),
            (
                "token=a&client_secret=s",
                TokenRequestError::UnsupportedClientAuthentication,
            ),
            (
                "token=a&client_assertion=x",
                TokenRequestError::Unpaired("client_assertion", "client_assertion_type"),
            ),
        ] {
            let read = ReceivedTokenHandle::parse(body.as_bytes());
            assert_eq!(read.err(), Some(why), "{body}");
        }
    }
}
