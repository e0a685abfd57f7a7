//! DPoP: proofs that a request comes from the holder of a key (RFC 9449).

use std::time::Duration;

use aims_crypto::{PublicKey, SignError, Signer, base64url, constant_time_eq, sha256};
use aims_jose::{
    ClaimError, Jws, JwsLimits, ParseJwsError, SigningHeader, Thumbprint, VerifyError, sign, typ,
};
use aims_json::{Object, Value};
use aims_types::Timestamp;

use crate::life;
use crate::replay::{ReplayError, UseOnce};
use crate::uri::{HttpUri, HttpUriError};

/// How old a proof may be (RFC 9449 §11.1: "on the order of seconds or minutes").
pub const PROOF_WINDOW: Duration = Duration::from_mins(1);
/// How far the clocks of client and server may be apart (RFC 9449 §11.1).
pub const PROOF_SKEW: Duration = Duration::from_secs(30);

/// A proof to be made, for one request. Holds a token, hence no `Debug`.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    /// The method, as in the request line.
    pub htm: &'a str,
    /// The URI of the request.
    pub htu: &'a HttpUri,
    /// Now.
    pub iat: Timestamp,
    /// An identifier that was never used before: 96 random bits or more (RFC 9449 §4.2).
    pub jti: &'a str,
    /// The access token that goes with the request.
    pub access_token: Option<&'a str>,
}

/// What a proof must be for. Holds a token, hence no `Debug`.
#[derive(Clone, Copy)]
pub struct Expect<'a> {
    /// The method of the request.
    pub htm: &'a str,
    /// The URI of the request by our configuration, never by its `Host` header.
    pub htu: &'a HttpUri,
    /// Now.
    pub now: Timestamp,
    /// The access token in the request, if there is one.
    pub access_token: Option<&'a str>,
    /// The key that the access token or grant is bound to, if it is.
    pub jkt: Option<Thumbprint>,
    /// How old the proof may be; [`PROOF_WINDOW`] unless there is a reason.
    pub window: Duration,
}

/// A proof that was checked, but for replay: that is [`VerifiedProof::use_once`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedProof {
    jkt: Thumbprint,
    key: PublicKey,
    jti: String,
    iat: Timestamp,
    replayable_until: Timestamp,
}

/// Why a proof is refused; every arm is one of the checks of RFC 9449 §4.3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DpopError {
    /// Check 2: not a well-formed JWT. Also check 5 (algorithm) and check 7 (private key).
    #[error("the proof is not a JWT: {0}")]
    Malformed(#[from] ParseJwsError),
    /// Check 3: a required claim is missing or malformed.
    #[error("the proof: {0}")]
    Claim(#[from] ClaimError),
    /// Checks 4, 5 and 6: `typ`, `alg`, signature by the key in `jwk`.
    #[error("the proof: {0}")]
    Signature(#[from] VerifyError),
    /// Check 8: made for another method.
    #[error("the proof is for another method")]
    Method,
    /// Check 9: not a URI without query and fragment.
    #[error("the claim `htu`: {0}")]
    UriForm(#[from] HttpUriError),
    /// Check 9: made for another URI.
    #[error("the proof is for another URI")]
    Uri,
    /// Check 11: too old.
    #[error("the proof is too old; make a new one for each request")]
    TooOld,
    /// Check 11: from the future.
    #[error("the proof is from the future; check the clocks")]
    FromFuture,
    /// Check 12: made for another access token, or for none.
    #[error("the proof is not for this access token")]
    AccessToken,
    /// Check 12: made with another key than the access token is bound to.
    #[error("the proof is by another key than the one the token is bound to")]
    Key,
}

/// Why a proof was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreateProofError {
    /// The identifier is empty, too long, or not visible ASCII.
    #[error("`jti` must be 1 to {} visible ASCII characters", life::JTI_LEN_MAX)]
    CallerJti,
    /// The key could not sign.
    #[error(transparent)]
    InternalSign(#[from] SignError),
}

impl Proof<'_> {
    /// Makes the proof: the value of the header `DPoP` (RFC 9449 §4.2).
    pub fn create(&self, signer: &dyn Signer) -> Result<String, CreateProofError> {
        if !life::is_jti(self.jti) {
            return Err(CreateProofError::CallerJti);
        }
        let mut claims = Object::new()
            .with("jti", self.jti)
            .with("htm", self.htm)
            .with("htu", self.htu.as_str())
            .with("iat", self.iat.unix_secs());
        if let Some(token) = self.access_token {
            claims = claims.with("ath", ath(token));
        }
        let header = SigningHeader::new(typ::DPOP).embed_key();
        Ok(sign(
            &header,
            Value::from(claims).to_string().as_bytes(),
            signer,
        )?)
    }

    /// Checks a proof as RFC 9449 §4.3 says, except that there is exactly one `DPoP` header
    /// (check 1), which only who sees the request can say, and the `nonce` (check 10), which is
    /// asked for on the network alone, by [`crate::Nonces`].
    pub fn verify(text: &str, expect: &Expect<'_>) -> Result<VerifiedProof, DpopError> {
        let (claims, key) = Jws::parse(text, &JwsLimits::PROOF)?.verify_embedded(typ::DPOP)?;
        let jti = life::jti(&claims)?.to_owned();
        if claims.text("htm")? != expect.htm {
            return Err(DpopError::Method);
        }
        if HttpUri::parse(claims.text("htu")?)? != *expect.htu {
            return Err(DpopError::Uri);
        }
        let iat = claims.time("iat")?;
        let replayable_until = iat.plus(expect.window).plus(PROOF_SKEW);
        if expect.now >= replayable_until {
            return Err(DpopError::TooOld);
        }
        if iat > expect.now.plus(PROOF_SKEW) {
            return Err(DpopError::FromFuture);
        }
        if let Some(token) = expect.access_token {
            let found = claims.optional_text("ath")?.unwrap_or_default();
            if !constant_time_eq(found.as_bytes(), ath(token).as_bytes()) {
                return Err(DpopError::AccessToken);
            }
        }
        let jkt = Thumbprint::of(&key);
        if expect.jkt.is_some_and(|bound| bound != jkt) {
            return Err(DpopError::Key);
        }
        Ok(VerifiedProof {
            jkt,
            key,
            jti,
            iat,
            replayable_until,
        })
    }
}

impl VerifiedProof {
    /// The thumbprint of the key.
    pub const fn jkt(&self) -> Thumbprint {
        self.jkt
    }

    /// The key.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The identifier.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// When it was made.
    pub const fn iat(&self) -> Timestamp {
        self.iat
    }

    /// The instant from which the proof would be refused as too old: how long a replay cache
    /// must remember it.
    pub const fn replayable_until(&self) -> Timestamp {
        self.replayable_until
    }

    /// Takes note of the proof, or refuses it because it was used (RFC 9449 §11.1).
    pub fn use_once(&self, cache: &dyn UseOnce, now: Timestamp) -> Result<(), ReplayError> {
        cache.use_once(&self.jkt.to_string(), &self.jti, self.replayable_until, now)
    }
}

/// The hash of an access token that a proof carries (RFC 9449 §4.2).
pub fn ath(access_token: &str) -> String {
    base64url::encode(sha256(access_token.as_bytes()).as_bytes())
}

#[cfg(test)]
mod tests;
