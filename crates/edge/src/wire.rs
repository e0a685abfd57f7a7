//! The connection underneath, and bodies that reset it when they are cut off.

use std::io::{self, IoSlice};
use std::net;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use aims_links::{Body, LinkError};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::limits::LAST_READ;

/// A connection. If it is dropped after `cut`, what waits to be sent is not sent, and the other
/// side learns at once (RFC 9293 §3.10.5).
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    cut: CancellationToken,
}

/// A second hold of a connection, to wait for its reader once nothing more is written to it: its
/// system may still hold the end of an answer.
#[derive(Debug)]
pub struct Reader(net::TcpStream);

/// A body whose error resets the connection: what the system has not sent yet is not sent.
pub(crate) struct Cuttable {
    body: Body,
    cut: CancellationToken,
}

/// A body of which nothing is read any more when what it rests on counts no more.
pub(crate) struct Followed {
    body: Body,
    end: CancellationToken,
}

impl Wire {
    /// A connection that is reset once it was `cut`.
    pub const fn new(stream: TcpStream, cut: CancellationToken) -> Self {
        Self { stream, cut }
    }
}

impl Reader {
    /// Whoever reads from `stream`.
    pub fn of(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self(stream.as_fd().try_clone_to_owned()?.into()))
    }

    /// Resolves when it has closed its end, as it does when it has read all, or had the time to.
    /// What it still sends is dropped, so nobody else may want that.
    pub async fn gone(self) {
        let Ok(mut stream) = TcpStream::from_std(self.0) else {
            return;
        };
        let mut piece = [0; 1024];
        let read = async { while stream.read(&mut piece).await.is_ok_and(|read| read > 0) {} };
        // Whoever is slower loses the rest.
        let _ = timeout(LAST_READ, read).await;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.cut.is_cancelled() {
            // The peer learns at once.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Cuttable {
    pub(crate) const fn new(body: Body, cut: CancellationToken) -> Self {
        Self { body, cut }
    }
}

impl http_body::Body for Cuttable {
    type Data = Bytes;
    type Error = LinkError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LinkError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(_))) = &frame {
            self.cut.cancel();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Followed {
    /// `body`, whose connection is ended when `end` is called.
    pub(crate) const fn new(body: Body, end: CancellationToken) -> Self {
        Self { body, end }
    }
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = LinkError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LinkError>>> {
        // Who waits is woken by the end of the connection.
        if self.end.is_cancelled() {
            let reason = "its key was retired".to_owned();
            let peer = "gateway";
            return Poll::Ready(Some(Err(LinkError { peer, reason })));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
