//! Nonces that proofs must carry (RFC 9449 §8 and §9).
//!
//! A nonce says when it was given, under a code that only who gave it can make: nothing has to be
//! remembered, whatever is asked for.

use std::time::Duration;

use aims_crypto::{base64url, constant_time_eq, hmac_sha256};
use aims_jose::{Jws, JwsLimits};
use aims_types::{Entropy, EntropyError, Secret, Timestamp};

/// How long a nonce may be used: it bounds how far ahead a proof can have been made.
pub const NONCE_LIFE: Duration = Duration::from_mins(5);
/// Separates the code from every other one.
const LABEL: &[u8] = b"aims-dpop-nonce/1\0";
/// Octets of a nonce: the time and the code.
const NONCE_LEN: usize = 8 + 32;
/// Longest nonce that is looked at, in characters.
const TEXT_LEN_MAX: usize = 64;

/// Gives out nonces and knows its own again.
#[derive(Debug)]
pub struct Nonces {
    key: Secret<[u8; 32]>,
}

/// Why a proof's nonce does not count: the client asks again with a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NonceError {
    /// RFC 9449 §4.3, check 10: there is none.
    #[error("the proof has no nonce; use the one in the header `DPoP-Nonce`")]
    Missing,
    /// It is not one of ours.
    #[error("the nonce of the proof is not from here; use the one in the header `DPoP-Nonce`")]
    Foreign,
    /// It is too old, or from the future.
    #[error("the nonce of the proof is too old; use the one in the header `DPoP-Nonce`")]
    TooOld,
}

impl Nonces {
    /// Nonces under a new key.
    pub fn new(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut key = [0; 32];
        entropy.fill(&mut key)?;
        Ok(Self {
            key: Secret::new(key),
        })
    }

    /// A nonce given at `now`.
    pub fn give(&self, now: Timestamp) -> String {
        let given = now.unix_secs().to_be_bytes();
        base64url::encode(&[&given[..], &self.code(given)].concat())
    }

    /// Looks at the nonce in a proof that is not verified. It counts together with the proof's
    /// signature only, which covers it.
    pub fn check(&self, proof: &str, now: Timestamp) -> Result<(), NonceError> {
        let proof = Jws::parse(proof, &JwsLimits::PROOF).map_err(|_| NonceError::Missing)?;
        let nonce = proof.unverified_claims().optional_text("nonce");
        let nonce = nonce.ok().flatten().ok_or(NonceError::Missing)?;
        let octets = Some(nonce).filter(|nonce| nonce.len() <= TEXT_LEN_MAX);
        let octets = octets.and_then(|nonce| base64url::decode(nonce).ok());
        let octets = octets.ok_or(NonceError::Foreign)?;
        let (given, code) = octets.split_first_chunk().ok_or(NonceError::Foreign)?;
        if octets.len() != NONCE_LEN || !constant_time_eq(code, &self.code(*given)) {
            return Err(NonceError::Foreign);
        }
        let given = Timestamp::from_unix_secs(u64::from_be_bytes(*given));
        if given > now || now.since(given) >= NONCE_LIFE {
            return Err(NonceError::TooOld);
        }
        Ok(())
    }

    fn code(&self, given: [u8; 8]) -> [u8; 32] {
        hmac_sha256(self.key.expose(), &[LABEL, &given].concat())
    }
}

#[cfg(test)]
mod tests {
    use aims_jose::{SigningHeader, sign, typ};
    use aims_types::ambient::SystemEntropy;

    use super::*;
    use crate::testing::{NOW, key};

    fn proof(nonce: Option<&str>) -> String {
        let claims = match nonce {
            Some(nonce) => format!(r#"{{"nonce":"{nonce}"}}"#),
            None => "{}".to_owned(),
        };
        let header = SigningHeader::new(typ::DPOP).embed_key();
        sign(&header, claims.as_bytes(), &key(1)).unwrap()
    }

    #[test]
    fn a_nonce_counts_for_its_life_where_it_was_given() {
        let (nonces, others) = (Nonces::new(&SystemEntropy), Nonces::new(&SystemEntropy));
        let (nonces, others) = (nonces.unwrap(), others.unwrap());
        let given = nonces.give(NOW);
        let with = proof(Some(&given));
        let last = NOW.plus(NONCE_LIFE).minus(Duration::from_secs(1));
        assert_eq!(nonces.check(&with, NOW), Ok(()));
        assert_eq!(nonces.check(&with, last), Ok(()));
        let late = NOW.plus(NONCE_LIFE);
        assert_eq!(nonces.check(&with, late), Err(NonceError::TooOld));
        let early = NOW.minus(Duration::from_secs(1));
        assert_eq!(nonces.check(&with, early), Err(NonceError::TooOld));
        assert_eq!(others.check(&with, NOW), Err(NonceError::Foreign));
        assert_eq!(nonces.check(&proof(None), NOW), Err(NonceError::Missing));
        assert_eq!(nonces.check("no proof", NOW), Err(NonceError::Missing));
    }

    #[test]
    fn no_change_of_a_nonce_goes_unnoticed() {
        let nonces = Nonces::new(&SystemEntropy).unwrap();
        let given = nonces.give(NOW);
        let octets = base64url::decode(&given).unwrap();
        for at in 0..octets.len() {
            let mut other = octets.clone();
            other[at] ^= 1;
            let with = proof(Some(&base64url::encode(&other)));
            assert_eq!(nonces.check(&with, NOW), Err(NonceError::Foreign), "{at}");
        }
        let cut: String = given.chars().take(40).collect();
        for wrong in ["AA", &format!("{given}AAAA"), &cut] {
            let found = nonces.check(&proof(Some(wrong)), NOW);
            assert_eq!(found, Err(NonceError::Foreign), "{wrong}");
        }
    }
}
