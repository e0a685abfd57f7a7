//! Streamed answers that can be ended at once.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use aims_links::LinkError;
use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::lease::Lease;
use crate::lease::late::{Doing, Piece};

/// Most events of one answer that wait for the agent to read them.
const EVENTS_WAITING_MAX: usize = 64;

/// Whether bytes may still leave. Taken for each frame: after [`Gate::close`] returns, none does,
/// and none does without a lease.
#[derive(Clone)]
pub(crate) struct Gate {
    open: Arc<Mutex<bool>>,
    lease: Arc<Lease>,
    doing: Doing,
}

/// The end that the gateway writes to.
#[derive(Clone)]
pub(crate) struct Writer {
    events: mpsc::Sender<Bytes>,
    gate: Gate,
}

/// The end that the agent reads from. Dropping it says that the agent is gone.
pub(crate) struct Stream {
    events: mpsc::Receiver<Bytes>,
    gate: Gate,
    _gone: DropGuard,
}

/// A stream; `gone` is cancelled when the agent stops reading, also at the regular end.
pub(crate) fn channel(gone: CancellationToken, gate: Gate) -> (Writer, Stream) {
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let stream = Stream {
        events: receiver,
        gate: gate.clone(),
        _gone: gone.drop_guard(),
    };
    (
        Writer {
            events: sender,
            gate,
        },
        stream,
    )
}

impl Gate {
    /// A gate that is open as long as the lease is held.
    pub(crate) fn open(lease: Arc<Lease>, doing: Doing) -> Self {
        let open = Arc::new(Mutex::new(true));
        Self { open, lease, doing }
    }

    /// Runs `pass` while the gate can't change; `pass` learns whether it is open.
    pub(crate) fn through<T>(&self, pass: impl FnOnce(bool) -> T) -> T {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        pass(*open && self.lease.holds().is_ok())
    }

    /// The same for what goes to the agent: when something was passed, it is looked whether the
    /// lease had ended meanwhile.
    pub(crate) fn deliver<T>(&self, pass: impl FnOnce(bool) -> Poll<T>) -> Poll<T> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.lease.holds().ok().filter(|_| *open);
        let passed = pass(held.is_some());
        if let Some(held) = held
            && passed.is_ready()
        {
            self.lease.look_back(held, self.doing, Piece::Delivered);
        }
        passed
    }

    /// Lets no further byte out.
    pub(crate) fn close(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

impl Writer {
    /// Sends news that may be left out when the agent reads too slowly.
    pub(crate) fn offer(&self, event: Vec<u8>) {
        let _ = self.events.try_send(event.into());
    }

    /// Sends what must arrive; gives up when the agent is gone.
    pub(crate) async fn send(&self, event: Vec<u8>) {
        let _ = self.events.send(event.into()).await;
    }

    /// What decides whether bytes may still leave.
    pub(crate) fn gate(&self) -> Gate {
        self.gate.clone()
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = LinkError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LinkError>>> {
        let gate = self.gate.clone();
        gate.deliver(|open| match self.events.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            _ if !open => Poll::Ready(Some(Err(LinkError {
                peer: "gateway",
                reason: "what was under way is cut off".to_owned(),
            }))),
            Poll::Ready(event) => Poll::Ready(event.map(|event| Ok(Frame::data(event)))),
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use aims_types::Id;

    use crate::testing::World;

    const DOING: Doing = Doing {
        task: Id::from_u128(1),
        instance: Id::from_u128(1),
        decision: None,
    };

    #[tokio::test]
    async fn no_byte_leaves_after_the_gate_is_closed() {
        let gone = CancellationToken::new();
        let world = World::new().await;
        let gate = Gate::open(world.gateway.lease(), DOING);
        let (writer, mut stream) = channel(gone.clone(), gate);
        writer.send(b"one".to_vec()).await;
        writer.send(b"two".to_vec()).await;
        let frame = stream.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "one");
        writer.gate().close();
        assert!(stream.frame().await.unwrap().is_err());
        drop(stream);
        assert!(gone.is_cancelled());
    }
}
