//! Serving a router on a listener until it is told to stop; what is under way may end.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take to send a request's headers.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take once the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves a Unix socket.
pub async fn serve_unix(listener: UnixListener, router: Router, stopping: CancellationToken) {
    let connections = TaskTracker::new();
    let accepting = async {
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve_one(stream, router.clone(), stopping.clone()));
        }
    };
    stopping.run_until_cancelled(accepting).await;
    drained(connections).await;
}

/// Serves a TCP port.
pub async fn serve_tcp(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let connections = TaskTracker::new();
    let accepting = async {
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve_one(stream, router.clone(), stopping.clone()));
        }
    };
    stopping.run_until_cancelled(accepting).await;
    drained(connections).await;
}

async fn serve_one<S>(stream: S, router: Router, stopping: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn drained(connections: TaskTracker) {
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!("requests were cut off: they took too long to end");
    }
}
