//! Refusals that teach: the rule, the argument, what was seen, what would be allowed.

use std::fmt;

use aims_json::Value;

use crate::problem::shown;

/// The rule by which a call is refused. Each has a stable code for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// The authority is past its end.
    AuthorityExpired,
    /// No detail names the tool.
    ToolNotAllowed,
    /// No detail names the host and port.
    HostNotAllowed,
    /// No detail names the upstream with this method and path.
    RequestNotAllowed,
    /// The request has a query, and the detail allows none.
    QueryNotAllowed,
    /// The body is not the one JSON object that the detail's constraints speak of.
    BodyNotAllowed,
    /// The argument is not named by the detail.
    ArgumentNotAllowed,
    /// The argument has to be there.
    ArgumentMissing,
    /// The argument has a JSON type that its constraint does not speak of.
    ArgumentType,
    /// The argument differs from the one value allowed.
    ArgumentNotEqual,
    /// The argument is not one of the values allowed.
    ArgumentNotListed,
    /// The argument is not a normalised path below the directory allowed.
    ArgumentOutsidePath,
    /// The argument does not match the pattern.
    ArgumentNoMatch,
    /// The argument is a number outside the range.
    ArgumentOutOfRange,
    /// The argument is a list with an item that is not allowed.
    ArgumentNotSubset,
    /// The argument is a text or list that is too long.
    ArgumentTooLong,
    /// The number of uses is reached, calls in flight included.
    UsesExhausted,
    /// Too many calls within the rate's period.
    RateExceeded,
    /// The sum over an argument would pass its limit.
    SumExceeded,
    /// The argument is summed, but is not an exact number of zero or more.
    SumNotCountable,
}

impl Rule {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::AuthorityExpired => "authority_expired",
            Self::ToolNotAllowed => "tool_not_allowed",
            Self::HostNotAllowed => "host_not_allowed",
            Self::RequestNotAllowed => "request_not_allowed",
            Self::QueryNotAllowed => "query_not_allowed",
            Self::BodyNotAllowed => "body_not_allowed",
            Self::ArgumentNotAllowed => "argument_not_allowed",
            Self::ArgumentMissing => "argument_missing",
            Self::ArgumentType => "argument_type",
            Self::ArgumentNotEqual => "argument_not_equal",
            Self::ArgumentNotListed => "argument_not_listed",
            Self::ArgumentOutsidePath => "argument_outside_path",
            Self::ArgumentNoMatch => "argument_no_match",
            Self::ArgumentOutOfRange => "argument_out_of_range",
            Self::ArgumentNotSubset => "argument_not_subset",
            Self::ArgumentTooLong => "argument_too_long",
            Self::UsesExhausted => "uses_exhausted",
            Self::RateExceeded => "rate_exceeded",
            Self::SumExceeded => "sum_exceeded",
            Self::SumNotCountable => "sum_not_countable",
        }
    }

    /// What the rule says, in words.
    const fn says(self) -> &'static str {
        match self {
            Self::AuthorityExpired => "the authority has ended",
            Self::ToolNotAllowed => "the authority does not name this tool",
            Self::HostNotAllowed => "the authority does not name this host and port",
            Self::RequestNotAllowed => "the authority does not name this request",
            Self::QueryNotAllowed => "the authority allows no query",
            Self::BodyNotAllowed => "the body is not what the authority speaks of",
            Self::ArgumentNotAllowed => "the authority does not name this argument",
            Self::ArgumentMissing => "this argument has to be given",
            Self::ArgumentType => "the argument has a type that is not allowed",
            Self::ArgumentNotEqual => "the argument differs from the one value allowed",
            Self::ArgumentNotListed => "the argument is not one of the values allowed",
            Self::ArgumentOutsidePath => "the argument is not a path within the directory allowed",
            Self::ArgumentNoMatch => "the argument does not match the pattern allowed",
            Self::ArgumentOutOfRange => "the argument is outside the range allowed",
            Self::ArgumentNotSubset => "the list has an item that is not allowed",
            Self::ArgumentTooLong => "the argument is too long",
            Self::UsesExhausted => "all uses of the authority are taken",
            Self::RateExceeded => "too many calls in too short a time",
            Self::SumExceeded => "the sum over the argument would pass its limit",
            Self::SumNotCountable => {
                "the argument is summed and is not an exact number from zero up"
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Why a call is refused. Every text in it is short and printable, whatever the call held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    rule: Rule,
    argument: Option<String>,
    seen: Option<String>,
    allowed: Option<String>,
}

impl Refusal {
    /// The rule.
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// The argument concerned, if the rule speaks of one.
    pub fn argument(&self) -> Option<&str> {
        self.argument.as_deref()
    }

    /// What the call held, shortened.
    pub fn seen(&self) -> Option<&str> {
        self.seen.as_deref()
    }

    /// What would be allowed, in words.
    pub fn allowed(&self) -> Option<&str> {
        self.allowed.as_deref()
    }

    pub(crate) const fn new(rule: Rule) -> Self {
        Self {
            rule,
            argument: None,
            seen: None,
            allowed: None,
        }
    }

    pub(crate) fn of_argument(mut self, name: &str) -> Self {
        self.argument = Some(shown(name));
        self
    }

    pub(crate) fn saw(mut self, text: &str) -> Self {
        self.seen = Some(shown(text));
        self
    }

    pub(crate) fn saw_value(mut self, value: &Value) -> Self {
        self.seen = Some(shown_value(value));
        self
    }

    pub(crate) fn allows(mut self, text: impl fmt::Display) -> Self {
        self.allowed = Some(text.to_string());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule.says())?;
        match (&self.argument, &self.seen) {
            (Some(argument), Some(seen)) => write!(f, ": `{argument}` is `{seen}`")?,
            (Some(argument), None) => write!(f, ": `{argument}`")?,
            (None, Some(seen)) => write!(f, ": `{seen}`")?,
            (None, None) => {}
        }
        match &self.allowed {
            Some(allowed) => write!(f, "; allowed: {allowed}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// A value made safe and short enough to repeat.
pub(crate) fn shown_value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => shown(n.as_str()),
        Value::String(s) => shown(s),
        Value::Array(items) => format!("a list of {} items", items.len()),
        Value::Object(members) => format!("an object of {} members", members.len()),
    }
}
