//! Typed access to the claims of a JWT (RFC 7519 §4).

use std::str::FromStr;

use aims_json::{Object, Value};
use aims_types::Timestamp;

/// Longest string that is taken from a claim.
pub const CLAIM_LEN_MAX: usize = 2048;
/// Last `NumericDate` that is accepted: the end of the year 9999.
const NUMERIC_DATE_MAX: u64 = 253_402_300_799;

/// A set of claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims(Object);

/// What is wrong with a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// A required claim is not there.
    #[error("the claim `{0}` is missing")]
    Missing(&'static str),
    /// A claim has the wrong type, form or length.
    #[error("the claim `{0}` is malformed")]
    Malformed(&'static str),
    /// A claim that must not be there is.
    #[error("the claim `{0}` must not be present")]
    Forbidden(&'static str),
}

impl Claims {
    pub(crate) const fn new(object: Object) -> Self {
        Self(object)
    }

    /// All claims.
    pub const fn object(&self) -> &Object {
        &self.0
    }

    /// The value of a claim.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The value of a required claim.
    pub fn value(&self, name: &'static str) -> Result<&Value, ClaimError> {
        self.get(name).ok_or(ClaimError::Missing(name))
    }

    /// A required string of 1 to [`CLAIM_LEN_MAX`] bytes.
    pub fn text(&self, name: &'static str) -> Result<&str, ClaimError> {
        match self.value(name)?.as_str() {
            Some(text) if (1..=CLAIM_LEN_MAX).contains(&text.len()) => Ok(text),
            _ => Err(ClaimError::Malformed(name)),
        }
    }

    /// A string that may be missing.
    pub fn optional_text(&self, name: &'static str) -> Result<Option<&str>, ClaimError> {
        if self.0.contains(name) {
            self.text(name).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A required string in the form of `T`.
    pub fn parse<T: FromStr>(&self, name: &'static str) -> Result<T, ClaimError> {
        self.text(name)?
            .parse()
            .map_err(|_| ClaimError::Malformed(name))
    }

    /// A required whole number.
    pub fn number(&self, name: &'static str) -> Result<u64, ClaimError> {
        self.value(name)?
            .as_u64()
            .ok_or(ClaimError::Malformed(name))
    }

    /// A required `NumericDate` (RFC 7519 §2), whole seconds only.
    pub fn time(&self, name: &'static str) -> Result<Timestamp, ClaimError> {
        match self.number(name)? {
            secs if secs <= NUMERIC_DATE_MAX => Ok(Timestamp::from_unix_secs(secs)),
            _ => Err(ClaimError::Malformed(name)),
        }
    }

    /// A `NumericDate` that may be missing.
    pub fn optional_time(&self, name: &'static str) -> Result<Option<Timestamp>, ClaimError> {
        if self.0.contains(name) {
            self.time(name).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The one audience: `aud` as a string, or as an array of exactly one (RFC 7519 §4.1.3).
    pub fn sole_audience(&self) -> Result<&str, ClaimError> {
        match self.value("aud")?.as_array() {
            None => self.text("aud"),
            Some([one]) => one.as_str().ok_or(ClaimError::Malformed("aud")),
            Some(_) => Err(ClaimError::Malformed("aud")),
        }
    }

    /// Refuses claims that must not be there.
    pub fn without(&self, names: &[&'static str]) -> Result<(), ClaimError> {
        match names.iter().find(|name| self.0.contains(name)) {
            Some(name) => Err(ClaimError::Forbidden(name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use aims_json::{Limits, parse};

    use super::*;

    fn claims(text: &str) -> Claims {
        let value = parse(text.as_bytes(), &Limits::TOKEN).unwrap();
        Claims::new(value.as_object().unwrap().clone())
    }

    #[test]
    fn a_numeric_date_is_whole_seconds_within_reason() {
        let time = |text: &str| claims(&format!(r#"{{"exp":{text}}}"#)).time("exp");
        assert_eq!(
            time("1562262616"),
            Ok(Timestamp::from_unix_secs(1_562_262_616))
        );
        for bad in [
            "-1",
            "1.5",
            "1e3",
            "\"5\"",
            "null",
            "253402300800",
            "18446744073709551616",
        ] {
            assert_eq!(time(bad), Err(ClaimError::Malformed("exp")), "{bad}");
        }
        assert_eq!(claims("{}").time("exp"), Err(ClaimError::Missing("exp")));
        assert_eq!(claims("{}").optional_time("exp"), Ok(None));
    }

    #[test]
    fn the_audience_is_exactly_one() {
        for good in [r#""a""#, r#"["a"]"#] {
            assert_eq!(
                claims(&format!(r#"{{"aud":{good}}}"#)).sole_audience(),
                Ok("a")
            );
        }
        for bad in [
            r#"["a","b"]"#,
            "[]",
            "[1]",
            "1",
            r#""""#,
            "null",
            r#"{"a":1}"#,
        ] {
            let audience = claims(&format!(r#"{{"aud":{bad}}}"#));
            assert_eq!(
                audience.sole_audience(),
                Err(ClaimError::Malformed("aud")),
                "{bad}"
            );
        }
    }

    #[test]
    fn texts_are_bounded_and_not_empty() {
        let long = "x".repeat(CLAIM_LEN_MAX + 1);
        for bad in ["", &long] {
            let claims = claims(&format!(r#"{{"sub":"{bad}"}}"#));
            assert_eq!(claims.text("sub"), Err(ClaimError::Malformed("sub")));
        }
        assert_eq!(
            claims("{\"a\":1}").without(&["b", "a"]),
            Err(ClaimError::Forbidden("a"))
        );
    }
}
