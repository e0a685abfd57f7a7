//! The time in which a certificate is valid.

use aims_types::Timestamp;
use x509_parser::time::ASN1Time;

/// The last second that a certificate can name: 9999-12-31T23:59:59Z (RFC 5280 §4.1.2.5).
const LAST_SECOND: u64 = 253_402_300_799;

/// From `not_before` through `not_after`, both included, in whole seconds (RFC 5280 §4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    not_before: u64,
    not_after: u64,
}

/// Why two instants are no validity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValidityError {
    /// The end lies before the start.
    #[error("a certificate ends after it starts")]
    Order,
    /// The instant has no form in a certificate.
    #[error("a certificate ends in the year 9999 at the latest")]
    TooLate,
}

impl Validity {
    /// From the second of `not_before` through the second of `not_after`.
    pub const fn new(not_before: Timestamp, not_after: Timestamp) -> Result<Self, ValidityError> {
        Self::from_secs(not_before.unix_secs(), not_after.unix_secs())
    }

    pub(crate) const fn from_secs(not_before: u64, not_after: u64) -> Result<Self, ValidityError> {
        if not_before > not_after {
            return Err(ValidityError::Order);
        }
        if not_after > LAST_SECOND {
            return Err(ValidityError::TooLate);
        }
        Ok(Self {
            not_before,
            not_after,
        })
    }

    /// The first second.
    pub const fn not_before(self) -> Timestamp {
        Timestamp::from_unix_secs(self.not_before)
    }

    /// The last second.
    pub const fn not_after(self) -> Timestamp {
        Timestamp::from_unix_secs(self.not_after)
    }

    /// Half of the life: when a renewal is due.
    pub const fn half_life(self) -> Timestamp {
        let half = (self.not_after - self.not_before) / 2;
        Timestamp::from_unix_secs(self.not_before + half)
    }

    /// Whether the second of `now` is within.
    pub const fn contains(self, now: Timestamp) -> bool {
        self.not_before <= now.unix_secs() && now.unix_secs() <= self.not_after
    }

    /// Whether it lies wholly within `other`.
    pub const fn is_within(self, other: Self) -> bool {
        other.not_before <= self.not_before && self.not_after <= other.not_after
    }

    /// Both ends in the form of a certificate.
    pub(crate) fn to_asn1(self) -> Option<(ASN1Time, ASN1Time)> {
        let time = |secs| ASN1Time::from_timestamp(i64::try_from(secs).ok()?).ok();
        Some((time(self.not_before)?, time(self.not_after)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_within() {
        let at = Timestamp::from_unix_millis;
        let validity = Validity::new(at(10_900), at(20_100)).unwrap();
        for (now, within) in [
            (9_999, false),
            (10_000, true),
            (20_999, true),
            (21_000, false),
        ] {
            assert_eq!(validity.contains(at(now)), within, "{now}");
        }
        assert_eq!(validity.half_life(), at(15_000));
    }

    #[test]
    fn instants_without_a_form_are_refused() {
        assert_eq!(Validity::from_secs(2, 1), Err(ValidityError::Order));
        let late = LAST_SECOND + 1;
        assert_eq!(Validity::from_secs(0, late), Err(ValidityError::TooLate));
        let last = Validity::from_secs(LAST_SECOND, LAST_SECOND).unwrap();
        assert!(last.to_asn1().is_some());
    }

    #[test]
    fn a_validity_is_within_itself_and_not_within_a_shorter_one() {
        let outer = Validity::from_secs(10, 20).unwrap();
        assert!(outer.is_within(outer));
        for (from, to) in [(9, 20), (10, 21)] {
            assert!(!Validity::from_secs(from, to).unwrap().is_within(outer));
        }
    }
}
