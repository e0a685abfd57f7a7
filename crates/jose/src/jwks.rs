//! Sets of keys.

use aims_crypto::PublicKey;
use aims_json::{Limits, Object, ParseError, Value, parse};

use crate::{Jwk, ParseJwkError};

/// Most keys in a set.
pub const JWKS_KEYS_MAX: usize = 64;

/// Where keys are looked up by their id. Keys come from configuration, never from a token.
pub trait KeySource {
    /// The key with this `kid`.
    fn key(&self, kid: &str) -> Option<PublicKey>;
}

/// A JWK Set (RFC 7517 §5) of public keys with unique ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jwks {
    keys: Vec<Jwk>,
}

/// Why a text is not a set of public keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseJwksError {
    /// Not acceptable JSON.
    #[error(transparent)]
    Json(#[from] ParseError),
    /// RFC 7517 §5.1: an object with an array `keys`.
    #[error("a key set is an object with an array `keys`")]
    Form,
    /// More than [`JWKS_KEYS_MAX`] keys.
    #[error("a key set has at most {JWKS_KEYS_MAX} keys")]
    TooMany,
    /// A key is malformed.
    #[error("key {index}: {why}")]
    Key {
        /// Its place in the set.
        index: usize,
        /// What is wrong with it.
        why: ParseJwkError,
    },
    /// Two keys share an id, so that a `kid` does not name one (RFC 7517 §4.5).
    #[error("two keys have the id `{0}`")]
    DuplicateKid(String),
}

impl Jwks {
    /// The set of these keys.
    pub fn new(keys: Vec<Jwk>) -> Result<Self, ParseJwksError> {
        if keys.len() > JWKS_KEYS_MAX {
            return Err(ParseJwksError::TooMany);
        }
        let mut ids: Vec<&str> = keys.iter().filter_map(Jwk::kid).collect();
        ids.sort_unstable();
        if let Some([twice, _]) = ids.array_windows().find(|[a, b]| a == b) {
            return Err(ParseJwksError::DuplicateKid((*twice).to_owned()));
        }
        Ok(Self { keys })
    }

    /// Reads a set. Keys of kinds that we do not use are left out (RFC 7517 §5); a private key
    /// or a malformed one makes the whole set unacceptable.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, ParseJwksError> {
        let document = parse(bytes, limits)?;
        let entries = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(ParseJwksError::Form)?;
        if entries.len() > JWKS_KEYS_MAX {
            return Err(ParseJwksError::TooMany);
        }
        let mut keys = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            match Jwk::parse(entry) {
                Ok(key) => keys.push(key),
                Err(ParseJwkError::Unsupported) => {}
                Err(why) => return Err(ParseJwksError::Key { index, why }),
            }
        }
        Self::new(keys)
    }

    /// The keys.
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// The key with this id.
    pub fn find(&self, kid: &str) -> Option<&Jwk> {
        self.keys.iter().find(|key| key.kid() == Some(kid))
    }

    /// The JSON form.
    pub fn to_value(&self) -> Value {
        let keys: Vec<Value> = self.keys.iter().map(Jwk::to_value).collect();
        Object::new().with("keys", keys).into()
    }
}

impl KeySource for Jwks {
    fn key(&self, kid: &str) -> Option<PublicKey> {
        self.find(kid).map(|jwk| *jwk.key())
    }
}

#[cfg(test)]
mod tests {
    use aims_crypto::{Alg, Signer, SigningKey};

    use super::*;

    fn jwk(kid: &str) -> Jwk {
        Jwk::new(*SigningKey::generate(Alg::Es256).unwrap().public()).with_kid(kid)
    }

    #[test]
    fn sets_round_trip_and_find_by_id() {
        let set = Jwks::new(vec![jwk("a"), jwk("b")]).unwrap();
        let text = set.to_value().to_string();
        assert_eq!(
            Jwks::parse(text.as_bytes(), &Limits::TOKEN),
            Ok(set.clone())
        );
        assert_eq!(set.key("b").as_ref(), Some(set.keys()[1].key()));
        assert_eq!(set.key("c"), None);
    }

    #[test]
    fn keys_of_other_kinds_are_left_out() {
        let text = r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"r"}]}"#;
        let set = Jwks::parse(text.as_bytes(), &Limits::TOKEN).unwrap();
        assert!(set.keys().is_empty());
    }

    #[test]
    fn texts_that_are_no_set_are_refused() {
        use ParseJwksError::{DuplicateKid, Form, Key};
        let twice = Value::from(vec![jwk("a").to_value(), jwk("a").to_value()]);
        let private = r#"{"keys":[{"kty":"oct","k":"AA"}]}"#.to_owned();
        let why = ParseJwkError::PrivateMember("k");
        for (text, error) in [
            ("[]".to_owned(), Form),
            (r#"{"keys":{}}"#.to_owned(), Form),
            (
                format!(r#"{{"keys":{twice}}}"#),
                DuplicateKid("a".to_owned()),
            ),
            (private, Key { index: 0, why }),
        ] {
            assert_eq!(
                Jwks::parse(text.as_bytes(), &Limits::TOKEN),
                Err(error),
                "{text}"
            );
        }
        let many = format!(r#"{{"keys":[{}0]}}"#, "0,".repeat(JWKS_KEYS_MAX));
        let parsed = Jwks::parse(many.as_bytes(), &Limits::TOKEN);
        assert_eq!(parsed, Err(ParseJwksError::TooMany));
    }
}
