//! The admin API: people's commands.

mod agents;
mod approvals;
#[cfg(fuzzing)]
pub mod fuzzing;
mod kills;
mod people;
mod points;
mod policy;
mod proof;
mod servers;
mod services;
mod tasks;
mod token;
mod upstreams;

use aims_control::{Committed, ControlPlane};
use aims_types::Revision;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::HeaderValue;
use serde::Serialize;

/// The admin API over a control plane.
pub struct Admin {
    plane: ControlPlane,
}

impl Admin {
    /// The API of `plane`.
    pub const fn new(plane: ControlPlane) -> Self {
        Self { plane }
    }

    /// The router; its routes are those of [`crate::ROUTES`].
    pub fn router(self) -> Router {
        Router::new()
            .route("/token", post(token::token))
            .route("/v1/people", get(people::list).post(people::enrol))
            .route("/v1/people/{name}/remove", post(people::remove))
            .route("/v1/agents", get(agents::list).post(agents::register))
            .route("/v1/agents/{name}/activate", post(agents::activate))
            .route("/v1/agents/{name}/suspend", post(agents::suspend))
            .route("/v1/agents/{name}/retire", post(agents::retire))
            .route("/v1/servers", get(servers::list).post(servers::register))
            .route("/v1/services", get(services::list).post(services::register))
            .route("/v1/services/{name}/retire", post(services::retire))
            .route("/v1/upstreams", get(upstreams::list).post(upstreams::add))
            .route("/v1/upstreams/{name}/rotate", post(upstreams::rotate))
            .route("/v1/upstreams/{name}/retire", post(upstreams::retire))
            .route("/v1/policy", get(policy::current).post(policy::activate))
            .route("/v1/tasks", get(tasks::list).post(tasks::start))
            .route("/v1/tasks/{id}", get(tasks::show))
            .route("/v1/tasks/{id}/trace", get(tasks::trace))
            .route("/v1/decisions/{id}/proof", get(proof::export))
            .route("/v1/tasks/{id}/end", post(tasks::end))
            .route("/v1/tasks/{id}/freeze", post(tasks::freeze))
            .route("/v1/tasks/{id}/resume", post(tasks::resume))
            .route("/v1/tasks/{id}/erase", post(tasks::erase))
            .route("/v1/runs", post(tasks::run))
            .route("/v1/kills", post(kills::kill))
            .route("/v1/approvals", get(approvals::list))
            .route("/v1/approvals/{id}", get(approvals::show))
            .route("/v1/approvals/{id}/answer", post(approvals::answer))
            .route("/v1/points", get(points::list))
            .route("/v1/join-tokens", post(points::allow))
            .with_state(self.plane)
    }
}

/// A value as JSON.
fn json(value: &impl Serialize) -> Response {
    axum::Json(value).into_response()
}

/// An answer that says at which revision the change is in force.
fn at_revision(mut response: Response, revision: Revision) -> Response {
    if let Ok(revision) = HeaderValue::from_str(&revision.to_string()) {
        response.headers_mut().insert("aims-revision", revision);
    }
    response
}

/// A change as JSON, with the revision at which it is in force, and the enforcement points that
/// did not acknowledge it.
fn committed<T: Serialize>(change: &Committed<T>) -> Response {
    let mut response = at_revision(json(&change.value), change.revision);
    let headers = response.headers_mut();
    for lapse in &change.lapsed {
        if let Ok(gateway) = HeaderValue::from_str(&lapse.gateway.to_string()) {
            headers.append("aims-lapsed", gateway);
        }
    }
    response
}
