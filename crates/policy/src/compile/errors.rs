//! Errors of a policy text, each with its place and a hint.

use std::fmt;

use cedar_policy::ParseErrors;
use cedar_policy::ffi::DetailedError;

use super::{BRACKETS_DEPTH_MAX, BRANCHES_MAX, OPERATORS_MAX, POLICY_LEN_MAX, POLICY_TEXT_LEN_MAX};

/// One problem of a policy text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// All problems that were found in a policy text; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyErrors {
    first: PolicyError,
    others: Vec<PolicyError>,
}

/// A text being compiled.
pub(super) struct Source<'a> {
    text: &'a str,
}

impl PolicyErrors {
    /// The problems, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &PolicyError> {
        std::iter::once(&self.first).chain(&self.others)
    }

    pub(super) fn some(mut errors: Vec<PolicyError>) -> Option<Self> {
        errors.sort_by_key(|error| (error.line, error.column));
        // One mistake is found once for each tool that it concerns.
        errors.dedup();
        let mut errors = errors.into_iter();
        Some(Self {
            first: errors.next()?,
            others: errors.collect(),
        })
    }
}

impl<'a> Source<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// Bounds what the recursive parts of parser and validator are given.
    pub(super) fn check_size(&self) -> Result<(), PolicyErrors> {
        if self.text.len() > POLICY_TEXT_LEN_MAX {
            return Err(self.whole("the text has more than 1 MiB"));
        }
        let (mut depth, mut start, mut branches, mut operators) = (0_usize, 0, 0_usize, 0_usize);
        for (place, byte) in code(self.text) {
            match byte {
                b'(' | b'[' | b'{' => depth = depth.saturating_add(1),
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                b';' => (start, branches, operators) = (place, 0, 0),
                b'&' | b'|' | b'+' | b'-' | b'*' | b'.' => operators = operators.saturating_add(1),
                b'e' if self
                    .text
                    .get(place..)
                    .is_some_and(|rest| rest.starts_with("else")) =>
                {
                    branches = branches.saturating_add(1);
                }
                _ => {}
            }
            let problem = match () {
                () if depth > BRACKETS_DEPTH_MAX => "brackets are nested more than 64 deep",
                () if branches > BRANCHES_MAX => "more than 64 times `else` in one policy",
                () if operators > OPERATORS_MAX => "more than 512 operators in one policy",
                () if place.saturating_sub(start) > POLICY_LEN_MAX => {
                    "the policy before this place has more than 16 KiB"
                }
                () => continue,
            };
            return Err(self.only(place, problem));
        }
        Ok(())
    }

    /// A problem of the text as a whole.
    pub(super) fn whole(&self, message: &str) -> PolicyErrors {
        self.only(0, message)
    }

    /// One problem that ends the reading.
    fn only(&self, place: usize, message: &str) -> PolicyErrors {
        PolicyErrors {
            first: self.at(place, None, message),
            others: Vec::new(),
        }
    }

    pub(super) fn parse_errors(&self, errors: &ParseErrors) -> PolicyErrors {
        let each = errors.iter().map(|error| self.diagnostic(error)).collect();
        PolicyErrors::some(each).unwrap_or_else(|| self.whole("the text is not a set of policies"))
    }

    /// Anything that Cedar has to say, with its place.
    pub(super) fn diagnostic<'e, E: ?Sized>(&self, error: &'e E) -> PolicyError
    where
        DetailedError: From<&'e E>,
    {
        let detailed = DetailedError::from(error);
        let place = detailed
            .source_locations
            .first()
            .map_or(0, |label| label.loc.start);
        self.at(place, detailed.help, &detailed.message)
    }

    pub(super) fn at(&self, place: usize, hint: Option<String>, message: &str) -> PolicyError {
        let before = self.text.get(..place).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
        let line = before
            .bytes()
            .filter(|byte| *byte == b'\n')
            .count()
            .saturating_add(1);
        let column = before
            .get(line_start..)
            .map_or(0, |text| text.chars().count());
        PolicyError {
            line,
            column: column.saturating_add(1),
            message: message.to_owned(),
            hint,
        }
    }
}

/// The bytes of a text that are neither in a string nor in a comment, with their places.
fn code(text: &str) -> impl Iterator<Item = (usize, u8)> {
    let mut bytes = text.bytes().enumerate().peekable();
    let (mut in_string, mut in_comment) = (false, false);
    std::iter::from_fn(move || {
        loop {
            let (place, byte) = bytes.next()?;
            match byte {
                b'\\' if in_string => drop(bytes.next()),
                b'"' if !in_comment => in_string = !in_string,
                b'\n' => in_comment = false,
                b'/' if !in_string && bytes.peek().is_some_and(|(_, next)| *next == b'/') => {
                    in_comment = true;
                }
                _ if in_string || in_comment => {}
                _ => return Some((place, byte)),
            }
        }
    })
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.others
            .iter()
            .try_for_each(|error| write!(f, "\n{error}"))
    }
}

impl std::error::Error for PolicyErrors {}
