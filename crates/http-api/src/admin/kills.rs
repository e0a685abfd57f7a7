//! Kills: complete when answered, with a receipt.

use aims_control::{ControlPlane, Kill, KillTarget};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::{at_revision, json};
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKill {
    /// `task`, `agent`, `instance`, `delegation`, `key`, `policy` or `person`.
    kind: String,
    /// The id; for agents and people the name does as well.
    id: String,
    /// Why, in words.
    reason: String,
}

/// Answers with the receipt. It takes as long as the longest lease of a point that is silent.
pub(super) async fn kill(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Json(raw): Json<RawKill>,
) -> Result<Response, Problem> {
    let RawKill { kind, id, reason } = raw;
    let target = KillTarget::parse(&kind, &id);
    let target = target.map_err(|error| Problem::invalid(&error.to_string()))?;
    let receipt = plane.kill(&cx, Kill { target, reason }).await?;
    Ok(at_revision(json(&receipt), receipt.revision))
}
