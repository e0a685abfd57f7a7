//! Making a JWS.

use aims_crypto::{SignError, Signer, base64url};
use aims_json::{Object, Value};

use crate::{Jwk, JwsAlg};

/// The header of a JWS to be signed; `alg` follows from the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningHeader {
    typ: &'static str,
    kid: Option<String>,
    embed_key: bool,
}

impl SigningHeader {
    /// A header with this `typ`, one of [`crate::typ`].
    pub const fn new(typ: &'static str) -> Self {
        Self {
            typ,
            kid: None,
            embed_key: false,
        }
    }

    /// Names the key.
    #[must_use]
    pub fn kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// Embeds the public key as `jwk`, as DPoP proofs do (RFC 9449 §4.2).
    #[must_use]
    pub const fn embed_key(mut self) -> Self {
        self.embed_key = true;
        self
    }
}

/// Signs `claims`, the bytes of a JSON object, and gives the compact form (RFC 7515 §3.1).
pub fn sign(
    header: &SigningHeader,
    claims: &[u8],
    signer: &dyn Signer,
) -> Result<String, SignError> {
    let alg = JwsAlg::from(signer.public().alg());
    let mut object = Object::new()
        .with("typ", header.typ)
        .with("alg", alg.name());
    if let Some(kid) = &header.kid {
        object = object.with("kid", kid.as_str());
    }
    if header.embed_key {
        object = object.with("jwk", Jwk::new(*signer.public()).to_value());
    }
    let header = base64url::encode(Value::from(object).to_string().as_bytes());
    let mut text = format!("{header}.{}", base64url::encode(claims));
    let signature = signer.sign(text.as_bytes())?;
    text.push('.');
    text.push_str(&base64url::encode(signature.as_bytes()));
    Ok(text)
}
