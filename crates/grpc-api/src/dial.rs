//! The connections of nodes and gateways to the server.

use std::io;
use std::time::Duration;

use aims_tls::{Connector, PinnedConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::serve::KEEP_ALIVE;

/// How long connecting may take, without the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The name in the URI of requests; nothing is looked up by it.
const AUTHORITY: &str = "http://aims.server";

/// A channel to the server at `address` (`host:port`), as the identity of `connector`. It connects
/// when it is used, and again when a connection has ended.
pub(crate) fn dial(address: &str, connector: Connector) -> Channel {
    let address = address.to_owned();
    endpoint().connect_with_connector_lazy(service_fn(move |_: Uri| {
        let (address, connector) = (address.clone(), connector.clone());
        async move {
            let stream = tcp(&address).await?;
            let connected = connector.connect(stream).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(TokioIo::new(connected.0))
        }
    }))
}

/// The same without a certificate, to the server that a pin tells of.
pub(crate) fn dial_pinned(address: &str, connector: PinnedConnector) -> Channel {
    let address = address.to_owned();
    endpoint().connect_with_connector_lazy(service_fn(move |_: Uri| {
        let (address, connector) = (address.clone(), connector.clone());
        async move {
            let stream = tcp(&address).await?;
            let connected = connector.connect(stream).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(TokioIo::new(connected.0))
        }
    }))
}

fn endpoint() -> Endpoint {
    Endpoint::from_static(AUTHORITY)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

async fn tcp(address: &str) -> io::Result<TcpStream> {
    let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
