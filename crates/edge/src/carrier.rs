//! What the answers that went over a connection were issued under, kept until it is closed.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The connection that a request came over and its answer goes over: among the extensions of each
/// request of an agent that runs elsewhere.
///
/// A slow reader leaves a part of an answer in the buffers of HTTP, of TLS and of the system after
/// the answer is over for whoever gave it. What the answer rests on is kept here instead, until
/// none of these buffers exists any more.
#[derive(Clone)]
pub struct Carrier(Arc<Connection>);

struct Connection {
    reset: CancellationToken,
    /// `None` when it is closed.
    kept: Mutex<Option<Vec<Box<dyn Any + Send>>>>,
}

impl Carrier {
    /// A connection that is open until `close`, and ends soon after `reset`.
    pub fn new(reset: CancellationToken) -> Self {
        let kept = Mutex::new(Some(Vec::new()));
        Self(Arc::new(Connection { reset, kept }))
    }

    /// Resets the connection when it is cancelled: no further byte is sent.
    pub fn reset(&self) -> &CancellationToken {
        &self.0.reset
    }

    /// Keeps what `make` makes until the connection is closed, unless one that `is_same` is kept.
    pub fn keep<T: Any + Send>(&self, is_same: impl Fn(&T) -> bool, make: impl FnOnce() -> T) {
        let mut kept = self.kept();
        let Some(kept) = kept.as_mut() else { return };
        let mut all = kept.iter().filter_map(|one| one.downcast_ref());
        if !all.any(is_same) {
            kept.push(Box::new(make()));
        }
    }

    /// Whether anything is kept.
    pub(crate) fn keeps(&self) -> bool {
        self.kept().as_ref().is_some_and(|kept| !kept.is_empty())
    }

    /// Whether answers went over it that do not rest on the same.
    pub(crate) fn is_shared(&self) -> bool {
        self.kept().as_ref().is_some_and(|kept| kept.len() > 1)
    }

    /// Nothing is sent over it any more.
    pub(crate) fn close(&self) {
        let kept = self.kept().take();
        drop(kept);
    }

    fn kept(&self) -> MutexGuard<'_, Option<Vec<Box<dyn Any + Send>>>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier").finish_non_exhaustive()
    }
}
