//! Request ids and progress tokens.

use std::fmt;

use aims_json::Value;

use crate::limits::ID_LEN_MAX;

/// The id of a request: a string or a whole number, kept exactly.
///
/// MCP 2025-11-25 (Base Protocol, "Requests"): the id is a string or an integer, and never null.
/// `1` and `"1"` are different ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestId {
    /// A whole number.
    Integer(i64),
    /// A string of at most [`ID_LEN_MAX`] bytes.
    String(String),
}

/// The token by which progress is told: of the same form as a [`RequestId`], but another thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgressToken(RequestId);

impl RequestId {
    /// The id in a message. Fractions, exponents, `-0`, numbers beyond `i64` and long strings are
    /// none: they would not come back to their sender as they were.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) if text.len() <= ID_LEN_MAX => Some(Self::String(text.clone())),
            Value::Number(number) if number.as_str() != "-0" => number.as_i64().map(Self::Integer),
            _ => None,
        }
    }

    /// The id as JSON.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Integer(number) => Value::from(*number),
            Self::String(text) => Value::from(text.as_str()),
        }
    }
}

impl ProgressToken {
    /// The token in `_meta.progressToken` or in a progress notification.
    pub fn from_value(value: &Value) -> Option<Self> {
        RequestId::from_value(value).map(Self)
    }

    /// The token, if it is a whole number.
    pub(crate) const fn as_integer(&self) -> Option<i64> {
        match self.0 {
            RequestId::Integer(number) => Some(number),
            RequestId::String(_) => None,
        }
    }

    /// The token as JSON.
    pub fn to_value(&self) -> Value {
        self.0.to_value()
    }
}

impl From<i64> for RequestId {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<i64> for ProgressToken {
    fn from(number: i64) -> Self {
        Self(RequestId::Integer(number))
    }
}

/// As JSON.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_value().fmt(f)
    }
}

/// As JSON.
impl fmt::Display for ProgressToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
