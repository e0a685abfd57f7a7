//! The gateway's durable log: records in their chain, and what they used.
//!
//! A payload of the log is the record's length (u32, big-endian), the record, and, if the record
//! commits to material, the material, sealed under the key of its task. The key is in no file here:
//! when the server has erased it, what this log holds can't be read any more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use aims_crypto::{SealError, sha256};
use aims_links::ShippedRecord;
use aims_model::record::FIRST_PREV;
use aims_model::{Event, Material, MaterialKey, RecordError, Source};
use aims_types::{Digest, Entropy, EntropyError, Id, Task};
use aims_wal::{AppendError, Class, ReadError, Recovered, Wal};

/// The largest number that a record can carry, for a rehearsal of its length.
const SEQ_MAX: u64 = (1 << 53) - 1;

/// The log.
pub(crate) struct Journal {
    wal: Arc<Wal>,
    source: Source,
    entropy: Arc<dyn Entropy>,
    made: Arc<Mutex<Made>>,
}

/// Records that may be the predecessor of the next one: number, digest of the payload, digest of
/// the record. A record that was made may still be refused, so there can be several of a number.
#[derive(Debug, Default)]
struct Made(VecDeque<(u64, Digest, Digest)>);

/// What a decision used, as the log keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    /// What the record says of it.
    pub(crate) commitment: Digest,
    bytes: Vec<u8>,
}

/// Why something is not in the log; then it must not take effect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// The event has no record's form.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It was not made durable.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// There is no randomness for a salt.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// What was used could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl JournalError {
    /// Whether the record may be found when the log is opened anew.
    pub(crate) const fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Append(AppendError::Poisoned(_)))
    }

    /// Whether only this one record can't be held, and others can.
    pub(crate) const fn is_too_long(&self) -> bool {
        matches!(
            self,
            Self::Append(AppendError::TooLong { .. }) | Self::Record(RecordError::TooLong(_))
        )
    }
}

/// What was written is not a payload.
#[derive(Debug, thiserror::Error)]
#[error("record {seq} of the log is malformed")]
pub(crate) struct MalformedPayload {
    seq: u64,
}

impl Journal {
    /// The log of `source`, going on after `recovered`.
    pub(crate) fn new(
        wal: Wal,
        recovered: &Recovered,
        source: Source,
        entropy: Arc<dyn Entropy>,
    ) -> anyhow::Result<Self> {
        let mut made = Made::default();
        let head = recovered.head();
        if head.seq > 0 {
            let last = wal.read_from(head.seq, 1)?;
            let last = last.first().ok_or(MalformedPayload { seq: head.seq })?;
            let last = unpack(last.0, &last.1)?;
            made.0
                .push_back((head.seq, head.digest, sha256(&last.record)));
        }
        let made = Arc::new(Mutex::new(made));
        Ok(Self {
            wal: Arc::new(wal),
            source,
            entropy,
            made,
        })
    }

    /// Makes the event durable; returns its number.
    pub(crate) async fn append(&self, class: Class, event: Event) -> Result<u64, JournalError> {
        self.append_with(class, event, None).await
    }

    /// Makes the event durable with what it used.
    pub(crate) async fn append_with(
        &self,
        class: Class,
        event: Event,
        material: Option<Sealed>,
    ) -> Result<u64, JournalError> {
        // A rehearsal with the longest number: what has no form is refused before it has a place.
        event.encode(self.source, SEQ_MAX, FIRST_PREV)?;
        let (made, source) = (Arc::clone(&self.made), self.source);
        let write = move |seq: u64, prev: Digest| {
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            made.make(seq, prev, |prev| {
                // INVARIANT: the rehearsal had the same content and a longer number.
                let record = event.encode(source, seq, prev).unwrap_or_default();
                (sha256(&record), pack(&record, material.as_ref()))
            })
        };
        let appended = self.wal.append(class, Box::new(write)).await;
        if let Err(error) = &appended
            && !matches!(error, AppendError::TooLong { .. })
        {
            metrics::counter!("aims_gateway_log_failures_total").increment(1);
            tracing::error!(%error, "the log can't be written: everything is denied");
        }
        Ok(appended?)
    }

    /// Seals what a decision of `task` used, with a fresh salt.
    pub(crate) fn seal(
        &self,
        (task, key): (Id<Task>, &MaterialKey),
        used: Vec<u8>,
    ) -> Result<Sealed, JournalError> {
        let entropy = self.entropy.as_ref();
        let material = Material::new(used, entropy)?;
        Ok(Sealed {
            commitment: material.commitment(),
            bytes: key.seal(task, &material, entropy)?,
        })
    }

    /// The log underneath.
    pub(crate) fn wal(&self) -> Arc<Wal> {
        Arc::clone(&self.wal)
    }

    /// Records from `seq` on, about `bytes` of them; blocks on the disk.
    pub(crate) fn read(wal: &Wal, seq: u64, bytes: usize) -> Result<Vec<ShippedRecord>, ReadFault> {
        let records = wal.read_from(seq, bytes)?;
        records
            .iter()
            .map(|(seq, payload)| Ok(unpack(*seq, payload)?))
            .collect()
    }
}

/// Records that can't be read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFault {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] ReadError),
    /// The form.
    #[error(transparent)]
    Form(#[from] MalformedPayload),
}

impl Made {
    fn make(
        &mut self,
        seq: u64,
        prev: Digest,
        make: impl FnOnce(Digest) -> (Digest, Vec<u8>),
    ) -> Vec<u8> {
        self.0
            .retain(|(number, _, _)| number.saturating_add(1) >= seq);
        let before = self
            .0
            .iter()
            .find(|(number, payload, _)| number.saturating_add(1) == seq && *payload == prev);
        let (record, payload) = make(before.map_or(FIRST_PREV, |(_, _, record)| *record));
        self.0.push_back((seq, sha256(&payload), record));
        payload
    }
}

fn pack(record: &[u8], material: Option<&Sealed>) -> Vec<u8> {
    // INVARIANT: a record has at most 65 535 bytes.
    let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
    let mut payload = len.to_be_bytes().to_vec();
    payload.extend_from_slice(record);
    if let Some(material) = material {
        payload.extend_from_slice(&material.bytes);
    }
    payload
}

/// Reads a payload of the log.
pub(crate) fn unpack(seq: u64, payload: &[u8]) -> Result<ShippedRecord, MalformedPayload> {
    let malformed = || MalformedPayload { seq };
    let (len, rest) = payload.split_first_chunk::<4>().ok_or_else(malformed)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| malformed())?;
    let (record, rest) = rest.split_at_checked(len).ok_or_else(malformed)?;
    Ok(ShippedRecord {
        seq,
        record: record.to_vec(),
        material: (!rest.is_empty()).then(|| rest.to_vec()),
    })
}

#[cfg(test)]
mod tests;
