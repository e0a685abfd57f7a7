//! Framing of the stdio transport: one message per line (MCP 2025-11-25, Transports, "stdio").

use std::borrow::Cow;

/// Splits a byte stream into lines, holding at most one incomplete line within a limit.
#[derive(Debug, Clone)]
pub struct LineSplitter {
    len_max: usize,
    line: Vec<u8>,
    /// The line is beyond the limit: what is left of it is dropped.
    skipping: bool,
}

/// A line is longer than the limit; all of it was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {len_max} bytes")]
pub struct TooLong {
    /// The limit.
    pub len_max: usize,
}

/// The stream ended within a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream ended within a line, after {len} bytes of it")]
pub struct Unterminated {
    /// How much of the line there was.
    pub len: usize,
}

/// A message holds a line break, so that it would be read as two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message on stdio must not hold a line break (byte {offset})")]
pub struct EmbeddedNewline {
    /// Where.
    pub offset: usize,
}

impl LineSplitter {
    /// A splitter of lines of at most `len_max` bytes, the line break not counted.
    pub const fn new(len_max: usize) -> Self {
        Self {
            len_max,
            line: Vec::new(),
            skipping: false,
        }
    }

    /// Takes bytes as they come, gives the lines that are complete with them, without their
    /// breaks. Lines of white space only are left out. A line that is too long gives one error,
    /// as soon as that is known.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Result<Vec<u8>, TooLong>> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (part, ended) = match piece.strip_suffix(b"\n") {
                Some(part) => (part, true),
                None => (piece, false),
            };
            if !self.skipping && part.len() > self.len_max - self.line.len() {
                self.skipping = true;
                self.line = Vec::new();
                lines.push(Err(TooLong {
                    len_max: self.len_max,
                }));
            }
            if !self.skipping {
                self.line.extend_from_slice(part);
            }
            if ended {
                let line = std::mem::take(&mut self.line);
                let skipped = std::mem::take(&mut self.skipping);
                if !skipped && !line.trim_ascii().is_empty() {
                    lines.push(Ok(line));
                }
            }
        }
        lines
    }

    /// Says, at the end of the stream, whether a line was cut off. Such a line is never a message.
    pub fn finish(self) -> Result<(), Unterminated> {
        if self.line.trim_ascii().is_empty() && !self.skipping {
            Ok(())
        } else {
            Err(Unterminated {
                len: self.line.len(),
            })
        }
    }
}

/// The message as a line. Refuses a message that holds a line break: see [`single_line`].
pub fn frame(message: &[u8]) -> Result<Vec<u8>, EmbeddedNewline> {
    match message.iter().position(|b| matches!(b, b'\n' | b'\r')) {
        Some(offset) => Err(EmbeddedNewline { offset }),
        None => Ok([message, b"\n"].concat()),
    }
}

/// The same message on one line: each line break becomes a space.
///
/// Only for a message that the strict parser took. There, a line break can only be white space
/// between two tokens, as a control character within a string is refused; so no value changes.
pub fn single_line(message: &[u8]) -> Cow<'_, [u8]> {
    let is_break = |b: &u8| matches!(b, b'\n' | b'\r');
    if message.iter().any(is_break) {
        let space = |b: &u8| if is_break(b) { b' ' } else { *b };
        Cow::Owned(message.iter().map(space).collect())
    } else {
        Cow::Borrowed(message)
    }
}
