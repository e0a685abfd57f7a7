//! The server's connections: mutual TLS under gRPC, and an end for each of them.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aims_links::{Admit, Control, Services};
use aims_tls::{Acceptor, HandshakeError, PeerId};
use aims_types::SpiffeId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tower::layer::layer_fn;

use crate::gate::{Bounds, Gate};
use crate::peer::{End, Known};
use crate::places::Places;
use crate::proto::{admission_server::AdmissionServer, links_server::LinksServer};
use crate::server::Service;
use crate::{
    CONNECTIONS_MAX, HANDSHAKES_MAX, HANDSHAKES_OF_HOST_MAX, HEARD_LEN_MAX, JOIN_LEN_MAX,
    MESSAGE_LEN_MAX, STRANGERS_MAX, STREAMS_MAX, WINDOW_LEN,
};

/// How often a quiet connection is asked whether it lives, and how long it may take to say so.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// How long a connection without a certificate lives: there is nothing to do on it but to join.
const STRANGER_LIFE: Duration = Duration::from_secs(30);
/// How long calls under way may take to end when the server stops.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Pause after a connection that could not be accepted, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Most streams of a connection that this side reset and that are remembered.
const RESETS_MAX: usize = 1024;

/// The server's side ended.
#[derive(Debug, thiserror::Error)]
#[error("the links between hosts can't be served: {0}")]
pub struct ServeError(#[from] tonic::transport::Error);

type Connection = Known<TlsStream<TcpStream>>;

/// What accepting a connection needs.
#[derive(Clone)]
struct Accepting {
    acceptor: Acceptor,
    sender: mpsc::Sender<Connection>,
    /// Handshakes under way, of each host.
    shaking: Places<IpAddr>,
    /// Connections of each peer, and of everybody without a certificate together.
    connections: Places<Option<SpiffeId>>,
    /// Ends every connection.
    broken: CancellationToken,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
enum Unserved {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("its peer has as many connections as it may have")]
    Connections,
}

/// Serves nodes and gateways on `listener` until `stopping`.
///
/// `ends` is the server, by who asks it: both kinds, who joins, and nodes for services.
pub async fn serve(
    listener: TcpListener,
    acceptor: Acceptor,
    ends: (Arc<dyn Control>, Arc<dyn Admit>, Arc<dyn Services>),
    stopping: CancellationToken,
) -> Result<(), ServeError> {
    let (sender, mut receiver) = mpsc::channel(1);
    let accepting = Accepting {
        acceptor,
        sender,
        shaking: Places::default(),
        connections: Places::default(),
        broken: CancellationToken::new(),
        stopping: stopping.clone(),
        tasks: TaskTracker::new(),
    };
    let (tasks, broken) = (accepting.tasks.clone(), accepting.broken.clone());
    let until = stopping.clone();
    tasks.spawn(async move { until.run_until_cancelled(accepting.accept(listener)).await });
    let incoming = futures_util::stream::poll_fn(move |cx| {
        receiver
            .poll_recv(cx)
            .map(|stream| stream.map(Ok::<_, io::Error>))
    });
    let admit = Arc::clone(&ends.1);
    let service = Service::new(ends, (tasks.clone(), stopping.clone()));
    let links = LinksServer::new(service.clone())
        .max_decoding_message_size(HEARD_LEN_MAX)
        .max_encoding_message_size(MESSAGE_LEN_MAX);
    let admission = AdmissionServer::new(service).max_decoding_message_size(JOIN_LEN_MAX);
    let bounds = Bounds::default();
    let gate = layer_fn(move |inner| Gate::new(inner, Arc::clone(&admit), bounds.clone()));
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .http2_max_local_error_reset_streams(Some(RESETS_MAX))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_connection_window_size(WINDOW_LEN)
        .initial_stream_window_size(WINDOW_LEN)
        .layer(gate)
        .add_service(links)
        .add_service(admission)
        .serve_with_incoming_shutdown(incoming, stopping.cancelled());
    let breaking = async {
        stopping.cancelled().await;
        sleep(DRAIN_MAX).await;
        broken.cancel();
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        served = served => served?,
        never = breaking => match never {},
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

impl Accepting {
    /// Accepts for ever; handshakes go on side by side.
    async fn accept(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(of_host) = self.shaking.take(address.ip(), HANDSHAKES_OF_HOST_MAX) else {
                tracing::info!(%address, "too many handshakes of one host");
                continue;
            };
            let accepting = self.clone();
            self.tasks.spawn(async move {
                let stopping = accepting.stopping.clone();
                let shaken = stopping.run_until_cancelled(accepting.shake(stream)).await;
                if let Some(Err(error)) = shaken {
                    tracing::info!(%address, %error, "a connection is not served");
                }
                drop((place, of_host));
            });
        }
    }

    async fn shake(self, stream: TcpStream) -> Result<(), Unserved> {
        drop(stream.set_nodelay(true));
        let (stream, peer) = self.acceptor.accept(stream).await?;
        let (holder, most) = match &peer {
            Some(peer) => (Some(peer.spiffe_id().clone()), CONNECTIONS_MAX),
            None => (None, STRANGERS_MAX),
        };
        let place = self.connections.take(holder, most);
        let place = place.ok_or(Unserved::Connections)?;
        let end = self.end(peer.as_ref());
        // Nobody receives it any more where the server stops.
        drop(self.sender.send(Known::new(stream, peer, end, place)).await);
        Ok(())
    }

    /// When a connection ends from this side: with the certificate that its peer showed, so that
    /// the next one shows the renewed one; soon, where it showed none.
    fn end(&self, peer: Option<&PeerId>) -> End {
        let now = self.acceptor.now();
        let left = |peer: &PeerId| {
            let left = peer
                .not_after()
                .unix_millis()
                .saturating_sub(now.unix_millis());
            Duration::from_millis(left)
        };
        let life = peer.map_or(STRANGER_LIFE, left);
        let broken = self.broken.clone();
        Box::pin(async move {
            broken.run_until_cancelled(sleep(life)).await;
        })
    }
}
