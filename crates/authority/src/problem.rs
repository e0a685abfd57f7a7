//! Why a text or a JSON value is not an authority.

/// What is wrong with one part of an authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The part has another JSON type.
    #[error("expected {expected}")]
    Type {
        /// What belongs here.
        expected: &'static str,
    },
    /// A member that this form does not have. Refused, as it could only have meant a restriction.
    #[error("unknown member `{member}`")]
    UnknownMember {
        /// The member's name.
        member: String,
    },
    /// A member that this form needs.
    #[error("member `{member}` is missing")]
    MissingMember {
        /// The member's name.
        member: &'static str,
    },
    /// A `type` of detail that we do not enforce (RFC 9396 §5).
    #[error("unknown type `{seen}`; known are `mcp_tool`, `http_request` and `https_connect`")]
    UnknownType {
        /// The type that was asked for.
        seen: String,
    },
    /// A text outside the grammar of its kind.
    #[error("`{seen}` is not {expected}")]
    Text {
        /// The text, shortened.
        seen: String,
        /// The grammar in words.
        expected: &'static str,
    },
    /// A number outside its bounds.
    #[error("expected a whole number from {min} to {max}")]
    Number {
        /// The least that is accepted.
        min: u64,
        /// The most that is accepted.
        max: u64,
    },
    /// Too many or too few entries.
    #[error("{count} entries where {min} to {max} are accepted")]
    Count {
        /// How many there are.
        count: usize,
        /// The fewest accepted.
        min: usize,
        /// The most accepted.
        max: usize,
    },
    /// The same entry twice.
    #[error("`{entry}` is given twice")]
    Duplicate {
        /// The entry.
        entry: String,
    },
    /// A range that holds nothing, or everything.
    #[error("a range has a `min`, a `max` or both, and `min` is at most `max`")]
    Range,
    /// An argument with no constraint and no `any`.
    #[error("an argument needs a constraint; say \"any\" to leave it free")]
    NoConstraint,
    /// A number that a set cannot name exactly.
    #[error("only whole numbers within 2^53 can be listed; use `range` with texts for others")]
    InexactScalar,
    /// A sum over an argument that no detail names.
    #[error("no tool names the argument `{argument}`, so nothing would be summed")]
    SumWithoutArgument {
        /// The argument of the sum.
        argument: String,
    },
    /// A sum over an argument that a call could leave out.
    #[error("the argument `{argument}` is summed and may therefore not be optional")]
    SumOfOptional {
        /// The argument of the sum.
        argument: String,
    },
    /// A sum over an argument that a body of any form could hold uncounted.
    #[error("bodies may be anything, so `{argument}` could go uncounted; name what they may hold")]
    SumInAnyBody {
        /// The argument of the sum.
        argument: String,
    },
}

/// A JSON value is not an authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{at}`: {problem}")]
pub struct AuthorityError {
    at: String,
    problem: Problem,
}

impl AuthorityError {
    /// Where in the value the problem is, for example `authorization_details[0].actions`.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// What is wrong there.
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The problem at a place named by its caller.
    pub(crate) fn new(at: impl Into<String>, problem: Problem) -> Self {
        Self {
            at: at.into(),
            problem,
        }
    }

    /// The same problem seen from the value that contains `parent`.
    #[must_use]
    pub(crate) fn within(mut self, parent: &str) -> Self {
        let dot = if self.at.is_empty() || self.at.starts_with('[') {
            ""
        } else {
            "."
        };
        self.at = format!("{parent}{dot}{}", self.at);
        self
    }
}

impl From<Problem> for AuthorityError {
    fn from(problem: Problem) -> Self {
        Self {
            at: String::new(),
            problem,
        }
    }
}

/// At most this many characters of a foreign text are repeated in a message.
const SEEN_LEN_MAX: usize = 80;

/// A foreign text made safe to repeat: shortened, with nothing unprintable in it.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == SEEN_LEN_MAX {
            out.push('…');
            break;
        }
        // `escape_debug` also escapes quotes, which need no escape within backticks.
        if c == '"' || c == '\'' {
            out.push(c);
        } else {
            out.extend(c.escape_debug());
        }
    }
    out
}

/// Checks a count of entries.
pub(crate) const fn counted(count: usize, min: usize, max: usize) -> Result<(), Problem> {
    if count < min || count > max {
        Err(Problem::Count { count, min, max })
    } else {
        Ok(())
    }
}
