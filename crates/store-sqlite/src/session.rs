//! One transaction on one connection: a snapshot to read from, or a change under way.

/// Runs one operation of a table on the session's connection.
macro_rules! run {
    ($self:ident, $operation:path $(, $argument:expr)*) => {{
        let result = $operation($self.enter()? $(, $argument)*).await;
        $self.leave(result)
    }};
}

mod reader;
mod txn;

use std::sync::Arc;

use aims_store::{Error, Reader};
use aims_types::Revision;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::disk::Disk;
use crate::journal::Journal;
use crate::sql::failed;

/// A transaction. Dropping it rolls back.
pub(crate) struct Session {
    tx: Transaction<'static, Sqlite>,
    /// The revision, once taken.
    revision: Option<Revision>,
    /// Whether the transaction is known to be open and whole. False while a statement runs, so that
    /// a dropped call leaves it false.
    usable: bool,
    /// How many operations were done, rows of the log counted one by one.
    operations: u64,
    disk: Disk,
    /// Where a change is counted; none of a look-up.
    journal: Option<Arc<Journal>>,
}

/// A statement failed before, so the transaction may be gone or incomplete.
#[derive(Debug, thiserror::Error)]
#[error("the transaction failed before and is over; begin another one")]
struct Over;

impl Session {
    /// A snapshot of what is committed now.
    pub(crate) async fn reading(pool: &SqlitePool, disk: &Disk) -> Result<Self, Error> {
        let tx = pool.begin_with("BEGIN DEFERRED").await.map_err(failed)?;
        let mut session = Self::new(tx, disk, None);
        // SQLite takes the snapshot at the first look-up, not at BEGIN.
        session.revision().await?;
        Ok(session)
    }

    /// A change. Waits for the one under way.
    pub(crate) async fn writing(
        pool: &SqlitePool,
        disk: &Disk,
        journal: Arc<Journal>,
    ) -> Result<Self, Error> {
        let begun = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed);
        let tx = begun.inspect_err(|error| disk.judge(error))?;
        Ok(Self::new(tx, disk, Some(journal)))
    }

    fn new(tx: Transaction<'static, Sqlite>, disk: &Disk, journal: Option<Arc<Journal>>) -> Self {
        Self {
            tx,
            revision: None,
            usable: true,
            operations: 0,
            disk: disk.clone(),
            journal,
        }
    }

    fn enter(&mut self) -> Result<&mut SqliteConnection, Error> {
        if !self.usable {
            return Err(Error::Unavailable(Box::new(Over)));
        }
        self.usable = false;
        self.operations += 1;
        Ok(&mut self.tx)
    }

    fn leave<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        use Error::{Broken, Duplicate, Raced};
        if let Err(error) = &result {
            self.disk.judge(error);
        }
        self.usable = matches!(
            result,
            Ok(_) | Err(Broken { .. } | Duplicate { .. } | Raced)
        );
        result
    }
}
