//! Signed JSON: JWS in its compact form, and the public keys that verify it.
//!
//! # In scope
//! - [`Jws`]: parse, then verify with a key and a `typ` that the caller names; only that gives
//!   [`Verified`] claims;
//! - [`sign`]; [`Jwk`], [`Jwks`], [`Thumbprint`]; [`Claims`] with typed access;
//! - ES256 and Ed25519 (`EdDSA`, `Ed25519`). The key decides the algorithm, not the header.
//!
//! # Out of scope
//! - what claims mean (`aims-oauth`); encryption; symmetric algorithms; the JSON serialization.
//!
//! # Specifications
//! - RFC 7515 (JWS), RFC 7517 (JWK), RFC 7518 (ES256), RFC 7519 (JWT), RFC 7638 (thumbprint),
//!   RFC 8037 (OKP, EdDSA), RFC 8725 (best current practices), RFC 9864 (name `Ed25519`).
//!
//! # Stricter than the specifications have to be
//! - headers that point at keys or change the signing input (`jku`, `x5u`, `x5c`, `x5t`,
//!   `x5t#S256`, `crit`, `b64`, `zip`, `enc`) are refused, and `jwk` unless the caller asks for it;
//! - member names are unique at every depth; base64url has one spelling; claims are an object;
//!   a `NumericDate` is a whole number.
//!
//! # Limits
//! - [`JwsLimits`], [`KID_LEN_MAX`], [`CLAIM_LEN_MAX`], [`JWKS_KEYS_MAX`].
//!
//! ```
//! use aims_crypto::{Alg, Signer, SigningKey};
//! use aims_jose::{Jws, JwsLimits, SigningHeader, sign, typ};
//!
//! let key = SigningKey::generate(Alg::Es256)?;
//! let header = SigningHeader::new(typ::ACCESS_TOKEN).kid("2026-11");
//! let text = sign(&header, br#"{"sub":"alice"}"#, &key)?;
//! let jws = Jws::parse(&text, &JwsLimits::TOKEN)?;
//! let claims = jws.verify(key.public(), typ::ACCESS_TOKEN)?;
//! assert_eq!(claims.text("sub")?, "alice");
//! assert!(jws.verify(key.public(), typ::DPOP).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alg;
mod claims;
mod header;
mod jwk;
mod jwks;
mod jws;
mod sign;
mod thumbprint;
pub mod typ;

pub use alg::{JwsAlg, UnknownJwsAlg};
pub use claims::{CLAIM_LEN_MAX, ClaimError, Claims};
pub use header::{Header, HeaderError, KID_LEN_MAX};
pub use jwk::{Jwk, ParseJwkError};
pub use jwks::{JWKS_KEYS_MAX, Jwks, KeySource, ParseJwksError};
pub use jws::{Jws, JwsLimits, ParseJwsError, Verified, VerifyError};
pub use sign::{SigningHeader, sign};
pub use thumbprint::{ParseThumbprintError, Thumbprint};
