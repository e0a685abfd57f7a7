//! Pieces of JSON text that are known to be JSON.

use std::borrow::Cow;

use aims_json::{Document, Limits, ParseError, Value};

/// The exact text of one JSON value, checked by the strict parser.
///
/// Messages are written around such pieces. As only checked text can become a `Raw`, no piece can
/// end its message early and start another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw<'a>(Cow<'a, [u8]>);

impl<'a> Raw<'a> {
    /// Checks a text.
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self, ParseError> {
        aims_json::parse(bytes, limits).map(|_| Self(Cow::Borrowed(bytes)))
    }

    /// The bytes, exactly as they were written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same text, independent of the message it stood in.
    pub fn into_owned(self) -> Raw<'static> {
        Raw(Cow::Owned(self.0.into_owned()))
    }

    /// The text of the value at `path` of a parsed document.
    pub(crate) fn of(document: &Document<'a>, path: &[&str]) -> Option<Self> {
        document.raw(path).map(|bytes| Self(Cow::Borrowed(bytes)))
    }

    /// INVARIANT: for spans of a parsed document, and for text written by this crate.
    pub(crate) const fn trusted(bytes: Cow<'a, [u8]>) -> Self {
        Self(bytes)
    }
}

impl From<&Value> for Raw<'static> {
    fn from(value: &Value) -> Self {
        Self(Cow::Owned(value.to_string().into_bytes()))
    }
}
