//! Free text from people: purposes and reasons.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest free text, in bytes.
pub const TEXT_LEN_MAX: usize = 1024;

/// A non-empty line of words: 1 to 1024 bytes, no control characters, not only white space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(String);

/// The text is empty, too long, or has control characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a description is one line of 1 to 1024 bytes without control characters")]
pub struct TextError;

impl Text {
    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Text {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() || text.len() > TEXT_LEN_MAX || text.chars().any(char::is_control) {
            return Err(TextError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_line_of_words_is_a_text() {
        assert_eq!(
            " write notes ".parse::<Text>().unwrap().as_str(),
            "write notes"
        );
        let long = "a".repeat(1025);
        for bad in ["", "  ", "a\nb", "a\u{1b}[2Jb", long.as_str()] {
            assert_eq!(bad.parse::<Text>(), Err(TextError), "{bad:?}");
        }
    }
}
