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

/// How many bytes of records a page of a trace has at most, and one record.
pub const TRACE_PAGE_LEN: usize = 2 << 20;

/// A part of what is on record of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TracePage {
    /// Canonical records: those in the log in its order; after the last of them those of the server
    /// that are not in it yet.
    pub records: Vec<Vec<u8>>,
    /// From which index of the log the next page is; `None` if this is the last.
    pub next: Option<u64>,
}

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
    /// The records of a task from index `from` of the log, a page of them. Page after page none is
    /// twice and none is missing in between, whatever is added meanwhile.
    pub async fn trace(&self, cx: &Cx, task: Id<Task>, from: u64) -> Result<TracePage, TraceError> {
        let mut reader = self.store().read().await?;
        visible(reader.as_mut(), cx, task).await?;
        Ok(page_of(reader.as_mut(), Pages { task, from }).await?)
    }
}

/// A page of a trace, in one consistent view.
async fn page_of(reader: &mut dyn Reader, mut pages: Pages) -> Result<TracePage, Fault> {
    let (mut page, mut len) = (TracePage::default(), 0_usize);
    while let Some(entries) = pages.next(reader).await? {
        for entry in entries {
            if len >= TRACE_PAGE_LEN {
                page.next = Some(entry.index);
                return Ok(page);
            }
            len = len.saturating_add(entry.record.len());
            page.records.push(entry.record);
        }
    }
    page.records
        .extend(not_logged_yet(reader, pages.task).await?);
    Ok(page)
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

    fn event(n: u64, task: u128, padding: usize) -> Event {
        let body = Object::new()
            .with("n", n)
            .with("padding", "x".repeat(padding));
        let at = Timestamp::from_unix_secs(1);
        Event::new(EventKind::CallDenied, at, body).of_task(Id::from_u128(task))
    }

    /// A log in which every second record is of task 1, and one record more of the server's.
    async fn store(size: u64, padding: usize) -> SqliteStore {
        let source = Source::Gateway(Id::from_u128(1));
        let (mut prev, mut entries) = (FIRST_PREV, Vec::new());
        for index in 0..size {
            let event = event(index, u128::from(index % 2), padding);
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
        txn.commit(vec![event(size, 1, 0), event(size, 2, 0)])
            .await
            .unwrap();
        store
    }

    async fn whole(reader: &mut dyn Reader, task: Id<Task>) -> (Vec<Vec<u8>>, usize) {
        let (mut records, mut count, mut from) = (Vec::new(), 0, 0);
        loop {
            let page = page_of(reader, Pages { task, from }).await.unwrap();
            let len: usize = page.records.iter().map(Vec::len).sum();
            assert!(len <= TRACE_PAGE_LEN + aims_model::record::RECORD_LEN_MAX);
            records.extend(page.records);
            count += 1;
            match page.next {
                Some(next) => from = next,
                None => return (records, count),
            }
        }
    }

    #[tokio::test]
    async fn a_trace_has_every_record_once_and_in_order_over_all_pages() {
        let page = u64::from(PAGE_LEN);
        let small = [0, 1, 2 * page - 2, 2 * page, 2 * page + 2, 4 * page + 3];
        let sizes = small.map(|size| (size, 0, 1));
        // Seventy of 32 KiB are more than a page of the trace has.
        for (size, padding, count) in sizes.into_iter().chain([(140, 32 << 10, 2)]) {
            let store = store(size, padding).await;
            let mut reader = store.read().await.unwrap();
            let task = Id::from_u128(1);
            let (records, pages) = whole(reader.as_mut(), task).await;
            assert_eq!(pages, count, "{size}");
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
