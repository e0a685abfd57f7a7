//! A parsed text that remembers where its values stand.

use std::ops::Range;

use crate::limits::Limits;
use crate::parse::{ParseError, Span, parse_with_spans};
use crate::value::Value;

/// A strictly parsed text together with its bytes: what was evaluated is what is passed on.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    bytes: &'a [u8],
    root: Value,
    span: Span,
}

impl<'a> Document<'a> {
    /// Parses with the checks of [`crate::parse`] and keeps the place of every value.
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self, ParseError> {
        let (root, span) = parse_with_spans(bytes, limits)?;
        Ok(Self { bytes, root, span })
    }

    /// The whole value.
    pub const fn root(&self) -> &Value {
        &self.root
    }

    /// The whole text, as it was given.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The value at a path of member names.
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        self.find(path).map(|(value, _)| value)
    }

    /// The exact source bytes of the value at a path of member names, without the white space
    /// around it. The empty path is the root.
    pub fn raw(&self, path: &[&str]) -> Option<&'a [u8]> {
        self.find(path).and_then(|(_, span)| self.slice(span))
    }

    /// Where the value at a path stands in [`Document::bytes`].
    pub fn span(&self, path: &[&str]) -> Option<Range<usize>> {
        self.find(path).map(|(_, span)| span.start..span.end)
    }

    /// The elements of the array at a path, each with its exact source bytes.
    pub fn elements(&self, path: &[&str]) -> Option<Vec<(&Value, &'a [u8])>> {
        let (value, span) = self.find(path)?;
        let elements = value.as_array()?.iter().zip(&span.children);
        elements
            .map(|(element, span)| Some((element, self.slice(span)?)))
            .collect()
    }

    /// The members of the object at a path, in their order, each with the exact source bytes of
    /// its value.
    pub fn members(&self, path: &[&str]) -> Option<Vec<(&str, &'a [u8])>> {
        let (value, span) = self.find(path)?;
        let members = value.as_object()?.iter().zip(&span.children);
        members
            .map(|((name, _), span)| Some((name, self.slice(span)?)))
            .collect()
    }

    fn slice(&self, span: &Span) -> Option<&'a [u8]> {
        self.bytes.get(span.start..span.end)
    }

    fn find(&self, path: &[&str]) -> Option<(&Value, &Span)> {
        path.iter()
            .try_fold((&self.root, &self.span), |(value, span), name| {
                let object = value.as_object()?;
                let position = object.position(name)?;
                Some((object.get(name)?, span.children.get(position)?))
            })
    }
}
