//! What anybody on the machine may read: health, metrics, the trust bundle, and of the log its
//! checkpoint and tiles.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aims_audit::TileDir;
use aims_store::Store;
use aims_tlog::{TilePath, TileReader};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::problem::Problem;

/// Whether AIMS is ready, and what it measured.
#[derive(Clone)]
pub struct Health {
    ready: Arc<AtomicBool>,
    metrics: PrometheusHandle,
}

/// The public router's state.
#[derive(Clone)]
pub struct Public {
    store: Arc<dyn Store>,
    tiles: TileDir,
    health: Health,
}

impl Health {
    /// Not ready yet.
    pub fn new(metrics: PrometheusHandle) -> Self {
        Self {
            ready: Arc::new(AtomicBool::new(false)),
            metrics,
        }
    }

    /// Says whether requests can be served.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}

impl Public {
    /// The public parts of a server.
    pub const fn new(store: Arc<dyn Store>, tiles: TileDir, health: Health) -> Self {
        Self {
            store,
            tiles,
            health,
        }
    }

    /// The router.
    pub fn router(self) -> Router {
        Router::new()
            .route("/live", get(live))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .route("/spiffe/bundle", get(bundle))
            .route("/log/checkpoint", get(checkpoint))
            .route("/log/tile/{*path}", get(tile))
            .with_state(self)
    }
}

async fn live() -> &'static str {
    "live\n"
}

/// Ready: everything is wired and the store answers.
async fn ready(State(public): State<Public>) -> Response {
    let wired = public.health.ready.load(Ordering::Acquire);
    if wired && public.store.read().await.is_ok() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
}

async fn metrics(State(public): State<Public>) -> String {
    public.health.metrics.render()
}

async fn checkpoint(State(public): State<Public>) -> Result<Response, Problem> {
    let head = match public.store.read().await {
        Ok(mut reader) => reader.log_head().await,
        Err(error) => Err(error),
    };
    match head {
        Ok(Some(head)) => Ok(head.checkpoint.into_response()),
        Ok(None) => Err(Problem::not_found("the log has no checkpoint yet")),
        Err(error) => {
            tracing::error!(%error, "the checkpoint can't be read");
            Err(Problem::unavailable("the store does not answer"))
        }
    }
}

/// The trust bundle (SPIFFE Trust Domain and Bundle §4.1; Federation §5.1).
async fn bundle(State(public): State<Public>) -> Result<Response, Problem> {
    let document = match public.store.read().await {
        Ok(mut reader) => aims_control::bundle_document(reader.as_mut()).await,
        Err(error) => Err(error.into()),
    };
    match document {
        Ok(document) => {
            let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            Ok((kind, document.to_string()).into_response())
        }
        Err(error) => {
            tracing::error!(%error, "the trust bundle can't be read");
            Err(Problem::unavailable("the store does not answer"))
        }
    }
}

async fn tile(State(public): State<Public>, Path(path): Path<String>) -> Result<Response, Problem> {
    let missing = || Problem::not_found("there is no such tile");
    let path: TilePath = format!("tile/{path}").parse().map_err(|_| missing())?;
    let read = tokio::task::spawn_blocking(move || public.tiles.read(&path)).await;
    match read {
        Ok(Ok(bytes)) => Ok(bytes.into_response()),
        _ => Err(missing()),
    }
}
