//! Strings (RFC 8259 §7).

use super::{ParseError, Parser};

impl Parser<'_> {
    /// A string from its opening quote to its closing quote, unescaped.
    pub(super) fn string(&mut self) -> Result<String, ParseError> {
        self.expect(b'"')?;
        let mut out = String::new();
        loop {
            let start = self.at;
            let rest = self.text.get(start..).unwrap_or("");
            let ends = |b| b < b' ' || b == b'"' || b == b'\\';
            let plain = rest.bytes().position(ends).unwrap_or(rest.len());
            self.at += plain;
            out.push_str(rest.get(..plain).unwrap_or(""));
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return Err(ParseError::ControlCharacter { offset: self.at }),
                None => return Err(ParseError::UnexpectedEnd),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let offset = self.at;
        self.at += 1;
        let character = match self.peek() {
            Some(same @ (b'"' | b'\\' | b'/')) => char::from(same),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(offset),
            Some(_) => return Err(ParseError::Escape { offset }),
            None => return Err(ParseError::UnexpectedEnd),
        };
        self.at += 1;
        Ok(character)
    }

    /// `uXXXX`, or a pair of surrogates (RFC 8259 §7), after the backslash at `offset`.
    fn unicode(&mut self, offset: usize) -> Result<char, ParseError> {
        self.at += 1;
        let first = self.four_digits(offset)?;
        let code = match first {
            0xD800..=0xDBFF => {
                let second_at = self.at;
                let escaped = self
                    .text
                    .get(second_at..)
                    .is_some_and(|t| t.starts_with("\\u"));
                if !escaped {
                    return Err(ParseError::LoneSurrogate { offset });
                }
                self.at += 2;
                match self.four_digits(second_at)? {
                    second @ 0xDC00..=0xDFFF => {
                        0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)
                    }
                    _ => return Err(ParseError::LoneSurrogate { offset }),
                }
            }
            plain => plain,
        };
        char::from_u32(code).ok_or(ParseError::LoneSurrogate { offset })
    }

    fn four_digits(&mut self, offset: usize) -> Result<u32, ParseError> {
        let mut code = 0;
        for _ in 0..4 {
            let byte = self.peek().ok_or(ParseError::UnexpectedEnd)?;
            let digit = char::from(byte)
                .to_digit(16)
                .ok_or(ParseError::Escape { offset })?;
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}
