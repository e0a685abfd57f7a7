//! The rhythm in which the journal is folded into the file.
//!
//! SQLite would do it by itself after some commit, and would not say when the disk failed then.

use std::sync::atomic::{AtomicU64, Ordering};

use aims_store::Error;
use sqlx::{SqlitePool, query};

use crate::disk::Disk;
use crate::sql;

/// After how many operations the journal is folded into the file; each writes a page or two of
/// 4 KiB, so that the journal stays at a few MiB.
pub const FOLD_AFTER: u64 = 500;

/// What the journal may hold.
#[derive(Default)]
pub(crate) struct Journal(AtomicU64);

impl Journal {
    /// Counts what was committed.
    pub(crate) fn grown(&self, operations: u64) {
        self.0.fetch_add(operations, Ordering::Relaxed);
    }

    /// Folds the journal into the file if it has grown. What other readers and writers still use
    /// stays for the next time; only a disk that fails is an error.
    pub(crate) async fn fold(&self, writer: &SqlitePool, disk: &Disk) -> Result<(), Error> {
        let grown = self.0.load(Ordering::Relaxed);
        let mine = grown >= FOLD_AFTER
            && self
                .0
                .compare_exchange(grown, 0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !mine {
            return Ok(());
        }
        let folded = query("PRAGMA wal_checkpoint(PASSIVE)").execute(writer);
        match folded.await.map_err(sql::failed) {
            Ok(_) => Ok(()),
            Err(error) => {
                disk.judge(&error);
                disk.trusted()
            }
        }
    }
}
