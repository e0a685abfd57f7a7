//! Whether a process of AIMS lives, whether it is ready, and what it measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use metrics_exporter_prometheus::PrometheusHandle;

/// Whether AIMS is ready, and what it measured.
#[derive(Clone)]
pub struct Health {
    wired: Arc<AtomicBool>,
    works: Arc<dyn Fn() -> bool + Send + Sync>,
    metrics: PrometheusHandle,
}

impl Health {
    /// Not ready yet.
    pub fn new(metrics: PrometheusHandle) -> Self {
        Self {
            wired: Arc::new(AtomicBool::new(false)),
            works: Arc::new(|| true),
            metrics,
        }
    }

    /// Ready only while `works` says so, too: asked each time that somebody wants to know.
    #[must_use]
    pub fn while_works(self, works: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let works = Arc::new(works);
        Self { works, ..self }
    }

    /// Says whether requests can be served.
    pub fn set_ready(&self, ready: bool) {
        self.wired.store(ready, Ordering::Release);
    }

    /// What anybody may read of a node or gateway: `/live`, `/ready` and `/metrics`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/live", get(live))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.wired.load(Ordering::Acquire) && (self.works)()
    }

    pub(crate) fn measured(&self) -> String {
        self.metrics.render()
    }
}

pub(crate) async fn live() -> &'static str {
    "live\n"
}

async fn ready(State(health): State<Health>) -> Response {
    told(health.is_ready())
}

/// The answer to whether a process is ready.
pub(crate) fn told(is_ready: bool) -> Response {
    if is_ready {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
}

async fn metrics(State(health): State<Health>) -> String {
    health.measured()
}
