//! Authenticated encryption: AES-256-GCM with random nonces (NIST SP 800-38D).

use aims_types::{Entropy, EntropyError, Secret};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Length of the authentication tag.
const TAG_LEN: usize = 16;
/// How much longer a sealed message is than its plain text: the nonce and the tag.
pub const SEAL_OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// A key that seals and opens messages.
///
/// A sealed message is the nonce, the cipher text and the tag. Nonces are random, so one key must
/// not seal more than 2^32 messages (SP 800-38D §8.3).
pub struct SealKey(LessSafeKey);

/// Why a message was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There was no randomness for the nonce.
    #[error(transparent)]
    InternalEntropy(#[from] EntropyError),
    /// The backend refused.
    #[error("the cryptographic backend could not seal the message")]
    InternalBackend,
}

/// The message was not sealed under this key and this associated data, or was changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed message does not open: wrong key, wrong context, or changed bytes")]
pub struct OpenError;

impl SealKey {
    /// The key with these 32 bytes.
    pub fn new(key: &Secret<[u8; 32]>) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, key.expose());
        Ok(Self(LessSafeKey::new(
            key.map_err(|_| SealError::InternalBackend)?,
        )))
    }

    /// Seals `plain`; `aad` is not stored but must be given again to open the message.
    pub fn seal(
        &self,
        entropy: &dyn Entropy,
        aad: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce)?;
        // Room for the tag as well: growing would leave a copy of the plain text behind.
        let mut text = Vec::with_capacity(plain.len() + TAG_LEN);
        text.extend_from_slice(plain);
        let used = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(used, Aad::from(aad), &mut text)
            .map_err(|_| SealError::InternalBackend)?;
        Ok([&nonce[..], &text].concat())
    }

    /// The plain text of a message that was sealed under this key with the same `aad`.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Secret<Vec<u8>>, OpenError> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(OpenError)?;
        let (text, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(OpenError)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut plain = vec![0; text.len()];
        self.0
            .open_separate_gather(nonce, Aad::from(aad), text, tag, &mut plain)
            .map_err(|_| OpenError)?;
        Ok(Secret::new(plain))
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use aims_types::ambient::SystemEntropy;
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> SealKey {
        SealKey::new(&Secret::new([byte; 32])).unwrap()
    }

    #[test]
    fn a_sealed_message_opens_only_unchanged_under_its_key_and_context() {
        let sealed = key(1).seal(&SystemEntropy, b"aad", b"secret").unwrap();
        assert_eq!(sealed.len(), b"secret".len() + SEAL_OVERHEAD);
        assert_eq!(key(1).open(b"aad", &sealed).unwrap().expose(), b"secret");
        assert!(key(2).open(b"aad", &sealed).is_err());
        assert!(key(1).open(b"aae", &sealed).is_err());
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(key(1).open(b"aad", &changed).is_err(), "byte {i}");
            assert!(key(1).open(b"aad", &sealed[..i]).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn two_seals_of_one_message_differ() {
        let seal = || key(1).seal(&SystemEntropy, b"", b"m").unwrap();
        assert_ne!(seal(), seal());
    }

    proptest! {
        #[test]
        fn messages_round_trip(plain: Vec<u8>, aad: Vec<u8>) {
            let sealed = key(3).seal(&SystemEntropy, &aad, &plain).unwrap();
            let opened = key(3).open(&aad, &sealed).unwrap();
            prop_assert_eq!(opened.expose(), &plain);
        }

        #[test]
        fn opening_garbage_never_panics(garbage: Vec<u8>) {
            prop_assert!(key(3).open(b"", &garbage).is_err());
        }
    }
}
