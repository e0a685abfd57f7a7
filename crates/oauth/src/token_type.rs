//! Token type identifiers (RFC 8693 §3).

use std::fmt;
use std::str::FromStr;

/// The kinds of token that may be exchanged or asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenType {
    /// An access token of ours.
    AccessToken,
    /// A JWT of another kind: the workload identity token of an instance.
    Jwt,
}

/// The identifier names no type that may be exchanged here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token types are `urn:ietf:params:oauth:token-type:` and `access_token` or `jwt`")]
pub struct UnknownTokenType;

impl TokenType {
    /// The identifier.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

impl fmt::Display for TokenType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TokenType {
    type Err = UnknownTokenType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::AccessToken, Self::Jwt]
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or(UnknownTokenType)
    }
}
