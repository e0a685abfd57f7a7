//! Request bodies: JSON, read strictly and once.

use aims_json::Limits;
use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Longest request body, in bytes.
pub const BODY_LEN_MAX: usize = 1 << 20;

/// A JSON body. Duplicate members, unknown members and other content types are refused.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(CONTENT_TYPE);
        let is_json = kind.is_some_and(|kind| kind.as_bytes() == b"application/json");
        if !is_json {
            return Err(Problem::invalid(
                "the content type must be `application/json`",
            ));
        }
        let bytes = read(request).await?;
        aims_json::from_slice(&bytes, &Limits::MESSAGE)
            .map(Self)
            .map_err(|error| Problem::invalid(&format!("the body is not acceptable: {error}")))
    }
}

/// The whole body, up to [`BODY_LEN_MAX`].
pub(crate) async fn read(request: Request) -> Result<bytes::Bytes, Problem> {
    axum::body::to_bytes(request.into_body(), BODY_LEN_MAX)
        .await
        .map_err(|_| Problem::too_long())
}
