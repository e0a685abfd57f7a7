//! HMAC-SHA256 and comparison in constant time.

use aws_lc_rs::{constant_time, hmac};

/// The HMAC-SHA256 tag of `message` under `key` (RFC 2104).
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut bytes = [0; 32];
    for (slot, byte) in bytes.iter_mut().zip(tag.as_ref()) {
        *slot = *byte;
    }
    bytes
}

/// Whether two byte strings are equal; time depends on their lengths only.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_meets_rfc_4231_case_2() {
        let tag = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        let expected = "sha256:5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(aims_types::Digest::from_bytes(tag).to_string(), expected);
    }

    #[test]
    fn only_equal_bytes_compare_equal() {
        assert!(constant_time_eq(b"", b""));
        assert!(constant_time_eq(b"ab", b"ab"));
        for other in [&b"ac"[..], b"a", b"abc", b""] {
            assert!(!constant_time_eq(b"ab", other));
        }
    }
}
