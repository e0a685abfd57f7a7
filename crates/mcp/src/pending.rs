//! Requests that wait for their answer.

use std::collections::BTreeMap;

use crate::id::{ProgressToken, RequestId};
use crate::message::Response;

/// The requests that were sent to one peer and are not answered yet, each with what belongs to
/// it. Ids are whole numbers that grow and never come again; a request's progress token is the
/// same number.
#[derive(Debug)]
pub struct Pending<T> {
    len_max: usize,
    last: i64,
    waiting: BTreeMap<i64, T>,
}

/// As many requests wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{len_max} requests to this server wait for an answer already")]
pub struct Full {
    /// The limit.
    pub len_max: usize,
}

/// A response that nobody waits for. It is dropped; a peer that sends such is to be mistrusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unexpected {
    /// It carries no id.
    #[error("a response without id")]
    PeerNoId,
    /// No request of that id waits: it was never sent, is answered already, or was cancelled.
    #[error("a response to `{id}`, which does not wait for one")]
    PeerNotWaiting {
        /// The id.
        id: RequestId,
    },
}

impl<T> Pending<T> {
    /// No requests; at most `len_max` will wait at a time.
    pub const fn new(len_max: usize) -> Self {
        Self {
            len_max,
            last: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// Takes in a request that is about to be sent; gives its number, which is its id and its
    /// progress token.
    pub fn start(&mut self, entry: T) -> Result<i64, Full> {
        let full = Full {
            len_max: self.len_max,
        };
        if self.waiting.len() >= self.len_max {
            return Err(full);
        }
        self.last = self.last.checked_add(1).ok_or(full)?;
        self.waiting.insert(self.last, entry);
        Ok(self.last)
    }

    /// Takes out the request that a response answers: each at most once, and only by exactly
    /// the id it was sent under (JSON-RPC 2.0 §5; `"1"` does not answer `1`).
    pub fn settle(&mut self, response: &Response<'_>) -> Result<T, Unexpected> {
        let id = response.id().ok_or(Unexpected::PeerNoId)?;
        let entry = match id {
            RequestId::Integer(number) => self.waiting.remove(number),
            RequestId::String(_) => None,
        };
        entry.ok_or_else(|| Unexpected::PeerNotWaiting { id: id.clone() })
    }

    /// Takes out a request that is given up; an answer that comes later is unexpected (MCP
    /// 2025-11-25, Cancellation).
    pub fn cancel(&mut self, number: i64) -> Option<T> {
        self.waiting.remove(&number)
    }

    /// The request that progress is told of, while it waits (MCP 2025-11-25, Progress: tokens are
    /// those of active requests only).
    pub fn in_progress(&self, token: &ProgressToken) -> Option<&T> {
        self.waiting.get(&token.as_integer()?)
    }

    /// Takes out all, as the peer is gone.
    pub fn drain(&mut self) -> impl Iterator<Item = (i64, T)> + use<T> {
        std::mem::take(&mut self.waiting).into_iter()
    }

    /// The waiting requests by their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &T)> {
        self.waiting.iter().map(|(number, entry)| (*number, entry))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
