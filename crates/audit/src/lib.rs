//! The log: folding records into one Merkle tree, checking all of it, and telling the story of a
//! task.
//!
//! # In scope
//! - [`Sequencer`]: outbox and shipped records → tree, tiles, signed checkpoint;
//! - [`Vault`]: what decisions used, sealed under keys of their tasks, and the end of it;
//! - [`check`]: hash chains, tree, checkpoint, keys, grants and permits of everything recorded, and
//!   whether a log extends an earlier checkpoint;
//! - [`Sequencer::prove`]: inclusion and consistency, from the tiles;
//! - [`story`]: the records of a task as a tree that a person can read.
//!
//! # Out of scope
//! - wire forms (`aims-tlog`), the durable file of an enforcement point (`aims-wal`), transports.
//!
//! # Specifications
//! - C2SP tlog-tiles, tlog-checkpoint and signed-note, by `aims-tlog`;
//! - RFC 7515 (signatures of grants and consents) and RFC 7638 (names of keys), by `aims-jose`.
//!
//! # Limits
//! - [`FOLD_LEN_MAX`] records are folded at once; a story has at most
//!   [`story::STORY_RECORDS_MAX`] records.

pub mod check;
mod prove;
mod sequencer;
pub mod story;
#[cfg(test)]
mod testing;
mod tiles;
mod vault;

pub use check::{CheckError, ExtendsError, LogReport, check_extends, check_log};
pub use prove::{NotProven, Proven, Wanted};
pub use sequencer::{FOLD_LEN_MAX, FoldError, OpenError, Sequencer, Shipped, TakeError};
pub use story::{Story, StoryError, Style, render};
pub use tiles::{TileDir, TileDirError};
pub use vault::{TaskKey, Vault, VaultError};
