//! The agent's end of a connection out: closed at once when it is cut off.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio_util::sync::DropGuard;

use crate::stream::Gate;

/// One end of a pipe that lets no byte through once its gate is closed. Dropping it says that the
/// agent is gone.
pub(crate) struct GatedTunnel {
    pipe: DuplexStream,
    gate: Gate,
    _gone: DropGuard,
}

impl GatedTunnel {
    /// The end of `pipe` behind `gate`.
    pub(crate) const fn new(pipe: DuplexStream, gate: Gate, gone: DropGuard) -> Self {
        Self {
            pipe,
            gate,
            _gone: gone,
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the connection is cut off")
}

impl AsyncRead for GatedTunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.gate.clone();
        gate.deliver(|open| {
            if open {
                Pin::new(&mut self.pipe).poll_read(cx, buffer)
            } else {
                Poll::Ready(Err(closed()))
            }
        })
    }
}

impl AsyncWrite for GatedTunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let gate = self.gate.clone();
        gate.through(|open| {
            if open {
                Pin::new(&mut self.pipe).poll_write(cx, bytes)
            } else {
                Poll::Ready(Err(closed()))
            }
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}
