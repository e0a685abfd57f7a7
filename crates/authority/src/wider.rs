//! Why an authority is not narrower than another: what failed, and a call that shows it.

use std::fmt;

use aims_json::{Object, Value};
use aims_types::{Name, Timestamp};

use crate::http::request;
use crate::problem::shown;
use crate::refusal::shown_value;
use crate::{ArgumentName, Call, Host, HttpCall, HttpMethod, ToolName};

/// In what a child asks for more than its parent holds. Each has a stable code for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Widening {
    /// The parent may not be delegated that many hops further.
    Depth,
    /// The parent does not name the tool.
    Tool,
    /// The parent does not name the host and port.
    Host,
    /// The parent does not name the upstream with this method and path.
    Request,
    /// The parent allows no query.
    Query,
    /// The child's bodies are not proven to be among the parent's.
    Body,
    /// The parent does not name the argument.
    ArgumentNamed,
    /// The child may leave the argument out, the parent may not.
    ArgumentOptional,
    /// The child's values of the argument are not proven to be among the parent's.
    ArgumentValues,
    /// The child ends later than the parent, or never.
    End,
    /// The child may be used more often.
    Uses,
    /// The child may be used faster.
    Rate,
    /// The child may reach a greater sum.
    Sum,
}

impl Widening {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Depth,
        Self::Tool,
        Self::Host,
        Self::Request,
        Self::Query,
        Self::Body,
        Self::ArgumentNamed,
        Self::ArgumentOptional,
        Self::ArgumentValues,
        Self::End,
        Self::Uses,
        Self::Rate,
        Self::Sum,
    ];

    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Depth => "wider_depth",
            Self::Tool => "wider_tool",
            Self::Host => "wider_host",
            Self::Request => "wider_request",
            Self::Query => "wider_query",
            Self::Body => "wider_body",
            Self::ArgumentNamed => "wider_argument_named",
            Self::ArgumentOptional => "wider_argument_optional",
            Self::ArgumentValues => "wider_argument_values",
            Self::End => "wider_end",
            Self::Uses => "wider_uses",
            Self::Rate => "wider_rate",
            Self::Sum => "wider_sum",
        }
    }

    /// What is wrong, in words.
    const fn says(self) -> &'static str {
        match self {
            Self::Depth => "the authority above may not be delegated that many hops further",
            Self::Tool => "the authority above does not name this tool",
            Self::Host => "the authority above does not name this host and port",
            Self::Request => "the authority above does not name this request",
            Self::Query => "the authority above allows no query",
            Self::Body => "not all bodies asked for are allowed by the authority above",
            Self::ArgumentNamed => "the authority above does not name this argument",
            Self::ArgumentOptional => "the authority above needs this argument to be given",
            Self::ArgumentValues => "not all values asked for are allowed by the authority above",
            Self::End => "the authority above ends earlier",
            Self::Uses => "the authority above has fewer uses",
            Self::Rate => "the authority above has a lower rate",
            Self::Sum => "the authority above has a lower sum over the argument",
        }
    }
}

impl fmt::Display for Widening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Containment is not proven, and so it is refused. Every text in it is short and printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wider(Box<Parts>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    rule: Widening,
    detail: Option<usize>,
    resource: Option<String>,
    argument: Option<String>,
    asked: String,
    allowed: String,
    example: Option<Example>,
}

/// A call that the child would allow and the parent refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    call: ExampleCall,
    at: Timestamp,
}

/// The call of an [`Example`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExampleCall {
    /// A call of a tool.
    Tool {
        /// The server.
        server: Name,
        /// The tool.
        tool: ToolName,
        /// The arguments.
        arguments: Object,
    },
    /// An opaque connection.
    Egress {
        /// The host.
        host: Host,
        /// The port.
        port: u16,
    },
    /// A request to an upstream.
    Http {
        /// The upstream.
        upstream: Name,
        /// The method.
        method: HttpMethod,
        /// The path.
        path: String,
        /// Whether there is a query.
        query: bool,
        /// The body as one JSON object; `None` if it is anything else.
        body: Option<Object>,
    },
}

impl Wider {
    /// In what it is wider.
    pub fn rule(&self) -> Widening {
        self.0.rule
    }

    /// The place of the child's detail that is wider, if it is a detail and not a limit.
    pub fn detail(&self) -> Option<usize> {
        self.0.detail
    }

    /// The tool (`server/tool`), host (`host:port`) or request (`POST upstream/path`)
    /// concerned, if it is a detail.
    pub fn resource(&self) -> Option<&str> {
        self.0.resource.as_deref()
    }

    /// The argument concerned, if the rule speaks of one.
    pub fn argument(&self) -> Option<&str> {
        self.0.argument.as_deref()
    }

    /// What the child asks for, in words.
    pub fn asked(&self) -> &str {
        &self.0.asked
    }

    /// What the parent allows, in words.
    pub fn allowed(&self) -> &str {
        &self.0.allowed
    }

    /// A call that the child allows and the parent refuses, where one was found. Without one the
    /// child may be narrower after all: it is only not proven.
    pub fn example(&self) -> Option<&Example> {
        self.0.example.as_ref()
    }

    /// The JSON form for records and answers: `code`, `asked`, `allowed` and, where they are known,
    /// `detail`, `resource`, `argument` and `example`, all of them texts but for `detail`.
    pub fn to_value(&self) -> Value {
        let mut object = Object::new()
            .with("code", self.rule().code())
            .with("asked", self.asked())
            .with("allowed", self.allowed());
        if let Some(detail) = self.detail().and_then(|detail| u64::try_from(detail).ok()) {
            object = object.with("detail", detail);
        }
        let example = self.example().map(ToString::to_string);
        for (name, text) in [
            ("resource", self.resource()),
            ("argument", self.argument()),
            ("example", example.as_deref()),
        ] {
            if let Some(text) = text {
                object = object.with(name, text);
            }
        }
        object.into()
    }

    pub(crate) fn new(
        rule: Widening,
        asked: impl fmt::Display,
        allowed: impl fmt::Display,
    ) -> Self {
        Self(Box::new(Parts {
            rule,
            detail: None,
            resource: None,
            argument: None,
            asked: asked.to_string(),
            allowed: allowed.to_string(),
            example: None,
        }))
    }

    pub(crate) fn in_detail(mut self, detail: usize, resource: String) -> Self {
        self.0.detail = Some(detail);
        self.0.resource = Some(resource);
        self
    }

    pub(crate) fn of_argument(mut self, name: &ArgumentName) -> Self {
        self.0.argument = Some(shown(name.as_str()));
        self
    }

    pub(crate) fn shown_by(mut self, example: Option<Example>) -> Self {
        self.0.example = example;
        self
    }
}

impl fmt::Display for Wider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.rule.says())?;
        if let Some(resource) = &self.0.resource {
            write!(f, ": `{resource}`")?;
        }
        if let Some(argument) = &self.0.argument {
            let mark = if self.0.resource.is_some() { "," } else { ":" };
            write!(f, "{mark} argument `{argument}`")?;
        }
        write!(
            f,
            "; asked for: {}; allowed: {}",
            self.0.asked, self.0.allowed
        )?;
        match &self.0.example {
            Some(example) => write!(f, "; it would let through {example}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Wider {}

impl Example {
    /// The call.
    pub const fn call(&self) -> &ExampleCall {
        &self.call
    }

    /// When the call would be made.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    pub(crate) const fn new(call: ExampleCall, at: Timestamp) -> Self {
        Self { call, at }
    }
}

impl ExampleCall {
    /// The call as [`crate::allows`] takes it.
    pub fn as_call(&self) -> Call<'_> {
        match self {
            Self::Tool {
                server,
                tool,
                arguments,
            } => Call::Tool {
                server,
                tool: tool.as_str(),
                arguments,
            },
            Self::Egress { host, port } => Call::Egress {
                host: host.as_str(),
                port: *port,
            },
            Self::Http {
                upstream,
                method,
                path,
                query,
                body,
            } => Call::Http(HttpCall {
                upstream,
                method: method.as_str(),
                path,
                query: *query,
                body: body.as_ref(),
            }),
        }
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.call {
            ExampleCall::Egress { host, port } => write!(f, "`{host}:{port}`")?,
            ExampleCall::Tool {
                server,
                tool,
                arguments,
            } => {
                write!(f, "`{server}/{tool}`")?;
                write_arguments(f, arguments)?;
            }
            ExampleCall::Http {
                upstream,
                method,
                path,
                query,
                body,
            } => {
                write!(f, "`{}`", request(upstream, method.as_str(), path))?;
                if *query {
                    f.write_str(" with a query")?;
                }
                match body {
                    Some(members) => write_arguments(f, members)?,
                    None => f.write_str(" with a body that is no JSON object")?,
                }
            }
        }
        // The epoch stands for any instant before both authorities end.
        if self.at > Timestamp::from_unix_millis(0) {
            write!(f, " at {}", self.at)?;
        }
        Ok(())
    }
}

/// At most this many arguments of an example are shown in words.
const SHOWN_MAX: usize = 8;

fn write_arguments(f: &mut fmt::Formatter<'_>, arguments: &Object) -> fmt::Result {
    for (place, (name, value)) in arguments.iter().enumerate().take(SHOWN_MAX) {
        let glue = if place == 0 { " with" } else { "," };
        write!(f, "{glue} `{}` = `{}`", shown(name), shown_value(value))?;
    }
    Ok(())
}
