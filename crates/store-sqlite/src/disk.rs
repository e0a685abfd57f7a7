//! A disk that failed once is not trusted again.
//!
//! After a failed `fsync` Linux takes what it could not write for written, so a later success
//! proves nothing. The store refuses everything from then on, and the process must stop: the next
//! one reads what is really there.

use std::sync::Arc;

use aims_store::Error;
use tokio::sync::watch;

use crate::sql;

/// What SQLite says when bytes that it wrote may be gone: `SQLITE_IOERR_WRITE`, `…_FSYNC`,
/// `…_DIR_FSYNC`, `…_TRUNCATE`. A full disk is another answer.
const LOST: [i32; 4] = [778, 1034, 1290, 1546];

/// What is known about the disk.
#[derive(Clone)]
pub(crate) struct Disk(Arc<watch::Sender<Option<String>>>);

/// The disk failed before.
#[derive(Debug, thiserror::Error)]
#[error("the disk failed before, so nothing is sure until a restart: {0}")]
struct Failed(String);

impl Disk {
    /// Nothing bad is known.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Notes whether `error` means that the disk is not to be trusted any more.
    pub(crate) fn judge(&self, error: &Error) {
        let (Error::Unavailable(source) | Error::InDoubt(source)) = error else {
            return;
        };
        let code = source.downcast_ref().and_then(sql::code);
        if code.is_some_and(|code| LOST.contains(&code)) {
            // The first reason is the one to look at.
            self.0.send_if_modified(|reason| {
                let first = reason.is_none();
                reason.get_or_insert_with(|| source.to_string());
                first
            });
        }
    }

    /// Refuses once the disk has failed.
    pub(crate) fn trusted(&self) -> Result<(), Error> {
        match self.0.borrow().clone() {
            None => Ok(()),
            Some(reason) => Err(Error::Unavailable(Box::new(Failed(reason)))),
        }
    }

    /// Waits until the disk has failed; why.
    pub(crate) async fn failure(&self) -> String {
        let mut reason = self.0.subscribe();
        match reason.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // INVARIANT: the sender is in `self`, so it is there while this waits.
            Err(_) => std::future::pending().await,
        }
    }
}
