//! The durable, append-only log that an enforcement point writes before it acts.
//!
//! One thread writes. It takes everything that waits, writes it with one call, makes it durable
//! with one `fdatasync`, and only then answers; what arrives meanwhile is the next batch. So the
//! cost of durability is shared, and nobody waits for company: the linger is zero.
//!
//! # In scope
//! - a gapless sequence of records, each made with the digest of the one before it;
//! - recovery: everything acknowledged is there, a torn tail is cut, damage elsewhere is refused;
//! - space kept back so that outcomes and kills can be written when the disk is full;
//! - reading durable records for shipping, and dropping what was shipped.
//!
//! # Out of scope
//! - what a record says and who signs the head (`aims-audit`, the gateway); the Merkle tree
//!   (`aims-tlog`).
//!
//! # Format
//! A directory with `lock` and segments `wal-<first sequence number>.log`. A segment is a header
//! (magic and version, first number, digest of the record before it, CRC-32C) and frames: length
//! (u32), CRC-32C (u32), sequence number (u64), distance to the first frame of the same write
//! (u32), payload; integers are big-endian. The checksum continues that of the segment's header,
//! so that a frame of another segment, or one made up inside a payload, does not pass.
//!
//! # Limits
//! - a payload has at most [`PAYLOAD_LEN_MAX`] bytes; the rest is in [`Limits`].
//! - where the file system cannot allocate space ahead, the reserve is only as good as its count of
//!   free space; a write that then finds none stops the log.
//! - damage to the last batch cannot be told from a torn write; it is noticed by whoever knows a
//!   later [`Head`].

mod disk;
mod frame;
mod journal;
mod read;
mod recover;
mod shared;
mod wal;

pub use disk::{DirLocked, Disk, DiskFile, FsDisk};
pub use frame::{GENESIS, PAYLOAD_LEN_MAX};
pub use journal::{AppendError, Class, Limits, Poisoned};
pub use read::{ReadError, Records, Recovered};
pub use recover::OpenError;
pub use shared::Head;
pub use wal::{AppendTicket, Wal};
