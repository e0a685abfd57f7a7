//! The writer: takes appends in batches, makes them durable, answers.

use std::io;
use std::sync::Arc;

use aims_crypto::sha256;
use aims_types::Digest;
use tokio::sync::oneshot;

use crate::disk::DiskFile;
use crate::frame::{Frame, HEADER_LEN, PAYLOAD_LEN_MAX};
use crate::recover::{FRAME_LEN_MAX, NEW_NAME, Opened, create_segment};
use crate::shared::{Head, Shared};

/// Most bytes written with one call and synced together.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How much is allocated at once, beyond what is needed.
const ALLOCATE_STEP: u64 = 4 * 1024 * 1024;

/// Makes the payload of a record from its number and the digest of the record before it.
pub(crate) type Make = Box<dyn FnOnce(u64, Digest) -> Vec<u8> + Send>;

/// What a record is for: decides whether it may use the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Something is about to be done. Refused when space is short.
    Intent,
    /// Something was done or ended, a kill among them. May use the reserve.
    Outcome,
    /// Something was refused. Refused when space is short.
    Denial,
}

/// How much the log may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A segment that has reached this length is followed by a new one.
    pub segment_bytes: u64,
    /// Most bytes in all segments together; at least a segment, a record and the reserve.
    pub quota_bytes: u64,
    /// Bytes of quota and of allocated disk space that only [`Class::Outcome`] may use.
    pub reserve_bytes: u64,
    /// Most appends that wait; twice as many if they are outcomes.
    pub queue_len: usize,
}

/// The log has stopped: a write or sync failed, and what reached the disk is unknown until it is
/// opened anew. Sync is never tried again: after an error a success would prove nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log stopped, nothing more may be allowed: {reason}")]
pub struct Poisoned {
    reason: Arc<str>,
}

/// Why a record was not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Disk or quota are full up to the reserve; ship and remove records, or free space.
    #[error("the log is full; free space on its disk or let it be shipped")]
    Full,
    /// The payload is longer than [`PAYLOAD_LEN_MAX`].
    #[error("a record of {len} bytes is too long; at most {PAYLOAD_LEN_MAX} fit")]
    TooLong {
        /// How long it is.
        len: usize,
    },
    /// Too many appends wait.
    #[error("too many records wait to be written")]
    Busy,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// The log has stopped. The record may or may not be found when it is opened anew.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

/// An append that waits.
pub(crate) struct Job {
    pub(crate) class: Class,
    pub(crate) make: Make,
    pub(crate) reply: oneshot::Sender<Result<u64, AppendError>>,
}

/// The end of the log, from the writer's side.
pub(crate) struct Journal {
    shared: Arc<Shared>,
    limits: Limits,
    file: Box<dyn DiskFile>,
    salt: u32,
    /// The length of the segment, all of it durable.
    len: u64,
    /// How far space is known to be there.
    allocated: u64,
    /// The last durable record.
    head: Head,
    batch: Batch,
}

/// Records that are not durable yet.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// The last record in it.
    head: Option<Head>,
    replies: Vec<(u64, oneshot::Sender<Result<u64, AppendError>>)>,
    /// Numbers and offsets of the frames.
    places: Vec<(u64, u64)>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            quota_bytes: 4 * 1024 * 1024 * 1024,
            reserve_bytes: 16 * 1024 * 1024,
            queue_len: 16 * 1024,
        }
    }
}

impl Limits {
    /// Besides the reserve, a whole segment must fit: only finished segments can be removed, so a
    /// log whose quota ends before would be full for ever.
    pub(crate) fn check(&self) -> Option<()> {
        let segment = self.segment_bytes.checked_add(FRAME_LEN_MAX)?;
        let sound = self.quota_bytes >= segment.checked_add(self.reserve_bytes)?
            && self.reserve_bytes >= FRAME_LEN_MAX
            && self.queue_len > 0;
        sound.then_some(())
    }
}

impl Poisoned {
    pub(crate) fn new(reason: &str) -> Self {
        Self {
            reason: reason.into(),
        }
    }

    fn io(what: &str, error: &io::Error) -> Self {
        Self::new(&format!("{what} failed: {error}"))
    }
}

impl Journal {
    /// The writer of an opened log and what its readers need.
    pub(crate) fn new(opened: Opened, limits: Limits) -> (Self, Arc<Shared>) {
        let shared = Arc::new(opened.shared);
        let (salt, len) = shared
            .segments()
            .back()
            .map_or((0, 0), |segment| (segment.salt, segment.len));
        let head = *shared.head.borrow();
        let journal = Self {
            shared: Arc::clone(&shared),
            limits,
            file: opened.file,
            salt,
            len,
            allocated: opened.allocated,
            head,
            batch: Batch::default(),
        };
        (journal, shared)
    }

    /// Appends all `jobs`, with as few syncs as their size allows, and answers each when it is
    /// durable. An error is final.
    pub(crate) fn run(&mut self, jobs: impl IntoIterator<Item = Job>) -> Result<(), Poisoned> {
        let mut jobs = jobs.into_iter();
        let result = jobs
            .by_ref()
            .try_for_each(|job| self.add(job))
            .and_then(|()| self.commit());
        if let Err(poisoned) = &result {
            let waiting = self.batch.replies.drain(..).map(|(_, reply)| reply);
            for reply in waiting.chain(jobs.map(|job| job.reply)) {
                answer(reply, Err(poisoned.clone().into()));
            }
            // Nobody was told that these are durable, and after a failed sync the system may hold
            // them in memory as if they were: leave as little of them as possible.
            let _ = self.file.truncate(self.len);
        }
        result
    }

    /// Adds a record to the batch, or refuses it; a full batch is committed.
    fn add(&mut self, job: Job) -> Result<(), Poisoned> {
        match self.stage(job.class, job.make) {
            Ok(seq) => self.batch.replies.push((seq, job.reply)),
            Err(refusal) => {
                answer(job.reply, Err(refusal.clone()));
                if let AppendError::Poisoned(poisoned) = refusal {
                    return Err(poisoned);
                }
            }
        }
        if self.batch.bytes.len() < BATCH_BYTES_MAX {
            Ok(())
        } else {
            self.commit()
        }
    }

    fn stage(&mut self, class: Class, make: Make) -> Result<u64, AppendError> {
        if self.batch.bytes.is_empty() && self.len >= self.limits.segment_bytes {
            self.rotate()?;
        }
        let last = self.batch.head.unwrap_or(self.head);
        let seq = last.seq + 1;
        let payload = make(seq, last.digest);
        if payload.len() > PAYLOAD_LEN_MAX {
            return Err(AppendError::TooLong { len: payload.len() });
        }
        let frame = Frame {
            seq,
            batch_first: self.head.seq + 1,
            payload: &payload,
        };
        let offset = self.len + as_u64(self.batch.bytes.len());
        self.make_room(class, offset + as_u64(frame.len()))?;
        frame.encode(self.salt, &mut self.batch.bytes);
        self.batch.head = Some(Head {
            seq,
            digest: sha256(&payload),
        });
        self.batch.places.push((seq, offset));
        Ok(seq)
    }

    /// Refuses what would end at `end` if it would not fit, or would eat into the reserve without
    /// being entitled to it.
    fn make_room(&mut self, class: Class, end: u64) -> Result<(), AppendError> {
        let kept = match class {
            Class::Outcome => 0,
            Class::Intent | Class::Denial => self.limits.reserve_bytes,
        };
        let needed = end.saturating_add(kept);
        if self.shared.sealed_bytes().saturating_add(needed) > self.limits.quota_bytes {
            return Err(AppendError::Full);
        }
        if needed <= self.allocated {
            return Ok(());
        }
        for wanted in [needed.saturating_add(ALLOCATE_STEP), needed] {
            match self.file.allocate(wanted) {
                Ok(()) => {
                    self.allocated = wanted;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
                Err(error) => return Err(Poisoned::io("allocating space", &error).into()),
            }
        }
        Err(AppendError::Full)
    }

    /// Writes the batch, makes it durable, and answers.
    fn commit(&mut self) -> Result<(), Poisoned> {
        let Some(head) = self.batch.head else {
            return Ok(());
        };
        let written = self.file.write_at(self.len, &self.batch.bytes);
        written.map_err(|error| Poisoned::io("writing", &error))?;
        self.file
            .sync()
            .map_err(|error| Poisoned::io("syncing", &error))?;
        self.len += as_u64(self.batch.bytes.len());
        self.head = head;
        if let Some(segment) = self.shared.segments().back_mut() {
            for (seq, offset) in self.batch.places.drain(..) {
                segment.note(seq, offset);
            }
            segment.len = self.len;
        }
        self.batch.bytes.clear();
        self.batch.head = None;
        self.shared.head.send_replace(head);
        for (seq, reply) in self.batch.replies.drain(..) {
            answer(reply, Ok(seq));
        }
        Ok(())
    }

    /// Goes on in a new segment; in the old one if there is no space for another.
    fn rotate(&mut self) -> Result<(), Poisoned> {
        let disk = &*self.shared.disk;
        let allocate = as_u64(HEADER_LEN) + self.limits.reserve_bytes;
        let (segment, file) = match create_segment(disk, self.head, allocate) {
            Ok(made) => made,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                // What is left of it is overwritten by the next attempt.
                let _ = disk.remove(NEW_NAME);
                return Ok(());
            }
            Err(error) => return Err(Poisoned::io("beginning a segment", &error)),
        };
        let mut old = std::mem::replace(&mut self.file, file);
        if let Err(error) = old.truncate(self.len) {
            tracing::warn!(%error, "space beyond the end of a finished segment was not given back");
        }
        (self.salt, self.len, self.allocated) = (segment.salt, segment.len, allocate);
        self.shared.segments().push_back(segment);
        Ok(())
    }
}

fn as_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

pub(crate) fn answer(
    reply: oneshot::Sender<Result<u64, AppendError>>,
    result: Result<u64, AppendError>,
) {
    // Whoever gave up waiting does not hear it; the record stays.
    let _ = reply.send(result);
}

#[cfg(test)]
mod tests;
