//! Calls that a child allows and its parent refuses: looked for at the edges of both.

use std::time::Duration;

use aims_json::{Decimal, Number, Object, Value};
use aims_types::Timestamp;

use super::may_omit;
use crate::{
    Argument, ArgumentName, Arguments, Authority, Constraint, Detail, Egress, Example, ExampleCall,
    Http, HttpMethod, PathPrefix, Range, Scalar, ScalarSet, ToolName, Tools, allows,
};

/// Longest text or list that is made up for an example.
const MADE_UP_LEN_MAX: usize = 512;
/// Most values of one argument that are tried.
const TRIES_MAX: usize = 16;
/// An instant before the end of every authority.
const EARLY: Timestamp = Timestamp::from_unix_millis(0);

/// A child and its parent. Whatever is found is checked against both, so that an example may be
/// missing but is never wrong.
pub(super) struct Search<'a> {
    pub(super) child: &'a Authority,
    pub(super) parent: &'a Authority,
}

impl<'a> Search<'a> {
    pub(super) const fn new(child: &'a Authority, parent: &'a Authority) -> Self {
        Self { child, parent }
    }

    /// Any call, made of arguments that `wanted` allows.
    pub(super) fn call_of(
        &self,
        wanted: &Arguments,
        make: impl Fn(Object) -> ExampleCall,
    ) -> Option<Example> {
        let arguments = self.arguments(wanted, None, None)?;
        self.checked(make(arguments), EARLY)
    }

    /// A call with a value of the argument that the parent's detail refuses.
    pub(super) fn call_with(
        &self,
        (wanted, held): (&Arguments, &Arguments),
        argument: &ArgumentName,
        make: impl Fn(Object) -> ExampleCall,
    ) -> Option<Example> {
        let rest = self.arguments(wanted, Some(held), Some(argument))?;
        let (wanted, allowed) = (wanted.get(argument)?, held.get(argument));
        let refused = |value: &Value| allowed.is_none_or(|a| a.broken_by(value).is_some());
        let values = values(wanted, allowed).filter(refused).take(TRIES_MAX);
        let with = |value| make(rest.clone().with(argument.as_str(), value));
        values.map(with).find_map(|call| self.checked(call, EARLY))
    }

    /// A call without the argument.
    pub(super) fn call_without(
        &self,
        (wanted, held): (&Arguments, &Arguments),
        argument: &ArgumentName,
        make: impl Fn(Object) -> ExampleCall,
    ) -> Option<Example> {
        let arguments = self.arguments(wanted, Some(held), Some(argument))?;
        self.checked(make(arguments), EARLY)
    }

    /// Any request with the method.
    pub(super) fn request_of(&self, http: &Http, method: HttpMethod) -> Option<Example> {
        self.checked(self.any_request(http, method)?, EARLY)
    }

    /// The same with a query.
    pub(super) fn request_with_query(&self, http: &Http, method: HttpMethod) -> Option<Example> {
        let mut call = self.any_request(http, method)?;
        if let ExampleCall::Http { query, .. } = &mut call {
            *query = true;
        }
        self.checked(call, EARLY)
    }

    /// The same with a body that is not one JSON object.
    pub(super) fn request_with_body(&self, http: &Http, method: HttpMethod) -> Option<Example> {
        self.checked(request(http, method, false, None), EARLY)
    }

    fn any_request(&self, http: &Http, method: HttpMethod) -> Option<ExampleCall> {
        let body = match http.members() {
            Some(members) => self.arguments(members, None, None)?,
            None => Object::new(),
        };
        Some(request(http, method, false, Some(body)))
    }

    /// A connection.
    pub(super) fn connection(&self, egress: &Egress) -> Option<Example> {
        self.checked(connection(egress), EARLY)
    }

    /// Any call later than the parent's end.
    pub(super) fn call_after(&self, end: Timestamp) -> Option<Example> {
        let late = end.plus(Duration::from_millis(1));
        self.child.details().iter().find_map(|detail| match detail {
            Detail::Egress(egress) => self.checked(connection(egress), late),
            Detail::Tools(tools) => {
                let arguments = self.arguments(tools.arguments(), None, None)?;
                self.checked(call(tools, tools.actions().first()?, arguments), late)
            }
            Detail::Http(http) => {
                self.checked(self.any_request(http, *http.methods().first()?)?, late)
            }
        })
    }

    fn checked(&self, call: ExampleCall, at: Timestamp) -> Option<Example> {
        let let_through = allows(self.child, &call.as_call(), at).is_ok();
        let refused = allows(self.parent, &call.as_call(), at).is_err();
        (let_through && refused).then(|| Example::new(call, at))
    }

    /// Arguments that the child's detail allows and, where possible, the parent's too, but for
    /// `except`, which is left out.
    fn arguments(
        &self,
        wanted_all: &Arguments,
        held: Option<&Arguments>,
        except: Option<&ArgumentName>,
    ) -> Option<Object> {
        let mut arguments = Object::new();
        for (name, wanted) in wanted_all {
            if Some(name) == except {
                continue;
            }
            let omit = may_omit(wanted_all, self.child, name);
            if omit && held.is_none_or(|held| may_omit(held, self.parent, name)) {
                continue;
            }
            let allowed = held.and_then(|held| held.get(name));
            let in_both = |v: &Value| allowed.is_none_or(|a| a.broken_by(v).is_none());
            let value = values(wanted, allowed).find(in_both);
            match value.or_else(|| values(wanted, allowed).next()) {
                Some(value) => arguments = arguments.with(name.as_str(), value),
                None if omit => {}
                None => return None,
            }
        }
        Some(arguments)
    }
}

pub(super) fn call(tools: &Tools, tool: &ToolName, arguments: Object) -> ExampleCall {
    ExampleCall::Tool {
        server: tools.server().clone(),
        tool: tool.clone(),
        arguments,
    }
}

/// A request at the detail's own path.
pub(super) fn request(
    http: &Http,
    method: HttpMethod,
    query: bool,
    body: Option<Object>,
) -> ExampleCall {
    ExampleCall::Http {
        upstream: http.upstream().clone(),
        method,
        path: http.path().as_str().to_owned(),
        query,
        body,
    }
}

fn connection(egress: &Egress) -> ExampleCall {
    ExampleCall::Egress {
        host: egress.host().clone(),
        port: egress.port(),
    }
}

/// Values that `wanted` allows, at its own edges and at those of `other`.
pub(super) fn values<'a>(
    wanted: &'a Argument,
    other: Option<&'a Argument>,
) -> impl Iterator<Item = Value> + use<'a> {
    let constraints = [Some(wanted), other].into_iter().flatten();
    let constraints: Vec<&Constraint> = constraints.flat_map(constraints_of).collect();
    let mut lengths = vec![1];
    lengths.extend(constraints.iter().filter_map(|c| just_too_long(c)));
    let edges = constraints.into_iter().flat_map(move |constraint| {
        let lengths = lengths.clone();
        lengths
            .into_iter()
            .flat_map(move |length| edges(constraint, length))
    });
    edges
        .chain(plain())
        .filter(|value| wanted.broken_by(value).is_none())
}

fn constraints_of(argument: &Argument) -> &[Constraint] {
    match argument {
        Argument::Any => &[],
        Argument::Bounded(bounds) => bounds.constraints(),
    }
}

fn just_too_long(constraint: &Constraint) -> Option<usize> {
    let Constraint::MaxLength(max) = constraint else {
        return None;
    };
    let length = usize::try_from(*max).ok()?.checked_add(1)?;
    (length <= MADE_UP_LEN_MAX).then_some(length)
}

/// Values of all types that most constraints say nothing of.
fn plain() -> impl Iterator<Item = Value> {
    let texts = ["x", "", "/"].map(Value::from);
    let others = [Value::Null, false.into(), true.into(), 0_u64.into()];
    let empty = [Value::Array(Vec::new()), Object::new().into()];
    texts.into_iter().chain(others).chain(empty)
}

/// Values just within and just outside a constraint; made up ones are of about this length.
fn edges(constraint: &Constraint, length: usize) -> Vec<Value> {
    match constraint {
        Constraint::Equals(scalar) => vec![scalar.to_value()],
        Constraint::OneOf(set) => set.iter().map(Scalar::to_value).collect(),
        Constraint::PathPrefix(path) => around_path(path, length),
        Constraint::Glob(glob) => ["x", "~", ""]
            .map(|fill| glob.as_str().replace('*', &fill.repeat(length)).into())
            .into(),
        Constraint::Range(range) => around_range(range),
        Constraint::SubsetOf(set) => lists_of(set, length),
        Constraint::MaxLength(max) => {
            let length = usize::try_from(*max).unwrap_or(length).min(length);
            vec!["x".repeat(length).into(), vec![Value::Null; length].into()]
        }
    }
}

fn around_path(path: &PathPrefix, length: usize) -> Vec<Value> {
    let slash = if path.as_str() == "/" { "" } else { "/" };
    let below = |fill: &str| format!("{path}{slash}{}", fill.repeat(length));
    let beside = format!("{path}~");
    let above = path.as_str().rsplit_once('/').map(|(above, _)| above);
    let above = above.filter(|above| !above.is_empty()).unwrap_or("/");
    [
        path.to_string(),
        below("x"),
        below("~"),
        beside,
        above.to_owned(),
    ]
    .map(Value::from)
    .into()
}

fn around_range(range: &Range) -> Vec<Value> {
    let one = Decimal::from(1_i64);
    let (min, max) = (range.min().copied(), range.max().copied());
    let below = min.and_then(|min| min.checked_sub(one));
    let above = max.and_then(|max| max.checked_add(one));
    let half = Decimal::new(5, 1);
    let between = min.zip(half).and_then(|(min, half)| min.checked_add(half));
    let numbers = [min, max, below, above, between].into_iter().flatten();
    numbers
        .map(|n| Value::Number(Number::from_decimal(n)))
        .collect()
}

fn lists_of(set: &ScalarSet, length: usize) -> Vec<Value> {
    let list = |scalar: &Scalar| Value::Array(vec![scalar.to_value(); length]);
    set.iter().map(list).collect()
}
