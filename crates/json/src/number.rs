//! Numbers by their text.

use std::fmt;

use crate::decimal::Decimal;
use crate::limits::NUMBER_LEN_MAX;

/// A number exactly as it was written.
///
/// Equality is equality of the text: `1.0` and `1` are different numbers here, because they are
/// different bytes to a digest. Compare values with [`Number::as_decimal`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Number(Box<str>);

/// The parts of a number's text (RFC 8259 §6).
pub(crate) struct Parts<'a> {
    pub(crate) negative: bool,
    pub(crate) whole: &'a str,
    pub(crate) fraction: &'a str,
    pub(crate) exponent: Option<&'a str>,
}

impl Number {
    /// The number with this value.
    pub fn from_i64(value: i64) -> Self {
        Self(value.to_string().into_boxed_str())
    }

    /// The number with this value.
    pub fn from_u64(value: u64) -> Self {
        Self(value.to_string().into_boxed_str())
    }

    /// The number with this value, in the decimal's canonical text.
    pub fn from_decimal(value: Decimal) -> Self {
        Self(value.to_string().into_boxed_str())
    }

    /// The value, if the text is a whole number without point and exponent that fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// The value, if the text is a whole number without point and exponent that fits.
    pub fn as_u64(&self) -> Option<u64> {
        if &*self.0 == "-0" {
            Some(0)
        } else {
            self.0.parse().ok()
        }
    }

    /// The exact value, if it fits a [`Decimal`].
    pub fn as_decimal(&self) -> Option<Decimal> {
        Decimal::from_number_text(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number with this text, which must follow the grammar and be short enough.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        if text.len() > NUMBER_LEN_MAX {
            return None;
        }
        Parts::of(text).map(|_| Self(text.into()))
    }
}

impl<'a> Parts<'a> {
    /// Splits the text by the grammar of RFC 8259 §6; `None` if it does not follow it.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (decimal, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((decimal, exponent)) => (decimal, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = match decimal.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (decimal, None),
        };
        let exponent_digits = exponent.map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
        let well_formed = is_digits(whole)
            && (whole == "0" || !whole.starts_with('0'))
            && fraction.is_none_or(is_digits)
            && exponent_digits.is_none_or(is_digits);
        well_formed.then_some(Self {
            negative,
            whole,
            fraction: fraction.unwrap_or(""),
            exponent,
        })
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
