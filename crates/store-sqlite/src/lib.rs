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
//! - A failed write or sync ends the store for this process ([`SqliteStore::failure`]); a full disk
//!   refuses the change and leaves everything as it was.
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
mod disk;
mod files;
mod journal;
mod open;
mod session;
mod sql;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aims_store::{Error, Reader, Store, Txn};
use async_trait::async_trait;
use sqlx::{SqlitePool, query};

pub use check::CheckError;
pub use journal::FOLD_AFTER;
pub use open::{ACQUIRE_SECS_MAX, BUSY_WAIT_SECS_MAX, OpenError, READERS_MAX};

use disk::Disk;
use journal::Journal;
use session::Session;
use sql::At;

/// A store in one SQLite file.
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    disk: Disk,
    journal: Arc<Journal>,
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

    /// Waits until the disk has failed to write or to sync, and says how: from then on everything
    /// is refused, and the process must stop, because what reached the disk is known only to a
    /// process that reads it anew.
    pub async fn failure(&self) -> String {
        self.disk.failure().await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn read(&self) -> Result<Box<dyn Reader>, Error> {
        let session = Session::reading(&self.readers, &self.disk).await;
        self.disk.trusted()?;
        Ok(Box::new(session?))
    }

    async fn begin(&self) -> Result<Box<dyn Txn>, Error> {
        self.disk.trusted()?;
        self.journal.fold(&self.writer, &self.disk).await?;
        let journal = Arc::clone(&self.journal);
        let session = Session::writing(&self.writer, &self.disk, journal).await;
        // Looked at when it has its turn: the one before may have found the disk failing.
        self.disk.trusted()?;
        Ok(Box::new(session?))
    }

    /// Folds the journal into the file and empties it: older versions of a page are in the journal
    /// until then.
    async fn scrub(&self) -> Result<bool, Error> {
        let done = query("PRAGMA wal_checkpoint(TRUNCATE)");
        let row = done.fetch_one(&self.writer).await.map_err(sql::failed);
        let row = row.inspect_err(|error| self.disk.judge(error))?;
        let busy: i64 = At::new("wal_checkpoint", &"only").get(&row, "busy")?;
        Ok(busy == 0)
    }
}
