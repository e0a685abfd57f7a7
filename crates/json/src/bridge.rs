//! From strict JSON to Rust types and back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::Limits;
use crate::parse::{ParseError, parse};
use crate::value::Value;

/// The text is not acceptable, or not of the wanted shape.
#[derive(Debug, thiserror::Error)]
pub enum FromSliceError {
    /// Not acceptable JSON.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// JSON of another shape.
    #[error("{0}")]
    Shape(#[source] serde_json::Error),
}

/// The value cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
pub enum ToValueError {
    /// The type refuses, or has map keys that are no strings.
    #[error("{0}")]
    Shape(#[source] serde_json::Error),
    /// What was written is not acceptable to our own parser.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// Reads a Rust value after the strict check of [`parse`].
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8], limits: &Limits) -> Result<T, FromSliceError> {
    parse(bytes, limits)?;
    serde_json::from_slice(bytes).map_err(FromSliceError::Shape)
}

/// The JSON value that `serde` makes of a Rust value, within [`Limits::DOCUMENT`].
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, ToValueError> {
    let bytes = serde_json::to_vec(value).map_err(ToValueError::Shape)?;
    Ok(parse(&bytes, &Limits::DOCUMENT)?)
}
