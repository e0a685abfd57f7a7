//! Patterns with one wildcard, within segments.

use std::fmt;
use std::str::FromStr;

use crate::Problem;
use crate::path::is_plain_segment;
use crate::problem::shown;
use crate::scalar::VALUE_TEXT_LEN_MAX;

/// Longest pattern, in bytes.
pub const GLOB_LEN_MAX: usize = 256;

/// A pattern: segments between `/`, in which `*` stands for any run of characters but `/`.
///
/// There is no other wildcard and no escape. A value matches when it has as many segments as the
/// pattern and each matches its counterpart; a value with a `.`, `..` or NUL-bearing segment never
/// matches, nor does an empty segment match one with a wildcard.
///
/// Containment is decidable segment by segment: a segment `p` is contained in a segment `q` when
/// `q` matches `p` read as a text in which `*` is a character that only `*` matches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glob(String);

impl Glob {
    /// The pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `value` matches the whole pattern.
    pub fn holds(&self, value: &str) -> bool {
        if value.len() > VALUE_TEXT_LEN_MAX {
            return false;
        }
        let mut values = value.split('/');
        let each = self.0.split('/').all(|pattern| {
            values
                .next()
                .is_some_and(|segment| segment_matches(pattern, segment))
        });
        each && values.next().is_none()
    }

    /// Whether every value that matches this pattern matches `wider` too.
    pub(crate) fn is_within(&self, wider: &Self) -> bool {
        // `segment_matches` takes a `*` of this pattern for a character that no literal part of
        // the other one holds, so only a `*` matches it; whatever run of characters stands in its
        // place is then matched by that same `*`.
        wider.holds(&self.0)
    }
}

impl FromStr for Glob {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let segment_is_good = |segment: &str| {
            segment.is_empty() || (is_plain_segment(segment) && !segment.contains("**"))
        };
        if text.is_empty() || text.len() > GLOB_LEN_MAX || !text.split('/').all(segment_is_good) {
            let expected = "a pattern of 1 to 256 bytes without `**`, `.` or `..` segments";
            return Err(Problem::Text {
                seen: shown(text),
                expected,
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether one segment of a value matches one of the pattern.
fn segment_matches(pattern: &str, segment: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == segment;
    };
    if !is_plain_segment(segment) {
        return false;
    }
    let Some(mut left) = segment.strip_prefix(head) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        // The leftmost place of each middle part leaves the most for those that follow.
        let Some((_, after)) = left.split_once(part) else {
            return false;
        };
        left = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_its_segment() {
        for (pattern, value, expect) in [
            ("release/*", "release/1.2", true),
            ("release/*", "release/", false),
            ("release/*", "release/1/2", false),
            ("release/*", "release", false),
            ("release/*", "release/..", false),
            ("release/*", "release/.", false),
            ("release/*", "release/a\0", false),
            ("*", "anything", true),
            ("*", "", false),
            ("a*b", "ab", true),
            ("a*b", "a", false),
            ("aa*a", "aa", false),
            ("aa*a", "aaa", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("/srv/*/log", "/srv/x/log", true),
            ("/srv/*/log", "/srv/../log", false),
            ("/srv/*/log", "srv/x/log", false),
            ("ä*", "äö", true),
            ("plain", "plain", true),
            ("plain", "Plain", false),
            ("a?", "ab", false),
            ("[ab]", "a", false),
        ] {
            let glob: Glob = pattern.parse().unwrap();
            assert_eq!(glob.holds(value), expect, "{pattern} on {value}");
        }
    }

    #[test]
    fn patterns_outside_the_form_are_refused() {
        let long = "a".repeat(257);
        for bad in ["", "**", "a/**/b", "a/../b", ".", "a\0", long.as_str()] {
            assert!(bad.parse::<Glob>().is_err(), "{bad}");
        }
    }
}
