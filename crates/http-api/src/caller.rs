//! Who calls: a person's token and a proof of possession for exactly this request.

use aims_control::{ControlPlane, Refused};
use aims_types::Cx;
use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::problem::Problem;

/// The authenticated context of a request.
pub(crate) struct Caller(pub(crate) Cx);

impl FromRequestParts<ControlPlane> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, plane: &ControlPlane) -> Result<Self, Problem> {
        let refused = || Problem::unauthenticated("send one DPoP-bound token and one proof");
        let token = single(&parts.headers, &AUTHORIZATION)
            .and_then(|value| value.strip_prefix("DPoP "))
            .ok_or_else(refused)?;
        let proof = single(&parts.headers, &DPOP).ok_or_else(refused)?;
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        match plane.authenticate(token, proof, method, path).await {
            Ok(cx) => Ok(Self(cx)),
            Err(error) if error.is_internal() => Err(Problem::of(&error)),
            Err(error) => {
                tracing::info!(%error, "a request was not authenticated");
                Err(Problem::unauthenticated(
                    "the token or its proof is not valid",
                ))
            }
        }
    }
}

/// The DPoP header (RFC 9449 §4.1).
pub(crate) static DPOP: HeaderName = HeaderName::from_static("dpop");

/// The value of a header that is there exactly once.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}
