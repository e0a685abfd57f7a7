//! What anybody on the machine may read: health, metrics, the trust bundle, and of the log its
//! checkpoint and tiles.

use std::sync::Arc;

use aims_audit::TileDir;
use aims_control::Fault;
use aims_store::Store;
use aims_tlog::{TilePath, TileReader};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CONTENT_TYPE, HeaderValue};

use crate::Health;
use crate::health::{live, told};
use crate::problem::Problem;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PEM: HeaderValue = HeaderValue::from_static("application/pem-certificate-chain");

/// The public router's state.
#[derive(Clone)]
pub struct Public {
    store: Arc<dyn Store>,
    tiles: TileDir,
    health: Health,
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

    /// The router; its routes are those of [`crate::PUBLIC_ROUTES`].
    pub fn router(self) -> Router {
        Router::new()
            .route("/live", get(live))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .route("/spiffe/bundle", get(bundle))
            .route("/spiffe/bundle.pem", get(bundle_pem))
            .route("/log/checkpoint", get(checkpoint))
            .route("/log/tile/{*path}", get(tile))
            .with_state(self)
    }
}

/// Ready: everything is wired and the store answers.
async fn ready(State(public): State<Public>) -> Response {
    told(public.health.is_ready() && public.store.read().await.is_ok())
}

async fn metrics(State(public): State<Public>) -> String {
    public.health.measured()
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
    told_bundle(JSON, document.map(|document| document.to_string()))
}

/// The same for programs that know nothing of SPIFFE: the authority's certificates (RFC 8555 §9.1
/// names the media type).
async fn bundle_pem(State(public): State<Public>) -> Result<Response, Problem> {
    let text = match public.store.read().await {
        Ok(mut reader) => aims_control::bundle_pem(reader.as_mut()).await,
        Err(error) => Err(error.into()),
    };
    told_bundle(PEM, text)
}

fn told_bundle(kind: HeaderValue, text: Result<String, Fault>) -> Result<Response, Problem> {
    match text {
        Ok(text) => Ok(([(CONTENT_TYPE, kind)], text).into_response()),
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
