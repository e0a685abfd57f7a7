//! The JSON form: `{"authorization_details":[…],"limits":{…}}`.

mod detail;
mod limits;
mod reader;

use aims_json::{Object, Value};

use self::reader::{at_index, members};
use crate::problem::counted;
use crate::{Authority, AuthorityError, DETAILS_MAX, Detail, Problem};

const DETAILS: &str = "authorization_details";
const LIMITS: &str = "limits";

impl Authority {
    /// Reads the JSON form. Unknown members and types are refused (RFC 9396 §5): what we do not
    /// enforce might have been meant as a restriction.
    pub fn from_value(value: &Value) -> Result<Self, AuthorityError> {
        let members = members(value, &[DETAILS, LIMITS])?;
        let details = members.array(DETAILS)?;
        counted(details.len(), 0, DETAILS_MAX).map_err(|p| AuthorityError::new(DETAILS, p))?;
        let read = |(index, value)| {
            detail::read(value).map_err(|e| e.within(&at_index(index)).within(DETAILS))
        };
        let details: Vec<Detail> = details
            .iter()
            .enumerate()
            .map(read)
            .collect::<Result<_, _>>()?;
        let limits = limits::read(members.needed(LIMITS)?).map_err(|e| e.within(LIMITS))?;
        Self::new(details, limits).map_err(|problem| match problem {
            Problem::SumWithoutArgument { .. }
            | Problem::SumOfOptional { .. }
            | Problem::SumInAnyBody { .. } => AuthorityError::new("limits.sums", problem),
            other => other.into(),
        })
    }

    /// The JSON form; one form for one authority, within the canonical subset of `aims-json`.
    pub fn to_value(&self) -> Value {
        let details: Vec<Value> = self.details().iter().map(detail::write).collect();
        Object::new()
            .with(DETAILS, details)
            .with(LIMITS, limits::write(self.limits()))
            .into()
    }
}

impl Detail {
    /// Reads one entry of `authorization_details`.
    pub fn from_value(value: &Value) -> Result<Self, AuthorityError> {
        detail::read(value)
    }

    /// The entry of `authorization_details`.
    pub fn to_value(&self) -> Value {
        detail::write(self)
    }
}

#[cfg(test)]
mod tests;
