//! What the writer and the readers of a log share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aims_types::Digest;
use tokio::sync::watch;

use crate::disk::Disk;
use crate::frame::GENESIS;

/// Distance, in bytes, between the places in a segment from where reading can begin.
pub(crate) const INDEX_STEP: u64 = 64 * 1024;

/// The last durable record; number 0 and [`GENESIS`] when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its sequence number.
    pub seq: u64,
    /// The SHA-256 of its payload.
    pub digest: Digest,
}

pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) head: watch::Sender<Head>,
    /// Held for moments only; the writer needs it after each sync.
    segments: Mutex<VecDeque<Segment>>,
    /// Held while files are read or removed, so that none is removed under a reader.
    shipping: Mutex<()>,
}

/// The durable part of a segment. The last one is being written.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) salt: u32,
    pub(crate) len: u64,
    /// Numbers and offsets of some frames, ascending.
    pub(crate) index: Vec<(u64, u64)>,
}

impl Head {
    /// The head of a log without records.
    pub const EMPTY: Self = Self {
        seq: 0,
        digest: GENESIS,
    };
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, segments: VecDeque<Segment>, head: Head) -> Self {
        let (head, segments) = (watch::Sender::new(head), Mutex::new(segments));
        Self {
            disk,
            head,
            segments,
            shipping: Mutex::new(()),
        }
    }

    pub(crate) fn segments(&self) -> MutexGuard<'_, VecDeque<Segment>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shipping(&self) -> MutexGuard<'_, ()> {
        self.shipping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes in all segments but the last.
    pub(crate) fn sealed_bytes(&self) -> u64 {
        self.segments()
            .iter()
            .rev()
            .skip(1)
            .map(|segment| segment.len)
            .sum()
    }
}

impl Segment {
    pub(crate) fn new(first: u64, salt: u32, len: u64) -> Self {
        Self {
            first,
            salt,
            len,
            index: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> String {
        segment_name(self.first)
    }

    /// Notes that record `seq` is at `offset`, if the last note is far enough away.
    pub(crate) fn note(&mut self, seq: u64, offset: u64) {
        if self
            .index
            .last()
            .is_none_or(|(_, last)| offset >= last + INDEX_STEP)
        {
            self.index.push((seq, offset));
        }
    }

    /// The place nearest before record `seq` from where reading can begin.
    pub(crate) fn nearest(&self, seq: u64) -> Option<(u64, u64)> {
        let after = self.index.partition_point(|(noted, _)| *noted <= seq);
        self.index.get(after.checked_sub(1)?).copied()
    }
}

/// The name of the segment that begins with record `first`.
pub(crate) fn segment_name(first: u64) -> String {
    format!("wal-{first:020}.log")
}

/// The first record of the segment called `name`, if it is one.
pub(crate) fn segment_first(name: &str) -> Option<u64> {
    let first = name
        .strip_prefix("wal-")?
        .strip_suffix(".log")?
        .parse()
        .ok()?;
    (segment_name(first) == name).then_some(first)
}
