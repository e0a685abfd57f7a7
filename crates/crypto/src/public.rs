//! Public keys and signatures.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, UnparsedPublicKey, VerificationAlgorithm,
};

use crate::base64url;

/// Length of a signature of either algorithm.
pub const SIGNATURE_LEN: usize = 64;
/// Length of an uncompressed point on P-256 (SEC 1 §2.3.3).
const P256_POINT_LEN: usize = 65;
/// First byte of an uncompressed point (SEC 1 §2.3.3).
const P256_UNCOMPRESSED: u8 = 4;
/// Length of an Ed25519 public key (RFC 8032 §5.1.5).
const ED25519_LEN: usize = 32;

/// The points of small order on Ed25519, without the sign bit: under such a key anyone can sign
/// something. The backend verifies nothing under the encodings of them that are not canonical.
#[rustfmt::skip]
const SMALL_ORDER: [[u8; ED25519_LEN]; 5] = [
    [0; ED25519_LEN],
    with_ends(1, 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89,
        0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39,
        0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76,
        0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6,
        0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    with_ends(0xec, 0xff, 0x7f),
];

const fn with_ends(first: u8, middle: u8, last: u8) -> [u8; ED25519_LEN] {
    let mut bytes = [middle; ED25519_LEN];
    bytes[0] = first;
    bytes[ED25519_LEN - 1] = last;
    bytes
}

/// A signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alg {
    /// ECDSA on P-256 with SHA-256, signature in the fixed form `r || s` (RFC 7518 §3.4).
    Es256,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

/// The text names no algorithm that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signature algorithm is `ES256` or `Ed25519`")]
pub struct UnknownAlg;

/// A public key that is known to be well formed.
///
/// Text form: the algorithm, `:`, and the base64url of the raw key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(Raw);

/// A signature of 64 bytes; whose and over what only [`PublicKey::verify`] can say.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; SIGNATURE_LEN]);

/// The signature is not the key's over this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// Why bytes or a text are not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParsePublicKeyError {
    /// The text has no known algorithm before a colon.
    #[error("a public key is written `ES256:` or `Ed25519:` and base64url")]
    Form,
    /// The bytes have the wrong length or are no point of the curve.
    #[error("the bytes are not a public key of the algorithm")]
    Key,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Raw {
    Es256([u8; P256_POINT_LEN]),
    Ed25519([u8; ED25519_LEN]),
}

impl Alg {
    /// The name: `ES256` or `Ed25519` (RFC 7518 §3.1, RFC 9864 §2.2).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Ed25519 => "Ed25519",
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Es256 => &ECDSA_P256_SHA256_FIXED,
            Self::Ed25519 => &ED25519,
        }
    }
}

impl PublicKey {
    /// The key with these raw bytes: the uncompressed point (65 bytes) for ES256, 32 bytes for
    /// Ed25519. A point that is not on P-256 is refused, and an Ed25519 point of small order.
    pub fn from_bytes(alg: Alg, bytes: &[u8]) -> Result<Self, ParsePublicKeyError> {
        let raw = match alg {
            Alg::Es256 => Raw::Es256(bytes.try_into().map_err(|_| ParsePublicKeyError::Key)?),
            Alg::Ed25519 => Raw::Ed25519(bytes.try_into().map_err(|_| ParsePublicKeyError::Key)?),
        };
        // The backend also reads compressed points; a key has one spelling here.
        if alg == Alg::Es256 && bytes.first() != Some(&P256_UNCOMPRESSED) {
            return Err(ParsePublicKeyError::Key);
        }
        if matches!(raw, Raw::Ed25519(bytes) if is_small_order(bytes)) {
            return Err(ParsePublicKeyError::Key);
        }
        ParsedPublicKey::new(alg.verification(), bytes).map_err(|_| ParsePublicKeyError::Key)?;
        Ok(Self(raw))
    }

    /// The algorithm this key verifies.
    pub const fn alg(&self) -> Alg {
        match self.0 {
            Raw::Es256(_) => Alg::Es256,
            Raw::Ed25519(_) => Alg::Ed25519,
        }
    }

    /// The raw key: the uncompressed point or the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Raw::Es256(bytes) => bytes,
            Raw::Ed25519(bytes) => bytes,
        }
    }

    /// Checks that `signature` was made by the holder of this key over `message`.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(self.alg().verification(), self.as_bytes())
            .verify(message, &signature.0)
            .map_err(|_| BadSignature)
    }
}

fn is_small_order(mut key: [u8; ED25519_LEN]) -> bool {
    if let Some(last) = key.last_mut() {
        *last &= 0x7f;
    }
    SMALL_ORDER.contains(&key)
}

impl Signature {
    /// The signature with these bytes.
    pub const fn from_bytes(bytes: [u8; SIGNATURE_LEN]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; SIGNATURE_LEN] {
        &self.0
    }
}

/// Takes exactly 64 bytes.
impl TryFrom<&[u8]> for Signature {
    type Error = BadSignature;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self).map_err(|_| BadSignature)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Alg {
    type Err = UnknownAlg;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ES256" => Ok(Self::Es256),
            "Ed25519" => Ok(Self::Ed25519),
            _ => Err(UnknownAlg),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.alg(), base64url::encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = ParsePublicKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (alg, raw) = text.split_once(':').ok_or(ParsePublicKeyError::Form)?;
        let alg = alg.parse().map_err(|_| ParsePublicKeyError::Form)?;
        let bytes = base64url::decode(raw).map_err(|_| ParsePublicKeyError::Form)?;
        Self::from_bytes(alg, &bytes)
    }
}

#[cfg(test)]
mod tests;
