//! The storage contract: what an engine must promise, and the suite that checks it.
//!
//! # In scope
//! - [`Store`], [`Reader`] and [`Txn`]: the only way to durable state;
//! - `conformance`: the tests that every engine must pass.
//!
//! # Out of scope
//! - SQL and files (the engines of layer 4); what changes mean (layer 5).
//!
//! # What every engine promises
//! - **Atomicity.** A [`Txn`] that is dropped without [`Txn::commit`] leaves no trace.
//! - **Isolation.** A transaction that called [`Txn::revision_next`] or commits events sees no
//!   other one of its kind between that call and its commit: both take one locked row. Callers
//!   that decide on what they read call `revision_next` *before* they read.
//! - **Order.** Revisions and outbox numbers are gapless and grow in commit order.
//! - **Durability.** When `commit` returns, the change and its records survive a crash of the
//!   process and of the machine.
//! - **Uniqueness.** Names are unique for ever, also of what was retired or removed.
//!
//! Nothing here relies on a single writer: several servers may share one engine.
//!
//! # Adding a repository
//! Add the look-ups to [`Reader`] and the changes to [`Txn`], noun first; add the same behaviour
//! to `conformance`; then the SQL to each engine, with the same migration number.

mod contract;
mod error;

pub use contract::{
    Domain, LogEntry, LogHead, Material, Reader, ReplayKind, SourceHead, Store, StoredGrant, Txn,
};
pub use error::Error;

/// Most rows that one look-up returns.
pub const PAGE_LEN_MAX: u32 = 10_000;
