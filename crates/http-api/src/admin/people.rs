//! People: enrolment, removal, listing.

use aims_control::{ControlPlane, EnrolPerson};
use aims_model::Role;
use aims_types::Name;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;

use super::{committed, json};
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEnrol {
    name: String,
    role: Role,
    /// The public key, as JWK text.
    jwk: String,
}

pub(super) async fn list(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
) -> Result<Response, Problem> {
    Ok(json(&plane.people(&cx).await?))
}

pub(super) async fn enrol(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Json(raw): Json<RawEnrol>,
) -> Result<Response, Problem> {
    let RawEnrol { name, role, jwk } = raw;
    let person = EnrolPerson { name, role, jwk };
    Ok(committed(&plane.person_enrol(&cx, person).await?))
}

pub(super) async fn remove(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let name: Name = name
        .parse()
        .map_err(|_| Problem::not_found("there is no such person"))?;
    Ok(committed(&plane.person_remove(&cx, &name).await?))
}
