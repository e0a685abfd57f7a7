//! The parser: recursive descent with a depth limit.

mod string;

use crate::limits::{DEPTH_MAX, Limits, NUMBER_LEN_MAX};
use crate::number::Number;
use crate::object::Object;
use crate::value::Value;

/// The bytes are not JSON, or not JSON that has one reading only.
///
/// Offsets count bytes from the start of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// More bytes than the limit.
    #[error("the text has {len} bytes, more than {max}")]
    TooLarge {
        /// Length of the text.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Arrays and objects nested deeper than the limit.
    #[error("nested deeper than {max} at byte {offset}")]
    TooDeep {
        /// The limit.
        max: usize,
        /// Where.
        offset: usize,
    },
    /// More values than the limit.
    #[error("more than {max} values")]
    TooManyNodes {
        /// The limit.
        max: usize,
    },
    /// A byte order mark (RFC 8259 §8.1).
    #[error("the text starts with a byte order mark")]
    ByteOrderMark,
    /// Not UTF-8 (RFC 8259 §8.1).
    #[error("byte {offset} is not UTF-8")]
    NotUtf8 {
        /// Where.
        offset: usize,
    },
    /// The text ends too early.
    #[error("the text ends within a value")]
    UnexpectedEnd,
    /// A byte that cannot stand here.
    #[error("unexpected byte at {offset}")]
    Unexpected {
        /// Where.
        offset: usize,
    },
    /// A number against the grammar (RFC 8259 §6).
    #[error("malformed number at byte {offset}")]
    Number {
        /// Where it starts.
        offset: usize,
    },
    /// A number whose text is longer than [`NUMBER_LEN_MAX`].
    #[error("the number at byte {offset} has more than {NUMBER_LEN_MAX} bytes")]
    NumberTooLong {
        /// Where it starts.
        offset: usize,
    },
    /// An escape that JSON does not have (RFC 8259 §7).
    #[error("malformed escape at byte {offset}")]
    Escape {
        /// Where the backslash is.
        offset: usize,
    },
    /// An escaped surrogate without its other half (RFC 7493 §2.1).
    #[error("lone surrogate at byte {offset}")]
    LoneSurrogate {
        /// Where the backslash is.
        offset: usize,
    },
    /// A control character that is not escaped (RFC 8259 §7).
    #[error("unescaped control character at byte {offset}")]
    ControlCharacter {
        /// Where.
        offset: usize,
    },
    /// An object with two members of one name, compared after unescaping (RFC 7493 §2.3).
    #[error("second member `{name}` of an object at byte {offset}")]
    DuplicateMember {
        /// The name, shortened.
        name: String,
        /// Where the second member's name starts.
        offset: usize,
    },
    /// Something after the value.
    #[error("more text after the value, at byte {offset}")]
    TrailingBytes {
        /// Where.
        offset: usize,
    },
}

/// Where a value stands, with its elements or the values of its members.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) children: Vec<Span>,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    depth_max: usize,
    nodes: usize,
    nodes_max: usize,
    keep_spans: bool,
}

/// Parses one JSON text, strictly (see the crate's page for what that means).
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value, ParseError> {
    Parser::new(bytes, limits, false)?
        .document()
        .map(|(value, _)| value)
}

pub(crate) fn parse_with_spans(bytes: &[u8], limits: &Limits) -> Result<(Value, Span), ParseError> {
    Parser::new(bytes, limits, true)?.document()
}

impl<'a> Parser<'a> {
    fn new(bytes: &'a [u8], limits: &Limits, keep_spans: bool) -> Result<Self, ParseError> {
        if bytes.len() > limits.bytes {
            return Err(ParseError::TooLarge {
                len: bytes.len(),
                max: limits.bytes,
            });
        }
        if bytes.starts_with(b"\xef\xbb\xbf") {
            return Err(ParseError::ByteOrderMark);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| ParseError::NotUtf8 {
            offset: error.valid_up_to(),
        })?;
        Ok(Self {
            text,
            at: 0,
            depth: 0,
            depth_max: limits.depth.min(DEPTH_MAX),
            nodes: 0,
            nodes_max: limits.nodes,
            keep_spans,
        })
    }

    fn document(mut self) -> Result<(Value, Span), ParseError> {
        self.skip_space();
        let parsed = self.value()?;
        self.skip_space();
        match self.peek() {
            None => Ok(parsed),
            Some(_) => Err(ParseError::TrailingBytes { offset: self.at }),
        }
    }

    fn value(&mut self) -> Result<(Value, Span), ParseError> {
        self.nodes += 1;
        if self.nodes > self.nodes_max {
            return Err(ParseError::TooManyNodes {
                max: self.nodes_max,
            });
        }
        let start = self.at;
        let (value, children) = match self.peek() {
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'"') => (Value::String(self.string()?), Vec::new()),
            Some(b'-' | b'0'..=b'9') => (Value::Number(self.number()?), Vec::new()),
            Some(b't') => (self.word("true", Value::Bool(true))?, Vec::new()),
            Some(b'f') => (self.word("false", Value::Bool(false))?, Vec::new()),
            Some(b'n') => (self.word("null", Value::Null)?, Vec::new()),
            _ => return Err(self.unexpected()),
        };
        Ok((
            value,
            Span {
                start,
                end: self.at,
                children,
            },
        ))
    }

    fn nested(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<(Value, Vec<Span>), ParseError>,
    ) -> Result<(Value, Vec<Span>), ParseError> {
        if self.depth == self.depth_max {
            return Err(ParseError::TooDeep {
                max: self.depth_max,
                offset: self.at,
            });
        }
        self.depth += 1;
        self.at += 1;
        self.skip_space();
        let parsed = body(self)?;
        self.depth -= 1;
        Ok(parsed)
    }

    /// The rest of an array, after its bracket.
    fn array(&mut self) -> Result<(Value, Vec<Span>), ParseError> {
        let (mut elements, mut spans) = (Vec::new(), Vec::new());
        if self.accept(b']') {
            return Ok((Value::Array(elements), spans));
        }
        loop {
            let (element, span) = self.value()?;
            elements.push(element);
            if self.keep_spans {
                spans.push(span);
            }
            if self.ends(b']')? {
                return Ok((Value::Array(elements), spans));
            }
        }
    }

    /// The rest of an object, after its brace.
    fn object(&mut self) -> Result<(Value, Vec<Span>), ParseError> {
        let (mut members, mut names, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        if self.accept(b'}') {
            return Ok((Value::Object(Object::new()), spans));
        }
        loop {
            names.push(self.at);
            let name = self.string()?;
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            let (value, span) = self.value()?;
            members.push((name, value));
            if self.keep_spans {
                spans.push(span);
            }
            if self.ends(b'}')? {
                break;
            }
        }
        let duplicate = |index: usize, name: &str| ParseError::DuplicateMember {
            name: name.chars().take(64).collect(),
            offset: names.get(index).copied().unwrap_or(0),
        };
        match Object::from_members(members) {
            Ok(object) => Ok((Value::Object(object), spans)),
            Err((index, name)) => Err(duplicate(index, &name)),
        }
    }

    /// After an element: a comma and more, or the end.
    fn ends(&mut self, close: u8) -> Result<bool, ParseError> {
        self.skip_space();
        if self.accept(close) {
            return Ok(true);
        }
        self.expect(b',')?;
        self.skip_space();
        Ok(false)
    }

    fn number(&mut self) -> Result<Number, ParseError> {
        let offset = self.at;
        let part = |b: u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        while self.peek().is_some_and(part) {
            self.at += 1;
        }
        let text = self.text.get(offset..self.at).unwrap_or("");
        if text.len() > NUMBER_LEN_MAX {
            return Err(ParseError::NumberTooLong { offset });
        }
        Number::from_text(text).ok_or(ParseError::Number { offset })
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, ParseError> {
        for byte in word.bytes() {
            self.expect(byte)?;
        }
        Ok(value)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), ParseError> {
        if self.accept(byte) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn unexpected(&self) -> ParseError {
        match self.peek() {
            Some(_) => ParseError::Unexpected { offset: self.at },
            None => ParseError::UnexpectedEnd,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}
