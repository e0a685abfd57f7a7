//! Reading durable records, and dropping them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::frame::Frame;
use crate::recover::FRAME_LEN_MAX;
use crate::shared::{Head, INDEX_STEP, Segment, Shared};

/// Bytes read at once when all records are gone through.
const RECORDS_BYTES: usize = 1024 * 1024;

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They were removed.
    #[error("record {seq} was removed; the log begins at {first}")]
    Removed {
        /// The record asked for.
        seq: u64,
        /// The first one there is.
        first: u64,
    },
    /// A file cannot be read.
    #[error("`{name}` cannot be read")]
    Io {
        /// The file.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A record was damaged after it was written.
    #[error("`{name}` is damaged at record {seq}")]
    Corrupt {
        /// The file.
        name: String,
        /// The record.
        seq: u64,
    },
}

/// What was found when the log was opened.
#[derive(Clone)]
pub struct Recovered {
    shared: Arc<Shared>,
    first: u64,
    head: Head,
    torn_bytes: u64,
}

/// All records that were found, in order; see [`Recovered::records`].
pub struct Records {
    shared: Arc<Shared>,
    next: u64,
    last: u64,
    buffer: VecDeque<(u64, Vec<u8>)>,
    failed: bool,
}

/// Where to read.
struct Place {
    name: String,
    salt: u32,
    /// The record that begins at `offset`.
    seq: u64,
    offset: u64,
    /// The end of the segment's durable part.
    end: u64,
}

impl Recovered {
    pub(crate) const fn new(shared: Arc<Shared>, first: u64, head: Head, torn_bytes: u64) -> Self {
        Self {
            shared,
            first,
            head,
            torn_bytes,
        }
    }

    /// The number of the first record that is there, or will be.
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The last record that is there.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Bytes of an unfinished write that were cut off; none of it was ever acknowledged.
    pub const fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Goes through the records from the first to the head, reading as it goes.
    pub fn records(&self) -> Records {
        Records {
            shared: Arc::clone(&self.shared),
            next: self.first,
            last: self.head.seq,
            buffer: VecDeque::new(),
            failed: false,
        }
    }
}

impl Iterator for Records {
    type Item = Result<(u64, Vec<u8>), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.next > self.last {
            return None;
        }
        if self.buffer.is_empty() {
            match self.shared.read_from(self.next, RECORDS_BYTES) {
                Ok(records) => self.buffer.extend(records),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        let record = self.buffer.pop_front()?;
        self.next = record.0 + 1;
        Some(Ok(record))
    }
}

impl Shared {
    /// Durable records from `seq` on with about `bytes_max` bytes of payload, at least one if there
    /// is one.
    pub(crate) fn read_from(
        &self,
        seq: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
        let _no_removal = self.shipping();
        let mut found = Vec::new();
        let (mut next, mut room) = (seq.max(1), bytes_max);
        while let Some(place) = self.locate(next)? {
            let window = as_u64(room).saturating_add(INDEX_STEP + FRAME_LEN_MAX);
            let len = window.min(place.end - place.offset);
            let bytes = self
                .disk
                .read_at(&place.name, place.offset, len)
                .map_err(|source| ReadError::Io {
                    name: place.name.clone(),
                    source,
                })?;
            let before = next;
            let (mut rest, mut at) = (bytes.as_slice(), place.seq);
            while let Some(frame) = Frame::decode(rest, place.salt, at) {
                if at >= next {
                    if !found.is_empty() && frame.payload.len() > room {
                        return Ok(found);
                    }
                    room = room.saturating_sub(frame.payload.len());
                    found.push((at, frame.payload.to_vec()));
                    next += 1;
                }
                at += 1;
                rest = rest.get(frame.len()..).unwrap_or_default();
            }
            // The window is wide enough for the record asked for.
            if next == before {
                return Err(ReadError::Corrupt {
                    name: place.name,
                    seq: at,
                });
            }
        }
        Ok(found)
    }

    /// Removes the segments all of whose records come before `seq`, the oldest first.
    pub(crate) fn remove_before(&self, seq: u64) -> Result<(), ReadError> {
        let _no_reader = self.shipping();
        loop {
            let name = {
                let segments = self.segments();
                let removable = segments.get(1).is_some_and(|second| second.first <= seq);
                segments.front().filter(|_| removable).map(Segment::name)
            };
            let Some(name) = name else { return Ok(()) };
            self.remove_file(&name)
                .map_err(|source| ReadError::Io { name, source })?;
            self.segments().pop_front();
        }
    }

    /// Each removal is durable before the next, so that what remains is always without a gap.
    fn remove_file(&self, name: &str) -> io::Result<()> {
        match self.disk.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.disk.sync(),
        }
    }

    /// The place to begin reading record `seq` at; `None` if it is not durable yet.
    fn locate(&self, seq: u64) -> Result<Option<Place>, ReadError> {
        let segments = self.segments();
        let first = segments.front().map_or(1, |segment| segment.first);
        if seq < first {
            return Err(ReadError::Removed { seq, first });
        }
        if seq > self.head.borrow().seq {
            return Ok(None);
        }
        let after = segments.partition_point(|segment| segment.first <= seq);
        let segment = after.checked_sub(1).and_then(|at| segments.get(at));
        Ok(segment.and_then(|segment| {
            let (noted, offset) = segment.nearest(seq)?;
            let (name, salt, end) = (segment.name(), segment.salt, segment.len);
            Some(Place {
                name,
                salt,
                seq: noted,
                offset,
                end,
            })
        }))
    }
}

fn as_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
