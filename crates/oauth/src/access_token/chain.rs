//! The delegation chain that a token commits to.

use aims_crypto::Hasher;
use aims_json::Value;
use aims_types::Digest;

/// Most grants in a chain.
pub const CHAIN_LEN_MAX: usize = 8;
/// Separates the commitment from every other digest.
const COMMITMENT_PREFIX: &[u8] = b"aims-chain/1\0";

/// The digests of the signed grants from root to leaf: 1 to [`CHAIN_LEN_MAX`], none twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chain(Vec<Digest>);

/// Why a value is not a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Not an array of digests.
    #[error("a chain is an array of digests")]
    Malformed,
    /// Empty or too long.
    #[error("a chain has 1 to {CHAIN_LEN_MAX} grants")]
    Length,
    /// A grant comes twice.
    #[error("a grant comes twice in the chain")]
    Repeated,
    /// The commitment is of another chain.
    #[error("the hash of the chain is of another chain")]
    Commitment,
}

impl Chain {
    /// The chain of these grants, root first.
    pub fn new(grants: Vec<Digest>) -> Result<Self, ChainError> {
        if !(1..=CHAIN_LEN_MAX).contains(&grants.len()) {
            return Err(ChainError::Length);
        }
        let mut sorted = grants.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() == grants.len() {
            Ok(Self(grants))
        } else {
            Err(ChainError::Repeated)
        }
    }

    /// The grants, root first.
    pub fn grants(&self) -> &[Digest] {
        &self.0
    }

    /// One digest for the whole chain.
    pub fn commitment(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(COMMITMENT_PREFIX);
        for grant in &self.0 {
            hasher.update(grant.as_bytes());
        }
        hasher.finish()
    }

    /// The value of the claim.
    pub(crate) fn to_value(&self) -> Value {
        let texts: Vec<Value> = self
            .0
            .iter()
            .map(|grant| grant.to_string().into())
            .collect();
        Value::from(texts)
    }

    /// Reads the value of the claim.
    pub(crate) fn parse(value: &Value) -> Result<Self, ChainError> {
        let entries = value.as_array().ok_or(ChainError::Malformed)?;
        if entries.len() > CHAIN_LEN_MAX {
            return Err(ChainError::Length);
        }
        let digest = |entry: &Value| entry.as_str().and_then(|text| text.parse().ok());
        let grants: Option<Vec<Digest>> = entries.iter().map(digest).collect();
        Self::new(grants.ok_or(ChainError::Malformed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(range: std::ops::Range<u8>) -> Vec<Digest> {
        range.map(|byte| Digest::from_bytes([byte; 32])).collect()
    }

    #[test]
    fn a_chain_is_bounded_and_without_repetition() {
        assert_eq!(Chain::new(Vec::new()), Err(ChainError::Length));
        assert!(Chain::new(grants(0..8)).is_ok());
        assert_eq!(Chain::new(grants(0..9)), Err(ChainError::Length));
        let twice = [grants(0..2), grants(1..2)].concat();
        assert_eq!(Chain::new(twice), Err(ChainError::Repeated));
    }

    #[test]
    fn the_commitment_depends_on_grants_and_order() {
        let chain = Chain::new(grants(0..3)).unwrap();
        let mut reversed = grants(0..3);
        reversed.reverse();
        for other in [grants(0..2), grants(1..4), reversed] {
            assert_ne!(Chain::new(other).unwrap().commitment(), chain.commitment());
        }
        assert_eq!(Chain::parse(&chain.to_value()), Ok(chain));
    }
}
