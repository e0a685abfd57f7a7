//! The protected header of a JWS.

use aims_json::{Object, Value};

use crate::{Jwk, JwsAlg, ParseJwkError};

/// Longest `kid`.
pub const KID_LEN_MAX: usize = 128;
/// Longest `typ`.
const TYP_LEN_MAX: usize = 128;
/// Headers that would fetch or carry keys, or change what is signed (RFC 7515 §4.1.2 to §4.1.11,
/// RFC 7797 §3, RFC 7516 §4.1). Ignoring them would be as wrong as obeying them.
const REFUSED: [&str; 9] = [
    "crit", "jku", "x5u", "x5c", "x5t", "x5t#S256", "b64", "zip", "enc",
];

/// The members that are read.
const READ: [&str; 4] = ["alg", "typ", "kid", "jwk"];

/// What the header says; nothing of it is true before the signature is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The algorithm's name.
    pub alg: JwsAlg,
    /// The kind of token (RFC 7515 §4.1.9).
    pub typ: Option<String>,
    /// The id of the key (RFC 7515 §4.1.4).
    pub kid: Option<String>,
    /// The key itself (RFC 7515 §4.1.3). Only [`crate::Jws::verify_embedded`] looks at it.
    pub jwk: Option<Jwk>,
    /// Whether it says anything else, which a JWT-SVID must not (SPIFFE JWT-SVID §2).
    pub others: bool,
}

/// Why a header is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// RFC 7515 §4: the header is an object.
    #[error("the header is not an object")]
    NotObject,
    /// The algorithm is missing or not accepted (RFC 7515 §4.1.1, RFC 8725 §3.1).
    #[error("`alg` is missing or none of `ES256`, `EdDSA`, `Ed25519`")]
    Alg,
    /// A header that must not be there.
    #[error("the header `{0}` is not accepted")]
    Refused(&'static str),
    /// A header with the wrong type or length.
    #[error("the header `{0}` is malformed")]
    Malformed(&'static str),
    /// The embedded key is not a public key of ours.
    #[error("the header `jwk`: {0}")]
    Jwk(#[from] ParseJwkError),
}

impl Header {
    /// Reads a header. Unknown members are ignored (RFC 7515 §4).
    pub(crate) fn parse(value: &Value) -> Result<Self, HeaderError> {
        let object = value.as_object().ok_or(HeaderError::NotObject)?;
        if let Some(name) = REFUSED.into_iter().find(|name| object.contains(name)) {
            return Err(HeaderError::Refused(name));
        }
        let alg = object
            .get("alg")
            .and_then(Value::as_str)
            .and_then(|name| name.parse().ok());
        Ok(Self {
            alg: alg.ok_or(HeaderError::Alg)?,
            typ: optional(object, "typ", |typ| (1..=TYP_LEN_MAX).contains(&typ.len()))?,
            kid: optional(object, "kid", is_kid)?,
            jwk: object.get("jwk").map(Jwk::parse).transpose()?,
            others: object.iter().any(|(name, _)| !READ.contains(&name)),
        })
    }
}

/// Whether a text may be the id of a key: 1 to [`KID_LEN_MAX`] visible ASCII characters or spaces.
pub(crate) fn is_kid(text: &str) -> bool {
    let printable = |b: u8| b == b' ' || b.is_ascii_graphic();
    (1..=KID_LEN_MAX).contains(&text.len()) && text.bytes().all(printable)
}

fn optional(
    object: &Object,
    name: &'static str,
    good: impl Fn(&str) -> bool,
) -> Result<Option<String>, HeaderError> {
    let Some(value) = object.get(name) else {
        return Ok(None);
    };
    match value.as_str() {
        Some(text) if good(text) => Ok(Some(text.to_owned())),
        _ => Err(HeaderError::Malformed(name)),
    }
}
