//! Absolute paths compared segment by segment.

use std::fmt;
use std::str::FromStr;

use crate::Problem;
use crate::problem::shown;
use crate::scalar::{TEXT_LEN_MAX, VALUE_TEXT_LEN_MAX};

/// A directory: allows itself and every path below it.
///
/// A value is looked at only if it is normalised: it starts with `/` and has no empty, `.` or
/// `..` segment and no NUL. Anything else is refused rather than interpreted, so that what is
/// checked is what the tool opens (`/srv/repo/../../etc/passwd` has no second reading here).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathPrefix(String);

impl PathPrefix {
    /// The directory.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `value` is this directory or lies below it.
    pub fn holds(&self, value: &str) -> bool {
        if value.len() > VALUE_TEXT_LEN_MAX || !is_normalised(value) {
            return false;
        }
        if self.0 == "/" {
            return true;
        }
        match value.strip_prefix(self.0.as_str()) {
            // The match ends at the end of a segment: `/srv/repo` does not hold `/srv/repository`.
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

impl FromStr for PathPrefix {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > TEXT_LEN_MAX || !is_normalised(text) {
            let expected = "an absolute path without empty, `.` or `..` segments";
            return Err(Problem::Text {
                seen: shown(text),
                expected,
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is an absolute path in its one normal form.
fn is_normalised(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('/') else {
        return false;
    };
    rest.is_empty() || rest.split('/').all(is_plain_segment)
}

/// Whether a segment is neither empty nor special to a file system.
pub(crate) fn is_plain_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..") && !segment.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let prefix: PathPrefix = "/srv/repo".parse().unwrap();
        for inside in [
            "/srv/repo",
            "/srv/repo/a",
            "/srv/repo/a/b.txt",
            "/srv/repo/..a",
            "/srv/repo/…",
        ] {
            assert!(prefix.holds(inside), "{inside}");
        }
        let long = format!("/srv/repo/{}", "a".repeat(5000));
        for outside in [
            "",
            "/",
            "/srv",
            "/srv/",
            "/srv/repository",
            "/srv/repo/",
            "/srv/repo/..",
            "/srv//repo",
            "/srv/repo/../x",
            "/srv/repo/./x",
            "/srv/repo/a\0",
            "srv/repo",
            "//srv/repo",
            "/srv/repo\\..",
            "/srv/repo/a/../../../etc/passwd",
            "/srv/Repo",
            " /srv/repo",
            &long,
        ] {
            assert!(!prefix.holds(outside), "{outside}");
        }
    }

    #[test]
    fn the_root_holds_every_normal_path() {
        let root: PathPrefix = "/".parse().unwrap();
        assert!(root.holds("/") && root.holds("/etc/passwd"));
        assert!(!root.holds("/etc/../x") && !root.holds("etc"));
    }

    #[test]
    fn a_prefix_is_itself_normalised() {
        for bad in [
            "", "a", "a/b", "/a/", "//", "/a//b", "/a/./b", "/..", "/a\0b",
        ] {
            assert!(bad.parse::<PathPrefix>().is_err(), "{bad}");
        }
    }
}
