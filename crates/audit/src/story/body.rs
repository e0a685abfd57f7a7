//! Reading what records say, tolerant of what is missing, and safe to print.

use aims_json::{Object, Value};
use aims_types::{Digest, Timestamp};

use super::STORY_TEXT_LEN_MAX;

/// A body, or a part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body<'a>(pub(super) Option<&'a Object>);

impl<'a> Body<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        Self(value.as_object())
    }

    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0?.get(name)
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !value.is_null())
    }

    /// A text, printable and bounded.
    pub(super) fn text(self, name: &str) -> Option<String> {
        self.raw(name).map(shown)
    }

    /// A text as it is: to be compared, never to be printed.
    pub(super) fn raw(self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    pub(super) fn number(self, name: &str) -> Option<u64> {
        self.get(name)?.as_u64()
    }

    /// Whether a member is there and true.
    pub(super) fn flag(self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(super) fn time(self, name: &str) -> Option<Timestamp> {
        self.number(name).map(Timestamp::from_unix_millis)
    }

    pub(super) fn digest(self, name: &str) -> Option<Digest> {
        self.raw(name)?.parse().ok()
    }

    pub(super) fn part(self, name: &str) -> Self {
        Self(self.get(name).and_then(Value::as_object))
    }

    pub(super) fn items(self, name: &str) -> &'a [Value] {
        self.get(name).and_then(Value::as_array).unwrap_or_default()
    }

    pub(super) fn count(self, name: &str) -> u64 {
        u64::try_from(self.items(name).len()).unwrap_or(u64::MAX)
    }

    pub(super) fn texts(self, name: &str) -> Vec<String> {
        self.items(name).iter().map(brief).collect()
    }

    /// Every member, as short text.
    pub(super) fn members(self) -> Vec<(String, String)> {
        let members = self.0.into_iter().flat_map(Object::iter);
        members
            .map(|(name, value)| (shown(name), brief(value)))
            .collect()
    }
}

/// Any value as short printable text.
pub(super) fn brief(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(members) => format!("{} members", members.len()),
        Value::Null => "none".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => shown(number.as_str()),
    }
}

/// A text from outside: bounded, and without anything that moves a cursor or turns the direction
/// of writing (an escape sequence in a tool's name would otherwise run in the reader's terminal).
pub(super) fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len().min(STORY_TEXT_LEN_MAX));
    for (place, char) in text.chars().enumerate() {
        if place == STORY_TEXT_LEN_MAX {
            safe.push('…');
            break;
        }
        if is_harmless(char) {
            safe.push(char);
        } else {
            safe.extend(char.escape_unicode());
        }
    }
    safe
}

/// Whether a character is shown as itself: no control (Unicode Cc), no line or paragraph end, no
/// direction or joining control, no tag.
pub(super) fn is_harmless(char: char) -> bool {
    !char.is_control()
        && !matches!(
            char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}
