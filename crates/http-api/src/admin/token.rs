//! The token endpoint (RFC 6749 §3.2). It answers with OAuth's own errors.

use aims_control::ControlPlane;
use aims_links::{Control, TokenCall};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use crate::body;
use crate::caller::{DPOP, single};
use crate::problem::Problem;

pub(super) async fn token(
    State(plane): State<ControlPlane>,
    request: Request,
) -> Result<Response, Problem> {
    let kind = single(request.headers(), &CONTENT_TYPE);
    if kind != Some("application/x-www-form-urlencoded") {
        return Err(Problem::invalid(
            "send a form: `application/x-www-form-urlencoded`",
        ));
    }
    let dpop = single(request.headers(), &DPOP)
        .ok_or_else(|| Problem::invalid("send exactly one `DPoP` header"))?
        .to_owned();
    let form = body::read(request).await?;
    // A fault is told to the log; whoever asks here has not authenticated.
    let reply = plane.token(TokenCall { form, dpop }).await;
    let reply = reply.map_err(|_| Problem::unavailable("the server can't issue tokens now"))?;
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, reply.body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
