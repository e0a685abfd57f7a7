//! The names and public keys of those who sign notes.

use std::fmt;
use std::str::FromStr;

use aims_crypto::{Alg, Hasher, PublicKey, SIGNATURE_LEN, Signature};

use super::VerifiedSignature;
use crate::text::{parse_base64, to_base64};

/// Longest key name, in bytes; the specification sets none. Witnesses take origins of this length.
pub const KEY_NAME_LEN_MAX: usize = 255;
/// Longest text of a verifier key: name, id and the base64 of 33 bytes.
const KEY_TEXT_LEN_MAX: usize = KEY_NAME_LEN_MAX + 1 + 8 + 1 + 44;

/// The name of a key, and of a log: not empty, without spaces, `+` and control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// The text is no name of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key name has 1 to {KEY_NAME_LEN_MAX} bytes and no space, `+` or control character")]
pub struct KeyNameError;

/// What a key signs (signed-note, "Signature types").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// The text of the note: type 0x01.
    Note,
    /// The text together with the time it was seen: type 0x04, the key of a witness.
    Cosignature,
}

/// A public key that notes are verified with. Text form: `name+id+base64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    kind: KeyKind,
    id: [u8; 4],
    public: PublicKey,
}

/// Why there is no verifier key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// The text is not `name+id+base64`.
    #[error("a verifier key is `name+id+base64`")]
    Form,
    /// The key is of an algorithm not supported here.
    #[error("a verifier key must be an Ed25519 key, of type 1 or 4")]
    Algorithm,
    /// The id is not that of name and key.
    #[error("the id of the verifier key does not belong to its name and key")]
    Id,
}

impl KeyKind {
    /// The signature type identifier byte.
    const fn type_byte(self) -> u8 {
        match self {
            Self::Note => 0x01,
            Self::Cosignature => 0x04,
        }
    }
}

impl VerifierKey {
    /// The key `public` under `name`; it must be an Ed25519 key.
    pub fn new(name: KeyName, kind: KeyKind, public: PublicKey) -> Result<Self, VerifierKeyError> {
        if public.alg() != Alg::Ed25519 {
            return Err(VerifierKeyError::Algorithm);
        }
        // key ID = SHA-256(key name || 0x0A || signature type || public key)[:4]
        let mut hasher = Hasher::new();
        hasher.update(name.as_str().as_bytes());
        hasher.update(&[b'\n', kind.type_byte()]);
        hasher.update(public.as_bytes());
        let [a, b, c, d, ..] = *hasher.finish().as_bytes();
        Ok(Self {
            name,
            kind,
            id: [a, b, c, d],
            public,
        })
    }

    /// The name.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// What the key signs.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key id that signature lines carry.
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The public key.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Checks the bytes of a signature line over `text`.
    pub(super) fn verify(&self, text: &str, bytes: &[u8]) -> Option<VerifiedSignature<'_>> {
        let at = match self.kind {
            KeyKind::Note => {
                let signature = Signature::try_from(bytes).ok()?;
                self.public.verify(text.as_bytes(), &signature).ok()?;
                None
            }
            KeyKind::Cosignature => {
                let (time, signature) = bytes.split_first_chunk::<8>()?;
                let at = u64::from_be_bytes(*time);
                let signature: &[u8; SIGNATURE_LEN] = signature.try_into().ok()?;
                let signature = Signature::from_bytes(*signature);
                self.public
                    .verify(cosigned_text(text, at).as_bytes(), &signature)
                    .ok()?;
                Some(at)
            }
        };
        Some(VerifiedSignature { key: self, at })
    }
}

/// What a witness signs (tlog-cosignature, "Ed25519 signatures").
pub(super) fn cosigned_text(text: &str, at: u64) -> String {
    format!("cosignature/v1\ntime {at}\n{text}")
}

impl KeyName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |char: char| !char.is_whitespace() && !char.is_control() && char != '+';
        let fits = (1..=KEY_NAME_LEN_MAX).contains(&text.len());
        if fits && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyNameError)
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind.type_byte()], self.public.as_bytes()].concat();
        write!(
            f,
            "{}+{:08x}+{}",
            self.name,
            u32::from_be_bytes(self.id),
            to_base64(&key)
        )
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > KEY_TEXT_LEN_MAX {
            return Err(VerifierKeyError::Form);
        }
        // The base64 may contain `+` as well, the name and the id cannot.
        let (name, rest) = text.split_once('+').ok_or(VerifierKeyError::Form)?;
        let (id, key) = rest.split_once('+').ok_or(VerifierKeyError::Form)?;
        let name = name.parse().map_err(|_| VerifierKeyError::Form)?;
        let key = parse_base64(key).ok_or(VerifierKeyError::Form)?;
        let (kind, public) = match key.as_slice() {
            [0x01, public @ ..] => (KeyKind::Note, public),
            [0x04, public @ ..] => (KeyKind::Cosignature, public),
            _ => return Err(VerifierKeyError::Algorithm),
        };
        let public =
            PublicKey::from_bytes(Alg::Ed25519, public).map_err(|_| VerifierKeyError::Algorithm)?;
        let key = Self::new(name, kind, public)?;
        if format!("{:08x}", u32::from_be_bytes(key.id)) != id {
            return Err(VerifierKeyError::Id);
        }
        Ok(key)
    }
}
