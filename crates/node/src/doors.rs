//! The connections through the doors of a node, and how all of them are reset at once.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aims_edge::{Reader, Wire};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Every connection through a door of this node.
#[derive(Default)]
pub(crate) struct Doors {
    open: Mutex<Round>,
    /// Held while connections are being reset, so that nobody returns before they are closed.
    turn: tokio::sync::Mutex<()>,
}

/// The connections since the last reset.
#[derive(Default)]
struct Round {
    /// Cancelled to reset them: what they would still send is not sent.
    reset: CancellationToken,
    open: TaskTracker,
}

/// One connection, open until this is dropped.
pub(crate) struct Passage {
    reset: CancellationToken,
    _open: TaskTrackerToken,
}

/// A stream that a door accepts.
pub(crate) trait Accepted: Send + Unpin + 'static {
    /// What goes over it.
    type Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Whoever reads from it, if its system may hold something for them after its end.
    fn reader(&self) -> io::Result<Option<Reader>>;

    /// Makes it one that is reset with its passage.
    fn through(self, passage: &Passage) -> Self::Wire;
}

impl Doors {
    /// Counts a connection in from now on.
    pub(crate) fn enter(&self) -> Passage {
        let round = self.round();
        Passage {
            reset: round.reset.child_token(),
            _open: round.open.token(),
        }
    }

    /// Resets every connection that is open, and returns when all of them are closed. What the
    /// system has not sent over them is not sent any more.
    pub(crate) async fn reset(&self) {
        let _turn = self.turn.lock().await;
        let round = std::mem::take(&mut *self.round());
        round.reset.cancel();
        round.open.close();
        round.open.wait().await;
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passage {
    /// Does `work` until the connection is reset.
    pub(crate) async fn run(&self, work: impl Future<Output = ()>) {
        self.reset.run_until_cancelled(work).await;
    }

    /// Waits for a reader that nothing more is written for.
    pub(crate) async fn end(&self, reader: Option<Reader>) {
        if let Some(reader) = reader {
            reader.gone().await;
            self.cut();
        }
    }

    /// What the system has not sent is not sent any more.
    pub(crate) fn cut(&self) {
        self.reset.cancel();
    }
}

impl Accepted for TcpStream {
    type Wire = Wire;

    fn reader(&self) -> io::Result<Option<Reader>> {
        Reader::of(self).map(Some)
    }

    fn through(self, passage: &Passage) -> Self::Wire {
        Wire::new(self, passage.reset.clone())
    }
}

/// Nothing waits in the system for its reader to take it: what was written is with the reader.
impl Accepted for UnixStream {
    type Wire = Self;

    fn reader(&self) -> io::Result<Option<Reader>> {
        Ok(None)
    }

    fn through(self, _: &Passage) -> Self::Wire {
        self
    }
}
