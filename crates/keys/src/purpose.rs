//! What a stored key may be used for.

use std::fmt;
use std::str::FromStr;

/// The one use of a key; part of what its file authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Signs certificates.
    Ca,
    /// Signs JWT-SVIDs.
    JwtSvid,
    /// Signs tokens.
    Token,
    /// Signs grants of delegations.
    Grant,
    /// Signs checkpoints of the log.
    Log,
    /// Identifies a node.
    Node,
    /// Identifies an enforcement point.
    Gateway,
}

/// The text names no purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a purpose is `ca`, `jwt-svid`, `token`, `grant`, `log`, `node` or `gateway`")]
pub struct UnknownPurpose;

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 7] = [
        Self::Ca,
        Self::JwtSvid,
        Self::Token,
        Self::Grant,
        Self::Log,
        Self::Node,
        Self::Gateway,
    ];

    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::JwtSvid => "jwt-svid",
            Self::Token => "token",
            Self::Grant => "grant",
            Self::Log => "log",
            Self::Node => "node",
            Self::Gateway => "gateway",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Purpose {
    type Err = UnknownPurpose;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|purpose| purpose.as_str() == text)
            .ok_or(UnknownPurpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_round_trip_as_text() {
        for purpose in Purpose::ALL {
            assert_eq!(purpose.to_string().parse(), Ok(purpose));
        }
        assert_eq!("Token".parse::<Purpose>(), Err(UnknownPurpose));
    }
}
