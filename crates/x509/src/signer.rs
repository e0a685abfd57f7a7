//! Signing certificates with a key that may live anywhere.

use aims_crypto::{Alg, PublicKey, Signature, Signer};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};

use crate::der::{INTEGER, SEQUENCE, element};

/// Octets of one of the two integers of a signature on P-256.
const SCALAR_LEN: usize = 32;

/// An ES256 public key as the certificate writer takes it.
pub(crate) struct Subject<'a>(&'a PublicKey);

/// An ES256 signer as the certificate writer takes it.
pub(crate) struct Es256<'a>(&'a dyn Signer);

impl<'a> Subject<'a> {
    /// The key, if it is an ES256 key.
    pub(crate) fn new(key: &'a PublicKey) -> Option<Self> {
        (key.alg() == Alg::Es256).then_some(Self(key))
    }
}

impl<'a> Es256<'a> {
    /// The signer, if its key is an ES256 key.
    pub(crate) fn new(signer: &'a dyn Signer) -> Option<Self> {
        (signer.public().alg() == Alg::Es256).then_some(Self(signer))
    }
}

impl PublicKeyData for Subject<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl PublicKeyData for Es256<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public().as_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Es256<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(message);
        signature
            .map(|signature| signature_to_der(&signature))
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// The form that certificates and TLS give an ES256 signature: `SEQUENCE { r, s }`
/// (RFC 3279 §2.2.3, RFC 8446 §4.2.3).
pub fn signature_to_der(signature: &Signature) -> Vec<u8> {
    let (r, s) = signature.as_bytes().split_at(SCALAR_LEN);
    let content = [integer(r), integer(s)].concat();
    element(SEQUENCE, &content)
}

/// The shortest DER integer of an unsigned big-endian number (X.690 §8.3).
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = number.get(zeros..).unwrap_or_default();
    let mut content = Vec::with_capacity(1 + SCALAR_LEN);
    if digits.first().is_none_or(|first| *first >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(digits);
    element(INTEGER, &content)
}

#[cfg(test)]
mod tests {
    use aims_crypto::SigningKey as Key;
    use proptest::prelude::*;
    use webpki::aws_lc_rs::ECDSA_P256_SHA256;

    use super::*;

    #[test]
    fn integers_are_written_in_the_shortest_form() {
        let signature = |r: [u8; 32], s: [u8; 32]| {
            let bytes = [r, s].concat();
            signature_to_der(&Signature::try_from(bytes.as_slice()).unwrap())
        };
        let (mut one, mut high) = ([0; 32], [0; 32]);
        one[31] = 1;
        high[31] = 0x80;
        assert_eq!(signature(one, high), [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80]);
        assert_eq!(signature([0; 32], one), [0x30, 6, 2, 1, 0, 2, 1, 1]);
        let longest = signature([0xff; 32], [0xff; 32]);
        assert_eq!(longest.len(), 2 + 70);
        assert_eq!(longest[1], 70);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn another_library_verifies_the_der_form(message: Vec<u8>) {
            let key = Key::generate(Alg::Es256).unwrap();
            let signature = signature_to_der(&key.sign(&message).unwrap());
            let public = key.public().as_bytes();
            prop_assert!(ECDSA_P256_SHA256.verify_signature(public, &message, &signature).is_ok());
        }
    }
}
