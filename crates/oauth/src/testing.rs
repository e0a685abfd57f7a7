//! What the tests of this crate share.

use aims_crypto::{PublicKey, Signer, SigningKey, base64url};
use aims_jose::{Jwk, Jwks};
use aims_types::{Secret, Timestamp};

/// The instant at which the tests take place.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_secs(1_800_000_000);
/// The issuer in the tests.
pub(crate) const ISSUER: &str = "https://aims.example";
/// The resource in the tests.
pub(crate) const RESOURCE: &str = "https://gateway.example/mcp";

/// A key that is the same each time.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::ed25519_from_seed(&Secret::new([seed; 32])).unwrap()
}

/// Trusts one key under the id `k`.
pub(crate) fn trust(key: &PublicKey) -> Jwks {
    Jwks::new(vec![Jwk::new(*key).with_kid("k")]).unwrap()
}

/// Signs exactly this header and these claims.
pub(crate) fn forge(header: &str, claims: &str, key: &SigningKey) -> String {
    let input = [header, claims]
        .map(|part| base64url::encode(part.as_bytes()))
        .join(".");
    let signature = key.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(signature.as_bytes()))
}

/// The claims of a token, as text.
pub(crate) fn claims_of(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    String::from_utf8(base64url::decode(claims).unwrap()).unwrap()
}
