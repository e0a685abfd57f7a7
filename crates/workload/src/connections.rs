//! Connections: accepted, named, few for each user.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::sleep;
use tonic::transport::server::Connected;

use crate::authority::Incoming;
use crate::peer::Peer;
use crate::places::Places;
use crate::{CONNECTIONS_MAX, CONNECTIONS_OF_USER_MAX};

/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much is read at a time.
const READ_LEN: usize = 4 << 10;

/// A connection whose other end is known.
pub(crate) struct Connection {
    stream: UnixStream,
    peer: Arc<Peer>,
    incoming: Incoming,
    _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// Accepts for ever, and passes on what is to be served.
pub(crate) async fn accept(listener: UnixListener, sender: mpsc::Sender<Connection>) {
    let (places, all) = (
        Places::new(CONNECTIONS_OF_USER_MAX),
        Arc::new(Semaphore::new(CONNECTIONS_MAX)),
    );
    loop {
        let Ok(place) = Arc::clone(&all).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection can't be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = match Peer::of(&stream) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::warn!(%error, "who connected is not known; this needs Linux 6.5");
                continue;
            }
        };
        let Some(of_user) = places.take(peer.uid()) else {
            tracing::info!(
                uid = peer.uid(),
                "a user has as many connections as it may have"
            );
            continue;
        };
        let connection = Connection {
            stream,
            peer: Arc::new(peer),
            incoming: Incoming::default(),
            _places: (place, of_user),
        };
        if sender.send(connection).await.is_err() {
            return;
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut bytes = [0; READ_LEN];
        while !this.incoming.is_ready() {
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                this.incoming.ended();
                break;
            }
            this.incoming.arrived(read.filled());
        }
        buf.put_slice(&this.incoming.take(buf.remaining()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
