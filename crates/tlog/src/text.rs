//! The one spelling of numbers and hashes in the C2SP text forms.

use aims_types::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Reads an ASCII decimal without sign or leading zeroes.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = match text.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { text.parse().ok() } else { None }
}

/// Reads padded standard base64 in its one canonical spelling (RFC 4648 §4, §3.5).
pub(crate) fn parse_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Writes padded standard base64.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads the base64 of a hash.
pub(crate) fn parse_hash(text: &str) -> Option<Digest> {
    parse_base64(text)?.try_into().ok().map(Digest::from_bytes)
}

/// Writes a hash as base64.
pub(crate) fn hash_to_base64(hash: &Digest) -> String {
    to_base64(hash.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        for (text, value) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            ("-1", None),
            (" 1", None),
            ("1 ", None),
            ("１", None),
        ] {
            assert_eq!(parse_decimal(text), value, "{text:?}");
        }
    }

    #[test]
    fn hashes_have_one_spelling() {
        let text = hash_to_base64(&Digest::from_bytes([7; 32]));
        assert_eq!(parse_hash(&text), Some(Digest::from_bytes([7; 32])));
        let loose = format!("{}d=", text.strip_suffix("c=").unwrap());
        for bad in [
            "",
            text.trim_end_matches('='),
            &format!("{text}="),
            &format!(" {text}"),
            &loose,
        ] {
            assert_eq!(parse_hash(bad), None, "{bad}");
        }
    }
}
