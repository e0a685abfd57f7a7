//! Reading the members of an object, each problem with its place.

use std::str::FromStr;

use aims_json::{Decimal, Object, Value};

use crate::problem::shown;
use crate::{AuthorityError, Problem};

/// An object whose members are all known.
pub(super) struct Members<'a>(&'a Object);

/// The members of `value`, which may have no others than `known`.
pub(super) fn members<'a>(value: &'a Value, known: &[&str]) -> Result<Members<'a>, AuthorityError> {
    let object = value.as_object().ok_or(Problem::Type {
        expected: "an object",
    })?;
    match object.iter().find(|(name, _)| !known.contains(name)) {
        Some((name, _)) => Err(Problem::UnknownMember {
            member: shown(name),
        }
        .into()),
        None => Ok(Members(object)),
    }
}

/// The place of an item in an array.
pub(super) fn at_index(index: usize) -> String {
    format!("[{index}]")
}

impl<'a> Members<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name)
    }

    pub(super) fn needed(&self, name: &'static str) -> Result<&'a Value, AuthorityError> {
        self.get(name)
            .ok_or_else(|| Problem::MissingMember { member: name }.into())
    }

    pub(super) fn array(&self, name: &'static str) -> Result<&'a [Value], AuthorityError> {
        let expected = Problem::Type {
            expected: "an array",
        };
        self.needed(name)?
            .as_array()
            .ok_or_else(|| AuthorityError::new(name, expected))
    }

    pub(super) fn parsed<T>(&self, name: &'static str) -> Result<T, AuthorityError>
    where
        T: FromStr<Err: Into<Problem>>,
    {
        parsed(self.needed(name)?).map_err(|e| e.within(name))
    }

    pub(super) fn whole(
        &self,
        name: &'static str,
        min: u64,
        max: u64,
    ) -> Result<Option<u64>, AuthorityError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let number = value.as_u64().filter(|n| (min..=max).contains(n));
        number
            .map(Some)
            .ok_or_else(|| AuthorityError::new(name, Problem::Number { min, max }))
    }

    pub(super) fn decimal(&self, name: &'static str) -> Result<Option<Decimal>, AuthorityError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let text = value.as_str().ok_or_else(|| {
            AuthorityError::new(
                name,
                Problem::Type {
                    expected: "a text with a decimal number",
                },
            )
        })?;
        text.parse().map(Some).map_err(|_| {
            let expected = "an exact decimal number";
            AuthorityError::new(
                name,
                Problem::Text {
                    seen: shown(text),
                    expected,
                },
            )
        })
    }
}

/// A text parsed as a `T`.
pub(super) fn parsed<T>(value: &Value) -> Result<T, AuthorityError>
where
    T: FromStr<Err: Into<Problem>>,
{
    let text = value.as_str().ok_or(Problem::Type { expected: "a text" })?;
    text.parse::<T>()
        .map_err(|e| AuthorityError::from(e.into()))
}
