//! Nodes and gateways: how it stands with them, and tokens that let others join.

use std::time::Duration;

use aims_control::{ControlPlane, PointView};
use aims_model::PointKind;
use axum::extract::State;
use axum::response::Response;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde::Deserialize;

use super::json;
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAllow {
    /// What may join.
    kind: PointKind,
}

pub(super) async fn list(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
) -> Result<Response, Problem> {
    let points = plane.points(&cx).await?;
    let shown: Vec<_> = points.iter().map(shown).collect();
    Ok(json(&shown))
}

fn shown(view: &PointView) -> serde_json::Value {
    serde_json::json!({
        "point": view.point,
        "linked": view.is_linked,
        "lease_left_millis": view.lease_left.map(millis),
        "acknowledged": view.acknowledged,
        "address": view.address,
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Makes a token, which is shown once, with the digest of the bundle that is to be pinned.
pub(super) async fn allow(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Json(raw): Json<RawAllow>,
) -> Result<Response, Problem> {
    let allowed = plane.join_token_create(&cx, raw.kind).await?;
    let mut response = json(&serde_json::json!({
        "token": allowed.token.expose(),
        "expires_at": allowed.expires_at,
        "bundle": allowed.bundle,
    }));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
