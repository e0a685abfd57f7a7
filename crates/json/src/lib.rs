//! Strict JSON: one parser for everything that is decided upon, signed or recorded.
//!
//! Two parsers that read the same bytes differently are a hole in a policy, so every message is
//! parsed here exactly once, and whatever has more than one reading is refused.
//!
//! # In scope
//! - [`parse`]: RFC 8259 with the strictness listed below, under [`Limits`];
//! - [`Document`]: the same, keeping where each member stands, so that bytes pass on unchanged;
//! - [`from_slice`]: the same check, then `serde`;
//! - [`to_canonical`], [`parse_canonical`]: one encoding per value, for digests and signatures;
//! - [`Number`], [`Decimal`]: numbers by their exact text, compared exactly.
//!
//! # Out of scope
//! - JSON Schema (`aims-policy`), signatures (`aims-jose`), streaming parsers.
//!
//! # Stricter than RFC 8259 has to be
//! - UTF-8 only, no byte order mark (§8.1); nothing but white space after the value;
//! - member names are unique at every depth, compared after unescaping (§4; RFC 7493 §2.3);
//! - escaped surrogates come in pairs (RFC 7493 §2.1);
//! - a number's text has at most [`NUMBER_LEN_MAX`] bytes. Its value is not limited: `1e400` is
//!   a number here, though no `f64`.
//!
//! # Specifications
//! - RFC 8259 (JSON), RFC 7493 (I-JSON: members, surrogates), RFC 8785 (JCS), restricted to
//!   integers within ±(2^53 − 1).
//!
//! # Limits
//! - [`Limits::MESSAGE`], [`Limits::TOKEN`], [`Limits::DOCUMENT`]; never deeper than
//!   [`DEPTH_MAX`]; [`DECIMAL_SCALE_MAX`].
//!
//! ```
//! use aims_json::{Document, Limits, Object, Value, to_canonical};
//!
//! let bytes = br#"{"method":"tools/call","params":{"arguments":{ "n" : 1.50 }}}"#;
//! let document = Document::parse(bytes, &Limits::MESSAGE)?;
//! assert_eq!(document.root().get("method").and_then(Value::as_str), Some("tools/call"));
//! assert_eq!(document.raw(&["params", "arguments"]), Some(&br#"{ "n" : 1.50 }"#[..]));
//!
//! let object = Object::new().with("b", 2_u64).with("a", "x");
//! assert_eq!(to_canonical(&Value::from(object))?, br#"{"a":"x","b":2}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bridge;
mod canonical;
mod decimal;
mod document;
mod limits;
mod number;
mod object;
mod parse;
mod print;
mod value;

pub use bridge::{FromSliceError, ToValueError, from_slice, to_value};
pub use canonical::{
    CanonicalError, INTEGER_MAX, ParseCanonicalError, parse_canonical, to_canonical,
    to_canonical_exact,
};
pub use decimal::{DECIMAL_SCALE_MAX, Decimal, DecimalParseError};
pub use document::Document;
pub use limits::{DEPTH_MAX, Limits, NUMBER_LEN_MAX};
pub use number::Number;
pub use object::{DuplicateMember, Object};
pub use parse::{ParseError, parse};
pub use print::write_string;
pub use value::Value;

#[cfg(test)]
mod strategies;
#[cfg(test)]
mod tests;
