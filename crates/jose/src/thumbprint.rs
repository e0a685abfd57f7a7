//! JWK thumbprints.

use std::fmt;
use std::str::FromStr;

use aims_crypto::{Alg, PublicKey, base64url, sha256};

/// The SHA-256 thumbprint of a public key (RFC 7638 §3), the value of `jkt`.
///
/// Text form: base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thumbprint([u8; 32]);

/// The text is not a thumbprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a thumbprint is 43 characters of base64url")]
pub struct ParseThumbprintError;

impl Thumbprint {
    /// The thumbprint of `key`: the digest of its required members in lexical order, without
    /// white space (RFC 7638 §3.2, RFC 8037 §2).
    pub fn of(key: &PublicKey) -> Self {
        let json = match (key.alg(), coordinates(key)) {
            (Alg::Es256, (x, y)) => {
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            (Alg::Ed25519, (x, _)) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
        };
        Self(*sha256(json.as_bytes()).as_bytes())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The members `x` and `y` of a key's JWK; `y` is empty for Ed25519.
pub(crate) fn coordinates(key: &PublicKey) -> (String, String) {
    let raw = key.as_bytes();
    match key.alg() {
        Alg::Es256 => {
            // The first byte of the point says that it is not compressed.
            let (x, y) = raw.get(1..).unwrap_or_default().split_at(32);
            (base64url::encode(x), base64url::encode(y))
        }
        Alg::Ed25519 => (base64url::encode(raw), String::new()),
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Thumbprint {
    type Err = ParseThumbprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        base64url::decode_array(text)
            .map(Self)
            .map_err(|_| ParseThumbprintError)
    }
}

#[cfg(test)]
mod tests {
    use aims_json::{Limits, parse};

    use super::*;
    use crate::Jwk;

    fn check(jwk: &str, thumbprint: &str) {
        let jwk = Jwk::parse(&parse(jwk.as_bytes(), &Limits::TOKEN).unwrap()).unwrap();
        assert_eq!(jwk.thumbprint().to_string(), thumbprint);
        assert_eq!(thumbprint.parse(), Ok(jwk.thumbprint()));
    }

    #[test]
    fn thumbprint_meets_rfc_8037_a_3() {
        check(
            r#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        );
    }

    #[test]
    fn thumbprint_meets_rfc_9449_6_1() {
        check(
            concat!(
                r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","#,
                r#""y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#,
            ),
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
        );
    }

    #[test]
    fn texts_that_are_no_thumbprint_are_refused() {
        let good = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        for bad in [
            "",
            good.trim_start_matches('0'),
            &good.replace("A4I", "A4J"),
            &format!("{good}="),
        ] {
            assert_eq!(
                bad.parse::<Thumbprint>(),
                Err(ParseThumbprintError),
                "{bad}"
            );
        }
    }
}
