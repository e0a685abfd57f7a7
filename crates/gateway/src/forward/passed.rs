//! What comes back from another gateway, which ends at once when it is cut off.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use aims_links::{Body, LinkError, Tunnel};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use crate::stream::Gate;

/// Why nothing passes any more.
const CUT: &str = "what was under way is cut off";

/// Whether bytes may still pass. Dropping it says that the agent is gone.
pub(super) struct Wait {
    gate: Gate,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _gone: DropGuard,
}

/// A body from another gateway.
pub(super) struct PassedBody {
    body: Body,
    wait: Wait,
}

/// A tunnel through another gateway.
pub(super) struct PassedTunnel {
    tunnel: Box<dyn Tunnel>,
    wait: Wait,
}

impl Wait {
    /// Bytes pass while `gate` is open and `cut` was not called.
    pub(super) fn new(gate: Gate, cut: CancellationToken, gone: DropGuard) -> Self {
        Self {
            gate,
            cut: Box::pin(cut.cancelled_owned()),
            _gone: gone,
        }
    }

    /// Polls for what goes to the other gateway while the gate can't change; an error if no byte
    /// may pass any more.
    fn through<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, &'static str>> {
        let is_cut = self.is_cut(cx);
        self.gate.through(|open| {
            if open && !is_cut {
                poll(cx).map(Ok)
            } else {
                Poll::Ready(Err(CUT))
            }
        })
    }

    /// The same for what goes to the agent.
    fn deliver<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, &'static str>> {
        let is_cut = self.is_cut(cx);
        self.gate.deliver(|open| {
            if open && !is_cut {
                poll(cx).map(Ok)
            } else {
                Poll::Ready(Err(CUT))
            }
        })
    }

    /// Polled first, so that who waits for bytes learns that none will come.
    fn is_cut(&mut self, cx: &mut Context<'_>) -> bool {
        self.cut.as_mut().poll(cx).is_ready()
    }
}

impl PassedBody {
    pub(super) const fn new(body: Body, wait: Wait) -> Self {
        Self { body, wait }
    }
}

impl PassedTunnel {
    pub(super) const fn new(tunnel: Box<dyn Tunnel>, wait: Wait) -> Self {
        Self { tunnel, wait }
    }
}

impl http_body::Body for PassedBody {
    type Data = Bytes;
    type Error = LinkError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LinkError>>> {
        let Self { body, wait } = &mut *self;
        let polled = wait.deliver(cx, |cx| Pin::new(body).poll_frame(cx));
        polled.map(|frame| {
            frame.unwrap_or_else(|reason| {
                Some(Err(LinkError {
                    peer: "gateway",
                    reason: reason.to_owned(),
                }))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn closed(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, reason)
}

impl AsyncRead for PassedTunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { tunnel, wait } = &mut *self;
        let polled = wait.deliver(cx, |cx| Pin::new(tunnel).poll_read(cx, buffer));
        polled.map(|read| read.unwrap_or_else(|reason| Err(closed(reason))))
    }
}

impl AsyncWrite for PassedTunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { tunnel, wait } = &mut *self;
        let polled = wait.through(cx, |cx| Pin::new(tunnel).poll_write(cx, bytes));
        polled.map(|written| written.unwrap_or_else(|reason| Err(closed(reason))))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { tunnel, wait } = &mut *self;
        let polled = wait.through(cx, |cx| Pin::new(tunnel).poll_flush(cx));
        polled.map(|flushed| flushed.unwrap_or_else(|reason| Err(closed(reason))))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tunnel).poll_shutdown(cx)
    }
}
