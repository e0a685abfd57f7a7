//! Upstreams: registration, credentials, retirement, listing.

use aims_control::{AddUpstream, ControlPlane};
use aims_model::UpstreamSpec;
use aims_types::{Name, Secret};
use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Deserializer};

use super::{committed, json};
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdd {
    name: String,
    purpose: String,
    spec: UpstreamSpec,
    secret: RawSecret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRotate {
    secret: RawSecret,
}

/// A credential in a body.
struct RawSecret(Secret<Vec<u8>>);

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(Secret::new(text.into_bytes())))
    }
}

pub(super) async fn list(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
) -> Result<Response, Problem> {
    Ok(json(&plane.upstreams(&cx).await?))
}

pub(super) async fn add(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Json(raw): Json<RawAdd>,
) -> Result<Response, Problem> {
    let upstream = AddUpstream {
        name: raw.name,
        purpose: raw.purpose,
        spec: raw.spec,
        secret: raw.secret.0,
    };
    Ok(committed(&plane.upstream_add(&cx, upstream).await?))
}

pub(super) async fn rotate(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(name): Path<String>,
    Json(raw): Json<RawRotate>,
) -> Result<Response, Problem> {
    let name = upstream_name(&name)?;
    let rotated = plane.upstream_rotate(&cx, &name, raw.secret.0).await?;
    Ok(committed(&rotated))
}

pub(super) async fn retire(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let name = upstream_name(&name)?;
    Ok(committed(&plane.upstream_retire(&cx, &name).await?))
}

fn upstream_name(text: &str) -> Result<Name, Problem> {
    text.parse()
        .map_err(|_| Problem::not_found("there is no such upstream"))
}
