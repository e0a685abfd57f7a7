//! Free text from people: purposes and reasons.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest free text, in bytes.
pub const TEXT_LEN_MAX: usize = 1024;

/// A non-empty line of words: 1 to 1024 bytes, nothing that [`misleads`], not only white space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(String);

/// The text is empty, too long, or has characters that mislead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a description is one line of 1 to 1024 bytes without control or invisible characters, and \
     without space around it"
)]
pub struct TextError;

/// Whether a character makes a text look like another one: it controls a terminal or the
/// direction of writing (Unicode UAX #9), breaks the line, or is invisible. What a person reads
/// has to be what they sign.
pub fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

impl Text {
    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Text {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.trim() == text && !text.is_empty();
        if !bare || text.len() > TEXT_LEN_MAX || text.chars().any(misleads) {
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
        for good in [
            "übersetze 日本語",
            "نامه\u{200c}ها",
            "a \u{1f469}\u{200d}\u{1f52c}",
        ] {
            assert!(good.parse::<Text>().is_ok(), "{good}");
        }
        let long = "a".repeat(1025);
        let hidden = [
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200b}b",
            "a\u{2028}b",
            "a\u{e0041}b",
        ];
        let bad = [
            "",
            "  ",
            " a",
            "a ",
            "a\nb",
            "a\u{1b}[2Jb",
            "a\u{9b}b",
            long.as_str(),
        ];
        for bad in bad.into_iter().chain(hidden) {
            assert_eq!(bad.parse::<Text>(), Err(TextError), "{bad:?}");
        }
    }
}
