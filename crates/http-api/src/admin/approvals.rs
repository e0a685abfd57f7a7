//! Requests for approval, and people's answers.

use aims_control::ControlPlane;
use aims_types::{Approval, Id};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde::Deserialize;

use super::{committed, json};
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAnswer {
    /// The answer, signed with the person's key (compact JWS).
    jws: String,
}

/// The open ones, or with the query `all` the newest of all stages.
pub(super) async fn list(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let all = match query.as_deref() {
        None | Some("") => false,
        Some("all") => true,
        Some(_) => return Err(Problem::invalid("the only query is `all`")),
    };
    Ok(json(&plane.approvals(&cx, all).await?))
}

pub(super) async fn show(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(json(&plane.approval_shown(&cx, approval_id(&id)?).await?))
}

pub(super) async fn answer(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(id): Path<String>,
    Json(raw): Json<RawAnswer>,
) -> Result<Response, Problem> {
    let answered = plane
        .approval_answer(&cx, approval_id(&id)?, &raw.jws)
        .await?;
    Ok(committed(&answered))
}

fn approval_id(text: &str) -> Result<Id<Approval>, Problem> {
    text.parse()
        .map_err(|_| Problem::not_found("there is no such request for approval"))
}
