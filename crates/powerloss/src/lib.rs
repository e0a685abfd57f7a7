//! What a program leaves on the disk when the power fails, for tests.
//!
//! A killed process proves nothing about `fsync`: the system still has what it wrote. Here a
//! program runs as it is, with the real engine and the real file system, and every call by which it
//! changes a file is noted ([`trace`]). From the notes a model of the disk ([`Disk`]) makes what
//! could be found after a power failure at any of these calls: what was synced, and any part of the
//! rest, page by page and out of order. The test opens that with the real engine again.
//!
//! # In scope
//! - noting writes, syncs, names and what the program says; failing any of them with an error;
//! - the model of a disk that forgets what was not synced.
//!
//! # Out of scope
//! - what the program promised (the test that uses this knows);
//! - memory shared between processes, which no power failure survives: files that end with one of
//!   [`Watch::volatile`];
//! - other systems than Linux on x86-64 ([`SUPPORTED`]).
//!
//! # The model is strict
//! A file's bytes last when that file was synced, a name when its directory was. A write is torn at
//! any multiple of [`SECTOR`] bytes, and later writes may last where earlier ones did not. What a
//! failed sync covered is lost to later syncs of the same file, as on Linux.

mod disk;
mod trace;

pub use disk::{Disk, Image, Luck, SECTOR};
pub use trace::{Call, Noted, SUPPORTED, Step, Watch, trace};
