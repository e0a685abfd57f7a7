//! The proof of one permitted action.

use aims_control::ControlPlane;
use aims_crypto::base64url;
use aims_types::{Decision, Id};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;

use super::json;
use crate::caller::Caller;
use crate::problem::Problem;

/// The proof; with the query `since` and an earlier checkpoint of the log, as base64url, it shows
/// that the log continues that one.
pub(super) async fn export(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let decision: Id<Decision> = id
        .parse()
        .map_err(|_| Problem::not_found("there is no such decision"))?;
    let since = match query.as_deref() {
        None | Some("") => None,
        Some(query) => Some(checkpoint(query)?),
    };
    let proof = plane.proof(&cx, decision, since.as_deref()).await?;
    // The file is canonical JSON: it travels as text, so that its bytes stay its own.
    let text = String::from_utf8(proof);
    let text = text.map_err(|_| Problem::unavailable("the proof is not text"))?;
    Ok(json(&text))
}

pub(super) fn checkpoint(query: &str) -> Result<String, Problem> {
    let text = query.strip_prefix("since=");
    let bytes = text.and_then(|text| base64url::decode(text).ok());
    let note = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    note.ok_or_else(|| Problem::invalid("the only query is `since`, a checkpoint as base64url"))
}
