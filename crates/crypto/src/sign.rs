//! Private keys and what signs with them.

use std::fmt;

use aims_types::Secret;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};

use crate::{Alg, PublicKey, Signature};

/// Something that signs: a key in memory, in a file store, in a module, or a simulated one.
pub trait Signer: Send + Sync {
    /// The public key that verifies the signatures.
    fn public(&self) -> &PublicKey;

    /// Signs `message`.
    fn sign(&self, message: &[u8]) -> Result<Signature, SignError>;
}

/// A private key in memory.
///
/// The backend overwrites the key when it is dropped. [`SigningKey::generate`] and ES256
/// signatures are the only places where the backend's own random number generator is used;
/// an Ed25519 key from a seed is deterministic throughout (RFC 8032 §5.1.6).
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

/// The signature could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key could not sign")]
pub struct SignError;

/// Why there is no private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The backend could not make or write out a key.
    #[error("the cryptographic backend failed")]
    InternalBackend,
    /// The bytes are not a PKCS#8 private key of a known algorithm.
    #[error("the bytes are not a PKCS#8 private key for ES256 or Ed25519")]
    Malformed,
}

enum Pair {
    Es256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Makes a new key, with the randomness of the backend.
    pub fn generate(alg: Alg) -> Result<Self, KeyError> {
        let pair = match alg {
            Alg::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Pair::Es256),
            Alg::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
        };
        Self::from_pair(pair.map_err(|_| KeyError::InternalBackend)?)
    }

    /// The Ed25519 key that grows from `seed` (RFC 8032 §5.1.5): deterministic, for simulations.
    pub fn ed25519_from_seed(seed: &Secret<[u8; 32]>) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose());
        Self::from_pair(Pair::Ed25519(pair.map_err(|_| KeyError::InternalBackend)?))
    }

    /// Reads a key in the form of [`Self::to_pkcs8`].
    pub fn from_pkcs8(bytes: &Secret<Vec<u8>>) -> Result<Self, KeyError> {
        let bytes = bytes.expose();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes)
            .map(Pair::Es256)
            .or_else(|_| Ed25519KeyPair::from_pkcs8(bytes).map(Pair::Ed25519))
            .map_err(|_| KeyError::Malformed)?;
        Self::from_pair(pair)
    }

    /// The private key as PKCS#8 (RFC 5958), not encrypted.
    pub fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, KeyError> {
        let document = match &self.pair {
            Pair::Es256(pair) => pair.to_pkcs8v1(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1(),
        };
        let document = document.map_err(|_| KeyError::InternalBackend)?;
        Ok(Secret::new(document.as_ref().to_vec()))
    }

    fn from_pair(pair: Pair) -> Result<Self, KeyError> {
        let public = match &pair {
            Pair::Es256(pair) => PublicKey::from_bytes(Alg::Es256, pair.public_key().as_ref()),
            Pair::Ed25519(pair) => PublicKey::from_bytes(Alg::Ed25519, pair.public_key().as_ref()),
        };
        Ok(Self {
            pair,
            public: public.map_err(|_| KeyError::Malformed)?,
        })
    }
}

impl Signer for SigningKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        let signature = match &self.pair {
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), message),
            Pair::Ed25519(pair) => pair.try_sign(message),
        };
        let signature = signature.map_err(|_| SignError)?;
        Signature::try_from(signature.as_ref()).map_err(|_| SignError)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_signs_its_public_half_verifies() {
        for alg in [Alg::Es256, Alg::Ed25519] {
            let key = SigningKey::generate(alg).unwrap();
            assert_eq!(key.public().alg(), alg);
            let signature = key.sign(b"message").unwrap();
            assert!(key.public().verify(b"message", &signature).is_ok());
            let other = SigningKey::generate(alg).unwrap();
            assert!(other.public().verify(b"message", &signature).is_err());
        }
    }

    #[test]
    fn a_key_survives_pkcs8() {
        for alg in [Alg::Es256, Alg::Ed25519] {
            let key = SigningKey::generate(alg).unwrap();
            let again = SigningKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
            assert_eq!(again.public(), key.public());
        }
    }

    #[test]
    fn a_seed_gives_the_same_key_and_signature_each_time() {
        let make = || SigningKey::ed25519_from_seed(&Secret::new([9; 32])).unwrap();
        assert_eq!(make().public(), make().public());
        assert_eq!(make().sign(b"m"), make().sign(b"m"));
    }

    #[test]
    fn bytes_that_are_no_private_key_are_refused() {
        let good = SigningKey::generate(Alg::Es256)
            .unwrap()
            .to_pkcs8()
            .unwrap();
        let short = Secret::new(good.expose()[..good.expose().len() - 1].to_vec());
        for bad in [Secret::new(Vec::new()), Secret::new(vec![0x30; 67]), short] {
            assert_eq!(
                SigningKey::from_pkcs8(&bad).err(),
                Some(KeyError::Malformed)
            );
        }
    }

    #[test]
    fn debug_output_shows_the_public_half_only() {
        let key = SigningKey::ed25519_from_seed(&Secret::new([1; 32])).unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public()));
    }
}
