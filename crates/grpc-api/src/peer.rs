//! Who calls, by their certificate.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use aims_links::Admit;
use aims_model::Point;
use aims_tls::PeerId;
use aims_types::{Gateway, Id, Node, SpiffeId};
use http::Extensions;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;
use tonic::{Request, Status};

use crate::fault::unavailable;
use crate::places::Place;

/// The peer of a connection; nobody where it showed no certificate.
#[derive(Debug, Clone)]
pub(crate) struct Peer(Option<PeerId>);

/// What ends a connection from this side.
pub(crate) type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection whose peer is known, and which has an end.
pub(crate) struct Known<S> {
    stream: S,
    peer: Peer,
    /// `None` when it has come.
    end: Option<End>,
    /// One of those that the peer has.
    _place: Place<Option<SpiffeId>>,
}

/// A point that its certificate names, with the thumbprint of its key.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) point: Point,
    kid: String,
}

/// Whether the key of `caller` is still enrolled.
pub(crate) async fn check_enrolled(admit: &dyn Admit, caller: &Caller) -> Result<(), Status> {
    let enrolled = admit.is_enrolled(caller.point, &caller.kid).await;
    if enrolled.map_err(unavailable)? {
        return Ok(());
    }
    Err(Status::permission_denied(format!(
        "the key of `{}` is not enrolled, or retired; join again with a new token",
        caller.point
    )))
}

impl<S> Known<S> {
    pub(crate) const fn new(
        stream: S,
        peer: Option<PeerId>,
        end: End,
        place: Place<Option<SpiffeId>>,
    ) -> Self {
        Self {
            stream,
            peer: Peer(peer),
            end: Some(end),
            _place: place,
        }
    }

    /// An error when the end has come. Otherwise whoever polls is woken when it does.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(cx).is_pending()
        {
            return Ok(());
        }
        self.end = None;
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

impl Caller {
    /// The point that the certificate of a connection names.
    pub(crate) fn named(extensions: &Extensions) -> Result<Self, Status> {
        let peer = extensions.get::<Peer>();
        let peer = peer.and_then(|peer| peer.0.as_ref());
        let peer = peer.ok_or_else(|| {
            Status::unauthenticated("this needs the certificate of a node or gateway; join first")
        })?;
        let path = peer.spiffe_id().path();
        let point = match path.split_once('/') {
            Some(("node", id)) => id.parse().ok().map(Point::Node),
            Some(("gateway", id)) => id.parse().ok().map(Point::Gateway),
            _ => None,
        };
        let named = || Status::permission_denied(format!("`{path}` is no node and no gateway"));
        Ok(Self {
            point: point.ok_or_else(named)?,
            kid: peer.kid().to_string(),
        })
    }

    /// Who makes this request, which passed the gate.
    pub(crate) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let caller = request.extensions().get::<Self>().cloned();
        caller.ok_or_else(|| Status::unauthenticated("nobody makes this request"))
    }

    /// The node that calls.
    pub(crate) fn node(&self) -> Result<Id<Node>, Status> {
        match self.point {
            Point::Node(id) => Ok(id),
            Point::Gateway(_) => Err(Status::permission_denied("only a node asks for this")),
        }
    }

    /// The gateway that calls.
    pub(crate) fn gateway(&self) -> Result<Id<Gateway>, Status> {
        match self.point {
            Point::Gateway(id) => Ok(id),
            Point::Node(_) => Err(Status::permission_denied("only a gateway asks for this")),
        }
    }
}

impl<S> Connected for Known<S> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Known<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_end(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Known<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_end(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
