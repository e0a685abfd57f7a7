//! Reading and verifying a JWS in compact form (RFC 7515 §5.2).

use std::fmt;
use std::ops::Deref;

use aims_crypto::{PublicKey, Signature, base64url};
use aims_json::{Limits, ParseError, Value, parse};

use crate::{Claims, Header, HeaderError, KeySource, typ};

/// Bounds on one JWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JwsLimits {
    /// Length of the whole text.
    pub text: usize,
    /// Bounds on the header and on the claims, each.
    pub json: Limits,
}

/// A JWS that is well formed and **not verified**: anyone may have written it.
#[derive(Clone)]
pub struct Jws {
    header: Header,
    claims: Claims,
    /// The first two parts with the dot between them (RFC 7515 §5.2, step 8).
    signing_input: String,
    signature: Signature,
}

/// A value that came out of a signature check. Only [`Jws`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    header: Header,
    value: T,
}

/// Why a text is not a JWS that we read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseJwsError {
    /// Longer than the limit.
    #[error("the token is longer than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// RFC 7515 §7.1: exactly three parts.
    #[error("a token has exactly three parts with dots between them")]
    Parts,
    /// A part is not base64url, or not in its one spelling (RFC 7515 §2).
    #[error("the {0} is not base64url without padding")]
    Base64(&'static str),
    /// A part is not acceptable JSON.
    #[error("the {part} is not acceptable JSON: {why}")]
    Json {
        /// `header` or `claims`.
        part: &'static str,
        /// What is wrong with it.
        why: ParseError,
    },
    /// The header is refused.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// RFC 7519 §7.2: the claims are an object.
    #[error("the claims are not an object")]
    ClaimsNotObject,
    /// The signature does not have the length of any accepted algorithm.
    #[error("the signature does not have 64 bytes")]
    SignatureLength,
}

/// Why a JWS is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The token is of another kind, or does not say of which (RFC 8725 §3.11).
    #[error("the header `typ` is not `{expected}`")]
    Typ {
        /// The kind wanted.
        expected: &'static str,
    },
    /// The header names another algorithm than the key's (RFC 8725 §3.1).
    #[error("the header `alg` does not fit the key")]
    Alg,
    /// A token that brings its own key proves nothing here (RFC 8725 §3.10).
    #[error("the header `jwk` is not accepted here")]
    EmbeddedKey,
    /// The key should be in the header, and is not.
    #[error("the header `jwk` is missing")]
    NoEmbeddedKey,
    /// The key should be named in the header, and is not.
    #[error("the header `kid` is missing")]
    NoKid,
    /// The header names a key that is not trusted.
    #[error("the header `kid` names no trusted key")]
    UnknownKid,
    /// The signature is wrong.
    #[error("the signature does not verify")]
    Signature,
}

impl JwsLimits {
    /// Tokens and grants.
    pub const TOKEN: Self = Self {
        text: 16 << 10,
        json: Limits::TOKEN,
    };
    /// Proofs and assertions: short by nature.
    pub const PROOF: Self = Self {
        text: 4 << 10,
        json: Limits {
            bytes: 4 << 10,
            depth: 8,
            nodes: 128,
        },
    };
}

impl Jws {
    /// Reads a JWS in compact form. Nothing is verified.
    pub fn parse(text: &str, limits: &JwsLimits) -> Result<Self, ParseJwsError> {
        if text.len() > limits.text {
            return Err(ParseJwsError::TooLong { max: limits.text });
        }
        let (signing_input, signature) = text.rsplit_once('.').ok_or(ParseJwsError::Parts)?;
        let (header, claims) = signing_input.split_once('.').ok_or(ParseJwsError::Parts)?;
        if claims.contains('.') {
            return Err(ParseJwsError::Parts);
        }
        let header = Header::parse(&json("header", header, &limits.json)?)?;
        let Value::Object(claims) = json("claims", claims, &limits.json)? else {
            return Err(ParseJwsError::ClaimsNotObject);
        };
        let signature = decode("signature", signature)?;
        let signature = Signature::try_from(signature.as_slice());
        Ok(Self {
            header,
            claims: Claims::new(claims),
            signing_input: signing_input.to_owned(),
            signature: signature.map_err(|_| ParseJwsError::SignatureLength)?,
        })
    }

    /// What the header says. Use it to find a key, never to trust anything.
    pub const fn unverified_header(&self) -> &Header {
        &self.header
    }

    /// What the claims say. Use them to find a key, never to trust anything.
    pub const fn unverified_claims(&self) -> &Claims {
        &self.claims
    }

    /// Verifies with a key that the caller trusts.
    pub fn verify(
        &self,
        key: &PublicKey,
        expected_typ: &'static str,
    ) -> Result<Verified<Claims>, VerifyError> {
        if self.header.jwk.is_some() {
            return Err(VerifyError::EmbeddedKey);
        }
        self.check(key, expected_typ)
    }

    /// Verifies with the key that `kid` names among those that the caller trusts.
    pub fn verify_by_kid(
        &self,
        keys: &dyn KeySource,
        expected_typ: &'static str,
    ) -> Result<Verified<Claims>, VerifyError> {
        let kid = self.header.kid.as_deref().ok_or(VerifyError::NoKid)?;
        let key = keys.key(kid).ok_or(VerifyError::UnknownKid)?;
        self.verify(&key, expected_typ)
    }

    /// Verifies with the key in the header (`jwk`), which proves possession of that key and
    /// nothing else (RFC 9449 §4.3, check 6).
    pub fn verify_embedded(
        &self,
        expected_typ: &'static str,
    ) -> Result<(Verified<Claims>, PublicKey), VerifyError> {
        let jwk = self.header.jwk.as_ref().ok_or(VerifyError::NoEmbeddedKey)?;
        if jwk.alg().is_some_and(|alg| alg != self.header.alg) {
            return Err(VerifyError::Alg);
        }
        Ok((self.check(jwk.key(), expected_typ)?, *jwk.key()))
    }

    /// The same for a token that libraries write without its type: `typ` may be missing, or say no
    /// more than `JWT`. The key has to be one that signs tokens of this kind alone, or one kind
    /// would pass for another.
    pub fn verify_of_library(
        &self,
        key: &PublicKey,
        expected_typ: &'static str,
    ) -> Result<Verified<Claims>, VerifyError> {
        if self.header.jwk.is_some() {
            return Err(VerifyError::EmbeddedKey);
        }
        match self.header.typ.as_deref() {
            None => self.check_signature(key),
            Some(found) if typ::same(found, typ::JWT) => self.check_signature(key),
            Some(_) => self.check(key, expected_typ),
        }
    }

    fn check(
        &self,
        key: &PublicKey,
        expected_typ: &'static str,
    ) -> Result<Verified<Claims>, VerifyError> {
        if !self
            .header
            .typ
            .as_deref()
            .is_some_and(|found| typ::same(found, expected_typ))
        {
            return Err(VerifyError::Typ {
                expected: expected_typ,
            });
        }
        self.check_signature(key)
    }

    fn check_signature(&self, key: &PublicKey) -> Result<Verified<Claims>, VerifyError> {
        if self.header.alg.key_alg() != key.alg() {
            return Err(VerifyError::Alg);
        }
        key.verify(self.signing_input.as_bytes(), &self.signature)
            .map_err(|_| VerifyError::Signature)?;
        Ok(Verified {
            header: self.header.clone(),
            value: self.claims.clone(),
        })
    }
}

/// Without the signature: a token must not be put together again from a log.
impl fmt::Debug for Jws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jws")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl<T> Verified<T> {
    /// The header, verified as well.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Gives up the proof and keeps the value.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

fn decode(part: &'static str, text: &str) -> Result<Vec<u8>, ParseJwsError> {
    base64url::decode(text).map_err(|_| ParseJwsError::Base64(part))
}

fn json(part: &'static str, text: &str, limits: &Limits) -> Result<Value, ParseJwsError> {
    parse(&decode(part, text)?, limits).map_err(|why| ParseJwsError::Json { part, why })
}

#[cfg(test)]
mod tests;
