//! Request bodies: JSON, read strictly and once.

use std::time::Duration;

use aims_json::Limits;
use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use crate::caller::single;
use crate::problem::Problem;

/// Longest request body, in bytes.
pub const BODY_LEN_MAX: usize = 1 << 20;

/// How long a client may take to send a body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body. Duplicate members, unknown members and other content types are refused.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        if single(request.headers(), &CONTENT_TYPE) != Some("application/json") {
            return Err(Problem::invalid(
                "the content type must be `application/json`",
            ));
        }
        object(&read(request).await?).map(Self)
    }
}

/// One JSON object. A list would be read as its members in their order, by whatever names.
pub(crate) fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::invalid("the body must be a JSON object"));
    }
    aims_json::from_slice(bytes, &Limits::MESSAGE)
        .map_err(|error| Problem::invalid(&format!("the body is not acceptable: {error}")))
}

/// The whole body, up to [`BODY_LEN_MAX`] and within [`BODY_TIMEOUT`].
pub(crate) async fn read(request: Request) -> Result<bytes::Bytes, Problem> {
    let body = axum::body::to_bytes(request.into_body(), BODY_LEN_MAX);
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(Problem::too_long()),
        Err(_) => Err(Problem::too_slow()),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Raw {
        reason: String,
    }

    #[test]
    fn values_in_a_list_are_no_body() {
        let read = |text: &str| object::<Raw>(text.as_bytes()).ok().map(|raw| raw.reason);
        assert_eq!(read(" {\"reason\":\"r\"}\n").as_deref(), Some("r"));
        for list in ["[\"r\"]", "\n [\"r\"]", "[{\"reason\":\"r\"}]", "\"r\""] {
            assert_eq!(read(list), None, "{list}");
        }
    }
}
