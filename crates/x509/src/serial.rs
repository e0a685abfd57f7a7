//! Serial numbers of certificates.

use std::fmt;

use aims_types::{Entropy, EntropyError};

/// Longest serial number in octets (RFC 5280 §4.1.2.2).
pub const SERIAL_LEN_MAX: usize = 20;
/// Octets of a serial number that we make: 126 random bits.
const RANDOM_LEN: usize = 16;

/// The serial number of a certificate: a positive integer of at most 20 octets
/// (RFC 5280 §4.1.2.2).
///
/// Text form: lower-case hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// A new serial number, 126 bits of which are random.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = [0; RANDOM_LEN];
        entropy.fill(&mut bytes)?;
        Ok(Self::from_random(bytes))
    }

    /// The serial number made of these random octets: its first bit is cleared, so that it is
    /// positive, and its second set, so that it always has 16 octets.
    pub fn from_random(mut bytes: [u8; RANDOM_LEN]) -> Self {
        let [first, ..] = &mut bytes;
        *first = (*first & 0x7f) | 0x40;
        Self(bytes.to_vec())
    }

    /// The serial number with these content octets of a DER integer, if it is positive, written in
    /// the shortest form, and not too long.
    pub(crate) fn from_der(content: &[u8]) -> Option<Self> {
        let shortest = match content {
            [] | [0] => false,
            [0, second, ..] => *second >= 0x80,
            [first, ..] => *first < 0x80,
        };
        (shortest && content.len() <= SERIAL_LEN_MAX).then(|| Self(content.to_vec()))
    }

    /// The octets, most significant first.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_serial_is_positive_and_has_sixteen_octets() {
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            let serial = Serial::from_random([byte; RANDOM_LEN]);
            assert_eq!(
                Serial::from_der(serial.as_bytes()),
                Some(serial.clone()),
                "{serial}"
            );
            assert_eq!(serial.as_bytes().len(), RANDOM_LEN);
        }
    }

    #[test]
    fn octets_that_are_no_serial_are_refused() {
        for bad in [&[][..], &[0], &[0, 1], &[0x80], &[1; SERIAL_LEN_MAX + 1]] {
            assert_eq!(Serial::from_der(bad), None, "{bad:?}");
        }
        for good in [&[1][..], &[0, 0x80], &[0x7f; SERIAL_LEN_MAX]] {
            assert!(Serial::from_der(good).is_some(), "{good:?}");
        }
    }
}
