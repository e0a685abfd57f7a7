//! A tunnel through a gateway that is elsewhere, which ends whether or not it is read.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::DropGuard;

type Io = TokioIo<Upgraded>;

/// The tunnel as whoever relays it holds it.
pub(crate) struct RemoteTunnel {
    held: Arc<Held>,
    /// Tells that nobody holds it any more.
    _gone: DropGuard,
}

/// The connection underneath, which can be taken away.
pub(crate) struct Held {
    io: Mutex<Option<Io>>,
    /// Who waits to read, and who to write.
    waiting: [AtomicWaker; 2],
}

impl RemoteTunnel {
    pub(crate) const fn new(held: Arc<Held>, gone: DropGuard) -> Self {
        Self { held, _gone: gone }
    }
}

impl Held {
    pub(crate) fn new(io: Io) -> Arc<Self> {
        Arc::new(Self {
            io: Mutex::new(Some(io)),
            waiting: <[AtomicWaker; 2]>::default(),
        })
    }

    /// Closes the connection: no byte passes any more.
    pub(crate) fn close(&self) {
        drop(self.io().take());
        self.waiting.iter().for_each(AtomicWaker::wake);
    }

    /// Polls the connection while there is one.
    fn poll<T>(
        &self,
        waiting: usize,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut Io>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Some(waker) = self.waiting.get(waiting) {
            waker.register(cx.waker());
        }
        match self.io().as_mut() {
            Some(io) => poll(Pin::new(io), cx),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    fn io(&self) -> MutexGuard<'_, Option<Io>> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for RemoteTunnel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.held.poll(0, cx, |io, cx| io.poll_read(cx, buffer))
    }
}

impl AsyncWrite for RemoteTunnel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.held.poll(1, cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.held.poll(1, cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.held.poll(1, cx, AsyncWrite::poll_shutdown)
    }
}
