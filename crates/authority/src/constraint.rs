//! Constraints on one argument of a tool.

use std::fmt;

use aims_json::Value;

use crate::problem::counted;
use crate::{Glob, PathPrefix, Problem, Range, Rule, Scalar, ScalarSet};

/// What an authority says of one argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// Any value, or none.
    Any,
    /// A value within all of these bounds.
    Bounded(Bounds),
}

/// One to seven constraints of different kinds that a value must meet together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    optional: bool,
    constraints: Vec<Constraint>,
}

/// One constraint. A value of another JSON type than the constraint speaks of does not meet it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constraint {
    /// The value is this scalar.
    Equals(Scalar),
    /// The value is one of these scalars.
    OneOf(ScalarSet),
    /// The value is a text that names this directory or something below it.
    PathPrefix(PathPrefix),
    /// The value is a text that matches the pattern.
    Glob(Glob),
    /// The value is a number within the range.
    Range(Range),
    /// The value is an array whose items are all among these scalars.
    SubsetOf(ScalarSet),
    /// The value is a text of at most so many characters or an array of at most so many items.
    MaxLength(u32),
}

impl Argument {
    /// Whether a call may leave the argument out.
    pub const fn may_be_absent(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Bounded(bounds) => bounds.optional,
        }
    }

    /// The first constraint that `value` breaks, and how.
    pub(crate) fn broken_by(&self, value: &Value) -> Option<(Rule, &Constraint)> {
        match self {
            Self::Any => None,
            Self::Bounded(bounds) => bounds
                .constraints
                .iter()
                .find_map(|constraint| Some((constraint.broken_by(value)?, constraint))),
        }
    }
}

impl Bounds {
    /// The bounds made of these constraints, of which no two may be of one kind.
    pub fn new(mut constraints: Vec<Constraint>, optional: bool) -> Result<Self, Problem> {
        if constraints.is_empty() {
            return Err(Problem::NoConstraint);
        }
        counted(constraints.len(), 1, Constraint::KINDS.len())?;
        constraints.sort_by_key(Constraint::kind);
        let twice = constraints.windows(2).find_map(|pair| match pair {
            [a, b] if a.kind() == b.kind() => Some(a.kind()),
            _ => None,
        });
        match twice {
            Some(kind) => Err(Problem::Duplicate {
                entry: kind.to_owned(),
            }),
            None => Ok(Self {
                optional,
                constraints,
            }),
        }
    }

    /// The constraints, in the order of their kinds' names.
    pub fn constraints(&self) -> &[Constraint] {
        &self.constraints
    }

    /// Whether a call may leave the argument out.
    pub const fn optional(&self) -> bool {
        self.optional
    }
}

impl Constraint {
    /// The names of the kinds, as members of the wire form.
    pub(crate) const KINDS: [&'static str; 7] = [
        "equals",
        "glob",
        "max_length",
        "one_of",
        "path_prefix",
        "range",
        "subset_of",
    ];

    /// The name of the constraint's kind: the member of the wire form.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Equals(_) => "equals",
            Self::OneOf(_) => "one_of",
            Self::PathPrefix(_) => "path_prefix",
            Self::Glob(_) => "glob",
            Self::Range(_) => "range",
            Self::SubsetOf(_) => "subset_of",
            Self::MaxLength(_) => "max_length",
        }
    }

    /// Whether `value` meets the constraint.
    pub(crate) fn holds(&self, value: &Value) -> bool {
        self.broken_by(value).is_none()
    }

    /// The rule by which `value` is refused; none if the value meets the constraint.
    fn broken_by(&self, value: &Value) -> Option<Rule> {
        let (meets, otherwise) = match (self, value) {
            (Self::Equals(scalar), _) => (scalar.is(value), Rule::ArgumentNotEqual),
            (Self::OneOf(set), _) => (set.holds(value), Rule::ArgumentNotListed),
            (Self::PathPrefix(prefix), Value::String(text)) => {
                (prefix.holds(text), Rule::ArgumentOutsidePath)
            }
            (Self::Glob(glob), Value::String(text)) => (glob.holds(text), Rule::ArgumentNoMatch),
            (Self::Range(range), Value::Number(number)) => {
                // A number too long for an exact decimal is in no range.
                let held = number
                    .as_decimal()
                    .is_some_and(|number| range.holds(&number));
                (held, Rule::ArgumentOutOfRange)
            }
            (Self::SubsetOf(set), Value::Array(items)) => (
                items.iter().all(|item| set.holds(item)),
                Rule::ArgumentNotSubset,
            ),
            (Self::MaxLength(max), Value::String(text)) => {
                (at_most(text.chars(), *max), Rule::ArgumentTooLong)
            }
            (Self::MaxLength(max), Value::Array(items)) => {
                (at_most(items.iter(), *max), Rule::ArgumentTooLong)
            }
            _ => (false, Rule::ArgumentType),
        };
        (!meets).then_some(otherwise)
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(scalar) => write!(f, "{scalar}"),
            Self::OneOf(set) => write!(f, "one of {set}"),
            Self::PathPrefix(path) => write!(f, "`{path}` or a normalised path below it"),
            Self::Glob(glob) => write!(f, "a text that matches `{glob}`"),
            Self::Range(range) => write!(f, "{range}"),
            Self::SubsetOf(set) => write!(f, "a list with no other items than {set}"),
            Self::MaxLength(max) => {
                write!(f, "a text or list of at most {max} characters or items")
            }
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Bounded(bounds) => {
                for (place, constraint) in bounds.constraints.iter().enumerate() {
                    let and = if place == 0 { "" } else { " and " };
                    write!(f, "{and}{constraint}")?;
                }
                f.write_str(if bounds.optional { ", or nothing" } else { "" })
            }
        }
    }
}

/// Whether there are at most `max` items, looking at no more than needed.
fn at_most(items: impl Iterator, max: u32) -> bool {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    items.take(max.saturating_add(1)).count() <= max
}
