//! JSON Web Keys: the public ones.

use aims_crypto::{Alg, PublicKey, base64url};
use aims_json::{Object, Value};

use crate::header::{KID_LEN_MAX, is_kid};
use crate::thumbprint::coordinates;
use crate::{JwsAlg, Thumbprint};

/// Members that only private and symmetric keys have (RFC 7518 §6.2.2, §6.3.2, §6.4;
/// RFC 8037 §2).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// First byte of an uncompressed point (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

/// A public key in the form of RFC 7517, with the two members that say how to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    key: PublicKey,
    kid: Option<String>,
    alg: Option<JwsAlg>,
}

/// Why a value is not a public key that we use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseJwkError {
    /// RFC 7517 §4: a JWK is an object.
    #[error("a key is an object")]
    NotObject,
    /// A private or symmetric key was sent where a public one belongs (RFC 9449 §4.3, check 7).
    #[error("the key has the private member `{0}`; replace the key, it is no longer secret")]
    PrivateMember(&'static str),
    /// RFC 7517 §4.1: a kind of key that we do not use.
    #[error("the key is neither `EC` on `P-256` nor `OKP` on `Ed25519`")]
    Unsupported,
    /// A member is missing or has the wrong type.
    #[error("the member `{0}` is missing or malformed")]
    Member(&'static str),
    /// RFC 7517 §4.4: `alg` names an algorithm that the key is not for.
    #[error("the member `alg` does not fit the key")]
    Alg,
    /// RFC 7517 §4.2: a key for encryption verifies nothing.
    #[error("the key is for encryption (`use` is `enc`)")]
    Use,
    /// The point is not on the curve.
    #[error("the members `x` and `y` are not a point of the curve")]
    Point,
}

impl Jwk {
    /// The key without `kid` and `alg`.
    pub const fn new(key: PublicKey) -> Self {
        Self {
            key,
            kid: None,
            alg: None,
        }
    }

    /// With this `kid` (RFC 7517 §4.5).
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// With the `alg` that we write for this key (RFC 7517 §4.4).
    #[must_use]
    pub fn with_alg(mut self) -> Self {
        self.alg = Some(self.key.alg().into());
        self
    }

    /// Reads a public key. Unknown members are ignored (RFC 7517 §4).
    pub fn parse(value: &Value) -> Result<Self, ParseJwkError> {
        let object = value.as_object().ok_or(ParseJwkError::NotObject)?;
        if let Some(member) = PRIVATE_MEMBERS
            .into_iter()
            .find(|name| object.contains(name))
        {
            return Err(ParseJwkError::PrivateMember(member));
        }
        let key = match (text(object, "kty")?, text(object, "crv")) {
            ("EC", Ok("P-256")) => {
                let (x, y) = (coordinate(object, "x")?, coordinate(object, "y")?);
                PublicKey::from_bytes(Alg::Es256, &[&[UNCOMPRESSED][..], &x, &y].concat())
            }
            ("OKP", Ok("Ed25519")) => {
                PublicKey::from_bytes(Alg::Ed25519, &coordinate(object, "x")?)
            }
            _ => return Err(ParseJwkError::Unsupported),
        };
        let key = key.map_err(|_| ParseJwkError::Point)?;
        if object
            .get("use")
            .is_some_and(|value| value.as_str() == Some("enc"))
        {
            return Err(ParseJwkError::Use);
        }
        Ok(Self {
            key,
            kid: kid(object)?,
            alg: alg(object, &key)?,
        })
    }

    /// The key.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Its id, if it has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one name of an algorithm it may be used under, if it says so.
    pub const fn alg(&self) -> Option<JwsAlg> {
        self.alg
    }

    /// Its thumbprint (RFC 7638).
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint::of(&self.key)
    }

    /// The JSON form.
    pub fn to_value(&self) -> Value {
        let (x, y) = coordinates(&self.key);
        let object = match self.key.alg() {
            Alg::Es256 => Object::new()
                .with("kty", "EC")
                .with("crv", "P-256")
                .with("x", x)
                .with("y", y),
            Alg::Ed25519 => Object::new()
                .with("kty", "OKP")
                .with("crv", "Ed25519")
                .with("x", x),
        };
        let object = match self.alg {
            Some(alg) => object.with("alg", alg.name()),
            None => object,
        };
        Value::from(match &self.kid {
            Some(kid) => object.with("kid", kid.as_str()),
            None => object,
        })
    }
}

fn text<'a>(object: &'a Object, name: &'static str) -> Result<&'a str, ParseJwkError> {
    object
        .get(name)
        .and_then(Value::as_str)
        .ok_or(ParseJwkError::Member(name))
}

/// A coordinate of exactly 32 bytes (RFC 7518 §6.2.1.2, RFC 8037 §2).
fn coordinate(object: &Object, name: &'static str) -> Result<[u8; 32], ParseJwkError> {
    base64url::decode_array(text(object, name)?).map_err(|_| ParseJwkError::Member(name))
}

fn kid(object: &Object) -> Result<Option<String>, ParseJwkError> {
    let Some(value) = object.get("kid") else {
        return Ok(None);
    };
    match value.as_str() {
        Some(kid) if is_kid(kid) => Ok(Some(kid.to_owned())),
        _ => Err(ParseJwkError::Member("kid")),
    }
}

fn alg(object: &Object, key: &PublicKey) -> Result<Option<JwsAlg>, ParseJwkError> {
    let Some(value) = object.get("alg") else {
        return Ok(None);
    };
    let alg: JwsAlg = value
        .as_str()
        .and_then(|name| name.parse().ok())
        .ok_or(ParseJwkError::Alg)?;
    if alg.key_alg() == key.alg() {
        Ok(Some(alg))
    } else {
        Err(ParseJwkError::Alg)
    }
}

const _: () = assert!(KID_LEN_MAX > 43, "a thumbprint fits as `kid`");

#[cfg(test)]
mod tests;
