//! The canonical encoding: one text per value.

use crate::limits::{DEPTH_MAX, Limits};
use crate::object::Object;
use crate::parse::{ParseError, parse};
use crate::print::write_string;
use crate::value::Value;

/// Largest magnitude of an integer in the canonical form: 2^53 − 1. Up to here every JSON parser
/// of every language reads the same value (RFC 7493 §2.2), and RFC 8785 prints it digit by digit.
pub const INTEGER_MAX: i64 = (1 << 53) - 1;

/// The value has no canonical encoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A fraction, an exponent, `-0`, or a magnitude beyond [`INTEGER_MAX`].
    #[error("`{text}` has no canonical form: only whole numbers up to 2^53 - 1 have one")]
    Number {
        /// The number's text.
        text: String,
    },
    /// Nested deeper than [`DEPTH_MAX`], so that no parser of ours would read it back.
    #[error("nested deeper than {DEPTH_MAX}")]
    TooDeep,
}

/// The bytes are not the canonical encoding of a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseCanonicalError {
    /// Not acceptable JSON at all.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A value without canonical encoding.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// Another encoding of the value: white space, order of members, escapes.
    #[error("byte {offset} differs from the canonical encoding")]
    OtherEncoding {
        /// Where the first difference is.
        offset: usize,
    },
}

/// The canonical encoding (RFC 8785), restricted to integers within ±[`INTEGER_MAX`].
///
/// Members are sorted by the UTF-16 code units of their names (§3.2.3), strings escaped as little
/// as possible (§3.2.2.2), without white space (§3.2.1). Values that are equal have equal
/// encodings and the other way round.
pub fn to_canonical(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = String::new();
    write_value(&mut out, value, 0)?;
    Ok(out.into_bytes())
}

/// Reads a value from its canonical encoding and refuses any other encoding of the same value.
pub fn parse_canonical(bytes: &[u8], limits: &Limits) -> Result<Value, ParseCanonicalError> {
    let value = parse(bytes, limits)?;
    let canonical = to_canonical(&value)?;
    if canonical == bytes {
        return Ok(value);
    }
    let differs = |(ours, theirs): (&u8, &u8)| ours != theirs;
    let offset = canonical.iter().zip(bytes).position(differs);
    let offset = offset.unwrap_or_else(|| canonical.len().min(bytes.len()));
    Err(ParseCanonicalError::OtherEncoding { offset })
}

fn write_value(out: &mut String, value: &Value, depth: usize) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(checked_integer(number.as_str())?),
        Value::String(text) => write_text(out, text),
        Value::Array(elements) => {
            let depth = deeper(depth)?;
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, element, depth)?;
            }
            out.push(']');
        }
        Value::Object(object) => write_object(out, object, deeper(depth)?)?,
    }
    Ok(())
}

fn write_object(out: &mut String, object: &Object, depth: usize) -> Result<(), CanonicalError> {
    let mut members: Vec<(&str, &Value)> = object.iter().collect();
    members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    out.push('{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(out, name);
        out.push(':');
        write_value(out, value, depth)?;
    }
    out.push('}');
    Ok(())
}

fn write_text(out: &mut String, text: &str) {
    // INVARIANT: writing to a `String` cannot fail.
    let _ = write_string(out, text);
}

fn checked_integer(text: &str) -> Result<&str, CanonicalError> {
    let in_range = |value: i64| (-INTEGER_MAX..=INTEGER_MAX).contains(&value);
    if text != "-0" && text.parse().is_ok_and(in_range) {
        Ok(text)
    } else {
        Err(CanonicalError::Number {
            text: text.to_owned(),
        })
    }
}

const fn deeper(depth: usize) -> Result<usize, CanonicalError> {
    if depth < DEPTH_MAX {
        Ok(depth + 1)
    } else {
        Err(CanonicalError::TooDeep)
    }
}
