//! Both ends of a connection.

use std::fmt;
use std::sync::Arc;

use aims_types::{Clock, Timestamp};
use rustls::pki_types::{IpAddr, Ipv4Addr, ServerName};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::config::{ConfigError, Settings, client_config, pinned_client_config, server_config};
use crate::handshake::{HandshakeError, check_alpn, run};
use crate::{ClientAuth, Expected, Identity, Joined, PeerId, Pin, Trust, peer, pinned_peer};

/// The end that is dialled.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    trust: Arc<Trust>,
    clock: Arc<dyn Clock>,
}

/// The end that dials a peer of a known SPIFFE ID.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    trust: Arc<Trust>,
    expected: Expected,
    clock: Arc<dyn Clock>,
}

/// The end that dials the server it wants to join.
#[derive(Clone)]
pub struct PinnedConnector {
    config: Arc<ClientConfig>,
    pin: Pin,
    clock: Arc<dyn Clock>,
}

impl Acceptor {
    /// Accepts connections as `identity` from members of the trust domain of `trust`.
    pub fn new(
        settings: &Settings,
        identity: Arc<Identity>,
        trust: Arc<Trust>,
        auth: ClientAuth,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            config: server_config(settings, identity, Arc::clone(&trust), auth)?,
            trust,
            clock: Arc::clone(&settings.clock),
        })
    }

    /// The instant by which the certificates of clients are judged.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Completes the handshake that `io` begins. There is a peer unless the client showed no
    /// certificate, which only [`ClientAuth::Optional`] allows.
    pub async fn accept<IO>(
        &self,
        io: IO,
    ) -> Result<(server::TlsStream<IO>, Option<PeerId>), HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let stream = run(acceptor.accept(io)).await?;
        let (_, connection) = stream.get_ref();
        check_alpn(&self.config.alpn_protocols, connection)?;
        let peer = peer(connection, &self.trust.bundle(), self.clock.now())?;
        Ok((stream, peer))
    }
}

impl Connector {
    /// Connects as `identity` to a peer that is `expected` and that `trust` vouches for.
    pub fn new(
        settings: &Settings,
        identity: Option<Arc<Identity>>,
        trust: Arc<Trust>,
        expected: Expected,
    ) -> Result<Self, ConfigError> {
        let config = client_config(settings, identity, Arc::clone(&trust), expected.clone())?;
        Ok(Self {
            config,
            trust,
            expected,
            clock: Arc::clone(&settings.clock),
        })
    }

    /// The instant by which the certificates of servers are judged.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Begins and completes a handshake over `io`.
    ///
    /// The peer may still refuse this side: in TLS 1.3 a client learns of that by its first read.
    pub async fn connect<IO>(
        &self,
        io: IO,
    ) -> Result<(client::TlsStream<IO>, PeerId), HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = connect(&self.config, io).await?;
        let (_, connection) = stream.get_ref();
        let chain = connection.peer_certificates().unwrap_or_default();
        let bundle = self.trust.bundle();
        let peer = self.expected.check(chain, &bundle, self.clock.now());
        let peer = peer.map_err(HandshakeError::Peer)?;
        Ok((stream, peer))
    }
}

impl PinnedConnector {
    /// Connects, without a certificate, to the server that `pin` tells of.
    pub fn new(settings: &Settings, pin: Pin) -> Result<Self, ConfigError> {
        Ok(Self {
            config: pinned_client_config(settings, pin.clone())?,
            pin,
            clock: Arc::clone(&settings.clock),
        })
    }

    /// Begins and completes a handshake over `io`.
    pub async fn connect<IO>(
        &self,
        io: IO,
    ) -> Result<(client::TlsStream<IO>, Joined), HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = connect(&self.config, io).await?;
        let (_, connection) = stream.get_ref();
        let joined = pinned_peer(connection, &self.pin, self.clock.now())?;
        Ok((stream, joined))
    }
}

async fn connect<IO>(
    config: &Arc<ClientConfig>,
    io: IO,
) -> Result<client::TlsStream<IO>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let connector = TlsConnector::from(Arc::clone(config));
    // The library wants a name; none is sent, and none is checked.
    let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0, 0, 0, 0])));
    let stream = run(connector.connect(name, io)).await?;
    check_alpn(&config.alpn_protocols, stream.get_ref().1)?;
    Ok(stream)
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PinnedConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedConnector")
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}
