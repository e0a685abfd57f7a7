//! HKDF with SHA-256 (RFC 5869).

use aims_types::Secret;
use zeroize::Zeroizing;

use crate::hmac_sha256;

/// Counter of the first block of the expansion (RFC 5869 §2.3).
const FIRST_BLOCK: u8 = 1;

/// Derives the 32-byte key for `info` from `secret` (RFC 5869 §2).
///
/// Keys of different `info` are independent: learning one says nothing of another. 32 bytes are
/// exactly one block of the expansion, so it is one HMAC after the extraction and cannot fail.
pub fn hkdf_sha256(salt: &[u8], secret: &[u8], info: &[u8]) -> Secret<[u8; 32]> {
    let prk = Zeroizing::new(hmac_sha256(salt, secret));
    Secret::new(hmac_sha256(prk.as_ref(), &[info, &[FIRST_BLOCK]].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(salt: &[u8], secret: &[u8], info: &[u8], first_block: &str) {
        let key = hkdf_sha256(salt, secret, info);
        assert_eq!(
            aims_types::Digest::from_bytes(*key.expose()).to_hex(),
            first_block
        );
    }

    #[test]
    fn the_first_block_meets_rfc_5869_a_1_and_a_3() {
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        check(
            &salt,
            &[0x0b; 22],
            &info,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
        );
        check(
            &[],
            &[0x0b; 22],
            &[],
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d",
        );
    }
}
