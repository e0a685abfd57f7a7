//! The embedded storage engine: the contract of `aims-store` on one SQLite file.
//!
//! # In scope
//! - [`SqliteStore`]: opening and guarding the file, migrations, transactions, the SQL;
//! - [`SqliteStore::check`]: whether the file still says what was written.
//!
//! # Out of scope
//! - what is stored means (layer 5); log tiles and checkpoint signatures (`aims-audit`).
//!
//! # How the promises are kept
//! - Write-ahead journal, `synchronous=FULL`: when a commit returns, the journal is on the disk.
//!   Both are read back when the store is opened.
//! - A transaction is `BEGIN IMMEDIATE` on the only writing connection of the process; other
//!   processes on the same file wait for each other for [`BUSY_WAIT_SECS_MAX`].
//! - A look-up has a connection of its own from a small pool and reads from one snapshot.
//! - A transaction that failed in a way that SQLite may answer with a rollback of its own is over:
//!   nothing can run outside of it by accident.
//! - `secure_delete`: what is deleted is overwritten. The key of a task's materials is overwritten
//!   where it lies: its row never grows, shrinks or moves, so no page keeps a second copy, and
//!   after [`Store::scrub`] the journal has none either. Copies of cipher text may stay in unused
//!   parts of pages until these are used again; so may what approvals asked about.
//!
//! # Limits
//! - one machine, a local file system (the journal needs shared memory and honest `fsync`);
//! - [`READERS_MAX`] look-ups at a time, one transaction at a time; others wait
//!   [`ACQUIRE_SECS_MAX`].

mod check;
mod files;
mod open;
mod session;
mod sql;
mod tables;
#[cfg(test)]
mod tests;

use aims_store::{Error, Reader, Store, Txn};
use async_trait::async_trait;
use sqlx::{SqlitePool, query};

pub use check::CheckError;
pub use open::{ACQUIRE_SECS_MAX, BUSY_WAIT_SECS_MAX, OpenError, READERS_MAX};

use session::Session;
use sql::At;

/// A store in one SQLite file.
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Removed with the store; last, so that the connections are gone before.
    #[cfg_attr(not(test), expect(dead_code, reason = "it only has to be dropped"))]
    directory: Option<files::Temporary>,
}

impl SqliteStore {
    /// Waits until the connections are closed and the journal is folded into the file. Dropping the
    /// store without it loses nothing.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn read(&self) -> Result<Box<dyn Reader>, Error> {
        Ok(Box::new(Session::reading(&self.readers).await?))
    }

    async fn begin(&self) -> Result<Box<dyn Txn>, Error> {
        Ok(Box::new(Session::writing(&self.writer).await?))
    }

    /// Folds the journal into the file and empties it: older versions of a page are in the journal
    /// until then.
    async fn scrub(&self) -> Result<bool, Error> {
        let done = query("PRAGMA wal_checkpoint(TRUNCATE)");
        let row = done.fetch_one(&self.writer).await.map_err(sql::failed)?;
        let busy: i64 = At::new("wal_checkpoint", &"only").get(&row, "busy")?;
        Ok(busy == 0)
    }
}
