//! The bytes of a segment.

use aims_types::Digest;
use crc32c::{crc32c, crc32c_append};

/// Longest payload of a record.
pub const PAYLOAD_LEN_MAX: usize = 1024 * 1024;
/// The digest that stands before the first record.
pub const GENESIS: Digest = Digest::from_bytes([0; 32]);

/// What a segment begins with; the last byte is the version.
const MAGIC: [u8; 8] = *b"AIMSWAL\x01";
/// Bytes of a segment's header: magic, first number, digest, checksum.
pub(crate) const HEADER_LEN: usize = 8 + 8 + 32 + 4;
/// Bytes of a frame before its payload: length, checksum, number, distance.
pub(crate) const FRAME_HEADER_LEN: usize = 4 + 4 + 8 + 4;

/// How a segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The number of its first record.
    pub(crate) first: u64,
    /// The digest of the record before that.
    pub(crate) prev: Digest,
}

/// A frame whose checksum holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) seq: u64,
    /// The number of the first record that was written, and synced, together with this one.
    pub(crate) batch_first: u64,
    pub(crate) payload: &'a [u8],
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let (body, checksum) = bytes.split_at_mut(HEADER_LEN - 4);
        let fields = MAGIC
            .into_iter()
            .chain(self.first.to_be_bytes())
            .chain(*self.prev.as_bytes());
        body.iter_mut()
            .zip(fields)
            .for_each(|(slot, byte)| *slot = byte);
        checksum.copy_from_slice(&crc32c(body).to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let (prev, _) = rest.split_first_chunk::<32>()?;
        let header = Self {
            first: u64::from_be_bytes(*first),
            prev: Digest::from_bytes(*prev),
        };
        (bytes.get(..HEADER_LEN)? == header.encode()).then_some(header)
    }

    /// What the checksums of the segment's frames continue.
    pub(crate) fn salt(&self) -> u32 {
        crc32c(&self.encode())
    }
}

impl<'a> Frame<'a> {
    /// Bytes of a frame with a payload of `len` bytes.
    pub(crate) const fn len_of(len: usize) -> usize {
        FRAME_HEADER_LEN + len
    }

    pub(crate) const fn len(&self) -> usize {
        Self::len_of(self.payload.len())
    }

    /// Adds the frame to `to`. INVARIANT: the payload has at most [`PAYLOAD_LEN_MAX`] bytes and a
    /// batch fewer than 2^32 records.
    pub(crate) fn encode(&self, salt: u32, to: &mut Vec<u8>) {
        let len = u32::try_from(self.payload.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes();
        let behind = u32::try_from(self.seq - self.batch_first)
            .unwrap_or(u32::MAX)
            .to_be_bytes();
        let seq = self.seq.to_be_bytes();
        to.extend_from_slice(&len);
        to.extend_from_slice(&checksum(salt, &[&len, &seq, &behind, self.payload]).to_be_bytes());
        to.extend_from_slice(&seq);
        to.extend_from_slice(&behind);
        to.extend_from_slice(self.payload);
    }

    /// The frame at the start of `bytes`, whatever its number, if `wanted` takes the number.
    fn decode_if(bytes: &'a [u8], salt: u32, wanted: impl Fn(u64) -> bool) -> Option<Self> {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (stored, rest) = rest.split_first_chunk::<4>()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let (behind, rest) = rest.split_first_chunk::<4>()?;
        let number = u64::from_be_bytes(*seq);
        let payload_len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        if payload_len > PAYLOAD_LEN_MAX || !wanted(number) {
            return None;
        }
        let payload = rest.get(..payload_len)?;
        let batch_first = number.checked_sub(u64::from(u32::from_be_bytes(*behind)))?;
        let found = checksum(salt, &[len, seq, behind, payload]);
        (found == u32::from_be_bytes(*stored)).then_some(Self {
            seq: number,
            batch_first,
            payload,
        })
    }

    /// The frame of record `seq` at the start of `bytes`.
    pub(crate) fn decode(bytes: &'a [u8], salt: u32, seq: u64) -> Option<Self> {
        Self::decode_if(bytes, salt, |found| found == seq)
    }
}

/// Whether `tail`, which does not begin with record `seq`, shows that record `seq` was once
/// durable: a frame at its place, or a later frame whose batch was begun after it.
///
/// A torn write of one batch leaves frames of that batch only, in any subset.
pub(crate) fn was_durable(tail: &[u8], salt: u32, seq: u64) -> bool {
    let frames_max = u64::try_from(tail.len() / FRAME_HEADER_LEN).unwrap_or(u64::MAX);
    let last = seq.saturating_add(frames_max);
    let plausible = |found: u64| found > seq && found <= last;
    let later = |bytes| {
        Frame::decode_if(bytes, salt, plausible).is_some_and(|frame| frame.batch_first > seq)
    };
    Frame::decode_if(tail, salt, |_| true)
        .is_some_and(|frame| frame.batch_first > seq || frame.seq < seq)
        || (1..tail.len())
            .filter_map(|start| tail.get(start..))
            .any(later)
}

fn checksum(salt: u32, parts: &[&[u8]]) -> u32 {
    parts
        .iter()
        .fold(salt, |sum, part| crc32c_append(sum, part))
}

#[cfg(test)]
mod tests;
