//! `http_request`: requests to one registered upstream.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use aims_json::Object;
use aims_types::Name;

use crate::arguments::{Arguments, Objections, objections};
use crate::problem::{counted, shown};
use crate::{ARGUMENTS_MAX, PathPrefix, Problem, Refusal, Rule};

/// Requests to one upstream: these methods, below this path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    upstream: Name,
    methods: BTreeSet<HttpMethod>,
    path: HttpPath,
    query: bool,
    body: Body,
}

/// What an authority says of the body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Anything, or nothing.
    Any,
    /// One JSON object with no other members than these; no body counts as no members.
    Members(Arguments),
}

/// A method that requests may have (RFC 9110 §9.3, RFC 5789).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpMethod {
    /// `DELETE`.
    Delete,
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `PATCH`.
    Patch,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
}

/// A path below which requests may go, segment by segment, in the one spelling of
/// [`is_http_path`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpPath(PathPrefix);

/// A request that an authority is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpCall<'a> {
    /// The upstream.
    pub upstream: &'a Name,
    /// The method.
    pub method: &'a str,
    /// The path at the upstream, without the query.
    pub path: &'a str,
    /// Whether there is a query.
    pub query: bool,
    /// The body as one JSON object, parsed strictly; empty if there is no body, `None` if it is
    /// anything else.
    pub body: Option<&'a Object>,
}

/// Whether a path has the one spelling that everybody reads alike: it starts with `/`, and has no
/// empty, `.` or `..` segment, no percent-encoding, and no `;` (RFC 3986 §3.3), by which servers
/// disagree on what a path is.
pub fn is_http_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:,+=".contains(&b);
    path.bytes().all(plain) && path.parse::<PathPrefix>().is_ok()
}

impl Http {
    /// The detail that allows requests with these methods to `upstream` below `path`.
    pub fn new(
        upstream: Name,
        methods: BTreeSet<HttpMethod>,
        path: HttpPath,
        query: bool,
        body: Body,
    ) -> Result<Self, Problem> {
        counted(methods.len(), 1, HttpMethod::ALL.len())?;
        if let Body::Members(members) = &body {
            counted(members.len(), 0, ARGUMENTS_MAX)?;
        }
        Ok(Self {
            upstream,
            methods,
            path,
            query,
            body,
        })
    }

    /// The upstream.
    pub const fn upstream(&self) -> &Name {
        &self.upstream
    }

    /// The methods.
    pub const fn methods(&self) -> &BTreeSet<HttpMethod> {
        &self.methods
    }

    /// The path at or below which requests go.
    pub const fn path(&self) -> &HttpPath {
        &self.path
    }

    /// Whether requests may have a query, whatever it says.
    pub const fn query(&self) -> bool {
        self.query
    }

    /// What bodies may be.
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// Whether the detail names this upstream, method and path.
    pub fn names(&self, upstream: &Name, method: &str, path: &str) -> bool {
        self.upstream == *upstream
            && self.methods.iter().any(|one| one.as_str() == method)
            && self.path.holds(path)
    }

    /// What the detail has against the query and the body of a request that it names.
    pub(crate) fn objections(
        &self,
        call: &HttpCall<'_>,
        summed: impl Fn(&str) -> bool,
    ) -> Objections {
        let mut all = match (&self.body, call.body) {
            (Body::Any, _) => Objections::none(),
            (Body::Members(members), Some(given)) => objections(members, given, summed),
            (Body::Members(_), None) => {
                let mut none = Objections::none();
                none.add(|| Refusal::new(Rule::BodyNotAllowed).allows(&self.body));
                none
            }
        };
        if call.query && !self.query {
            all.add_first(Refusal::new(Rule::QueryNotAllowed).allows("requests without a query"));
        }
        all
    }

    /// The members that bodies may have; none if they may be anything.
    pub(crate) const fn members(&self) -> Option<&Arguments> {
        match &self.body {
            Body::Any => None,
            Body::Members(members) => Some(members),
        }
    }
}

impl HttpMethod {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Delete,
        Self::Get,
        Self::Head,
        Self::Patch,
        Self::Post,
        Self::Put,
    ];

    /// The method as requests spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

impl HttpPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether `path` is this one or lies below it.
    pub fn holds(&self, path: &str) -> bool {
        is_http_path(path) && self.0.holds(path)
    }
}

impl FromStr for HttpMethod {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|method| method.as_str() == text);
        found.ok_or_else(|| Problem::Text {
            seen: shown(text),
            expected: "a method: `DELETE`, `GET`, `HEAD`, `PATCH`, `POST` or `PUT`",
        })
    }
}

impl FromStr for HttpPath {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_http_path(text) {
            return text.parse().map(Self);
        }
        let expected = "a path of letters, digits and `-._~:,+=`, without empty, `.` or `..` \
                        segments and percent-encoding";
        Err(Problem::Text {
            seen: shown(text),
            expected,
        })
    }
}

impl fmt::Display for HttpMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for HttpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any body"),
            Self::Members(members) if members.is_empty() => f.write_str("no body"),
            Self::Members(_) => f.write_str("one JSON object (`application/json`) as the body"),
        }
    }
}

/// A request in words: `POST model/v1/chat`.
pub(crate) fn request(upstream: &Name, method: &str, path: &str) -> String {
    format!("{} {upstream}{}", shown(method), shown(path))
}

#[cfg(test)]
mod tests;
