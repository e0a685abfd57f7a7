//! The storage contract: what an engine must promise, and the suite that checks it.
//!
//! # In scope
//! - [`Store`], [`Reader`] and [`Txn`]: the only way to durable state;
//! - [`chain`]: how events become records and how entries continue the log, the same in every
//!   engine;
//! - [`conformance`]: the claims that every engine must hold.
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
//! - **Uniqueness.** Names are unique for ever, also of what was retired or removed; nothing is
//!   ever renamed.
//! - **References.** What a row refers to by id is there: the owner of an agent, the agent and
//!   initiator of a task, the task of a grant, the task, agent and person of a launch, the agent,
//!   task and launch of an instance, the task and initiator of an approval, the maker of a join
//!   token, the task of a tree's owner. Materials, their keys and log entries may outlive what they
//!   speak of.
//! - **Erasure.** What [`Txn::task_erase`] took is in no later look-up, and does not come back;
//!   after [`Store::scrub`] said so, its key is in none of the engine's files either.
//!
//! Nothing here relies on a single writer: several servers may share one engine. An engine may
//! let a transaction wait in [`Store::begin`] for another one, so whoever holds one must not begin
//! a second.
//!
//! # Limits
//! - [`PAGE_LEN_MAX`] rows per look-up that takes a limit; the others return everything.
//!
//! # Adding a repository
//! Add the look-ups to [`Reader`] and the changes to [`Txn`], noun first; add the same behaviour
//! to `conformance`; then the SQL to each engine, with the same migration number.

pub mod chain;
pub mod conformance;
mod contract;
mod error;

pub use contract::{
    Domain, LogEntry, LogHead, MaterialKeyRow, Reader, ReplayKind, SEALED_KEY_LEN, SealedMaterial,
    SourceHead, Store, StoredCredential, StoredGrant, Txn,
};
pub use error::Error;

/// Most rows that one look-up with a `limit` returns; a larger limit counts as this one.
pub const PAGE_LEN_MAX: u32 = 10_000;
