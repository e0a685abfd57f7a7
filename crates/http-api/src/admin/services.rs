//! Services: registration and their end.

use aims_control::{ControlPlane, RegisterService};
use aims_model::evidence::Measured;
use axum::extract::{Path, State};
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
    owner: Option<String>,
    purpose: Option<String>,
    node: Option<String>,
    executable: Measured,
    host_uid: u32,
    cgroup: Option<String>,
    #[serde(default)]
    key_export: bool,
}

pub(super) async fn list(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
) -> Result<Response, Problem> {
    Ok(json(&plane.services(&cx).await?))
}

pub(super) async fn register(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Json(raw): Json<RawRegister>,
) -> Result<Response, Problem> {
    let service = RegisterService {
        name: raw.name,
        owner: raw.owner,
        purpose: raw.purpose,
        node: raw.node,
        executable: raw.executable,
        host_uid: raw.host_uid,
        cgroup: raw.cgroup,
        key_export: raw.key_export,
    };
    Ok(committed(&plane.service_register(&cx, service).await?))
}

pub(super) async fn retire(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let name = name.parse();
    let name = name.map_err(|_| Problem::not_found("there is no such service"))?;
    Ok(committed(&plane.service_retire(&cx, &name).await?))
}
