//! Names of signature algorithms in JOSE.

use std::fmt;
use std::str::FromStr;

use aims_crypto::Alg;

/// The value of an `alg` header or member. `EdDSA` and `Ed25519` name the same algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JwsAlg {
    /// `ES256` (RFC 7518 §3.4).
    Es256,
    /// `EdDSA` with an Ed25519 key (RFC 8037 §3.1).
    EdDsa,
    /// `Ed25519`, the fully specified name (RFC 9864 §2.2).
    Ed25519,
}

/// The name is not on the list of accepted algorithms (RFC 8725 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the accepted algorithms are `ES256`, `EdDSA` and `Ed25519`")]
pub struct UnknownJwsAlg;

impl JwsAlg {
    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// The algorithm that a key must have to verify under this name.
    pub const fn key_alg(self) -> Alg {
        match self {
            Self::Es256 => Alg::Es256,
            Self::EdDsa | Self::Ed25519 => Alg::Ed25519,
        }
    }
}

/// The name we write for a key's algorithm: for Ed25519 the older one, which everybody reads.
impl From<Alg> for JwsAlg {
    fn from(alg: Alg) -> Self {
        match alg {
            Alg::Es256 => Self::Es256,
            Alg::Ed25519 => Self::EdDsa,
        }
    }
}

impl fmt::Display for JwsAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for JwsAlg {
    type Err = UnknownJwsAlg;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Es256, Self::EdDsa, Self::Ed25519]
            .into_iter()
            .find(|alg| alg.name() == text)
            .ok_or(UnknownJwsAlg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        for alg in [JwsAlg::Es256, JwsAlg::EdDsa, JwsAlg::Ed25519] {
            assert_eq!(alg.name().parse(), Ok(alg));
        }
        for bad in [
            "none", "None", "HS256", "RS256", "PS256", "es256", "ES384", "Ed448", "",
        ] {
            assert_eq!(bad.parse::<JwsAlg>(), Err(UnknownJwsAlg), "{bad}");
        }
    }
}
