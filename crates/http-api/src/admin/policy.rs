//! The organisation's policies.

use aims_control::ControlPlane;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::{committed, json};
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPolicy {
    /// Cedar text.
    text: String,
}

pub(super) async fn current(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
) -> Result<Response, Problem> {
    Ok(json(&plane.policy(&cx).await?))
}

pub(super) async fn activate(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Json(raw): Json<RawPolicy>,
) -> Result<Response, Problem> {
    Ok(committed(&plane.policy_activate(&cx, &raw.text).await?))
}
