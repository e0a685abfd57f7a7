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
    let mut writer = Writer {
        out: String::new(),
        number: checked_integer,
    };
    writer.value(value, 0)?;
    Ok(writer.out.into_bytes())
}

/// As [`to_canonical`], but every number is written as its exact text.
///
/// For digests of foreign documents that may hold fractions, such as JSON Schemas. This is not
/// RFC 8785: `1.0` and `1` stay different, which for "is this still the text that was reviewed?"
/// is the safe side.
pub fn to_canonical_exact(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut writer = Writer {
        out: String::new(),
        number: |text| Ok(text),
    };
    writer.value(value, 0)?;
    Ok(writer.out.into_bytes())
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

struct Writer {
    out: String,
    number: fn(&str) -> Result<&str, CanonicalError>,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), CanonicalError> {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(true) => self.out.push_str("true"),
            Value::Bool(false) => self.out.push_str("false"),
            Value::Number(number) => self.out.push_str((self.number)(number.as_str())?),
            Value::String(text) => self.text(text),
            Value::Array(elements) => {
                let depth = deeper(depth)?;
                self.out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    self.comma(index);
                    self.value(element, depth)?;
                }
                self.out.push(']');
            }
            Value::Object(object) => self.object(object, deeper(depth)?)?,
        }
        Ok(())
    }

    fn object(&mut self, object: &Object, depth: usize) -> Result<(), CanonicalError> {
        let mut members: Vec<(&str, &Value)> = object.iter().collect();
        members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
        self.out.push('{');
        for (index, (name, value)) in members.into_iter().enumerate() {
            self.comma(index);
            self.text(name);
            self.out.push(':');
            self.value(value, depth)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.out.push(',');
        }
    }

    fn text(&mut self, text: &str) {
        // INVARIANT: writing to a `String` cannot fail.
        let _ = write_string(&mut self.out, text);
    }
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
