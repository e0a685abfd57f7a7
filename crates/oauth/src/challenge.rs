//! `WWW-Authenticate` of a resource (RFC 6750 §3, RFC 9449 §7.1, RFC 9728 §5.1).

use crate::error_response::printable;

/// Longest value of one parameter.
const VALUE_LEN_MAX: usize = 1024;
/// The algorithms of proofs (RFC 9449 §7.1).
const ALGS: &str = "ES256 EdDSA Ed25519";

/// What is wrong with a request to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChallengeError {
    /// The request is malformed (RFC 6750 §3.1).
    InvalidRequest,
    /// The token is expired, revoked or otherwise not valid (RFC 6750 §3.1).
    InvalidToken,
    /// The proof is not valid (RFC 9449 §7.1).
    InvalidDpopProof,
    /// The proof has no nonce of ours, or an old one (RFC 9449 §9).
    UseDpopNonce,
    /// The token does not suffice (RFC 6750 §3.1).
    InsufficientScope,
}

/// A challenge. Without an error it answers a request without credentials (RFC 6750 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// What is wrong.
    pub error: Option<ChallengeError>,
    /// What to do, for a developer.
    pub description: Option<&'a str>,
    /// The scope that would suffice.
    pub scope: Option<&'a str>,
    /// The URL of the resource's metadata.
    pub resource_metadata: &'a str,
}

impl ChallengeError {
    /// The text of the code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InsufficientScope => "insufficient_scope",
        }
    }

    /// The HTTP status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::InvalidToken | Self::InvalidDpopProof | Self::UseDpopNonce => 401,
            Self::InsufficientScope => 403,
        }
    }
}

impl Challenge<'_> {
    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        self.error.map_or(401, ChallengeError::status)
    }

    /// The value of the header.
    pub fn header_value(&self) -> String {
        let parameters = [
            ("error", self.error.map(ChallengeError::as_str)),
            ("error_description", self.description),
            ("scope", self.scope),
            ("algs", Some(ALGS)),
            ("resource_metadata", Some(self.resource_metadata)),
        ];
        // Neither `"` nor `\` survives: the quoted string needs no escapes.
        let written: Vec<String> = parameters
            .into_iter()
            .filter_map(|(name, text)| Some((name, printable(text?, VALUE_LEN_MAX))))
            .map(|(name, text)| format!("{name}=\"{text}\""))
            .collect();
        format!("DPoP {}", written.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = "https://g.example/.well-known/oauth-protected-resource/mcp";

    #[test]
    fn a_request_without_credentials_is_told_where_to_get_them_and_no_error() {
        let challenge = Challenge {
            error: None,
            description: None,
            scope: None,
            resource_metadata: METADATA,
        };
        let expected =
            format!(r#"DPoP algs="ES256 EdDSA Ed25519", resource_metadata="{METADATA}""#);
        assert_eq!(
            (challenge.status(), challenge.header_value()),
            (401, expected)
        );
    }

    #[test]
    fn errors_have_their_status() {
        use ChallengeError::{
            InsufficientScope, InvalidDpopProof, InvalidRequest, InvalidToken, UseDpopNonce,
        };
        for (error, status) in [
            (InvalidRequest, 400),
            (InvalidToken, 401),
            (InvalidDpopProof, 401),
            (UseDpopNonce, 401),
            (InsufficientScope, 403),
        ] {
            let challenge = Challenge {
                error: Some(error),
                description: Some("it is \"bad\"\r\nX: y"),
                scope: Some("aims:admin"),
                resource_metadata: METADATA,
            };
            assert_eq!(challenge.status(), status);
            let value = challenge.header_value();
            assert!(value.starts_with(&format!(r#"DPoP error="{}", "#, error.as_str())));
            assert!(value.contains(r#"error_description="it is ?bad???X: y", scope="aims:admin""#));
        }
    }
}
