//! Writing the few elements of DER that are written here.

/// Tags (X.690 §8).
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// The `AlgorithmIdentifier` of `ecdsa-with-SHA256` (RFC 5758 §3.2).
const ECDSA_WITH_SHA256: [u8; 12] = [
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
];
/// Contents shorter than this have a length of one octet (X.690 §8.1.3.4).
const LONG_FORM: usize = 0x80;

/// An element, its length in the shortest form (X.690 §10.1).
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|octet| **octet == 0).count();
    let octets = length.get(zeros..).unwrap_or_default();
    let mut element = vec![tag];
    if content.len() >= LONG_FORM {
        // INVARIANT: a length has at most eight octets.
        element.push(0x80 | u8::try_from(octets.len()).unwrap_or(0));
    }
    element.extend_from_slice(if octets.is_empty() { &[0] } else { octets });
    element.extend_from_slice(content);
    element
}

/// What is signed, the algorithm, and the signature, as certificates and requests end alike
/// (RFC 5280 §4.1.1, RFC 2986 §4.2).
pub(crate) fn signed_with_es256(signed: &[u8], signature: &[u8]) -> Vec<u8> {
    let signature = element(BIT_STRING, &[&[0], signature].concat());
    element(SEQUENCE, &[signed, &ECDSA_WITH_SHA256, &signature].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_their_shortest_form() {
        for (len, head) in [
            (0, &[4, 0][..]),
            (127, &[4, 127]),
            (128, &[4, 0x81, 128]),
            (255, &[4, 0x81, 255]),
            (256, &[4, 0x82, 1, 0]),
            (65_536, &[4, 0x83, 1, 0, 0]),
        ] {
            let element = element(4, &vec![7; len]);
            assert_eq!(element.len(), head.len() + len);
            assert_eq!(&element[..head.len()], head);
        }
    }
}
