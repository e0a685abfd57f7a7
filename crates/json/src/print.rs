//! Compact text of a value.

use std::fmt::{self, Write};

use crate::object::Object;
use crate::value::Value;

/// Compact JSON in the order of the members; [`crate::to_canonical`] gives the canonical form.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) => f.write_str(number.as_str()),
            Self::String(text) => write_string(f, text),
            Self::Array(elements) => {
                f.write_char('[')?;
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        f.write_char(',')?;
                    }
                    fmt::Display::fmt(element, f)?;
                }
                f.write_char(']')
            }
            Self::Object(object) => fmt::Display::fmt(object, f),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        for (index, (name, value)) in self.iter().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            write_string(f, name)?;
            f.write_char(':')?;
            fmt::Display::fmt(value, f)?;
        }
        f.write_char('}')
    }
}

/// Writes a string with its quotes, escaped as RFC 8785 §3.2.2.2 says: the two-character escapes
/// where JSON has them, `\u00xx` in lower case for other control characters, the rest as it is.
pub fn write_string(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    let mut rest = text;
    // What is escaped is ASCII, so a text can be taken apart there.
    while let Some(at) = rest.bytes().position(is_escaped) {
        let (plain, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.write_str(plain)?;
        let mut characters = from.chars();
        match characters.next() {
            Some('"') => out.write_str("\\\"")?,
            Some('\\') => out.write_str("\\\\")?,
            Some('\u{8}') => out.write_str("\\b")?,
            Some('\t') => out.write_str("\\t")?,
            Some('\n') => out.write_str("\\n")?,
            Some('\u{c}') => out.write_str("\\f")?,
            Some('\r') => out.write_str("\\r")?,
            Some(control) => write!(out, "\\u{:04x}", u32::from(control))?,
            None => {}
        }
        rest = characters.as_str();
    }
    out.write_str(rest)?;
    out.write_char('"')
}

const fn is_escaped(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}
