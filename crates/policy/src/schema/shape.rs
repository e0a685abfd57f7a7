//! What Cedar can type of a JSON Schema.

use std::collections::{BTreeMap, BTreeSet};

use aims_json::{Number, Object, Value};
use cedar_policy::RestrictedExpression;

use super::{ARGUMENTS_MAX, NESTING_MAX};

/// The type of a value as Cedar knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Long,
    Boolean,
    Record(Shape),
    Set(Box<Kind>),
}

/// The members of an object: those that have a type, and those that are known but have none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Shape {
    typed: BTreeMap<String, Kind>,
    untyped: BTreeSet<String>,
}

/// Why a value has no counterpart in Cedar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConvertError {
    #[error("argument `{name}` is not in the tool's schema")]
    Unknown { name: String },
    #[error("argument `{name}` is not {expected}")]
    Type {
        name: String,
        expected: &'static str,
    },
}

/// Keywords that add to or replace `type` and `properties` in ways that Cedar cannot follow.
const OPEN_KEYWORDS: [&str; 3] = ["patternProperties", "propertyNames", "dependentSchemas"];

impl Shape {
    /// The shape of a tool's arguments, and the paths that have no type.
    ///
    /// The outermost object may be open: what it does not name is refused at evaluation.
    pub(crate) fn of_input(schema: &Value) -> (Self, Vec<String>) {
        let mut untyped = Vec::new();
        let shape = schema
            .as_object()
            .map(|schema| Self::of(schema, "", 0, &mut untyped));
        untyped.sort_unstable();
        (shape.unwrap_or_default(), untyped)
    }

    pub(crate) fn typed(&self) -> impl Iterator<Item = (&str, &Kind)> {
        self.typed.iter().map(|(name, kind)| (name.as_str(), kind))
    }

    /// The record of the members that have a type.
    pub(crate) fn convert(&self, object: &Object) -> Result<RestrictedExpression, ConvertError> {
        let mut members = Vec::with_capacity(object.len());
        for (name, value) in object.iter() {
            match self.typed.get(name) {
                Some(kind) => members.push((name.to_owned(), kind.convert(name, value)?)),
                None if self.untyped.contains(name) => {}
                None => return Err(ConvertError::Unknown { name: shown(name) }),
            }
        }
        // Names of an `Object` are unique, so this cannot fail; were it to, the request is refused.
        RestrictedExpression::new_record(members).map_err(|_| ConvertError::Type {
            name: String::new(),
            expected: "unique",
        })
    }

    fn of(schema: &Object, path: &str, depth: usize, untyped: &mut Vec<String>) -> Self {
        let mut shape = Self::default();
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flat_map(Object::iter) {
            let path = if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            };
            let mut below = Vec::new();
            let kind = (shape.typed.len() < ARGUMENTS_MAX)
                .then(|| Kind::of(property, &path, depth, &mut below))
                .flatten();
            if let Some(kind) = kind {
                shape.typed.insert(name.to_owned(), kind);
                untyped.append(&mut below);
            } else {
                shape.untyped.insert(name.to_owned());
                untyped.push(path);
            }
        }
        shape
    }
}

impl Kind {
    /// The type that a schema describes: nothing for a number, a union, an open object, a
    /// reference or anything that nests too deep.
    fn of(schema: &Value, path: &str, depth: usize, untyped: &mut Vec<String>) -> Option<Self> {
        let schema = schema.as_object().filter(|_| depth < NESTING_MAX)?;
        match schema.get("type")?.as_str()? {
            "string" => Some(Self::Text),
            "integer" => Some(Self::Long),
            "boolean" => Some(Self::Boolean),
            "object" => {
                let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
                let open = OPEN_KEYWORDS.iter().any(|keyword| schema.contains(keyword));
                (closed && !open).then(|| Self::Record(Shape::of(schema, path, depth + 1, untyped)))
            }
            "array" if !schema.contains("prefixItems") => {
                let mut below = Vec::new();
                let item = Self::of(schema.get("items")?, path, depth + 1, &mut below)?;
                // A set merges equal items: items that are seen in part would be merged wrongly.
                below.is_empty().then(|| Self::Set(Box::new(item)))
            }
            _ => None,
        }
    }

    fn convert(&self, name: &str, value: &Value) -> Result<RestrictedExpression, ConvertError> {
        let expected = match (self, value) {
            (Self::Text, Value::String(text)) => {
                return Ok(RestrictedExpression::new_string(text.clone()));
            }
            (Self::Boolean, Value::Bool(b)) => return Ok(RestrictedExpression::new_bool(*b)),
            (Self::Long, Value::Number(number)) => match long(number) {
                Some(long) => return Ok(RestrictedExpression::new_long(long)),
                None => "a whole number of at most 64 bits",
            },
            (Self::Record(shape), Value::Object(object)) => return shape.convert(object),
            (Self::Set(kind), Value::Array(items)) => {
                let items: Vec<_> = items
                    .iter()
                    .map(|item| kind.convert(name, item))
                    .collect::<Result<_, _>>()?;
                return Ok(RestrictedExpression::new_set(items));
            }
            (Self::Text, _) => "a text",
            (Self::Boolean, _) => "true or false",
            (Self::Long, _) => "a whole number",
            (Self::Record(_), _) => "an object",
            (Self::Set(_), _) => "an array",
        };
        Err(ConvertError::Type {
            name: shown(name),
            expected,
        })
    }
}

/// A whole number by value: JSON Schema's `integer` includes `5.0` and `5e0` (core §4.2.3).
fn long(number: &Number) -> Option<i64> {
    let decimal = number.as_decimal().filter(|decimal| decimal.scale() == 0)?;
    i64::try_from(decimal.mantissa()).ok()
}

/// A foreign name made safe to repeat.
fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}
