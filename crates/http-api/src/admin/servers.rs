//! Tool servers: registration and listing.

use aims_control::{ControlPlane, RegisterServer};
use aims_model::ServerSpec;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::{committed, json};
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRegister {
    name: String,
    purpose: String,
    spec: ServerSpec,
}

pub(super) async fn list(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
) -> Result<Response, Problem> {
    Ok(json(&plane.servers(&cx).await?))
}

pub(super) async fn register(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Json(raw): Json<RawRegister>,
) -> Result<Response, Problem> {
    let RawRegister {
        name,
        purpose,
        spec,
    } = raw;
    let server = RegisterServer {
        name,
        purpose,
        spec,
    };
    Ok(committed(&plane.server_register(&cx, server).await?))
}
