//! Base64url without padding (RFC 4648 §5), one spelling for each value.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The text is not the base64url spelling of any bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not base64url: only A-Z, a-z, 0-9, `-`, `_`, no padding, no stray trailing bits")]
pub struct Base64UrlError;

/// The base64url text of `bytes`, without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes that `text` spells.
///
/// Refuses padding, white space and non-zero trailing bits (RFC 4648 §3.5), so that a value has
/// exactly one text.
pub fn decode(text: &str) -> Result<Vec<u8>, Base64UrlError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Base64UrlError)
}

/// The `N` bytes that `text` spells.
pub fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], Base64UrlError> {
    decode(text)?.try_into().map_err(|_| Base64UrlError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_round_trip(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Ok(bytes));
        }

        #[test]
        fn a_value_has_one_text(text in "[A-Za-z0-9_=+/ -]{0,12}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for bad in [
            "QQ==", "QR", "Q", "QU J", "QUJ+", "QUJ/", "QUI=\n", "QUJDRB",
        ] {
            assert_eq!(decode(bad), Err(Base64UrlError), "{bad}");
        }
        assert_eq!(decode("QQ"), Ok(b"A".to_vec()));
        assert_eq!(decode_array::<2>("QQ"), Err(Base64UrlError));
    }
}
