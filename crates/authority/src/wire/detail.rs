//! The wire form of details and of constraints on arguments.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::num::NonZeroU16;
use std::str::FromStr;

use aims_json::{Object, Value};
use aims_types::Name;

use super::reader::{Members, at_index, members, parsed};
use crate::problem::{counted, shown};
use crate::{
    ACTIONS_MAX, Argument, ArgumentName, Arguments, AuthorityError, Body, Bounds, Constraint,
    Detail, Egress, Http, HttpMethod, Problem, Range, SET_LEN_MAX, Scalar, ScalarSet, ToolName,
    Tools,
};

const TOOL: &str = "mcp_tool";
const CONNECT: &str = "https_connect";
const REQUEST: &str = "http_request";
const ANY: &str = "any";
const OPTIONAL: &str = "optional";
/// What names of what is registered look like.
const SERVER: &str = "a server's name: 1 to 63 characters of a-z, 0-9 and `-`";
const UPSTREAM: &str = "an upstream's name: 1 to 63 characters of a-z, 0-9 and `-`";

pub(super) fn read(value: &Value) -> Result<Detail, AuthorityError> {
    let kind = value
        .get("type")
        .ok_or(Problem::MissingMember { member: "type" })?;
    match kind.as_str() {
        Some(TOOL) => tools(&members(
            value,
            &["type", "server", "actions", "arguments"],
        )?),
        Some(CONNECT) => egress(&members(value, &["type", "host", "port"])?),
        Some(REQUEST) => {
            let known = ["type", "upstream", "methods", "path", "query", "body"];
            http(&members(value, &known)?)
        }
        Some(other) => Err(Problem::UnknownType { seen: shown(other) }.into()),
        None => Err(AuthorityError::new(
            "type",
            Problem::Type { expected: "a text" },
        )),
    }
}

pub(super) fn write(detail: &Detail) -> Value {
    match detail {
        Detail::Egress(egress) => Object::new()
            .with("type", CONNECT)
            .with("host", egress.host().as_str())
            .with("port", u64::from(egress.port()))
            .into(),
        Detail::Tools(tools) => {
            let actions: Vec<Value> = tools.actions().iter().map(|a| a.as_str().into()).collect();
            Object::new()
                .with("type", TOOL)
                .with("server", tools.server().as_str())
                .with("actions", actions)
                .with("arguments", write_arguments(tools.arguments()))
                .into()
        }
        Detail::Http(http) => write_http(http).into(),
    }
}

fn write_http(http: &Http) -> Object {
    let methods: Vec<Value> = http.methods().iter().map(|m| m.as_str().into()).collect();
    let object = Object::new()
        .with("type", REQUEST)
        .with("upstream", http.upstream().as_str())
        .with("methods", methods)
        .with("path", http.path().as_str());
    let object = match http.body() {
        Body::Any => object.with("body", ANY),
        Body::Members(members) => object.with("body", write_arguments(members)),
    };
    if http.query() {
        object.with("query", ANY)
    } else {
        object
    }
}

fn write_arguments(arguments: &Arguments) -> Object {
    let arguments = arguments.iter();
    arguments.fold(Object::new(), |object, (name, argument)| {
        object.with(name.as_str(), write_argument(argument))
    })
}

fn tools(members: &Members<'_>) -> Result<Detail, AuthorityError> {
    let server = name(members, "server", SERVER)?;
    let actions = actions(members.array("actions")?).map_err(|e| e.within("actions"))?;
    let given = members.needed("arguments")?;
    let arguments = arguments(given).map_err(|e| e.within("arguments"))?;
    Ok(Detail::Tools(Tools::new(server, actions, arguments)?))
}

/// A name of something that is registered.
fn name(
    members: &Members<'_>,
    member: &'static str,
    expected: &'static str,
) -> Result<Name, AuthorityError> {
    let text = members.needed(member)?.as_str().unwrap_or_default();
    text.parse().map_err(|_| {
        let seen = shown(text);
        AuthorityError::new(member, Problem::Text { seen, expected })
    })
}

/// Requests to an upstream. What is not said of query and body is not allowed.
fn http(members: &Members<'_>) -> Result<Detail, AuthorityError> {
    let upstream = name(members, "upstream", UPSTREAM)?;
    let methods = methods(members.array("methods")?).map_err(|e| e.within("methods"))?;
    let path = members.parsed("path")?;
    let query = match members.get("query") {
        None => false,
        Some(value) if value.as_str() == Some(ANY) => true,
        Some(_) => {
            let expected = "\"any\", or nothing if there may be none";
            return Err(AuthorityError::new("query", Problem::Type { expected }));
        }
    };
    let body = members.needed("body")?;
    let body = match body.as_str() {
        Some(ANY) => Body::Any,
        _ => Body::Members(arguments(body).map_err(|e| e.within("body"))?),
    };
    Ok(Detail::Http(Http::new(
        upstream, methods, path, query, body,
    )?))
}

fn methods(items: &[Value]) -> Result<BTreeSet<HttpMethod>, AuthorityError> {
    set_of(items, HttpMethod::ALL.len())
}

fn egress(members: &Members<'_>) -> Result<Detail, AuthorityError> {
    let problem = Problem::Number {
        min: 1,
        max: u16::MAX.into(),
    };
    let port = members
        .needed("port")?
        .as_u64()
        .and_then(|port| u16::try_from(port).ok());
    let port = port
        .and_then(NonZeroU16::new)
        .ok_or(AuthorityError::new("port", problem))?;
    Ok(Detail::Egress(Egress::new(members.parsed("host")?, port)))
}

fn actions(items: &[Value]) -> Result<BTreeSet<ToolName>, AuthorityError> {
    set_of(items, ACTIONS_MAX)
}

/// One to `max` texts, none twice.
fn set_of<T>(items: &[Value], max: usize) -> Result<BTreeSet<T>, AuthorityError>
where
    T: FromStr<Err = Problem> + Ord + Display,
{
    counted(items.len(), 1, max)?;
    let mut set = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let one: T = parsed(item).map_err(|e| e.within(&at_index(index)))?;
        let entry = one.to_string();
        if !set.insert(one) {
            return Err(Problem::Duplicate { entry }.into());
        }
    }
    Ok(set)
}

fn arguments(value: &Value) -> Result<Arguments, AuthorityError> {
    let object = value.as_object().ok_or(Problem::Type {
        expected: "an object",
    })?;
    counted(object.len(), 0, crate::ARGUMENTS_MAX)?;
    let read = |(name, value): (&str, &Value)| {
        let place = shown(name);
        let name: ArgumentName = name.parse()?;
        Ok((
            name,
            read_argument(value).map_err(|e: AuthorityError| e.within(&place))?,
        ))
    };
    object.iter().map(read).collect()
}

fn read_argument(value: &Value) -> Result<Argument, AuthorityError> {
    if value.as_str() == Some(ANY) {
        return Ok(Argument::Any);
    }
    if value.as_object().is_none() {
        return Err(Problem::Type {
            expected: "\"any\" or an object of constraints",
        }
        .into());
    }
    let known: Vec<&str> = Constraint::KINDS.into_iter().chain([OPTIONAL]).collect();
    let members = members(value, &known)?;
    let optional = match members.get(OPTIONAL) {
        None => false,
        Some(value) => value.as_bool().ok_or_else(|| {
            AuthorityError::new(
                OPTIONAL,
                Problem::Type {
                    expected: "true or false",
                },
            )
        })?,
    };
    let mut constraints = Vec::new();
    for kind in Constraint::KINDS {
        if let Some(value) = members.get(kind) {
            constraints.push(read_constraint(kind, value).map_err(|e| e.within(kind))?);
        }
    }
    Ok(Argument::Bounded(Bounds::new(constraints, optional)?))
}

fn read_constraint(kind: &str, value: &Value) -> Result<Constraint, AuthorityError> {
    Ok(match kind {
        "equals" => Constraint::Equals(Scalar::from_value(value)?),
        "one_of" => Constraint::OneOf(set(value)?),
        "subset_of" => Constraint::SubsetOf(set(value)?),
        "path_prefix" => Constraint::PathPrefix(parsed(value)?),
        "glob" => Constraint::Glob(parsed(value)?),
        "range" => {
            let members = members(value, &["min", "max"])?;
            Constraint::Range(Range::new(
                members.decimal("min")?,
                members.decimal("max")?,
            )?)
        }
        "max_length" => {
            let length = value.as_u64().and_then(|n| u32::try_from(n).ok());
            let problem = Problem::Number {
                min: 0,
                max: u32::MAX.into(),
            };
            Constraint::MaxLength(length.ok_or(problem)?)
        }
        other => {
            return Err(Problem::UnknownMember {
                member: shown(other),
            }
            .into());
        }
    })
}

fn set(value: &Value) -> Result<ScalarSet, AuthorityError> {
    let items = value.as_array().ok_or(Problem::Type {
        expected: "an array",
    })?;
    counted(items.len(), 1, SET_LEN_MAX)?;
    let read = |(index, item)| {
        Scalar::from_value(item).map_err(|p| AuthorityError::new(at_index(index), p))
    };
    let scalars: Vec<Scalar> = items
        .iter()
        .enumerate()
        .map(read)
        .collect::<Result<_, _>>()?;
    Ok(ScalarSet::new(scalars)?)
}

fn write_argument(argument: &Argument) -> Value {
    let Argument::Bounded(bounds) = argument else {
        return ANY.into();
    };
    let mut object = Object::new();
    for constraint in bounds.constraints() {
        object = object.with(constraint.kind(), write_constraint(constraint));
    }
    if bounds.optional() {
        object.with(OPTIONAL, true).into()
    } else {
        object.into()
    }
}

fn write_constraint(constraint: &Constraint) -> Value {
    let list = |set: &ScalarSet| Value::Array(set.iter().map(Scalar::to_value).collect());
    match constraint {
        Constraint::Equals(scalar) => scalar.to_value(),
        Constraint::OneOf(set) | Constraint::SubsetOf(set) => list(set),
        Constraint::PathPrefix(path) => path.as_str().into(),
        Constraint::Glob(glob) => glob.as_str().into(),
        Constraint::MaxLength(max) => u64::from(*max).into(),
        Constraint::Range(range) => {
            let mut object = Object::new();
            for (name, end) in [("min", range.min()), ("max", range.max())] {
                if let Some(end) = end {
                    object = object.with(name, end.to_string());
                }
            }
            object.into()
        }
    }
}
