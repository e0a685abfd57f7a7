//! JSON scalars that an authority can name exactly, and sets of them.

use std::collections::BTreeSet;
use std::fmt;

use aims_json::{Decimal, Value};

use crate::Problem;
use crate::problem::{counted, shown};

/// Most members of one set.
pub const SET_LEN_MAX: usize = 256;
/// Longest text in an authority, in bytes.
pub const TEXT_LEN_MAX: usize = 1024;
/// Longest text of a call that a path prefix or a glob looks at, in bytes; longer ones never match.
pub const VALUE_TEXT_LEN_MAX: usize = 4096;

/// Largest whole number that every JSON implementation holds exactly (RFC 7493 §2.2).
const INTEGER_MAX: i64 = (1 << 53) - 1;

/// A JSON scalar. Numbers are whole and within ±(2^53 − 1), so that they have one canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(Integer),
    /// A text, compared code point by code point.
    Text(Text),
}

/// A whole number within ±(2^53 − 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Integer(i64);

/// A text of at most [`TEXT_LEN_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(String);

/// A set of 1 to [`SET_LEN_MAX`] scalars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalarSet(BTreeSet<Scalar>);

impl Scalar {
    /// The scalar that is this JSON value.
    pub fn from_value(value: &Value) -> Result<Self, Problem> {
        match value {
            Value::Null => Ok(Self::Null),
            Value::Bool(b) => Ok(Self::Bool(*b)),
            Value::Number(n) => {
                let number = n.as_decimal().as_ref().and_then(whole);
                number
                    .and_then(Integer::new)
                    .map(Self::Integer)
                    .ok_or(Problem::InexactScalar)
            }
            Value::String(s) => Self::text(s),
            Value::Array(_) | Value::Object(_) => Err(Problem::Type {
                expected: "a text, a whole number, true, false or null",
            }),
        }
    }

    /// The scalar that is this text.
    pub fn text(text: &str) -> Result<Self, Problem> {
        if text.len() > TEXT_LEN_MAX {
            let expected = "a text of at most 1024 bytes";
            return Err(Problem::Text {
                seen: shown(text),
                expected,
            });
        }
        Ok(Self::Text(Text(text.to_owned())))
    }

    /// The JSON value that is this scalar.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::from(*b),
            Self::Integer(n) => Value::from(n.0),
            Self::Text(s) => Value::from(s.0.as_str()),
        }
    }

    /// Whether `value` is this scalar. Numbers are compared by value, exactly: `5e1` is 50.
    pub fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(a), Value::Bool(b)) => a == b,
            (Self::Integer(a), Value::Number(b)) => {
                b.as_decimal().as_ref().and_then(whole) == Some(a.0)
            }
            (Self::Text(a), Value::String(b)) => a.0 == *b,
            _ => false,
        }
    }
}

impl Integer {
    /// The number, if every JSON implementation holds it exactly.
    pub const fn new(number: i64) -> Option<Self> {
        if number < -INTEGER_MAX || number > INTEGER_MAX {
            None
        } else {
            Some(Self(number))
        }
    }

    /// The number.
    pub const fn number(self) -> i64 {
        self.0
    }
}

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ScalarSet {
    /// The set of these scalars; a scalar given twice is refused.
    pub fn new(scalars: impl IntoIterator<Item = Scalar>) -> Result<Self, Problem> {
        let mut set = BTreeSet::new();
        for scalar in scalars {
            let entry = scalar.to_string();
            if !set.insert(scalar) {
                return Err(Problem::Duplicate { entry });
            }
            counted(set.len(), 1, SET_LEN_MAX)?;
        }
        counted(set.len(), 1, SET_LEN_MAX)?;
        Ok(Self(set))
    }

    /// The scalars, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scalar> {
        self.0.iter()
    }

    /// Whether the scalar is in the set.
    pub fn contains(&self, scalar: &Scalar) -> bool {
        self.0.contains(scalar)
    }

    /// Whether `value` is one of the scalars.
    pub fn holds(&self, value: &Value) -> bool {
        // A value that is no scalar of ours is in no set of ours; the others are looked up.
        Scalar::from_value(value).is_ok_and(|scalar| self.0.contains(&scalar))
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Integer(n) => write!(f, "{}", n.0),
            Self::Text(s) => write!(f, "`{}`", shown(&s.0)),
        }
    }
}

/// At most this many members of a set are listed in words.
const SHOWN_MAX: usize = 8;

impl fmt::Display for ScalarSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, scalar) in self.0.iter().take(SHOWN_MAX).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{scalar}")?;
        }
        match self.0.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The whole number that a decimal is, if it is one that fits.
fn whole(decimal: &Decimal) -> Option<i64> {
    if decimal.scale() == 0 {
        i64::try_from(decimal.mantissa()).ok()
    } else {
        None
    }
}
