//! The log: folding records into one Merkle tree, checking all of it, and telling the story of a
//! task.
//!
//! # In scope
//! - [`Sequencer`]: outbox and shipped records → tree, tiles, signed checkpoint;
//! - [`check`]: hash chains, tree, checkpoint and signing keys of everything recorded;
//! - [`story`]: the records of a task as a tree that a person can read.
//!
//! # Out of scope
//! - wire forms (`aims-tlog`), the durable file of an enforcement point (`aims-wal`), transports.
//!
//! # Specifications
//! - C2SP tlog-tiles, tlog-checkpoint and signed-note, by `aims-tlog`.

pub mod check;
mod sequencer;
pub mod story;
mod tiles;

pub use check::{CheckError, LogReport, check_log};
pub use sequencer::{FoldError, OpenError, Sequencer, Shipped, TakeError};
pub use story::{Story, StoryError, Style, render};
pub use tiles::{TileDir, TileDirError};
