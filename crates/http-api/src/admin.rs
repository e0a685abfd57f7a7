//! The admin API: people's commands.

mod agents;
mod people;
mod policy;
mod servers;
mod tasks;
mod token;

use aims_control::{Committed, ControlPlane};
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
            .route("/v1/policy", get(policy::current).post(policy::activate))
            .route("/v1/tasks", get(tasks::list).post(tasks::start))
            .route("/v1/tasks/{id}", get(tasks::show))
            .route("/v1/tasks/{id}/trace", get(tasks::trace))
            .route("/v1/tasks/{id}/end", post(tasks::end))
            .route("/v1/runs", post(tasks::run))
            .with_state(self.plane)
    }
}

/// A value as JSON.
fn json(value: &impl Serialize) -> Response {
    axum::Json(value).into_response()
}

/// A change as JSON, with the revision at which it is in force, and the enforcement points that
/// did not acknowledge it.
fn committed<T: Serialize>(change: &Committed<T>) -> Response {
    let mut response = json(&change.value);
    let headers = response.headers_mut();
    if let Ok(revision) = HeaderValue::from_str(&change.revision.to_string()) {
        headers.insert("aims-revision", revision);
    }
    for lapse in &change.lapsed {
        if let Ok(gateway) = HeaderValue::from_str(&lapse.gateway.to_string()) {
            headers.append("aims-lapsed", gateway);
        }
    }
    response
}
