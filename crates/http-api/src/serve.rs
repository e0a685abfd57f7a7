//! Serving a router on a listener until it is told to stop; what is under way may end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aims_tls::{PeerId, WebAcceptor, WebStream};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take to send a request's headers.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Most connections that one listener serves at a time.
pub const CONNECTIONS_MAX: usize = 256;
/// Pause after a connection could not be accepted, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long requests under way may take once the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Where connections come from.
trait Accept: Send + Sync {
    type Raw: Send + 'static;
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    fn next(&self) -> impl Future<Output = io::Result<Self::Raw>> + Send;

    /// What makes a stream of it: not in the way of the next connection.
    fn ready(&self) -> impl FnOnce(Self::Raw) -> ReadyFuture<Self::Stream> + Send + 'static;
}

type ReadyFuture<S> = Pin<Box<dyn Future<Output = Option<(S, Peer)>> + Send>>;

/// Who a connection is from, if its handshake proved that: an extension of each of its requests.
#[derive(Debug, Clone)]
pub(crate) struct Peer(pub(crate) Option<PeerId>);

/// A port whose connections begin with a handshake.
struct Tls {
    listener: TcpListener,
    acceptor: WebAcceptor,
}

impl Accept for Tls {
    type Raw = TcpStream;
    type Stream = WebStream<TcpStream>;

    async fn next(&self) -> io::Result<TcpStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    fn ready(&self) -> impl FnOnce(TcpStream) -> ReadyFuture<Self::Stream> + Send + 'static {
        let acceptor = self.acceptor.clone();
        |stream| {
            Box::pin(async move {
                match acceptor.accept(stream).await {
                    Ok((stream, peer)) => Some((stream, Peer(peer))),
                    Err(error) => {
                        tracing::debug!(%error, "a handshake failed");
                        None
                    }
                }
            })
        }
    }
}

impl Accept for UnixListener {
    type Raw = UnixStream;
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }

    fn ready(&self) -> impl FnOnce(UnixStream) -> ReadyFuture<UnixStream> + Send + 'static {
        |stream| Box::pin(std::future::ready(Some((stream, Peer(None)))))
    }
}

impl Accept for TcpListener {
    type Raw = TcpStream;
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }

    fn ready(&self) -> impl FnOnce(TcpStream) -> ReadyFuture<TcpStream> + Send + 'static {
        |stream| Box::pin(std::future::ready(Some((stream, Peer(None)))))
    }
}

/// Serves a Unix socket.
pub async fn serve_unix(listener: UnixListener, router: Router, stopping: CancellationToken) {
    serve(&listener, router, stopping).await;
}

/// Serves a TCP port over TLS, for clients that authenticate inside it or by their certificate.
pub async fn serve_tls(
    listener: TcpListener,
    acceptor: WebAcceptor,
    router: Router,
    stopping: CancellationToken,
) {
    let listener = Tls { listener, acceptor };
    serve(&listener, router, stopping).await;
}

/// Serves a TCP port.
pub async fn serve_tcp(listener: TcpListener, router: Router, stopping: CancellationToken) {
    serve(&listener, router, stopping).await;
}

/// Serves at most [`CONNECTIONS_MAX`] connections at a time; more wait in the listener's queue.
/// That one can't be accepted now does not end the serving of others.
async fn serve(listener: &impl Accept, router: Router, stopping: CancellationToken) {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accepting = async {
        while let Ok(place) = Arc::clone(&room).acquire_owned().await {
            match listener.next().await {
                Ok(stream) => {
                    let (router, stopping) = (router.clone(), stopping.clone());
                    let ready = listener.ready();
                    connections.spawn(async move {
                        if let Some((stream, peer)) = ready(stream).await {
                            let router = router.layer(Extension(peer));
                            serve_one(stream, router, stopping).await;
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
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

#[cfg(test)]
mod tests;
