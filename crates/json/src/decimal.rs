//! Exact decimals: what a policy compares when an argument is a number.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::number::Parts;

/// Most digits behind the point.
pub const DECIMAL_SCALE_MAX: u32 = 28;

/// An exact decimal: an `i128` times a negative power of ten.
///
/// Kept without trailing zeros behind the point, so that equal values are equal: `1.50` = `1.5`
/// = `15e-1`. Nothing is ever rounded; what does not fit is no `Decimal`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i128,
    scale: u32,
}

/// The text is no number, or one that would have to be rounded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an exact decimal: digits, with at most {DECIMAL_SCALE_MAX} of them behind the \
     point and 38 in all"
)]
pub struct DecimalParseError {
    text: String,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self {
        mantissa: 0,
        scale: 0,
    };

    /// `mantissa` times ten to the power of minus `scale`; `None` if the scale is too large.
    pub const fn new(mantissa: i128, scale: u32) -> Option<Self> {
        let (mut mantissa, mut scale) = (mantissa, scale);
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
            if mantissa == 0 {
                return Some(Self::ZERO);
            }
        }
        if scale > DECIMAL_SCALE_MAX {
            None
        } else {
            Some(Self { mantissa, scale })
        }
    }

    /// The number without its point.
    pub const fn mantissa(self) -> i128 {
        self.mantissa
    }

    /// How many digits stand behind the point; 0 for a whole number.
    pub const fn scale(self) -> u32 {
        self.scale
    }

    /// The sum, or `None` where it does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let sum = self
            .mantissa_at(scale)?
            .checked_add(other.mantissa_at(scale)?)?;
        Self::new(sum, scale)
    }

    /// The difference, or `None` where it does not fit.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        let negated = Self {
            mantissa: other.mantissa.checked_neg()?,
            scale: other.scale,
        };
        self.checked_add(negated)
    }

    /// The value of a number's text (RFC 8259 §6), exactly, or `None`.
    pub(crate) fn from_number_text(text: &str) -> Option<Self> {
        let parts = Parts::of(text)?;
        let digits = format!("{}{}", parts.whole, parts.fraction);
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            return Some(Self::ZERO);
        }
        let trailing = digits.len() - digits.trim_end_matches('0').len();
        let exponent = parts.exponent.map_or(Some(0), |e| e.parse::<i64>().ok())?;
        let power = exponent
            .checked_sub(i64::try_from(parts.fraction.len()).ok()?)?
            .checked_add(i64::try_from(trailing).ok()?)?;
        let magnitude: i128 = significant.parse().ok()?;
        let signed = if parts.negative {
            -magnitude
        } else {
            magnitude
        };
        if power >= 0 {
            let factor = 10_i128.checked_pow(u32::try_from(power).ok()?)?;
            Self::new(signed.checked_mul(factor)?, 0)
        } else {
            Self::new(signed, u32::try_from(power.checked_neg()?).ok()?)
        }
    }

    fn mantissa_at(self, scale: u32) -> Option<i128> {
        let factor = 10_i128.checked_pow(scale.checked_sub(self.scale)?)?;
        self.mantissa.checked_mul(factor)
    }

    /// Whole part rounded down, and the rest in units of ten to the minus `DECIMAL_SCALE_MAX`.
    const fn split(self) -> (i128, i128) {
        // INVARIANT: scale <= DECIMAL_SCALE_MAX = 28, so both powers and the product of the rest,
        // which is below 10^scale, stay below 10^28.
        let unit = 10_i128.pow(self.scale);
        let rest = self.mantissa.rem_euclid(unit) * 10_i128.pow(DECIMAL_SCALE_MAX - self.scale);
        (self.mantissa.div_euclid(unit), rest)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.split().cmp(&other.split())
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self {
            mantissa: i128::from(value),
            scale: 0,
        }
    }
}

impl From<u64> for Decimal {
    fn from(value: u64) -> Self {
        Self {
            mantissa: i128::from(value),
            scale: 0,
        }
    }
}

impl FromStr for Decimal {
    type Err = DecimalParseError;

    /// Reads the text of a JSON number, exponent allowed.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_number_text(text).ok_or_else(|| DecimalParseError {
            text: text.chars().take(64).collect(),
        })
    }
}

/// The one canonical text: no exponent, no superfluous zero, no `-0`. It is also a JSON number.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let unit = 10_u128.pow(self.scale);
        let magnitude = self.mantissa.unsigned_abs();
        let whole = magnitude / unit;
        if self.scale == 0 {
            return write!(f, "{sign}{whole}");
        }
        let width = usize::try_from(self.scale).unwrap_or(0);
        write!(f, "{sign}{whole}.{:0width$}", magnitude % unit)
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
