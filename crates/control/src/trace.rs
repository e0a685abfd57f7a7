//! The records of a task.

use aims_model::{Record, Source};
use aims_store::{LogEntry, Reader};
use aims_types::{Cx, Id, Task};

use crate::access::AccessError;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::tasks::{TaskError, visible};
use crate::{ControlPlane, Fault};

/// Most records that are read at once: at 64 KiB each, a page has at most 16 MiB.
const PAGE_LEN: u32 = 256;

/// Why a task is not traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Who asks may not.
    #[error(transparent)]
    Access(AccessError),
    /// There is no such task, or it is not for this person to see.
    #[error("there is no task `{0}` that you may see")]
    Unknown(Id<Task>),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(TraceError);

impl From<TaskError> for TraceError {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Access(error) => Self::Access(error),
            TaskError::Unknown(id) => Self::Unknown(id),
            TaskError::Internal(fault) => Self::Internal(fault),
        }
    }
}

impl Refused for TraceError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_task",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// The canonical records of a task: those in the log in its order, then those of the server
    /// that are not in it yet.
    pub async fn trace(&self, cx: &Cx, task: Id<Task>) -> Result<Vec<Vec<u8>>, TraceError> {
        let mut reader = self.store().read().await?;
        visible(reader.as_mut(), cx, task).await?;
        Ok(records_of(reader.as_mut(), task).await?)
    }
}

/// The records of a task, in one consistent view: none twice, none missing in between.
pub(crate) async fn records_of(
    reader: &mut dyn Reader,
    task: Id<Task>,
) -> Result<Vec<Vec<u8>>, Fault> {
    let mut records = Vec::new();
    let mut pages = Pages::of(task);
    while let Some(page) = pages.next(reader).await? {
        records.extend(page.into_iter().map(|entry| entry.record));
    }
    records.extend(not_logged_yet(reader, task).await?);
    Ok(records)
}

/// What the log has of a task, a page after the other.
pub(crate) struct Pages {
    task: Id<Task>,
    from: u64,
}

impl Pages {
    pub(crate) const fn of(task: Id<Task>) -> Self {
        Self { task, from: 0 }
    }

    /// The next entries, in the order of the log; `None` after the last.
    pub(crate) async fn next(
        &mut self,
        reader: &mut dyn Reader,
    ) -> Result<Option<Vec<LogEntry>>, Fault> {
        let page = reader.log_entries_of_task(self.task, self.from, PAGE_LEN);
        let page = page.await?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        self.from = last.index.saturating_add(1);
        Ok(Some(page))
    }
}

async fn not_logged_yet(reader: &mut dyn Reader, task: Id<Task>) -> Result<Vec<Vec<u8>>, Fault> {
    let sources = reader.log_sources().await?;
    let server = sources.iter().find(|head| head.source == Source::Server);
    let mut after = server.map_or(0, |head| head.seq);
    let mut records = Vec::new();
    loop {
        let page = reader.outbox_after(after, PAGE_LEN).await?;
        let Some((last, _)) = page.last() else {
            return Ok(records);
        };
        after = *last;
        for (_, bytes) in page {
            let record = Record::decode(&bytes);
            let record = record.map_err(|error| Fault::Inconsistent(error.to_string()))?;
            if record.event.task == Some(task) {
                records.push(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use aims_crypto::sha256;
    use aims_json::Object;
    use aims_model::record::FIRST_PREV;
    use aims_model::{Event, EventKind};
    use aims_store::{LogHead, Store};
    use aims_store_sqlite::SqliteStore;
    use aims_types::{Digest, Timestamp};

    use super::*;

    fn event(n: u64, task: u128) -> Event {
        let body = Object::new().with("n", n);
        let at = Timestamp::from_unix_secs(1);
        Event::new(EventKind::CallDenied, at, body).of_task(Id::from_u128(task))
    }

    /// A log in which every second record is of task 1, and one record more of the server's.
    async fn store(size: u64) -> SqliteStore {
        let source = Source::Gateway(Id::from_u128(1));
        let (mut prev, mut entries) = (FIRST_PREV, Vec::new());
        for index in 0..size {
            let event = event(index, u128::from(index % 2));
            let record = event.encode(source, index + 1, prev).unwrap();
            prev = sha256(&record);
            entries.push(LogEntry {
                index,
                source,
                seq: index + 1,
                task: event.task,
                record,
            });
        }
        let head = LogHead {
            size,
            root: Digest::from_bytes([1; 32]),
            checkpoint: String::new(),
        };
        let store = SqliteStore::open_in_memory().await.unwrap();
        let mut txn = store.begin().await.unwrap();
        txn.log_append(None, &entries, &head).await.unwrap();
        txn.commit(vec![event(size, 1), event(size, 2)])
            .await
            .unwrap();
        store
    }

    #[tokio::test]
    async fn a_trace_has_every_record_once_and_in_order_over_all_pages() {
        let page = u64::from(PAGE_LEN);
        for size in [0, 1, 2 * page - 2, 2 * page, 2 * page + 2, 4 * page + 3] {
            let store = store(size).await;
            let mut reader = store.read().await.unwrap();
            let task = Id::from_u128(1);
            let records = records_of(reader.as_mut(), task).await.unwrap();
            let number = |bytes: &Vec<u8>| {
                let record = Record::decode(bytes).unwrap();
                assert_eq!(record.event.task, Some(task));
                record.event.body.get("n").unwrap().as_u64().unwrap()
            };
            let seen: Vec<u64> = records.iter().map(number).collect();
            let logged = (0..size).filter(|n| n % 2 == 1);
            assert_eq!(seen, logged.chain([size]).collect::<Vec<_>>(), "{size}");
        }
    }
}
