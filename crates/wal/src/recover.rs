//! Opening what an earlier run left behind.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use aims_crypto::sha256;

use crate::disk::{DirLocked, Disk, DiskFile};
use crate::frame::{FRAME_HEADER_LEN, Frame, HEADER_LEN, Header, PAYLOAD_LEN_MAX, was_durable};
use crate::journal::Limits;
use crate::shared::{Head, Segment, Shared, segment_first, segment_name};

/// What a segment is called until its header is durable.
pub(crate) const NEW_NAME: &str = "wal-next.new";

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be taken.
    #[error(transparent)]
    Dir(#[from] DirLocked),
    /// The limits leave no room.
    #[error(
        "the quota of the log must hold a segment, a record of {PAYLOAD_LEN_MAX} bytes and the \
         reserve; the reserve one record; the queue at least one"
    )]
    Limits,
    /// A file cannot be read, written or synced.
    #[error("`{name}` cannot be opened")]
    Io {
        /// The file.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A segment is damaged where no torn write can have damaged it.
    #[error(
        "`{name}` is damaged at byte {offset}, where record {seq} should be; restore the file, or \
         move the directory away and report the loss"
    )]
    Corrupt {
        /// The file.
        name: String,
        /// Where in it.
        offset: u64,
        /// The first record that is lost.
        seq: u64,
    },
    /// A segment does not continue the one before it.
    #[error("`{name}` does not continue the log, which ends at record {last}; a file is missing")]
    Gap {
        /// The file.
        name: String,
        /// The last record before it.
        last: u64,
    },
}

/// An opened log and what is needed to go on writing.
pub(crate) struct Opened {
    pub(crate) shared: Shared,
    pub(crate) file: Box<dyn DiskFile>,
    /// How far space is known to be there.
    pub(crate) allocated: u64,
    /// Bytes of an unfinished write that were cut off.
    pub(crate) torn_bytes: u64,
    /// The first record that is there.
    pub(crate) first: u64,
}

/// Checks all segments, cuts off a torn tail, and makes sure that what was read is durable.
pub(crate) fn recover(disk: Arc<dyn Disk>, limits: &Limits) -> Result<Opened, OpenError> {
    limits.check().ok_or(OpenError::Limits)?;
    let names = disk
        .list()
        .map_err(|source| failed("the directory", source))?;
    if names.iter().any(|name| name == NEW_NAME) {
        disk.remove(NEW_NAME)
            .map_err(|source| failed(NEW_NAME, source))?;
    }
    let mut firsts: Vec<_> = names
        .iter()
        .filter_map(|name| segment_first(name))
        .collect();
    firsts.sort_unstable();
    let Some((last, sealed)) = firsts.split_last() else {
        return begin(disk);
    };

    let mut segments = VecDeque::new();
    let mut head = None;
    for first in sealed {
        let (segment, end, _) = scan(&*disk, *first, head, false)?;
        segments.push_back(segment);
        head = Some(end);
    }
    let (segment, head, torn_bytes) = scan(&*disk, *last, head, true)?;
    let name = segment.name();
    let (file, allocated) = reopen(&*disk, &segment, torn_bytes, limits.reserve_bytes)
        .map_err(|source| failed(&name, source))?;
    segments.push_back(segment);
    let first = firsts.first().copied().unwrap_or(*last);
    Ok(Opened {
        shared: Shared::new(disk, segments, head),
        file,
        allocated,
        torn_bytes,
        first,
    })
}

/// Makes a segment that begins after `head`: under another name until its header is durable, so
/// that a segment without a header cannot exist.
pub(crate) fn create_segment(
    disk: &dyn Disk,
    head: Head,
    allocate: u64,
) -> io::Result<(Segment, Box<dyn DiskFile>)> {
    let header = Header {
        first: head.seq + 1,
        prev: head.digest,
    };
    let mut file = disk.create(NEW_NAME)?;
    if allocate > 0 {
        file.allocate(allocate)?;
    }
    file.write_at(0, &header.encode())?;
    file.sync()?;
    disk.rename(NEW_NAME, &segment_name(header.first))?;
    // From here on the segment may exist: no error may look as if it did not.
    disk.sync()
        .map_err(|error| io::Error::other(error.to_string()))?;
    let len = u64::try_from(HEADER_LEN).unwrap_or(u64::MAX);
    Ok((Segment::new(header.first, header.salt(), len), file))
}

fn begin(disk: Arc<dyn Disk>) -> Result<Opened, OpenError> {
    let made = create_segment(&*disk, Head::EMPTY, 0);
    let (segment, file) = made.map_err(|source| failed(NEW_NAME, source))?;
    let shared = Shared::new(disk, VecDeque::from([segment]), Head::EMPTY);
    Ok(Opened {
        shared,
        file,
        allocated: 0,
        torn_bytes: 0,
        first: 1,
    })
}

/// Reads one segment; `head` is the end of the one before it. Returns the new end and how many
/// bytes are torn, which can only be in the `last` segment.
fn scan(
    disk: &dyn Disk,
    first: u64,
    head: Option<Head>,
    last: bool,
) -> Result<(Segment, Head, u64), OpenError> {
    let name = segment_name(first);
    let bytes = disk
        .read_at(&name, 0, u64::MAX)
        .map_err(|source| failed(&name, source))?;
    let corrupt = |offset, seq| OpenError::Corrupt {
        name: name.clone(),
        offset,
        seq,
    };
    let header = Header::decode(&bytes).filter(|header| header.first == first && first > 0);
    let header = header.ok_or_else(|| corrupt(0, first))?;
    let start = Head {
        seq: first - 1,
        digest: header.prev,
    };
    if let Some(head) = head.filter(|head| *head != start) {
        return Err(OpenError::Gap {
            name,
            last: head.seq,
        });
    }
    let salt = header.salt();
    let mut segment = Segment::new(first, salt, as_u64(HEADER_LEN));
    let mut head = start;
    let mut rest = bytes.get(HEADER_LEN..).unwrap_or_default();
    while let Some(frame) = Frame::decode(rest, salt, head.seq + 1) {
        segment.note(frame.seq, segment.len);
        segment.len += as_u64(frame.len());
        head = Head {
            seq: frame.seq,
            digest: sha256(frame.payload),
        };
        rest = rest.get(frame.len()..).unwrap_or_default();
    }
    if !rest.is_empty() && (!last || was_durable(rest, salt, head.seq + 1)) {
        return Err(corrupt(segment.len, head.seq + 1));
    }
    Ok((segment, head, as_u64(rest.len())))
}

/// Opens the last segment for writing; says how far space is there.
fn reopen(
    disk: &dyn Disk,
    segment: &Segment,
    torn: u64,
    reserve: u64,
) -> io::Result<(Box<dyn DiskFile>, u64)> {
    let mut file = disk.open(&segment.name())?;
    if torn > 0 {
        file.truncate(segment.len)?;
    }
    // An earlier process may have been killed between write and sync: what was read is believed
    // from now on, so it has to be durable.
    file.sync()?;
    disk.sync()?;
    // Outcomes of what was under way may come first, before any intent asks for the reserve.
    match file.allocate(segment.len + reserve) {
        Ok(()) => Ok((file, segment.len + reserve)),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok((file, segment.len)),
        Err(error) => Err(error),
    }
}

fn failed(name: &str, source: io::Error) -> OpenError {
    OpenError::Io {
        name: name.to_owned(),
        source,
    }
}

fn as_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// The longest frame there is.
pub(crate) const FRAME_LEN_MAX: u64 = (FRAME_HEADER_LEN + PAYLOAD_LEN_MAX) as u64;
