//! Ranges of exact decimals.

use std::fmt;

use aims_json::Decimal;

use crate::Problem;

/// Numbers from `min` to `max`, both included; either may be absent, not both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    min: Option<Decimal>,
    max: Option<Decimal>,
}

impl Range {
    /// The range between these ends.
    pub fn new(min: Option<Decimal>, max: Option<Decimal>) -> Result<Self, Problem> {
        let ordered = match (&min, &max) {
            (Some(min), Some(max)) => min <= max,
            (None, None) => false,
            _ => true,
        };
        if ordered {
            Ok(Self { min, max })
        } else {
            Err(Problem::Range)
        }
    }

    /// The least number, if there is one.
    pub const fn min(&self) -> Option<&Decimal> {
        self.min.as_ref()
    }

    /// The greatest number, if there is one.
    pub const fn max(&self) -> Option<&Decimal> {
        self.max.as_ref()
    }

    /// Whether `number` lies in the range.
    pub fn holds(&self, number: &Decimal) -> bool {
        self.min.as_ref().is_none_or(|min| min <= number)
            && self.max.as_ref().is_none_or(|max| number <= max)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => write!(f, "a number from {min} to {max}"),
            (Some(min), None) => write!(f, "a number of at least {min}"),
            (None, Some(max)) => write!(f, "a number of at most {max}"),
            (None, None) => f.write_str("a number"),
        }
    }
}
