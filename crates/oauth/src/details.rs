//! The form of `authorization_details` (RFC 9396 §2); what they mean is for `aims-authority`.

use aims_json::{Limits, ParseError, Value, parse};

/// Longest text of `authorization_details` in a request.
pub const AUTHORIZATION_DETAILS_LEN_MAX: usize = 16 << 10;
/// Most entries.
pub const AUTHORIZATION_DETAILS_MAX: usize = 64;

/// Why a value cannot be `authorization_details`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationDetailsError {
    /// Not acceptable JSON.
    #[error("`authorization_details` is not acceptable JSON: {0}")]
    Json(#[from] ParseError),
    /// RFC 9396 §2: an array of objects.
    #[error("`authorization_details` is an array of 1 to {AUTHORIZATION_DETAILS_MAX} objects")]
    Form,
    /// RFC 9396 §2: every entry has a `type`.
    #[error("entry {0} of `authorization_details` has no string `type`")]
    Type(usize),
}

/// Checks the form of a value.
pub fn check_authorization_details(value: &Value) -> Result<(), AuthorizationDetailsError> {
    let entries = value.as_array().ok_or(AuthorizationDetailsError::Form)?;
    let length_is_good = (1..=AUTHORIZATION_DETAILS_MAX).contains(&entries.len());
    if !length_is_good || !entries.iter().all(|entry| entry.as_object().is_some()) {
        return Err(AuthorizationDetailsError::Form);
    }
    let has_type = |entry: &Value| {
        entry
            .get("type")
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty())
    };
    match entries.iter().position(|entry| !has_type(entry)) {
        Some(index) => Err(AuthorizationDetailsError::Type(index)),
        None => Ok(()),
    }
}

/// Reads the text of a request parameter.
pub fn parse_authorization_details(text: &str) -> Result<Value, AuthorizationDetailsError> {
    let limits = Limits {
        bytes: AUTHORIZATION_DETAILS_LEN_MAX,
        ..Limits::TOKEN
    };
    let value = parse(text.as_bytes(), &limits)?;
    check_authorization_details(&value)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arrays_of_typed_objects_pass() {
        assert!(parse_authorization_details(r#"[{"type":"mcp_tool","actions":["x"]}]"#).is_ok());
        for bad in [
            "",
            "{}",
            "[]",
            "[1]",
            r#"[{"type":"a"},{}]"#,
            r#"[{"type":7}]"#,
            r#"[{"type":""}]"#,
            r#"[{"type":"a","type":"b"}]"#,
        ] {
            assert!(parse_authorization_details(bad).is_err(), "{bad}");
        }
        let many = format!(
            "[{}]",
            vec![r#"{"type":"a"}"#; AUTHORIZATION_DETAILS_MAX + 1].join(",")
        );
        assert_eq!(
            parse_authorization_details(&many),
            Err(AuthorizationDetailsError::Form)
        );
    }
}
