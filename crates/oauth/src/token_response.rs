//! Answers of the token endpoint (RFC 6749 §5.1, RFC 8693 §2.2.1, RFC 9396 §7, RFC 9449 §5).

use std::time::Duration;

use aims_json::{Limits, Object, ParseError, Value, parse};
use aims_types::Secret;

use crate::details::{AuthorizationDetailsError, check_authorization_details};
use crate::token_type::TokenType;

/// The only `token_type` there is: every token is bound to a key.
const DPOP: &str = "DPoP";
/// Longest life that an answer may tell.
const EXPIRES_IN_MAX: u64 = 24 * 3600;

/// A token that was issued.
#[derive(Debug)]
pub struct TokenResponse {
    /// The token.
    pub access_token: Secret<String>,
    /// What it is (RFC 8693 §2.2.1).
    pub issued_token_type: TokenType,
    /// How long it lives, in whole seconds.
    pub expires_in: Duration,
    /// Its scope, if it has one.
    pub scope: Option<String>,
    /// The authority that was granted (RFC 9396 §7), if it has any.
    pub authorization_details: Option<Value>,
}

/// Why an answer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTokenResponseError {
    /// Not acceptable JSON.
    #[error(transparent)]
    Json(#[from] ParseError),
    /// A member is missing or malformed.
    #[error("the member `{0}` of the answer is missing or malformed")]
    Member(&'static str),
    /// The token is not bound to a key (RFC 9449 §5): the server did not understand the proof.
    #[error("the issued token is not of the type `DPoP`")]
    NotBound,
    /// The granted authority is malformed.
    #[error(transparent)]
    Details(#[from] AuthorizationDetailsError),
}

impl TokenResponse {
    /// The body. It holds the token: send it with `Cache-Control: no-store` (RFC 6749 §5.1).
    pub fn to_body(&self) -> Secret<String> {
        let mut object = Object::new()
            .with("access_token", self.access_token.expose().as_str())
            .with("token_type", DPOP)
            .with("issued_token_type", self.issued_token_type.as_str())
            .with("expires_in", self.expires_in.as_secs());
        if let Some(scope) = &self.scope {
            object = object.with("scope", scope.as_str());
        }
        if let Some(details) = &self.authorization_details {
            object = object.with("authorization_details", details.clone());
        }
        Secret::new(Value::from(object).to_string())
    }

    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, ParseTokenResponseError> {
        use ParseTokenResponseError::{Member, NotBound};
        let value = parse(body, &Limits::TOKEN)?;
        let text = |name: &'static str| value.get(name).and_then(Value::as_str);
        let token_type = text("token_type").ok_or(Member("token_type"))?;
        // RFC 6749 §5.1: the type is case-insensitive.
        if !token_type.eq_ignore_ascii_case(DPOP) {
            return Err(NotBound);
        }
        let token = text("access_token").filter(|token| !token.is_empty());
        let issued = text("issued_token_type").and_then(|text| text.parse().ok());
        let expires_in = value.get("expires_in").and_then(Value::as_u64);
        let expires_in = expires_in.filter(|secs| *secs <= EXPIRES_IN_MAX);
        let scope = match value.get("scope") {
            None => None,
            Some(scope) => Some(scope.as_str().ok_or(Member("scope"))?.to_owned()),
        };
        let details = value.get("authorization_details");
        details.map(check_authorization_details).transpose()?;
        Ok(Self {
            access_token: Secret::new(token.ok_or(Member("access_token"))?.to_owned()),
            issued_token_type: issued.ok_or(Member("issued_token_type"))?,
            expires_in: Duration::from_secs(expires_in.ok_or(Member("expires_in"))?),
            scope,
            authorization_details: details.cloned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::details::parse_authorization_details;

    fn sample() -> TokenResponse {
        TokenResponse {
            access_token: Secret::new("a.b.c".to_owned()),
            issued_token_type: TokenType::AccessToken,
            expires_in: Duration::from_mins(5),
            scope: Some("aims:admin".to_owned()),
            authorization_details: parse_authorization_details(r#"[{"type":"x"}]"#).ok(),
        }
    }

    #[test]
    fn answers_round_trip() {
        let body = sample().to_body();
        let read = TokenResponse::parse(body.expose().as_bytes()).unwrap();
        assert_eq!(read.access_token.expose(), "a.b.c");
        assert_eq!(read.to_body().expose(), body.expose());
        assert!(!format!("{read:?}").contains("a.b.c"));
    }

    #[test]
    fn answers_that_are_not_understood_are_refused() {
        use ParseTokenResponseError::{Details, Member, NotBound};
        let good = sample().to_body().expose().clone();
        for (from, to, why) in [
            (r#""DPoP""#, r#""Bearer""#, NotBound),
            (r#""DPoP""#, "7", Member("token_type")),
            (r#""a.b.c""#, r#""""#, Member("access_token")),
            (
                "token-type:access_token",
                "token-type:saml2",
                Member("issued_token_type"),
            ),
            ("300", "-300", Member("expires_in")),
            ("300", "1e99", Member("expires_in")),
            (r#""aims:admin""#, "[]", Member("scope")),
            (
                r#"[{"type":"x"}]"#,
                "[]",
                Details(AuthorizationDetailsError::Form),
            ),
        ] {
            assert!(good.contains(from), "{from}");
            let bad = good.replacen(from, to, 1);
            assert_eq!(
                TokenResponse::parse(bad.as_bytes()).err(),
                Some(why),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn reading_any_body_never_panics(body: Vec<u8>) {
            prop_assert!(TokenResponse::parse(&body).is_err());
        }
    }
}
