//! Signing, verifying, sealing, hashing and key handles on one cryptographic backend.
//!
//! # In scope
//! - signatures: ES256 (ECDSA on P-256 with SHA-256) and Ed25519, behind [`Signer`] and
//!   [`PublicKey`];
//! - SHA-256, HMAC-SHA256, HKDF-SHA256, comparison in constant time;
//! - authenticated encryption with AES-256-GCM ([`SealKey`]);
//! - strict base64url.
//!
//! # Out of scope
//! - key custody (`aims-keys`), JOSE (`aims-jose`), certificates and TLS.
//!
//! # Specifications
//! - FIPS 186-5 (ECDSA), RFC 8032 (Ed25519), RFC 5869 (HKDF), RFC 2104 (HMAC),
//!   NIST SP 800-38D (GCM), RFC 4648 §5 (base64url), RFC 5958 (PKCS#8).
//!
//! # Limits
//! - a key of [`SealKey`] seals at most 2^32 messages (random nonces of 96 bits, SP 800-38D §8.3).
//!
//! ```
//! use aims_crypto::{Alg, Signer, SigningKey};
//!
//! let key = SigningKey::generate(Alg::Es256)?;
//! let signature = key.sign(b"message")?;
//! assert!(key.public().verify(b"message", &signature).is_ok());
//! assert!(key.public().verify(b"massage", &signature).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod base64url;
mod digest;
mod kdf;
mod mac;
mod public;
mod seal;
mod sign;

pub use digest::{Hasher, sha256};
pub use kdf::hkdf_sha256;
pub use mac::{constant_time_eq, hmac_sha256};
pub use public::{
    Alg, BadSignature, ParsePublicKeyError, PublicKey, SIGNATURE_LEN, Signature, UnknownAlg,
};
pub use seal::{OpenError, SEAL_OVERHEAD, SealError, SealKey};
pub use sign::{KeyError, SignError, Signer, SigningKey};
